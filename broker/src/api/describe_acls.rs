//! DescribeAcls (29).
//!
//! *Behaviour*: SECURITY_DISABLED, as a node of Apache Kafka without an authorizer answers: tools take that for "no ACLs".
//! *Versions*: 1-3. *Skipped*: authorization.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=3;

/// What all ACL requests are told.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// Answers the request.
pub async fn handle(_: &Context, _: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some(NO_AUTHORIZER.to_owned()),
        ..Default::default()
    }
}
