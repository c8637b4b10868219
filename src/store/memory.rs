//! A store without a disk: for tests, and for a daemon whose folder cannot be used.
use std::collections::BTreeMap;

use super::{Placed, Snapshot, Stamp, StateStore, StoreError};
use crate::core::progress::{Key, Record};

/// A store that is gone with its process.
#[derive(Debug, Default, Clone)]
pub struct MemoryStore {
    stamp: Option<Stamp>,
    records: BTreeMap<Key, (i64, Record)>,
}

impl StateStore for MemoryStore {
    fn load(&mut self) -> Result<Option<Snapshot>, StoreError> {
        let Some(stamp) = self.stamp.clone() else { return Ok(None) };
        let placed = |(offset, record): &(i64, Record)| Placed { offset: *offset, record: record.clone() };
        let mut records: Vec<Placed> = self.records.values().map(placed).collect();
        records.sort_by_key(|placed| placed.offset);
        Ok(Some(Snapshot { stamp, records }))
    }

    fn reset(&mut self, stamp: &Stamp, records: &[Placed]) -> Result<(), StoreError> {
        self.records.clear();
        self.stamp = Some(stamp.clone());
        self.append(records, stamp.next_offset)
    }

    fn append(&mut self, records: &[Placed], next_offset: i64) -> Result<(), StoreError> {
        let Some(stamp) = self.stamp.as_mut() else { return Err(never_reset("memory")) };
        for Placed { offset, record } in records {
            match record.value {
                Some(_) => self.records.insert(record.key.clone(), (*offset, record.clone())),
                None => self.records.remove(&record.key),
            };
        }
        stamp.next_offset = next_offset;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        0
    }
}

/// Appending to a store that does not know which topic it mirrors.
pub(super) fn never_reset(path: &str) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), reason: "nobody said yet which progress topic it mirrors".into() }
}
