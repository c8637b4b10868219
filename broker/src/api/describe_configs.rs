//! DescribeConfigs (32).
//!
//! *Behaviour*: the complete effective settings of topics and of this broker, each with where it comes from and, if asked,
//! every level behind it. Names asked for that do not exist are left out, as in Kafka.
//! *Versions*: 1-4. *Skipped*: broker loggers, groups, client metrics (INVALID_REQUEST); documentation texts.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::Context;
use crate::config::effective::{Levels, Settings};
use crate::config::keys::{self, HONOURED};
use crate::config::topic_keys::TOPIC_KEYS;
use crate::config::{Kind, Resolved, Source};
use crate::meta::controller::{Refusal, check_topic_name, refuse};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=4;

/// Resource type of a topic.
pub const TOPIC: i8 = 2;
/// Resource type of a broker; the empty name stands for all brokers.
pub const BROKER: i8 = 4;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let options = Options { synonyms: request.include_synonyms, types: context.version() >= 3 };
    // A resource named twice is shown once: else a small request could ask for an endless answer.
    let mut seen = HashSet::new();
    let once = request.resources.into_iter().filter(|r| seen.insert((r.resource_type, r.resource_name.clone())));
    let results = once.map(|resource| {
        let described = match resource.resource_type {
            TOPIC => topic(context, &resource, options),
            BROKER => broker(context, &resource, options),
            other => Err(refuse(ErrorCode::INVALID_REQUEST, format!("Unsupported resource type: {other}"))),
        };
        let (configs, code, error_message) = match described {
            Ok(configs) => (configs, ErrorCode::NONE, None),
            Err(refusal) => (Vec::new(), refusal.code, Some(refusal.message)),
        };
        DescribeConfigsResult {
            error_code: code.0,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
            ..Default::default()
        }
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

#[derive(Clone, Copy)]
struct Options {
    synonyms: bool,
    types: bool,
}

fn wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|k| k == name))
}

fn topic(
    context: &Context,
    resource: &DescribeConfigsResource,
    options: Options,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    check_topic_name(&resource.resource_name)?;
    let image = context.node.meta.image();
    let Some(topic) = image.topic(&resource.resource_name) else {
        return Err(refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition."));
    };
    let keys = TOPIC_KEYS.iter().filter(|k| wanted(resource, k.name));
    Ok(context.node.with_levels(|levels| {
        keys.map(|key| entry(key.name, key.kind, false, levels.topic(key, &topic.configs), options)).collect()
    }))
}

fn broker(
    context: &Context,
    resource: &DescribeConfigsResource,
    options: Options,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let node = &context.node;
    let image = node.meta.image();
    let name = &resource.resource_name;
    if name.is_empty() {
        // Only what was set for all brokers: there is no one broker whose defaults could be shown.
        let none = Settings::new();
        let levels = Levels { broker: &none, cluster: &image.cluster_configs, statics: &none };
        let set = HONOURED.iter().filter(|k| image.cluster_configs.contains_key(k.name) && wanted(resource, k.name));
        return Ok(set.map(|key| entry(key.name, key.kind, !key.dynamic, levels.broker(key), options)).collect());
    }
    match name.parse::<i32>() {
        Ok(id) if id == node.config.node_id => {}
        Ok(id) => {
            let ours = node.config.node_id;
            let why = format!("Unexpected broker id, expected {ours} or empty string, but received {id}");
            return Err(refuse(ErrorCode::INVALID_REQUEST, why));
        }
        Err(_) => {
            let why = format!("Broker id must be an integer, but it is: {name}");
            return Err(refuse(ErrorCode::INVALID_REQUEST, why));
        }
    }
    let keys = HONOURED.iter().filter(|k| wanted(resource, k.name));
    let mut out: Vec<_> = node.with_levels(|levels| {
        keys.map(|key| entry(key.name, key.kind, !key.dynamic, levels.broker(key), options)).collect()
    });
    // Altered at run time without an effect here: shown, so that a tool finds what it set.
    let stored = image.node_configs(node.config.node_id);
    let rest = stored.iter().filter(|(name, _)| keys::find(name).is_none() && wanted(resource, name));
    out.extend(rest.map(|(name, value)| DescribeConfigsResourceResult {
        name: name.clone(),
        value: Some(value.clone()),
        config_source: Source::DynamicBroker as i8,
        config_type: if options.types { Kind::Str.config_type() } else { 0 },
        ..Default::default()
    }));
    Ok(out)
}

fn entry(
    name: &str,
    kind: Kind,
    read_only: bool,
    resolved: Resolved,
    options: Options,
) -> DescribeConfigsResourceResult {
    debug_assert!(resolved.source != Source::Topic || !read_only);
    let synonym = |s: crate::config::effective::Synonym| DescribeConfigsSynonym {
        name: s.name.to_owned(),
        value: s.value,
        source: s.source as i8,
        ..Default::default()
    };
    DescribeConfigsResourceResult {
        name: name.to_owned(),
        value: resolved.value,
        read_only,
        config_source: resolved.source as i8,
        is_sensitive: false,
        synonyms: match options.synonyms {
            true => resolved.synonyms.into_iter().map(synonym).collect(),
            false => Vec::new(),
        },
        config_type: if options.types { kind.config_type() } else { 0 },
        documentation: None,
        ..Default::default()
    }
}
