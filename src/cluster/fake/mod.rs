//! A pair of clusters in memory that fill the ports, for simulations: no thread, no clock, no network; chance is a seeded generator.
//!
//! They do what real clusters do to a mirror: move their log start, leave holes where records were compacted or aborted, lose tails,
//! re-create topics, lose and delay acknowledgements, and write down what a dead process had sent.
mod cluster;
mod progress_log;
mod sink;
mod source;

pub use cluster::{FakeCluster, FakeLog, FakeRecord, FakeTopic, Fate, Shared, Written};
pub use progress_log::ProgressLog;
pub use sink::{FakeSink, Late, Odds};
pub use source::FakeSource;

/// What batches of the fake carry: records with their source offsets, ascending.
pub type FakeRecords = Vec<(crate::core::ids::SourceOffset, FakeRecord)>;
