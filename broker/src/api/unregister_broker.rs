//! UnregisterBroker (64).
//!
//! *Behaviour*: a node that is not there: BROKER_ID_NOT_REGISTERED. This one cannot be taken away: it is all there is.
//! *Versions*: 0. *Skipped*: clusters of several nodes.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers the request.
pub async fn handle(context: &Context, request: UnregisterBrokerRequest) -> UnregisterBrokerResponse {
    let id = request.broker_id;
    let (code, why) = if id == context.node.config.node_id {
        (ErrorCode::INVALID_REQUEST, format!("Broker {id} is the only one of this cluster"))
    } else {
        (ErrorCode::BROKER_ID_NOT_REGISTERED, format!("Broker ID {id} is not currently registered"))
    };
    UnregisterBrokerResponse { error_code: code.0, error_message: Some(why), ..Default::default() }
}
