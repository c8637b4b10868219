//! Committed positions of groups, read and written through the wire client as an administrator would.

use std::collections::HashMap;

use causeway_wire::ErrorCode;
use causeway_wire::client::Client;
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use causeway_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};

use super::error::DrillError;

/// A commit by somebody who is no member of the group has this generation.
const NO_GENERATION: i32 = -1;

/// Next offsets that a group has committed, by topic and partition, as the cluster tells them.
///
/// # Errors
/// The cluster does not answer, or refuses.
pub async fn committed(client: &Client, group: &str) -> Result<HashMap<(String, i32), i64>, DrillError> {
    let asked = OffsetFetchRequestGroup { group_id: group.to_owned(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![asked], ..Default::default() };
    let what = format!("read the committed positions of group {group}");
    let answer = client.coordinator(group, request).await.map_err(DrillError::cluster(what.clone()))?;
    let mut positions = HashMap::new();
    for group in answer.groups {
        if group.error_code != 0 {
            return Err(DrillError::Unreadable { what: format!("{what}: {}", ErrorCode(group.error_code)) });
        }
        for topic in group.topics {
            for partition in topic.partitions.iter().filter(|partition| partition.committed_offset >= 0) {
                positions.insert((topic.name.clone(), partition.partition_index), partition.committed_offset);
            }
        }
    }
    Ok(positions)
}

/// Commits positions for a group that has no members.
///
/// # Errors
/// The cluster does not answer, or refuses one of them.
pub async fn commit(client: &Client, group: &str, positions: &[(String, i32, i64)]) -> Result<(), DrillError> {
    let topic = |(name, partition, offset): &(String, i32, i64)| OffsetCommitRequestTopic {
        name: name.clone(),
        partitions: vec![OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..Default::default()
        }],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: NO_GENERATION,
        topics: positions.iter().map(topic).collect(),
        ..Default::default()
    };
    let what = format!("commit positions of group {group}");
    let answer = client.coordinator(group, request).await.map_err(DrillError::cluster(what.clone()))?;
    let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code);
    match codes.into_iter().find(|code| *code != 0) {
        None => Ok(()),
        Some(code) => Err(DrillError::Unreadable { what: format!("{what}: {}", ErrorCode(code)) }),
    }
}
