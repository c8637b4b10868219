//! OffsetCommit (8).
//!
//! *Behaviour*: commits of members of the current generation, or of nobody while the group has no members. Durable in
//! `__consumer_offsets` before the answer. Partitions that do not exist are refused one by one.
//! Members of consumer groups commit with their member epoch, from version 9 on.
//! *Versions*: 2-10 (10 names topics by id). *Skipped*: `retention_time_ms` of old versions.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::Context;
use crate::coordinator::{CommitRequest, NewOffset};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 2..=10;

/// Answers the request.
pub async fn handle(context: &Context, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let image = context.node.meta.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut offsets = Vec::new();
    // Where the answer of each offset belongs.
    let mut places = Vec::new();
    for topic in &request.topics {
        let by_id = context.version() >= 10;
        let found = if by_id { image.topic_by_id(topic.topic_id) } else { image.topic(&topic.name) };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for p in &topic.partitions {
            let exists =
                found.is_some_and(|t| usize::try_from(p.partition_index).is_ok_and(|i| i < t.partitions.len()));
            let code = match found {
                None if by_id => ErrorCode::UNKNOWN_TOPIC_ID,
                _ if !exists => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                _ => ErrorCode::NONE,
            };
            if let (Some(found), ErrorCode::NONE) = (found, code) {
                places.push((topics.len(), partitions.len()));
                offsets.push(NewOffset {
                    topic: found.name.clone(),
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.clone().unwrap_or_default(),
                });
            }
            partitions.push(OffsetCommitResponsePartition {
                partition_index: p.partition_index,
                error_code: code.0,
                ..Default::default()
            });
        }
        topics.push(OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
            ..Default::default()
        });
    }
    drop(image);
    let commit = CommitRequest {
        group: request.group_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id_or_member_epoch,
        version: context.version(),
        offsets,
    };
    let codes = if commit.offsets.is_empty() {
        Vec::new()
    } else {
        match context.node.ready_for_groups().await {
            Ok(()) => context.node.coordinator.commit(&commit).await,
            Err(code) => vec![code; commit.offsets.len()],
        }
    };
    for ((topic, partition), code) in places.into_iter().zip(codes) {
        topics[topic].partitions[partition].error_code = code.0;
    }
    OffsetCommitResponse { topics, ..Default::default() }
}
