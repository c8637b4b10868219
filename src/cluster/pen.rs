//! The pen of a flow's progress topic: whoever took it last writes, and the target refuses everybody else (L6).
//!
//! The pen is the producer ID that belongs to a `transactional.id` named as the topic. Taking it raises the producer epoch (KIP-98), and the
//! first batch written with it makes the partition refuse every older one, however long that was on its way. Batches are plain idempotent ones:
//! readers see them at once.
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use causeway_wire::{
    ErrorCode,
    client::{Client, ClientError, ProducerId},
    records::{BatchBuilder, RecordError},
};
use tokio::sync::Mutex;

use crate::core::ids::TopicName;

/// No transaction is ever opened with a pen; brokers want a timeout all the same.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The pen of one holder of a flow, for everything in its process that writes for it. Taken out while a write is under way: one whose outcome is
/// unknown leaves no pen, since nobody can say which sequence is next.
pub type SharedPen = Arc<Mutex<Option<Pen>>>;

/// The right to write, and how far it has written.
#[derive(Debug)]
pub struct Pen {
    producer: ProducerId,
    next_sequence: i32,
}

impl Pen {
    /// Takes the pen of this topic out of whosever hands. The older ones are refused from the first batch on that is written with it.
    ///
    /// # Errors
    /// The target gives out no producer ID: it is not reached, or the right for the `transactional.id` is missing.
    pub async fn take(client: &Client, topic: &TopicName) -> Result<Self, ClientError> {
        let producer = client.init_producer_id(topic.as_str(), TRANSACTION_TIMEOUT).await?;
        Ok(Pen { producer, next_sequence: 0 })
    }

    /// The batch as this pen writes it next.
    ///
    /// # Errors
    /// What building a batch answers.
    pub fn sign(&mut self, batch: BatchBuilder) -> Result<Bytes, RecordError> {
        let records = i32::try_from(batch.records_count()).unwrap_or(i32::MAX);
        let signed = batch.producer(self.producer.id, self.producer.epoch, self.next_sequence).build()?;
        self.next_sequence = sequence_after(self.next_sequence, records);
        Ok(signed)
    }
}

/// Sequences count records and wrap to 0 after the largest one, as brokers expect (KIP-98).
pub(super) fn sequence_after(sequence: i32, records: i32) -> i32 {
    sequence.checked_add(records).unwrap_or_else(|| records - (i32::MAX - sequence) - 1)
}

/// Whether the target refused a batch because of the pen it was written with: a newer one was taken, or the target forgot this one.
#[must_use]
pub fn refused(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::INVALID_PRODUCER_EPOCH
                | ErrorCode::PRODUCER_FENCED
                | ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
                | ErrorCode::UNKNOWN_PRODUCER_ID
        )
    )
}

#[cfg(test)]
mod tests {
    use super::sequence_after;

    #[test]
    fn sequences_wrap_to_zero_after_the_largest() {
        assert_eq!(sequence_after(0, 3), 3);
        assert_eq!(sequence_after(i32::MAX - 3, 3), i32::MAX);
        assert_eq!(sequence_after(i32::MAX, 1), 0);
        assert_eq!(sequence_after(i32::MAX - 1, 5), 3);
    }
}
