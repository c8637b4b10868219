//! DescribeTopicPartitions (75).
//!
//! *Behaviour*: topics by name in order, all if none is named, as many partitions as the request and
//! `max.request.partition.size.limit` allow, then a cursor to go on from (KIP-966). Eligible leader replicas are shown empty.
//! *Versions*: 0. *Skipped*: nothing.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic, ResponseCursor,
};

use super::Context;
use crate::meta::TopicMeta;
use crate::meta::controller::check_topic_name;
use crate::meta::image::is_internal;
use crate::node::Node;
use crate::operations;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let most = context.node.broker_number("max.request.partition.size.limit").max(1) as usize;
    let mut room = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, most);
    let image = context.node.meta.image();
    let by_name: BTreeSet<&str> = match request.topics.is_empty() {
        true => image.topics().map(|t| t.name.as_str()).collect(),
        false => request.topics.iter().map(|t| t.name.as_str()).collect(),
    };
    let (from, first) = request.cursor.as_ref().map_or(("", 0), |c| (c.topic_name.as_str(), c.partition_index));
    // The topic to go on with must be among those asked for.
    let astray = request.cursor.is_some() && !request.topics.is_empty() && !by_name.contains(from);
    if first < 0 || astray {
        let topics = by_name.into_iter().map(|name| refused(name, ErrorCode::INVALID_REQUEST)).collect();
        return DescribeTopicPartitionsResponse { topics, ..Default::default() };
    }
    let (mut topics, mut next_cursor) = (Vec::new(), None);
    for name in by_name.into_iter().filter(|name| *name >= from) {
        let Some(topic) = image.topic(name) else {
            // A topic that went away between two pages is not missed.
            if !request.topics.is_empty() {
                let illegal = check_topic_name(name).err().map(|refusal| refusal.code);
                topics.push(refused(name, illegal.unwrap_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)));
            }
            continue;
        };
        let skip = if name == from { first as usize } else { 0 };
        if room == 0 {
            next_cursor = Some(cursor(name, skip));
            break;
        }
        let end = topic.partitions.len().min(skip.saturating_add(room));
        topics.push(show(&context.node, topic, skip, end));
        room -= end.saturating_sub(skip);
        if end < topic.partitions.len() {
            next_cursor = Some(cursor(name, end));
            break;
        }
    }
    DescribeTopicPartitionsResponse { topics, next_cursor, ..Default::default() }
}

fn cursor(name: &str, partition: usize) -> ResponseCursor {
    ResponseCursor { topic_name: name.to_owned(), partition_index: partition as i32, ..Default::default() }
}

fn refused(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.0,
        name: Some(name.to_owned()),
        is_internal: is_internal(name),
        ..Default::default()
    }
}

fn show(node: &Node, topic: &TopicMeta, from: usize, to: usize) -> DescribeTopicPartitionsResponseTopic {
    let partitions = topic.partitions.iter().enumerate().take(to).skip(from);
    let show = |(index, p): (usize, &crate::meta::PartitionMeta)| {
        let shown = DescribeTopicPartitionsResponsePartition {
            partition_index: index as i32,
            leader_id: p.leader(),
            leader_epoch: p.leader_epoch,
            replica_nodes: p.replicas.clone(),
            isr_nodes: p.replicas.clone(),
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            ..Default::default()
        };
        if !node.partitions.is_offline(&topic.name, index as i32) {
            return shown;
        }
        DescribeTopicPartitionsResponsePartition {
            error_code: ErrorCode::LEADER_NOT_AVAILABLE.0,
            leader_id: -1,
            offline_replicas: vec![node.config.node_id],
            ..shown
        }
    };
    DescribeTopicPartitionsResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.map(show).collect(),
        topic_authorized_operations: operations::TOPIC,
        ..Default::default()
    }
}
