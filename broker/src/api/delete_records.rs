//! DeleteRecords (21).
//!
//! *Behaviour*: moves a partition's log start forward, at most to the high watermark (-1 stands for it).
//! *Versions*: 0-2. *Skipped*: compacted-only topics are refused with POLICY_VIOLATION, internal ones with
//! INVALID_TOPIC_EXCEPTION, as in Kafka.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use super::Context;
use crate::errors::log_code;
use crate::leader::check_online;
use crate::meta::image::is_internal;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// Answers the request.
pub async fn handle(context: &Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let outcome = delete(context, &topic.name, asked);
            let (low_watermark, code) = outcome.map_or_else(|code| (-1, code), |low| (low, ErrorCode::NONE));
            DeleteRecordsPartitionResult {
                partition_index: asked.partition_index,
                low_watermark,
                error_code: code.0,
                ..Default::default()
            }
        });
        DeleteRecordsTopicResult { partitions: partitions.collect(), name: topic.name, ..Default::default() }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..Default::default() }
}

fn delete(context: &Context, topic: &str, asked: &DeleteRecordsPartition) -> Result<i64, ErrorCode> {
    let partition = context.node.partitions.get(topic, asked.partition_index);
    let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    check_online(&partition)?;
    if is_internal(topic) {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    if !partition.settings().log.delete {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let high_watermark = partition.high_watermark();
    let to = if asked.offset == -1 { high_watermark } else { asked.offset };
    if to < 0 || to > high_watermark {
        return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    context.node.logs.delete_records(&partition.log, to).map_err(|error| {
        tracing::error!(topic, partition = asked.partition_index, %error, "cannot delete records");
        log_code(&error)
    })
}
