//! What can go wrong between a client and a cluster.

use crate::{ApiKey, DecodeError, EncodeError, ErrorCode};
use std::time::Duration;

/// An error of the client. Each names the peer, the API or the thing it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made to an address.
    #[error("cannot reach {address}: {cause}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// No connection could be made to any known address.
    #[error("no broker can be reached: {}", join(.tried))]
    NoneReachable {
        /// One error per address tried.
        tried: Vec<ClientError>,
    },
    /// Something answers there, but not in Kafka's protocol.
    #[error("{address} is not a Kafka peer: {detail}")]
    NotKafka {
        /// `host:port`.
        address: String,
        /// How it showed.
        detail: String,
    },
    /// The peer belongs to another cluster than the one asked for.
    #[error("{address} belongs to cluster {found}, not to {expected}")]
    WrongCluster {
        /// `host:port`.
        address: String,
        /// The cluster ID that was pinned, or that this client first connected to.
        expected: String,
        /// The peer's cluster ID; `none` if it has none.
        found: String,
    },
    /// The broker answered with an error code.
    #[error("{api} of {subject}: {code}{}", .message.as_deref().map(|m| format!(": {m}")).unwrap_or_default())]
    Broker {
        /// The API that was asked.
        api: ApiKey,
        /// The code.
        code: ErrorCode,
        /// The topic, partition or group it is about.
        subject: String,
        /// The broker's own words, if any.
        message: Option<String>,
    },
    /// No answer in time; the connection was given up, since answers come in order.
    #[error("{address} did not answer {api} within {after:?}")]
    Timeout {
        /// `host:port`.
        address: String,
        /// The API that was asked.
        api: ApiKey,
        /// How long we waited.
        after: Duration,
    },
    /// The connection ended while an answer was due. The request may or may not have taken effect.
    #[error("connection to {address} lost: {cause}")]
    Disconnected {
        /// `host:port`.
        address: String,
        /// How it ended.
        cause: String,
    },
    /// The peer has no version of the API that we speak.
    #[error("{address} offers {offered} of {api}, wanted {wanted}")]
    Unsupported {
        /// `host:port`.
        address: String,
        /// The API that was asked.
        api: ApiKey,
        /// Versions that would do.
        wanted: String,
        /// Versions that the peer has.
        offered: String,
    },
    /// The request cannot be put in the version both sides speak.
    #[error("cannot encode {api}: {source}")]
    Encode {
        /// The API.
        api: ApiKey,
        /// Why.
        source: EncodeError,
    },
    /// The answer is not what it should be; the connection was given up.
    #[error("cannot read the answer of {address} to {api}: {source}")]
    Decode {
        /// `host:port`.
        address: String,
        /// The API that was asked.
        api: ApiKey,
        /// Why.
        source: DecodeError,
    },
    /// An answer beyond the limit; nothing of it was read and the connection was given up.
    #[error("{address} announced an answer of {size} bytes, the limit is {limit}")]
    TooLarge {
        /// `host:port`.
        address: String,
        /// Announced size, in bytes.
        size: i64,
        /// Our limit, in bytes.
        limit: usize,
    },
    /// A node that the cluster does not list.
    #[error("the cluster has no node {id}")]
    UnknownNode {
        /// Its ID.
        id: i32,
    },
    /// A configuration that cannot work.
    #[error("client configuration: {0}")]
    Config(String),
}

impl ClientError {
    /// Whether trying again later may help; false says that someone must change something first.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Disconnected { .. } | Self::UnknownNode { .. } => {
                true
            }
            Self::NoneReachable { tried } => tried.iter().any(Self::is_retriable),
            Self::Broker { code, .. } => code.is_retriable(),
            _ => false,
        }
    }

    /// The broker's error code, if this is one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }
}

fn join(errors: &[ClientError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
