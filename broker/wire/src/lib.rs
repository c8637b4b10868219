//! Kafka's wire protocol.
pub mod records;
