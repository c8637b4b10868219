//! Offsets committed in transactions that are still open: they count only once the transaction's marker says so (KIP-98, law R21).

use std::collections::{BTreeMap, HashMap};

use super::records::OffsetValue;

/// One offset of an open transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingOffset {
    /// Group id.
    pub group: String,
    /// Topic name.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// What is to be committed.
    pub value: OffsetValue,
    /// Offset of the record in its partition of `__consumer_offsets`: among commits of one offset the latest record wins, whenever its marker came.
    pub at: i64,
}

type Key = (String, String, i32);

/// The open transactions of all partitions of `__consumer_offsets`.
#[derive(Debug, Default)]
pub struct PendingOffsets {
    /// By partition of `__consumer_offsets` and producer id.
    open: HashMap<(i32, i64), BTreeMap<Key, (OffsetValue, i64)>>,
    /// In how many open transactions an offset is.
    counts: HashMap<Key, u32>,
}

impl PendingOffsets {
    /// Takes in a record of an open transaction.
    pub fn add(&mut self, journal: i32, producer_id: i64, offset: PendingOffset) {
        let PendingOffset { group, topic, partition, value, at } = offset;
        let key = (group, topic, partition);
        if self.open.entry((journal, producer_id)).or_default().insert(key.clone(), (value, at)).is_none() {
            *self.counts.entry(key).or_default() += 1;
        }
    }

    /// The transaction of that producer ended in that partition: what it had committed.
    pub fn end(&mut self, journal: i32, producer_id: i64) -> Vec<PendingOffset> {
        let ended = self.open.remove(&(journal, producer_id)).unwrap_or_default();
        let mut out = Vec::with_capacity(ended.len());
        for (key, (value, at)) in ended {
            if let Some(count) = self.counts.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(&key);
                }
            }
            let (group, topic, partition) = key;
            out.push(PendingOffset { group, topic, partition, value, at });
        }
        out
    }

    /// Whether an open transaction may still change the offset.
    pub fn is_pending(&self, group: &str, topic: &str, partition: i32) -> bool {
        // Nothing is pending almost always: the key is made only if something is.
        !self.counts.is_empty() && self.counts.contains_key(&(group.to_owned(), topic.to_owned(), partition))
    }

    /// Whether an open transaction has any offset of the group.
    pub fn has_group(&self, group: &str) -> bool {
        self.counts.keys().any(|(g, ..)| g == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(partition: i32, offset: i64, at: i64) -> PendingOffset {
        let value = OffsetValue { offset, leader_epoch: -1, metadata: String::new(), commit_timestamp: 1 };
        PendingOffset { group: "g".into(), topic: "t".into(), partition, value, at }
    }

    #[test]
    fn r21_an_offset_stays_unstable_until_every_transaction_with_it_has_ended() {
        let mut all = PendingOffsets::default();
        all.add(0, 1, pending(0, 10, 5));
        all.add(0, 1, pending(0, 11, 6));
        all.add(0, 2, pending(0, 20, 7));
        all.add(0, 2, pending(1, 3, 8));
        assert!(all.is_pending("g", "t", 0) && !all.is_pending("h", "t", 0));
        assert_eq!(all.end(0, 1), [pending(0, 11, 6)], "the last word of a transaction counts");
        assert!(
            all.is_pending("g", "t", 0) && all.end(3, 2).is_empty(),
            "another partition's marker ends nothing here"
        );
        assert_eq!(all.end(0, 2).len(), 2);
        assert!(!all.is_pending("g", "t", 0) && all.counts.is_empty());
        assert!(all.end(0, 2).is_empty(), "a marker written twice finds nothing");
    }
}
