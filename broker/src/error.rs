//! Why a broker cannot start.

use std::io;

use thiserror::Error;

use crate::config::ConfigError;
use crate::log::LogError;
use crate::meta::MetaError;

/// Why a broker cannot start or go on. Each names what and where.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A listener's port is taken.
    #[error("cannot listen on {address}: the address is already in use (is another broker running?)")]
    PortBusy {
        /// `host:port`.
        address: String,
    },
    /// A listener cannot be opened.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// `host:port`.
        address: String,
        /// The system's word.
        source: io::Error,
    },
    /// The metadata cannot be read or written.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A log directory cannot be used, is another node's, or cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What is on the disk cannot be put together.
    #[error("cannot restore {what}: {why}")]
    Restore {
        /// What was being restored.
        what: String,
        /// What is wrong.
        why: String,
    },
}
