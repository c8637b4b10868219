//! The offset map of a lane: runs `source_first..=source_last -> target_first..`, exact in both directions.
//!
//! A regular partition is one run, however long. A new run starts at every irregularity: transaction markers, compaction, a
//! filtered record, a foreign record on the target, a restart. The rule it serves is L3: every record at or after source offset X
//! has a copy at or after `translate(X)`. Where the map knows nothing exact it answers lower, never higher, and says so.
//!
//! After a crash records may be copied again (at-least-once): the later run wins, whatever it covers of earlier runs is cut off.
use serde::{Deserialize, Serialize};

use super::{
    ids::{SourceOffset, TargetOffset},
    planted::{self, Bug},
};

/// Most runs a map holds. Beyond it the oldest half loses its exactness (answers clamp below); 24 bytes each: 24 MiB per lane at worst.
pub const RUNS_MAX: usize = 1 << 20;

/// Consecutive source offsets that landed on consecutive target offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// First source offset of the run.
    pub source_first: SourceOffset,
    /// Last source offset of the run; never before the first.
    pub source_last: SourceOffset,
    /// Where the first one landed.
    pub target_first: TargetOffset,
}

impl Run {
    /// A run of `count` records (at least 1).
    #[must_use]
    pub fn new(source_first: SourceOffset, count: u64, target_first: TargetOffset) -> Self {
        Run { source_first, source_last: source_first.plus(count.max(1) - 1), target_first }
    }
    /// Records in the run.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.source_last.since(self.source_first) + 1
    }
    /// Where the last one landed.
    #[must_use]
    pub fn target_last(&self) -> TargetOffset {
        self.target_first.plus(self.count() - 1)
    }
    /// True when `next` goes on where this run ends, on both sides.
    #[must_use]
    pub fn continued_by(&self, next: &Run) -> bool {
        next.source_first == self.source_last.next() && next.target_first == self.target_last().next()
    }
}

/// Adds a run behind the others: as part of the last one where it goes on on both sides, else as one of its own.
pub fn push_run(runs: &mut Vec<Run>, run: Run) {
    match runs.last_mut() {
        Some(last) if last.continued_by(&run) => last.source_last = run.source_last,
        _ => runs.push(run),
    }
}

/// How sure a translation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exactness {
    /// The offset itself was copied, and this is where it landed.
    Exact,
    /// The offset held nothing to copy (marker, compacted, filtered, ledgered gap): the next copied record's place. Still exact as a place to resume.
    NextKept,
    /// The offset is where copying stands: nothing at or after it was copied yet, and what comes will land at or after the answer.
    AtEnd,
    /// The offset lies beyond where copying stands: the answer is the end, and that many offsets before it are not copied yet.
    BeyondEnd {
        /// Offsets between the position and the one asked for.
        missing: u64,
    },
    /// The offset lies below what the map still knows: the lowest target offset it accounts for. Records may be read again, none is skipped.
    ClampedBelow,
}

impl Exactness {
    /// True when resuming at the answer neither skips nor repeats a mapped record.
    #[must_use]
    pub fn is_exact(self) -> bool {
        matches!(self, Exactness::Exact | Exactness::NextKept | Exactness::AtEnd)
    }
}

/// A target offset for a source offset, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    /// Where to go on at the target.
    pub offset: TargetOffset,
    /// How sure that is.
    pub exactness: Exactness,
}

/// A source offset for a target offset, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackTranslation {
    /// Where to go on at the source.
    pub offset: SourceOffset,
    /// How sure that is; `NextKept` here means that the target offset holds a record which is not ours (or a copy that a later one replaced).
    pub exactness: Exactness,
}

/// Why runs were not taken into a map: each is a bug of an engine or a second writer, and stops the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The runs of one call must ascend on both sides.
    #[error("run at source {got} / target {got_target} does not come after source {last} / target {last_target}")]
    NotAscending {
        /// Last source offset already there.
        last: SourceOffset,
        /// Its target offset.
        last_target: TargetOffset,
        /// First source offset of the refused run.
        got: SourceOffset,
        /// Its target offset.
        got_target: TargetOffset,
    },
    /// A run's last offset lies before its first.
    #[error("run from source {first} to {last} is turned round")]
    Backwards {
        /// First source offset.
        first: SourceOffset,
        /// Last source offset.
        last: SourceOffset,
    },
    /// A run does not lie in the range that was said to be covered.
    #[error("run {first}..={last} lies outside of the covered range {from}..{to}")]
    OutsideRange {
        /// First source offset of the run.
        first: SourceOffset,
        /// Last source offset of the run.
        last: SourceOffset,
        /// Start of the range.
        from: SourceOffset,
        /// End of the range.
        to: SourceOffset,
    },
    /// A range must start where the map ends, or before (a repeat).
    #[error("covered range starts at {from}, but the map ends at {expected}")]
    NotContiguous {
        /// Where the map ends.
        expected: SourceOffset,
        /// Where the range started.
        from: SourceOffset,
    },
}

