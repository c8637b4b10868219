//! Cross-cluster replication for everything that speaks the Kafka protocol.
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod core;
pub mod drill;
pub mod groups;
pub mod lanes;
pub mod retry;
pub mod store;
pub mod telemetry;
