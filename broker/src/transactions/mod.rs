//! The transaction coordinator's shell: keeps the state of every transactional id, writes `__transaction_state`, has markers written, keeps time.
//!
//! A decision of the core is appended and taken over under one lock, so the log has the order of the decisions; whoever is answered waits until all that
//! was recorded of its transactional id so far is durable. A decided transaction is finished by a task of its own: Prepare durable, then markers in every
//! partition durable, then the Complete record (law R19). A crash at any point leaves a record from which the next start goes on.

mod admit;
mod journal;
mod markers;
mod replay;
mod timer;
mod topic;
mod views;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use causeway_wire::ErrorCode;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::BrokerConfig;
use crate::coordinator::Coordinator;
use crate::core::txn::{
    self, Decision, Ending, InitRequest, NeedProducerId, Producer, TopicPartition, Txn, TxnVersion,
};
use crate::meta::Meta;
use crate::node::Node;
use crate::partitions::{Partition, Partitions};

pub use admit::{Admission, Wanted};
pub use journal::STATE_TOPIC;
pub use markers::Marker;
pub use timer::keep_time;
pub use views::ListFilter;

/// Transactional ids kept at once, some 400 bytes each. Ids that nobody uses any more go after `transactional.id.expiration.ms`; until then new ones are
/// refused, since an id that is forgotten early is one whose zombies are no longer fenced.
const IDS_MAX: usize = 500_000;
/// Longest transactional id: it must fit a key of the log and leave room for many.
const ID_BYTES_MAX: usize = 10_000;

/// Coordinates every transactional id of this node.
pub struct TxnCoordinator {
    state: Mutex<State>,
    meta: Arc<Meta>,
    partitions: Arc<Partitions>,
    groups: Arc<Coordinator>,
    /// `transaction.max.timeout.ms`.
    timeout_max_ms: i32,
    /// `transactional.id.expiration.ms`.
    expiration_ms: i64,
    /// Told whenever a transaction is over.
    completed: Notify,
    /// Transactions being finished.
    finishing: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    txns: BTreeMap<String, Entry>,
    closed: bool,
}

struct Entry {
    txn: Txn,
    /// End of the journal after the newest record of this id.
    end: i64,
}

/// What a decision has to wait for before it may be told.
struct Recorded {
    journal: Arc<Partition>,
    end: i64,
}

impl Recorded {
    async fn durable(self) -> Result<(), ErrorCode> {
        let waited = self.journal.log.wait_durable(self.end).await;
        waited.map_err(|error| {
            tracing::error!(%error, "a transaction's state is not durable");
            ErrorCode::COORDINATOR_NOT_AVAILABLE
        })
    }
}

