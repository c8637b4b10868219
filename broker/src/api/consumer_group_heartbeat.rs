//! ConsumerGroupHeartbeat (68).
//!
//! *Behaviour*: see `core::groups::consumer` (KIP-848): joins, lives and leaves; the assignment is made here. What changes is
//! durable in `__consumer_offsets` before the answer. With `group.version` below 1: UNSUPPORTED_VERSION.
//! *Versions*: 0-1 (1: regular expressions, member ids made by clients). *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ResponseTopicPartitions,
};

use super::Context;
use crate::core::features::GROUP_VERSION;
use crate::core::groups::consumer::{HeartbeatReply, HeartbeatRequest, Partitions};
use crate::ids::random_uuid;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// Answers the request.
pub async fn handle(context: &Context, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    let enabled = context.node.meta.image().feature_level(GROUP_VERSION) >= 1;
    if !enabled {
        return failed(ErrorCode::UNSUPPORTED_VERSION, Some(format!("The feature {GROUP_VERSION} is off.")));
    }
    if let Err(code) = context.node.ready_for_groups().await {
        return failed(code, None);
    }
    let group = request.group_id.clone();
    let asked = core_request(context, request);
    match context.node.coordinator.consumer_heartbeat(&group, &asked, context.version()).await {
        Ok(reply) => show(reply),
        Err(refusal) => failed(refusal.code, Some(refusal.message)),
    }
}

fn failed(code: ErrorCode, error_message: Option<String>) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse { error_code: code.0, error_message, ..Default::default() }
}

fn core_request(context: &Context, r: ConsumerGroupHeartbeatRequest) -> HeartbeatRequest {
    let owned = r.topic_partitions.map(|topics| {
        let mut out = Partitions::new();
        for topic in topics {
            out.entry(topic.topic_id).or_default().extend(topic.partitions);
        }
        out
    });
    HeartbeatRequest {
        member_id: r.member_id,
        epoch: r.member_epoch,
        instance_id: r.instance_id,
        rack_id: r.rack_id,
        rebalance_timeout: r.rebalance_timeout_ms,
        topics: r.subscribed_topic_names,
        regex: r.subscribed_topic_regex,
        assignor: r.server_assignor,
        owned,
        client_id: context.header.client_id.clone().unwrap_or_default(),
        client_host: context.peer.host(),
        new_member_id: random_uuid().to_string(),
    }
}

fn show(reply: HeartbeatReply) -> ConsumerGroupHeartbeatResponse {
    let assignment = reply.assignment.map(|partitions| Assignment {
        topic_partitions: partitions
            .into_iter()
            .map(|(topic_id, partitions)| ResponseTopicPartitions {
                topic_id,
                partitions: partitions.into_iter().collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    ConsumerGroupHeartbeatResponse {
        member_id: Some(reply.member_id),
        member_epoch: reply.epoch,
        heartbeat_interval_ms: reply.heartbeat_interval,
        assignment,
        ..Default::default()
    }
}
