//! The only place that talks to clusters, behind the two ports [`ports::Source`] and [`ports::Sink`].
pub mod admin;
pub mod batch;
pub mod carried;
pub mod ends;
mod error;
pub mod fake;
pub mod groups;
pub mod heartbeats;
mod hidden;
pub mod offsets;
pub mod pen;
pub mod ports;
pub mod progress_topic;
pub mod record;
pub mod topics;

pub use admin::{Admin, ClusterSpec};
pub use error::ClusterError;
