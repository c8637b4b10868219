//! Cluster metadata: topics, assignments, settings, producer id blocks.
//!
//! `image` is the state as a pure function of records; `controller` decides which records a request leads to; a
//! `MetadataLog` makes them durable. With one voter that log is a file; a quorum implements the same trait.

pub mod clients;
pub mod configs;
pub mod controller;
pub mod file_log;

pub mod image;
pub mod kraft;
pub mod quotas;
pub mod record;
pub mod scram;

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use thiserror::Error;
use tokio::sync::Mutex;

use crate::log::LogError;

pub use image::{MetaImage, PartitionMeta, TopicMeta};
pub use record::MetaRecord;

/// Metadata cannot be read or written.
#[derive(Debug, Error)]
pub enum MetaError {
    /// The file system failed.
    #[error("metadata log {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// Nothing was written (a full disk, say): the log is as before and takes records again once it can.
    #[error("metadata log {}: nothing was written: {source}", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A file beside the log cannot be read or written.
    #[error("metadata log: {0}")]
    Storage(#[from] LogError),
    /// A record in the middle of the log is damaged; a torn last one is cut off instead.
    #[error("metadata log {}: record {line} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// 1-based number of the record.
        line: usize,
    },
    /// An earlier write failed; nothing more is taken until a restart has re-read what is on the disk.
    #[error("metadata log failed earlier and is closed; restart the broker")]
    Closed,
}

/// Where metadata records become durable: a file for a quorum of one, a replicated log for more.
pub trait MetadataLog: Send + 'static {
    /// Makes the records durable, all or none of them; blocks until they are.
    fn propose(&mut self, image: &MetaImage, records: &[MetaRecord]) -> Result<(), MetaError>;
}

/// The node's view of the metadata and its only writer.
pub struct Meta {
    image: RwLock<Arc<MetaImage>>,
    log: Mutex<Option<Box<dyn MetadataLog>>>,
}

impl Meta {
    /// Starts from what the log held.
    pub fn new(image: MetaImage, log: Box<dyn MetadataLog>) -> Self {
        Self { image: RwLock::new(Arc::new(image)), log: Mutex::new(Some(log)) }
    }

    /// The metadata as of now.
    pub fn image(&self) -> Arc<MetaImage> {
        Arc::clone(&self.image.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Decides on the current image and makes the outcome durable before it is seen. Decisions happen one at a time, and
    /// one that was taken is carried out: between the decision and its effect nothing is awaited.
    pub async fn update<T>(&self, decide: impl FnOnce(&MetaImage) -> (Vec<MetaRecord>, T)) -> Result<T, MetaError> {
        let mut slot = self.log.lock().await;
        let log = slot.as_mut().ok_or(MetaError::Closed)?;
        let image = self.image();
        let (records, out) = decide(&image);
        if records.is_empty() {
            return Ok(out);
        }
        if let Err(error) = crate::blocking::run(|| log.propose(&image, &records)) {
            if !matches!(error, MetaError::NotWritten { .. }) {
                // What is on the disk is unknown now: only a restart that reads it may go on.
                *slot = None;
            }
            return Err(error);
        }
        drop(image);
        let mut current = self.image.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let image = Arc::make_mut(&mut current);
        for record in &records {
            image.apply(record);
        }
        Ok(out)
    }
}
