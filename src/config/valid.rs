//! The configuration that the rest of the program sees. Only `check` makes these values, so whoever holds one need not check again.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::client::ClientSettings;
use super::pattern::Patterns;

/// A whole, consistent configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The clusters by alias.
    pub clusters: BTreeMap<Alias, Cluster>,
    /// The flows, sorted by name; both ends of each are in `clusters`.
    pub flows: Vec<Flow>,
    /// The admin endpoint.
    pub admin: Admin,
    /// The local cache.
    pub store: Store,
    /// The log.
    pub log: Log,
}

impl Config {
    /// The flow called `name`.
    pub fn flow(&self, name: &str) -> Option<&Flow> {
        self.flows.iter().find(|flow| flow.name.as_str() == name)
    }

    /// The cluster under `alias`.
    pub fn cluster(&self, alias: &str) -> Option<&Cluster> {
        self.clusters.get(alias)
    }
}

/// A cluster's label: `[a-z0-9-]`, since it becomes a topic prefix, a metric label and part of a variable's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias(pub(super) String);

/// A flow's name: `[a-z0-9-]`, since it becomes part of a topic name and of metric labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowName(pub(super) String);

macro_rules! label {
    ($type:ident) => {
        impl $type {
            /// The label as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
label!(Alias);
label!(FlowName);

/// One address of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Name or IP address, without brackets.
    pub host: String,
    /// TCP port, never 0.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One cluster and how to reach it.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Its label.
    pub alias: Alias,
    /// Where to begin; at least one, without duplicates.
    pub bootstrap: Vec<HostPort>,
    /// The cluster.id it must have; another one is refused when connecting.
    pub cluster_id: Option<String>,
    /// librdkafka keys.
    pub client: ClientSettings,
}

impl Cluster {
    /// The addresses as librdkafka wants them: `host:port,host:port`.
    pub fn bootstrap_servers(&self) -> String {
        self.bootstrap.iter().map(HostPort::to_string).collect::<Vec<_>>().join(",")
    }
}

/// One direction, `source -> target`.
#[derive(Debug, Clone)]
pub struct Flow {
    /// Its name, part of the names of its topics on the target.
    pub name: FlowName,
    /// Alias of the source.
    pub from: Alias,
    /// Alias of the target; never the source.
    pub to: Alias,
    /// Which topics of the source are copied. Internal topics and our own never are, whatever this says.
    pub topics: Patterns,
    /// What a topic is called on the target.
    pub naming: Naming,
    /// Which consumer groups are followed; matches nothing when the file names none.
    pub groups: Patterns,
    /// What is promised about duplicates; chosen with the engine where the file names none.
    pub delivery: Option<Delivery>,
    /// How it is copied; chosen by what the flow needs where the file names none.
    pub engine: Option<Engine>,
    /// Where a lane without a position begins.
    pub start: Start,
    /// What happens when records can no longer be copied.
    pub gap_policy: GapPolicy,
    /// What the operator wants to hold.
    pub objectives: Objectives,
    /// How often things are looked at anew.
    pub refresh: Refresh,
}

/// What a topic is called on the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// As on the source: consumers move without a change.
    Identity,
    /// `<source alias>.<topic>`, MirrorMaker 2's default.
    Prefixed,
    /// A text with `{topic}` in it exactly once, and `{source}` if wanted.
    Template(String),
}

/// What is promised about duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing is lost; after a crash the last records may come twice.
    AtLeastOnce,
    /// Nothing is lost and nothing comes twice, whatever crashes.
    ExactlyOnce,
}

impl Delivery {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Delivery::AtLeastOnce => "at-least-once",
            Delivery::ExactlyOnce => "exactly-once",
        }
    }
}

/// How a flow is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Whole batches, unread.
    Batch,
    /// Record by record, through librdkafka.
    Record,
}

impl Engine {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Batch => "batch",
            Engine::Record => "record",
        }
    }
}

/// Where a lane without a position begins. Partitions that are added later are always read from the earliest offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record there is.
    Earliest,
    /// With what is written from now on.
    Latest,
    /// With the first record at or after this time (milliseconds since 1970, UTC).
    Timestamp(i64),
}

/// What happens when records can no longer be copied. Either way the gap is in the ledger before anything else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapPolicy {
    /// The lane waits for the operator.
    Stop,
    /// The lane goes on behind the gap.
    Record,
}

/// What the operator wants to hold; reported, never enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Objectives {
    /// Recovery point: age of the oldest record that a failover may lose.
    pub rpo: Option<Duration>,
    /// Recovery time: from the order to fail over until consumers read again.
    pub rto: Option<Duration>,
}

/// How often things are looked at anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// Between two looks at the source's topics and partitions.
    pub topics: Duration,
    /// Between two looks at the group positions.
    pub groups: Duration,
    /// Between two heartbeats.
    pub heartbeats: Duration,
}

/// The admin endpoint: metrics, health, status, commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// Address; port 0 lets the system choose.
    pub listen: SocketAddr,
}

/// The local cache of positions and maps; it may be deleted at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Its folder, relative to where the daemon was started.
    pub dir: PathBuf,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its form.
    pub format: LogFormat,
    /// A level, or a filter as `tracing` reads it.
    pub level: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
