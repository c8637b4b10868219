//! Whether a producer may begin to write to partitions in its transaction (KIP-890, law R18).

use std::sync::Arc;
use std::time::Duration;

use causeway_wire::ErrorCode;
use tokio::time::Instant;

use super::TxnCoordinator;
use crate::core::txn::{Producer, TopicPartition, TxnVersion};
use crate::core::verification::Guard;
use crate::node::Node;
use crate::partitions::Partition;

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

/// A partition that a producer wants to begin to write to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The partition.
    pub partition: Arc<Partition>,
    /// First sequence of the batch, -1 for none.
    pub sequence: i32,
}

impl TxnCoordinator {
    /// A guard to append with, or a code as a producer understands it, for each partition.
    pub async fn admit(
        self: &Arc<Self>,
        node: &Node,
        id: &str,
        producer: Producer,
        wanted: &[Wanted],
        how: Admission,
    ) -> Vec<Result<Guard, ErrorCode>> {
        if id.is_empty() {
            return vec![Err(ErrorCode::INVALID_REQUEST); wanted.len()];
        }
        let name = |w: &Wanted| (w.partition.log.topic().to_owned(), w.partition.log.partition());
        let partitions: Vec<TopicPartition> = wanted.iter().map(name).collect();
        let (guards, codes) = match how {
            Admission::Add => self.add_when_over(node, id, producer, wanted, &partitions).await,
            // The guards first, so that a marker that comes meanwhile is noticed.
            _ => (begin(wanted, producer), self.verify(node, id, producer, &partitions).await),
        };
        let outcome =
            |(guard, code): (Guard, ErrorCode)| if code.is_ok() { Ok(guard) } else { Err(for_producer(code, how)) };
        guards.into_iter().zip(codes).map(outcome).collect()
    }

    /// Adds partitions; if the last transaction is still being finished, waits a little for its end. Its markers take the guards of those who came
    /// early, so every attempt begins with new ones.
    async fn add_when_over(
        self: &Arc<Self>,
        node: &Node,
        id: &str,
        producer: Producer,
        wanted: &[Wanted],
        partitions: &[TopicPartition],
    ) -> (Vec<Guard>, Vec<ErrorCode>) {
        let deadline = Instant::now() + OVERLAP_MAX;
        loop {
            let over = self.completed.notified();
            tokio::pin!(over);
            // From here on no completion is missed.
            over.as_mut().enable();
            let guards = begin(wanted, producer);
            let code = self.add(node, id, producer, partitions, TxnVersion::V2).await;
            let mut asked = wanted.iter().zip(&guards);
            let stand = asked.all(|(w, guard)| w.partition.log.guard_stands(producer.id, *guard));
            let again = match code {
                ErrorCode::CONCURRENT_TRANSACTIONS => tokio::time::timeout_at(deadline, over).await.is_ok(),
                // The last marker came between the guard and the answer.
                ErrorCode::NONE => !stand && Instant::now() < deadline,
                _ => false,
            };
            if !again {
                return (guards, vec![code; wanted.len()]);
            }
        }
    }
}

fn begin(wanted: &[Wanted], producer: Producer) -> Vec<Guard> {
    let guard = |w: &Wanted| w.partition.log.begin_verification(producer.id, producer.epoch, w.sequence);
    wanted.iter().map(guard).collect()
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
