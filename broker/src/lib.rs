//! The broker that Causeway's clusters run on.
//!
//! ```text
//! broker.rs       start and stop                 net/          sockets, connections, limits
//! node.rs         what every request can reach   api/          one file per API
//! partitions.rs   partitions led here            log/          segments on disk
//! coordinator/    groups and their journal       core/         sans-IO: groups, transactions, producer state
//! transactions/   transactional ids, markers
//! meta/           topics, settings, ids          config/       keys, levels, validation
//! quotas.rs       clients against their quotas   http.rs       health and metrics
//! loggers.rs      levels of the log, at run time
//! ```

mod adopt;
mod api;
mod blocking;
mod broker;
mod clock;
pub mod config;
mod coordinator;
pub mod core;
mod error;
mod errors;
mod http;
mod ids;
mod leader;
pub mod log;
pub mod loggers;
pub mod meta;
mod metrics_page;
mod net;
mod node;
mod operations;
mod partitions;
pub mod properties;
mod quotas;
mod stats;
mod transactions;
mod upkeep;

pub use broker::Broker;
pub use config::BrokerConfig;
pub use error::BrokerError;
pub use loggers::Loggers;
