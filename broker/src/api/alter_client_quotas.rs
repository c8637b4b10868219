//! AlterClientQuotas (49).
//!
//! *Behaviour*: sets and takes back quotas of users, client ids, both together, and addresses; each entity alone. In force
//! when the answer is sent.
//! *Versions*: 0-1. *Skipped*: host names as addresses.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, RequestEntryData, ResponseEntityData, ResponseEntryData,
};

use super::Context;
use super::incremental_alter_configs::split;
use crate::meta::clients::Entity;
use crate::meta::controller::{Refusal, refuse};
use crate::meta::quotas::{self, QuotaOp};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// Answers the request.
pub async fn handle(context: &Context, request: AlterClientQuotasRequest) -> AlterClientQuotasResponse {
    let validate_only = request.validate_only;
    let entities: Vec<Result<Entity, Refusal>> = request.entries.iter().map(entity).collect();
    let decided = context.node.meta.update(|image| {
        let (mut records, mut outcomes) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for (entry, entity) in request.entries.iter().zip(&entities) {
            let decided = entity.clone().and_then(|entity| {
                if !seen.insert(entity.clone()) {
                    return Err(refuse(ErrorCode::INVALID_REQUEST, "Ignoring duplicate entity"));
                }
                let op = |op: &causeway_wire::messages::alter_client_quotas::OpData| QuotaOp {
                    key: op.key.clone(),
                    value: (!op.remove).then_some(op.value),
                };
                quotas::alter(&image.clients, &entity, &entry.ops.iter().map(op).collect::<Vec<_>>())
            });
            outcomes.push(decided.map(|more| records.extend(more)));
        }
        (if validate_only { Vec::new() } else { records }, outcomes)
    });
    let outcomes = decided.await.unwrap_or_else(|error| {
        tracing::error!(%error, "cannot alter quotas");
        let failed = || Err(refuse(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()));
        request.entries.iter().map(|_| failed()).collect()
    });
    if !validate_only {
        let changed = outcomes.iter().filter(|o| o.is_ok()).count();
        tracing::info!(entities = changed, "client quotas altered");
    }
    let entries = request.entries.into_iter().zip(outcomes).map(|(entry, outcome)| {
        let (code, error_message) = split(outcome);
        let part = |e: causeway_wire::messages::alter_client_quotas::RequestEntityData| ResponseEntityData {
            entity_type: e.entity_type,
            entity_name: e.entity_name,
            ..Default::default()
        };
        ResponseEntryData {
            error_code: code.0,
            error_message,
            entity: entry.entity.into_iter().map(part).collect(),
            ..Default::default()
        }
    });
    AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() }
}

fn entity(entry: &RequestEntryData) -> Result<Entity, Refusal> {
    quotas::entity(entry.entity.iter().map(|e| (e.entity_type.clone(), e.entity_name.clone())))
}
