//! What can be wrong with a lane, and the one way through: drain, write the ledger line, then stop or go on (L5, L8).
use super::{After, Command, Failure, GapPolicy, GenerationPolicy, Lane, POISON_RANGES_MAX, State, StopReason};
use crate::core::{
    batch::{SourceEnds, SourceRange},
    gap::{Gap, GapCause},
    ids::{SourceOffset, TargetOffset, TopicId, UnixMillis},
    planted::{self, Bug},
    progress::Record,
};

/// Something that needs a ledger line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The log start is beyond what was read.
    Retention { log_start: SourceOffset },
    /// The source lost everything from here on.
    Truncated { at: SourceOffset },
    /// The topic's ID is another one.
    Recreated { topic_id: TopicId },
    /// The topic is gone.
    Deleted,
    /// The next range cannot be read.
    Unreadable { range: SourceRange, reason: String },
}

impl Lane {
    /// Notes the trouble; what is in flight lands first, so that the line's range is exact.
    pub(super) fn found<P>(&mut self, trouble: Trouble, now: UnixMillis, out: &mut Vec<Command<P>>) {
        self.trouble = Some(trouble);
        self.state = State::Draining;
        self.source_paused = true;
        out.push(Command::PauseSource);
        self.settle(now, out);
    }

    /// Everything read is durable: write the line.
    pub(super) fn write_ledger<P>(&mut self, now: UnixMillis, out: &mut Vec<Command<P>>) {
        let (Some(trouble), Some(work)) = (self.trouble.take(), self.work.as_mut()) else { return };
        let position = work.position();
        let last_end = self.ends.map_or(position, |ends| ends.high_watermark);
        let go_on = self.policy.gap == GapPolicy::Record || self.gap_accepted;
        let (range, cause) = match &trouble {
            Trouble::Retention { log_start } => (SourceRange::new(position, *log_start), GapCause::RetentionOvertook),
            Trouble::Truncated { at } => (SourceRange::new(*at, position), GapCause::SourceTruncated),
            Trouble::Recreated { .. } => (SourceRange::new(position, last_end), GapCause::TopicRecreated),
            Trouble::Deleted => (SourceRange::new(position, last_end), GapCause::TopicDeleted),
            Trouble::Unreadable { range, reason } => {
                (SourceRange::new(position, range.to), GapCause::Poison { reason: reason.clone() })
            }
        };
        let passed = match &trouble {
            Trouble::Retention { .. } | Trouble::Truncated { .. } => go_on,
            Trouble::Unreadable { .. } => self.policy.poison == GapPolicy::Record,
            Trouble::Recreated { .. } => self.policy.generation != GenerationPolicy::Fail,
            Trouble::Deleted => false,
        };
        let lane = self.id.clone();
        let gap = Gap { lane, range, cause, passed, found_at: now, epoch: self.epoch };
        self.after = match trouble {
            Trouble::Recreated { topic_id } => {
                let own_target = self.policy.generation == GenerationPolicy::NewTargetGeneration;
                match passed {
                    true => After::NextGeneration { topic_id, own_target },
                    false => After::Stop(StopReason::OtherGeneration { topic_id }),
                }
            }
            Trouble::Deleted => After::Stop(StopReason::TopicDeleted),
            Trouble::Truncated { at } if passed => {
                work.void_source_from(at);
                After::Reopen
            }
            _ if passed => {
                let leader_epoch = work.leader_epoch();
                work.append(range, &[], leader_epoch).expect("the range starts at the position and holds no run");
                After::GoOn
            }
            Trouble::Unreadable { range, reason } => After::Stop(StopReason::Poison { range, reason }),
            _ => After::Stop(StopReason::Gap(gap.clone())),
        };
        self.ledger(gap, now, out);
    }

    fn ledger<P>(&mut self, gap: Gap, now: UnixMillis, out: &mut Vec<Command<P>>) {
        self.state = State::Ledgering;
        self.dirty = true;
        if !(planted::is(Bug::SkipGapSilently) && gap.passed) {
            // an empty range says only that something happened (a topic deleted with nothing left to copy): kept as a line too
            out.push(Command::ReportGap(gap.clone()));
            self.owed.push(Record::gap(gap));
        }
        self.settle(now, out);
    }

