//! Cross-cluster replication for everything that speaks the Kafka protocol.
pub mod cli;
pub mod config;
pub mod drill;
