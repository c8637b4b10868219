//! IncrementalAlterConfigs (44).
//!
//! *Behaviour*: SET, DELETE, APPEND and SUBTRACT on topics, brokers, groups and client metrics subscriptions (KIP-339); a
//! resource changes as a whole or not at all, each alone. New values are in force when the answer is sent.
//! Levels of this node's loggers change at once and until it stops (KIP-412).
//! *Versions*: 0-1. *Skipped*: nothing.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::Context;
use crate::meta::MetaRecord;
use crate::meta::configs::{Alteration, BROKER_LOGGER, Change, Ground, Resource, TOPIC, check_form};
use crate::meta::controller::{Refusal, refuse};
use crate::node::Node;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// Answers the request.
pub async fn handle(context: &Context, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let resources: Vec<Resource> = request.resources.into_iter().map(resource).collect();
    let outcomes = alter(context, &resources, request.validate_only, false).await;
    let responses = resources.into_iter().zip(outcomes).map(|(resource, outcome)| {
        let (code, error_message) = split(outcome);
        AlterConfigsResourceResponse {
            error_code: code.0,
            error_message,
            resource_type: resource.kind,
            resource_name: resource.name,
            ..Default::default()
        }
    });
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn resource(resource: AlterConfigsResource) -> Resource {
    let alteration = |c: causeway_wire::messages::incremental_alter_configs::AlterableConfig| Alteration {
        name: c.name,
        change: Change::of(c.config_operation),
        value: c.value,
    };
    Resource {
        kind: resource.resource_type,
        name: resource.resource_name,
        alterations: resource.configs.into_iter().map(alteration).collect(),
    }
}

/// Code and words of an outcome.
pub(super) fn split(outcome: Result<(), Refusal>) -> (ErrorCode, Option<String>) {
    match outcome {
        Ok(()) => (ErrorCode::NONE, None),
        Err(refusal) => (refusal.code, Some(refusal.message)),
    }
}

/// Sets levels of this node's loggers; nothing of it is metadata.
fn loggers(node: &Node, resource: &Resource, validate_only: bool) -> Result<Vec<MetaRecord>, Refusal> {
    check_form(resource)?;
    let id = node.config.node_id;
    let why = match resource.name.parse::<i32>() {
        Ok(named) if named == id => {
            return node.loggers.alter(&resource.alterations, validate_only).map(|()| Vec::new());
        }
        Ok(named) => format!("Unexpected node id. Expected {id}, but received {named}"),
        Err(_) => format!("Node id must be an integer, but it is: {}", resource.name),
    };
    Err(refuse(ErrorCode::INVALID_REQUEST, why))
}

/// Alters resources, each alone; `replace` takes back what is not named, as the older AlterConfigs does.
pub(super) async fn alter(
    context: &Context,
    resources: &[Resource],
    validate_only: bool,
    replace: bool,
) -> Vec<Result<(), Refusal>> {
    let node = &context.node;
    let decided = node.meta.update(|image| {
        let ground = Ground { image, node_id: node.config.node_id, statics: &node.config.statics };
        let (mut records, mut outcomes) = (Vec::new(), Vec::new());
        let mut times: HashMap<(i8, &str), usize> = HashMap::new();
        resources.iter().for_each(|r| *times.entry((r.kind, r.name.as_str())).or_default() += 1);
        for resource in resources {
            let decided = if times[&(resource.kind, resource.name.as_str())] > 1 {
                Err(refuse(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once."))
            } else if resource.kind == BROKER_LOGGER && !replace {
                loggers(node, resource, validate_only)
            } else if replace {
                ground.alter(&ground.replacing(resource.clone()))
            } else {
                ground.alter(resource)
            };
            outcomes.push(decided.map(|more| records.extend(more)));
        }
        (if validate_only { Vec::new() } else { records }, outcomes)
    });
    let outcomes = match decided.await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            tracing::error!(%error, "cannot alter configs");
            let failed = || Err(refuse(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()));
            return resources.iter().map(|_| failed()).collect();
        }
    };
    for (resource, outcome) in resources.iter().zip(&outcomes) {
        if outcome.is_ok() && !validate_only {
            node.refresh_settings((resource.kind == TOPIC).then_some(resource.name.as_str()));
            tracing::info!(kind = resource.kind, name = resource.name, "configs altered");
        }
    }
    outcomes
}
