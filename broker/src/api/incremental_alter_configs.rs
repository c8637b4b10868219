//! IncrementalAlterConfigs (44).
//!
//! *Behaviour*: SET, DELETE, APPEND and SUBTRACT on topics and brokers (KIP-339); a resource changes as a whole or not at
//! all, each alone. New values are in force when the answer is sent.
//! *Versions*: 0-1. *Skipped*: broker loggers, groups, client metrics (INVALID_REQUEST).

use std::collections::HashSet;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::Context;
use super::describe_configs::{BROKER, TOPIC};
use crate::config::effective::{Levels, Settings};
use crate::config::{Kind, items, keys, topic_keys};
use crate::meta::controller::{Refusal, refuse};
use crate::meta::{MetaImage, MetaRecord};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Answers the request.
pub async fn handle(context: &Context, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let node = &context.node;
    let (node_id, statics) = (node.config.node_id, node.config.statics.clone());
    let (resources, validate_only) = (request.resources, request.validate_only);
    let decided = node.meta.update(|image| {
        let (mut records, mut outcomes) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for resource in &resources {
            let decided = if !seen.insert((resource.resource_type, resource.resource_name.as_str())) {
                Err(refuse(ErrorCode::INVALID_REQUEST, "Each resource must appear at most once."))
            } else {
                decide(image, resource, node_id, &statics)
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
            resources.iter().map(|_| failed()).collect()
        }
    };
    let mut responses = Vec::with_capacity(resources.len());
    for (resource, outcome) in resources.into_iter().zip(outcomes) {
        if outcome.is_ok() && !validate_only {
            let topic = (resource.resource_type == TOPIC).then_some(resource.resource_name.as_str());
            node.refresh_settings(topic);
            tracing::info!(kind = resource.resource_type, name = resource.resource_name, "configs altered");
        }
        let (code, error_message) = match outcome {
            Ok(()) => (ErrorCode::NONE, None),
            Err(refusal) => (refusal.code, Some(refusal.message)),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code: code.0,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            ..Default::default()
        });
    }
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

/// Records for one resource, or why it stays as it is. Pure.
fn decide(
    image: &MetaImage,
    resource: &AlterConfigsResource,
    node_id: i32,
    statics: &Settings,
) -> Result<Vec<MetaRecord>, Refusal> {
    let name = resource.resource_name.clone();
    let mut seen = HashSet::new();
    for config in &resource.configs {
        if !seen.insert(config.name.as_str()) {
            let why = format!("Error due to duplicate config keys: {}", config.name);
            return Err(refuse(ErrorCode::INVALID_REQUEST, why));
        }
        if config.config_operation != DELETE && config.value.is_none() {
            let why = format!("Null value not supported for : {}", config.name);
            return Err(refuse(ErrorCode::INVALID_REQUEST, why));
        }
    }
    let own = image.node_configs(node_id);
    let levels = Levels { broker: &own, cluster: &image.cluster_configs, statics };
    let mut records = Vec::new();
    match resource.resource_type {
        TOPIC => {
            let Some(topic) = image.topic(&name) else {
                return Err(refuse(
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                    format!("The topic '{name}' does not exist."),
                ));
            };
            for config in &resource.configs {
                let Some(key) = topic_keys::find(&config.name) else {
                    let why = format!("Unknown topic config name: {}", config.name);
                    return Err(refuse(ErrorCode::INVALID_CONFIG, why));
                };
                let current = levels.topic(key, &topic.configs).value;
                let value = new_value(config, key.kind, current)?;
                records.push(MetaRecord::TopicConfig { name: name.clone(), key: config.name.clone(), value });
            }
        }
        BROKER => {
            let node = match name.as_str() {
                "" => None,
                text if text.parse() == Ok(node_id) => Some(node_id),
                text => return Err(refuse(ErrorCode::INVALID_REQUEST, format!("Unexpected broker id {text}"))),
            };
            for config in &resource.configs {
                let key = keys::find(&config.name).filter(|k| k.dynamic);
                let (kind, current) = match key {
                    Some(key) => (key.kind, levels.broker(key).value),
                    None if keys::is_ignored_dynamic(&config.name) => (Kind::Str, None),
                    None => {
                        let why = format!("Cannot update these configs dynamically: {}", config.name);
                        return Err(refuse(ErrorCode::INVALID_REQUEST, why));
                    }
                };
                let value = new_value(config, kind, current)?;
                records.push(MetaRecord::BrokerConfig { node, key: config.name.clone(), value });
            }
        }
        other => return Err(refuse(ErrorCode::INVALID_REQUEST, format!("Unsupported resource type: {other}"))),
    }
    Ok(records)
}

fn new_value(config: &AlterableConfig, kind: Kind, current: Option<String>) -> Result<Option<String>, Refusal> {
    let given = config.value.clone().unwrap_or_default();
    let current = current.unwrap_or_default();
    let list = |what: &str| match kind.is_list() {
        true => Ok(items(&current).map(str::to_owned).collect::<Vec<_>>()),
        false => {
            let why = format!("Can't {what} config with key: {}: it is not a list", config.name);
            Err(refuse(ErrorCode::INVALID_CONFIG, why))
        }
    };
    let value = match config.config_operation {
        SET => given,
        DELETE => return Ok(None),
        APPEND => {
            let mut all = list("append to")?;
            all.extend(items(&given).filter(|item| !items(&current).any(|c| c == *item)).map(str::to_owned));
            all.join(",")
        }
        SUBTRACT => {
            let mut all = list("subtract from")?;
            all.retain(|item| !items(&given).any(|g| g == item));
            all.join(",")
        }
        other => return Err(refuse(ErrorCode::INVALID_REQUEST, format!("Unknown operation type: {other}"))),
    };
    kind.check(&config.name, &value).map_err(|why| refuse(ErrorCode::INVALID_CONFIG, why))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alter(name: &str, operation: i8, value: &str, current: &str) -> Result<Option<String>, ErrorCode> {
        let config = AlterableConfig {
            name: name.into(),
            config_operation: operation,
            value: Some(value.into()),
            ..Default::default()
        };
        let kind = topic_keys::find(name).unwrap().kind;
        new_value(&config, kind, Some(current.into())).map_err(|r| r.code)
    }

    #[test]
    fn lists_grow_and_shrink_and_others_do_not() {
        assert_eq!(alter("cleanup.policy", APPEND, "compact", "delete"), Ok(Some("delete,compact".into())));
        assert_eq!(alter("cleanup.policy", APPEND, "delete", "delete"), Ok(Some("delete".into())));
        assert_eq!(alter("cleanup.policy", SUBTRACT, "delete", "delete,compact"), Ok(Some("compact".into())));
        assert_eq!(alter("retention.ms", APPEND, "1", "2"), Err(ErrorCode::INVALID_CONFIG));
        assert_eq!(alter("retention.ms", SET, "never", "2"), Err(ErrorCode::INVALID_CONFIG));
        assert_eq!(alter("retention.ms", DELETE, "", "2"), Ok(None));
        assert_eq!(alter("retention.ms", 9, "1", "2"), Err(ErrorCode::INVALID_REQUEST));
    }
}
