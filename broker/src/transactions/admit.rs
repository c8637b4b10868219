//! Whether a producer may begin to write to partitions in its transaction (KIP-890, law R18).

use std::sync::Arc;
use std::time::Duration;

use causeway_wire::ErrorCode;
use tokio::time::Instant;

use super::TxnCoordinator;
use crate::core::txn::{Producer, TopicPartition, TxnVersion};
use crate::node::Node;

/// How long a write waits for the producer's last transaction to be over, as Kafka does (`add.partitions.to.txn.retry.backoff.max.ms`).
const OVERLAP_MAX: Duration = Duration::from_millis(100);

/// What the client's version lets the broker do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Only check, and say INVALID_TXN_STATE where it was not added: the client knows no better.
    Verify,
    /// Only check; the client knows TRANSACTION_ABORTABLE.
    VerifyAbortable,
    /// Add the partitions (transaction version 2).
    Add,
}

impl TxnCoordinator {
    /// A code for each partition, as a producer understands it.
    pub async fn admit(
        self: &Arc<Self>,
        node: &Node,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        how: Admission,
    ) -> Vec<ErrorCode> {
        if id.is_empty() {
            return vec![ErrorCode::INVALID_REQUEST; partitions.len()];
        }
        let codes = match how {
            Admission::Add => {
                let code = self.add_when_over(node, id, producer, partitions).await;
                vec![code; partitions.len()]
            }
            _ => self.verify(node, id, producer, partitions).await,
        };
        codes.into_iter().map(|code| for_producer(code, how)).collect()
    }

    /// Adds partitions; if the last transaction is still being finished, waits a little for its end.
    async fn add_when_over(
        self: &Arc<Self>,
        node: &Node,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
    ) -> ErrorCode {
        let deadline = Instant::now() + OVERLAP_MAX;
        loop {
            let over = self.completed.notified();
            tokio::pin!(over);
            // From here on no completion is missed.
            over.as_mut().enable();
            let code = self.add(node, id, producer, partitions, TxnVersion::V2).await;
            let overlaps = code == ErrorCode::CONCURRENT_TRANSACTIONS;
            if !overlaps || tokio::time::timeout_at(deadline, over).await.is_err() {
                return code;
            }
        }
    }
}

/// Kafka's translation: producers retry NOT_ENOUGH_REPLICAS without asking for metadata, and know no PRODUCER_FENCED here.
fn for_producer(code: ErrorCode, how: Admission) -> ErrorCode {
    match code {
        ErrorCode::PRODUCER_FENCED => ErrorCode::INVALID_PRODUCER_EPOCH,
        ErrorCode::TRANSACTION_ABORTABLE if how == Admission::Verify => ErrorCode::INVALID_TXN_STATE,
        ErrorCode::CONCURRENT_TRANSACTIONS
        | ErrorCode::COORDINATOR_NOT_AVAILABLE
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::NOT_COORDINATOR => ErrorCode::NOT_ENOUGH_REPLICAS,
        other => other,
    }
}
