//! What can go wrong with a cluster, in the words of the operator: which cluster, what, and whether waiting helps.

use causeway_wire::ErrorCode;
use causeway_wire::client::ClientError;

/// An error of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The exchange failed, or a broker refused.
    #[error("cluster {alias}: {source}")]
    Client {
        /// The cluster's label.
        alias: String,
        /// What the client says.
        source: ClientError,
    },
    /// A cluster answers that has no cluster.id: it cannot be told from another one.
    #[error("cluster {alias}: it has no cluster.id, so it cannot be pinned; Kafka 0.10.1 or newer is needed")]
    NoClusterId {
        /// The cluster's label.
        alias: String,
    },
    /// What it holds cannot be read.
    #[error("cluster {alias}: {topic}: {detail}")]
    Unreadable {
        /// The cluster's label.
        alias: String,
        /// The topic.
        topic: String,
        /// What is wrong.
        detail: String,
    },
}

impl ClusterError {
    /// Whether trying again later may help; false: somebody has to change something.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            ClusterError::Client { source, .. } => source.is_retriable(),
            ClusterError::NoClusterId { .. } | ClusterError::Unreadable { .. } => false,
        }
    }

    /// The broker's error code, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ClusterError::Client { source, .. } => source.code(),
            _ => None,
        }
    }

    /// True when the broker said that topic or partition do not exist.
    #[must_use]
    pub fn is_unknown_topic(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID))
    }

    /// True when the broker has nothing at the offset asked for.
    #[must_use]
    pub fn is_out_of_range(&self) -> bool {
        self.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE)
    }
}
