//! Consumer groups: who may be written, what, and when nothing may be.
use serde::{Deserialize, Serialize};

use super::ids::{FlowEpoch, SourceOffset, TargetOffset, UnixMillis};

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
}
