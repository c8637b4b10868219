//! The exchanges everybody needs: fetch, look up an offset, produce, get a producer ID.

use super::route::refused;
use super::{Client, ClientError};
use crate::messages::fetch::{AbortedTransaction, FetchPartition, FetchRequest, FetchTopic};
use crate::messages::init_producer_id::InitProducerIdRequest;
use crate::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::{ApiKey, ErrorCode, Uuid};
use bytes::Bytes;
use std::time::Duration;

/// Asks [`Client::list_offset`] for the first offset there is.
pub const TIMESTAMP_EARLIEST: i64 = -2;
/// Asks [`Client::list_offset`] for the offset the next record will get (below the last stable offset for read-committed readers).
pub const TIMESTAMP_LATEST: i64 = -1;
/// Asks [`Client::list_offset`] for the record with the largest timestamp (KIP-734).
pub const TIMESTAMP_MAX: i64 = -3;
/// Longest wait of a broker for data: an idle reader asks twice a second.
const FETCH_WAIT: Duration = Duration::from_millis(500);
/// acks=all: an answer means that every in-sync replica has it.
const ACKS_ALL: i16 = -1;
/// Replica ID of an ordinary client.
const CONSUMER: i32 = -1;

/// Which records a reader may see (KIP-98).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// All up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset; records of aborted transactions are to be left out by the reader.
    ReadCommitted,
}

impl Isolation {
    /// Its number in a Fetch request.
    pub const fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// What one fetch from one partition brought.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fetched {
    /// Record batches one after the other, the last perhaps cut off; the first may start before the offset asked for.
    pub batches: Bytes,
    /// Offset after the last one that all in-sync replicas have.
    pub high_watermark: i64,
    /// First offset of an open transaction, or the high watermark; -1 where unknown.
    pub last_stable_offset: i64,
    /// First offset there is; -1 where unknown.
    pub log_start_offset: i64,
    /// Aborted transactions in the range; only for [`Isolation::ReadCommitted`].
    pub aborted: Vec<AbortedTransaction>,
    /// Topic ID the fetch was made with; zero if it was made by name.
    pub topic_id: Uuid,
}

/// Answer of [`Client::list_offset`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListedOffset {
    /// The offset; -1 if no record is that young.
    pub offset: i64,
    /// Timestamp of the record found, in ms; -1 for [`TIMESTAMP_EARLIEST`] and [`TIMESTAMP_LATEST`].
    pub timestamp: i64,
    /// Leader epoch of the record found; -1 where unknown.
    pub leader_epoch: i32,
}

/// Answer of [`Client::produce_batch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Produced {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Timestamp that the broker gave the batch, in ms; -1 if it kept the producer's.
    pub log_append_time: i64,
    /// First offset of the log; -1 where unknown.
    pub log_start_offset: i64,
}

/// Answer of [`Client::init_producer_id`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerId {
    /// The producer ID, at least 0.
    pub id: i64,
    /// Its epoch: with a `transactional.id`, higher than every epoch given out for it before.
    pub epoch: i16,
}

impl Client {
    /// Fetches whole batches of one partition from `offset` on, about `max_bytes` of them, but at least one batch. Waits up to half a second for data.
    ///
    /// # Errors
    /// As [`Client::leader`], and any error code of the partition, `OFFSET_OUT_OF_RANGE` among them, as [`ClientError::Broker`].
    pub async fn fetch_batches(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: i32,
        isolation: Isolation,
    ) -> Result<Fetched, ClientError> {
        let topic_id = self.topic_id(topic).await?;
        let wait = FETCH_WAIT.min(self.config().request_timeout / 2);
        let asked = FetchPartition {
            partition,
            fetch_offset: offset,
            partition_max_bytes: max_bytes,
            log_start_offset: -1,
            ..Default::default()
        };
        let request = FetchRequest {
            replica_id: CONSUMER,
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes,
            isolation_level: isolation.code(),
            topics: vec![FetchTopic { topic: topic.to_owned(), topic_id, partitions: vec![asked] }],
            ..Default::default()
        };
        let answer = self.leader(topic, partition, request).await?;
        let subject = || format!("{topic}-{partition} at {offset}");
        ErrorCode(answer.error_code).ok().map_err(|code| refused(ApiKey::Fetch, code, subject(), None))?;
        let found = answer.responses.into_iter().flat_map(|t| t.partitions).find(|p| p.partition_index == partition);
        let found = found.ok_or_else(|| missing(ApiKey::Fetch, subject()))?;
        ErrorCode(found.error_code).ok().map_err(|code| refused(ApiKey::Fetch, code, subject(), None))?;
        Ok(Fetched {
            batches: found.records.unwrap_or_default(),
            high_watermark: found.high_watermark,
            last_stable_offset: found.last_stable_offset,
            log_start_offset: found.log_start_offset,
            aborted: found.aborted_transactions.unwrap_or_default(),
            topic_id,
        })
    }

