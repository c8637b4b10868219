//! Guards that let a producer begin a transaction on a partition (KIP-890 part 1, law R18), without any I/O.
//!
//! A transactional batch that would begin a transaction may be appended only after the coordinator confirmed that the partition belongs to an ongoing
//! one. Between its word and the append the transaction may end: its marker takes the guard away, and the batch that comes too late is refused instead
//! of leaving a transaction open that nobody will ever end.

use std::collections::HashMap;

/// Guards remembered per partition. They live for one round trip to the coordinator; beyond the bound all are dropped, and the producers concerned are
/// told that their batch is not part of a transaction.
pub const GUARDS_MAX: usize = 100_000;

/// What a caller shows when it appends: the state it asked the coordinator in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard(u64);

#[derive(Debug, Clone, Copy)]
struct Entry {
    guard: Guard,
    epoch: i16,
    lowest_sequence: i32,
}

/// The guards of one partition.
#[derive(Debug, Default)]
pub struct Verifications {
    entries: HashMap<i64, Entry>,
    next: u64,
}

impl Verifications {
    /// Before the coordinator is asked. Batches of one producer that are under way together share a guard.
    pub fn begin(&mut self, producer_id: i64, epoch: i16, sequence: i32) -> Guard {
        if self.entries.len() >= GUARDS_MAX && !self.entries.contains_key(&producer_id) {
            self.entries.clear();
        }
        let next = Guard(self.next);
        let entry = self.entries.entry(producer_id).or_insert(Entry { guard: next, epoch, lowest_sequence: sequence });
        if entry.guard == next {
            self.next += 1;
        } else if epoch > entry.epoch {
            (entry.epoch, entry.lowest_sequence) = (epoch, sequence);
        } else if epoch == entry.epoch {
            entry.lowest_sequence = entry.lowest_sequence.min(sequence);
        }
        entry.guard
    }

    /// Whether the guard still stands: no marker of that producer came since.
    pub fn stands(&self, producer_id: i64, guard: Guard) -> bool {
        self.entries.get(&producer_id).is_some_and(|entry| entry.guard == guard)
    }

    /// The lowest sequence that asked under the standing guard in that epoch: a later batch must not overtake it into an empty log.
    pub fn lowest_sequence(&self, producer_id: i64, epoch: i16) -> Option<i32> {
        self.entries.get(&producer_id).filter(|entry| entry.epoch == epoch).map(|entry| entry.lowest_sequence)
    }

    /// A transaction began or ended here: whoever asked before must ask again.
    pub fn end(&mut self, producer_id: i64) {
        self.entries.remove(&producer_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r18_a_guard_falls_with_the_marker() {
        let mut all = Verifications::default();
        let guard = all.begin(1, 0, 5);
        assert_eq!(all.begin(1, 0, 3), guard, "requests under way together share it");
        assert_eq!((all.stands(1, guard), all.lowest_sequence(1, 0)), (true, Some(3)));
        all.end(1);
        assert!(!all.stands(1, guard));
        let later = all.begin(1, 0, 0);
        assert!(all.stands(1, later) && !all.stands(1, guard), "a new guard is another one");
    }

    #[test]
    fn guards_are_bounded_and_a_dropped_one_does_not_stand() {
        let mut all = Verifications::default();
        let first = all.begin(0, 0, 0);
        for id in 1..=GUARDS_MAX as i64 {
            all.begin(id, 0, 0);
        }
        assert!(!all.stands(0, first) && all.entries.len() <= GUARDS_MAX);
        let again = all.begin(0, 0, 0);
        assert_ne!(again, first);
    }
}
