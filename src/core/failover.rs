//! Promote and failover as resumable state machines, kept in the target cluster and fenced by the flow epoch.
use serde::{Deserialize, Serialize};

use super::{
    ids::{FlowEpoch, LaneId, SourceOffset, TargetOffset, UnixMillis},
    progress::Progress,
};

/// Planned, or forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SwitchKind {
    /// Planned: waits for lag 0, loses nothing.
    Promote,
    /// Now: loses what was not copied, and says how much.
    Failover,
}

/// How far a switch is. Each step is durable before the next one begins, and safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum SwitchStep {
    /// The epoch is to be claimed, so that the old writer stops.
    Claiming,
    /// Promote only: copying goes on until nothing is left.
    Draining,
    /// The fork points are to be written down.
    Forking,
    /// Groups are to be set at the target.
    Groups,
    /// All done.
    Done,
    /// Given up; the flow goes on as before.
    Refused {
        /// Why.
        reason: String,
    },
}

/// A promote or failover.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Switch {
    /// Its ID: unique, chosen by whoever began it.
    pub id: String,
    /// Planned or forced.
    pub kind: SwitchKind,
    /// How far it is.
    #[serde(flatten)]
    pub step: SwitchStep,
    /// The epoch it holds once claimed.
    pub epoch: FlowEpoch,
    /// Who drives it.
    pub owner: String,
    /// When it began.
    pub began_at: UnixMillis,
    /// The DR checkpoint that groups are set to, instead of their newest positions.
    pub to_checkpoint: Option<String>,
}

/// Where a lane's source and target part: before it both hold the same, from it on each has its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForkPoint {
    /// The lane.
    pub lane: LaneId,
    /// The first source offset that was not copied.
    pub source: SourceOffset,
    /// The target's log end when the flow was switched: what lies from here on was written there.
    pub target: TargetOffset,
    /// The source's end when last seen: `source..source_end` is lost until it is exported (orphans).
    pub source_end: SourceOffset,
    /// The epoch of the switch.
    pub epoch: FlowEpoch,
    /// When.
    pub at: UnixMillis,
}

impl SwitchStep {
    /// Its name, for people and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            SwitchStep::Claiming => "claiming",
            SwitchStep::Draining => "draining",
            SwitchStep::Forking => "forking",
            SwitchStep::Groups => "groups",
            SwitchStep::Done => "done",
            SwitchStep::Refused { .. } => "refused",
        }
    }
    /// True when nothing follows it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, SwitchStep::Done | SwitchStep::Refused { .. })
    }
}

impl Switch {
    /// A new switch, at its first step: a promote drains while the old writer still copies, a failover claims at once.
    #[must_use]
    pub fn begin(id: String, kind: SwitchKind, owner: String, began_at: UnixMillis) -> Self {
        let step = match kind {
            SwitchKind::Promote => SwitchStep::Draining,
            SwitchKind::Failover => SwitchStep::Claiming,
        };
        Switch { id, kind, step, epoch: FlowEpoch(0), owner, began_at, to_checkpoint: None }
    }

    /// The switch after its present step was done; `claimed` is the epoch it holds from `Claiming` on.
    #[must_use]
    pub fn advanced(&self, claimed: FlowEpoch) -> Self {
        let step = match &self.step {
            SwitchStep::Draining => SwitchStep::Claiming,
            SwitchStep::Claiming => SwitchStep::Forking,
            SwitchStep::Forking => SwitchStep::Groups,
            SwitchStep::Groups | SwitchStep::Done => SwitchStep::Done,
            refused @ SwitchStep::Refused { .. } => refused.clone(),
        };
        let epoch = if self.step == SwitchStep::Claiming { claimed } else { self.epoch };
        Switch { step, epoch, ..self.clone() }
    }

    /// Whether this switch may still act: its claim is the flow's newest one. A switch without a claim changes nothing but itself.
    #[must_use]
    pub fn may_act(&self, now: &Progress) -> bool {
        matches!(self.step, SwitchStep::Draining | SwitchStep::Claiming) || now.is_held_by(self.epoch, &self.owner)
    }
}

/// The switch that holds the flow, if one does: then no daemon may copy, its target is written by others now.
#[must_use]
pub fn switched(progress: &Progress) -> Option<&Switch> {
    let holder = progress.holder()?;
    progress.switches().find(|switch| {
        // every switch claims under an owner of its own: the claim counts before the step after it is written down
        switch.owner == holder.owner && !matches!(switch.step, SwitchStep::Refused { .. })
    })
}

