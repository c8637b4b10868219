//! What the compacted topic `__causeway.progress.<flow>` holds: the truth about a flow, from which every local store is rebuilt (L2).
//!
//! Every record is complete in itself and its key says what it replaces, so that compaction never removes something live:
//! a lane's map is kept in chunks of bounded size; only the newest chunk of a lane is rewritten, and the position is that chunk's end,
//! so one record moves position and map together. Keys of chunks carry the flow epoch: a stale instance can never overwrite a newer
//! one's chunk, and [`fold`](Progress::apply) ignores what an older epoch wrote after a newer one was claimed (L6).
mod codec;
mod fold;
mod lane_state;

pub use codec::{DecodeError, FORMAT_VERSION, decode, encode};
pub use fold::{Claim, Progress};
pub use lane_state::{LaneState, RUNS_PER_CHUNK};

use serde::{Deserialize, Serialize};

use super::{
    checkpoint::CheckpointPart,
    failover::{ForkPoint, Switch},
    gap::Gap,
    groups::LastWritten,
    held::Held,
    ids::{
        FlowEpoch, FlowName, GroupName, LaneId, LeaderEpoch, PartitionId, SourceOffset, TargetOffset, TopicId,
        TopicName, UnixMillis,
    },
    offset_map::Run,
};

/// The progress topic of a flow: one partition, compacted, on the flow's target.
#[must_use]
pub fn topic_of(flow: &FlowName) -> TopicName {
    TopicName::new(format!("__causeway.progress.{flow}"))
}

/// What a record is about: records with equal keys replace each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "key")]
pub enum Key {
    /// An instance took the flow. Never rewritten, so the order of claims in the topic stays the order in which they were made.
    Claim {
        /// The epoch it took.
        epoch: FlowEpoch,
        /// The instance: unique per process start.
        owner: String,
    },
    /// One chunk of a lane's map, starting at the source offset `first`; the newest chunk's end is the lane's position.
    Chunk {
        /// The lane.
        lane: LaneId,
        /// The epoch of the writer.
        epoch: FlowEpoch,
        /// The first source offset of the chunk.
        first: SourceOffset,
    },
    /// A line of the gap ledger.
    Gap {
        /// The lane.
        lane: LaneId,
        /// Where the gap starts.
        from: SourceOffset,
    },
    /// What this flow last committed for a group.
    Group {
        /// The group.
        group: GroupName,
        /// The source topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
    },
    /// A part of a DR checkpoint.
    Checkpoint {
        /// Its name.
        name: String,
        /// The part's number, from 0.
        part: u32,
    },
    /// The state of a promote or failover.
    Switch {
        /// Its ID.
        id: String,
    },
    /// Where a lane's source and target parted.
    Fork {
        /// The lane.
        lane: LaneId,
    },
    /// How many records of a lane loop prevention held back.
    Suppressed {
        /// The lane.
        lane: LaneId,
    },
    /// Where the records lie at the target that loop prevention held back; only lanes on a cycle have it.
    Held {
        /// The lane.
        lane: LaneId,
    },
    /// Where a source topic's partitions ended when last seen: all that is known of a source that burned.
    SourceSeen {
        /// The source topic.
        topic: TopicName,
    },
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "value")]
pub enum Value {
    /// See [`Key::Claim`].
    Claim {
        /// When it was made.
        at: UnixMillis,
    },
    /// See [`Key::Chunk`].
    Chunk(Chunk),
    /// See [`Key::Gap`].
    Gap(Gap),
    /// See [`Key::Group`].
    Group(LastWritten),
    /// See [`Key::Checkpoint`].
    Checkpoint(CheckpointPart),
    /// See [`Key::Switch`].
    Switch(Switch),
    /// See [`Key::Fork`].
    Fork(ForkPoint),
    /// See [`Key::Suppressed`].
    Suppressed(Suppressed),
    /// See [`Key::Held`].
    Held(Held),
    /// See [`Key::SourceSeen`].
    SourceSeen(SourceSeen),
}

/// One record of the progress topic; without a value it is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub key: Key,
    /// What it says; `None` removes what the key said before.
    pub value: Option<Value>,
}

