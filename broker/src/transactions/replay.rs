//! Reading `__transaction_state` back at start (law R20: nobody is served before), and taking up what was decided.

use std::sync::Arc;

use causeway_wire::records::{Batches, DECOMPRESSED_BYTES_MAX, Record, decode_records};

use super::{Entry, STATE_TOPIC, State, TxnCoordinator};
use crate::core::txn::Txn;
use crate::core::txn::records::{self, TxnRecordError};
use crate::partitions::Partition;

/// Bytes read at once while replaying.
const CHUNK: usize = 1 << 20;

impl TxnCoordinator {
    /// Fills the coordinator from the log. Records that are not of a known form are passed over with a warning.
    pub fn replay(&self) -> Result<(), String> {
        let mut state = self.lock();
        for partition in self.partitions.of_topic(STATE_TOPIC) {
            replay_partition(&partition, &mut state)?;
        }
        if !state.txns.is_empty() {
            tracing::info!(transactional_ids = state.txns.len(), "transactions restored");
        }
        Ok(())
    }

    /// Finishes every transaction that was decided before the start.
    pub fn resume(self: &Arc<Self>) {
        let state = self.lock();
        for (id, _) in state.txns.iter().filter(|(_, entry)| entry.txn.state.is_prepared()) {
            tracing::info!(transactional_id = id, "finishing a transaction that was decided before the start");
            self.finish(id);
        }
    }
}

fn replay_partition(partition: &Partition, state: &mut State) -> Result<(), String> {
    let log = &partition.log;
    let (mut at, end) = (log.start_offset(), log.end_offset());
    while at < end {
        let fetched = log.read(at, CHUNK, end).map_err(|e| e.to_string())?;
        if fetched.next_offset <= at {
            break;
        }
        let from = at;
        at = fetched.next_offset;
        for batch in Batches::new(fetched.bytes) {
            let batch = batch.map_err(|e| e.to_string())?;
            if batch.header.attributes.is_control() {
                continue;
            }
            for record in decode_records(&batch, DECOMPRESSED_BYTES_MAX).map_err(|e| e.to_string())? {
                let offset = batch.header.base_offset + i64::from(record.offset_delta);
                if offset < from {
                    continue;
                }
                if let Err(error) = replay_record(&record, end, state) {
                    let partition = log.partition();
                    tracing::warn!(%error, partition, offset, "record of {STATE_TOPIC} passed over");
                }
            }
        }
    }
    Ok(())
}

fn replay_record(record: &Record, end: i64, state: &mut State) -> Result<(), TxnRecordError> {
    let Some(key) = record.key.clone() else { return Ok(()) };
    let id = records::decode_key(key)?;
    match record.value.clone() {
        Some(value) => {
            let txn = Txn::decode(value)?;
            state.txns.insert(id, Entry { txn, end });
        }
        None => {
            state.txns.remove(&id);
        }
    }
    Ok(())
}
