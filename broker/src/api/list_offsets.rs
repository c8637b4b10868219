//! ListOffsets (2).
//!
//! *Behaviour*: -1 the end for readers (high watermark, or last stable offset for read_committed), -2 the log's start, -3
//! the first record with the largest time; any other time: the first record at or after it. -4 (earliest local) is the
//! log's start, -5 (latest tiered) and -6 (earliest not yet tiered) answer for a log that is wholly local.
//! *Versions*: 1-11. *Skipped*: tiered storage.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::Context;
use crate::errors::log_code;
use crate::leader::check_leader_epoch;
use crate::partitions::Partition;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=11;

/// The end of the log (`OffsetSpec.latest`).
const LATEST: i64 = -1;
/// The start of the log.
const EARLIEST: i64 = -2;
/// The record with the largest time (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The start of what is on local disk (KIP-405).
const EARLIEST_LOCAL: i64 = -4;
/// The last offset in tiered storage (KIP-1005).
const LATEST_TIERED: i64 = -5;
/// The first offset that still waits to be tiered (KIP-1023).
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// Offset, its time, its leader epoch.
type Found = (i64, i64, i32);

/// Answers the request.
pub async fn handle(context: &Context, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut times: HashMap<(&str, i32), usize> = HashMap::new();
    for topic in &request.topics {
        topic.partitions.iter().for_each(|p| *times.entry((&topic.name, p.partition_index)).or_default() += 1);
    }
    let mut refused = HashSet::new();
    for topic in &request.topics {
        // A partition named twice is refused, once.
        let named = topic.partitions.iter().filter(|asked| {
            let key = (topic.name.as_str(), asked.partition_index);
            times[&key] == 1 || refused.insert(key)
        });
        let partitions = named.map(|asked| {
            let found = if times[&(topic.name.as_str(), asked.partition_index)] == 1 {
                look_up(context, &topic.name, asked, request.isolation_level == 1)
            } else {
                Err(ErrorCode::INVALID_REQUEST)
            };
            let mut answer =
                ListOffsetsPartitionResponse { partition_index: asked.partition_index, ..Default::default() };
            match found {
                Ok((offset, timestamp, epoch)) => {
                    (answer.offset, answer.timestamp) = (offset, timestamp);
                    if context.version() >= 4 {
                        answer.leader_epoch = epoch;
                    }
                }
                Err(code) => answer.error_code = code.0,
            }
            answer
        });
        topics.push(ListOffsetsTopicResponse {
            name: topic.name.clone(),
            partitions: partitions.collect(),
            ..Default::default()
        });
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

fn look_up(context: &Context, topic: &str, asked: &ListOffsetsPartition, committed: bool) -> Result<Found, ErrorCode> {
    let partition = context.node.partitions.get(topic, asked.partition_index);
    let partition = partition.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
    check_leader_epoch(&partition, asked.current_leader_epoch)?;
    // Versions that do not know a special time must not be answered as if they did.
    let since = match asked.timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        EARLIEST_PENDING_UPLOAD => 11,
        _ => 0,
    };
    if context.version() < since || asked.timestamp < EARLIEST_PENDING_UPLOAD {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    find(&partition, asked.timestamp, committed)
}

fn find(partition: &Partition, timestamp: i64, committed: bool) -> Result<Found, ErrorCode> {
    let log = &partition.log;
    let high_watermark = partition.high_watermark();
    let upper = if committed { log.last_stable_offset() } else { high_watermark };
    let now = partition.leader_epoch;
    let nothing = (-1, -1, -1);
    let found = match timestamp {
        LATEST => return Ok((upper, -1, now)),
        EARLIEST | EARLIEST_LOCAL => {
            return Ok((log.start_offset(), -1, now));
        }
        LATEST_TIERED => return Ok(nothing),
        EARLIEST_PENDING_UPLOAD => return Ok(nothing),
        MAX_TIMESTAMP => log.offset_of_max_timestamp(upper),
        time => log.offset_for_timestamp(time, upper),
    };
    let found = found.map_err(|error| log_code(&error))?;
    Ok(found.map_or(nothing, |f| (f.offset, f.timestamp, f.leader_epoch)))
}
