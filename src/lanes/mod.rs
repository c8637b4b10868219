//! The runtime of flows and lanes: a [`daemon`] has flows, a flow has pipelines, a pipeline has lanes.

mod cache;
pub mod daemon;
pub mod engine;
mod flow;
mod guard;
mod heartbeat;
mod lanes_of_flow;
mod machine;
pub mod mailbox;
pub mod naming;
mod pipeline;
mod provenance;
mod router;
pub mod shared;
mod slot;
mod targets;
pub mod view;
mod writer;

pub use daemon::Daemon;
pub use shared::{Connected, FlowShared};
