//! DescribeConfigs (32).
//!
//! *Behaviour*: the complete effective settings of topics, of this broker, of groups and of client metrics subscriptions,
//! each with where it comes from and, if asked, every level behind it and what it is for. Names asked for that do not exist
//! are left out, as in Kafka. Broker loggers: each with the level in force.
//! Of a broker every setting that Kafka shows, also such as have no effect here, as they are set.
//! *Versions*: 1-4. *Skipped*: nothing.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::Context;
use crate::config::docs;
use crate::config::effective::{Levels, Settings, Synonym};
use crate::config::resource_keys::{GROUP_KEYS, METRICS_KEYS};
use crate::config::topic_keys::TOPIC_KEYS;
use crate::config::{Kind, Resolved, Source};
use crate::config::{kafka_keys, keys};
use crate::meta::clients::ResourceKind;
use crate::meta::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::meta::controller::{Refusal, check_topic_name, refuse};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=4;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let options = Options {
        synonyms: request.include_synonyms,
        types: context.version() >= 3,
        documentation: request.include_documentation,
    };
    // A resource named twice is shown once: else a small request could ask for an endless answer.
    let mut seen = HashSet::new();
    let once = request.resources.into_iter().filter(|r| seen.insert((r.resource_type, r.resource_name.clone())));
    let results = once.map(|resource| {
        let described = match resource.resource_type {
            TOPIC => topic(context, &resource, options),
            BROKER => broker(context, &resource, options),
            BROKER_LOGGER => loggers(context, &resource),
            CLIENT_METRICS => client_metrics(context, &resource, options),
            GROUP => group(context, &resource, options),
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
    documentation: bool,
}

fn wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    // An empty list means all, as none does.
    resource.configuration_keys.as_ref().is_none_or(|keys| keys.is_empty() || keys.iter().any(|k| k == name))
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
        keys.map(|key| entry(key.name, key.kind.config_type(), false, levels.topic(key, &topic.configs), options))
            .collect()
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
    let none = Settings::new();
    if name.is_empty() {
        // Only what was set for all brokers: there is no one broker whose defaults could be shown.
        let levels = Levels { broker: &none, cluster: &image.cluster_configs, statics: &none };
        return Ok(settings(&levels, resource, options, Some(Source::DynamicDefault)));
    }
    check_node(node.config.node_id, name, " or empty string, but")?;
    Ok(node.with_levels(|levels| settings(levels, resource, options, None)))
}

/// Every broker setting that there is, in Kafka, here, or as something that was set.
fn settings(
    levels: &Levels<'_>,
    resource: &DescribeConfigsResource,
    options: Options,
    only: Option<Source>,
) -> Vec<DescribeConfigsResourceResult> {
    let known = keys::shown().filter(|key| wanted(resource, key.name));
    let mut out: Vec<_> = known
        .map(|key| (key, levels.shown(&key)))
        .filter(|(_, resolved)| only.is_none_or(|source| resolved.source == source))
        .map(|(key, mut resolved)| {
            resolved.synonyms.retain(|s| only.is_none_or(|source| s.source == source));
            let read_only = !keys::is_alterable(key.name);
            let entry = entry(key.name, key.kind.code(), read_only, resolved, options);
            DescribeConfigsResourceResult { is_sensitive: key.is_sensitive(), ..entry }
        })
        .collect();
    // Settings of one listener, and such as Kafka does not show by itself.
    let set = [
        (levels.broker, Source::DynamicBroker),
        (levels.cluster, Source::DynamicDefault),
        (levels.statics, Source::Static),
    ];
    let mut seen = HashSet::new();
    for (name, value, source) in set.iter().flat_map(|(set, source)| set.iter().map(move |(n, v)| (n, v, *source))) {
        let shown = kafka_keys::find(name).is_some_and(|key| key.name == name) || keys::find(name).is_some();
        if shown || !wanted(resource, name) || !seen.insert(name) {
            continue;
        }
        // What nobody knows may be a secret.
        let key = kafka_keys::find(name).filter(|key| !key.is_sensitive());
        out.push(DescribeConfigsResourceResult {
            name: name.clone(),
            value: key.map(|_| value.clone()),
            read_only: !keys::is_alterable(name),
            config_source: source as i8,
            is_sensitive: key.is_none(),
            config_type: if options.types { kafka_keys::find(name).map_or(0, |key| key.kind.code()) } else { 0 },
            documentation: options.documentation.then(|| docs::of(name).to_owned()),
            ..Default::default()
        });
    }
    out
}

fn check_node(ours: i32, name: &str, but: &str) -> Result<(), Refusal> {
    let why = match name.parse::<i32>() {
        Ok(id) if id == ours => return Ok(()),
        Ok(id) => format!("Unexpected broker id, expected {ours}{but} received {id}"),
        Err(_) => format!("Broker id must be an integer, but it is: {name}"),
    };
    Err(refuse(ErrorCode::INVALID_REQUEST, why))
}

fn loggers(
    context: &Context,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if resource.resource_name.is_empty() {
        return Err(refuse(ErrorCode::INVALID_REQUEST, "Broker id must not be empty"));
    }
    check_node(context.node.config.node_id, &resource.resource_name, " but")?;
    let levels = context.node.loggers.list().into_iter().filter(|(name, _)| wanted(resource, name));
    Ok(levels
        .map(|(name, level)| DescribeConfigsResourceResult {
            name,
            value: Some(level),
            config_source: Source::BrokerLogger as i8,
            documentation: None,
            ..Default::default()
        })
        .collect())
}

/// A group need not be there to have settings.
fn group(
    context: &Context,
    resource: &DescribeConfigsResource,
    options: Options,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if resource.resource_name.is_empty() {
        return Err(refuse(ErrorCode::INVALID_REQUEST, "Group name must not be empty"));
    }
    let own = context.node.meta.image().clients.resource(ResourceKind::Group, &resource.resource_name);
    let keys = GROUP_KEYS.iter().filter(|k| wanted(resource, k.name));
    Ok(context.node.with_levels(|levels| {
        keys.map(|key| entry(key.name, key.kind.config_type(), false, levels.group(key, &own), options)).collect()
    }))
}

fn client_metrics(
    context: &Context,
    resource: &DescribeConfigsResource,
    options: Options,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if resource.resource_name.is_empty() {
        return Err(refuse(ErrorCode::INVALID_REQUEST, "Client metrics subscription name must not be empty"));
    }
    let own = context.node.meta.image().clients.resource(ResourceKind::ClientMetrics, &resource.resource_name);
    let keys = METRICS_KEYS.iter().filter(|(name, ..)| wanted(resource, name));
    let show = |(name, kind, default): &(&'static str, Kind, &str)| {
        let resolved = match own.get(*name).cloned() {
            Some(value) => {
                let source = Source::ClientMetrics;
                let synonyms = vec![Synonym { name, value: Some(value.clone()), source }];
                Resolved { value: Some(value), source, synonyms }
            }
            None => Resolved { value: Some((*default).to_owned()), source: Source::Default, synonyms: Vec::new() },
        };
        entry(name, kind.config_type(), false, resolved, options)
    };
    Ok(keys.map(show).collect())
}

fn entry(
    name: &str,
    config_type: i8,
    read_only: bool,
    resolved: Resolved,
    options: Options,
) -> DescribeConfigsResourceResult {
    debug_assert!(resolved.source != Source::Topic || !read_only);
    let synonym = |s: Synonym| DescribeConfigsSynonym {
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
        config_type: if options.types { config_type } else { 0 },
        documentation: options.documentation.then(|| docs::of(name).to_owned()),
        ..Default::default()
    }
}
