use proptest::prelude::*;

use super::*;

fn s(offset: i64) -> SourceOffset {
    SourceOffset(offset)
}
fn t(offset: i64) -> TargetOffset {
    TargetOffset(offset)
}
fn at(offset: i64, exactness: Exactness) -> Translation {
    Translation { offset: t(offset), exactness }
}

#[test]
fn a_regular_partition_is_one_run_and_exact_everywhere() {
    let mut map = OffsetMap::new(s(100), t(7));
    for batch in 0..1000 {
        let from = 100 + batch * 10;
        map.append(s(from), s(from + 10), &[Run::new(s(from), 10, t(7 + batch * 10))]).unwrap();
    }
    assert_eq!(map.runs(), [Run::new(s(100), 10_000, t(7))]);
    assert_eq!(map.translate(s(100)), at(7, Exactness::Exact));
    assert_eq!(map.translate(s(10_099)), at(10_006, Exactness::Exact));
    assert_eq!(map.translate(s(10_100)), at(10_007, Exactness::AtEnd));
    assert_eq!(map.translate(s(10_105)), at(10_007, Exactness::BeyondEnd { missing: 5 }));
    assert_eq!(map.translate(s(99)), at(7, Exactness::ClampedBelow));
    assert_eq!(map.translate_back(t(10_006)).offset, s(10_099));
    assert_eq!(map.translate_back(t(0)), BackTranslation { offset: s(100), exactness: Exactness::ClampedBelow });
}

#[test]
fn holes_translate_to_the_next_kept_record() {
    let mut map = OffsetMap::new(s(0), t(0));
    // 0..5 records, 5 a marker, 6..8 records behind two foreign ones, 8..10 compacted at the end
    map.append(s(0), s(6), &[Run::new(s(0), 5, t(0))]).unwrap();
    map.append(s(6), s(10), &[Run::new(s(6), 2, t(7))]).unwrap();
    assert_eq!(map.translate(s(5)), at(7, Exactness::NextKept));
    assert_eq!(map.translate(s(6)), at(7, Exactness::Exact));
    assert_eq!(map.translate(s(9)), at(9, Exactness::NextKept));
    assert_eq!(map.translate(s(10)), at(9, Exactness::AtEnd));
    // the foreign records at 5 and 6
    assert_eq!(map.translate_back(t(5)), BackTranslation { offset: s(6), exactness: Exactness::NextKept });
    assert_eq!((map.landed(s(5)), map.landed(s(7))), (None, Some(t(8))));
    assert_eq!((map.origin(t(6)), map.origin(t(8))), (None, Some(s(7))));
}

#[test]
fn a_repeat_after_a_restart_replaces_what_it_covers() {
    let mut map = OffsetMap::new(s(0), t(0));
    map.append(s(0), s(10), &[Run::new(s(0), 10, t(0))]).unwrap();
    map.append(s(6), s(8), &[Run::new(s(6), 2, t(20))]).unwrap();
    assert_eq!(map.position(), s(8));
    assert_eq!(map.translate(s(5)), at(5, Exactness::Exact));
    assert_eq!(map.translate(s(7)), at(21, Exactness::Exact));
    assert_eq!(map.translate(s(8)), at(22, Exactness::AtEnd));
}

#[test]
fn what_cannot_be_true_is_refused_and_changes_nothing() {
    let mut map = OffsetMap::new(s(0), t(0));
    map.append(s(0), s(10), &[Run::new(s(0), 10, t(5))]).unwrap();
    let before = map.clone();
    let refused = [
        map.append(s(11), s(12), &[]),
        map.append(s(10), s(12), &[Run::new(s(10), 2, t(14))]),
        map.append(s(10), s(12), &[Run::new(s(10), 3, t(15))]),
        map.append(s(10), s(14), &[Run::new(s(11), 2, t(15)), Run::new(s(10), 1, t(17))]),
        map.append(s(10), s(14), &[Run { source_first: s(12), source_last: s(11), target_first: t(15) }]),
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    assert_eq!(map, before);
}

#[test]
fn a_target_that_lost_its_tail_moves_the_position_back() {
    let mut map = OffsetMap::new(s(0), t(0));
    map.append(s(0), s(10), &[Run::new(s(0), 4, t(0)), Run::new(s(5), 5, t(4))]).unwrap();
    assert_eq!(map.clone().void_target_from(t(9)), s(10));
    assert_eq!(map.clone().void_target_from(t(6)), s(7));
    // the record at source offset 5 was at 4: lost with it
    assert_eq!(map.void_target_from(t(4)), s(5));
    assert_eq!((map.position(), map.target_to()), (s(5), t(4)));
    map.append(s(5), s(7), &[Run::new(s(5), 2, t(4))]).unwrap();
    assert_eq!(map.translate(s(6)), at(5, Exactness::Exact));
}

#[test]
fn a_source_that_lost_its_tail_voids_only_the_map_beyond() {
    let mut map = OffsetMap::new(s(0), t(0));
    map.append(s(0), s(10), &[Run::new(s(0), 10, t(0))]).unwrap();
    map.void_source_from(s(7));
    assert_eq!(map.translate(s(7)), at(10, Exactness::AtEnd));
    map.append(s(7), s(8), &[Run::new(s(7), 1, t(10))]).unwrap();
    assert_eq!(map.translate(s(6)), at(6, Exactness::Exact));
    assert_eq!(map.translate(s(7)), at(10, Exactness::Exact));
}

#[test]
fn a_coarsened_map_answers_lower_never_higher() {
    let mut map = OffsetMap::new(s(0), t(3));
    let runs: Vec<Run> = (0..100).map(|i| Run::new(s(i * 2), 1, t(3 + i))).collect();
    map.append(s(0), s(200), &runs).unwrap();
    map.coarsen();
    assert_eq!(map.translate(s(40)), at(3, Exactness::ClampedBelow));
    assert_eq!(map.translate(s(150)), at(78, Exactness::Exact));
    assert_eq!(map.translate_back(t(30)).offset, s(0));
    // losing the tail inside of the coarse part copies it all again, rather than leaving a hole
    assert_eq!(map.clone().void_target_from(t(30)), s(0));
    map.trim_target(t(20));
    assert_eq!(map.translate(s(40)), at(20, Exactness::ClampedBelow));
    map.trim_target(t(60));
    assert_eq!(map.translate(s(114)), at(60, Exactness::Exact));
    assert_eq!(map.translate(s(112)), at(60, Exactness::ClampedBelow));
}

/// What may happen to a lane, as far as its map is concerned.
#[derive(Debug, Clone)]
enum Step {
    Copy(u8),
    Skip(u8),
    Foreign(u8),
    /// A crash after `unknown` records landed that the map never heard of.
    Crash(u8),
    /// A restart from an older position.
    Rewind(u8),
    Trim(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u8..20).prop_map(Step::Copy),
        2 => (1u8..4).prop_map(Step::Skip),
        1 => (1u8..4).prop_map(Step::Foreign),
        1 => (1u8..6).prop_map(Step::Crash),
        1 => (1u8..12).prop_map(Step::Rewind),
        1 => (0u8..30).prop_map(Step::Trim),
    ];
    proptest::collection::vec(step, 1..30)
}