    pub(super) fn source_seen<P>(
        &mut self,
        topic_id: Option<TopicId>,
        ends: SourceEnds,
        now: UnixMillis,
        out: &mut Vec<Command<P>>,
    ) {
        if !self.is_copying() {
            return;
        }
        let trouble = match topic_id {
            None => Some(Trouble::Deleted),
            Some(id) => self.source_trouble(id, &ends),
        };
        match trouble {
            // of another generation or none: the ends last seen are those of the topic that was copied
            Some(trouble @ (Trouble::Deleted | Trouble::Recreated { .. })) => self.found(trouble, now, out),
            Some(trouble) => {
                self.ends = Some(ends);
                self.found(trouble, now, out);
            }
            None => self.ends = Some(ends),
        }
    }

    pub(super) fn failed<P>(&mut self, failure: Failure, now: UnixMillis, out: &mut Vec<Command<P>>) {
        if matches!(self.state, State::Stopped(ref reason) if *reason != StopReason::Paused) {
            return; // it stands already, and says why
        }
        match failure {
            Failure::Retry { .. } if matches!(self.state, State::Stopped(_)) => self.window.clear(),
            Failure::Retry { reason } => self.back_off(reason, out),
            Failure::Fence { reason } => self.halt(StopReason::Fenced { reason }, out),
            Failure::Refuse { reason } => self.halt(StopReason::Refused { reason }, out),
            Failure::Bug { reason } => self.halt(StopReason::Bug { reason }, out),
            Failure::Poison { range, reason } => self.poisoned(range, reason, now, out),
        }
    }

    fn back_off<P>(&mut self, reason: String, out: &mut Vec<Command<P>>) {
        if planted::is(Bug::ResumeSourceAfterFailure) && self.is_copying() {
            // what was in flight is taken for done, and reading simply goes on
            if let Some(work) = self.work.as_mut() {
                let leader_epoch = work.leader_epoch();
                let range = SourceRange::new(work.position(), self.read_to);
                work.append(range, &[], leader_epoch).expect("from the position on");
            }
            self.window.clear();
            self.session = self.session.next();
            let from = self.work.as_ref().map_or(TargetOffset::ZERO, |work| work.map().target_to());
            out.push(Command::ResetSink { session: self.session, from });
            out.push(Command::ResetSource { from: self.read_to, session: self.session });
            return;
        }
        self.attempt = self.attempt.saturating_add(1);
        self.state = State::BackingOff;
        self.forget();
        out.push(Command::PauseSource);
        out.push(Command::Backoff { attempt: self.attempt, reason });
    }

    fn halt<P>(&mut self, reason: StopReason, out: &mut Vec<Command<P>>) {
        self.forget();
        out.push(Command::PauseSource);
        self.stop(reason, out);
    }

    /// A range that no retry will bring over.
    fn poisoned<P>(&mut self, range: SourceRange, reason: String, now: UnixMillis, out: &mut Vec<Command<P>>) {
        if matches!(self.state, State::Stopped(_)) {
            return self.halt(StopReason::Poison { range, reason }, out);
        }
        if range.from >= self.read_to {
            // the source cannot read it: everything before it is on its way and lands first
            return self.found(Trouble::Unreadable { range, reason }, now, out);
        }
        if planted::is(Bug::SkipPoisonSilently) {
            self.poison.push(range);
            return self.back_off(reason, out);
        }
        // the target refuses it: nothing after it was written either. The line first, then again from the durable position, without it
        let passed = self.policy.poison == GapPolicy::Record && self.poison.len() < POISON_RANGES_MAX;
        let cause = GapCause::Poison { reason: reason.clone() };
        let gap = Gap { lane: self.id.clone(), range, cause, passed, found_at: now, epoch: self.epoch };
        self.window.clear();
        self.source_paused = true;
        out.push(Command::PauseSource);
        self.after = match passed {
            true => After::PassPoison(range),
            false => After::Stop(StopReason::Poison { range, reason }),
        };
        self.ledger(gap, now, out);
    }
}
