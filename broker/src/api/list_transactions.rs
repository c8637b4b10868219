//! ListTransactions (66).
//!
//! *Behaviour*: transactional ids by state, producer id, age of the transaction (KIP-994) and pattern (KIP-1152); names of states that do not exist are told.
//! *Versions*: 0-2. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::list_transactions::{ListTransactionsRequest, ListTransactionsResponse, TransactionState};
use regex::RegexBuilder;

use super::Context;
use crate::core::txn::TxnState;
use crate::transactions::ListFilter;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// States of Kafka that a transactional id is never seen in here: asking for them is no mistake.
const PASSING: [&str; 2] = ["Dead", "PrepareEpochFence"];
/// Memory that a client's pattern may compile to.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Answers the request.
pub async fn handle(context: &Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let (mut states, mut unknown) = (Vec::new(), Vec::new());
    for name in &request.state_filters {
        match TxnState::ALL.into_iter().find(|state| state.name() == name) {
            Some(state) => states.push(state),
            None if PASSING.contains(&name.as_str()) => {}
            None => unknown.push(name.clone()),
        }
    }
    let pattern = request.transactional_id_pattern.filter(|pattern| !pattern.is_empty());
    let pattern = pattern.map(|p| RegexBuilder::new(&format!("^(?:{p})$")).size_limit(PATTERN_BYTES_MAX).build());
    let Ok(pattern) = pattern.transpose() else {
        return ListTransactionsResponse { error_code: ErrorCode::INVALID_REGULAR_EXPRESSION.0, ..Default::default() };
    };
    let filter = ListFilter {
        states: (!request.state_filters.is_empty()).then_some(states),
        producer_ids: request.producer_id_filters,
        duration_ms: request.duration_filter,
        pattern,
    };
    let listed = context.node.transactions.list(&filter, crate::clock::wall_ms());
    let shown = listed.into_iter().map(|txn| TransactionState {
        transactional_id: txn.id,
        producer_id: txn.producer_id,
        transaction_state: txn.state.name().to_owned(),
        ..Default::default()
    });
    ListTransactionsResponse {
        unknown_state_filters: unknown,
        transaction_states: shown.collect(),
        ..Default::default()
    }
}
