//! Transactions on a partition: whether a producer's batch may be appended as leader, and how far readers of `read_committed` may go.

use causeway_wire::records::{BatchHeader, BatchView, ControlMarker};

use super::partition::{Appended, Inner, Log, Placing};
use crate::core::producer_state::{EndMarker, ProducerBatch, Refusal, RefusalKind, Verdict};
use crate::core::verification::Guard;

/// Most output of a control batch's block: one record of some 20 bytes.
const CONTROL_BYTES_MAX: usize = 64 << 10;

impl Log {
    /// Offset up to which consumers of `read_committed` may read: the first transaction that is open or whose marker is above the high watermark, or the
    /// high watermark (law R16); not before the log's start, should that have passed an open transaction.
    pub fn last_stable_offset(&self) -> i64 {
        let mut inner = self.lock();
        let high_watermark = self.high_watermark();
        inner.ended.retain(|_, marker| *marker >= high_watermark);
        let ended = inner.ended.first_key_value().map_or(i64::MAX, |(first, _)| *first);
        let first = inner.producers.first_open_txn().unwrap_or(i64::MAX).min(ended);
        first.max(self.start_offset()).min(high_watermark)
    }

    /// Whether the producer has a transaction open here in this epoch: its batches then need no verification.
    pub fn has_open_txn(&self, producer_id: i64, epoch: i16) -> bool {
        self.lock().producers.has_open_txn(producer_id, epoch)
    }

    /// To be called before the coordinator is asked whether the partition belongs to an ongoing transaction; the guard goes with the append.
    pub fn begin_verification(&self, producer_id: i64, epoch: i16, sequence: i32) -> Guard {
        self.lock().verifications.begin(producer_id, epoch, sequence)
    }

    /// Whether no marker and no beginning of a transaction of that producer came since the guard was given.
    pub fn guard_stands(&self, producer_id: i64, guard: Guard) -> bool {
        self.lock().verifications.stands(producer_id, guard)
    }
}

/// Judges a producer's batch that is appended as leader. `Some`: it is there already.
pub(crate) fn judge(
    inner: &Inner,
    batch: &ProducerBatch,
    placing: Placing,
    end: i64,
) -> Result<Option<Appended>, Refusal> {
    if placing == Placing::Keep {
        return Ok(None);
    }
    match inner.producers.check(batch) {
        Verdict::Append => {}
        Verdict::Duplicate { base_offset, last_offset, timestamp } => {
            return Ok(Some(Appended { base_offset, last_offset, duplicate: Some(timestamp) }));
        }
        Verdict::OutOfOrder(refusal) | Verdict::InvalidEpoch(refusal) | Verdict::OutsideTxn(refusal) => {
            return Err(refusal);
        }
    }
    let refuse = |kind| Err(Refusal { producer_id: batch.producer_id, kind });
    match placing {
        // The answer waits for all that is there, and so for the marker that this one repeats.
        Placing::Marker { .. } if inner.producers.is_repeated_marker(batch) => {
            let (base_offset, last_offset) = (end - 1, end - 1);
            Ok(Some(Appended { base_offset, last_offset, duplicate: Some(batch.timestamp) }))
        }
        Placing::Marker { newer_epoch: true, .. }
            if inner.producers.has_open_txn(batch.producer_id, batch.producer_epoch) =>
        {
            refuse(RefusalKind::StaleEpoch { current: batch.producer_epoch, got: batch.producer_epoch })
        }
        Placing::Client { guard, .. } if begins_txn(inner, batch) => {
            if guard.is_none_or(|guard| !inner.verifications.stands(batch.producer_id, guard)) {
                return refuse(RefusalKind::Unverified);
            }
            match inner.verifications.lowest_sequence(batch.producer_id, batch.producer_epoch) {
                Some(lowest) if batch.base_sequence > lowest => {
                    refuse(RefusalKind::OutOfOrder { last: lowest, got: batch.base_sequence })
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

fn begins_txn(inner: &Inner, batch: &ProducerBatch) -> bool {
    batch.transactional && !batch.control && !inner.producers.has_open_txn(batch.producer_id, batch.producer_epoch)
}

/// What producer state needs of a batch; `None` if it is no idempotent producer's.
pub(crate) fn producer_batch(batch: &BatchView, header: &BatchHeader) -> Option<ProducerBatch> {
    if !header.has_producer_id() {
        return None;
    }
    let marker = if header.attributes.is_control() { end_marker(batch) } else { None };
    Some(ProducerBatch {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        last_sequence: header.last_sequence(),
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        timestamp: header.max_timestamp,
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
        marker,
    })
}

fn end_marker(batch: &BatchView) -> Option<EndMarker> {
    let block = batch.decompress(CONTROL_BYTES_MAX).ok()?;
    let record = batch.walk(&block).next()?.ok()?;
    let (marker, coordinator_epoch) = ControlMarker::from_record(&record)?;
    Some(EndMarker { commit: marker == ControlMarker::Commit, coordinator_epoch })
}
