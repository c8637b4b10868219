//! Reading `__consumer_offsets` back at start.

use std::collections::BTreeMap;

use bytes::Bytes;
use causeway_wire::records::{BatchView, Batches, ControlMarker, DECOMPRESSED_BYTES_MAX, Record, decode_records};

use super::{Coordinator, OFFSETS_TOPIC};
use crate::core::groups::Group;
use crate::core::groups::consumer::{self, ConsumerGroup};
use crate::core::groups::pending::PendingOffset;
use crate::core::groups::records::{GROUP_KEY, GroupValue, Key, OffsetValue, RecordFormatError};
use crate::partitions::Partition;

/// Bytes read at once while replaying.
const CHUNK: usize = 1 << 20;

impl Coordinator {
    /// Fills the coordinator from the log. Records that are not of a known form are passed over with a warning.
    pub fn replay(&self) -> Result<(), String> {
        let mut groups: BTreeMap<String, Option<GroupValue>> = BTreeMap::new();
        for partition in self.partitions.of_topic(OFFSETS_TOPIC) {
            self.replay_partition(&partition, &mut groups)?;
        }
        let now = self.now();
        let mut state = self.lock();
        // What compaction left of groups that are gone.
        state.modern.retain(|_, group| !group.is_blank());
        let modern: Vec<String> = state.modern.keys().cloned().collect();
        for id in modern {
            let session_timeout = self.consumer_limits(&id).session_timeout;
            if let Some(group) = state.modern.get_mut(&id) {
                group.restart_sessions(session_timeout, now);
            }
            self.reschedule(&mut state, &id);
        }
        for (id, value) in groups {
            let Some(value) = value.filter(|_| !state.modern.contains_key(&id)) else { continue };
            let group = Group::restore(&id, self.limits, value, now);
            state.groups.insert(id.clone(), group);
            self.act(&mut state, &id, Group::shrink);
        }
        if !state.groups.is_empty() || !state.modern.is_empty() {
            tracing::info!(classic = state.groups.len(), consumer = state.modern.len(), "groups restored");
        }
        Ok(())
    }

    fn replay_partition(
        &self,
        partition: &Partition,
        groups: &mut BTreeMap<String, Option<GroupValue>>,
    ) -> Result<(), String> {
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
                let header = batch.header;
                if header.attributes.is_control() {
                    if let Some(commit) = outcome(&batch) {
                        self.lock().end_txn(log.partition(), header.producer_id, commit);
                    }
                    continue;
                }
                let txn = header.attributes.is_transactional().then_some((log.partition(), header.producer_id));
                let records = decode_records(&batch, DECOMPRESSED_BYTES_MAX).map_err(|e| e.to_string())?;
                for record in records {
                    let offset = batch.header.base_offset + i64::from(record.offset_delta);
                    if offset < from {
                        continue;
                    }
                    if let Err(error) = self.replay_record(&record, offset, txn, groups) {
                        let partition = log.partition();
                        tracing::warn!(%error, partition, offset, "record of {OFFSETS_TOPIC} passed over");
                    }
                }
            }
        }
        Ok(())
    }

    fn replay_record(
        &self,
        record: &Record,
        offset: i64,
        txn: Option<(i32, i64)>,
        groups: &mut BTreeMap<String, Option<GroupValue>>,
    ) -> Result<(), RecordFormatError> {
        let Some(key) = record.key.clone() else { return Ok(()) };
        if key.first_chunk().is_some_and(|kind| i16::from_be_bytes(*kind) > GROUP_KEY) {
            self.replay_consumer(key, record.value.clone())?;
            return Ok(());
        }
        match Key::decode(key)? {
            Key::Offset(group, topic, partition) => {
                let value = record.value.clone().map(OffsetValue::decode).transpose()?;
                match (txn, value) {
                    (Some((journal, producer)), Some(value)) => {
                        let pending = PendingOffset { group, topic, partition, value, at: offset };
                        self.lock().pending.add(journal, producer, pending);
                    }
                    (_, value) => self.lock().offsets.apply(&group, &topic, partition, value, offset),
                }
            }
            Key::Group(group) => {
                let value = record.value.clone().map(GroupValue::decode).transpose()?;
                groups.insert(group, value);
            }
        }
        Ok(())
    }

    fn replay_consumer(&self, key: Bytes, value: Option<Bytes>) -> Result<(), RecordFormatError> {
        let Some((id, record)) = consumer::Record::decode(key, value)? else { return Ok(()) };
        let now = self.now();
        let mut state = self.lock();
        let group = state.modern.entry(id.clone()).or_insert_with(|| ConsumerGroup::new(&id));
        group.apply(&record, now);
        if record == consumer::Record::Group(None) && group.members.is_empty() {
            state.modern.remove(&id);
        }
        Ok(())
    }
}

/// Whether a transaction marker commits; none for other control batches.
fn outcome(batch: &BatchView) -> Option<bool> {
    let block = batch.decompress(DECOMPRESSED_BYTES_MAX).ok()?;
    let record = batch.walk(&block).next()?.ok()?;
    let (marker, _) = ControlMarker::from_record(&record)?;
    Some(marker == ControlMarker::Commit)
}
