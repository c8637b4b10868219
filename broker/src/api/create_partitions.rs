//! CreatePartitions (37).
//!
//! *Behaviour*: topics grow, each alone; a topic named twice is refused. `validate_only` stores nothing.
//! *Versions*: 0-3. *Skipped*: nothing.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::{Context, throttle};
use crate::meta::{MetaRecord, controller};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=3;

/// Answers the request.
pub async fn handle(context: &Context, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let node = &context.node;
    let defaults = node.topic_defaults();
    let validate_only = request.validate_only;
    let topics = request.topics;
    let image = node.meta.image();
    // Older versions know no answer for it: they only wait (KIP-599).
    let mut mutations = node.quotas.mutations(&image, context.client_id(), context.version() >= 3);
    drop(image);
    let decided = node.meta.update(|image| {
        let (mut records, mut results) = (Vec::new(), Vec::<CreatePartitionsTopicResult>::new());
        let mut count: HashMap<&str, usize> = HashMap::new();
        topics.iter().for_each(|t| *count.entry(&t.name).or_default() += 1);
        let mut told: HashSet<&str> = HashSet::new();
        for topic in &topics {
            if count[topic.name.as_str()] > 1 {
                if told.insert(&topic.name) {
                    let twice = Some("Duplicate topic name.".to_owned());
                    results.push(result(&topic.name, ErrorCode::INVALID_REQUEST, twice));
                }
                continue;
            }
            let given: Option<Vec<Vec<i32>>> =
                topic.assignments.as_ref().map(|all| all.iter().map(|a| a.broker_ids.clone()).collect());
            match controller::create_partitions(image, &defaults, &topic.name, topic.count, given.as_deref()) {
                Ok(more) if !validate_only && !mutations.allow(added(&more)) => {
                    let refusal = controller::throttled();
                    results.push(result(&topic.name, refusal.code, Some(refusal.message)));
                }
                Ok(more) => {
                    records.extend(more);
                    results.push(result(&topic.name, ErrorCode::NONE, None));
                }
                Err(refusal) => results.push(result(&topic.name, refusal.code, Some(refusal.message))),
            }
        }
        (if validate_only { Vec::new() } else { records }, results)
    });
    let mut results = match decided.await {
        Ok(results) => results,
        Err(error) => {
            tracing::error!(%error, "cannot create partitions");
            let failed = |t: &causeway_wire::messages::create_partitions::CreatePartitionsTopic| {
                result(&t.name, ErrorCode::UNKNOWN_SERVER_ERROR, Some(error.to_string()))
            };
            return CreatePartitionsResponse { results: topics.iter().map(failed).collect(), ..Default::default() };
        }
    };
    if !validate_only {
        for made in results.iter_mut().filter(|r| r.error_code == 0) {
            if let Err(refusal) = node.open_topic(&made.name).await {
                *made = result(&made.name, refusal.code, Some(refusal.message));
            }
        }
    }
    let throttle_time_ms = throttle::mute(context, mutations.delay());
    CreatePartitionsResponse { throttle_time_ms, results, ..Default::default() }
}

/// Partitions that these records make.
fn added(records: &[MetaRecord]) -> usize {
    let count = |record: &MetaRecord| match record {
        MetaRecord::Partitions { added, .. } => added.len(),
        _ => 0,
    };
    records.iter().map(count).sum()
}

fn result(name: &str, code: ErrorCode, error_message: Option<String>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult { name: name.to_owned(), error_code: code.0, error_message, ..Default::default() }
}
