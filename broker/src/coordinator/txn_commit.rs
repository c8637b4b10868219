//! Offsets committed in transactions: TxnOffsetCommit and the markers in `__consumer_offsets`.

use std::sync::Arc;

use causeway_wire::ErrorCode;

use super::commit::{CommitRequest, NewOffset};
use super::journal::{self, OFFSETS_TOPIC};
use super::{Coordinator, State, partition_for};
use crate::core::groups::pending::PendingOffset;
use crate::core::groups::records::OffsetValue;
use crate::core::groups::{Group, Millis};
use crate::core::txn::Producer;
use crate::core::verification::Guard;
use crate::errors::log_code;
use crate::partitions::Partition;

impl Coordinator {
    /// The partition of `__consumer_offsets` that keeps a group.
    pub fn journal_of(&self, group: &str) -> Option<Arc<Partition>> {
        // What metadata says, not what is open yet: a group must stay in one partition from the first record on.
        let count = self.meta.image().topic(OFFSETS_TOPIC).map_or(0, |t| t.partitions.len() as i32);
        self.partitions.get(OFFSETS_TOPIC, partition_for(group, count))
    }

    /// Writes offsets as part of a producer's transaction; a code for each, in order. They become visible with the transaction's commit.
    pub async fn commit_in_txn(
        &self,
        request: &CommitRequest,
        producer: Producer,
        guard: Option<Guard>,
    ) -> Vec<ErrorCode> {
        let all = |code| vec![code; request.offsets.len()];
        let fits = |o: &NewOffset| o.metadata.len() <= self.metadata_bytes_max;
        let written = {
            let now = self.now();
            let mut state = self.lock();
            let checked = self.check_txn_commit(&mut state, request, now);
            if let Err(code) = checked {
                return all(code);
            }
            let good: Vec<&NewOffset> = request.offsets.iter().filter(|o| fits(o)).collect();
            if good.is_empty() {
                return all(ErrorCode::OFFSET_METADATA_TOO_LARGE);
            }
            let now = crate::clock::wall_ms();
            let values: Vec<OffsetValue> = good.iter().map(|o| value(o, now)).collect();
            let record = |(o, value): (&&NewOffset, &OffsetValue)| {
                journal::offset_record(&request.group, &o.topic, o.partition, Some(value))
            };
            let records: Vec<_> = good.iter().zip(&values).map(record).collect();
            let Some(partition) = self.journal_of(&request.group) else {
                return all(ErrorCode::COORDINATOR_NOT_AVAILABLE);
            };
            let appended = match journal::append_in_txn(&partition, &records, producer, guard) {
                Ok(appended) => appended,
                Err(error) => {
                    tracing::info!(group = request.group, %error, "offsets of a transaction refused");
                    return all(log_code(&error));
                }
            };
            let number = partition.log.partition();
            for (i, (o, value)) in good.iter().zip(values).enumerate() {
                let at = appended.base_offset + i as i64;
                let (group, topic) = (request.group.clone(), o.topic.clone());
                let offset = PendingOffset { group, topic, partition: o.partition, value, at };
                state.pending.add(number, producer.id, offset);
            }
            (partition, appended.last_offset + 1)
        };
        if let Err(error) = written.0.log.wait_durable(written.1).await {
            tracing::error!(%error, "offsets of a transaction are not durable");
            return all(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        let code = |o: &NewOffset| if fits(o) { ErrorCode::NONE } else { ErrorCode::OFFSET_METADATA_TOO_LARGE };
        request.offsets.iter().map(code).collect()
    }

    fn check_txn_commit(&self, state: &mut State, request: &CommitRequest, now: Millis) -> Result<(), ErrorCode> {
        let instance = request.instance_id.as_deref();
        // Clients of old send no member: only what is given is checked.
        let anonymous = request.generation < 0 && request.member_id.is_empty() && instance.is_none();
        if let Some(group) = state.modern.get(&request.group) {
            return if anonymous { Ok(()) } else { self.check_consumer_commit(group, request, i16::MAX) };
        }
        match state.groups.get_mut(&request.group) {
            Some(_) if anonymous => Ok(()),
            Some(group) => group.check_commit(&request.member_id, instance, request.generation, now),
            None if request.generation < 0 => {
                state.groups.insert(request.group.clone(), Group::new(&request.group, self.limits));
                Ok(())
            }
            None => Err(ErrorCode::ILLEGAL_GENERATION),
        }
    }

    /// A producer's transaction ended in a partition of `__consumer_offsets`, durably.
    pub fn end_txn(&self, journal: i32, producer_id: i64, commit: bool) {
        self.lock().end_txn(journal, producer_id, commit);
    }

    /// Whether an open transaction may still change a committed offset (`require_stable`, KIP-447).
    pub fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.lock().pending.is_pending(group, topic, partition)
    }
}

fn value(offset: &NewOffset, commit_timestamp: i64) -> OffsetValue {
    OffsetValue {
        offset: offset.offset,
        leader_epoch: offset.leader_epoch,
        metadata: offset.metadata.clone(),
        commit_timestamp,
    }
}

impl State {
    pub(super) fn end_txn(&mut self, journal: i32, producer_id: i64, commit: bool) {
        let ended = self.pending.end(journal, producer_id);
        for offset in ended.into_iter().filter(|_| commit) {
            let PendingOffset { group, topic, partition, value, at } = offset;
            self.offsets.apply(&group, &topic, partition, Some(value), at);
        }
    }
}
