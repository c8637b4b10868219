//! SyncGroup (14).
//!
//! *Behaviour*: see `core::groups`. From version 5 on the protocol's type and name must be given and right.
//! *Versions*: 0-5. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::Context;
use crate::core::groups::SyncRequest;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Answers the request.
pub async fn handle(context: &Context, request: SyncGroupRequest) -> SyncGroupResponse {
    if context.version() >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return SyncGroupResponse { error_code: ErrorCode::INCONSISTENT_GROUP_PROTOCOL.0, ..Default::default() };
    }
    let asked = SyncRequest {
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request.assignments.into_iter().map(|a| (a.member_id, a.assignment)).collect(),
    };
    let reply = context.node.coordinator.sync(&request.group_id, &asked).await;
    SyncGroupResponse {
        error_code: reply.error.0,
        protocol_type: reply.protocol_type,
        protocol_name: reply.protocol,
        assignment: reply.assignment,
        ..Default::default()
    }
}
