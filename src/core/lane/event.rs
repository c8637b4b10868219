//! What a lane is told and what it asks for.
use serde::{Deserialize, Serialize};

use crate::core::{
    batch::{Batch, Session, SourceEnds, SourceRange, TargetEnds},
    gap::Gap,
    ids::{SourceOffset, TargetOffset, TopicId},
    offset_map::Run,
    progress::{LaneState, Record},
};

/// Where a lane without a durable position starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the source's log start.
    #[default]
    Earliest,
    /// At the source's end. Only for partitions that were there when the flow began: later ones always start at their log start.
    Latest,
    /// At an offset that was looked up (by timestamp, or imported); clamped to what the source holds.
    At(SourceOffset),
}

/// What to do when records can no longer be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapPolicy {
    /// Write the ledger line and stop the lane until somebody says `resume`.
    #[default]
    Stop,
    /// Write the ledger line, then go on behind the gap.
    Record,
}

/// What to do when the source topic was deleted and created anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GenerationPolicy {
    /// Stop the lane.
    #[default]
    Fail,
    /// Copy the new generation to a target topic of its own.
    NewTargetGeneration,
    /// Copy the new generation to the end of the same target topic.
    Append,
}

/// A lane's rules, from its flow's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Lost source ranges, a shrunken source, poison.
    pub gap: GapPolicy,
    /// A re-created source topic.
    pub generation: GenerationPolicy,
    /// Poison alone: go on behind a ledgered poison record. `Stop` unless asked for.
    pub poison: GapPolicy,
    /// Bounds of what may be unacknowledged.
    pub limits: Limits,
}

/// How much of a lane may be sent and not yet acknowledged (L7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records in flight.
    pub records: u64,
    /// Payload bytes in flight.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        // per lane: one bandwidth-delay product of 5 Gbit/s x 100 ms is 62.5 MB; records bound the bookkeeping at small sizes
        Limits { records: 200_000, bytes: 64 << 20 }
    }
}

/// What is known when a lane opens.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// The durable state of this lane, from the progress topic (or the cache that agrees with it); `None` for a lane never copied.
    pub durable: Option<LaneState>,
    /// The source topic's ID now.
    pub source_topic_id: TopicId,
    /// The ends of the lane's own generation: now, or, when the source holds another generation by now, as they were last written down
    /// (never those of the new topic: they say nothing about what the old one still had).
    pub source: SourceEnds,
    /// The target topic's ID now.
    pub target_topic_id: TopicId,
    /// The target partition now.
    pub target: TargetEnds,
    /// Where to start when nothing is durable.
    pub start: Start,
}

/// Why a lane's step did not work; says what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Transient, or unknown whether it happened: reset both ends to the durable position and try again after a delay.
    Retry {
        /// What happened, for people.
        reason: String,
    },
    /// Somebody else holds the flow now: stop and write nothing more (L6).
    Fence {
        /// What showed it.
        reason: String,
    },
    /// Will not work until somebody changes something (a missing right, a topic with too few partitions): this lane stops alone (L8).
    Refuse {
        /// What to change.
        reason: String,
    },
    /// This range cannot be copied, whatever one does (refused by the target, unreadable): stop alone, or ledger and go on, by policy.
    Poison {
        /// The smallest range known to hold the bad record(s).
        range: SourceRange,
        /// What is wrong with it.
        reason: String,
    },
    /// An invariant broke: our own mistake. The lane stops.
    Bug {
        /// Which one.
        reason: String,
    },
}

/// What a lane is told. `P` is the payload, which only passes through.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<P> {
    /// Both ends were looked at and the durable state is loaded to its end (F8). First event of a lane, and again after `Command::Reopen`.
    Opened(Opening),
    /// A batch was read and judged; `suppressed` are the offsets in it that are not to be delivered (loop prevention), ascending.
    Fetched {
        /// What was read.
        batch: Batch<P>,
        /// Offsets of its records that stay here.
        suppressed: Vec<SourceOffset>,
    },
    /// Every record of a sent range is acknowledged by the target, and this is where each one landed.
    Acked {
        /// The session of the `Produce` it answers.
        session: Session,
        /// The range of the `Produce` it answers.
        range: SourceRange,
        /// Where its records landed, ascending.
        runs: Vec<Run>,
    },
    /// The progress topic acknowledged the last `Persist`.
    Durable {
        /// The `ticket` of that `Persist`.
        ticket: u64,
    },
    /// Something did not work.
    Failed(Failure),
    /// The delay asked for by `Backoff` is over and the lane may try again.
    RetryNow,
    /// The source partition's ends, looked up without a batch.
    SourceSeen {
        /// Its topic ID now; `None`: the topic is gone.
        topic_id: Option<TopicId>,
        /// Its ends now.
        ends: SourceEnds,
    },
    /// The leader says that our position and leader epoch part from its log at this offset (KIP-320): what we copied from there on is not in it.
    SourceDiverged {
        /// The first offset that differs.
        at: SourceOffset,
    },
    /// The target partition, looked up.
    TargetSeen {
        /// Its topic ID now.
        topic_id: TopicId,
        /// Its ends now.
        ends: TargetEnds,
    },
    /// Somebody asked to pause the lane.
    Pause,
    /// Somebody asked to go on; on a lane stopped before a gap this accepts the gap.
    Resume,
}

