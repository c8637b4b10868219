//! DescribeTransactions (65).
//!
//! *Behaviour*: state, producer, timeout, start and partitions of transactional ids (KIP-664). TRANSACTIONAL_ID_NOT_FOUND for one that is not known.
//! *Versions*: 0. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| describe(context, id)).collect();
    DescribeTransactionsResponse { transaction_states: states, ..Default::default() }
}

fn describe(context: &Context, transactional_id: String) -> TransactionState {
    let refuse = |code: ErrorCode, transactional_id| TransactionState {
        error_code: code.0,
        transactional_id,
        ..Default::default()
    };
    if transactional_id.is_empty() {
        return refuse(ErrorCode::INVALID_REQUEST, transactional_id);
    }
    let Some(txn) = context.node.transactions.describe(&transactional_id) else {
        return refuse(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND, transactional_id);
    };
    let mut topics: Vec<TopicData> = Vec::new();
    for (topic, partition) in txn.partitions {
        match topics.last_mut() {
            Some(last) if last.topic == topic => last.partitions.push(partition),
            _ => topics.push(TopicData { topic, partitions: vec![partition], ..Default::default() }),
        }
    }
    TransactionState {
        transactional_id,
        transaction_state: txn.state.name().to_owned(),
        transaction_timeout_ms: txn.timeout_ms,
        transaction_start_time_ms: txn.start_ms,
        producer_id: txn.producer.id,
        producer_epoch: txn.producer.epoch,
        topics,
        ..Default::default()
    }
}
