//! ElectLeaders (43).
//!
//! *Behaviour*: with one replica the leader is always the preferred one: ELECTION_NOT_NEEDED for each partition that is
//! there. Asked about all partitions, those that need nothing are left out, as in Kafka.
//! *Versions*: 0-2. *Skipped*: elections among several replicas.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use super::Context;
use crate::meta::MetaImage;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// Election types: preferred and unclean.
const ELECTION_TYPES: RangeInclusive<i8> = 0..=1;

/// Answers the request.
pub async fn handle(context: &Context, request: ElectLeadersRequest) -> ElectLeadersResponse {
    if !ELECTION_TYPES.contains(&request.election_type) {
        // Told for the whole and for each part: version 0 has no room for an error of the whole.
        let code = ErrorCode::INVALID_REQUEST;
        let kind = request.election_type;
        let part = |partition_id| refusal(partition_id, code, format!("There is no election of type {kind}"));
        let results = request.topic_partitions.unwrap_or_default().into_iter().map(|topic| ReplicaElectionResult {
            partition_result: topic.partitions.into_iter().map(part).collect(),
            topic: topic.topic,
            ..Default::default()
        });
        return ElectLeadersResponse {
            error_code: code.0,
            replica_election_results: results.collect(),
            ..Default::default()
        };
    }
    let image = context.node.meta.image();
    let topics = request.topic_partitions.unwrap_or_default();
    let results = topics.into_iter().map(|topic| ReplicaElectionResult {
        partition_result: topic.partitions.iter().map(|p| outcome(&image, &topic.topic, *p)).collect(),
        topic: topic.topic,
        ..Default::default()
    });
    ElectLeadersResponse { replica_election_results: results.collect(), ..Default::default() }
}

fn outcome(image: &MetaImage, topic: &str, partition: i32) -> PartitionResult {
    let count = image.topic(topic).map(|t| t.partitions.len());
    let (code, message) = match count {
        None => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("No such topic as {topic}")),
        Some(count) if usize::try_from(partition).is_ok_and(|p| p < count) => {
            (ErrorCode::ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.".to_owned())
        }
        Some(_) => (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("No such partition as {topic}-{partition}")),
    };
    refusal(partition, code, message)
}

fn refusal(partition_id: i32, code: ErrorCode, message: String) -> PartitionResult {
    PartitionResult { partition_id, error_code: code.0, error_message: Some(message), ..Default::default() }
}
