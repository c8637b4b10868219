//! What an older writer of a lane had landed at the target and nobody had written down: found by content, so that it is not written again.
//!
//! Once the fence is up, nothing older can land any more. What of our producer lies behind the last durable place of the lane is then exactly what
//! landed, in the order of the source. A record that is about to be written is looked for there first.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use causeway_wire::records::{BatchView, DECOMPRESSED_BYTES_MAX, Record, RecordError};

use super::rewrite::Placed;
use crate::core::ids::{SourceOffset, TargetOffset};
use crate::core::landed::Landed;
use crate::core::offset_map::Run;

/// Records remembered per lane, 16 bytes each. What is not written down yet is what was acknowledged within one write to the progress topic; a
/// longer tail is a progress topic that did not answer for long, and is refused rather than guessed.
pub const RECORDS_MAX: usize = 4 << 20;

/// Records of our producer behind the durable place, in the order in which they landed.
#[derive(Debug, Default)]
pub(super) struct Tail {
    landed: Landed,
    /// The target sets the times: they tell nothing.
    append_times: bool,
}

impl Tail {
    pub fn new(from: TargetOffset) -> Self {
        Tail { landed: Landed::behind(from), append_times: false }
    }

    /// Adds the records of a batch of ours. `false`: there are too many.
    pub fn push(&mut self, view: &BatchView) -> Result<bool, RecordError> {
        let header = &view.header;
        self.append_times |= header.attributes.is_log_append_time();
        for record in view.records(DECOMPRESSED_BYTES_MAX)? {
            let offset = TargetOffset(header.offset_at(record.offset_delta));
            self.landed.push(offset, digest(self.time(header.timestamp_at(record.timestamp_delta)), &record));
        }
        Ok(self.landed.len() <= RECORDS_MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.landed.is_empty()
    }

    fn time(&self, timestamp: i64) -> i64 {
        if self.append_times { 0 } else { timestamp }
    }

    /// Takes the records that have landed off the front of `placed`; answers where they lie ([`Landed::take`]).
    pub fn take(&mut self, placed: &mut Vec<Placed>) -> Vec<Run> {
        let digests = placed.iter().map(|placed| (placed.offset, digest(self.time(placed.timestamp), &placed.record)));
        let wanted: Vec<(SourceOffset, u64)> = digests.collect();
        let (done, runs) = self.landed.take(&wanted);
        placed.drain(..done);
        runs
    }
}

fn digest(timestamp: i64, record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    timestamp.hash(&mut hasher);
    record.key.hash(&mut hasher);
    record.value.hash(&mut hasher);
    for header in &record.headers {
        header.key.hash(&mut hasher);
        header.value.hash(&mut hasher);
    }
    record.headers.len().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