impl TxnCoordinator {
    /// A coordinator that knows no transactional id; `replay` fills it.
    pub fn new(config: &BrokerConfig, meta: Arc<Meta>, partitions: Arc<Partitions>, groups: Arc<Coordinator>) -> Self {
        Self {
            state: Mutex::default(),
            meta,
            partitions,
            groups,
            timeout_max_ms: config.number("transaction.max.timeout.ms") as i32,
            expiration_ms: config.number("transactional.id.expiration.ms"),
            completed: Notify::new(),
            finishing: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// InitProducerId with a transactional id.
    pub async fn init(self: &Arc<Self>, node: &Node, id: &str, request: InitRequest) -> Result<Producer, ErrorCode> {
        if !(1..=self.timeout_max_ms).contains(&request.timeout_ms) {
            return Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT);
        }
        let given = self.decide(node, id, |txn, fresh, now| txn::init(txn, &request, fresh, now)).await??;
        tracing::info!(transactional_id = id, producer_id = given.id, epoch = given.epoch, "transactional producer");
        Ok(given)
    }

    /// AddPartitionsToTxn of partitions that exist, and AddOffsetsToTxn.
    pub async fn add(
        self: &Arc<Self>,
        node: &Node,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
        version: TxnVersion,
    ) -> ErrorCode {
        let add = |txn: Option<&Txn>, _, now| Ok(txn::add_partitions(txn, producer, partitions, version, now));
        self.decide(node, id, add).await.unwrap_or_else(|code| code)
    }

    /// Whether partitions are in the ongoing transaction (AddPartitionsToTxn, verify only).
    pub async fn verify(
        self: &Arc<Self>,
        node: &Node,
        id: &str,
        producer: Producer,
        partitions: &[TopicPartition],
    ) -> Vec<ErrorCode> {
        let verify =
            |txn: Option<&Txn>, _, _| Ok(Decision { answer: txn::verify(txn, producer, partitions), next: None });
        self.decide(node, id, verify).await.unwrap_or_else(|code| vec![code; partitions.len()])
    }

    /// EndTxn: the producer to go on as.
    pub async fn end(self: &Arc<Self>, node: &Node, id: &str, request: Ending) -> Result<Producer, ErrorCode> {
        self.decide(node, id, |txn, fresh, now| txn::end(txn, &request, fresh, now)).await?
    }

    /// Takes a decision, records what follows from it, and returns the answer when that is durable.
    async fn decide<T>(
        self: &Arc<Self>,
        node: &Node,
        id: &str,
        mut decide: impl FnMut(Option<&Txn>, Option<i64>, i64) -> Result<Decision<T>, NeedProducerId>,
    ) -> Result<T, ErrorCode> {
        let mut fresh = None;
        loop {
            if let Some((answer, recorded)) = self.step(id, |txn, now| decide(txn, fresh, now))? {
                recorded.durable().await?;
                return Ok(answer);
            }
            fresh = Some(fresh_id(node).await?);
        }
    }

    /// One decision under the lock; none if it needs a producer id first.
    fn step<T>(
        self: &Arc<Self>,
        id: &str,
        decide: impl FnOnce(Option<&Txn>, i64) -> Result<Decision<T>, NeedProducerId>,
    ) -> Result<Option<(T, Recorded)>, ErrorCode> {
        if id.len() > ID_BYTES_MAX {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let mut state = self.lock();
        if state.closed {
            return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
        }
        let journal = self.journal(id)?;
        let current = state.txns.get(id);
        let known = current.is_some();
        let mut end = current.map_or(0, |entry| entry.end);
        let Ok(decision) = decide(current.map(|entry| &entry.txn), crate::clock::wall_ms()) else { return Ok(None) };
        if let Some(next) = decision.next {
            if !known && state.txns.len() >= IDS_MAX {
                tracing::error!(transactional_id = id, limit = IDS_MAX, "too many transactional ids");
                return Err(ErrorCode::COORDINATOR_NOT_AVAILABLE);
            }
            end = journal::append(&journal, id, Some(&next))?;
            let prepared = next.state.is_prepared();
            state.txns.insert(id.to_owned(), Entry { txn: next, end });
            if prepared {
                self.finish(id);
            }
        }
        Ok(Some((decision.answer, Recorded { journal, end })))
    }

    /// The partition of `__transaction_state` that keeps an id.
    fn journal(&self, id: &str) -> Result<Arc<Partition>, ErrorCode> {
        // What metadata says, not what is open yet: an id must stay in one partition from the first record on.
        let count = self.meta.image().topic(STATE_TOPIC).map_or(0, |t| t.partitions.len() as i32);
        let number = crate::coordinator::partition_for(id, count);
        self.partitions.get(STATE_TOPIC, number).ok_or(ErrorCode::COORDINATOR_NOT_AVAILABLE)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node stops: nothing more is decided, and what is not finished is left to the next start.
    pub fn close(&self) {
        self.lock().closed = true;
        self.stop.cancel();
        self.finishing.close();
    }

    /// Waits until nothing writes any more, after [`close`](Self::close).
    pub async fn closed(&self) {
        self.finishing.wait().await;
    }
}

/// A producer id that was never given out.
async fn fresh_id(node: &Node) -> Result<i64, ErrorCode> {
    node.next_producer_id().await.map_err(|error| {
        tracing::error!(%error, "no producer id");
        ErrorCode::COORDINATOR_NOT_AVAILABLE
    })
}
