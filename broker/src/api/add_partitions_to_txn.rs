//! AddPartitionsToTxn (24).
//!
//! *Behaviour*: all partitions of a transaction are added, or none: one that does not exist gets UNKNOWN_TOPIC_OR_PARTITION and the others
//! OPERATION_NOT_ATTEMPTED. Versions 4 and 5, which brokers send, carry several transactions and may ask for verification only (KIP-890).
//! *Versions*: 0-5; below 2 PRODUCER_FENCED is told as INVALID_PRODUCER_EPOCH. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
};

use super::Context;
use crate::core::txn::{Producer, TopicPartition, TxnVersion};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// First version that brokers send.
const BATCHED: i16 = 4;

/// One transaction of a request.
struct Asked {
    id: String,
    producer: Producer,
    verify_only: bool,
    topics: Vec<AddPartitionsToTxnTopic>,
}

/// Answers the request.
pub async fn handle(context: &Context, request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    if context.version() < BATCHED {
        let producer = Producer { id: request.v3_and_below_producer_id, epoch: request.v3_and_below_producer_epoch };
        let (id, topics) = (request.v3_and_below_transactional_id, request.v3_and_below_topics);
        let results = add(context, Asked { id, producer, verify_only: false, topics }).await;
        return AddPartitionsToTxnResponse { results_by_topic_v3_and_below: results, ..Default::default() };
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for txn in request.transactions {
        let (id, topics) = (txn.transactional_id.clone(), txn.topics);
        let producer = Producer { id: txn.producer_id, epoch: txn.producer_epoch };
        results.push(AddPartitionsToTxnResult {
            transactional_id: txn.transactional_id,
            topic_results: add(context, Asked { id, producer, verify_only: txn.verify_only, topics }).await,
            ..Default::default()
        });
    }
    AddPartitionsToTxnResponse { results_by_transaction: results, ..Default::default() }
}

async fn add(context: &Context, asked: Asked) -> Vec<AddPartitionsToTxnTopicResult> {
    let node = &context.node;
    let all = asked.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.name.clone(), *p)));
    let partitions: Vec<TopicPartition> = all.collect();
    let missing = |(topic, number): &TopicPartition| node.partitions.get(topic, *number).is_none();
    let codes = if partitions.iter().any(missing) {
        let code = |partition| match missing(partition) {
            true => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            false => ErrorCode::OPERATION_NOT_ATTEMPTED,
        };
        partitions.iter().map(code).collect()
    } else if asked.id.is_empty() {
        vec![ErrorCode::INVALID_REQUEST; partitions.len()]
    } else if asked.verify_only {
        node.transactions.verify(node, &asked.id, asked.producer, &partitions).await
    } else {
        let version = if context.version() >= BATCHED { TxnVersion::V2 } else { TxnVersion::V1 };
        let code = node.transactions.add(node, &asked.id, asked.producer, &partitions, version).await;
        vec![super::init_producer_id::fenced_code(code, context.version() < 2); partitions.len()]
    };
    let mut codes = codes.into_iter();
    let topic = |t: AddPartitionsToTxnTopic| AddPartitionsToTxnTopicResult {
        results_by_partition: t
            .partitions
            .into_iter()
            .zip(codes.by_ref())
            .map(|(partition_index, code)| AddPartitionsToTxnPartitionResult {
                partition_index,
                partition_error_code: code.0,
                ..Default::default()
            })
            .collect(),
        name: t.name,
        ..Default::default()
    };
    asked.topics.into_iter().map(topic).collect()
}
