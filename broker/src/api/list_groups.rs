//! ListGroups (16).
//!
//! *Behaviour*: all groups, filtered by state (version 4) and type (version 5), in any case of letters.
//! *Versions*: 0-5. *Skipped*: share and streams groups, of which there are none.

use std::ops::RangeInclusive;

use causeway_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Answers the request.
pub async fn handle(context: &Context, request: ListGroupsRequest) -> ListGroupsResponse {
    let wanted =
        |filter: &[String], name: &str| filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(name));
    let groups = context.node.coordinator.list().into_iter();
    let groups = groups.filter(|g| wanted(&request.states_filter, g.state) && wanted(&request.types_filter, g.kind));
    let show = |g: crate::coordinator::ListedGroup| ListedGroup {
        group_id: g.id,
        protocol_type: g.protocol_type,
        group_state: g.state.to_owned(),
        group_type: g.kind.to_owned(),
        ..Default::default()
    };
    ListGroupsResponse { groups: groups.map(show).collect(), ..Default::default() }
}
