//! `.snapshot`: producer state at an offset, in Kafka's binary format (version i16, CRC-32C u32, then the producers).
//!
//! Kafka keeps one entry per producer, so that after a restart it knows only the last batch of each. We write up to five, the oldest first: a Kafka node that
//! reads the file lets the last one win and gets what it expects; we get all five back, and a producer may retry any of them across our restart (law R14).

use std::path::Path;

use bytes::{Bytes, BytesMut};
use causeway_wire::Message;
use causeway_wire::messages::producer_snapshot::{ProducerEntry as Row, ProducerSnapshot};

use super::disk::{Disk, read_file};
use super::error::LogError;
use super::names::{FileKind, segment_file};
use crate::core::producer_state::{BATCHES_MAX, ProducerEntry, ProducerState, SeenBatch};

const VERSION: i16 = 1;
/// Version and CRC.
const CRC_AT: usize = 2;
const PRODUCERS_AT: usize = 6;
/// Kafka's "none" in sequence, offset and epoch fields.
const NONE: i32 = -1;

/// Writes the snapshot at `offset`. It is not flushed: a damaged one is noticed by its CRC and an older one is used.
pub(crate) fn write(disk: &dyn Disk, dir: &Path, offset: i64, producers: &ProducerState) -> Result<(), LogError> {
    let path = segment_file(dir, offset, FileKind::Snapshot);
    let raw = encode(producers);
    let written = disk.open(&path, true).and_then(|file| {
        file.set_len(0)?;
        super::disk::write_all_at(&*file, &mut [std::io::IoSlice::new(&raw)], 0)
    });
    written.map_err(|error| LogError::io("write", &path, &error))
}

/// Reads the snapshot at `offset`; `None` if it is missing or damaged.
pub(crate) fn read(disk: &dyn Disk, dir: &Path, offset: i64) -> Result<Option<ProducerState>, LogError> {
    let raw = read_file(disk, &segment_file(dir, offset, FileKind::Snapshot))?;
    Ok(raw.and_then(|raw| decode(raw.into())))
}

fn encode(producers: &ProducerState) -> BytesMut {
    let mut sorted: Vec<_> = producers.iter().collect();
    sorted.sort_unstable_by_key(|(id, _)| *id);
    let snapshot = ProducerSnapshot {
        crc: 0,
        producer_entries: sorted.into_iter().flat_map(|(id, entry)| rows(id, entry)).collect(),
    };
    let mut raw = BytesMut::new();
    raw.extend_from_slice(&VERSION.to_be_bytes());
    snapshot.encode(VERSION, &mut raw).expect("the snapshot format takes all values of its fields");
    let crc = crc32c::crc32c(&raw[PRODUCERS_AT..]);
    raw[CRC_AT..PRODUCERS_AT].copy_from_slice(&crc.to_be_bytes());
    raw
}

fn rows(id: i64, entry: &ProducerEntry) -> Vec<Row> {
    let row = |last_sequence, last_offset, offset_delta, timestamp| Row {
        producer_id: id,
        epoch: entry.epoch,
        last_sequence,
        last_offset,
        offset_delta,
        timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_first_offset: entry.txn_first_offset.unwrap_or(-1),
    };
    let mut rows: Vec<Row> = entry
        .batches
        .iter()
        .map(|seen| {
            let delta = (seen.last_offset - seen.base_offset) as i32;
            row(seen.last_sequence, seen.last_offset, delta, seen.timestamp)
        })
        .collect();
    match rows.last_mut() {
        // A marker may be newer than the last batch; expiry counts from it.
        Some(last) => last.timestamp = entry.last_timestamp,
        None => rows.push(row(NONE, i64::from(NONE), 0, entry.last_timestamp)),
    }
    rows
}

fn decode(raw: Bytes) -> Option<ProducerState> {
    let version = i16::from_be_bytes(*raw.first_chunk()?);
    let crc = u32::from_be_bytes(*raw.get(CRC_AT..)?.first_chunk()?);
    if version != VERSION || crc != crc32c::crc32c(raw.get(PRODUCERS_AT..)?) {
        return None;
    }
    let mut body = raw.slice(CRC_AT..);
    let snapshot = ProducerSnapshot::decode(VERSION, &mut body).ok()?;
    let mut producers: std::collections::HashMap<i64, ProducerEntry> = std::collections::HashMap::new();
    for row in snapshot.producer_entries {
        let entry = producers.entry(row.producer_id).or_insert_with(|| ProducerEntry {
            epoch: row.epoch,
            batches: Vec::new(),
            last_timestamp: row.timestamp,
            coordinator_epoch: row.coordinator_epoch,
            txn_first_offset: None,
        });
        entry.epoch = row.epoch;
        entry.coordinator_epoch = row.coordinator_epoch;
        entry.last_timestamp = row.timestamp;
        entry.txn_first_offset = (row.current_txn_first_offset >= 0).then_some(row.current_txn_first_offset);
        if row.last_sequence > NONE && entry.batches.len() < BATCHES_MAX {
            entry.batches.push(SeenBatch {
                base_sequence: (i64::from(row.last_sequence) - i64::from(row.offset_delta)).rem_euclid(1 << 31) as i32,
                last_sequence: row.last_sequence,
                base_offset: row.last_offset - i64::from(row.offset_delta),
                last_offset: row.last_offset,
                timestamp: row.timestamp,
            });
        }
    }
    let mut state = ProducerState::default();
    producers.into_iter().for_each(|(id, entry)| state.restore(id, entry));
    Some(state)
}
