//! The clients of a drill: producers and group members on stock rdkafka, that write down what they see.
//!
//! Each client is a thread with a box for orders. When its region is lost, it is told to go on at another one; what it
//! had not heard back about stays `info` in its history.

mod producer;
mod reader;

pub use producer::{Producer, ProducerPlan};
pub use reader::{Reader, ReaderPlan, ReaderState};

use std::time::Duration;

/// Longest wait of a client's loop before it looks at its orders again.
const POLL: Duration = Duration::from_millis(5);

/// Orders waiting for a client: it takes them within milliseconds, and a drill gives two or three.
const ORDERS_MAX: usize = 8;

/// A cluster as its clients know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Alias, as in the daemon's configuration.
    pub alias: String,
    /// `host:port`.
    pub bootstrap: String,
}

/// What a client is told while it runs.
#[derive(Debug, Clone)]
enum Order {
    /// Go on at this cluster.
    Switch(Site),
    /// Finish and end.
    Stop,
}

/// Why a client gave up.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The client library refused.
    #[error("{client}: {source}")]
    Kafka {
        /// Which client.
        client: String,
        /// The refusal.
        source: rdkafka::error::KafkaError,
    },
    /// Its history could not be written.
    #[error("{client}: history: {source}")]
    History {
        /// Which client.
        client: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// Its thread panicked: a bug in the drill.
    #[error("{client}: its thread died")]
    Died {
        /// Which client.
        client: String,
    },
}

/// Settings of every client: quick to notice a cluster that comes back, quiet about one that is away.
fn client_config(site: &Site, client: &str) -> rdkafka::ClientConfig {
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", &site.bootstrap)
        .set("client.id", client)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500")
        .set("topic.metadata.refresh.fast.interval.ms", "100")
        .set("log_level", "0");
    config
}
