//! CreateTopics (19).
//!
//! *Behaviour*: each topic stands alone: one bad topic does not hold up the others; a name given twice is refused. -1 takes
//! the broker's defaults. `validate_only` decides and stores nothing. The answer carries the settings in force.
//! *Versions*: 2-7. *Skipped*: policies.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::create_topics::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};

use super::{Context, throttle};
use crate::config::effective::Settings;
use crate::config::topic_keys::TOPIC_KEYS;
use crate::meta::controller::{NewTopic, Refusal, refuse};
use crate::node::CreatedTopic;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 2..=7;

/// Answers the request.
pub async fn handle(context: &Context, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut count: HashMap<&str, usize> = HashMap::new();
    request.topics.iter().for_each(|t| *count.entry(&t.name).or_default() += 1);
    let mut wanted = Vec::new();
    let mut twice: BTreeSet<&str> = BTreeSet::new();
    for topic in &request.topics {
        if count[topic.name.as_str()] > 1 {
            twice.insert(&topic.name);
            continue;
        }
        wanted.push(NewTopic {
            name: topic.name.clone(),
            partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            assignments: topic.assignments.iter().map(|a| (a.partition_index, a.broker_ids.clone())).collect(),
            configs: topic.configs.iter().map(|c| (c.name.clone(), c.value.clone())).collect(),
        });
    }
    let names: Vec<(String, Settings)> = wanted.iter().map(|t| (t.name.clone(), own_settings(t))).collect();
    let image = context.node.meta.image();
    // Older versions know no answer for it: they only wait (KIP-599).
    let mut mutations = context.node.quotas.mutations(&image, context.client_id(), context.version() >= 6);
    drop(image);
    let mut allow = |count| mutations.allow(count);
    let made = context.node.create_topics_within(wanted, request.validate_only, &mut allow).await;
    let throttle_time_ms = throttle::mute(context, mutations.delay());
    let mut topics: Vec<CreatableTopicResult> = names
        .iter()
        .zip(made)
        .map(|((name, own), outcome)| match outcome {
            Ok(made) => show(context, name, own, &made),
            Err(refusal) => refused(name, refusal),
        })
        .collect();
    topics.extend(
        twice
            .iter()
            .map(|name| refused(name, refuse(ErrorCode::INVALID_REQUEST, "Found multiple entries for this topic."))),
    );
    CreateTopicsResponse { throttle_time_ms, topics, ..Default::default() }
}

fn own_settings(topic: &NewTopic) -> Settings {
    topic.configs.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect()
}

fn show(context: &Context, name: &str, own: &Settings, made: &CreatedTopic) -> CreatableTopicResult {
    let configs = context.node.with_levels(|levels| {
        let entry = |key| {
            let resolved = levels.topic(key, own);
            CreatableTopicConfigs {
                name: key.name.to_owned(),
                value: resolved.value,
                read_only: false,
                config_source: resolved.source as i8,
                is_sensitive: false,
                ..Default::default()
            }
        };
        TOPIC_KEYS.iter().map(entry).collect()
    });
    CreatableTopicResult {
        name: name.to_owned(),
        topic_id: made.id,
        error_message: None,
        num_partitions: made.partitions as i32,
        replication_factor: made.replication_factor as i16,
        configs: Some(configs),
        ..Default::default()
    }
}

fn refused(name: &str, refusal: Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.to_owned(),
        error_code: refusal.code.0,
        error_message: Some(refusal.message),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}