/// A part of a lane's map, and with it its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Up to here (exclusive) the source is done: the lane's position if this is its newest chunk.
    pub covered_to: SourceOffset,
    /// What the chunk covers landed here or later.
    pub target_base: TargetOffset,
    /// The lowest target offset the map accounted for when the chunk was written.
    pub target_from: TargetOffset,
    /// The target topic's ID: with another one the map is void.
    pub target_topic_id: TopicId,
    /// The target topic's name: not derivable from the source's when a re-created topic got a target of its own.
    pub target_topic: TopicName,
    /// The source's leader epoch at `covered_to` (for truncation detection, KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// The runs, ascending; at most [`RUNS_PER_CHUNK`].
    pub runs: Vec<Run>,
}

/// The ends of a source topic's partitions as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SourceSeen {
    /// When.
    pub at: UnixMillis,
    /// The topic's ID then.
    pub topic_id: TopicId,
    /// The last stable offset (what would be copied) by partition, ascending. A list, because maps with numbers as keys do not survive JSON
    /// inside a tagged value.
    pub ends: Vec<(PartitionId, SourceOffset)>,
}

impl SourceSeen {
    /// Where `partition` ended.
    #[must_use]
    pub fn end(&self, partition: PartitionId) -> Option<SourceOffset> {
        self.ends.iter().find(|(found, _)| *found == partition).map(|(_, end)| *end)
    }
}

/// Counters of loop prevention for a lane, over its whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Suppressed {
    /// Records held back because they came from the target.
    pub records: u64,
    /// Records whose hop list named the target, but which were found to be forged or copied, and so were delivered.
    pub forged: u64,
}

impl Record {
    /// A record that removes what `key` said.
    #[must_use]
    pub fn tombstone(key: Key) -> Self {
        Record { key, value: None }
    }

    /// The claim of `owner` to the flow.
    #[must_use]
    pub fn claim(epoch: FlowEpoch, owner: impl Into<String>, at: UnixMillis) -> Self {
        Record { key: Key::Claim { epoch, owner: owner.into() }, value: Some(Value::Claim { at }) }
    }

    /// A record that says nothing: the first one written with a pen that its holder had to take anew. No claim has epoch 0, so it replaces nothing.
    #[must_use]
    pub fn fence(owner: impl Into<String>) -> Self {
        Record::tombstone(Key::Claim { epoch: FlowEpoch(0), owner: owner.into() })
    }

    /// A line of the gap ledger.
    #[must_use]
    pub fn gap(gap: Gap) -> Self {
        Record { key: Key::Gap { lane: gap.lane.clone(), from: gap.range.from }, value: Some(Value::Gap(gap)) }
    }

    /// What was last committed for a group's partition.
    #[must_use]
    pub fn group(group: GroupName, topic: TopicName, partition: PartitionId, written: LastWritten) -> Self {
        Record { key: Key::Group { group, topic, partition }, value: Some(Value::Group(written)) }
    }

    /// A part of a DR checkpoint.
    #[must_use]
    pub fn checkpoint(part: CheckpointPart) -> Self {
        Record {
            key: Key::Checkpoint { name: part.name.clone(), part: part.part },
            value: Some(Value::Checkpoint(part)),
        }
    }

    /// The state of a promote or failover.
    #[must_use]
    pub fn switch(switch: Switch) -> Self {
        Record { key: Key::Switch { id: switch.id.clone() }, value: Some(Value::Switch(switch)) }
    }

    /// A lane's fork point.
    #[must_use]
    pub fn fork(fork: ForkPoint) -> Self {
        Record { key: Key::Fork { lane: fork.lane.clone() }, value: Some(Value::Fork(fork)) }
    }

    /// Where a source topic's partitions end.
    #[must_use]
    pub fn source_seen(topic: TopicName, seen: SourceSeen) -> Self {
        Record { key: Key::SourceSeen { topic }, value: Some(Value::SourceSeen(seen)) }
    }

    /// What a lane on a cycle held back.
    #[must_use]
    pub fn held(lane: LaneId, held: Held) -> Self {
        Record { key: Key::Held { lane }, value: Some(Value::Held(held)) }
    }

    /// A lane's loop-prevention counters.
    #[must_use]
    pub fn suppressed(lane: LaneId, counts: Suppressed) -> Self {
        Record { key: Key::Suppressed { lane }, value: Some(Value::Suppressed(counts)) }
    }
}
