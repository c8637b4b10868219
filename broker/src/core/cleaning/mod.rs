//! Compaction decided (KIP-58, KIP-98, KIP-534), without any I/O: which log is due and how far, which segments go together, what of a batch stays.
//!
//! ```text
//! plan.rs        what of a log may be cleaned, how dirty it is, groups of segments
//! offset_map.rs  latest offset by key
//! txns.rs        which batches are aborted, which markers still have data
//! filter.rs      what is left of one batch
//! ```

pub mod filter;
pub mod offset_map;
pub mod plan;
pub mod txns;

#[cfg(test)]
mod filter_tests;
