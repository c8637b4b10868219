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

/// A whole DR checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its name.
    pub name: String,
    /// When it was taken.
    pub at: UnixMillis,
    /// The flow epoch that took it.
    pub epoch: FlowEpoch,
    /// Where every lane stood.
    pub lanes: Vec<LaneCut>,
    /// Where every group stood.
    pub groups: Vec<GroupCut>,
}

/// Why a DR checkpoint cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Parts of it were never written, or were removed.
    #[error(
        "DR checkpoint `{name}` has {found} of its {parts} parts: it was interrupted while it was written, create it again"
    )]
    Incomplete {
        /// Its name.
        name: String,
        /// Parts found.
        found: usize,
        /// Parts it should have.
        parts: u32,
    },
    /// A group stands beyond what its lane had copied: following it would skip records.
    #[error("DR checkpoint `{name}`: group {group} stands beyond the cut of {topic}-{partition}")]
    GroupBeyondCut {
        /// Its name.
        name: String,
        /// The group.
        group: GroupName,
        /// The source topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
    },
    /// A name that could not be told from another one in a table or an address.
    #[error("`{name}` is no name for a DR checkpoint: 1 to 100 of letters, digits, `.`, `_` and `-` are")]
    Name {
        /// The name.
        name: String,
    },
}

/// Longest name of a DR checkpoint.
const NAME_LENGTH_MAX: usize = 100;

impl Checkpoint {
    /// Refuses names that would not survive a table, a file name or an address.
    ///
    /// # Errors
    /// [`CheckpointError::Name`].
    pub fn check_name(name: &str) -> Result<(), CheckpointError> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.chars().all(fine) {
            Ok(())
        } else {
            Err(CheckpointError::Name { name: name.to_owned() })
        }
    }

    /// Cuts it into parts as they are written down; at least one.
    #[must_use]
    pub fn into_parts(self) -> Vec<CheckpointPart> {
        let count = (self.lanes.len() + self.groups.len()).div_ceil(ENTRIES_PER_PART).max(1);
        let mut lanes = self.lanes.into_iter();
        let mut groups = self.groups.into_iter();
        let part = |part: usize| {
            let lanes: Vec<_> = lanes.by_ref().take(ENTRIES_PER_PART).collect();
            let groups: Vec<_> = groups.by_ref().take(ENTRIES_PER_PART - lanes.len()).collect();
            let name = self.name.clone();
            CheckpointPart {
                name,
                part: part as u32,
                parts: count as u32,
                at: self.at,
                epoch: self.epoch,
                lanes,
                groups,
            }
        };
        (0..count).map(part).collect()
    }

    /// Puts the parts together again and verifies the whole.
    ///
    /// # Errors
    /// Missing parts; a group beyond its lane's cut.
    pub fn from_parts(name: &str, parts: &[&CheckpointPart]) -> Result<Self, CheckpointError> {
        // a second `create` under the same name replaces the first: the newest writer's parts count
        let newest = parts.iter().map(|part| part.at).max().unwrap_or_default();
        let parts: Vec<_> = parts.iter().filter(|part| part.at == newest).collect();
        let wanted = parts.first().map_or(1, |part| part.parts);
        let complete = (0..wanted).all(|number| parts.iter().any(|part| part.part == number));
        if !complete {
            return Err(CheckpointError::Incomplete { name: name.to_owned(), found: parts.len(), parts: wanted });
        }
        let mut whole = Checkpoint {
            name: name.to_owned(),
            at: newest,
            epoch: parts.first().map_or(FlowEpoch(0), |part| part.epoch),
            lanes: Vec::new(),
            groups: Vec::new(),
        };
        for number in 0..wanted {
            for part in parts.iter().filter(|part| part.part == number) {
                whole.lanes.extend(part.lanes.iter().cloned());
                whole.groups.extend(part.groups.iter().cloned());
            }
        }
        whole.verify()?;
        Ok(whole)
    }

    /// A cut is consistent when no group stands beyond what its lane had copied.
    ///
    /// # Errors
    /// [`CheckpointError::GroupBeyondCut`].
    pub fn verify(&self) -> Result<(), CheckpointError> {
        let cut = |group: &GroupCut| {
            let mine =
                |lane: &&LaneCut| lane.target_topic == group.target_topic && lane.lane.partition == group.partition;
            self.lanes.iter().filter(mine).map(|lane| lane.target).max()
        };
        match self.groups.iter().find(|group| cut(group).is_none_or(|cut| group.target > cut)) {
            None => Ok(()),
            Some(group) => Err(CheckpointError::GroupBeyondCut {
                name: self.name.clone(),
                group: group.group.clone(),
                topic: group.topic.clone(),
                partition: group.partition,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::TopicId;

    fn checkpoint(lanes: i32, group_at: i64) -> Checkpoint {
        let lane = |partition| LaneCut {
            lane: LaneId::new("orders", TopicId([1; 16]), partition),
            target_topic: "orders".into(),
            position: SourceOffset(100),
            target: TargetOffset(90),
            source: SourceEnds::default(),
        };
        let group = |partition| GroupCut {
            group: "billing".into(),
            topic: "orders".into(),
            target_topic: "orders".into(),
            partition: PartitionId(partition),
            source: SourceOffset(50),
            target: TargetOffset(group_at),
        };
        Checkpoint {
            name: "before-upgrade".into(),
            at: UnixMillis(5),
            epoch: FlowEpoch(3),
            lanes: (0..lanes).map(lane).collect(),
            groups: (0..lanes).map(group).collect(),
        }
    }

    #[test]
    fn parts_are_bounded_and_make_the_same_whole_again() {
        let whole = checkpoint(1700, 40);
        let parts = whole.clone().into_parts();
        assert_eq!(parts.len(), 4);
        assert!(parts.iter().all(|part| part.lanes.len() + part.groups.len() <= ENTRIES_PER_PART));
        let all: Vec<_> = parts.iter().rev().collect();
        assert_eq!(Checkpoint::from_parts("before-upgrade", &all), Ok(whole));
        let error = Checkpoint::from_parts("before-upgrade", &all[1..]).unwrap_err();
        assert!(matches!(error, CheckpointError::Incomplete { found: 3, parts: 4, .. }), "{error}");
    }

    #[test]
    fn l3_a_group_beyond_its_lanes_cut_is_no_restore_point() {
        assert_eq!(checkpoint(2, 90).verify(), Ok(()));
        assert!(matches!(checkpoint(2, 91).verify(), Err(CheckpointError::GroupBeyondCut { .. })));
    }

    #[test]
    fn names_that_cannot_be_told_apart_are_refused() {
        assert_eq!(Checkpoint::check_name("nightly_2026-11-21.a"), Ok(()));
        for bad in ["", "a b", "a/b", &"x".repeat(101)] {
            assert!(Checkpoint::check_name(bad).is_err(), "{bad}");
        }
    }
}
