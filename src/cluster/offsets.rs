//! Where partitions begin and end, asked per leader with many partitions in one request.

use std::collections::{BTreeMap, HashMap};

use causeway_wire::client::{TIMESTAMP_EARLIEST, TIMESTAMP_LATEST};
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use causeway_wire::{ApiKey, ErrorCode};

use super::{Admin, ClusterError};
use crate::core::batch::{SourceEnds, TargetEnds};
use crate::core::ids::{LeaderEpoch, SourceOffset, TargetOffset, TopicId};

/// Up to the high watermark.
const READ_UNCOMMITTED: i8 = 0;
/// Up to the last stable offset (KIP-98).
const READ_COMMITTED: i8 = 1;
/// Replica ID of an ordinary client.
const CONSUMER: i32 = -1;
/// How long a broker may look.
const TIMEOUT_MS: i32 = 10_000;

/// Topic and partition.
pub type Partition = (String, i32);
/// An answer per partition that has one; a partition without a leader, or refused, is an error of its own.
pub type PerPartition<T> = BTreeMap<Partition, Result<T, ClusterError>>;

impl Admin {
    /// Log start, high watermark and last stable offset of these partitions.
    ///
    /// # Errors
    /// The cluster does not answer at all; what concerns one partition stands in its place of the answer.
    pub async fn source_ends(&self, of: &[Partition]) -> Result<PerPartition<SourceEnds>, ClusterError> {
        // Last stable first, log start last: an end that is too small and a start that is too large by the time of asking are both safe.
        let stable = self.offsets(of, TIMESTAMP_LATEST, READ_COMMITTED).await?;
        let mut high = self.offsets(of, TIMESTAMP_LATEST, READ_UNCOMMITTED).await?;
        let mut start = self.offsets(of, TIMESTAMP_EARLIEST, READ_UNCOMMITTED).await?;
        let mut ends = BTreeMap::new();
        for (partition, stable) in stable {
            let (high, start) = (take(&mut high, &partition), take(&mut start, &partition));
            let joined = stable.and_then(|stable| {
                let (high, start) =
                    (high.ok_or_else(|| self.silent(&partition))??, start.ok_or_else(|| self.silent(&partition))??);
                Ok(SourceEnds {
                    log_start: SourceOffset(start.0),
                    high_watermark: SourceOffset(high.0.max(stable.0)),
                    last_stable: SourceOffset(stable.0),
                    leader_epoch: LeaderEpoch(high.1),
                })
            });
            ends.insert(partition, joined);
        }
        Ok(ends)
    }

    /// Log start and end of these partitions of a target.
    ///
    /// # Errors
    /// As [`Admin::source_ends`].
    pub async fn target_ends(&self, of: &[Partition]) -> Result<PerPartition<TargetEnds>, ClusterError> {
        let end = self.offsets(of, TIMESTAMP_LATEST, READ_UNCOMMITTED).await?;
        let mut start = self.offsets(of, TIMESTAMP_EARLIEST, READ_UNCOMMITTED).await?;
        let mut ends = BTreeMap::new();
        for (partition, end) in end {
            let start = take(&mut start, &partition);
            let joined = end.and_then(|end| {
                let start = start.ok_or_else(|| self.silent(&partition))??;
                Ok(TargetEnds { log_start: TargetOffset(start.0), log_end: TargetOffset(end.0) })
            });
            ends.insert(partition, joined);
        }
        Ok(ends)
    }

    /// The first offset whose record is at least as young as `timestamp` (ms); none when there is none.
    ///
    /// # Errors
    /// The partition's leader does not answer, or refuses.
    pub async fn offset_at(&self, topic: &str, partition: i32, timestamp: i64) -> Result<Option<i64>, ClusterError> {
        let listed = self.client.list_offset(topic, partition, timestamp).await.map_err(|e| self.fail(e))?;
        Ok((listed.offset >= 0).then_some(listed.offset))
    }