/// The switch to go on with after an interruption: begun, not finished, and not overtaken by another claim.
#[must_use]
pub fn resumable(progress: &Progress, kind: SwitchKind) -> Option<&Switch> {
    let mut open: Vec<&Switch> =
        progress.switches().filter(|s| s.kind == kind && !s.step.is_final() && s.may_act(progress)).collect();
    open.sort_by_key(|switch| switch.began_at);
    open.pop()
}

/// What a lane would lose if its source were given up now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// The lane.
    pub lane: LaneId,
    /// The next source offset to copy.
    pub position: SourceOffset,
    /// The source's end as last seen, if it ever was.
    pub source_end: Option<SourceOffset>,
    /// Offsets from the position to that end: as many records at most.
    pub offsets: Option<u64>,
}

/// What each lane would lose, from the state and the newest known ends of the source.
#[must_use]
pub fn exposure(progress: &Progress, end_of: impl Fn(&LaneId) -> Option<SourceOffset>) -> Vec<Exposure> {
    let lane = |state: &super::progress::LaneState| {
        let (lane, position) = (state.lane().clone(), state.position());
        let source_end = end_of(&lane);
        Exposure { lane, position, source_end, offsets: source_end.map(|end| end.since(position)) }
    };
    progress.lanes().map(lane).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::progress::Record;

    fn claim(progress: &mut Progress, epoch: u64, owner: &str) {
        progress.apply(Record::claim(FlowEpoch(epoch), owner, UnixMillis(0)));
    }

    #[test]
    fn l6_a_switch_overtaken_by_another_claim_may_not_act() {
        let mut progress = Progress::default();
        claim(&mut progress, 1, "daemon");
        let mut switch = Switch::begin("s1".into(), SwitchKind::Failover, "op".into(), UnixMillis(1));
        assert!(switch.may_act(&progress));
        claim(&mut progress, 2, "op");
        switch = switch.advanced(FlowEpoch(2));
        assert_eq!(switch.step, SwitchStep::Forking);
        assert!(switch.may_act(&progress));
        claim(&mut progress, 3, "another");
        assert!(!switch.may_act(&progress));
    }

    #[test]
    fn steps_follow_each_other_to_the_end_and_stay_there() {
        let names = |kind| {
            let mut switch = Switch::begin("s".into(), kind, "op".into(), UnixMillis(1));
            let mut names = vec![switch.step.name()];
            while !switch.step.is_final() {
                switch = switch.advanced(FlowEpoch(7));
                names.push(switch.step.name());
            }
            assert_eq!((switch.epoch, switch.advanced(FlowEpoch(9)).step), (FlowEpoch(7), SwitchStep::Done));
            names
        };
        assert_eq!(names(SwitchKind::Failover), ["claiming", "forking", "groups", "done"]);
        assert_eq!(names(SwitchKind::Promote), ["draining", "claiming", "forking", "groups", "done"]);
    }

    #[test]
    fn an_interrupted_switch_is_found_again_and_a_flow_that_was_switched_is_known() {
        let mut progress = Progress::default();
        claim(&mut progress, 1, "daemon");
        let begun = Switch::begin("s1".into(), SwitchKind::Failover, "op".into(), UnixMillis(1));
        progress.apply(Record::switch(begun.clone()));
        assert_eq!(resumable(&progress, SwitchKind::Failover), Some(&begun));
        assert_eq!(resumable(&progress, SwitchKind::Promote), None);
        assert_eq!(switched(&progress), None);
        // the claim is in the topic, the step after it not yet: the daemon must stop all the same
        claim(&mut progress, 2, "op");
        assert_eq!(switched(&progress).map(|s| s.id.as_str()), Some("s1"));
        let forking = begun.advanced(FlowEpoch(2));
        progress.apply(Record::switch(forking.clone()));
        assert_eq!((switched(&progress), resumable(&progress, SwitchKind::Failover)), (Some(&forking), Some(&forking)));
        // a daemon that claims it back (failback) ends that
        claim(&mut progress, 3, "daemon");
        assert_eq!((switched(&progress), resumable(&progress, SwitchKind::Failover)), (None, None));
    }
}
