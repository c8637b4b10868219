//! LeaveGroup (13).
//!
//! *Behaviour*: one member before version 3, several after (KIP-345), each with its own outcome.
//! *Versions*: 0-5. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberResponse};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Answers the request.
pub async fn handle(context: &Context, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let several = context.version() >= 3;
    for member in &request.members {
        if let Some(reason) = reason_text(member.reason.as_deref()) {
            tracing::info!(group = request.group_id, member = member.member_id, reason, "member leaves");
        }
    }
    let members: Vec<(String, Option<String>)> = match several {
        true => request.members.into_iter().map(|m| (m.member_id, m.group_instance_id)).collect(),
        false => vec![(request.member_id, None)],
    };
    let outcomes = match context.node.coordinator.leave(&request.group_id, &members) {
        Ok(outcomes) => outcomes,
        Err(code) => return LeaveGroupResponse { error_code: code.0, ..Default::default() },
    };
    if !several {
        let code = outcomes.into_iter().next().and_then(Result::err).unwrap_or_default();
        return LeaveGroupResponse { error_code: code.0, ..Default::default() };
    }
    let answer = |((member_id, group_instance_id), outcome): ((String, Option<String>), Result<(), _>)| {
        let code: causeway_wire::ErrorCode = outcome.err().unwrap_or_default();
        MemberResponse { member_id, group_instance_id, error_code: code.0, ..Default::default() }
    };
    LeaveGroupResponse { members: members.into_iter().zip(outcomes).map(answer).collect(), ..Default::default() }
}

/// A client's reason for the log (KIP-800), as long as clients themselves cut it.
pub(super) fn reason_text(reason: Option<&str>) -> Option<String> {
    const REASON_CHARS_MAX: usize = 255;
    reason.filter(|r| !r.is_empty()).map(|r| r.chars().take(REASON_CHARS_MAX).collect())
}
