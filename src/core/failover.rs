//! Promote and failover as resumable state machines, kept in the target cluster and fenced by the flow epoch.
use serde::{Deserialize, Serialize};

use super::ids::{FlowEpoch, LaneId, SourceOffset, TargetOffset, UnixMillis};

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
