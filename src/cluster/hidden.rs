//! Which batches of a read-committed fetch belong to aborted transactions: from its first offset to its marker a producer's records are hidden
//! (KIP-98).

use std::collections::HashMap;

use causeway_wire::messages::fetch::AbortedTransaction;
use causeway_wire::records::{BatchHeader, ControlMarker};

/// The aborted transactions of one fetch answer, consumed batch by batch in offset order.
#[derive(Debug)]
pub(super) struct Hidden {
    /// First offsets by producer, the lowest last.
    first_offsets: HashMap<i64, Vec<i64>>,
}

impl Hidden {
    pub fn new(aborted: &[AbortedTransaction]) -> Self {
        let mut first_offsets: HashMap<i64, Vec<i64>> = HashMap::new();
        for transaction in aborted {
            first_offsets.entry(transaction.producer_id).or_default().push(transaction.first_offset);
        }
        first_offsets.values_mut().for_each(|offsets| offsets.sort_unstable_by(|a, b| b.cmp(a)));
        Hidden { first_offsets }
    }

    /// Whether the records of this batch are hidden.
    pub fn hides(&self, header: &BatchHeader) -> bool {
        let first = self.first_offsets.get(&header.producer_id).and_then(|offsets| offsets.last());
        header.attributes.is_transactional() && first.is_some_and(|first| *first <= header.base_offset)
    }

    /// Takes in a control batch: an abort marker ends what is hidden of its producer.
    pub fn marker(&mut self, producer_id: i64, marker: Option<ControlMarker>) {
        if marker == Some(ControlMarker::Abort)
            && let Some(offsets) = self.first_offsets.get_mut(&producer_id)
        {
            offsets.pop();
        }
    }
}
