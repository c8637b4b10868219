//! InitProducerId (22).
//!
//! *Behaviour*: without a transactional id a fresh producer id with epoch 0; ids come in blocks that are durable before the first of them is given out. With
//! one, the id's producer with a new epoch: an older holder is fenced, its ongoing transaction aborted first (CONCURRENT_TRANSACTIONS until it is). A
//! producer that goes on after an error says who it was (KIP-360).
//! *Versions*: 0-5; below 4 PRODUCER_FENCED is told as INVALID_PRODUCER_EPOCH. *Skipped*: version 6 (two-phase commit, unstable in Kafka).

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::Context;
use crate::core::txn::{InitRequest, Producer};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Answers the request.
pub async fn handle(context: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match given(context, &request).await {
        Ok(producer) => {
            InitProducerIdResponse { producer_id: producer.id, producer_epoch: producer.epoch, ..Default::default() }
        }
        Err(code) => InitProducerIdResponse {
            error_code: fenced_code(code, context.version() < 4).0,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

async fn given(context: &Context, request: &InitProducerIdRequest) -> Result<Producer, ErrorCode> {
    let node = &context.node;
    let expected = match (request.producer_id, request.producer_epoch) {
        (-1, -1) => None,
        (-1, _) | (_, -1) => return Err(ErrorCode::INVALID_REQUEST),
        (id, epoch) => Some(Producer { id, epoch }),
    };
    match request.transactional_id.as_deref() {
        None => {
            let id = node.next_producer_id().await.map_err(|error| {
                tracing::error!(%error, "no producer id");
                ErrorCode::COORDINATOR_NOT_AVAILABLE
            })?;
            Ok(Producer { id, epoch: 0 })
        }
        Some("") => Err(ErrorCode::INVALID_REQUEST),
        Some(id) => {
            node.ready_for_transactions().await?;
            let request = InitRequest { timeout_ms: request.transaction_timeout_ms, expected };
            node.transactions.init(node, id, request).await
        }
    }
}

/// PRODUCER_FENCED as old versions know it.
pub(super) fn fenced_code(code: ErrorCode, old: bool) -> ErrorCode {
    if old && code == ErrorCode::PRODUCER_FENCED { ErrorCode::INVALID_PRODUCER_EPOCH } else { code }
}
