//! The gap ledger: every source range that held records and was not copied is one durable line.
use serde::{Deserialize, Serialize};

use super::{
    batch::SourceRange,
    ids::{FlowEpoch, LaneId, UnixMillis},
};

/// Why a range was not copied.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum GapCause {
    /// The source's log start moved beyond the position: retention or DeleteRecords was faster.
    RetentionOvertook,
    /// The source lost its tail (unclean election): these offsets were copied, and are something else or nothing there now.
    SourceTruncated,
    /// The topic was deleted at the source before its end was copied.
    TopicDeleted,
    /// The topic was deleted and created anew at the source before its end was copied.
    TopicRecreated,
    /// The target refused these records, and the policy says go on.
    Poison {
        /// What the target or the engine said.
        reason: String,
    },
    /// A person or rule left them out.
    Skipped {
        /// Who or what said so.
        reason: String,
    },
}

impl GapCause {
    /// A short name without details, for metrics and tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            GapCause::RetentionOvertook => "retention_overtook",
            GapCause::SourceTruncated => "source_truncated",
            GapCause::TopicDeleted => "topic_deleted",
            GapCause::TopicRecreated => "topic_recreated",
            GapCause::Poison { .. } => "poison",
            GapCause::Skipped { .. } => "skipped",
        }
    }
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gap {
    /// The lane it was found on.
    pub lane: LaneId,
    /// Exactly what was not copied.
    pub range: SourceRange,
    /// Why.
    #[serde(flatten)]
    pub cause: GapCause,
    /// True when copying went on behind it; false while the lane stands before it.
    pub passed: bool,
    /// When it was found.
    pub found_at: UnixMillis,
    /// The flow epoch that found it.
    pub epoch: FlowEpoch,
}