/// What a lane asks for. Commands of one answer are executed in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Command<P> {
    /// Read from `from` on and tag what is read with `session`. Drops whatever was read before.
    ResetSource {
        /// The next offset to read.
        from: SourceOffset,
        /// The tag of what is read from now on.
        session: Session,
    },
    /// Drop whatever is queued for this lane at the sink; when done nothing of an older session may land any more.
    ResetSink {
        /// The session that starts.
        session: Session,
        /// Everything before it at the target is part of the lane's map; what lies behind it is not written down.
        from: TargetOffset,
    },
    /// Stop reading this lane for now (its window is full, or it waits).
    PauseSource,
    /// Go on reading this lane where it stands.
    ResumeSource,
    /// Write the records of this batch, without `skip`, in order, to the same partition number.
    Produce {
        /// The batch.
        batch: Batch<P>,
        /// Offsets not to write, ascending.
        skip: Vec<SourceOffset>,
    },
    /// Write these to the progress topic in this order (and then to the cache); answer `Durable { ticket }`.
    /// At most one is outstanding per lane. Every record is checked against the flow epoch before it is written (L6).
    Persist {
        /// Answered by `Durable`.
        ticket: u64,
        /// What to write, in this order.
        records: Vec<Record>,
        /// The lane's position once it is durable; metrics move when that is so, and nowhere earlier.
        position: SourceOffset,
    },
    /// A gap: log it, count it. (Its ledger line is in the `Persist` that follows.)
    ReportGap(Gap),
    /// Wait before the next try; answer with `RetryNow`. `attempt` counts from 1 and falls back to 0 when something becomes durable.
    Backoff {
        /// Tries in a row that failed.
        attempt: u32,
        /// What failed.
        reason: String,
    },
    /// Look at both ends and at the durable state again, then answer with a new `Opened`.
    Reopen,
    /// The source topic is of another generation, and the policy says to copy it: open a lane for it.
    NextGeneration {
        /// The topic ID of the new generation.
        topic_id: TopicId,
        /// True: on a target topic of its own; false: at the end of the same target topic.
        own_target: bool,
    },
    /// The lane stopped and says why; only `Resume` (or a new process) moves it again.
    Stopped(StopReason),
}

/// Why a lane stands still.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "stopped", content = "detail")]
pub enum StopReason {
    /// Somebody paused it.
    Paused,
    /// Records can no longer be copied and the policy says stop.
    Gap(Gap),
    /// A range that cannot be copied.
    Poison {
        /// The range.
        range: SourceRange,
        /// What is wrong with it.
        reason: String,
    },
    /// The source topic was re-created and the policy says stop, or it went on as a lane of its own.
    OtherGeneration {
        /// The new topic ID.
        topic_id: TopicId,
    },
    /// The source topic is gone.
    TopicDeleted,
    /// Something has to be changed by a person.
    Refused {
        /// What.
        reason: String,
    },
    /// Another instance holds the flow.
    Fenced {
        /// What showed it.
        reason: String,
    },
    /// An invariant broke.
    Bug {
        /// Which one.
        reason: String,
    },
}

/// What a lane is doing, for status and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for `Opened`.
    Opening,
    /// Copies.
    Running,
    /// A gap was found: what is in flight lands first, then the ledger line.
    Draining,
    /// A ledger line, a voided map or a new start is being made durable before copying goes on.
    Ledgering,
    /// Waits for `RetryNow`.
    BackingOff,
    /// Stands still.
    Stopped(StopReason),
}