    /// Looks up the first offset whose record is at least as young as `timestamp` (ms), or one of the `TIMESTAMP_` constants.
    ///
    /// # Errors
    /// As [`Client::leader`], and any error code of the partition as [`ClientError::Broker`].
    pub async fn list_offset(&self, topic: &str, partition: i32, timestamp: i64) -> Result<ListedOffset, ClientError> {
        let asked = ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
        let request = ListOffsetsRequest {
            replica_id: CONSUMER,
            topics: vec![ListOffsetsTopic { name: topic.to_owned(), partitions: vec![asked] }],
            ..Default::default()
        };
        let answer = self.leader(topic, partition, request).await?;
        let subject = || format!("{topic}-{partition} at timestamp {timestamp}");
        let found = answer.topics.into_iter().flat_map(|t| t.partitions).find(|p| p.partition_index == partition);
        let found = found.ok_or_else(|| missing(ApiKey::ListOffsets, subject()))?;
        ErrorCode(found.error_code).ok().map_err(|code| refused(ApiKey::ListOffsets, code, subject(), None))?;
        Ok(ListedOffset { offset: found.offset, timestamp: found.timestamp, leader_epoch: found.leader_epoch })
    }

    /// Appends one whole batch, acknowledged by all in-sync replicas. It is sent again only where a node refused it unread, so a lost answer is an error,
    /// and the batch may then be there or not: give it a producer ID and a sequence if it will be sent again.
    ///
    /// # Errors
    /// As [`Client::leader`], and any error code of the partition as [`ClientError::Broker`].
    pub async fn produce_batch(&self, topic: &str, partition: i32, batch: Bytes) -> Result<Produced, ClientError> {
        let topic_id = self.topic_id(topic).await?;
        let data = PartitionProduceData { index: partition, records: Some(batch) };
        let request = ProduceRequest {
            acks: ACKS_ALL,
            timeout_ms: i32::try_from(self.config().request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: vec![TopicProduceData { name: topic.to_owned(), topic_id, partition_data: vec![data] }],
            ..Default::default()
        };
        let answer = self.leader(topic, partition, request).await?;
        let subject = || format!("{topic}-{partition}");
        let found = answer.responses.into_iter().flat_map(|t| t.partition_responses).find(|p| p.index == partition);
        let found = found.ok_or_else(|| missing(ApiKey::Produce, subject()))?;
        let message = found.error_message;
        ErrorCode(found.error_code).ok().map_err(|code| refused(ApiKey::Produce, code, subject(), message))?;
        Ok(Produced {
            base_offset: found.base_offset,
            log_append_time: found.log_append_time_ms,
            log_start_offset: found.log_start_offset,
        })
    }

    /// The producer ID that belongs to `transactional_id`, with a new epoch. A transaction that was open is aborted after `transaction_timeout` (KIP-98).
    ///
    /// # Errors
    /// As [`Client::transaction_coordinator`], and the answer's error code as [`ClientError::Broker`].
    pub async fn init_producer_id(
        &self,
        transactional_id: &str,
        transaction_timeout: Duration,
    ) -> Result<ProducerId, ClientError> {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.to_owned()),
            transaction_timeout_ms: i32::try_from(transaction_timeout.as_millis()).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let answer = self.transaction_coordinator(transactional_id, request).await?;
        let subject = || format!("transactional.id {transactional_id}");
        ErrorCode(answer.error_code).ok().map_err(|code| refused(ApiKey::InitProducerId, code, subject(), None))?;
        if answer.producer_id < 0 {
            return Err(missing(ApiKey::InitProducerId, subject()));
        }
        Ok(ProducerId { id: answer.producer_id, epoch: answer.producer_epoch })
    }

    /// The topic's ID, so that a topic made anew under the same name is refused, not mistaken; zero where the cluster has no topic IDs.
    async fn topic_id(&self, topic: &str) -> Result<Uuid, ClientError> {
        if let Some(known) = self.topic(topic) {
            return Ok(known.id);
        }
        self.metadata(Some(&[topic])).await?;
        Ok(self.topic(topic).unwrap_or_default().id)
    }
}

/// An answer that leaves out what was asked.
fn missing(api: ApiKey, subject: String) -> ClientError {
    refused(api, ErrorCode::UNKNOWN_SERVER_ERROR, subject, Some("the answer leaves it out".to_owned()))
}
