//! What crosses a port: a batch is its lane, the source range that was READ, a summary, and a payload that `core` never looks into.
use serde::{Deserialize, Serialize};

use super::{
    ids::{LaneId, LeaderEpoch, SourceOffset, TargetOffset},
    provenance::Claim,
};

/// A half-open range `[from, to)` of source offsets: what was read, markers and holes included, not how many records came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SourceRange {
    /// The first offset of the range.
    pub from: SourceOffset,
    /// The offset after the last one: where the next range has to start.
    pub to: SourceOffset,
}

impl SourceRange {
    /// The range `[from, to)`; a `to` before `from` makes it empty at `from`.
    #[must_use]
    pub fn new(from: SourceOffset, to: SourceOffset) -> Self {
        SourceRange { from, to: to.max(from) }
    }
    /// How many offsets the range spans: an upper bound of the records in it.
    #[must_use]
    pub fn offsets(&self) -> u64 {
        self.to.since(self.from)
    }
    /// True when the range spans no offset.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to <= self.from
    }
    /// True when `offset` lies in the range.
    #[must_use]
    pub fn contains(&self, offset: SourceOffset) -> bool {
        self.from <= offset && offset < self.to
    }
}

impl std::fmt::Display for SourceRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {})", self.from, self.to)
    }
}

/// Where a source partition begins and ends, as its leader last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceEnds {
    /// The first offset still there; below it everything is gone.
    pub log_start: SourceOffset,
    /// The high watermark: the offset after the last record that is safe from a leader change.
    pub high_watermark: SourceOffset,
    /// The last stable offset (KIP-98): nothing at or after it is readable at read_committed.
    pub last_stable: SourceOffset,
    /// The leader epoch that answered.
    pub leader_epoch: LeaderEpoch,
}

/// Where a target partition begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TargetEnds {
    /// The first offset still there.
    pub log_start: TargetOffset,
    /// The offset the next record will get.
    pub log_end: TargetOffset,
}

/// Whether every offset of the range held a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// One record per offset of the range.
    #[default]
    Dense,
    /// Some offsets of the range held no record a reader can see (markers, compaction, aborted records).
    Holes,
}

/// What `core` may know about a batch without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Dense, or with holes.
    pub shape: Shape,
    /// Records in the payload.
    pub records: u32,
    /// Payload size in bytes, as held in memory: what in-flight bounds count.
    pub bytes: u64,
    /// Smallest record timestamp, milliseconds since 1970; -1 when there is none.
    pub timestamp_min: i64,
    /// Largest record timestamp, milliseconds since 1970; -1 when there is none.
    pub timestamp_max: i64,
    /// Provenance headers found, in offset order. Engines fill it only for flows on a cycle (`graph`), else it stays empty.
    pub claims: Vec<Claim>,
}

/// Counts the times a lane's ends were set anew. What carries an older session is stale and is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Session(pub u64);

impl Session {
    /// The session after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Session(self.0 + 1)
    }
}

/// A batch read from a source. `P` is raw batches, records, or whatever else an engine carries: opaque here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<P> {
    /// The lane it was read for.
    pub lane: LaneId,
    /// The session in which it was read: the one of the last `ResetSource`.
    pub session: Session,
    /// What was read. It may hold no record at all (a run of markers) and still moves the position on.
    pub range: SourceRange,
    /// The partition's ends at the time of reading.
    pub ends: SourceEnds,
    /// What may be known without opening the payload.
    pub summary: Summary,
    /// The records or raw batches themselves.
    pub payload: P,
}

impl<P> Batch<P> {
    /// The batch without its payload, and the payload.
    pub fn take(self) -> (Batch<()>, P) {
        let Batch { lane, session, range, ends, summary, payload } = self;
        (Batch { lane, session, range, ends, summary, payload: () }, payload)
    }
    /// The same batch around another payload.
    pub fn map<Q>(self, f: impl FnOnce(P) -> Q) -> Batch<Q> {
        let Batch { lane, session, range, ends, summary, payload } = self;
        Batch { lane, session, range, ends, summary, payload: f(payload) }
    }
}
