//! DescribeGroups (15).
//!
//! *Behaviour*: classic groups: state and members; metadata and assignments once stable. A group that is not there, or that
//! is a consumer group: state Dead, and from version 6 on GROUP_ID_NOT_FOUND (KIP-1043).
//! *Versions*: 0-6. *Skipped*: nothing.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use super::Context;
use crate::core::groups::GroupState;
use crate::operations;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=6;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let operations = operations::asked(request.include_authorized_operations, operations::GROUP);
    // A group named twice is shown once: else a small request could ask for an endless answer.
    let mut seen = HashSet::new();
    let once = request.groups.into_iter().filter(|id| seen.insert(id.clone()));
    let groups = once.map(|id| describe(context, id, operations)).collect();
    DescribeGroupsResponse { groups, ..Default::default() }
}

fn describe(context: &Context, group_id: String, authorized_operations: i32) -> DescribedGroup {
    let Some(view) = context.node.coordinator.describe(&group_id) else {
        let told = context.version() >= 6;
        let other = context.node.coordinator.is_there(&group_id);
        let why = if other { "is not a classic group" } else { "not found" };
        return DescribedGroup {
            error_code: if told { ErrorCode::GROUP_ID_NOT_FOUND.0 } else { ErrorCode::NONE.0 },
            error_message: told.then(|| format!("Group {group_id} {why}.")),
            group_state: GroupState::Dead.name().to_owned(),
            group_id,
            ..Default::default()
        };
    };
    let members = view.members.into_iter().map(|m| DescribedGroupMember {
        member_id: m.id,
        group_instance_id: m.instance_id,
        client_id: m.client_id,
        client_host: m.client_host,
        member_metadata: m.metadata,
        member_assignment: m.assignment,
        ..Default::default()
    });
    DescribedGroup {
        group_id,
        group_state: view.state.to_owned(),
        protocol_type: view.protocol_type,
        protocol_data: view.protocol,
        members: members.collect(),
        authorized_operations,
        ..Default::default()
    }
}
