//! AddOffsetsToTxn (25).
//!
//! *Behaviour*: adds the partition of `__consumer_offsets` that keeps the group to the transaction.
//! *Versions*: 0-4; below 2 PRODUCER_FENCED is told as INVALID_PRODUCER_EPOCH. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::add_offsets_to_txn::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::Context;
use crate::coordinator::OFFSETS_TOPIC;
use crate::core::txn::{Producer, TxnVersion};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=4;

/// Answers the request.
pub async fn handle(context: &Context, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let code = add(context, &request).await;
    let code = super::init_producer_id::fenced_code(code, context.version() < 2);
    AddOffsetsToTxnResponse { error_code: code.0, ..Default::default() }
}

async fn add(context: &Context, request: &AddOffsetsToTxnRequest) -> ErrorCode {
    if request.transactional_id.is_empty() {
        return ErrorCode::INVALID_REQUEST;
    }
    let node = &context.node;
    if let Err(code) = node.ready_for_groups().await {
        return code;
    }
    let Some(partition) = node.coordinator.journal_of(&request.group_id) else {
        return ErrorCode::COORDINATOR_NOT_AVAILABLE;
    };
    let partition = [(OFFSETS_TOPIC.to_owned(), partition.log.partition())];
    let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
    node.transactions.add(node, &request.transactional_id, producer, &partition, TxnVersion::V1).await
}
