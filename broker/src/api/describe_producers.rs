//! DescribeProducers (61).
//!
//! *Behaviour*: the idempotent and transactional producers that a partition remembers, with the start of the transaction that each has open (KIP-664).
//! *Versions*: 0. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::Context;
use crate::leader::check_online;
use crate::meta::controller::check_topic_name;
use crate::partitions::Partition;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| TopicResponse {
        partitions: topic
            .partition_indexes
            .into_iter()
            .map(|partition_index| match context.node.partitions.get(&topic.name, partition_index) {
                Some(partition) if check_online(&partition).is_err() => PartitionResponse {
                    partition_index,
                    error_code: ErrorCode::KAFKA_STORAGE_ERROR.0,
                    ..Default::default()
                },
                Some(partition) => {
                    PartitionResponse { partition_index, active_producers: producers(&partition), ..Default::default() }
                }
                None => PartitionResponse { partition_index, error_code: missing(&topic.name).0, ..Default::default() },
            })
            .collect(),
        name: topic.name,
        ..Default::default()
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn missing(topic: &str) -> ErrorCode {
    check_topic_name(topic).err().map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |refusal| refusal.code)
}

fn producers(partition: &Partition) -> Vec<ProducerState> {
    let state = partition.log.producers();
    let shown = state.iter().map(|(producer_id, entry)| ProducerState {
        producer_id,
        producer_epoch: entry.epoch.into(),
        last_sequence: entry.last_sequence(),
        last_timestamp: entry.last_timestamp,
        coordinator_epoch: entry.coordinator_epoch,
        current_txn_start_offset: entry.txn_first_offset.unwrap_or(-1),
        ..Default::default()
    });
    let mut shown: Vec<ProducerState> = shown.collect();
    shown.sort_unstable_by_key(|producer| producer.producer_id);
    shown
}
