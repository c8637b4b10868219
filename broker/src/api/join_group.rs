//! JoinGroup (11).
//!
//! *Behaviour*: see `core::groups`. Newcomers of version 4 and later are sent back once for their member id (KIP-394).
//! *Versions*: 0-9. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

use super::{Context, leave_group};
use crate::core::groups::{JoinReply, JoinRequest};
use crate::ids::random_uuid_text;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=9;

/// Answers the request.
pub async fn handle(context: &Context, request: JoinGroupRequest) -> JoinGroupResponse {
    let version = context.version();
    if let Some(reason) = leave_group::reason_text(request.reason.as_deref()) {
        tracing::info!(group = request.group_id, member = request.member_id, reason, "member joins");
    }
    let reply = match context.node.ready_for_groups().await {
        Err(code) => {
            JoinReply { error: code, generation: -1, member_id: request.member_id.clone(), ..JoinReply::default() }
        }
        Ok(()) => context.node.coordinator.join(&request.group_id, &core_request(context, &request)).await,
    };
    let failed = reply.error != ErrorCode::NONE;
    let member = |(member_id, group_instance_id, metadata)| JoinGroupResponseMember {
        member_id,
        group_instance_id,
        metadata,
        ..Default::default()
    };
    // Before version 7 the protocol name could not be null.
    let protocol_name = if version < 7 { Some(reply.protocol.unwrap_or_default()) } else { reply.protocol };
    JoinGroupResponse {
        error_code: reply.error.0,
        generation_id: if failed { -1 } else { reply.generation },
        protocol_type: reply.protocol_type,
        protocol_name,
        leader: reply.leader,
        skip_assignment: reply.skip_assignment && version >= 9,
        member_id: reply.member_id,
        members: reply.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn core_request(context: &Context, request: &JoinGroupRequest) -> JoinRequest {
    let client_id = context.header.client_id.clone().unwrap_or_default();
    let stem = request.group_instance_id.as_deref().unwrap_or(&client_id);
    JoinRequest {
        new_member_id: new_member_id(stem),
        member_id: request.member_id.clone(),
        instance_id: request.group_instance_id.clone(),
        client_id,
        client_host: context.peer.host(),
        session_timeout: request.session_timeout_ms,
        // Version 0 has one timeout for both.
        rebalance_timeout: match request.rebalance_timeout_ms {
            -1 => request.session_timeout_ms,
            given => given,
        },
        protocol_type: request.protocol_type.clone(),
        protocols: request.protocols.iter().map(|p| (p.name.clone(), p.metadata.clone())).collect(),
        require_known_member_id: context.version() >= 4,
        can_skip_assignment: context.version() >= 9,
    }
}

/// A member id begins with the client's or the instance's, as far as it still fits into a string of the protocol.
fn new_member_id(stem: &str) -> String {
    const STEM_CHARS_MAX: usize = 255;
    let stem: String = stem.chars().take(STEM_CHARS_MAX).collect();
    format!("{stem}-{}", random_uuid_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_client_id_gives_a_member_id_that_can_be_written_down() {
        assert!(new_member_id(&"é".repeat(16_000)).len() < 1_000);
        assert!(new_member_id("client").starts_with("client-"));
    }
}
