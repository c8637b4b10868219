//! The transaction coordinator's decisions (KIP-98, 360, 447, 890) for one transactional id, without any I/O.
//!
//! Each function looks at the state as it is and says what to answer and which state to go to. The shell appends that state to `__transaction_state`,
//! takes it over, and answers once the record is durable. Law R19 rests on two orders that the shell keeps: markers are written only after a Prepare
//! state is durable, and [`complete`] is recorded only after all of them are. Time and fresh producer ids are arguments.

mod add;
mod end;
mod init;
pub mod records;
#[cfg(test)]
mod sim_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use add::{add_partitions, verify};
pub use end::{Ending, complete, end, fence};
pub use init::{InitRequest, init};

/// Topic and partition number.
pub type TopicPartition = (String, i32);

/// The largest epoch a client is given: one more is kept, so that a producer can always be fenced.
pub const EPOCH_LAST: i16 = i16::MAX - 1;
/// Kafka's "none" for ids and epochs.
pub const NONE: i16 = -1;

/// A producer id with its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Producer id.
    pub id: i64,
    /// Producer epoch.
    pub epoch: i16,
}

/// States by Kafka's names; a transactional id that nobody used yet has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnState {
    /// No transaction yet.
    Empty,
    /// Partitions are in it.
    Ongoing,
    /// To be committed: decided, markers under way.
    PrepareCommit,
    /// To be aborted: decided, markers under way.
    PrepareAbort,
    /// Committed everywhere.
    CompleteCommit,
    /// Aborted everywhere.
    CompleteAbort,
}

impl TxnState {
    /// All of them.
    pub const ALL: [TxnState; 6] = [
        TxnState::Empty,
        TxnState::Ongoing,
        TxnState::PrepareCommit,
        TxnState::PrepareAbort,
        TxnState::CompleteCommit,
        TxnState::CompleteAbort,
    ];

    /// The name that tools show.
    pub fn name(self) -> &'static str {
        match self {
            TxnState::Empty => "Empty",
            TxnState::Ongoing => "Ongoing",
            TxnState::PrepareCommit => "PrepareCommit",
            TxnState::PrepareAbort => "PrepareAbort",
            TxnState::CompleteCommit => "CompleteCommit",
            TxnState::CompleteAbort => "CompleteAbort",
        }
    }

    /// Decided, but not all markers are known to be written.
    pub fn is_prepared(self) -> bool {
        matches!(self, TxnState::PrepareCommit | TxnState::PrepareAbort)
    }
}

/// How far a client's protocol goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxnVersion {
    /// One epoch for many transactions; partitions are added by request.
    V1,
    /// Every transaction has an epoch of its own, and partitions are added as they are written to (KIP-890 part 2).
    V2,
}

/// All that is known of a transactional id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// The producer that holds it; epoch -1 before the first one was given out.
    pub producer: Producer,
    /// The producer id before the last change of state, -1 for none.
    pub previous_id: i64,
    /// The id that takes over once a Prepare state with an exhausted epoch is complete, -1 for none.
    pub next_id: i64,
    /// The epoch before the last bump, if the client that asked for it may ask again; not recorded, as in Kafka.
    pub last_epoch: i16,
    /// After so many milliseconds an ongoing transaction is aborted.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: TxnState,
    /// Partitions in the transaction.
    pub partitions: BTreeSet<TopicPartition>,
    /// When the transaction began, wall-clock milliseconds; -1 for none.
    pub start_ms: i64,
    /// When the state last changed.
    pub updated_ms: i64,
    /// The protocol of the client that changed it.
    pub version: TxnVersion,
}

impl Txn {
    /// Whether no further epoch can be given to a client.
    pub fn is_exhausted(&self) -> bool {
        self.producer.epoch >= EPOCH_LAST
    }

    /// Whether it has been going on for longer than its client allowed.
    pub fn is_timed_out(&self, now_ms: i64) -> bool {
        self.state == TxnState::Ongoing && self.start_ms.saturating_add(i64::from(self.timeout_ms)) < now_ms
    }

    /// Whether the transactional id was not used for so long that it may be forgotten (`transactional.id.expiration.ms`).
    pub fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        let at_rest = matches!(self.state, TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort);
        at_rest && self.updated_ms.saturating_add(expiration_ms) <= now_ms
    }

    /// The same in another state.
    fn step(&self, state: TxnState, now_ms: i64) -> Txn {
        // A clock that was set back must not make a transaction look older than its last change.
        let updated_ms = now_ms.max(self.updated_ms);
        Txn { previous_id: self.producer.id, state, updated_ms, ..self.clone() }
    }
}

/// What to answer and where to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<T> {
    /// The answer, to be sent once all recorded so far is durable.
    pub answer: T,
    /// The new state to record; none if nothing changes.
    pub next: Option<Txn>,
}

impl<T> Decision<T> {
    fn answer(answer: T) -> Self {
        Self { answer, next: None }
    }

    fn step(answer: T, next: Txn) -> Self {
        Self { answer, next: Some(next) }
    }
}

/// The decision needs a producer id that was never given out: get one and ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedProducerId;
