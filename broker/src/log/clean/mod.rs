//! Compaction carried out. What to clean and what stays of a batch is decided in `core::cleaning`.
//!
//! ```text
//! cleaner.rs  all logs of a node: the dirtiest one that is due comes first; one that cannot be cleaned is named and left out
//! round.rs    one log: offset map over its dirty part, then group after group
//! rewrite.rs  a group of segments into one new segment
//! swap.rs     the new segment takes the place of the old ones; half-done swaps after a crash
//! ```
//! Only segments that are sealed, flushed and checkpointed as such are touched, so recovery after a crash never scans one that may have holes.

mod cleaner;
mod rewrite;
mod round;
mod swap;

use std::io;

pub use cleaner::{CleanerConfig, CleanerStats, CleaningDone, CleaningState, Uncleanable};
pub(crate) use swap::settle_swaps;

use super::error::LogError;

/// Largest batch that is cleaned, bytes: above the largest request, so that no batch that was appended is larger.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// Why a round ended early; the log is as it was, or cleaned in part.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The node stops.
    Stopped,
    /// Retention, truncation or deletion changed the log meanwhile.
    Changed,
    /// It cannot be cleaned.
    Failed(LogError),
}

impl From<LogError> for Halt {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

/// Wraps what the system said about a path.
fn failed<'a>(op: &'static str, path: &'a std::path::Path) -> impl Fn(io::Error) -> LogError + 'a {
    move |error| LogError::io(op, path, &error)
}
