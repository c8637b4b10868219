//! Why a broker cannot start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::ConfigError;
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
    /// A data directory cannot be used.
    #[error("log directory {}: {source}", path.display())]
    Dir {
        /// The directory or the file in it.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Another process uses the directory.
    #[error("log directory {} is in use by another process", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// `meta.properties` does not agree with the configuration.
    #[error("log directory {} belongs to {key} {found}, the configuration says {wanted}", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// `cluster.id` or `node.id`.
        key: &'static str,
        /// What the directory says.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// `meta.properties` cannot be understood.
    #[error("{}: {why}", path.display())]
    MetaProperties {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The metadata cannot be read or written.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The partitions' logs cannot be opened.
    #[error("cannot open the log of {partition}: {why}")]
    Log {
        /// Topic and partition.
        partition: String,
        /// What is wrong.
        why: String,
    },
}
