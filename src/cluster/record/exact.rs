//! What librdkafka cannot write as it is goes through the wire client, one batch at a time: a timestamp of 0 (librdkafka takes it for "now") and
//! header keys that are not UTF-8 or hold a NUL. Not idempotent: a repeat after a lost answer may double these records, never lose them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use causeway_wire::ErrorCode;
use causeway_wire::client::ClientError;
use causeway_wire::records::{BatchBuilder, Codec, RecordError, RecordHeader};

use super::{Headers, Item, Records, raw};
use crate::cluster::{Admin, ClusterError};
use crate::core::batch::{Batch, SourceRange};
use crate::core::ids::{SourceOffset, TargetOffset};
use crate::core::lane::Failure;

/// Whether librdkafka would change this record. Headers that were not looked at are written as librdkafka holds them, byte for byte.
pub(super) fn needs_exact(item: &Item) -> bool {
    let unfit = |headers: &Headers| match headers {
        Headers::Raw(headers) => headers.iter().any(|(key, _)| !raw::is_fit(key)),
        Headers::None | Headers::Detached(_) => false,
    };
    item.timestamp == 0 || unfit(&item.headers)
}

/// What became of a batch.
pub(super) struct Written {
    pub slot: usize,
    /// The number of its first record in its lane.
    pub first_sequence: u64,
    /// Where its first record landed.
    pub outcome: Result<TargetOffset, ClusterError>,
}

/// Writes single batches through the wire client, beside the producer.
pub(super) struct Exact {
    admin: Admin,
    runtime: tokio::runtime::Handle,
    codec: Codec,
    busy: Option<usize>,
    done: (SyncSender<Written>, Receiver<Written>),
}

impl Exact {
    pub fn new(admin: Admin, runtime: tokio::runtime::Handle, compression: &str) -> Self {
        let codec = compression.parse().unwrap_or(Codec::None);
        // one at a time, so one answer at most waits
        Exact { admin, runtime, codec, busy: None, done: sync_channel(1) }
    }

    pub fn is_idle(&self) -> bool {
        self.busy.is_none()
    }

    pub fn is_busy_with(&self, slot: usize) -> bool {
        self.busy == Some(slot)
    }

    /// Starts to write a batch without the skipped records; answers how many records it has. Only when idle.
    pub fn write(
        &mut self,
        (slot, first_sequence): (usize, u64),
        topic: &str,
        batch: &Batch<Records>,
        skip: &[SourceOffset],
    ) -> u64 {
        debug_assert!(self.is_idle());
        self.busy = Some(slot);
        let built = build(self.codec, &batch.payload, skip);
        let records = built.as_ref().map_or(0, |(_, records)| *records);
        let (admin, topic, partition) = (self.admin.clone(), topic.to_owned(), batch.lane.partition.0);
        let done = self.done.0.clone();
        self.runtime.spawn(async move {
            let outcome = match built {
                Ok((bytes, _)) => {
                    admin.client().produce_batch(&topic, partition, bytes).await.map_err(|e| admin.fail(e))
                }
                Err(error) => {
                    let alias = admin.alias().to_owned();
                    Err(ClusterError::Unreadable { alias, topic, detail: error.to_string() })
                }
            };
            let outcome = outcome.map(|produced| TargetOffset(produced.base_offset));
            // the sink may be gone: then nobody waits for the answer
            let _gone = done.try_send(Written { slot, first_sequence, outcome });
        });
        records
    }

    /// The answer, when it is there.
    pub fn take(&mut self) -> Option<Written> {
        let written = self.done.1.try_recv().ok()?;
        self.busy = None;
        Some(written)
    }
}

fn build(codec: Codec, records: &Records, skip: &[SourceOffset]) -> Result<(bytes::Bytes, u64), RecordError> {
    let mut builder = BatchBuilder::new(codec);
    let mut count = 0;
    for item in records.items().iter().filter(|item| skip.binary_search(&SourceOffset(item.offset)).is_err()) {
        let headers: Vec<RecordHeader> = match &item.headers {
            Headers::Raw(headers) => {
                headers.iter().map(|(key, value)| RecordHeader { key: key.clone(), value: value.clone() }).collect()
            }
            // the source makes the headers of such batches raw
            Headers::None | Headers::Detached(_) => Vec::new(),
        };
        builder.push(item.timestamp, records.key(item), records.value(item), &headers)?;
        count += 1;
    }
    Ok((builder.build()?, count))
}

/// What an error means for the lane.
pub(super) fn judge(error: &ClusterError, range: SourceRange) -> Failure {
    let reason = error.to_string();
    let code = match error {
        ClusterError::Client { source: ClientError::Broker { code, .. }, .. } => *code,
        _ => return Failure::Retry { reason },
    };
    match code {
        ErrorCode::MESSAGE_TOO_LARGE
        | ErrorCode::RECORD_LIST_TOO_LARGE
        | ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::CORRUPT_MESSAGE => Failure::Poison { range, reason },
        ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => Failure::Refuse { reason },
        _ => Failure::Retry { reason },
    }
}
