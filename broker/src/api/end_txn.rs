//! EndTxn (26).
//!
//! *Behaviour*: answered when the decision is durable; markers follow. Asked again the answer is the same, the opposite is INVALID_TXN_STATE, and until the
//! markers are written CONCURRENT_TRANSACTIONS. From version 5 on every transaction ends with a new epoch, or a new producer id (KIP-890).
//! *Versions*: 0-5; below 2 PRODUCER_FENCED is told as INVALID_PRODUCER_EPOCH. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};

use super::Context;
use crate::core::txn::{Ending, Producer, TxnVersion};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// First version of clients that take a new epoch with the answer.
const BUMPS_EPOCH: i16 = 5;

/// Answers the request.
pub async fn handle(context: &Context, request: EndTxnRequest) -> EndTxnResponse {
    let version = if context.version() >= BUMPS_EPOCH { TxnVersion::V2 } else { TxnVersion::V1 };
    let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let ending = Ending { producer, commit: request.committed, version };
    let node = &context.node;
    let outcome = match request.transactional_id.as_str() {
        "" => Err(ErrorCode::INVALID_REQUEST),
        id => node.transactions.end(node, id, ending).await,
    };
    match outcome {
        Ok(next) if version == TxnVersion::V2 => {
            EndTxnResponse { producer_id: next.id, producer_epoch: next.epoch, ..Default::default() }
        }
        outcome => {
            let code = outcome.err().unwrap_or(ErrorCode::NONE);
            let code = super::init_producer_id::fenced_code(code, context.version() < 2);
            EndTxnResponse { error_code: code.0, producer_id: -1, producer_epoch: -1, ..Default::default() }
        }
    }
}
