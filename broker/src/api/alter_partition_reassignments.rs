//! AlterPartitionReassignments (45).
//!
//! *Behaviour*: replicas are checked as Kafka's controller checks them; on one node the only assignment that passes is the one
//! that stands, so there is never anything to move. Taking a reassignment back: NO_REASSIGNMENT_IN_PROGRESS.
//! *Versions*: 0-1. *Skipped*: moving replicas between nodes.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartitionResponse,
    ReassignableTopicResponse,
};

use super::Context;
use crate::meta::MetaImage;
use crate::meta::controller::{Defaults, Refusal, check_replicas, refuse};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// Answers the request.
pub async fn handle(
    context: &Context,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let image = context.node.meta.image();
    let defaults = context.node.topic_defaults();
    let may_resize = request.allow_replication_factor_change;
    let responses = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            let decided = decide(&image, &defaults, &topic.name, p.partition_index, p.replicas.as_deref(), may_resize);
            let (code, error_message) = super::incremental_alter_configs::split(decided);
            ReassignablePartitionResponse {
                partition_index: p.partition_index,
                error_code: code.0,
                error_message,
                ..Default::default()
            }
        });
        ReassignableTopicResponse { partitions: partitions.collect(), name: topic.name.clone(), ..Default::default() }
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: may_resize,
        responses: responses.collect(),
        ..Default::default()
    }
}

fn decide(
    image: &MetaImage,
    defaults: &Defaults,
    name: &str,
    partition: i32,
    replicas: Option<&[i32]>,
    may_resize: bool,
) -> Result<(), Refusal> {
    let unknown = |why| Err(refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why));
    let Some(topic) = image.topic(name) else {
        return unknown(format!("Unable to find a topic named {name}."));
    };
    let Some(now) = usize::try_from(partition).ok().and_then(|p| topic.partitions.get(p)) else {
        return unknown(format!("Unable to find partition {name}:{partition}."));
    };
    let Some(replicas) = replicas else {
        return Err(refuse(ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, "No partition reassignment is in progress."));
    };
    check_replicas(defaults, replicas)?;
    if !may_resize && replicas.len() != now.replicas.len() {
        let why = format!("The replication factor is changed from {} to {}", now.replicas.len(), replicas.len());
        return Err(refuse(ErrorCode::INVALID_REPLICATION_FACTOR, why));
    }
    if replicas != now.replicas {
        // Passes every check only where a second node is registered.
        return Err(refuse(
            ErrorCode::INVALID_REPLICA_ASSIGNMENT,
            "Replicas cannot be moved on a cluster of one node.",
        ));
    }
    Ok(())
}
