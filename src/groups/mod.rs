//! Consumer groups on both sides of a flow: where they stand, what that is at the target, keeping them there, and switching over.
pub mod checkpoint;
pub mod follow;
pub mod place;
pub mod position;
pub mod switch;

use crate::cluster::{Admin, ClusterError, progress_topic::ProgressError};
use crate::config::valid::Flow;

/// What can go wrong when groups are moved.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// A cluster did not do what was asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The progress topic could not be read or written.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// A DR checkpoint cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] crate::core::checkpoint::CheckpointError),
    /// Nothing was ever mirrored by this flow.
    #[error("flow {flow}: nothing was mirrored yet, {target} has no progress topic: is this the right target?")]
    NothingMirrored {
        /// The flow.
        flow: String,
        /// The target's label.
        target: String,
    },
    /// A DR checkpoint that does not exist.
    #[error("flow {flow} has no DR checkpoint `{name}`: `causeway checkpoint list` shows those it has")]
    NoSuchCheckpoint {
        /// The flow.
        flow: String,
        /// The name asked for.
        name: String,
    },
    /// A planned switch needs its source.
    #[error(
        "flow {flow}: its source cannot be reached ({cause}): nothing can be drained; `causeway failover` gives it up and says what is lost"
    )]
    SourceNeeded {
        /// The flow.
        flow: String,
        /// What happened.
        cause: String,
    },
    /// Somebody else claimed the flow while a switch was under way.
    #[error(
        "flow {flow}: the flow epoch moved to {epoch} while `{id}` was at step {step}: somebody else took the flow, this switch may not go on"
    )]
    Overtaken {
        /// The flow.
        flow: String,
        /// The epoch that holds the flow now.
        epoch: u64,
        /// The switch.
        id: String,
        /// Its step.
        step: &'static str,
    },
}

/// Both ends of a flow, as far as they can be reached.
#[derive(Debug, Clone)]
pub struct Ends {
    /// The flow.
    pub flow: Flow,
    /// The source; `Err` says why it cannot be reached.
    pub source: Result<Admin, String>,
    /// The target: without it nothing can be known or done.
    pub target: Admin,
}
