//! The compacted progress topic in memory: bytes as they would lie in the real one.
use std::collections::BTreeSet;

use crate::core::progress::{self, Progress, Record};

/// A compacted topic of one partition.
#[derive(Debug, Clone, Default)]
pub struct ProgressLog {
    entries: Vec<(u64, Vec<u8>, Option<Vec<u8>>)>,
    end: u64,
    pens: u64,
    /// The newest pen that wrote: older ones are refused.
    written_with: u64,
}

impl ProgressLog {
    /// Appends records in their order.
    pub fn append(&mut self, records: &[Record]) {
        for record in records {
            let (key, value) = progress::encode(record);
            self.entries.push((self.end, key, value));
            self.end += 1;
        }
    }
    /// Gives out the next pen, as the coordinator of a `transactional.id` gives out producer epochs.
    pub fn take_pen(&mut self) -> u64 {
        self.pens += 1;
        self.pens
    }
    /// Appends records written with this pen; `false` and nothing, when a newer one wrote already.
    #[must_use]
    pub fn append_with(&mut self, pen: u64, records: &[Record]) -> bool {
        if pen < self.written_with {
            return false;
        }
        self.written_with = pen;
        self.append(records);
        true
    }
    /// The offset of the next record.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }
    /// Takes in what was appended from offset `from` on; answers where to go on.
    pub fn catch_up(&self, state: &mut Progress, from: u64) -> u64 {
        let at = self.entries.partition_point(|(offset, _, _)| *offset < from);
        for (_, key, value) in &self.entries[at..] {
            if let Ok(record) = progress::decode(key, value.as_deref()) {
                state.apply(record);
            }
        }
        self.end
    }
    /// What a reader who begins at the front sees.
    #[must_use]
    pub fn fold(&self) -> Progress {
        let mut state = Progress::default();
        self.catch_up(&mut state, 0);
        state
    }
    /// Compacts everything below `to`: only the last record of a key stays; `tombstones`: removals that won go as well.
    pub fn compact(&mut self, to: u64, tombstones: bool) {
        let mut seen = BTreeSet::new();
        let mut kept: Vec<_> = Vec::with_capacity(self.entries.len());
        for (offset, key, value) in self.entries.drain(..).rev() {
            let newest = seen.insert(key.clone());
            if offset >= to || (newest && !(tombstones && value.is_none())) {
                kept.push((offset, key, value));
            }
        }
        kept.reverse();
        self.entries = kept;
    }
}
