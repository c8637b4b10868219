//! Writing `__consumer_offsets`.

use std::sync::Arc;

use bytes::Bytes;
use causeway_wire::ErrorCode;
use causeway_wire::records::{BatchBuilder, Codec, NO_SEQUENCE, RecordError};

use super::Coordinator;
use crate::core::groups::records::{self, GroupValue, OffsetValue};
use crate::core::txn::Producer;
use crate::core::verification::Guard;
use crate::log::{Appended, LogError};
use crate::partitions::Partition;

/// The topic that holds committed offsets and group metadata.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A record to write; no value is a tombstone.
pub(super) type JournalRecord = (Bytes, Option<Bytes>);

pub(super) fn group_record(group: &str, value: Option<&GroupValue>) -> JournalRecord {
    (records::group_key(group), value.map(GroupValue::encode))
}

pub(super) fn offset_record(group: &str, topic: &str, partition: i32, value: Option<&OffsetValue>) -> JournalRecord {
    (records::offset_key(group, topic, partition), value.map(OffsetValue::encode))
}

/// An append that may still wait for the disk.
pub(super) struct Written(Result<(Arc<Partition>, i64, i64), ErrorCode>);

impl Written {
    pub(super) fn failed() -> Self {
        Self(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE))
    }

    /// Log offset of the first record.
    pub(super) fn base_offset(&self) -> Option<i64> {
        self.0.as_ref().ok().map(|(_, base, _)| *base)
    }

    /// Waits until the records are as durable as `log.flush` promises.
    pub(super) async fn durable(self) -> Result<(), ErrorCode> {
        let (partition, _, end) = self.0?;
        let waited = partition.log.wait_durable(end).await;
        waited.map_err(|error| {
            tracing::error!(%error, "committed offsets are not durable");
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        })
    }
}

/// Appends records of one group as part of a producer's transaction. They carry no sequence: the coordinator itself is the only writer.
pub(super) fn append_in_txn(
    partition: &Partition,
    records: &[JournalRecord],
    producer: Producer,
    guard: Option<Guard>,
) -> Result<Appended, LogError> {
    let now = crate::clock::wall_ms();
    let bad = |error: RecordError| LogError::BadAppend(error.to_string());
    let builder = BatchBuilder::new(Codec::None).base_timestamp(now).transactional(true);
    let mut builder = builder.producer(producer.id, producer.epoch, NO_SEQUENCE);
    for (key, value) in records {
        builder.push(now, Some(key), value.as_deref(), &[]).map_err(bad)?;
    }
    partition.append_from_client(&builder.build().map_err(bad)?, guard, now)
}

/// The partition of `__consumer_offsets` or `__transaction_state` that keeps a name: Java's hash of it.
pub fn partition_for(group: &str, partitions: i32) -> i32 {
    let hash = group.encode_utf16().fold(0i32, |h, c| h.wrapping_mul(31).wrapping_add(i32::from(c)));
    (hash & i32::MAX) % partitions.max(1)
}

impl Coordinator {
    /// Appends records of one group as one batch.
    pub(super) fn write(&self, group: &str, records: &[JournalRecord]) -> Written {
        let Some(partition) = self.journal_of(group) else {
            tracing::error!(group, "the topic {OFFSETS_TOPIC} is not there");
            return Written::failed();
        };
        let now = crate::clock::wall_ms();
        let mut builder = BatchBuilder::new(Codec::None).base_timestamp(now);
        for (key, value) in records {
            if let Err(error) = builder.push(now, Some(key), value.as_deref(), &[]) {
                tracing::error!(%error, group, "cannot build a record for {OFFSETS_TOPIC}");
                return Written::failed();
            }
        }
        let appended = builder
            .build()
            .map_err(|e| e.to_string())
            .and_then(|batch| partition.append(&batch, now).map_err(|e| e.to_string()));
        match appended {
            Ok(appended) => Written(Ok((partition, appended.base_offset, appended.last_offset + 1))),
            Err(error) => {
                tracing::error!(error, group, "cannot write to {OFFSETS_TOPIC}");
                Written::failed()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_live_where_kafka_would_put_them() {
        // "console-consumer-1".hashCode() and others as Java computes them.
        assert_eq!(partition_for("", 50), 0);
        assert_eq!(partition_for("a", 50), 97 % 50);
        assert_eq!(partition_for("ab", 50), (97 * 31 + 98) % 50);
        assert_eq!(partition_for("test-group", 50), 12);
    }
}
