//! The local store: a cache of a flow's progress topic, and never more than that (L2).
//!
//! It spares reading the whole topic at a start. Whatever is wrong with it (lost, stale, damaged, of another cluster) costs a
//! rebuild from the topic and nothing else.
pub mod cache;
#[cfg(test)]
mod contract_tests;
pub mod export;
mod memory;
pub mod rebuild;

pub use memory::MemoryStore;

use crate::core::{
    ids::{ClusterId, TopicId},
    progress::Record,
};

/// Which progress topic a store mirrors, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The target cluster.
    pub cluster: ClusterId,
    /// The progress topic's ID there: a re-created topic is another one.
    pub topic_id: TopicId,
    /// The next offset of the progress topic that the store does not hold.
    pub next_offset: i64,
}

/// A record of the progress topic with its offset there: the order in which records are folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its offset in the progress topic.
    pub offset: i64,
    /// The record.
    pub record: Record,
}

/// What a store held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Of which topic, and how far.
    pub stamp: Stamp,
    /// The newest record of every key, in the topic's order.
    pub records: Vec<Placed>,
}

/// Why a store did not do what was asked. It is out of use then, until it is reset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The folder or the disk under it.
    #[error(
        "store at {path}: {reason}; copying goes on without it, and the next start reads the progress topic instead"
    )]
    Io {
        /// Where it lies.
        path: String,
        /// What the library or the system said.
        reason: String,
    },
    /// What was read cannot be what was written.
    #[error("store at {path} is damaged: {reason}; it is set aside and rebuilt from the progress topic")]
    Damaged {
        /// Where it lies.
        path: String,
        /// What does not fit.
        reason: String,
    },
}

/// A cache of one flow's progress topic. Calls may block on a disk.
pub trait StateStore: Send {
    /// Everything it holds; `None` when it is empty.
    fn load(&mut self) -> Result<Option<Snapshot>, StoreError>;
    /// Drops everything and starts to mirror the topic of `stamp` with these records.
    fn reset(&mut self, stamp: &Stamp, records: &[Placed]) -> Result<(), StoreError>;
    /// Takes in further records of the same topic, all or none of them; `next_offset` is where the topic is read on.
    fn append(&mut self, records: &[Placed], next_offset: i64) -> Result<(), StoreError>;
    /// Comes back when everything appended so far has been handed to the disk.
    fn flush(&mut self) -> Result<(), StoreError>;
    /// Bytes on disk, for metrics.
    fn size_bytes(&self) -> u64;
}
