//! What changes metadata. Stored as one JSON object a line, so that a person can read it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clients::{Entity, ResourceKind, ScramCredential};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MetaRecord {
    /// A topic with its id (base64 as Kafka shows it), replicas by partition, and settings.
    Topic {
        /// Name.
        name: String,
        /// Topic id.
        id: String,
        /// Replicas of each partition, the preferred leader first.
        partitions: Vec<Vec<i32>>,
        /// Settings of its own.
        configs: BTreeMap<String, String>,
    },
    /// A topic is gone.
    TopicGone {
        /// Name.
        name: String,
        /// Topic id: its directories may be removed, also after a crash; nobody else's.
        id: String,
    },
    /// More partitions.
    Partitions {
        /// Name of the topic.
        name: String,
        /// Replicas of each new partition.
        added: Vec<Vec<i32>>,
    },
    /// A topic setting; no value takes it back.
    TopicConfig {
        /// Name of the topic.
        name: String,
        /// Setting.
        key: String,
        /// New value.
        value: Option<String>,
    },
    /// A broker setting; for all brokers if no node is named.
    BrokerConfig {
        /// Node id.
        node: Option<i32>,
        /// Setting.
        key: String,
        /// New value.
        value: Option<String>,
    },
    /// Producer ids below this number have been given out to brokers in blocks.
    ProducerIds {
        /// The next id of the next block.
        next: i64,
    },
    /// A broker (re)started: the partitions it leads get a new leader epoch.
    BrokerStarted {
        /// Node id.
        node: i32,
    },
    /// A feature's finalized level; 0 switches it off.
    FeatureLevel {
        /// Name.
        name: String,
        /// New level.
        level: i16,
    },
    /// A quota; no value takes it back.
    ClientQuota {
        /// Whom it is for.
        entity: Entity,
        /// Name of the quota.
        key: String,
        /// New value, a number in text form.
        value: Option<String>,
    },
    /// A user's SCRAM credential; none takes it back.
    ScramUser {
        /// Name.
        user: String,
        /// 1: SCRAM-SHA-256, 2: SCRAM-SHA-512.
        mechanism: i8,
        /// New credential.
        credential: Option<ScramCredential>,
    },
    /// A setting of a group or of a client metrics subscription; no value takes it back.
    ResourceConfig {
        /// What it is.
        kind: ResourceKind,
        /// Name of the resource.
        name: String,
        /// Setting.
        key: String,
        /// New value.
        value: Option<String>,
    },
    /// Snapshot only: leader epochs of a topic's partitions.
    LeaderEpochs {
        /// Name of the topic.
        name: String,
        /// Epoch by partition.
        epochs: Vec<i32>,
    },
}
