//! What an older writer had landed behind the last durable place: found again by content and order, so that it is not written a second time.
use std::collections::VecDeque;

use super::{
    ids::{SourceOffset, TargetOffset},
    offset_map::{Run, push_run},
};

/// Records of our own behind the durable place, as digests, in the order in which they landed.
#[derive(Debug, Clone, Default)]
pub struct Landed {
    records: VecDeque<(TargetOffset, u64)>,
    /// What lies before it is accounted for.
    from: TargetOffset,
}

impl Landed {
    /// Nothing behind `from` yet.
    #[must_use]
    pub fn behind(from: TargetOffset) -> Self {
        Landed { records: VecDeque::new(), from }
    }
    /// Adds the next record.
    pub fn push(&mut self, at: TargetOffset, digest: u64) {
        self.records.push_back((at, digest));
    }
    /// How many are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }
    /// True when nothing is left: what comes was not written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Compares the records that are about to be written with what landed: how many of the first ones need not be, and where they lie. What is not
    /// among the landed ones was not written, and so was nothing behind it: records land in order.
    ///
    /// Compaction may have taken records out on either side since. A landed record that the source no longer has is passed over; one that the
    /// source has and the target dropped is told by a later one that is there, and had an offset before that one's.
    pub fn take(&mut self, wanted: &[(SourceOffset, u64)]) -> (usize, Vec<Run>) {
        let mut runs: Vec<Run> = Vec::new();
        let mut dropped: Vec<SourceOffset> = Vec::new();
        let mut done = 0;
        for (index, (source, digest)) in wanted.iter().enumerate() {
            if self.records.is_empty() {
                break;
            }
            let Some(at) = self.records.iter().position(|(_, landed)| landed == digest) else {
                dropped.push(*source);
                continue;
            };
            let (target, _) = self.records[at];
            self.records.drain(..=at);
            let first = TargetOffset(target.get() - dropped.len() as i64).max(self.from);
            let room = usize::try_from(target.since(first)).unwrap_or(usize::MAX);
            let places = dropped.drain(..).take(room).zip((0..).map(|n| first.plus(n)));
            places
                .chain([(*source, target)])
                .for_each(|(source, target)| push_run(&mut runs, Run::new(source, 1, target)));
            self.from = target.next();
            done = index + 1;
        }
        if done < wanted.len() {
            self.records.clear();
        }
        (done, runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landed(from: i64, records: &[(i64, u64)]) -> Landed {
        let mut landed = Landed::behind(TargetOffset(from));
        records.iter().for_each(|(at, digest)| landed.push(TargetOffset(*at), *digest));
        landed
    }

    fn wanted(records: &[(i64, u64)]) -> Vec<(SourceOffset, u64)> {
        records.iter().map(|(source, digest)| (SourceOffset(*source), *digest)).collect()
    }

    fn run(source: i64, count: u64, target: i64) -> Run {
        Run::new(SourceOffset(source), count, TargetOffset(target))
    }

    #[test]
    fn f24_what_landed_is_not_written_again_and_what_did_not_is() {
        let mut landed = landed(100, &[(100, 1), (101, 2)]);
        assert_eq!(landed.take(&wanted(&[(0, 1), (1, 2), (2, 3)])), (2, vec![run(0, 2, 100)]));
        assert!(landed.is_empty());
    }

    #[test]
    fn the_same_content_twice_is_two_records() {
        let mut landed = landed(100, &[(100, 1)]);
        assert_eq!(landed.take(&wanted(&[(0, 1), (1, 1)])), (1, vec![run(0, 1, 100)]));
    }

    #[test]
    fn nothing_that_landed_behind_a_record_that_did_not_is_believed() {
        let mut landed = landed(100, &[(100, 8), (101, 9)]);
        assert_eq!(landed.take(&wanted(&[(0, 1), (1, 2)])), (0, vec![]));
        assert!(landed.is_empty(), "what lies there is of another history");
    }

    #[test]
    fn compaction_on_either_side_confuses_nothing() {
        // the source lost 2, the target lost 3: both were there when they were copied
        let mut landed = landed(100, &[(100, 1), (101, 2), (103, 4)]);
        let runs = vec![run(0, 1, 100), run(2, 2, 102)];
        assert_eq!(landed.take(&wanted(&[(0, 1), (2, 3), (3, 4), (4, 5)])), (3, runs));
    }

    #[test]
    fn a_tail_is_taken_in_as_many_bites_as_it_comes() {
        let mut landed = landed(5, &[(5, 1), (7, 2), (8, 3)]);
        assert_eq!(landed.take(&wanted(&[(0, 1)])), (1, vec![run(0, 1, 5)]));
        assert_eq!(landed.take(&wanted(&[(4, 2), (5, 3)])), (2, vec![run(4, 2, 7)]));
    }
}
