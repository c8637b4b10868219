//! ListPartitionReassignments (46).
//!
//! *Behaviour*: none is ever in progress on one node.
//! *Versions*: 0. *Skipped*: reassignments.

use std::ops::RangeInclusive;

use causeway_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers the request.
pub async fn handle(_: &Context, _: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse { error_message: None, ..Default::default() }
}
