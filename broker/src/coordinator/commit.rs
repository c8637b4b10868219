//! OffsetCommit, OffsetFetch and the ends of groups and topics.

use std::collections::BTreeSet;

use causeway_wire::ErrorCode;

use super::{Coordinator, State, journal};
use crate::core::groups::consumer::{CONSUMER, ConsumerGroup};
use crate::core::groups::records::OffsetValue;
use crate::core::groups::{Group, GroupState, Millis};

/// One offset to commit.
#[derive(Debug, Clone)]
pub struct NewOffset {
    /// Topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: String,
}

/// Who commits what.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// Group id.
    pub group: String,
    /// Empty for a commit by no member.
    pub member_id: String,
    /// Static membership.
    pub instance_id: Option<String>,
    /// -1 for a commit by no member.
    pub generation: i32,
    /// Of the request: members of the consumer protocol need 9.
    pub version: i16,
    /// Offsets of topics that exist.
    pub offsets: Vec<NewOffset>,
}

/// Topics whose offsets must stay.
enum ReadTopics {
    None,
    These(BTreeSet<String>),
    OfConsumers(String),
}

impl Coordinator {
    /// Commits offsets; a code for each, in order. Returns when they are durable.
    pub async fn commit(&self, request: &CommitRequest) -> Vec<ErrorCode> {
        let all = |code| vec![code; request.offsets.len()];
        // Kafka takes the empty name here (simple consumers of old), but not in JoinGroup.
        let fits = |o: &NewOffset| o.metadata.len() <= self.metadata_bytes_max;
        let written = {
            let now = self.now();
            let mut state = self.lock();
            let checked = self.check_commit(&mut state, request, now);
            if let Err(code) = checked {
                return all(code);
            }
            let good: Vec<&NewOffset> = request.offsets.iter().filter(|o| fits(o)).collect();
            if good.is_empty() {
                return all(ErrorCode::OFFSET_METADATA_TOO_LARGE);
            }
            let commit_timestamp = crate::clock::wall_ms();
            let value = |o: &NewOffset| OffsetValue {
                offset: o.offset,
                leader_epoch: o.leader_epoch,
                metadata: o.metadata.clone(),
                commit_timestamp,
            };
            let record =
                |o: &&NewOffset| journal::offset_record(&request.group, &o.topic, o.partition, Some(&value(o)));
            let written = self.write(&request.group, &good.iter().map(record).collect::<Vec<_>>());
            written.base_offset().map(|base| {
                let applied = good.iter().enumerate().map(|(i, o)| (base + i as i64, value(o), (*o).clone()));
                (written, applied.collect::<Vec<_>>())
            })
        };
        let Some((written, applied)) = written else { return all(ErrorCode::COORDINATOR_NOT_AVAILABLE) };
        if let Err(code) = written.durable().await {
            return all(code);
        }
        let mut state = self.lock();
        for (at, value, o) in applied {
            state.offsets.apply(&request.group, &o.topic, o.partition, Some(value), at);
        }
        let code = |o: &NewOffset| if fits(o) { ErrorCode::NONE } else { ErrorCode::OFFSET_METADATA_TOO_LARGE };
        request.offsets.iter().map(code).collect()
    }

    fn check_commit(&self, state: &mut State, request: &CommitRequest, now: Millis) -> Result<(), ErrorCode> {
        if let Some(group) = state.modern.get(&request.group) {
            return self.check_consumer_commit(group, request, request.version);
        }
        match state.groups.get_mut(&request.group) {
            Some(group) => {
                let instance = request.instance_id.as_deref();
                group.check_commit(&request.member_id, instance, request.generation, now)
            }
            None if request.generation < 0 => {
                let group = Group::new(&request.group, self.limits);
                state.groups.insert(request.group.clone(), group);
                Ok(())
            }
            // A client that believes in a group from before: Kafka's code depends on what the client can read (KIP-1043).
            None if request.version >= 9 => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            None => Err(ErrorCode::ILLEGAL_GENERATION),
        }
    }

    pub(super) fn check_consumer_commit(
        &self,
        group: &ConsumerGroup,
        request: &CommitRequest,
        version: i16,
    ) -> Result<(), ErrorCode> {
        let image = self.meta.image();
        let id = |topic: &str| image.topic(topic).map(|t| t.id);
        let partitions = request.offsets.iter().map(|o| (id(&o.topic), o.partition));
        group.check_commit(&request.member_id, request.generation, version, partitions)
    }

    /// Whether a member may read the offsets of its group (OffsetFetch 9 and later); a group that is not there has none.
    pub fn check_fetch(&self, group: &str, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        self.lock().modern.get(group).map_or(Ok(()), |g| g.check_fetch(member_id, epoch))
    }

