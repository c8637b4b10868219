//! Finishing decided transactions: markers in every partition, then the Complete record.

use std::sync::Arc;
use std::time::Duration;

use causeway_wire::ErrorCode;

use super::{Entry, TxnCoordinator, journal};
use crate::coordinator::OFFSETS_TOPIC;
use crate::core::txn::{self, Producer, TopicPartition, TxnState, TxnVersion};
use crate::errors::log_code;
use crate::log::LogError;
use crate::partitions::Partition;

/// First wait before a transaction that could not be finished (a full disk, say) is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// A marker that may be written later.
const NOT_WRITTEN: ErrorCode = ErrorCode::KAFKA_STORAGE_ERROR;

/// What a marker says.
#[derive(Debug, Clone, Copy)]
pub struct Marker {
    /// Whose transaction ends; with version 2 the epoch is one above that of its records.
    pub producer: Producer,
    /// Committed, or else aborted.
    pub commit: bool,
    /// Leader epoch of the coordinator's journal.
    pub coordinator_epoch: i32,
    /// Refuse to end a transaction of the marker's own epoch: with version 2 that is a later one.
    pub newer_epoch: bool,
}

impl TxnCoordinator {
    /// Finishes a prepared transaction in the background, again and again until it is done or the node stops.
    pub(super) fn finish(self: &Arc<Self>, id: &str) {
        let (this, id) = (Arc::clone(self), id.to_owned());
        self.finishing.spawn(async move {
            let mut delay = RETRY_FIRST;
            while let Err(cause) = this.try_finish(&id).await {
                tracing::warn!(transactional_id = id, cause, "transaction not finished, trying again");
                tokio::select! {
                    () = this.stop.cancelled() => return,
                    () = tokio::time::sleep(delay) => delay = (delay * 2).min(RETRY_MAX),
                }
            }
        });
    }

    async fn try_finish(&self, id: &str) -> Result<(), String> {
        let journal = self.journal(id).map_err(|code| code.name().to_owned())?;
        let (prepared, end) = {
            let state = self.lock();
            match state.txns.get(id) {
                Some(entry) if entry.txn.state.is_prepared() => (entry.txn.clone(), entry.end),
                _ => return Ok(()),
            }
        };
        // No marker before the decision is durable: a restart must not decide otherwise.
        journal.log.wait_durable(end).await.map_err(|error| error.to_string())?;
        let marker = Marker {
            producer: prepared.producer,
            commit: prepared.state == TxnState::PrepareCommit,
            coordinator_epoch: journal.leader_epoch,
            newer_epoch: prepared.version == TxnVersion::V2,
        };
        let partitions: Vec<TopicPartition> = prepared.partitions.iter().cloned().collect();
        for (partition, code) in partitions.iter().zip(self.write_markers(&marker, &partitions).await) {
            match code {
                ErrorCode::NONE => {}
                NOT_WRITTEN => return Err(format!("no marker in {}-{}", partition.0, partition.1)),
                // The partition is gone, or its producer has moved on: there is nothing left to end there.
                _ => {
                    tracing::warn!(transactional_id = id, ?partition, code = code.name(), "transaction marker left out")
                }
            }
        }
        let mut state = self.lock();
        if state.closed {
            return Ok(());
        }
        let done = txn::complete(&prepared, crate::clock::wall_ms());
        let end = journal::append(&journal, id, Some(&done)).map_err(|code| code.name().to_owned())?;
        state.txns.insert(id.to_owned(), Entry { txn: done, end });
        drop(state);
        self.completed.notify_waiters();
        Ok(())
    }

    /// Writes a marker to each partition and returns when all are durable and committed offsets among them are visible; a code for each, in order. One
    /// that cannot be written now holds up no other; whoever writes all of them again writes none twice.
    pub async fn write_markers(&self, marker: &Marker, partitions: &[TopicPartition]) -> Vec<ErrorCode> {
        let appended = partitions.iter().map(|(topic, number)| self.append_marker(marker, topic, *number));
        let appended: Vec<_> = appended.collect();
        let mut codes = Vec::with_capacity(appended.len());
        for outcome in appended {
            codes.push(match outcome {
                Ok((partition, end)) => self.settle(marker, &partition, end).await,
                Err(code) => code,
            });
        }
        codes
    }

    fn append_marker(&self, marker: &Marker, topic: &str, number: i32) -> Result<(Arc<Partition>, i64), ErrorCode> {
        let partition = self.partitions.get(topic, number).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        if self.stop.is_cancelled() {
            return Err(NOT_WRITTEN);
        }
        match partition.append_marker(marker, crate::clock::wall_ms()) {
            Ok(appended) => Ok((partition, appended.last_offset + 1)),
            Err(error @ (LogError::Refused(_) | LogError::Deleted)) => Err(log_code(&error)),
            Err(error) => {
                tracing::error!(topic, partition = number, %error, "transaction marker not written");
                Err(NOT_WRITTEN)
            }
        }
    }

    async fn settle(&self, marker: &Marker, partition: &Partition, end: i64) -> ErrorCode {
        match partition.log.wait_durable(end).await {
            Ok(()) => {}
            Err(LogError::Deleted) => return ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Err(error) => {
                tracing::error!(topic = partition.log.topic(), %error, "transaction marker is not durable");
                return NOT_WRITTEN;
            }
        }
        if partition.log.topic() == OFFSETS_TOPIC {
            self.groups.end_txn(partition.log.partition(), marker.producer.id, marker.commit);
        }
        ErrorCode::NONE
    }
}
