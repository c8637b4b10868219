//! Where the records lie at the target that loop prevention held back, because they came from there (L3 on a cycle).
//!
//! A reader that moves from source offset X has not yet seen what lies behind X, and some of that is the target's own: it lies at the
//! target already, perhaps before the copies of what the reader has seen. So the place to go on is the lower one of two: where the first copy
//! from X on lies, and where the first of the target's own records lies that had not reached the source before X.
use serde::{Deserialize, Serialize};

use super::{
    ids::{SourceOffset, TargetOffset},
    offset_map::{Exactness, OffsetMap, Translation},
};

/// Runs kept exactly or coarsely; beyond it the oldest are joined, which sends readers from far back further back, never ahead.
pub const HELD_RUNS_MAX: usize = 128;

/// Source offsets that held records of the target's own, and where those lie there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRun {
    /// First source offset.
    pub source_first: SourceOffset,
    /// Last source offset.
    pub source_last: SourceOffset,
    /// Where the first of them lies at the target.
    pub target_first: TargetOffset,
    /// Where the last of them lies.
    pub target_last: TargetOffset,
    /// Several runs in one: only its ends are known, and readers from within go to its first target offset.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coarse: bool,
}

/// What a lane on a cycle held back, ascending on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    runs: Vec<HeldRun>,
}

impl Held {
    /// Notes that the record at `source` is the target's own from `target`. What was noted from `source` on before (a repeat) is dropped.
    /// A record that lies before the last one noted was copied here twice: readers from before it are sent back to it all the same.
    pub fn push(&mut self, source: SourceOffset, target: TargetOffset) {
        self.cut(source);
        let mut run = HeldRun {
            source_first: source,
            source_last: source,
            target_first: target,
            target_last: target,
            coarse: false,
        };
        while let Some(last) = self.runs.last_mut() {
            if target > last.target_last {
                let follows = last.source_last.next() == source && last.target_last.next() == target;
                if follows && !last.coarse && !run.coarse {
                    (last.source_last, last.target_last) = (source, target);
                    return;
                }
                break;
            }
            // the lower envelope: one coarse run from the first record that lies beyond this one to this one
            (run.source_first, run.coarse) = (last.source_first, true);
            run.target_first = last.target_first.min(run.target_first);
            run.target_last = last.target_last.max(run.target_last);
            let done = last.target_first <= target;
            if done && !last.coarse && last.target_first < target {
                // what lies before it stays exact
                let kept = target.since(last.target_first);
                (run.source_first, run.target_first) = (last.source_first.plus(kept), target);
                (last.source_last, last.target_last) =
                    (last.source_first.plus(kept - 1), last.target_first.plus(kept - 1));
                break;
            }
            self.runs.pop();
            if done {
                break;
            }
        }
        self.runs.push(run);
        if self.runs.len() > HELD_RUNS_MAX {
            self.join_oldest();
        }
    }

    /// Behind the last place noted.
    #[must_use]
    pub fn end(&self) -> Option<TargetOffset> {
        self.runs.last().map(|run| run.target_last.next())
    }

    /// Forgets what was noted from `source` on.
    fn cut(&mut self, source: SourceOffset) {
        while let Some(last) = self.runs.last_mut().filter(|last| last.source_last >= source) {
            if last.source_first >= source {
                self.runs.pop();
                continue;
            }
            let kept = source.since(last.source_first) - 1;
            if !last.coarse {
                last.target_last = last.target_first.plus(kept);
            }
            last.source_last = last.source_first.plus(kept);
        }
    }

    /// Joins pairs in the older half: what a group that follows closely needs stays exact.
    fn join_oldest(&mut self) {
        let half = self.runs.len() / 2;
        let newer = self.runs.split_off(half);
        let join = |pair: &[HeldRun]| HeldRun {
            source_last: pair[pair.len() - 1].source_last,
            target_last: pair[pair.len() - 1].target_last,
            coarse: pair.len() > 1 || pair[0].coarse,
            ..pair[0]
        };
        self.runs = self.runs.chunks(2).map(join).collect();
        self.runs.extend(newer);
    }

