//! InitProducerId of a transactional producer: a new owner, or an old one that recovers (KIP-360).

use causeway_wire::ErrorCode;

use super::{Decision, EPOCH_LAST, NONE, NeedProducerId, Producer, Txn, TxnState, TxnVersion, fence};

/// What the request asks for.
#[derive(Debug, Clone, Copy)]
pub struct InitRequest {
    /// Checked against `transaction.max.timeout.ms` by the caller.
    pub timeout_ms: i32,
    /// The producer that the caller has been, if it wants to go on after an error.
    pub expected: Option<Producer>,
}

/// Gives the transactional id to the caller. An ongoing transaction is aborted first: the caller is told to come back.
pub fn init(
    current: Option<&Txn>,
    request: &InitRequest,
    fresh: Option<i64>,
    now_ms: i64,
) -> Result<Decision<Result<Producer, ErrorCode>>, NeedProducerId> {
    let Some(txn) = current else {
        let producer = Producer { id: fresh.ok_or(NeedProducerId)?, epoch: 0 };
        let next = Txn {
            producer,
            previous_id: NONE.into(),
            next_id: NONE.into(),
            last_epoch: NONE,
            timeout_ms: request.timeout_ms,
            state: TxnState::Empty,
            partitions: Default::default(),
            start_ms: NONE.into(),
            updated_ms: now_ms,
            version: TxnVersion::V1,
        };
        return Ok(Decision::step(Ok(producer), next));
    };
    if request.expected.is_some_and(|expected| !may_be(txn, expected)) {
        return Ok(Decision::answer(Err(ErrorCode::PRODUCER_FENCED)));
    }
    match txn.state {
        TxnState::PrepareCommit | TxnState::PrepareAbort => {
            Ok(Decision::answer(Err(ErrorCode::CONCURRENT_TRANSACTIONS)))
        }
        TxnState::Ongoing => {
            let fenced = fence(txn, fresh, now_ms)?;
            Ok(Decision { answer: Err(ErrorCode::CONCURRENT_TRANSACTIONS), next: Some(fenced) })
        }
        TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort => bump(txn, request, fresh, now_ms),
    }
}

/// Whether the caller may be the producer it says it has been: the current one, or one whose last epoch was used up and whose answer got lost.
fn may_be(txn: &Txn, expected: Producer) -> bool {
    let current =
        expected.id == txn.producer.id && (expected.epoch == txn.producer.epoch || expected.epoch == txn.last_epoch);
    current || (expected.id == txn.previous_id && expected.epoch >= EPOCH_LAST && expected.epoch == txn.last_epoch)
}

fn bump(
    txn: &Txn,
    request: &InitRequest,
    fresh: Option<i64>,
    now_ms: i64,
) -> Result<Decision<Result<Producer, ErrorCode>>, NeedProducerId> {
    let mut next = txn.step(TxnState::Empty, now_ms);
    let epoch = txn.producer.epoch;
    let goes_on = request.expected.is_some();
    // Asked a second time, because the first answer got lost: it is given again.
    let repeated =
        request.expected.is_some_and(|expected| expected != txn.producer && expected.epoch == txn.last_epoch);
    if repeated {
        next.previous_id = txn.previous_id;
    } else if txn.is_exhausted() {
        next.producer = Producer { id: fresh.ok_or(NeedProducerId)?, epoch: 0 };
        next.last_epoch = if goes_on { epoch } else { NONE };
    } else {
        next.producer.epoch = epoch + 1;
        next.last_epoch = if goes_on { epoch } else { NONE };
    }
    next.timeout_ms = request.timeout_ms;
    next.partitions.clear();
    next.start_ms = NONE.into();
    Ok(Decision::step(Ok(next.producer), next))
}
