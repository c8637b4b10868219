//! The records of `__transaction_state` in Kafka's own format, so that its tools read ours and a replica could be Kafka's.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use causeway_wire::messages::transaction_log_key::TransactionLogKey;
use causeway_wire::messages::transaction_log_value::{PartitionsSchema, TransactionLogValue};
use causeway_wire::{DecodeError, EncodeError, Message};
use thiserror::Error;

use super::{NONE, Producer, Txn, TxnState, TxnVersion};

const KEY_VERSION: i16 = 0;
/// The flexible version, which has the tagged fields of transaction version 2.
const VALUE_VERSION: i16 = 1;
/// `transaction.version` levels as recorded.
const LEVEL_V2: i16 = 2;

/// A record that is not of a known form.
#[derive(Debug, Error)]
pub enum TxnRecordError {
    /// The record ends within its version.
    #[error("record has no version")]
    Short,
    /// The message itself.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A state that no version of Kafka records.
    #[error("unknown transaction state {0}")]
    State(i8),
}

/// Encodes the key of a transactional id.
///
/// # Errors
/// An id longer than a string may be.
pub fn key(id: &str) -> Result<Bytes, EncodeError> {
    encode(KEY_VERSION, &TransactionLogKey { transactional_id: id.to_owned() })
}

/// Decodes a record's key.
///
/// # Errors
/// It is not of a known form.
pub fn decode_key(raw: Bytes) -> Result<String, TxnRecordError> {
    let (version, mut rest) = versioned(raw)?;
    Ok(TransactionLogKey::decode(version, &mut rest)?.transactional_id)
}

impl Txn {
    /// Encodes the state of a transactional id.
    ///
    /// # Errors
    /// A topic name longer than a string may be.
    pub fn encode(&self) -> Result<Bytes, EncodeError> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &self.partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let topic =
            |(topic, partition_ids): (&str, Vec<i32>)| PartitionsSchema { topic: topic.to_owned(), partition_ids };
        let value = TransactionLogValue {
            producer_id: self.producer.id,
            previous_producer_id: self.previous_id,
            next_producer_id: self.next_id,
            producer_epoch: self.producer.epoch,
            next_producer_epoch: NONE,
            transaction_timeout_ms: self.timeout_ms,
            transaction_status: status(self.state),
            transaction_partitions: (self.state != TxnState::Empty).then(|| topics.into_iter().map(topic).collect()),
            transaction_last_update_timestamp_ms: self.updated_ms,
            transaction_start_timestamp_ms: self.start_ms,
            client_transaction_version: if self.version == TxnVersion::V2 { LEVEL_V2 } else { 0 },
        };
        encode(VALUE_VERSION, &value)
    }

    /// Decodes the state of a transactional id.
    ///
    /// # Errors
    /// It is not of a known form.
    pub fn decode(raw: Bytes) -> Result<Txn, TxnRecordError> {
        let (version, mut rest) = versioned(raw)?;
        let value = TransactionLogValue::decode(version, &mut rest)?;
        let state = TxnState::ALL.into_iter().find(|state| status(*state) == value.transaction_status);
        let topics = value.transaction_partitions.unwrap_or_default();
        let partitions = topics.into_iter().flat_map(|topic| {
            let name = topic.topic;
            topic.partition_ids.into_iter().map(move |partition| (name.clone(), partition))
        });
        Ok(Txn {
            producer: Producer { id: value.producer_id, epoch: value.producer_epoch },
            previous_id: value.previous_producer_id,
            next_id: value.next_producer_id,
            last_epoch: NONE,
            timeout_ms: value.transaction_timeout_ms,
            state: state.ok_or(TxnRecordError::State(value.transaction_status))?,
            partitions: partitions.collect(),
            start_ms: value.transaction_start_timestamp_ms,
            updated_ms: value.transaction_last_update_timestamp_ms,
            version: if value.client_transaction_version >= LEVEL_V2 { TxnVersion::V2 } else { TxnVersion::V1 },
        })
    }
}

/// Kafka's number of a state.
fn status(state: TxnState) -> i8 {
    match state {
        TxnState::Empty => 0,
        TxnState::Ongoing => 1,
        TxnState::PrepareCommit => 2,
        TxnState::PrepareAbort => 3,
        TxnState::CompleteCommit => 4,
        TxnState::CompleteAbort => 5,
    }
}

fn encode(version: i16, message: &impl Message) -> Result<Bytes, EncodeError> {
    let mut out = BytesMut::new();
    out.put_i16(version);
    message.encode(version, &mut out)?;
    Ok(out.freeze())
}

fn versioned(mut raw: Bytes) -> Result<(i16, Bytes), TxnRecordError> {
    let version = raw.try_get_i16().map_err(|_| TxnRecordError::Short)?;
    Ok((version, raw))
}
