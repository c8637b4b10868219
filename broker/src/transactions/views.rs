//! What DescribeTransactions and ListTransactions show.

use regex::Regex;

use super::TxnCoordinator;
use crate::core::txn::{Txn, TxnState};

/// A transactional id in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The id.
    pub id: String,
    /// Producer id that holds it.
    pub producer_id: i64,
    /// Its state.
    pub state: TxnState,
}

/// Which ids to list.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only in one of these states; none for all.
    pub states: Option<Vec<TxnState>>,
    /// Only held by one of these producer ids; empty for all.
    pub producer_ids: Vec<i64>,
    /// Only with a transaction that began longer ago than so many milliseconds; negative for all.
    pub duration_ms: i64,
    /// Only ids that match as a whole.
    pub pattern: Option<Regex>,
}

impl TxnCoordinator {
    /// Transactional ids that pass the filter, sorted.
    pub fn list(&self, filter: &ListFilter, now_ms: i64) -> Vec<Listed> {
        let passes = |id: &str, txn: &Txn| {
            filter.states.as_ref().is_none_or(|states| states.contains(&txn.state))
                && (filter.producer_ids.is_empty() || filter.producer_ids.contains(&txn.producer.id))
                && (filter.duration_ms < 0 || now_ms.saturating_sub(txn.start_ms) > filter.duration_ms)
                && filter.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id))
        };
        let state = self.lock();
        let passing = state.txns.iter().filter(|(id, entry)| passes(id, &entry.txn));
        passing
            .map(|(id, entry)| Listed { id: id.clone(), producer_id: entry.txn.producer.id, state: entry.txn.state })
            .collect()
    }

    /// One transactional id, if it is known.
    pub fn describe(&self, id: &str) -> Option<Txn> {
        self.lock().txns.get(id).map(|entry| entry.txn.clone())
    }
}
