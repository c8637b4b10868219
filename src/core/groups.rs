//! Consumer groups: who may be written, what, and when nothing may be.
use serde::{Deserialize, Serialize};

use super::{
    batch::TargetEnds,
    ids::{FlowEpoch, SourceOffset, TargetOffset, UnixMillis},
    offset_map::Translation,
    planted::{self, Bug},
};

/// What this flow last committed for a group's partition at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastWritten {
    /// The group's position at the source that was translated.
    pub source: SourceOffset,
    /// What was committed at the target.
    pub target: TargetOffset,
    /// When.
    pub at: UnixMillis,
    /// By which epoch.
    pub epoch: FlowEpoch,
    /// What stood at the target when this was written down. The line is written before the commit, so after a crash either may be there.
    #[serde(default)]
    pub before: Option<TargetOffset>,
}

impl LastWritten {
    /// True when `committed`, as found at the target, is ours: what this line says, or what stood there just before it.
    #[must_use]
    pub fn explains(&self, committed: TargetOffset) -> bool {
        committed == self.target || self.before == Some(committed)
    }
}

/// What a group is at the target, at the time of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtTarget {
    /// Nobody reads with it: it does not exist, or has no members.
    Idle,
    /// It has members there.
    Live,
}

/// What a followed group is, visible in status and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupState {
    /// Its positions are kept translated at the target.
    Following,
    /// Nothing of it can be translated yet: it stands on no topic of this flow, or its lanes have not begun.
    Parked,
    /// It has members at the target: never touched.
    LiveHere,
    /// At the target it stands where this flow did not put it: never overwritten.
    Conflict,
}

impl GroupState {
    /// Its name, as in status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Following => "following",
            GroupState::Parked => "parked",
            GroupState::LiveHere => "live-here",
            GroupState::Conflict => "conflict",
        }
    }
}

/// What is known of a group's place in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its position at the source.
    pub source: SourceOffset,
    /// What the map makes of it; `None`: the lane has no map yet, or it is not loaded to its end (F8).
    pub translation: Option<Translation>,
    /// The target partition's ends.
    pub ends: TargetEnds,
    /// Its position at the target, if it has one.
    pub committed: Option<TargetOffset>,
    /// What this flow wrote last.
    pub last: Option<LastWritten>,
}

/// What to do about a group in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Write down, then commit, this.
    Commit(TargetOffset),
    /// It stands where it should.
    Keep,
    /// No map yet: the source's own number is never copied instead (F3).
    Wait,
    /// Somebody else put it there.
    Foreign {
        /// Where it stands.
        committed: TargetOffset,
    },
    /// It is live at the target.
    HandsOff,
}

/// Decides about one partition of a group. A rewind at the source propagates like any other move: only who wrote last matters (F5, F6).
#[must_use]
pub fn judge(group: AtTarget, place: &Place) -> Verdict {
    if group == AtTarget::Live && !planted::is(Bug::OverwriteLiveGroup) {
        return Verdict::HandsOff;
    }
    if let Some(committed) = place.committed
        && !place.last.is_some_and(|last| last.explains(committed))
        && !planted::is(Bug::OverwriteLiveGroup)
    {
        return Verdict::Foreign { committed };
    }
    let Some(translation) = place.translation else { return Verdict::Wait };
    // a position outside of the log would be reset by the consumer's own rule: to the end, perhaps, and past records
    let wanted = translation.offset.clamp(place.ends.log_start, place.ends.log_end.max(place.ends.log_start));
    if place.committed == Some(wanted) { Verdict::Keep } else { Verdict::Commit(wanted) }
}

/// The state of a group from the verdicts on its partitions.
#[must_use]
pub fn state_of(group: AtTarget, verdicts: &[Verdict]) -> GroupState {
    if group == AtTarget::Live {
        GroupState::LiveHere
    } else if verdicts.iter().any(|v| matches!(v, Verdict::Foreign { .. })) {
        GroupState::Conflict
    } else if verdicts.iter().any(|v| matches!(v, Verdict::Commit(_) | Verdict::Keep)) {
        GroupState::Following
    } else {
        GroupState::Parked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::offset_map::Exactness;

    fn at(offset: i64) -> Option<Translation> {
        Some(Translation { offset: TargetOffset(offset), exactness: Exactness::Exact })
    }
    fn wrote(target: i64, before: Option<i64>) -> Option<LastWritten> {
        let (at, epoch) = (UnixMillis(0), FlowEpoch(1));
        Some(LastWritten {
            source: SourceOffset(5),
            target: TargetOffset(target),
            at,
            epoch,
            before: before.map(TargetOffset),
        })
    }
    fn place(translation: Option<Translation>, committed: Option<i64>, last: Option<LastWritten>) -> Place {
        let ends = TargetEnds { log_start: TargetOffset(10), log_end: TargetOffset(100) };
        Place { source: SourceOffset(5), translation, ends, committed: committed.map(TargetOffset), last }
    }

    #[test]
    fn only_our_own_last_write_is_overwritten() {
        assert_eq!(judge(AtTarget::Idle, &place(at(50), None, None)), Verdict::Commit(TargetOffset(50)));
        assert_eq!(judge(AtTarget::Idle, &place(at(50), Some(40), wrote(40, None))), Verdict::Commit(TargetOffset(50)));
        // a crash between the line and the commit leaves the older value there
        assert_eq!(
            judge(AtTarget::Idle, &place(at(50), Some(30), wrote(40, Some(30)))),
            Verdict::Commit(TargetOffset(50))
        );
        for last in [None, wrote(40, Some(30))] {
            let foreign = Verdict::Foreign { committed: TargetOffset(41) };
            assert_eq!(judge(AtTarget::Idle, &place(at(50), Some(41), last)), foreign);
        }
    }

    #[test]
    fn a_live_group_is_never_touched() {
        assert_eq!(judge(AtTarget::Live, &place(at(50), Some(40), wrote(40, None))), Verdict::HandsOff);
        assert_eq!(state_of(AtTarget::Live, &[]), GroupState::LiveHere);
    }

    #[test]
    fn a_rewind_at_the_source_propagates() {
        assert_eq!(judge(AtTarget::Idle, &place(at(20), Some(60), wrote(60, None))), Verdict::Commit(TargetOffset(20)));
    }

    #[test]
    fn a_position_without_a_map_waits_and_one_outside_the_log_is_clamped() {
        assert_eq!(judge(AtTarget::Idle, &place(None, None, None)), Verdict::Wait);
        assert_eq!(judge(AtTarget::Idle, &place(at(3), None, None)), Verdict::Commit(TargetOffset(10)));
        assert_eq!(judge(AtTarget::Idle, &place(at(500), None, None)), Verdict::Commit(TargetOffset(100)));
        assert_eq!(state_of(AtTarget::Idle, &[Verdict::Wait]), GroupState::Parked);
        assert_eq!(state_of(AtTarget::Idle, &[Verdict::Wait, Verdict::Keep]), GroupState::Following);
    }
}
