//! OffsetFetch (9).
//!
//! *Behaviour*: committed offsets of one group, or from version 8 of several; no topics given means all. -1 where nothing is
//! committed. With `require_stable` an offset that an open transaction may still change is UNSTABLE_OFFSET_COMMIT (KIP-447).
//! A member of a consumer group that says who it is must be one, of its current epoch (version 9).
//! *Versions*: 1-10 (10 names topics by id). *Skipped*: nothing.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use causeway_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use causeway_wire::{ErrorCode, Uuid};

use super::Context;
use crate::core::groups::records::OffsetValue;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=10;

/// Answers the request.
pub async fn handle(context: &Context, request: OffsetFetchRequest) -> OffsetFetchResponse {
    if context.version() >= 8 {
        // A group named twice is shown once: else a small request could ask for an endless answer.
        let mut seen = HashSet::new();
        let once = request.groups.into_iter().filter(|g| seen.insert(g.group_id.clone()));
        let groups = once.map(|group| of_group(context, group, request.require_stable)).collect();
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    if let Err(code) = context.node.groups_readable() {
        return OffsetFetchResponse { error_code: code.0, ..Default::default() };
    }
    let topics = match request.topics {
        // Version 1 has no null: an empty list there asks for nothing.
        Some(topics) => topics.into_iter().map(|t| (t.name, Some(t.partition_indexes))).collect(),
        None => all_topics(context, &request.group_id),
    };
    let show = |(name, indexes): (String, Option<Vec<i32>>)| OffsetFetchResponseTopic {
        partitions: partitions(context, &request.group_id, &name, indexes, request.require_stable)
            .into_iter()
            .map(|(partition_index, value, code)| OffsetFetchResponsePartition {
                partition_index,
                committed_offset: value.offset,
                committed_leader_epoch: value.leader_epoch,
                metadata: Some(value.metadata),
                error_code: code.0,
                ..Default::default()
            })
            .collect(),
        name,
        ..Default::default()
    };
    OffsetFetchResponse { topics: topics.into_iter().map(show).collect(), ..Default::default() }
}

fn of_group(context: &Context, group: OffsetFetchRequestGroup, stable: bool) -> OffsetFetchResponseGroup {
    let member = group.member_id.as_deref();
    let check = || context.node.coordinator.check_fetch(&group.group_id, member, group.member_epoch);
    if let Err(code) = context.node.groups_readable().and_then(|()| check()) {
        return OffsetFetchResponseGroup { group_id: group.group_id, error_code: code.0, ..Default::default() };
    }
    let by_id = context.version() >= 10;
    let image = context.node.meta.image();
    let asked: Vec<(Option<String>, Uuid, Option<Vec<i32>>)> = match group.topics {
        Some(topics) => topics
            .into_iter()
            .map(|t| {
                let name = if by_id { image.topic_by_id(t.topic_id).map(|t| t.name.clone()) } else { Some(t.name) };
                (name, t.topic_id, Some(t.partition_indexes))
            })
            .collect(),
        None => all_topics(context, &group.group_id)
            .into_iter()
            .filter_map(|(name, indexes)| {
                let id = image.topic(&name).map_or(Uuid::ZERO, |t| t.id);
                // A topic that is gone has no id to be named by.
                (!by_id || !id.is_zero()).then_some((Some(name), id, indexes))
            })
            .collect(),
    };
    let show = |(name, topic_id, indexes): (Option<String>, Uuid, Option<Vec<i32>>)| {
        let found = match &name {
            Some(name) => partitions(context, &group.group_id, name, indexes, stable),
            None => {
                let unknown = |p| (p, nothing(), ErrorCode::UNKNOWN_TOPIC_ID);
                indexes.unwrap_or_default().into_iter().map(unknown).collect()
            }
        };
        let partition = |(partition_index, value, code): Found| OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: value.offset,
            committed_leader_epoch: value.leader_epoch,
            metadata: Some(value.metadata),
            error_code: code.0,
            ..Default::default()
        };
        OffsetFetchResponseTopics {
            name: name.clone().unwrap_or_default(),
            topic_id: if by_id { topic_id } else { Uuid::ZERO },
            partitions: found.into_iter().map(partition).collect(),
            ..Default::default()
        }
    };
    let topics = asked.into_iter().map(show).collect();
    OffsetFetchResponseGroup { group_id: group.group_id.clone(), topics, ..Default::default() }
}

/// Every topic with offsets of the group; no indexes stands for all partitions that have one.
fn all_topics(context: &Context, group: &str) -> Vec<(String, Option<Vec<i32>>)> {
    let mut names: Vec<String> = context.node.coordinator.all_committed(group).into_iter().map(|(t, ..)| t).collect();
    names.dedup();
    names.into_iter().map(|name| (name, None)).collect()
}

/// Partition, its committed offset, its error.
type Found = (i32, OffsetValue, ErrorCode);

fn partitions(context: &Context, group: &str, topic: &str, indexes: Option<Vec<i32>>, stable: bool) -> Vec<Found> {
    let coordinator = &context.node.coordinator;
    let found: Vec<(i32, OffsetValue)> = match indexes {
        Some(indexes) => {
            indexes.into_iter().map(|p| (p, coordinator.committed(group, topic, p).unwrap_or_else(nothing))).collect()
        }
        None => {
            let all = coordinator.all_committed(group).into_iter();
            all.filter(|(t, ..)| t == topic).map(|(_, p, value)| (p, value)).collect()
        }
    };
    let judge = |(partition, value)| match stable && coordinator.is_unstable(group, topic, partition) {
        true => (partition, nothing(), ErrorCode::UNSTABLE_OFFSET_COMMIT),
        false => (partition, value, ErrorCode::NONE),
    };
    found.into_iter().map(judge).collect()
}

fn nothing() -> OffsetValue {
    OffsetValue { offset: -1, leader_epoch: -1, ..OffsetValue::default() }
}
