//! OffsetForLeaderEpoch (23).
//!
//! *Behaviour*: the end of an epoch in our log, with which a client finds out whether its position was cut off (KIP-320).
//! An epoch we do not know yet: -1, -1.
//! *Versions*: 2-4. *Skipped*: followers.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};

use super::Context;
use crate::leader::check_leader_epoch;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 2..=4;

/// Answers the request.
pub async fn handle(context: &Context, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| OffsetForLeaderTopicResult {
        partitions: topic.partitions.iter().map(|asked| look_up(context, &topic.topic, asked)).collect(),
        topic: topic.topic,
        ..Default::default()
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn look_up(context: &Context, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let failed =
        |code: ErrorCode| EpochEndOffset { partition: asked.partition, error_code: code.0, ..Default::default() };
    let Some(partition) = context.node.partitions.get(topic, asked.partition) else {
        return failed(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    };
    if let Err(code) = check_leader_epoch(&partition, asked.current_leader_epoch) {
        return failed(code);
    }
    let (leader_epoch, end_offset) = partition.end_of_epoch(asked.leader_epoch).unwrap_or((-1, -1));
    EpochEndOffset { partition: asked.partition, leader_epoch, end_offset, ..Default::default() }
}
