//! What time does to transactions: too long ones are aborted, transactional ids that nobody uses are forgotten.

use std::sync::Arc;
use std::time::Duration;

use causeway_wire::ErrorCode;
use tokio_util::sync::CancellationToken;

use super::{TxnCoordinator, journal};
use crate::core::txn::{Decision, fence};
use crate::node::Node;

/// Runs until `stop`, at Kafka's intervals (`transaction.abort.timed.out.transaction.cleanup.interval.ms`,
/// `transaction.remove.expired.transaction.cleanup.interval.ms`).
pub async fn keep_time(node: Arc<Node>, stop: CancellationToken) {
    let every = |key: &str| tokio::time::interval(Duration::from_millis(node.config.number(key).max(1) as u64));
    let mut aborts = every("transaction.abort.timed.out.transaction.cleanup.interval.ms");
    let mut expiry = every("transaction.remove.expired.transaction.cleanup.interval.ms");
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = aborts.tick() => node.transactions.abort_timed_out(&node).await,
            _ = expiry.tick() => node.transactions.forget_expired(),
        }
    }
}

impl TxnCoordinator {
    async fn abort_timed_out(self: &Arc<Self>, node: &Node) {
        let now = crate::clock::wall_ms();
        let late: Vec<String> = {
            let state = self.lock();
            state.txns.iter().filter(|(_, entry)| entry.txn.is_timed_out(now)).map(|(id, _)| id.clone()).collect()
        };
        for id in late {
            match self.abort_if_late(node, &id).await {
                Ok(true) => tracing::info!(transactional_id = id, "transaction timed out and is aborted"),
                Ok(false) => {}
                Err(code) => {
                    tracing::warn!(transactional_id = id, code = code.name(), "cannot abort a late transaction")
                }
            }
        }
    }

    /// Decides only: whoever finishes the transaction waits for the record to be durable, so that many share a flush.
    async fn abort_if_late(self: &Arc<Self>, node: &Node, id: &str) -> Result<bool, ErrorCode> {
        let mut fresh = None;
        loop {
            let decided = self.step(id, |txn, now| {
                // It may have ended, and another begun, since the look.
                let late = txn.filter(|txn| txn.is_timed_out(now));
                let next = late.map(|txn| fence(txn, fresh, now)).transpose()?;
                Ok(Decision { answer: next.is_some(), next })
            })?;
            if let Some((aborted, _)) = decided {
                return Ok(aborted);
            }
            fresh = Some(super::fresh_id(node).await?);
        }
    }

    fn forget_expired(&self) {
        let now = crate::clock::wall_ms();
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let old = state.txns.iter().filter(|(_, entry)| entry.txn.is_expired(now, self.expiration_ms));
        let old: Vec<String> = old.map(|(id, _)| id.clone()).collect();
        for id in old {
            let Ok(journal) = self.journal(&id) else { return };
            if journal::append(&journal, &id, None).is_err() {
                return;
            }
            state.txns.remove(&id);
            tracing::info!(transactional_id = id, "transactional id expired");
        }
    }
}
