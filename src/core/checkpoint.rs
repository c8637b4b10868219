//! DR checkpoints: a named, consistent cut through all lanes and groups of a flow.
use serde::{Deserialize, Serialize};

use super::{
    batch::SourceEnds,
    ids::{FlowEpoch, GroupName, LaneId, PartitionId, SourceOffset, TargetOffset, TopicName, UnixMillis},
};

/// Lanes plus group positions per part: keeps a part well below a record's usual limit of 1 MiB.
pub const ENTRIES_PER_PART: usize = 1000;

/// Where a lane stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneCut {
    /// The lane.
    pub lane: LaneId,
    /// The target topic.
    pub target_topic: TopicName,
    /// Its durable position.
    pub position: SourceOffset,
    /// What that is at the target: everything before it came from source offsets below the position.
    pub target: TargetOffset,
    /// The source's ends when last seen.
    pub source: SourceEnds,
}

/// Where a group stood in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupCut {
    /// The group.
    pub group: GroupName,
    /// The source topic.
    pub topic: TopicName,
    /// The target topic.
    pub target_topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// Its committed position at the source.
    pub source: SourceOffset,
    /// The same place at the target; never beyond the lane's cut.
    pub target: TargetOffset,
}

/// A part of a DR checkpoint, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointPart {
    /// The DR checkpoint's name.
    pub name: String,
    /// This part's number, from 0.
    pub part: u32,
    /// How many parts there are.
    pub parts: u32,
    /// When it was taken.
    pub at: UnixMillis,
    /// The flow epoch that took it.
    pub epoch: FlowEpoch,
    /// Lanes.
    pub lanes: Vec<LaneCut>,
    /// Groups.
    pub groups: Vec<GroupCut>,
}
