//! Partition logs in Kafka's own on-disk format: segments, indexes, recovery, retention, group commit.
//!
//! ```text
//! manager.rs    LogManager: all partitions of all log directories, checkpoints, lock, clean shutdown
//! partition.rs  Log: one partition: append, roll; read.rs: fetch and look-ups; retain.rs: retention, truncation
//! recover.rs    opening after a clean or unclean stop; replay.rs: producers from the log; segment.rs, index.rs, scan.rs: one segment
//! create.rs     new partitions; clean/ compaction
//! flush.rs      group commit; forced.rs: flushes by count and age; disk.rs: the only door to the file system; fail_stop.rs: a failed flush is final
//! ```
//! Calls are blocking and short: a write of 16 KiB to the page cache costs some 6 us, less than a hop to another thread, so small ones run where they are
//! called; larger ones hand the worker's other tasks over first (`block_in_place`). Waiting for durability is async.
//!
//! Invariants that are easy to break:
//! - An index entry is a hint. Whoever uses one checks that a batch header stands where it points, and scans from the segment's start if not.
//! - A batch is acknowledged only after its bytes, and the directory entry of its segment, are flushed (`log.flush=ack`, law R24).
//! - After a failed flush nothing in that directory is acknowledged any more.

mod checkpoint;
mod clean;
mod create;
mod disk;
mod epochs;
mod error;
mod fail_stop;
mod flush;
mod forced;
mod handles;
mod index;
mod judge;
mod locate;
mod manager;
mod meta;
mod names;
mod partition;
mod read;
mod recover;
mod replay;
mod retain;
mod scan;
mod segment;
mod settle;
mod snapshot;
mod trust;
mod txn_index;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use checkpoint::CLEAN_SHUTDOWN;
pub use clean::{CleanerConfig, CleanerStats, CleaningDone, Uncleanable};
pub use disk::{DirEntry, DirLock, Disk, DiskFile, RealDisk, Stat};
pub(crate) use disk::{read_file, replace_file, write_all_at};
pub use error::LogError;
pub use manager::{LockedDirs, LogManager, ManagerConfig, OpenReport};
pub use meta::{MetaProperties, topic_id_of_dir};
pub use names::partition_of_dir;
pub use partition::{Appended, Log, Placing};
pub use read::{Fetched, TimestampOffset};
pub use recover::RecoveryReport;
pub use retain::Retained;
pub use txn_index::AbortedTxn;

/// When appended data is flushed to disk (`log.flush`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushPolicy {
    /// Before it is acknowledged, in groups. Survives a power cut.
    Ack,
    /// Every so often; a power cut loses what came since, a killed process loses nothing.
    Interval(Duration),
    /// When the operating system likes; as `Interval` with about 30 s.
    Os,
}

/// Settings of one partition's log, by Kafka's topic settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: size at which a segment is rolled.
    pub segment_bytes: u64,
    /// `segment.ms`: age (by record time) at which a segment is rolled.
    pub segment_ms: i64,
    /// `index.interval.bytes`: log bytes per index entry.
    pub index_interval_bytes: u64,
    /// `segment.index.bytes`: size at which an index is full and the segment is rolled.
    pub segment_index_bytes: usize,
    /// `retention.ms`; -1 for none.
    pub retention_ms: i64,
    /// `retention.bytes`; -1 for none.
    pub retention_bytes: i64,
    /// `cleanup.policy` has `delete`: the two settings above count.
    pub delete: bool,
    /// Offsets may have holes anywhere (a mirrored topic, or files that another broker compacted). Without, recovery takes a hole for damage, except where
    /// compaction may have made it.
    pub offset_gaps: bool,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `delete.retention.ms`: tombstones and markers stay for so long after the first cleaning that meets them.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`; a segment of a compacted topic is also rolled by it.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub dirty_ratio_min_ppm: u32,
    /// `file.delete.delay.ms`: wait between the renaming of a file to `.deleted` and its removal.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: i64,
    /// `segment.jitter.ms`: segments are rolled by age earlier by a random part of it, so that those of many partitions do not fall together.
    pub segment_jitter_ms: i64,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
}

impl LogConfig {
    /// Age at which a segment is rolled: records of the active segment are never compacted, so `max.compaction.lag.ms` bounds it too.
    pub(crate) fn roll_ms(&self) -> i64 {
        if self.compact { self.segment_ms.min(self.max_compaction_lag_ms) } else { self.segment_ms }
    }

    /// How much earlier a segment of that luck is rolled: below `segment.jitter.ms`, and below `segment.ms`.
    pub(crate) fn jitter_ms(&self, luck: u32) -> i64 {
        match self.segment_jitter_ms.min(self.segment_ms) {
            bound if bound > 0 => i64::from(luck) % bound,
            _ => 0,
        }
    }
}

impl Default for LogConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        const DAY_MS: i64 = 24 * 3600 * 1000;
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            delete: true,
            offset_gaps: false,
            compact: false,
            delete_retention_ms: DAY_MS,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            dirty_ratio_min_ppm: 500_000,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: DAY_MS,
            segment_jitter_ms: 0,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
        }
    }
}

/// I/O of this size or more lets the worker's other tasks move to another thread first.
const HAND_OVER_BYTES: usize = 128 << 10;

/// Runs blocking I/O of about `bytes` where it is, without holding up other tasks of a multi-threaded runtime if it is large.
fn blocking<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let multi = || Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes >= HAND_OVER_BYTES && multi() { tokio::task::block_in_place(work) } else { work() }
}
