//! DescribeUserScramCredentials (50).
//!
//! *Behaviour*: mechanisms and iterations of the users asked for, or of all; never anything to log in with. Unknown users:
//! RESOURCE_NOT_FOUND; a user named twice: DUPLICATE_RESOURCE.
//! *Versions*: 0. *Skipped*: nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_user_scram_credentials::{
    CredentialInfo, DescribeUserScramCredentialsRequest, DescribeUserScramCredentialsResponse,
    DescribeUserScramCredentialsResult,
};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers the request.
pub async fn handle(
    context: &Context,
    request: DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let image = context.node.meta.image();
    let mut known: BTreeMap<&str, Vec<CredentialInfo>> = BTreeMap::new();
    for ((user, mechanism), credential) in &image.clients.scram {
        let info = CredentialInfo { mechanism: *mechanism, iterations: credential.iterations, ..Default::default() };
        known.entry(user).or_default().push(info);
    }
    let asked = request.users.unwrap_or_default();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    match asked.is_empty() {
        true => times.extend(known.keys().map(|user| (*user, 1))),
        false => asked.iter().for_each(|user| *times.entry(&user.name).or_default() += 1),
    }
    let refused = |user: &str, code: ErrorCode, why: String| DescribeUserScramCredentialsResult {
        user: user.to_owned(),
        error_code: code.0,
        error_message: Some(why),
        ..Default::default()
    };
    let results = times.into_iter().map(|(user, times)| match known.get(user) {
        _ if times > 1 => {
            let why = "Cannot describe SCRAM credentials for the same user twice in a single request: ";
            refused(user, ErrorCode::DUPLICATE_RESOURCE, format!("{why}{user}"))
        }
        None => {
            let why = "Attempt to describe a user credential that does not exist: ";
            refused(user, ErrorCode::RESOURCE_NOT_FOUND, format!("{why}{user}"))
        }
        Some(infos) => DescribeUserScramCredentialsResult {
            user: user.to_owned(),
            error_message: None,
            credential_infos: infos.clone(),
            ..Default::default()
        },
    });
    DescribeUserScramCredentialsResponse { error_message: None, results: results.collect(), ..Default::default() }
}
