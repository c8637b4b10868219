//! CreateAcls (30).
//!
//! *Behaviour*: SECURITY_DISABLED for each, as without an authorizer in Apache Kafka.
//! *Versions*: 1-3. *Skipped*: authorization.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::create_acls::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};

use super::Context;
use super::describe_acls::NO_AUTHORIZER;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=3;

/// Answers the request.
pub async fn handle(_: &Context, request: CreateAclsRequest) -> CreateAclsResponse {
    let refused = || AclCreationResult {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some(NO_AUTHORIZER.to_owned()),
        ..Default::default()
    };
    CreateAclsResponse { results: request.creations.iter().map(|_| refused()).collect(), ..Default::default() }
}
