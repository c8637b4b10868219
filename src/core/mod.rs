//! The pure core: events in, commands out. No tokio, rdkafka, sled, clock or file system; time and chance are arguments.
pub mod batch;
pub mod checkpoint;
pub mod failover;
pub mod gap;
pub mod graph;
pub mod groups;
pub mod held;
pub mod ids;
pub mod landed;
pub mod lane;
pub mod offset_map;
pub mod origins;
pub mod planted;
pub mod progress;
pub mod provenance;
