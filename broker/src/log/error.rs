//! What can go wrong in the log, as values that can be handed to every waiter.

use std::io;
use std::path::{Path, PathBuf};

use crate::core::producer_state::Refusal;

/// A failed operation of the log. Cloneable, because one failed flush answers many appends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The operating system refused an operation on a file; the log stays as it was before.
    #[error("cannot {op} {path}: {cause}", path = path.display())]
    Io {
        /// What was tried, as a verb.
        op: &'static str,
        /// File or directory.
        path: PathBuf,
        /// Kind of the cause.
        kind: io::ErrorKind,
        /// The system's words.
        cause: String,
    },
    /// The disk is full. The log ends where it ended before; appends work again once there is space.
    #[error("no space left for {path}", path = path.display())]
    NoSpace {
        /// File that could not grow.
        path: PathBuf,
    },
    /// A flush of this log directory failed before: what it holds is in doubt, so nothing more is acknowledged from it until a restart recovers it.
    #[error("log directory {dir} has failed: {cause}", dir = dir.display())]
    DirFailed {
        /// The directory of `log.dirs`.
        dir: PathBuf,
        /// First failure.
        cause: String,
    },
    /// The offset is outside `start..=end`.
    #[error("offset {offset} is outside the log's {start}..={end}")]
    OffsetOutOfRange {
        /// Offset asked for.
        offset: i64,
        /// Log start offset.
        start: i64,
        /// Log end offset.
        end: i64,
    },
    /// The idempotent producer's batch was refused (KIP-98).
    #[error("{0}")]
    Refused(Refusal),
    /// A batch to append came without the offset or the leader epoch that the log needs.
    #[error("cannot append: {0}")]
    BadAppend(String),
    /// The partition was deleted or its directory is gone.
    #[error("partition log is deleted")]
    Deleted,
    /// Bytes on disk that are not what was written.
    #[error("{path} is damaged: {what}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another process holds the directory.
    #[error("log directory {dir} is in use by another process (file .lock)", dir = dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The partition is there already.
    #[error("partition {0} exists already")]
    Exists(String),
    /// `meta.properties` belongs to another node or cluster.
    #[error("{path} says {key}={found}, but this node has {key}={expected}", path = path.display())]
    ForeignDir {
        /// The file.
        path: PathBuf,
        /// Property that differs.
        key: &'static str,
        /// Its value in the file.
        found: String,
        /// The node's value.
        expected: String,
    },
}

impl LogError {
    /// Wraps an I/O error with what was tried on which path; a full disk becomes [`LogError::NoSpace`].
    pub fn io(op: &'static str, path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path: path.to_owned() },
            kind => Self::Io { op, path: path.to_owned(), kind, cause: error.to_string() },
        }
    }

    /// The file did not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { kind: io::ErrorKind::NotFound, .. })
    }
}

impl From<Refusal> for LogError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
