//! Transactions seen on the way through a log: data of aborted ones goes, markers stay as long as data of theirs does.

use std::collections::{BTreeMap, HashMap, HashSet};

use causeway_wire::records::ControlMarker;

use super::super::producer_state::CompletedTxn;

/// An aborted transaction that is open at the place read.
#[derive(Debug)]
struct Open {
    txn: CompletedTxn,
    /// A batch of it was there: maybe emptied, but there.
    has_data: bool,
}

/// What a marker's transaction has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerVerdict {
    /// Nothing: the marker may go once its delete horizon has passed.
    Unneeded,
    /// Data of a committed transaction, or a marker of a kind that is not ours to judge.
    Needed,
    /// Batches of an aborted transaction: it goes into the new segment's transaction index.
    NeededByAborted(CompletedTxn),
}

/// State of a walk from the log's start over all its batches in order.
#[derive(Debug, Default)]
pub struct CleanedTxns {
    committed: HashSet<i64>,
    aborted: HashMap<i64, Open>,
    /// Aborted transactions that begin further on, by first offset and producer.
    waiting: BTreeMap<(i64, i64), CompletedTxn>,
}

impl CleanedTxns {
    /// Tells of aborted transactions before the batches of their first offsets are read. One that was told before changes nothing.
    pub fn announce(&mut self, aborted: impl IntoIterator<Item = CompletedTxn>) {
        self.waiting.extend(aborted.into_iter().map(|txn| ((txn.first_offset, txn.producer_id), txn)));
    }

    fn open_up_to(&mut self, offset: i64) {
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= offset) {
            let txn = first.remove();
            self.aborted.entry(txn.producer_id).or_insert(Open { txn, has_data: false });
        }
    }

    /// Takes in a batch of records. True: it belongs to an aborted transaction.
    pub fn on_data(&mut self, producer_id: i64, last_offset: i64, transactional: bool) -> bool {
        self.open_up_to(last_offset);
        if !transactional {
            return false;
        }
        match self.aborted.get_mut(&producer_id) {
            Some(open) => {
                open.has_data = true;
                true
            }
            None => {
                self.committed.insert(producer_id);
                false
            }
        }
    }

    /// Takes in a control batch; `marker` is that of its record, `None` for another kind.
    pub fn on_marker(&mut self, producer_id: i64, last_offset: i64, marker: Option<ControlMarker>) -> MarkerVerdict {
        self.open_up_to(last_offset);
        match marker {
            None => MarkerVerdict::Needed,
            Some(ControlMarker::Commit) if self.committed.remove(&producer_id) => MarkerVerdict::Needed,
            Some(ControlMarker::Commit) => MarkerVerdict::Unneeded,
            Some(ControlMarker::Abort) => match self.aborted.remove(&producer_id) {
                Some(Open { txn, has_data: true }) => MarkerVerdict::NeededByAborted(txn),
                _ => MarkerVerdict::Unneeded,
            },
        }
    }

    /// A control batch that an earlier cleaning emptied and kept for its producer's epoch.
    pub fn on_emptied_marker(&mut self, last_offset: i64) -> MarkerVerdict {
        self.open_up_to(last_offset);
        MarkerVerdict::Unneeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> CompletedTxn {
        CompletedTxn { producer_id, first_offset, last_offset, commit: false, last_stable_offset: last_offset + 1 }
    }

    #[test]
    fn data_of_aborted_transactions_is_told_from_that_of_the_producers_next_one() {
        let mut txns = CleanedTxns::default();
        txns.announce([aborted(1, 0, 4), aborted(2, 2, 9)]);
        assert!(txns.on_data(1, 1, true));
        assert!(!txns.on_data(3, 1, true), "another producer");
        assert!(txns.on_data(2, 3, true));
        assert_eq!(txns.on_marker(1, 4, Some(ControlMarker::Abort)), MarkerVerdict::NeededByAborted(aborted(1, 0, 4)));
        assert!(!txns.on_data(1, 5, true), "the next transaction of producer 1");
        assert!(!txns.on_data(2, 6, false), "not in the transaction");
        assert_eq!(txns.on_marker(1, 7, Some(ControlMarker::Commit)), MarkerVerdict::Needed);
        assert_eq!(txns.on_marker(1, 8, Some(ControlMarker::Commit)), MarkerVerdict::Unneeded, "it had no data");
        assert!(matches!(txns.on_marker(2, 9, Some(ControlMarker::Abort)), MarkerVerdict::NeededByAborted(_)));
    }

    #[test]
    fn a_marker_without_data_is_unneeded_and_other_control_records_stay() {
        let mut txns = CleanedTxns::default();
        txns.announce([aborted(1, 0, 4)]);
        txns.announce([aborted(1, 0, 4)]);
        assert_eq!(txns.on_marker(1, 4, Some(ControlMarker::Abort)), MarkerVerdict::Unneeded);
        assert_eq!(txns.on_marker(1, 5, None), MarkerVerdict::Needed);
        assert_eq!(txns.on_emptied_marker(6), MarkerVerdict::Unneeded);
    }
}
