//! Planted bugs of the record engine (see [`planted`]): what a careless sink would do to records. Does nothing in a released binary.

use super::Records;
use crate::core::batch::Batch;
use crate::core::ids::SourceOffset;
use crate::core::planted::{self, Bug};

/// The batch as a sink with the planted bug would write it.
pub(super) fn produce(mut batch: Batch<Records>, mut skip: Vec<SourceOffset>) -> (Batch<Records>, Vec<SourceOffset>) {
    let records = &mut batch.payload;
    if planted::is(Bug::FlipValueByte)
        && let Some(range) = records.items.iter().find_map(|item| item.value.clone().filter(|range| !range.is_empty()))
    {
        records.arena[range.start] ^= 1;
    }
    if planted::is(Bug::SwapBatches) && records.items.len() > 1 {
        let (first, second) = (records.items[0].offset, records.items[1].offset);
        records.items.swap(0, 1);
        (records.items[0].offset, records.items[1].offset) = (first, second);
    }
    if planted::is(Bug::DropTombstones) {
        let tombstones = records.items.iter().filter(|item| item.value.is_none());
        skip.extend(tombstones.map(|item| SourceOffset(item.offset)));
        skip.sort_unstable();
        skip.dedup();
    }
    (batch, skip)
}

/// The partition as a sink with the planted bug would choose it.
pub(super) fn partition(partition: i32) -> i32 {
    if planted::is(Bug::MoveToOtherPartition) { partition ^ 1 } else { partition }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch<Records> {
        let mut payload = Records::default();
        payload.push(7, 1, Some(b"a"), Some(b"one"), super::super::Headers::None);
        payload.push(8, 2, Some(b"b"), None, super::super::Headers::None);
        let range = crate::core::batch::SourceRange::new(SourceOffset(7), SourceOffset(9));
        let lane = crate::core::ids::LaneId::new("t", crate::core::ids::TopicId::default(), 0);
        let (session, ends, summary) = Default::default();
        Batch { lane, session, range, ends, summary, payload }
    }

    #[test]
    fn nothing_is_sabotaged_unless_it_is_asked_for() {
        let (after, skip) = produce(batch(), vec![]);
        assert_eq!((after.payload.value(&after.payload.items()[0]), skip.len()), (Some(&b"one"[..]), 0));
        assert_eq!(partition(4), 4);
    }

    #[test]
    fn each_planted_bug_does_its_harm() {
        let flipped = planted::plant(Bug::FlipValueByte, || produce(batch(), vec![]).0);
        assert_eq!(flipped.payload.value(&flipped.payload.items()[0]), Some(&b"nne"[..]));
        let swapped = planted::plant(Bug::SwapBatches, || produce(batch(), vec![]).0);
        let keys: Vec<_> = swapped.payload.items().iter().map(|i| (i.offset, swapped.payload.key(i))).collect();
        assert_eq!(keys, [(7, Some(&b"b"[..])), (8, Some(&b"a"[..]))]);
        let skip = planted::plant(Bug::DropTombstones, || produce(batch(), vec![]).1);
        assert_eq!(skip, [SourceOffset(8)]);
        assert_eq!(planted::plant(Bug::MoveToOtherPartition, || partition(4)), 5);
    }
}
