//! Consumer groups of one cluster: which there are, who is in them, where they stand, and setting where an empty one stands.
use std::collections::BTreeMap;

use causeway_wire::{
    ApiKey, ErrorCode,
    client::ClientError,
    messages::{
        describe_groups::DescribeGroupsRequest,
        list_groups::ListGroupsRequest,
        offset_commit::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse},
    },
};

use super::{Admin, ClusterError};

/// What a group without members commits as: no member, no generation of the group (an admin client's commit).
const NO_GENERATION: i32 = -1;
/// "Not known": an epoch of the source would make consumers of the target loop on metadata (KIP-320).
const UNKNOWN_LEADER_EPOCH: i32 = -1;

/// A group as a cluster lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its name.
    pub name: String,
    /// `consumer` for groups that read topics; empty for groups that only ever committed; others are not ours to follow.
    pub protocol_type: String,
    /// `Empty`, `Stable`, `PreparingRebalance`, `CompletingRebalance`, `Dead`; empty when the broker is too old to say.
    pub state: String,
}

impl ListedGroup {
    /// True for groups whose positions mean something to consumers of topics.
    #[must_use]
    pub fn reads_topics(&self) -> bool {
        self.protocol_type.is_empty() || self.protocol_type == "consumer"
    }
}

/// Where a group stands in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset it will read.
    pub offset: i64,
    /// The text it left with the offset.
    pub metadata: String,
}

/// What became of one partition of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Whether it took effect.
    pub ok: bool,
    /// Kafka's name of the error; `NONE` without one.
    pub code: &'static str,
}

impl Admin {
    /// Lists all groups of the cluster. Every broker knows only those it coordinates, so all are asked.
    ///
    /// # Errors
    /// A broker that does not answer makes the whole answer incomplete, and so an error.
    pub async fn list_groups(&self) -> Result<Vec<ListedGroup>, ClusterError> {
        self.ping().await?;
        let mut found: BTreeMap<String, ListedGroup> = BTreeMap::new();
        for (node, _) in self.nodes() {
            let answer = self.client.node(node, ListGroupsRequest::default()).await.map_err(|e| self.fail(e))?;
            self.check(ApiKey::ListGroups, answer.error_code, &format!("node {node}"), None)?;
            for group in answer.groups {
                let listed =
                    ListedGroup { name: group.group_id, protocol_type: group.protocol_type, state: group.group_state };
                found.insert(listed.name.clone(), listed);
            }
        }
        Ok(found.into_values().collect())
    }

    /// How many members a group has; none when it does not exist.
    ///
    /// # Errors
    /// Its coordinator does not answer, or refuses.
    pub async fn group_members(&self, group: &str) -> Result<usize, ClusterError> {
        let request = DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
        let answer = self.client.coordinator(group, request).await.map_err(|e| self.fail(e))?;
        let Some(found) = answer.groups.into_iter().find(|found| found.group_id == group) else { return Ok(0) };
        // Kafka 4 answers GROUP_ID_NOT_FOUND (KIP-1043) where older ones described a dead group
        if ErrorCode(found.error_code) == ErrorCode::GROUP_ID_NOT_FOUND {
            return Ok(0);
        }
        self.check(ApiKey::DescribeGroups, found.error_code, group, None)?;
        Ok(found.members.len())
    }

    /// Where a group stands, in every partition it has committed.
    ///
    /// # Errors
    /// Its coordinator does not answer, or refuses.
    pub async fn group_offsets(&self, group: &str) -> Result<Vec<GroupOffset>, ClusterError> {
        let asked = OffsetFetchRequestGroup { group_id: group.to_owned(), topics: None, ..Default::default() };
        let request = OffsetFetchRequest { groups: vec![asked], ..Default::default() };
        let answer = match self.client.coordinator(group, request).await {
            // Before Kafka 3.0 a request names one group
            Err(ClientError::Encode { .. }) => {
                let request = OffsetFetchRequest { group_id: group.to_owned(), topics: None, ..Default::default() };
                self.client.coordinator(group, request).await
            }
            answer => answer,
        };
        self.read_offsets(group, answer.map_err(|e| self.fail(e))?)
    }

    fn read_offsets(&self, group: &str, answer: OffsetFetchResponse) -> Result<Vec<GroupOffset>, ClusterError> {
        let check = |code| self.check(ApiKey::OffsetFetch, code, group, None);
        check(answer.error_code)?;
        let mut found = Vec::new();
        let mut take = |topic: &str, partition: i32, code: i16, offset: i64, metadata: Option<String>| {
            check(code)?;
            if offset >= 0 {
                let metadata = metadata.unwrap_or_default();
                found.push(GroupOffset { topic: topic.to_owned(), partition, offset, metadata });
            }
            Ok::<(), ClusterError>(())
        };
        for topic in answer.topics {
            for p in topic.partitions {
                take(&topic.name, p.partition_index, p.error_code, p.committed_offset, p.metadata)?;
            }
        }
        for answered in answer.groups.into_iter().filter(|answered| answered.group_id == group) {
            check(answered.error_code)?;
            for topic in answered.topics {
                for p in topic.partitions {
                    take(&topic.name, p.partition_index, p.error_code, p.committed_offset, p.metadata)?;
                }
            }
        }
        Ok(found)
    }

    /// Sets where a group without members stands. A group that has members refuses it (`UNKNOWN_MEMBER_ID`), partition by partition:
    /// the broker itself guards what we saw before. No leader epoch goes with it: the source's mean nothing here.
    ///
    /// # Errors
    /// Its coordinator does not answer. What became of each partition is in the answer.
    pub async fn commit_offsets(&self, group: &str, offsets: &[GroupOffset]) -> Result<Vec<Committed>, ClusterError> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for at in offsets {
            topics.entry(&at.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: at.partition,
                committed_offset: at.offset,
                committed_leader_epoch: UNKNOWN_LEADER_EPOCH,
                committed_metadata: Some(at.metadata.clone()),
            });
        }
        let named = |(name, partitions): (&str, Vec<_>)| OffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions,
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            generation_id_or_member_epoch: NO_GENERATION,
            topics: topics.into_iter().map(named).collect(),
            ..Default::default()
        };
        let answer = self.client.coordinator(group, request).await.map_err(|e| self.fail(e))?;
        let mut done = Vec::new();
        for topic in answer.topics {
            for p in topic.partitions {
                let (topic, code) = (topic.name.clone(), ErrorCode(p.error_code));
                done.push(Committed { topic, partition: p.partition_index, ok: code.is_ok(), code: code.name() });
            }
        }
        Ok(done)
    }
}
