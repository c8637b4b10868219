//! EndTxn, the abort of a fenced or timed-out transaction, and the completion of either.

use causeway_wire::ErrorCode;

use super::{Decision, EPOCH_LAST, NONE, NeedProducerId, Producer, Txn, TxnState, TxnVersion};
use crate::core::planted::{Bug, is};

/// An EndTxn request.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// Who asks.
    pub producer: Producer,
    /// Commit, or else abort.
    pub commit: bool,
    /// V2 from request version 5 on.
    pub version: TxnVersion,
}

/// What a client is told: the producer to go on as.
type Answer = Result<Producer, ErrorCode>;

/// Decides a transaction's outcome. Asked again for the same outcome the answer is the same; the opposite is refused (law R19).
pub fn end(
    current: Option<&Txn>,
    request: &Ending,
    fresh: Option<i64>,
    now_ms: i64,
) -> Result<Decision<Answer>, NeedProducerId> {
    let Some(txn) = current else {
        return Ok(Decision::answer(Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)));
    };
    match request.version {
        TxnVersion::V1 => Ok(end_v1(txn, request, now_ms)),
        TxnVersion::V2 => end_v2(txn, request, fresh, now_ms),
    }
}

fn end_v1(txn: &Txn, request: &Ending, now_ms: i64) -> Decision<Answer> {
    let refuse = |code| Decision::answer(Err(code));
    if txn.producer.id != request.producer.id {
        return refuse(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    if txn.producer.epoch != request.producer.epoch {
        return refuse(ErrorCode::PRODUCER_FENCED);
    }
    match (txn.state, request.commit) {
        (TxnState::CompleteCommit | TxnState::CompleteAbort, _) if is(Bug::AcceptOppositeEnd) => {
            Decision::answer(Ok(txn.producer))
        }
        (TxnState::Ongoing, commit) => {
            let mut next = txn.step(prepare(commit), now_ms);
            next.version = TxnVersion::V1;
            Decision::step(Ok(txn.producer), next)
        }
        (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) => Decision::answer(Ok(txn.producer)),
        (TxnState::PrepareCommit, true) | (TxnState::PrepareAbort, false) => refuse(ErrorCode::CONCURRENT_TRANSACTIONS),
        _ => refuse(ErrorCode::INVALID_TXN_STATE),
    }
}

/// Every transaction ends with a new epoch, so the epoch tells a repeated request from one about the next transaction.
fn end_v2(txn: &Txn, request: &Ending, fresh: Option<i64>, now_ms: i64) -> Result<Decision<Answer>, NeedProducerId> {
    let refuse = |code| Ok(Decision::answer(Err(code)));
    let (given, held) = (request.producer, txn.producer);
    let rotated = given.id == txn.previous_id && given.epoch == EPOCH_LAST && held.epoch == 0 && held.id != given.id;
    let bumped = i32::from(held.epoch) == i32::from(given.epoch) + 1;
    if held.id != given.id && !rotated {
        return refuse(ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    }
    let known = match txn.state {
        TxnState::Ongoing | TxnState::Empty => given.epoch == held.epoch || is(Bug::EndByOldEpoch),
        TxnState::PrepareCommit | TxnState::PrepareAbort => bumped,
        TxnState::CompleteCommit | TxnState::CompleteAbort => bumped || rotated || given.epoch == held.epoch,
    };
    if !known {
        return refuse(ErrorCode::PRODUCER_FENCED);
    }
    let repeated = bumped || rotated;
    match (txn.state, request.commit) {
        (TxnState::CompleteCommit | TxnState::CompleteAbort, _) if repeated && is(Bug::AcceptOppositeEnd) => {
            Ok(Decision::answer(Ok(held)))
        }
        (TxnState::Ongoing, commit) => {
            let next = prepare_bumped(txn, commit, fresh, now_ms)?;
            Ok(Decision::step(Ok(handed_on(&next)), next))
        }
        (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) if repeated => {
            Ok(Decision::answer(Ok(held)))
        }
        // Nothing was written: there are no markers to write, but the producer wants a new epoch to be sure of that.
        (TxnState::Empty, false) | (TxnState::CompleteCommit | TxnState::CompleteAbort, false) if !repeated => {
            let mut next = prepare_bumped(txn, false, fresh, now_ms)?;
            next.start_ms = next.updated_ms;
            Ok(Decision::step(Ok(handed_on(&next)), next))
        }
        (TxnState::PrepareCommit, true) | (TxnState::PrepareAbort, false) => refuse(ErrorCode::CONCURRENT_TRANSACTIONS),
        _ => refuse(ErrorCode::INVALID_TXN_STATE),
    }
}

/// Aborts an ongoing transaction over its producer's head: its epoch is no longer valid, and what it still writes is refused.
pub fn fence(txn: &Txn, fresh: Option<i64>, now_ms: i64) -> Result<Txn, NeedProducerId> {
    debug_assert_eq!(txn.state, TxnState::Ongoing, "only an ongoing transaction has something to fence");
    prepare_bumped(txn, false, fresh, now_ms)
}

/// After all markers are durable.
pub fn complete(txn: &Txn, now_ms: i64) -> Txn {
    debug_assert!(txn.state.is_prepared(), "markers are written for decided transactions only");
    let committed = txn.state == TxnState::PrepareCommit || is(Bug::CompleteAsCommitted);
    let state = if committed { TxnState::CompleteCommit } else { TxnState::CompleteAbort };
    let mut next = txn.step(state, now_ms);
    next.producer = handed_on(txn);
    next.next_id = NONE.into();
    next.partitions.clear();
    next
}

fn prepare(commit: bool) -> TxnState {
    if commit { TxnState::PrepareCommit } else { TxnState::PrepareAbort }
}

/// The Prepare state with the next epoch; with none left, another producer id takes over when it is complete.
fn prepare_bumped(txn: &Txn, commit: bool, fresh: Option<i64>, now_ms: i64) -> Result<Txn, NeedProducerId> {
    let mut next = txn.step(prepare(commit), now_ms);
    if txn.is_exhausted() {
        next.next_id = fresh.ok_or(NeedProducerId)?;
    }
    next.last_epoch = txn.producer.epoch;
    if !is(Bug::NoEpochBump) {
        next.producer.epoch = txn.producer.epoch.saturating_add(1);
    }
    next.version = TxnVersion::V2;
    Ok(next)
}

/// The producer that goes on after a decided transaction.
fn handed_on(txn: &Txn) -> Producer {
    match txn.next_id {
        id if id >= 0 => Producer { id, epoch: 0 },
        _ => txn.producer,
    }
}
