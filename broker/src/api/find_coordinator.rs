//! FindCoordinator (10).
//!
//! *Behaviour*: this node coordinates every group and transactional id. Several keys from version 4 on.
//! *Versions*: 0-6. *Skipped*: share groups (key type 2) are refused.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=6;

/// Key types of groups and transactional ids.
const KEY_TYPES: RangeInclusive<i8> = 0..=1;

/// Key type of transactional ids.
const TRANSACTION: i8 = 1;

/// Answers the request.
pub async fn handle(context: &Context, request: FindCoordinatorRequest) -> FindCoordinatorResponse {
    let node = &context.node;
    let (host, port) = node.advertised(&context.peer.listener);
    let known = KEY_TYPES.contains(&request.key_type);
    if request.key_type == TRANSACTION {
        // As in Kafka the topic is there before the first transaction. If it cannot be made, the requests that follow say so.
        let _ = node.ready_for_transactions().await;
    }
    if context.version() < 4 {
        if !known {
            return FindCoordinatorResponse {
                error_code: ErrorCode::INVALID_REQUEST.0,
                error_message: Some(ErrorCode::INVALID_REQUEST.name().into()),
                node_id: -1,
                port: -1,
                ..Default::default()
            };
        }
        return FindCoordinatorResponse {
            error_message: Some(ErrorCode::NONE.name().into()),
            node_id: node.config.node_id,
            host,
            port: port.into(),
            ..Default::default()
        };
    }
    let coordinator = |key: String| match known {
        true => Coordinator {
            key,
            node_id: node.config.node_id,
            host: host.clone(),
            port: port.into(),
            ..Default::default()
        },
        false => {
            Coordinator { key, node_id: -1, port: -1, error_code: ErrorCode::INVALID_REQUEST.0, ..Default::default() }
        }
    };
    FindCoordinatorResponse {
        coordinators: request.coordinator_keys.into_iter().map(coordinator).collect(),
        ..Default::default()
    }
}
