//! Why a drill could not be carried out. A broken law is no error but a verdict.

use std::time::Duration;

use super::processes::ProcessError;
use super::workload::WorkloadError;

/// Why a drill could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// A child process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A producer or a group member.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// A cluster did not answer as it must.
    #[error("{what}: {source}")]
    Cluster {
        /// What was asked of which cluster.
        what: String,
        /// The answer.
        source: causeway_wire::client::ClientError,
    },
    /// A log that cannot be read to its end.
    #[error("{what}")]
    Unreadable {
        /// Which log, where and why.
        what: String,
    },
    /// A file or folder.
    #[error("{what}: {source}")]
    File {
        /// What was tried with which path.
        what: String,
        /// The refusal.
        source: std::io::Error,
    },
    /// A verb of the command line failed.
    #[error("`causeway {verb}` ended with {code}: {message}")]
    Verb {
        /// The verb and its arguments.
        verb: String,
        /// Its exit code, or how it ended.
        code: String,
        /// What it said.
        message: String,
    },
    /// Something that had to happen did not happen in time.
    #[error("{what} did not happen within {within:?}{state}")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// How far it came, or nothing.
        state: String,
    },
}

impl DrillError {
    /// For `map_err` on file operations.
    pub fn file(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }

    /// For `map_err` on requests to a cluster.
    pub fn cluster(what: impl Into<String>) -> impl FnOnce(causeway_wire::client::ClientError) -> Self {
        let what = what.into();
        move |source| Self::Cluster { what, source }
    }
}