    /// Where a reader at `x` goes on, given the copies in `map`.
    #[must_use]
    pub fn translate(&self, map: &OffsetMap, x: SourceOffset) -> Translation {
        let copied = map.translate(x);
        let next = self.runs.partition_point(|run| run.source_last < x);
        let own = match self.runs.get(next) {
            Some(run) if run.source_first < x && !run.coarse => run.target_first.plus(x.since(run.source_first)),
            Some(run) => run.target_first,
            // the target's own records behind the last one that is known to have reached the source; our copies in between are passed over
            None => map.first_not_copied(self.runs.last().map_or(TargetOffset::ZERO, |run| run.target_last.next())),
        };
        if own < copied.offset {
            // back, never ahead: copies of what the reader has seen may lie behind it
            return Translation { offset: own, exactness: Exactness::ClampedBelow };
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::offset_map::Run;

    fn s(offset: i64) -> SourceOffset {
        SourceOffset(offset)
    }
    fn t(offset: i64) -> TargetOffset {
        TargetOffset(offset)
    }

    /// Both sides of an active/active pair, drawn at random: what the source holds of the target, and the map the other way round.
    struct Pair {
        /// At each source offset: `None` for a record of the source's own, or the target offset of the target's own record.
        source: Vec<Option<i64>>,
        /// At each target offset: the source offset it is a copy of, or `None` for the target's own.
        target: Vec<Option<i64>>,
    }

    fn random_pair(rng: &mut fastrand::Rng) -> Pair {
        let mut pair = Pair { source: Vec::new(), target: Vec::new() };
        let (mut forward, mut backward) = (0, 0);
        for _ in 0..rng.usize(1..200) {
            match rng.u8(..4) {
                0 => pair.source.push(None),
                1 => pair.target.push(None),
                2 if forward < pair.source.len() => {
                    if pair.source[forward].is_none() {
                        pair.target.push(Some(forward as i64));
                    }
                    forward += 1;
                }
                _ if backward < pair.target.len() => {
                    if pair.target[backward].is_none() {
                        pair.source.push(Some(backward as i64));
                    }
                    backward += 1;
                    if rng.u8(..20) == 0 {
                        backward -= rng.usize(..backward.min(10) + 1); // the other flow starts again: copies come twice
                    }
                }
                _ => {}
            }
        }
        pair.source.truncate(forward); // only what the forward flow has read is in its map
        pair
    }

    #[test]
    fn l3_a_reader_on_a_cycle_skips_neither_copies_nor_the_targets_own_records() {
        for seed in 0..2_000 {
            let pair = random_pair(&mut fastrand::Rng::with_seed(seed));
            // the flow may begin when the target has records of its own already
            let base = pair.target.iter().position(Option::is_some).unwrap_or(pair.target.len());
            let mut map = OffsetMap::new(s(0), t(base as i64));
            let mut held = Held::default();
            for (at, origin) in pair.source.iter().enumerate() {
                let at = s(at as i64);
                let runs = match origin {
                    Some(target) => {
                        held.push(at, t(*target));
                        vec![]
                    }
                    None => {
                        let landed = pair.target.iter().position(|copy| *copy == Some(at.get())).unwrap();
                        vec![Run::new(at, 1, t(landed as i64))]
                    }
                };
                map.append(at, at.next(), &runs).unwrap();
            }
            for x in 0..=pair.source.len() as i64 {
                let place = held.translate(&map, s(x)).offset.get();
                for (target, copy) in pair.target.iter().enumerate() {
                    let seen = match copy {
                        Some(source) => *source < x,
                        // the target's own: seen only if it reached the source before x; what comes at or after x counts as not seen, be it a repeat
                        None => {
                            let at = |origin: &Option<i64>| *origin == Some(target as i64);
                            let (before, after) = pair.source.split_at(x as usize);
                            before.iter().any(at) && !after.iter().any(at)
                        }
                    };
                    let skipped = (target as i64) < place;
                    assert!(seen || !skipped, "seed {seed}: X={x} T={place} skips target {target}");
                }
            }
        }
    }

    #[test]
    fn without_records_of_the_targets_own_it_is_the_map_alone() {
        let mut map = OffsetMap::new(s(0), t(0));
        map.append(s(0), s(10), &[Run::new(s(0), 10, t(0))]).unwrap();
        for x in 0..=10 {
            assert_eq!(Held::default().translate(&map, s(x)), map.translate(s(x)));
        }
    }

    #[test]
    fn l7_what_is_held_is_bounded_and_a_repeat_replaces() {
        let mut held = Held::default();
        for n in 0..10_000 {
            held.push(s(n * 3), t(n * 5));
        }
        assert!(held.runs.len() <= HELD_RUNS_MAX + 1, "{}", held.runs.len());
        let before = held.clone();
        held.push(s(9_998 * 3), t(9_998 * 5));
        held.push(s(9_999 * 3), t(9_999 * 5));
        assert_eq!(held.runs.last(), before.runs.last());
    }
}
