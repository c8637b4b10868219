//! The merged layers as serde sees them: everything optional, nothing trusted. `check` makes the valid form of it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The whole configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Clusters by alias.
    pub clusters: BTreeMap<String, Cluster>,
    /// Flows by name.
    pub flows: BTreeMap<String, Flow>,
    /// The admin endpoint.
    pub admin: Admin,
    /// The local cache.
    pub store: Store,
    /// The log.
    pub log: Log,
}

/// `[clusters.ALIAS]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// `host:port`, several parted by commas, or a list.
    pub bootstrap: Option<OneOrMany>,
    /// The cluster.id that the peer must have.
    pub cluster_id: Option<String>,
    /// librdkafka keys.
    pub client: BTreeMap<String, String>,
    /// TLS, not supported yet.
    pub tls: Option<BTreeMap<String, String>>,
    /// SASL, not supported yet.
    pub sasl: Option<BTreeMap<String, String>>,
}

/// A string or a list of strings.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// A comma-separated string.
    One(String),
    /// A list.
    Many(Vec<String>),
}

/// An include and an exclude list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// What is taken.
    pub include: Option<Vec<String>>,
    /// What is left out all the same.
    pub exclude: Vec<String>,
}

/// `[[flows]]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flow {
    /// The flow's name.
    pub name: String,
    /// Alias of the source.
    pub from: Option<String>,
    /// Alias of the target.
    pub to: Option<String>,
    /// Which topics.
    pub topics: Option<Rules>,
    /// `identity`, `prefixed` or a template.
    pub naming: Option<String>,
    /// Which groups.
    pub groups: Option<Rules>,
    /// Delivery.
    pub delivery: Option<String>,
    /// `batch` or `record`.
    pub engine: Option<String>,
    /// Where a lane without a position begins.
    pub start: Option<String>,
    /// What a gap does.
    pub gap_policy: Option<String>,
    /// RPO and RTO.
    pub objectives: Objectives,
    /// How often things are looked at anew.
    pub refresh: Refresh,
}

/// `objectives`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objectives {
    /// Age of the oldest record that may be lost.
    pub rpo: Option<String>,
    /// Time until consumers are back.
    pub rto: Option<String>,
}

/// `refresh`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refresh {
    /// Between two looks at the source's topics.
    pub topics: Option<String>,
    /// Between two looks at the group positions.
    pub groups: Option<String>,
    /// Between two heartbeats.
    pub heartbeats: Option<String>,
}

/// `[admin]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address to listen on.
    pub listen: Option<String>,
}

/// `[store]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Folder of the cache.
    pub dir: Option<String>,
}

/// `[log]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` or `json`.
    pub format: Option<String>,
    /// A level, or a filter as `tracing` reads it.
    pub level: Option<String>,
}
