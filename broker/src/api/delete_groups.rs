//! DeleteGroups (42).
//!
//! *Behaviour*: groups without members, each alone; their offsets go with them, durably before the answer.
//! *Versions*: 0-2. *Skipped*: nothing.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use causeway_wire::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// Answers the request.
pub async fn handle(context: &Context, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut seen = HashSet::new();
    for group_id in request.groups_names {
        // Named twice it is answered once.
        if !seen.insert(group_id.clone()) {
            continue;
        }
        let code = context.node.coordinator.delete_group(&group_id).await.err().unwrap_or_default();
        results.push(DeletableGroupResult { group_id, error_code: code.0, ..Default::default() });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}
