//! The list of the producers that flows write with at a cluster ([`crate::core::origins`]): read where a flow reads, written where it writes.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_wire::ErrorCode;
use causeway_wire::client::{Isolation, TIMESTAMP_EARLIEST, TIMESTAMP_LATEST};
use causeway_wire::records::{BatchBuilder, Batches, Codec, DECOMPRESSED_BYTES_MAX, RecordError};

use super::piece::Piece;
use crate::cluster::progress_topic::now_ms;
use crate::cluster::topics::TopicConfig;
use crate::cluster::{Admin, ClusterError};
use crate::core::origins::{Born, Producers, TOPIC, record};

/// Bytes of one read.
const READ_BYTES: i32 = 1 << 20;
/// How long a broker may take to hear of a new topic.
const NEWS_WAIT: Duration = Duration::from_millis(250);
/// Producers remembered as those of applications; past it they are looked up anew.
const FOREIGN_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
struct Known {
    producers: Producers,
    /// Producers of applications: not listed when they were first met, and an ID is listed before it writes.
    foreign: HashSet<i64>,
}

/// The list at one cluster.
#[derive(Debug)]
pub(super) struct Origins {
    admin: Admin,
    known: Mutex<Known>,
    /// The next offset to read.
    next: tokio::sync::Mutex<i64>,
}

impl Origins {
    #[must_use]
    pub fn new(admin: Admin) -> Self {
        Origins { admin, known: Mutex::default(), next: tokio::sync::Mutex::new(0) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of every piece where its records were born. Pieces have been read before: whoever wrote them was listed by then.
    pub async fn tell(&self, pieces: &mut [Piece]) -> Result<(), ClusterError> {
        let unknown = |known: &Known| {
            let mut ids = pieces.iter().map(|piece| piece.view.header.producer_id);
            ids.any(|id| id >= 0 && known.producers.born(id).is_none() && !known.foreign.contains(&id))
        };
        let looks = unknown(&self.known());
        if looks {
            self.catch_up().await?;
        }
        let mut known = self.known();
        for piece in pieces {
            let id = piece.view.header.producer_id;
            piece.born = known.producers.born(id).cloned();
            if looks && piece.born.is_none() && id >= 0 {
                if known.foreign.len() >= FOREIGN_MAX {
                    known.foreign.clear();
                }
                known.foreign.insert(id);
            }
        }
        Ok(())
    }

    /// Sees to it that a producer is listed before it writes.
    pub async fn list(&self, producer_id: i64, born: &Born) -> Result<(), ClusterError> {
        let listed = || self.known().producers.born(producer_id).is_some_and(|known| known.cluster == born.cluster);
        if listed() {
            return Ok(());
        }
        self.catch_up().await?;
        if listed() {
            return Ok(());
        }
        let (key, value) = record(producer_id, born);
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(now_ms(), Some(&key), Some(&value), &[]).map_err(|error| self.unreadable(&error))?;
        let batch = batch.build().map_err(|error| self.unreadable(&error))?;
        let write = || self.admin.client().produce_batch(TOPIC, 0, batch.clone());
        let written = match write().await {
            Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                let config = TopicConfig::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
                self.admin.create_topic(TOPIC, 1, &config).await?;
                write().await
            }
            outcome => outcome,
        };
        written.map_err(|error| self.admin.fail(error))?;
        self.known().producers.take(&key, Some(&value));
        Ok(())
    }

    /// Reads the list to its end. A cluster without one has no flow that writes to it.
    async fn catch_up(&self) -> Result<(), ClusterError> {
        let mut next = self.next.lock().await;
        let client = self.admin.client();
        let Some(end) = self.end().await? else { return Ok(()) };
        if *next > end {
            tracing::warn!(cluster = self.admin.alias(), topic = TOPIC, "list of producers shrank, reading it anew");
            self.known().producers.clear();
            *next = 0;
        }
        while *next < end {
            *next = match self.read(*next).await {
                Err(error) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                    let start = client.list_offset(TOPIC, 0, TIMESTAMP_EARLIEST).await;
                    start.map_err(|error| self.admin.fail(error))?.offset.max(*next + 1)
                }
                outcome => outcome?,
            };
        }
        Ok(())
    }

    /// Where the list ends; `None`: there is none. It is asked for twice, as a broker may hear of a new topic later than its leader.
    async fn end(&self) -> Result<Option<i64>, ClusterError> {
        for wait in [Some(NEWS_WAIT), None] {
            match self.admin.client().list_offset(TOPIC, 0, TIMESTAMP_LATEST).await {
                Ok(end) => return Ok(Some(end.offset)),
                Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
                Err(error) => return Err(self.admin.fail(error)),
            }
            if let Some(wait) = wait {
                tokio::time::sleep(wait).await;
            }
        }
        Ok(None)
    }

    /// Reads some records from `next` on; answers where to go on. What cannot be read is an error: nobody knows what flows wrote, and guessing could bring
    /// records back (L4).
    async fn read(&self, next: i64) -> Result<i64, ClusterError> {
        let isolation = Isolation::ReadUncommitted;
        let fetched = self.admin.client().fetch_batches(TOPIC, 0, next, READ_BYTES, isolation).await;
        let mut to = next;
        for batch in Batches::new(fetched.map_err(|error| self.admin.fail(error))?.batches) {
            let view = batch.map_err(|error| self.unreadable(&error))?;
            view.verify_crc().map_err(|error| self.unreadable(&error))?;
            to = to.max(view.header.next_offset());
            if view.header.attributes.is_control() {
                continue;
            }
            for record in view.records(DECOMPRESSED_BYTES_MAX).map_err(|error| self.unreadable(&error))? {
                let key = record.key.as_deref().unwrap_or_default();
                if !self.known().producers.take(key, record.value.as_deref()) {
                    tracing::warn!(
                        cluster = self.admin.alias(),
                        topic = TOPIC,
                        offset = to,
                        "a record that no flow wrote"
                    );
                }
            }
        }
        Ok(to)
    }

    fn unreadable(&self, error: &RecordError) -> ClusterError {
        ClusterError::Unreadable {
            alias: self.admin.alias().to_owned(),
            topic: TOPIC.to_owned(),
            detail: error.to_string(),
        }
    }
}