    /// One committed offset.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<OffsetValue> {
        self.lock().offsets.get(group, topic, partition).cloned()
    }

    /// All committed offsets of a group, sorted by topic and partition.
    pub fn all_committed(&self, group: &str) -> Vec<(String, i32, OffsetValue)> {
        self.lock().offsets.of_group(group).map(|(t, p, v)| (t.to_owned(), p, v.clone())).collect()
    }

    /// Deletes a group without members and all its offsets.
    pub async fn delete_group(&self, name: &str) -> Result<(), ErrorCode> {
        let written = {
            let mut state = self.lock();
            let (classic, modern) = (state.groups.get(name), state.modern.get(name));
            if classic.is_none() && modern.is_none() && !state.offsets.has_group(name) {
                return Err(ErrorCode::GROUP_ID_NOT_FOUND);
            }
            if classic.is_some_and(|g| !g.members.is_empty()) || modern.is_some_and(|g| !g.members.is_empty()) {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            let keys: Vec<(String, i32)> = state.offsets.of_group(name).map(|(t, p, _)| (t.to_owned(), p)).collect();
            let mut records: Vec<_> = keys.iter().map(|(t, p)| journal::offset_record(name, t, *p, None)).collect();
            match modern {
                Some(group) => records.extend(group.tombstones().iter().map(|r| r.encode(name))),
                None => records.push(journal::group_record(name, None)),
            }
            let written = self.write(name, &records);
            let base = written.base_offset().ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
            state.offsets.remove_group(name, base + keys.len() as i64);
            state.groups.remove(name);
            state.modern.remove(name);
            state.schedule.set(name, None);
            written
        };
        written.durable().await
    }

    /// Deletes committed offsets (OffsetDelete): a code for each, in order. Only topics that no member reads.
    pub async fn delete_offsets(&self, name: &str, wanted: &[(String, i32)]) -> Result<Vec<ErrorCode>, ErrorCode> {
        let (codes, written) = {
            let mut state = self.lock();
            let read = self.read_topics(&state, name)?;
            let is_read = |topic: &str| match &read {
                ReadTopics::None => false,
                ReadTopics::These(topics) => topics.contains(topic),
                ReadTopics::OfConsumers(group) => state.modern.get(group).is_some_and(|g| g.is_subscribed_to(topic)),
            };
            let codes: Vec<ErrorCode> = wanted
                .iter()
                .map(|(t, _)| if is_read(t) { ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC } else { ErrorCode::NONE })
                .collect();
            let gone: Vec<&(String, i32)> = wanted
                .iter()
                .zip(&codes)
                .filter(|((t, p), code)| **code == ErrorCode::NONE && state.offsets.get(name, t, *p).is_some())
                .map(|(key, _)| key)
                .collect();
            if gone.is_empty() {
                return Ok(codes);
            }
            let records: Vec<_> = gone.iter().map(|(t, p)| journal::offset_record(name, t, *p, None)).collect();
            let written = self.write(name, &records);
            let base = written.base_offset().ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
            for (i, (topic, partition)) in gone.iter().enumerate() {
                state.offsets.apply(name, topic, *partition, None, base + i as i64);
            }
            (codes, written)
        };
        written.durable().await?;
        Ok(codes)
    }

    fn read_topics(&self, state: &State, name: &str) -> Result<ReadTopics, ErrorCode> {
        if state.modern.contains_key(name) {
            return Ok(ReadTopics::OfConsumers(name.to_owned()));
        }
        let Some(group) = state.groups.get(name) else {
            let known = state.offsets.has_group(name);
            return if known { Ok(ReadTopics::None) } else { Err(ErrorCode::GROUP_ID_NOT_FOUND) };
        };
        match group.state {
            GroupState::Empty => Ok(ReadTopics::None),
            GroupState::Dead => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            // What others than consumers read, nobody here can tell.
            _ if group.protocol_type.as_deref() != Some(CONSUMER) => Err(ErrorCode::NON_EMPTY_GROUP),
            // Unreadable metadata: as if every topic were read.
            _ => group.subscribed_topics().map(ReadTopics::These).ok_or(ErrorCode::NON_EMPTY_GROUP),
        }
    }

    /// Forgets every offset committed for a topic that was deleted.
    pub async fn topic_deleted(&self, topic: &str) {
        let mut waits = Vec::new();
        {
            let mut state = self.lock();
            for (group, partition) in state.offsets.of_topic(topic) {
                let written = self.write(&group, &[journal::offset_record(&group, topic, partition, None)]);
                if let Some(at) = written.base_offset() {
                    state.offsets.apply(&group, topic, partition, None, at);
                    waits.push(written);
                }
            }
        }
        for written in waits {
            // Logged where it failed; the offsets of a deleted topic would only be expired later.
            let _ = written.durable().await;
        }
    }
}