/// The map of one lane. See the module's text for its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetMap {
    /// Below this source offset the map knows nothing exact.
    covered_from: SourceOffset,
    /// Up to here (exclusive) every source offset is either in a run or known to hold nothing that was copied. It is the lane's position.
    covered_to: SourceOffset,
    /// The answer for everything below `covered_from`.
    target_from: TargetOffset,
    /// Below this target offset `translate_back` knows nothing exact; equals `target_from` unless the map was coarsened.
    target_known: TargetOffset,
    /// The answer of `translate_back` for everything below `target_known`.
    source_from: SourceOffset,
    /// What is not covered yet will land here or later.
    target_to: TargetOffset,
    /// Ascending on both sides, merged where adjacent.
    runs: Vec<Run>,
}

impl OffsetMap {
    /// An empty map of a lane that starts to copy at `position`, onto a partition whose log end is `target_end`.
    #[must_use]
    pub fn new(position: SourceOffset, target_end: TargetOffset) -> Self {
        OffsetMap {
            covered_from: position,
            covered_to: position,
            target_from: target_end,
            target_known: target_end,
            source_from: position,
            target_to: target_end,
            runs: Vec::new(),
        }
    }

    /// The lane's position: the next source offset to copy.
    #[must_use]
    pub fn position(&self) -> SourceOffset {
        self.covered_to
    }
    /// The first source offset with an exact answer.
    #[must_use]
    pub fn covered_from(&self) -> SourceOffset {
        self.covered_from
    }
    /// The lowest target offset this map accounts for.
    #[must_use]
    pub fn target_from(&self) -> TargetOffset {
        self.target_from
    }
    /// The target offset after the last mapped record: what is not copied yet lands here or later.
    #[must_use]
    pub fn target_to(&self) -> TargetOffset {
        self.target_to
    }
    /// The runs, ascending.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Takes in that `[from, to)` of the source is done and that `runs` of it landed. `from` is where the map ends, or lies before it
    /// (a repeat after a restart: the new copies replace what was known). Nothing changes on an error.
    pub fn append(&mut self, from: SourceOffset, to: SourceOffset, runs: &[Run]) -> Result<(), AppendError> {
        if from > self.covered_to {
            return Err(AppendError::NotContiguous { expected: self.covered_to, from });
        }
        self.check(from, to, runs)?;
        if from < self.covered_to {
            self.cut_source(from);
        }
        for &run in runs {
            push_run(&mut self.runs, run);
            self.target_to = run.target_last().next();
        }
        self.covered_to = to.max(from);
        if self.runs.len() > RUNS_MAX {
            self.coarsen();
        }
        Ok(())
    }

    fn check(&self, from: SourceOffset, to: SourceOffset, runs: &[Run]) -> Result<(), AppendError> {
        // a repeat lands after everything mapped so far, also after what it replaces
        let mut last = (from, self.target_to);
        for run in runs {
            let (first, end) = (run.source_first, run.source_last);
            if end < first {
                return Err(AppendError::Backwards { first, last: end });
            }
            if first < from || end >= to {
                return Err(AppendError::OutsideRange { first, last: end, from, to });
            }
            if first < last.0 || run.target_first < last.1 {
                let (last, last_target) = last;
                return Err(AppendError::NotAscending { last, last_target, got: first, got_target: run.target_first });
            }
            last = (end.next(), run.target_last().next());
        }
        Ok(())
    }

    /// Where a reader at source offset `x` goes on at the target.
    #[must_use]
    pub fn translate(&self, x: SourceOffset) -> Translation {
        let answer = self.translate_exactly(x);
        if planted::is(Bug::TranslateOneAhead) && answer.exactness == Exactness::Exact {
            return Translation { offset: answer.offset.next(), ..answer };
        }
        if planted::is(Bug::TranslateLiterally) {
            return Translation { offset: TargetOffset(x.get()), ..answer };
        }
        answer
    }

    fn translate_exactly(&self, x: SourceOffset) -> Translation {
        let at = |offset, exactness| Translation { offset, exactness };
        if x < self.covered_from {
            return at(self.target_from, Exactness::ClampedBelow);
        }
        if x >= self.covered_to {
            let missing = x.since(self.covered_to);
            let exactness = if missing == 0 { Exactness::AtEnd } else { Exactness::BeyondEnd { missing } };
            return at(self.target_to, exactness);
        }
        let next = self.runs.partition_point(|run| run.source_last < x);
        match self.runs.get(next) {
            Some(run) if run.source_first <= x => {
                at(run.target_first.plus(x.since(run.source_first)), Exactness::Exact)
            }
            Some(run) => at(run.target_first, Exactness::NextKept),
            None => at(self.target_to, Exactness::NextKept),
        }
    }

