//! What is left of one batch.
//!
//! A record stays if it is not covered by the map, or is the latest of its key and either has a value or is a tombstone whose delete horizon has not passed.
//! Whatever goes, offsets stay: a batch keeps its first and last offset, so that consumers and followers see the same log. The first cleaning that meets
//! a tombstone, or a marker without data, writes the time into the batch until which it must stay (KIP-534): a consumer that began before it then still sees it.

use std::collections::HashMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use causeway_wire::records::{
    Attributes, BatchBuilder, BatchHeader, BatchView, Codec, ControlMarker, NO_TIMESTAMP, RecordError, RecordRef,
    encode_batch,
};

use super::super::producer_state::{CompletedTxn, ProducerState};
use super::offset_map::OffsetMap;
use super::txns::{CleanedTxns, MarkerVerdict};

/// The batch that carries an active producer's state: without it a restart would forget the producer (law R14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastOfProducer {
    /// The batch that ends at this offset.
    Data(i64),
    /// Markers of this epoch: nothing else is known of the producer.
    Marker(i16),
}

/// The batches that active producers need.
pub fn last_of_producers(producers: &ProducerState) -> HashMap<i64, LastOfProducer> {
    let last = |entry: &super::super::producer_state::ProducerEntry| {
        entry.batches.last().map_or(LastOfProducer::Marker(entry.epoch), |seen| LastOfProducer::Data(seen.last_offset))
    };
    producers.iter().map(|(id, entry)| (id, last(entry))).collect()
}

/// One cleaning of one log.
pub struct Filter<'a, S> {
    /// Latest offsets of the keys in the dirty part.
    pub map: &'a OffsetMap<S>,
    /// Records from here on are not in the map.
    pub mapped_to: i64,
    /// Offset at which the cleaning ends; the batch before it stays, maybe emptied, so that the log's offsets are known.
    pub round_end: i64,
    /// See [`last_of_producers`].
    pub producers: &'a HashMap<i64, LastOfProducer>,
    /// Wall clock at the beginning, ms.
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// Largest decompressed block, bytes.
    pub decompressed_bytes_max: usize,
}

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The batch to write, if any of it stays; the same bytes if all does.
    pub bytes: Option<Bytes>,
    /// Records in it.
    pub records: usize,
    /// An aborted transaction whose marker this is, and of which batches are left.
    pub aborted: Option<CompletedTxn>,
}

impl<S: BuildHasher> Filter<'_, S> {
    /// Judges the next batch; batches must come in order from the log's start.
    ///
    /// # Errors
    /// The batch cannot be decoded.
    pub fn next(&self, batch: &BatchView, txns: &mut CleanedTxns) -> Result<Kept, RecordError> {
        let header = &batch.header;
        let block = batch.decompress(self.decompressed_bytes_max)?;
        let control = header.attributes.is_control();
        let (unneeded, aborted) = if control {
            let verdict = marker_verdict(batch, &block, txns)?;
            (verdict == MarkerVerdict::Unneeded, verdict)
        } else {
            let transactional = header.attributes.is_transactional();
            (txns.on_data(header.producer_id, header.last_offset(), transactional), MarkerVerdict::Needed)
        };
        let aborted = match aborted {
            MarkerVerdict::NeededByAborted(txn) => Some(txn),
            _ => None,
        };
        let horizon_passed = header.delete_horizon().is_some_and(|horizon| horizon <= self.now_ms);
        let discard = unneeded && (!control || horizon_passed);
        let must_stay = self.is_last_of_producer(header) || header.next_offset() == self.round_end;
        let (mut kept, mut tombstones) = (Vec::new(), false);
        for record in batch.walk(&block) {
            let record = record?;
            if !discard && (control || self.stays(header, &record)) {
                tombstones |= record.value.is_none();
                kept.push(record);
            }
        }
        let bytes = if kept.is_empty() {
            if must_stay { Some(emptied(header)?) } else { None }
        } else {
            let needs_horizon = (tombstones || (unneeded && control)) && !header.attributes.has_delete_horizon();
            let horizon = needs_horizon.then(|| self.now_ms.saturating_add(self.delete_retention_ms));
            if kept.len() == header.records_count as usize && horizon.is_none() {
                Some(batch.bytes.clone())
            } else {
                Some(rebuilt(header, &kept, horizon)?)
            }
        };
        Ok(Kept { bytes, records: kept.len(), aborted })
    }

    fn stays(&self, header: &BatchHeader, record: &RecordRef<'_>) -> bool {
        let offset = header.offset_at(record.offset_delta);
        if offset >= self.mapped_to {
            return true;
        }
        // Kafka drops records without a key from a compacted log, too: they cannot be told apart.
        let Some(key) = record.key else { return false };
        let latest = self.map.get(key).is_none_or(|latest| offset >= latest);
        let horizon_open = header.delete_horizon().is_none_or(|horizon| self.now_ms < horizon);
        latest && (record.value.is_some() || horizon_open)
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer_id()
            && self.producers.get(&header.producer_id).is_some_and(|last| match *last {
                LastOfProducer::Data(offset) => header.last_offset() == offset,
                LastOfProducer::Marker(epoch) => header.attributes.is_control() && header.producer_epoch == epoch,
            })
    }
}

/// Takes a control batch into the walk.
pub fn marker_verdict(batch: &BatchView, block: &[u8], txns: &mut CleanedTxns) -> Result<MarkerVerdict, RecordError> {
    let header = &batch.header;
    let Some(record) = batch.walk(block).next().transpose()? else {
        return Ok(txns.on_emptied_marker(header.last_offset()));
    };
    let marker = record.key.and_then(ControlMarker::from_key);
    Ok(txns.on_marker(header.producer_id, header.last_offset(), marker))
}

/// The batch without records: offsets, producer, sequence and times stay.
fn emptied(header: &BatchHeader) -> Result<Bytes, RecordError> {
    let attributes = header.attributes;
    let kept = Attributes::default()
        .with_log_append_time(attributes.is_log_append_time())
        .with_transactional(attributes.is_transactional())
        .with_control(attributes.is_control());
    encode_batch(&BatchHeader { attributes: kept, base_timestamp: NO_TIMESTAMP, ..*header }, &[])
}

/// The batch with only these records, under its old codec; `horizon` is a delete horizon that it gets now.
fn rebuilt(header: &BatchHeader, records: &[RecordRef<'_>], horizon: Option<i64>) -> Result<Bytes, RecordError> {
    let attributes = header.attributes;
    let codec: Codec = attributes.codec()?;
    let mut builder = BatchBuilder::new(codec)
        .base_offset(header.base_offset)
        .leader_epoch(header.partition_leader_epoch)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence)
        .transactional(attributes.is_transactional())
        .control(attributes.is_control())
        .last_offset_delta(header.last_offset_delta);
    if attributes.is_log_append_time() {
        builder = builder.log_append_time(header.max_timestamp);
    }
    let base = match horizon.or(header.delete_horizon()) {
        Some(horizon) => {
            builder = builder.delete_horizon(horizon);
            horizon
        }
        None => {
            builder = builder.base_timestamp(header.base_timestamp);
            header.base_timestamp
        }
    };
    for record in records {
        // Times count from another base now.
        let mut record = *record;
        record.timestamp_delta = header.base_timestamp.wrapping_add(record.timestamp_delta).wrapping_sub(base);
        builder.push_ref(&record)?;
    }
    builder.build()
}
