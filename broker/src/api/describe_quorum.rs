//! DescribeQuorum (55).
//!
//! *Behaviour*: the metadata quorum of one: this node leads and is the only voter; offsets count metadata records.
//! *Versions*: 0-2. *Skipped*: observers (there are none), other topics than `__cluster_metadata`.

use std::ops::RangeInclusive;

use causeway_wire::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, ReplicaState, ResponsePartitionData,
    ResponseTopicData,
};
use causeway_wire::{ErrorCode, Uuid};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// The metadata log's name in this API.
const METADATA_TOPIC: &str = "__cluster_metadata";
/// A quorum of one elected itself once and never again.
const LEADER_EPOCH: i32 = 1;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    let node = &context.node;
    let id = node.config.node_id;
    let end = node.meta.image().version as i64;
    let now = crate::clock::wall_ms();
    let with_nodes = context.version() >= 2;
    let directory = node.logs.dirs().next().map_or(Uuid::ZERO, |(_, meta)| meta.directory_id);
    let voter = || ReplicaState {
        replica_id: id,
        replica_directory_id: if with_nodes { directory } else { Uuid::ZERO },
        log_end_offset: end,
        last_fetch_timestamp: now,
        last_caught_up_timestamp: now,
        ..Default::default()
    };
    let partition = |topic: &str, index: i32| match (topic, index) {
        (METADATA_TOPIC, 0) => ResponsePartitionData {
            partition_index: index,
            leader_id: id,
            leader_epoch: LEADER_EPOCH,
            high_watermark: end,
            current_voters: vec![voter()],
            error_message: None,
            ..Default::default()
        },
        _ => ResponsePartitionData {
            partition_index: index,
            error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
            ..Default::default()
        },
    };
    let topics: Vec<ResponseTopicData> = request
        .topics
        .into_iter()
        .map(|topic| ResponseTopicData {
            partitions: topic.partitions.iter().map(|p| partition(&topic.topic_name, p.partition_index)).collect(),
            topic_name: topic.topic_name,
            ..Default::default()
        })
        .collect();
    // Nodes are told only to who asks for the one partition that there is.
    let mut asked = topics.iter().flat_map(|topic| &topic.partitions);
    let found = asked.next().is_some_and(|p| p.error_code == 0) && asked.next().is_none();
    let (host, port) = node.advertised(&context.peer.listener);
    let listener = Listener { name: context.peer.listener.clone(), host, port, ..Default::default() };
    let voters = Node { node_id: id, listeners: vec![listener], ..Default::default() };
    DescribeQuorumResponse {
        error_message: None,
        topics,
        nodes: if with_nodes && found { vec![voters] } else { Vec::new() },
        ..Default::default()
    }
}