/// The logs as they really are, and the map that follows them.
struct Model {
    map: OffsetMap,
    /// All copies on the target: (target, source).
    copies: Vec<(i64, i64)>,
    /// Source offsets that held a record once read.
    kept: std::collections::BTreeMap<i64, bool>,
    target_end: i64,
    log_start: i64,
}

impl Model {
    fn new() -> Self {
        let map = OffsetMap::new(s(5), t(3));
        Model { map, copies: vec![], kept: Default::default(), target_end: 3, log_start: 0 }
    }
    fn write(&mut self, source: i64) {
        self.copies.push((self.target_end, source));
        self.target_end += 1;
    }
    fn step(&mut self, step: &Step) {
        let position = self.map.position().get();
        match *step {
            Step::Copy(n) => {
                let mut runs = vec![];
                for source in position..position + i64::from(n) {
                    if *self.kept.entry(source).or_insert(true) {
                        runs.push(Run::new(s(source), 1, t(self.target_end)));
                        self.write(source);
                    }
                }
                self.map.append(s(position), s(position + i64::from(n)), &runs).unwrap();
            }
            Step::Skip(n) => {
                let to = (position + i64::from(n))
                    .min(self.kept.range(position..).find(|(_, kept)| **kept).map_or(i64::MAX, |(source, _)| *source));
                for source in position..to {
                    self.kept.insert(source, false);
                }
                self.map.append(s(position), s(to.max(position)), &[]).unwrap();
            }
            Step::Foreign(n) => self.target_end += i64::from(n),
            Step::Crash(n) => {
                for source in position..position + i64::from(n) {
                    if *self.kept.entry(source).or_insert(true) {
                        self.write(source);
                    }
                }
            }
            Step::Rewind(n) => {
                let from = (position - i64::from(n)).max(5);
                self.map.append(s(from), s(from), &[]).unwrap();
            }
            Step::Trim(n) => {
                self.log_start = self.log_start.max((self.target_end - i64::from(n)).max(0)).min(self.target_end);
                self.map.trim_target(t(self.log_start));
            }
        }
    }
    fn last_copy(&self, source: i64) -> Option<i64> {
        self.copies.iter().rev().find(|(at, from)| *from == source && *at >= self.log_start).map(|(at, _)| *at)
    }
    fn check(&self) {
        let (position, end) = (self.map.position().get(), self.map.target_to().get());
        for x in 0..position + 3 {
            let answer = self.map.translate(s(x));
            let kept = |source: &i64| self.kept.get(source).copied().unwrap_or(false);
            let landed: Vec<i64> = (x.max(5)..position).filter(kept).filter_map(|o| self.last_copy(o)).collect();
            for copy in &landed {
                assert!(*copy >= answer.offset.get(), "AHEAD: {x} -> {answer:?}, but a record lies at {copy}");
            }
            if answer.exactness.is_exact() {
                let place = landed.first().copied().unwrap_or(end);
                assert_eq!(answer.offset.get(), place.max(self.log_start), "FAR: {x} -> {answer:?}");
            }
        }
        for target in 0..self.target_end + 2 {
            let back = self.map.translate_back(t(target)).offset.get();
            for (at, source) in &self.copies {
                let covered = *source < position && *at >= self.log_start && *at >= target;
                assert!(!covered || *source >= back, "back {target} -> {back}, but {source} lies at {at}");
            }
        }
    }
}

proptest! {
    #[test]
    fn l3_translation_never_skips_ahead(steps in steps()) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.step(step));
        model.check();
    }
}
