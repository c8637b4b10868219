//! DeleteTopics (20).
//!
//! *Behaviour*: by name or, from version 6, by id; each topic stands alone. Offsets committed for the topic go with it.
//! *Versions*: 1-6. *Skipped*: internal topics may be deleted, as in Kafka.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use causeway_wire::messages::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};
use causeway_wire::{ErrorCode, Uuid};

use super::{Context, throttle};
use crate::meta::MetaRecord;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=6;

/// Answers the request.
pub async fn handle(context: &Context, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let by_name = request.topic_names.iter().map(|n| (Some(n.clone()), Uuid::ZERO));
    let by_either = request.topics.iter().map(|t| (t.name.clone(), t.topic_id));
    let asked: Vec<(Option<String>, Uuid)> = by_name.chain(by_either).collect();
    if !context.node.config.flag("delete.topic.enable") {
        let code = if context.version() < 3 { ErrorCode::INVALID_REQUEST } else { ErrorCode::TOPIC_DELETION_DISABLED };
        let responses = asked.into_iter().map(|(name, id)| result(name, id, code)).collect();
        return DeleteTopicsResponse { responses, ..Default::default() };
    }
    let image = context.node.meta.image();
    // Older versions know no answer for it: they only wait (KIP-599).
    let mut mutations = context.node.quotas.mutations(&image, context.client_id(), context.version() >= 5);
    drop(image);
    let decided = context.node.meta.update(|image| {
        let (mut records, mut out) = (Vec::new(), Vec::new());
        // What is named twice, in whatever way, is not deleted at all.
        let mut named: HashMap<Uuid, usize> = HashMap::new();
        for (name, id) in asked.iter().filter(|(name, id)| name.is_none() || id.is_zero()) {
            let found = name.as_ref().map_or_else(|| image.topic_by_id(*id), |name| image.topic(name));
            found.iter().for_each(|topic| *named.entry(topic.id).or_default() += 1);
        }
        let mut told = HashSet::new();
        for (name, id) in asked {
            // By one of the two, and only one.
            if name.is_some() != id.is_zero() {
                out.push(result(name, id, ErrorCode::INVALID_REQUEST));
                continue;
            }
            let found = name.as_ref().map_or_else(|| image.topic_by_id(id), |name| image.topic(name));
            let Some(topic) = found else {
                let unknown =
                    if name.is_some() { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { ErrorCode::UNKNOWN_TOPIC_ID };
                out.push(result(name, id, unknown));
                continue;
            };
            if named.get(&topic.id).is_some_and(|times| *times > 1) {
                if told.insert(topic.id) {
                    out.push(result(Some(topic.name.clone()), id, ErrorCode::INVALID_REQUEST));
                }
                continue;
            }
            if !mutations.allow(topic.partitions.len()) {
                out.push(result(Some(topic.name.clone()), topic.id, ErrorCode::THROTTLING_QUOTA_EXCEEDED));
                continue;
            }
            records.push(MetaRecord::TopicGone { name: topic.name.clone(), id: topic.id.to_string() });
            out.push(result(Some(topic.name.clone()), topic.id, ErrorCode::NONE));
        }
        (records, out)
    });
    let responses = match decided.await {
        Ok(out) => out,
        Err(error) => {
            tracing::error!(%error, "cannot delete topics");
            return DeleteTopicsResponse::default();
        }
    };
    for gone in responses.iter().filter(|r| r.error_code == 0) {
        if let Some(name) = &gone.name {
            context.node.drop_topic(name, gone.topic_id).await;
        }
    }
    let throttle_time_ms = throttle::mute(context, mutations.delay());
    DeleteTopicsResponse { throttle_time_ms, responses, ..Default::default() }
}

fn result(name: Option<String>, topic_id: Uuid, code: ErrorCode) -> DeletableTopicResult {
    let error_message = (code != ErrorCode::NONE).then(|| code.name().to_owned());
    DeletableTopicResult { name, topic_id, error_code: code.0, error_message, ..Default::default() }
}
