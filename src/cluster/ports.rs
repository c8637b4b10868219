//! The two ports to clusters. The record engine (rdkafka), the batch engine (wire client) and the in-memory fake all fill them.
//!
//! Ports are polled: an engine may run threads or tasks behind them, a simulation steps them by hand. Every call returns at once,
//! except `poll`, which may wait up to the time it is given. One port value serves all lanes of a flow on one cluster.
use std::time::Duration;

use crate::core::{
    batch::{Batch, Session, SourceEnds, SourceRange},
    ids::{LaneId, SourceOffset, TargetOffset, TopicId, TopicName},
    lane::Failure,
    offset_map::Run,
};

/// What a source has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceEvent<P> {
    /// A batch was read. Batches of one lane and session come in order and without a hole between their ranges.
    Batch(Batch<P>),
    /// The lane's reader stands at its end: nothing to read now (sent once, when that becomes so).
    CaughtUp {
        /// The lane.
        lane: LaneId,
        /// The session it was read in.
        session: Session,
        /// The partition's ends.
        ends: SourceEnds,
    },
    /// The position is outside of what the leader has (below its log start or beyond its end): reading stopped until the next reset.
    OutOfRange {
        /// The lane.
        lane: LaneId,
        /// The session it was read in.
        session: Session,
        /// The topic's ID now; `None`: it is gone.
        topic_id: Option<TopicId>,
        /// The partition's ends.
        ends: SourceEnds,
    },
    /// Reading failed; reading stopped until the next reset.
    Failed {
        /// The lane.
        lane: LaneId,
        /// The session it was read in.
        session: Session,
        /// Why, and what to do next.
        failure: Failure,
    },
}

/// The reading end. Needs read rights only: no group membership, `auto.offset.reset=error`, read_committed.
pub trait Source {
    /// What its batches carry.
    type Payload;
    /// Reads `lane` from `from` on, tagged with `session`; what was read before and not polled yet is dropped.
    fn reset(&mut self, lane: &LaneId, from: SourceOffset, session: Session);
    /// Stops handing out batches of this lane; at most what is already buffered (bounded by the engine) is kept.
    fn pause(&mut self, lane: &LaneId);
    /// Hands out batches of this lane again.
    fn resume(&mut self, lane: &LaneId);
    /// Forgets the lane.
    fn close(&mut self, lane: &LaneId);
    /// What happened, in order; waits up to `max_wait` for the first event.
    fn poll(&mut self, max_wait: Duration) -> Vec<SourceEvent<Self::Payload>>;
}

/// What a sink has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkEvent {
    /// Every record of the range is acknowledged by all in-sync replicas. Ranges of a lane may be reported in any order.
    Acked {
        /// The lane.
        lane: LaneId,
        /// The session of the batch.
        session: Session,
        /// The range of the batch.
        range: SourceRange,
        /// Where its records landed, ascending, without the skipped ones.
        runs: Vec<Run>,
    },
    /// A reset asked for is done: nothing of an older session can land any more.
    ResetDone {
        /// The lane.
        lane: LaneId,
        /// The session that starts.
        session: Session,
    },
    /// Writing failed, or its outcome is unknown. Nothing more of this session is written.
    Failed {
        /// The lane.
        lane: LaneId,
        /// The session.
        session: Session,
        /// Why, and what to do next.
        failure: Failure,
    },
}

/// The writing end: same partition number, in order, idempotent, acks=all.
pub trait Sink {
    /// What it can write.
    type Payload;
    /// Writes `lane` to this topic of the target, and to no other one of the same name. Has to be said before each first reset of an opened lane.
    fn route(&mut self, lane: &LaneId, target_topic: &TopicName, target_topic_id: TopicId);
    /// The largest batch that this target topic takes, bytes.
    fn set_bytes_max(&mut self, _target_topic: &TopicName, _bytes_max: usize) {}
    /// Writes the batch's records without those at the `skip` offsets (ascending). Taken over at once: bounds are the lane's in-flight limits.
    fn produce(&mut self, batch: Batch<Self::Payload>, skip: Vec<SourceOffset>);
    /// Drops what is queued for the lane and keeps what is on its way from mixing with what is written next; answers `ResetDone`. Everything before
    /// `from` is written down as copied; what an exactly-once sink finds behind it of its own, it answers for without writing it again.
    fn reset(&mut self, lane: &LaneId, session: Session, from: TargetOffset);
    /// Forgets the lane.
    fn close(&mut self, lane: &LaneId);
    /// Sent and not yet answered, in whatever unit the engine counts: 0 when nothing is.
    fn in_flight(&self) -> usize;
    /// True while batches wait for room: the source should not be read.
    fn is_full(&self) -> bool {
        false
    }
    /// Drops everything queued and on its way, as a fenced or dying instance must.
    fn abandon(&mut self);
    /// What happened, in order; waits up to `max_wait` for the first event.
    fn poll(&mut self, max_wait: Duration) -> Vec<SinkEvent>;
}