    /// The topic IDs of these partitions as their own leaders know them: whoever serves records of a re-created topic knows its new ID.
    /// `None`: the leader knows no such topic. Partitions whose leader does not answer are left out.
    ///
    /// # Errors
    /// The cluster does not answer at all.
    pub async fn topic_ids(&self, of: &[Partition]) -> Result<BTreeMap<Partition, Option<TopicId>>, ClusterError> {
        let mut leaderless = PerPartition::<()>::new();
        let mut found = BTreeMap::new();
        for (node, partitions) in self.by_leader(of, &mut leaderless).await? {
            let names = dedup(partitions.iter().map(|(topic, _)| topic.as_str()).collect());
            let named = |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
            let topics = Some(names.iter().map(named).collect());
            let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
            let Ok(answer) = self.client.node(node, request).await else { continue };
            let ids: HashMap<String, Option<TopicId>> = answer
                .topics
                .into_iter()
                .filter_map(|topic| match ErrorCode(topic.error_code) {
                    ErrorCode::NONE => Some((topic.name?, Some(TopicId(topic.topic_id.0)))),
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Some((topic.name?, None)),
                    _ => None,
                })
                .collect();
            let known = |partition: Partition| ids.get(&partition.0).copied().map(|id| (partition, id));
            found.extend(partitions.into_iter().filter_map(known));
        }
        if found.len() < of.len() {
            let names = dedup(of.iter().map(|(topic, _)| topic.as_str()).collect());
            self.client.metadata(Some(&names)).await.map_err(|e| self.fail(e))?;
        }
        Ok(found)
    }

    /// Offset and leader epoch per partition.
    async fn offsets(
        &self,
        of: &[Partition],
        timestamp: i64,
        isolation_level: i8,
    ) -> Result<PerPartition<(i64, i32)>, ClusterError> {
        let mut found = BTreeMap::new();
        for (node, partitions) in self.by_leader(of, &mut found).await? {
            let request = ListOffsetsRequest {
                replica_id: CONSUMER,
                isolation_level,
                topics: topics(&partitions, timestamp),
                timeout_ms: TIMEOUT_MS,
            };
            match self.client.node(node, request).await {
                Err(error) => {
                    let each = partitions.into_iter().map(|partition| (partition, Err(self.fail(error.clone()))));
                    found.extend(each);
                }
                Ok(answer) => {
                    for topic in answer.topics {
                        for listed in topic.partitions {
                            let subject = format!("{}-{}", topic.name, listed.partition_index);
                            let result = self.check(ApiKey::ListOffsets, listed.error_code, &subject, None);
                            let key = (topic.name.clone(), listed.partition_index);
                            found.insert(key, result.map(|()| (listed.offset, listed.leader_epoch)));
                        }
                    }
                }
            }
        }
        // A leader that moved is looked up anew before the next question.
        if found.values().any(Result::is_err) {
            let names: Vec<&str> = of.iter().map(|(topic, _)| topic.as_str()).collect();
            self.client.metadata(Some(&dedup(names))).await.map_err(|e| self.fail(e))?;
        }
        Ok(found)
    }

    /// Partitions by the node that leads them; those without one get their error.
    async fn by_leader<T>(
        &self,
        of: &[Partition],
        refused: &mut PerPartition<T>,
    ) -> Result<HashMap<i32, Vec<Partition>>, ClusterError> {
        let unknown: Vec<&str> =
            of.iter().map(|(topic, _)| topic.as_str()).filter(|topic| self.client.topic(topic).is_none()).collect();
        if !unknown.is_empty() {
            self.client.metadata(Some(&dedup(unknown))).await.map_err(|e| self.fail(e))?;
        }
        let mut nodes: HashMap<i32, Vec<Partition>> = HashMap::new();
        for (topic, partition) in of {
            let known = self.client.topic(topic).and_then(|topic| topic.partitions.get(partition).copied());
            match known.map(|partition| partition.leader) {
                Some(Some(leader)) => nodes.entry(leader).or_default().push((topic.clone(), *partition)),
                other => {
                    let code = match other {
                        None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                        Some(_) => ErrorCode::LEADER_NOT_AVAILABLE,
                    };
                    let error = self.check(ApiKey::Metadata, code.0, &format!("{topic}-{partition}"), None);
                    let error = error.err().unwrap_or_else(|| self.silent(&(topic.clone(), *partition)));
                    refused.insert((topic.clone(), *partition), Err(error));
                }
            }
        }
        Ok(nodes)
    }

    fn silent(&self, (topic, partition): &Partition) -> ClusterError {
        let detail = format!("the broker's answer leaves partition {partition} out");
        ClusterError::Unreadable { alias: self.alias().to_owned(), topic: topic.clone(), detail }
    }
}

fn take<T>(from: &mut PerPartition<T>, partition: &Partition) -> Option<Result<T, ClusterError>> {
    from.remove(partition)
}

fn dedup(mut names: Vec<&str>) -> Vec<&str> {
    names.sort_unstable();
    names.dedup();
    names
}

fn topics(partitions: &[Partition], timestamp: i64) -> Vec<ListOffsetsTopic> {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (topic, partition_index) in partitions {
        let asked = ListOffsetsPartition { partition_index: *partition_index, timestamp, ..Default::default() };
        topics.entry(topic).or_default().push(asked);
    }
    topics.into_iter().map(|(name, partitions)| ListOffsetsTopic { name: name.to_owned(), partitions }).collect()
}