    /// Where a reader at target offset `t` goes on at the source: every copy at or after `t` is of a record at or after the answer.
    #[must_use]
    pub fn translate_back(&self, t: TargetOffset) -> BackTranslation {
        let at = |offset, exactness| BackTranslation { offset, exactness };
        if t < self.target_known {
            return at(self.source_from, Exactness::ClampedBelow);
        }
        if t >= self.target_to {
            let missing = t.since(self.target_to);
            let exactness = if missing == 0 { Exactness::AtEnd } else { Exactness::BeyondEnd { missing } };
            return at(self.covered_to, exactness);
        }
        let next = self.runs.partition_point(|run| run.target_last() < t);
        match self.runs.get(next) {
            Some(run) if run.target_first <= t => {
                at(run.source_first.plus(t.since(run.target_first)), Exactness::Exact)
            }
            Some(run) => at(run.source_first, Exactness::NextKept),
            None => at(self.covered_to, Exactness::NextKept),
        }
    }

    /// Where the record at source offset `x` landed; `None` when this map knows no copy of it.
    #[must_use]
    pub fn landed(&self, x: SourceOffset) -> Option<TargetOffset> {
        let run = self.runs.get(self.runs.partition_point(|run| run.source_last < x))?;
        (run.source_first <= x).then(|| run.target_first.plus(x.since(run.source_first)))
    }

    /// Which source record lies at target offset `t`; `None` when this map knows of none there.
    #[must_use]
    pub fn origin(&self, t: TargetOffset) -> Option<SourceOffset> {
        let run = self.runs.get(self.runs.partition_point(|run| run.target_last() < t))?;
        (run.target_first <= t).then(|| run.source_first.plus(t.since(run.target_first)))
    }

    /// The first target offset from `t` on that holds no copy this map knows of; `target_to` at most.
    #[must_use]
    pub fn first_not_copied(&self, t: TargetOffset) -> TargetOffset {
        let mut at = t;
        for run in &self.runs[self.runs.partition_point(|run| run.target_last() < t)..] {
            if run.target_first > at {
                break;
            }
            at = run.target_last().next();
        }
        at
    }

    /// Forgets what the target no longer holds below its log start.
    pub fn trim_target(&mut self, log_start: TargetOffset) {
        if log_start <= self.target_from {
            return;
        }
        self.target_from = log_start;
        if log_start < self.target_known {
            return; // trimmed in the part that lost its exactness: its records are still there from `log_start` on
        }
        let gone = self.runs.partition_point(|run| run.target_last() < log_start);
        self.runs.drain(..gone);
        self.target_known = log_start;
        self.target_to = self.target_to.max(log_start);
        self.covered_from = match self.runs.first_mut() {
            Some(run) => {
                let cut = log_start.since(run.target_first);
                run.source_first = run.source_first.plus(cut);
                run.target_first = run.target_first.plus(cut);
                run.source_first
            }
            None => self.covered_to,
        };
        self.source_from = self.covered_from;
    }

    /// The target lost its tail from `log_end` on: what landed there is void. Answers the new position, from which to copy again.
    pub fn void_target_from(&mut self, log_end: TargetOffset) -> SourceOffset {
        if log_end < self.target_to {
            self.cut_source(self.translate_back(log_end).offset);
            self.target_from = self.target_from.min(log_end);
            self.target_known = self.target_known.min(log_end);
            self.target_to = log_end;
        }
        self.covered_to
    }

    /// The source lost its tail from `log_end` on: what is copied beyond it is void. New records there will land after everything mapped so far.
    pub fn void_source_from(&mut self, log_end: SourceOffset) {
        if log_end < self.covered_to {
            self.cut_source(log_end);
        }
    }

    /// For the fold of the progress topic: what is not covered yet lands at `base` or later.
    pub(super) fn set_target_to(&mut self, base: TargetOffset) {
        self.target_to = base;
        self.target_known = self.target_known.min(base);
        self.target_from = self.target_from.min(base);
    }

    /// For the fold of the progress topic: records below the map may lie from `floor` on.
    pub(super) fn lower_target_from(&mut self, floor: TargetOffset) {
        self.target_from = self.target_from.min(floor);
    }

    /// Forgets every source offset at or after `from`, but not how far the target was written.
    fn cut_source(&mut self, from: SourceOffset) {
        let keep = self.runs.partition_point(|run| run.source_first < from);
        self.runs.truncate(keep);
        if let Some(last) = self.runs.last_mut() {
            last.source_last = last.source_last.min(SourceOffset(from.get().saturating_sub(1)));
        }
        self.covered_to = self.covered_to.min(from);
        self.covered_from = self.covered_from.min(from);
        self.source_from = self.source_from.min(from);
    }

    /// Gives up the exactness of the older half of the runs; `target_from` stays, so that their records are read again rather than skipped.
    fn coarsen(&mut self) {
        self.runs.drain(..self.runs.len() / 2);
        if let Some(first) = self.runs.first() {
            self.covered_from = first.source_first;
            self.target_known = first.target_first;
        }
    }
}

#[cfg(test)]
#[path = "offset_map_tests.rs"]
mod tests;
