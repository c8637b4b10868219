//! AlterUserScramCredentials (51).
//!
//! *Behaviour*: stores and removes SCRAM credentials (KIP-554); of the salted password only what checks it is kept.
//! *Versions*: 0. *Skipped*: nothing; logging in by them comes with SASL.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};

use super::Context;
use super::incremental_alter_configs::split;
use crate::meta::controller::refuse;
use crate::meta::scram::{self, Change};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers the request.
pub async fn handle(context: &Context, request: AlterUserScramCredentialsRequest) -> AlterUserScramCredentialsResponse {
    let deletions = request.deletions.into_iter().map(|d| (d.name, Change::Delete { mechanism: d.mechanism }));
    let upsertions = request.upsertions.into_iter().map(|u| {
        let change = Change::Upsert {
            mechanism: u.mechanism,
            iterations: u.iterations,
            salt: u.salt.to_vec(),
            salted_password: u.salted_password.to_vec(),
        };
        (u.name, change)
    });
    let changes: Vec<_> = deletions.chain(upsertions).collect();
    let decided = context.node.meta.update(|image| scram::alter(&image.clients, &changes)).await;
    let outcomes = decided.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot alter users");
        let failed = || Err(refuse(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()));
        changes.iter().map(|(user, _)| (user.clone(), failed())).collect()
    });
    let results = outcomes.into_iter().map(|(user, outcome)| {
        let (code, error_message) = split(outcome);
        AlterUserScramCredentialsResult { user, error_code: code.0, error_message, ..Default::default() }
    });
    AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() }
}
