//! OffsetDelete (47).
//!
//! *Behaviour*: forgets committed offsets of topics that no member of the group reads (GROUP_SUBSCRIBED_TO_TOPIC), durably
//! before the answer. Any group without members; with members only groups of consumers (NON_EMPTY_GROUP).
//! *Versions*: 0. *Skipped*: nothing.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=0;

/// Answers the request.
pub async fn handle(context: &Context, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let failed = |code: ErrorCode| OffsetDeleteResponse { error_code: code.0, ..Default::default() };
    if request.group_id.is_empty() {
        return failed(ErrorCode::INVALID_GROUP_ID);
    }
    let image = context.node.meta.image();
    let exists = |topic: &str, partition: i32| {
        image.topic(topic).is_some_and(|t| usize::try_from(partition).is_ok_and(|p| p < t.partitions.len()))
    };
    let mut codes: BTreeMap<(String, i32), ErrorCode> = BTreeMap::new();
    for topic in &request.topics {
        for p in &topic.partitions {
            let known = exists(&topic.name, p.partition_index);
            let code = if known { ErrorCode::NONE } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
            codes.insert((topic.name.clone(), p.partition_index), code);
        }
    }
    drop(image);
    let wanted: Vec<(String, i32)> =
        codes.iter().filter(|(_, code)| **code == ErrorCode::NONE).map(|(key, _)| key.clone()).collect();
    match context.node.coordinator.delete_offsets(&request.group_id, &wanted).await {
        Err(code) => return failed(code),
        Ok(outcomes) => codes.extend(wanted.into_iter().zip(outcomes)),
    }
    let topics = request.topics.into_iter().map(|topic| {
        let answer = |partition_index: i32| OffsetDeleteResponsePartition {
            partition_index,
            error_code: codes.get(&(topic.name.clone(), partition_index)).copied().unwrap_or_default().0,
            ..Default::default()
        };
        let partitions = topic.partitions.iter().map(|p| answer(p.partition_index)).collect();
        OffsetDeleteResponseTopic { name: topic.name.clone(), partitions, ..Default::default() }
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}
