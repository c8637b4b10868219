//! OffsetCommit, OffsetFetch and the ends of groups and topics.

use causeway_wire::ErrorCode;

use super::{Coordinator, journal};
use crate::core::groups::Group;
use crate::core::groups::records::OffsetValue;

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
    /// Offsets of topics that exist.
    pub offsets: Vec<NewOffset>,
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
            let checked = match state.groups.get_mut(&request.group) {
                Some(group) => {
                    let instance = request.instance_id.as_deref();
                    group.check_commit(&request.member_id, instance, request.generation, now)
                }
                None if request.generation < 0 => {
                    let group = Group::new(&request.group, self.limits);
                    state.groups.insert(request.group.clone(), group);
                    Ok(())
                }
                None => Err(ErrorCode::ILLEGAL_GENERATION),
            };
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
            let group = state.groups.get(name);
            if name.is_empty() {
                return Err(ErrorCode::INVALID_GROUP_ID);
            }
            if group.is_none() && !state.offsets.has_group(name) {
                return Err(ErrorCode::GROUP_ID_NOT_FOUND);
            }
            if group.is_some_and(|g| !g.members.is_empty()) {
                return Err(ErrorCode::NON_EMPTY_GROUP);
            }
            let keys: Vec<(String, i32)> = state.offsets.of_group(name).map(|(t, p, _)| (t.to_owned(), p)).collect();
            let mut records: Vec<_> = keys.iter().map(|(t, p)| journal::offset_record(name, t, *p, None)).collect();
            records.push(journal::group_record(name, None));
            let written = self.write(name, &records);
            let base = written.base_offset().ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)?;
            state.offsets.remove_group(name, base + keys.len() as i64);
            state.groups.remove(name);
            state.schedule.set(name, None);
            written
        };
        written.durable().await
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
