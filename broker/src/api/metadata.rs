//! Metadata (3).
//!
//! *Behaviour*: topics by name or id, or all; unknown names are created if both the request and
//! `auto.create.topics.enable` allow it, and shown from the next request on, as in Kafka. The broker shown is the one of the listener that was asked by.
//! A partition whose log directory failed has no leader.
//! *Versions*: 0-13. *Skipped*: nothing.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use causeway_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use causeway_wire::{ErrorCode, Uuid};

use super::Context;
use crate::meta::TopicMeta;
use crate::meta::controller::{NewTopic, check_topic_name};
use crate::meta::image::is_internal;
use crate::node::Node;
use crate::operations;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=13;

/// The leader of a partition whose log directory failed.
const NO_LEADER: i32 = -1;
/// First version in which topics may be asked for by id, though 10 and 11 have the field.
const BY_ID: i16 = 12;

/// Answers the request.
pub async fn handle(context: &Context, request: MetadataRequest) -> MetadataResponse {
    let node = &context.node;
    let operations = operations::asked(request.include_topic_authorized_operations, operations::TOPIC);
    // In version 0 an empty list means all topics, later it means none.
    let named = match &request.topics {
        Some(topics) if !(context.version() == 0 && topics.is_empty()) => Some(topics),
        _ => None,
    };
    if let Some(asked) = named.filter(|_| context.version() < BY_ID)
        && asked.iter().any(|topic| topic.name.is_none() || topic.topic_id != Uuid::ZERO)
    {
        return by_id_too_early(asked);
    }
    let topics = match named {
        None => node.meta.image().topics().map(|t| show(node, t, operations)).collect(),
        Some(asked) => {
            let names: Vec<&str> = asked.iter().filter_map(|t| t.name.as_deref()).collect();
            // As in Kafka the answer is from before the creation: a client that asked for a topic it did not expect to be
            // there asks again.
            let image = node.meta.image();
            if request.allow_auto_topic_creation && node.config.flag("auto.create.topics.enable") {
                create_missing(context, &names).await;
            }
            let mut out = Vec::new();
            // A topic named twice is shown once, as in Kafka; else a small request could ask for an endless answer.
            let mut seen = HashSet::new();
            for topic in asked.iter().filter(|t| seen.insert((&t.name, t.topic_id.0))) {
                out.push(match &topic.name {
                    Some(name) => image.topic(name).map_or_else(|| unknown_name(name), |t| show(node, t, operations)),
                    None => {
                        let found = image.topic_by_id(topic.topic_id);
                        found.map_or_else(|| unknown_id(topic.topic_id), |t| show(node, t, operations))
                    }
                });
            }
            out
        }
    };
    let (host, port) = node.advertised(&context.peer.listener);
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: node.config.node_id,
            host,
            port: port.into(),
            rack: node.config.rack.clone(),
            ..Default::default()
        }],
        cluster_id: Some(node.cluster_id.clone()),
        controller_id: node.config.node_id,
        cluster_authorized_operations: operations::asked(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ),
        topics,
        ..Default::default()
    }
}

/// Every topic refused, as Kafka does.
fn by_id_too_early(asked: &[MetadataRequestTopic]) -> MetadataResponse {
    let refused = asked.iter().map(|topic| MetadataResponseTopic {
        error_code: ErrorCode::INVALID_REQUEST.0,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse { topics: refused.collect(), ..Default::default() }
}

async fn create_missing(context: &Context, names: &[&str]) {
    let image = context.node.meta.image();
    let missing = names.iter().filter(|n| image.topic(n).is_none() && !is_internal(n) && check_topic_name(n).is_ok());
    let mut wanted: Vec<NewTopic> = Vec::new();
    let mut seen = HashSet::new();
    for name in missing {
        if seen.insert(*name) {
            wanted.push(NewTopic {
                name: (*name).to_owned(),
                partitions: -1,
                replication_factor: -1,
                ..NewTopic::default()
            });
        }
    }
    if !wanted.is_empty() {
        // What could not be made stays unknown to the next request; the cause is in the log.
        let _ = context.node.create_topics(wanted, false).await;
    }
}

fn show(node: &Node, topic: &Arc<TopicMeta>, topic_authorized_operations: i32) -> MetadataResponseTopic {
    let partition = |(index, p): (usize, &crate::meta::PartitionMeta)| {
        let shown = MetadataResponsePartition {
            partition_index: index as i32,
            leader_id: p.leader(),
            leader_epoch: p.leader_epoch,
            replica_nodes: p.replicas.clone(),
            isr_nodes: p.replicas.clone(),
            ..Default::default()
        };
        if !node.partitions.is_offline(&topic.name, index as i32) {
            return shown;
        }
        MetadataResponsePartition {
            error_code: ErrorCode::LEADER_NOT_AVAILABLE.0,
            leader_id: NO_LEADER,
            offline_replicas: vec![node.config.node_id],
            ..shown
        }
    };
    MetadataResponseTopic {
        name: Some(topic.name.clone()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: topic.partitions.iter().enumerate().map(partition).collect(),
        topic_authorized_operations,
        ..Default::default()
    }
}

fn unknown_name(name: &str) -> MetadataResponseTopic {
    let code = match check_topic_name(name) {
        Ok(()) => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        Err(refusal) => refusal.code,
    };
    MetadataResponseTopic {
        error_code: code.0,
        name: Some(name.to_owned()),
        is_internal: is_internal(name),
        ..Default::default()
    }
}

fn unknown_id(topic_id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code: ErrorCode::UNKNOWN_TOPIC_ID.0, name: None, topic_id, ..Default::default() }
}
