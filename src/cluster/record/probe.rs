//! Looking at raw batches where rdkafka shows nothing: is this range only markers and aborted records, or can it not be read at all?

use causeway_wire::client::{Fetched, Isolation};
use causeway_wire::records::{Batches, ControlMarker, DECOMPRESSED_BYTES_MAX, RecordIter};

use crate::cluster::hidden::Hidden;
use crate::cluster::{Admin, ClusterError};
use crate::core::batch::SourceRange;
use crate::core::ids::SourceOffset;

/// Bytes looked at in one probe: the next one goes on where this one ended.
const PROBE_BYTES: i32 = 1 << 20;

/// What a probe found from an offset on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Probe {
    /// Nothing to see before this offset: markers, aborted records, emptied batches.
    NothingBefore(SourceOffset),
    /// A batch that cannot be read.
    Damaged(SourceRange, String),
    /// The position is outside of the log.
    OutOfRange,
    /// The topic or partition is gone.
    Gone,
    /// The broker refuses, and waiting does not help.
    Refused(String),
    /// It could not be asked.
    Unknown(String),
}

/// Looks at `topic`-`partition` from `from` on.
pub(super) async fn probe(admin: &Admin, topic: &str, partition: i32, from: SourceOffset) -> Probe {
    let fetch = admin.client().fetch_batches(topic, partition, from.get(), PROBE_BYTES, Isolation::ReadCommitted);
    match fetch.await {
        Ok(fetched) => look(fetched, from),
        Err(error) => {
            let error = ClusterError::Client { alias: admin.alias().to_owned(), source: error };
            match error {
                error if error.is_out_of_range() => Probe::OutOfRange,
                error if error.is_unknown_topic() => Probe::Gone,
                error if error.is_retriable() => Probe::Unknown(error.to_string()),
                error => Probe::Refused(error.to_string()),
            }
        }
    }
}

/// How far nothing can be seen in what was fetched, or what is wrong with it.
fn look(fetched: Fetched, from: SourceOffset) -> Probe {
    let mut hidden = Hidden::new(&fetched.aborted);
    let mut next = from;
    for batch in Batches::new(fetched.batches) {
        let damaged = |to: i64, detail: String| Probe::Damaged(SourceRange::new(next, SourceOffset(to)), detail);
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return damaged(next.get() + 1, error.to_string()),
        };
        let header = &batch.header;
        let end = header.next_offset();
        if end <= from.get() {
            continue;
        }
        if let Err(error) = batch.verify_crc() {
            return damaged(end, error.to_string());
        }
        let block = match batch.decompress(DECOMPRESSED_BYTES_MAX) {
            Ok(block) => block,
            Err(error) => return damaged(end, error.to_string()),
        };
        let records: Result<Vec<_>, _> = RecordIter::new(&block, header.records_count).collect();
        let records = match records {
            Ok(records) => records,
            Err(error) => return damaged(end, error.to_string()),
        };
        if header.attributes.is_control() {
            let marker = records.first().and_then(ControlMarker::from_record);
            hidden.marker(header.producer_id, marker.map(|(marker, _)| marker));
        } else if !hidden.hides(header) {
            let seen = records.iter().map(|record| header.offset_at(record.offset_delta));
            if let Some(first) = seen.filter(|offset| *offset >= next.get()).min() {
                return Probe::NothingBefore(SourceOffset(first));
            }
        }
        next = next.max(SourceOffset(end));
    }
    Probe::NothingBefore(next)
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
