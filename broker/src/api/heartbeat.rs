//! Heartbeat (12).
//!
//! *Behaviour*: see `core::groups`.
//! *Versions*: 0-4. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=4;

/// Answers the request.
pub async fn handle(context: &Context, request: HeartbeatRequest) -> HeartbeatResponse {
    let instance = request.group_instance_id.as_deref();
    let beat =
        context.node.coordinator.heartbeat(&request.group_id, &request.member_id, instance, request.generation_id);
    HeartbeatResponse { error_code: beat.err().unwrap_or_default().0, ..Default::default() }
}
