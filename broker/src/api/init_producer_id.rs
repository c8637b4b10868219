//! InitProducerId (22).
//!
//! *Behaviour*: a fresh producer id with epoch 0 for idempotent producers; ids come in blocks that are durable before
//! the first of them is given out. An idempotent producer that asks again after an error gets a new id.
//! *Versions*: 0-5. *Skipped*: transactions: a request with a transactional id is refused with
//! TRANSACTIONAL_ID_AUTHORIZATION_FAILED, the one code that every client takes as final and shows to its user.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Answers the request.
pub async fn handle(context: &Context, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let refuse = |code: ErrorCode| InitProducerIdResponse {
        error_code: code.0,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id.as_deref() {
        None => {}
        Some("") => return refuse(ErrorCode::INVALID_REQUEST),
        Some(id) => {
            tracing::warn!(transactional_id = id, peer = %context.peer.address, "transactions are not served yet");
            return refuse(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        }
    }
    match context.node.next_producer_id().await {
        Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
        Err(error) => {
            tracing::error!(%error, "no producer id");
            refuse(ErrorCode::COORDINATOR_NOT_AVAILABLE)
        }
    }
}
