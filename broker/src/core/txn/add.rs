//! AddPartitionsToTxn and AddOffsetsToTxn, and the question whether a partition is in the transaction (KIP-890 part 1).

use causeway_wire::ErrorCode;

use super::{Decision, Producer, TopicPartition, Txn, TxnState, TxnVersion};
use crate::core::planted::{Bug, is};

/// Adds partitions; the transaction begins with the first ones.
pub fn add_partitions(
    current: Option<&Txn>,
    producer: Producer,
    partitions: &[TopicPartition],
    version: TxnVersion,
    now_ms: i64,
) -> Decision<ErrorCode> {
    let txn = match held_by(current, producer) {
        Ok(txn) => txn,
        Err(code) => return Decision::answer(code),
    };
    let ongoing = txn.state == TxnState::Ongoing;
    if ongoing && partitions.iter().all(|partition| txn.partitions.contains(partition)) {
        return Decision::answer(ErrorCode::NONE);
    }
    let mut next = txn.step(TxnState::Ongoing, now_ms);
    if !ongoing {
        next.start_ms = next.updated_ms;
        next.partitions.clear();
    }
    if is(Bug::ForgetPartitions) {
        next.partitions.clear();
    }
    next.partitions.extend(partitions.iter().cloned());
    next.version = version;
    Decision::step(ErrorCode::NONE, next)
}

/// Whether each partition is in an ongoing transaction of that producer; changes nothing.
pub fn verify(current: Option<&Txn>, producer: Producer, partitions: &[TopicPartition]) -> Vec<ErrorCode> {
    match held_by(current, producer) {
        Err(code) => vec![code; partitions.len()],
        Ok(txn) => {
            let inside = |partition| txn.state == TxnState::Ongoing && txn.partitions.contains(partition);
            let code = |partition| if inside(partition) { ErrorCode::NONE } else { ErrorCode::TRANSACTION_ABORTABLE };
            partitions.iter().map(code).collect()
        }
    }
}

/// The transactional id's state, if that producer holds it and the last transaction is over.
fn held_by(current: Option<&Txn>, producer: Producer) -> Result<&Txn, ErrorCode> {
    let txn = current.ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)?;
    if txn.producer.id != producer.id {
        Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
    } else if txn.producer.epoch != producer.epoch && !is(Bug::AddByOldEpoch) {
        Err(ErrorCode::PRODUCER_FENCED)
    } else if txn.state.is_prepared() && !is(Bug::AddWhilePrepared) {
        Err(ErrorCode::CONCURRENT_TRANSACTIONS)
    } else {
        Ok(txn)
    }
}
