//! The lane as a pure state machine: [`Event`]s in, [`Command`]s out (architecture, section 4). It holds no payload, no clock, no connection.
//!
//! One rule recovers from every failure: forget what is in flight, read the durable state again, set both ends to it ([`Command::Reopen`]).
//! Whatever changes what the durable state *means* (a first start, a gap, a voided map) is made durable before copying goes on.
mod event;
mod generation;
mod open;
mod trouble;
mod window;

pub use event::{
    Command, Event, Failure, GapPolicy, GenerationPolicy, Limits, Opening, Policy, Start, State, StopReason,
};
pub use generation::{Plan, is_closed, next_generation_topic, plan};

use self::{
    trouble::Trouble,
    window::{Sent, Window},
};
use super::{
    batch::{Batch, Session, SourceEnds, SourceRange},
    held::Held,
    ids::{FlowEpoch, LaneId, SourceOffset, TargetOffset, TopicId, TopicName, UnixMillis},
    offset_map::{AppendError, Run},
    planted::{self, Bug},
    progress::{LaneState, Record, Suppressed},
};

/// Poison ranges a lane passes over before it stops although the policy says go on: a target that refuses everything is not poison.
pub const POISON_RANGES_MAX: usize = 1000;

/// What happens when the outstanding `Persist` is durable and nothing else is left to write.
#[derive(Debug, Clone, PartialEq, Eq)]
enum After {
    GoOn,
    Reopen,
    PassPoison(SourceRange),
    NextGeneration { topic_id: TopicId, own_target: bool },
    Stop(StopReason),
}

/// One lane of a flow.
#[derive(Debug, Clone)]
pub struct Lane {
    id: LaneId,
    epoch: FlowEpoch,
    target_topic: TopicName,
    policy: Policy,
    state: State,
    session: Session,
    /// What is acknowledged, durable or about to be. `None` until opened.
    work: Option<LaneState>,
    /// Where the next batch has to start.
    read_to: SourceOffset,
    window: Window,
    source_paused: bool,
    ticket: u64,
    /// Ticket, position and target end of the `Persist` that is not answered yet.
    outstanding: Option<(u64, SourceOffset, TargetOffset)>,
    /// The newest ticket that is not answered yet, also when nobody waits for it any more.
    unwritten: Option<u64>,
    /// `Reopen` is to be said when everything is written.
    reopens: bool,
    dirty: bool,
    /// Ledger lines to be written before the next chunk.
    owed: Vec<Record>,
    durable: Option<SourceOffset>,
    durable_target_to: Option<TargetOffset>,
    attempt: u32,
    ends: Option<SourceEnds>,
    trouble: Option<Trouble>,
    after: After,
    /// Poison ranges that the ledger has and the policy lets us pass over.
    poison: Vec<SourceRange>,
    gap_accepted: bool,
    suppressed: Suppressed,
    suppressed_dirty: bool,
    /// Where held-back records lie at the target; `None` off a cycle.
    held: Option<Held>,
    held_dirty: bool,
}

impl Lane {
    /// A lane that waits for `Opened`. `suppressed` is its counter so far (`Progress::suppressed`).
    #[must_use]
    pub fn new(id: LaneId, target_topic: TopicName, epoch: FlowEpoch, policy: Policy, suppressed: Suppressed) -> Self {
        Lane {
            id,
            epoch,
            target_topic,
            policy,
            state: State::Opening,
            session: Session(0),
            work: None,
            read_to: SourceOffset::ZERO,
            window: Window::default(),
            source_paused: false,
            ticket: 0,
            outstanding: None,
            unwritten: None,
            reopens: false,
            dirty: false,
            owed: Vec::new(),
            durable: None,
            durable_target_to: None,
            attempt: 0,
            ends: None,
            trouble: None,
            after: After::GoOn,
            poison: Vec::new(),
            gap_accepted: false,
            suppressed,
            suppressed_dirty: false,
            held: None,
            held_dirty: false,
        }
    }

    /// The lane's name.
    #[must_use]
    pub fn id(&self) -> &LaneId {
        &self.id
    }
    /// The target topic's name.
    #[must_use]
    pub fn target_topic(&self) -> &TopicName {
        &self.target_topic
    }
    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }
    /// The durable position: what metrics show. `None` before the first durable state is known.
    #[must_use]
    pub fn position(&self) -> Option<SourceOffset> {
        self.durable
    }
    /// The source's ends as last seen.
    #[must_use]
    pub fn ends(&self) -> Option<SourceEnds> {
        self.ends
    }
    /// Source offsets between the durable position and the high watermark: an upper bound of the records not copied yet.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        Some(self.ends?.high_watermark.since(self.durable?))
    }
    /// Records and bytes sent and not yet released.
    #[must_use]
    pub fn in_flight(&self) -> (u64, u64) {
        (self.window.records(), self.window.bytes())
    }
    /// True when everything that was sent is acknowledged and written down.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.window.is_empty() && !self.dirty && self.outstanding.is_none()
    }
    /// Tries in a row that failed.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
    /// The session of the last reset.
    #[must_use]
    pub fn session(&self) -> Session {
        self.session
    }
    /// True when everything read is copied and durable, up to the source's last stable offset as last seen.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let at_end = |ends: SourceEnds| self.durable.is_some_and(|position| position >= ends.last_stable);
        self.state == State::Running && self.window.is_empty() && !self.dirty && self.ends.is_some_and(at_end)
    }
    /// The lane lies on a cycle: from now on it is written down where held-back records lie at the target.
    #[must_use]
    pub fn on_a_cycle(mut self, held: Option<Held>) -> Self {
        self.held_dirty = held.is_none();
        self.held = Some(held.unwrap_or_default());
        self
    }
    /// Notes where a record that is held back lies at the target. To be said before its batch is `Fetched`. Where nobody knows, it may lie anywhere
    /// behind the last one, and readers from before it are sent there.
    pub fn note_held(&mut self, source: SourceOffset, target: Option<TargetOffset>) {
        if let Some(held) = &mut self.held {
            held.push(source, target.or_else(|| held.end()).unwrap_or(TargetOffset::ZERO));
            self.held_dirty = true;
        }
    }
    /// Counts records that were left out of a batch before it is `Fetched`: another flow brings them to the target, or they come from there.
    pub fn count_left_out(&mut self, records: u64) {
        self.suppressed.records += records;
        self.suppressed_dirty |= records > 0;
    }
    /// Counts records that were found to be forged or copied by an application, and were delivered.
    pub fn count_forged(&mut self, records: u64) {
        self.suppressed.forged += records;
        self.suppressed_dirty |= records > 0;
    }

    /// Takes in what happened and answers what to do, in order. `now` goes into ledger lines only.
    pub fn on<P>(&mut self, event: Event<P>, now: UnixMillis) -> Vec<Command<P>> {
        let mut out = Vec::new();
        match event {
            Event::Opened(opening) => self.opened(opening, now, &mut out),
            Event::Fetched { batch, suppressed } => self.fetched(batch, suppressed, now, &mut out),
            Event::Acked { session, range, runs } => self.acked(session, range, runs, now, &mut out),
            Event::Durable { ticket } => self.on_durable(ticket, now, &mut out),
            Event::Failed(failure) => self.failed(failure, now, &mut out),
            Event::RetryNow => {
                if self.state == State::BackingOff {
                    self.reopen(&mut out);
                }
            }
            Event::SourceSeen { topic_id, ends } => self.source_seen(topic_id, ends, now, &mut out),
            Event::SourceDiverged { at } => {
                if self.is_copying() && at < self.read_to {
                    self.found(Trouble::Truncated { at }, now, &mut out);
                }
            }
            Event::TargetSeen { topic_id, ends } => self.target_seen(topic_id, ends, &mut out),
            Event::Pause => {
                if !matches!(self.state, State::Stopped(_)) {
                    out.push(Command::PauseSource);
                    self.stop(StopReason::Paused, &mut out);
                }
            }
            Event::Resume => self.resume(&mut out),
        }
        out
    }

    fn is_copying(&self) -> bool {
        self.state == State::Running
    }

    fn fetched<P>(
        &mut self,
        batch: Batch<P>,
        suppressed: Vec<SourceOffset>,
        now: UnixMillis,
        out: &mut Vec<Command<P>>,
    ) {
        if batch.session != self.session || !self.is_copying() {
            return; // read before the last reset, or while the lane stands: it will be read again
        }
        self.ends = Some(batch.ends);
        let range = batch.range;
        if range.from != self.read_to {
            if range.from > self.read_to && batch.ends.log_start > self.read_to {
                return self.found(Trouble::Retention { log_start: batch.ends.log_start }, now, out);
            }
            let reason = format!("source answered {range} where {} was due", self.read_to);
            return self.failed(Failure::Retry { reason }, now, out);
        }
        self.suppressed.records += suppressed.len() as u64;
        self.suppressed_dirty |= !suppressed.is_empty();
        self.read_to = range.to;
        let records = u64::from(batch.summary.records).saturating_sub(suppressed.len() as u64);
        let mut skip = suppressed;
        let held = skip.len();
        self.add_poison(range, &mut skip);
        let mut sent = Sent {
            range,
            records,
            // a poison record may have been compacted away since: the payload is not looked into, so only the sink knows
            skipped_at_most: (skip.len() - held) as u64,
            bytes: batch.summary.bytes,
            leader_epoch: batch.ends.leader_epoch,
            landed: (records == 0).then(Vec::new),
        };
        if planted::is(Bug::CommitBeforeAck) && records > 0 {
            let end = self.work.as_ref().map_or(TargetOffset::ZERO, |work| work.map().target_to());
            sent.landed = Some(vec![Run::new(range.from, records.min(range.offsets()), end)]);
        }
        self.window.push(sent);
        if records > 0 {
            out.push(Command::Produce { batch, skip });
        }
        if self.window.is_full(&self.policy.limits) && !self.source_paused {
            self.source_paused = true;
            out.push(Command::PauseSource);
        }
        self.release(now, out);
    }

    /// Adds the offsets of ledgered poison in this range to what is not written.
    fn add_poison(&self, range: SourceRange, skip: &mut Vec<SourceOffset>) {
        for poison in &self.poison {
            let (from, to) = (poison.from.max(range.from), poison.to.min(range.to));
            skip.extend((from.get()..to.get()).map(SourceOffset));
        }
        skip.sort_unstable();
        skip.dedup();
    }

    fn acked<P>(
        &mut self,
        session: Session,
        range: SourceRange,
        runs: Vec<Run>,
        now: UnixMillis,
        out: &mut Vec<Command<P>>,
    ) {
        // while a line is being written the window is empty, or was given up: a late answer says nothing any more
        let standing = matches!(self.state, State::Opening | State::BackingOff | State::Ledgering);
        if session != self.session || standing || planted::is(Bug::CommitBeforeAck) {
            return;
        }
        if !self.window.landed(range, runs) {
            let reason = format!("the sink acknowledged {range}, which was not sent like that");
            return self.failed(Failure::Bug { reason }, now, out);
        }
        if planted::is(Bug::CommitPastHole)
            && let (Some(from), Some(work)) = (self.window.forget_older_than_acked(), self.work.as_mut())
        {
            let hole = SourceRange::new(work.position(), from);
            work.append(hole, &[], work.leader_epoch()).expect("a planted bug's hole starts at the position");
        }
        self.release(now, out);
    }

    /// Moves the longest acknowledged prefix from the window to the map, and has it written down.
    fn release<P>(&mut self, now: UnixMillis, out: &mut Vec<Command<P>>) {
        while let Some((sent, runs)) = self.window.release() {
            let Some(work) = self.work.as_mut() else { return };
            if let Err(error) = work.append(sent.range, &runs, sent.leader_epoch) {
                if let AppendError::NotAscending { got_target, .. } = error
                    && got_target < work.map().target_to()
                {
                    return self.target_fell_back(got_target, now, out);
                }
                return self.failed(Failure::Bug { reason: error.to_string() }, now, out);
            }
            self.dirty = true;
        }
        if self.source_paused && self.is_copying() && self.window.has_room(&self.policy.limits) {
            self.source_paused = false;
            out.push(Command::ResumeSource);
        }
        self.settle(now, out);
    }

    fn on_durable<P>(&mut self, ticket: u64, now: UnixMillis, out: &mut Vec<Command<P>>) {
        // the writer keeps the order: with the newest ticket all older ones are durable
        if self.unwritten == Some(ticket) {
            self.unwritten = None;
            self.reopen_if_written(out);
        }
        let Some((_, position, target_to)) = self.outstanding.take_if(|(waiting, _, _)| *waiting == ticket) else {
            return;
        };
        self.durable = Some(position);
        self.durable_target_to = Some(target_to);
        self.attempt = 0;
        self.poison.retain(|range| range.to > position);
        self.settle(now, out);
    }

    /// With nothing outstanding: the next write, or the step that waited for the last one.
    fn settle<P>(&mut self, now: UnixMillis, out: &mut Vec<Command<P>>) {
        if self.outstanding.is_some() {
            return;
        }
        if self.dirty {
            return self.persist(out);
        }
        match self.state {
            State::Draining if self.window.is_empty() => self.write_ledger(now, out),
            State::Ledgering => match std::mem::replace(&mut self.after, After::GoOn) {
                After::GoOn => self.go(out),
                After::Reopen => self.reopen(out),
                After::PassPoison(range) => {
                    self.poison.push(range);
                    self.reopen(out);
                }
                After::NextGeneration { topic_id, own_target } => {
                    out.push(Command::NextGeneration { topic_id, own_target });
                    self.stop(StopReason::OtherGeneration { topic_id }, out);
                }
                After::Stop(reason) => self.stop(reason, out),
            },
            _ => {}
        }
    }

    /// Asks for the ledger lines owed and then the work so far to be made durable.
    fn persist<P>(&mut self, out: &mut Vec<Command<P>>) {
        let Some(work) = self.work.as_mut() else { return };
        let mut records = std::mem::take(&mut self.owed);
        records.extend(work.take_records());
        let position = work.position();
        if let Some(held) = self.held.as_ref().filter(|_| self.held_dirty) {
            // before the chunk: a position is never durable without what was held back before it
            records.insert(0, Record::held(self.id.clone(), held.clone()));
        }
        self.held_dirty = false;
        if std::mem::take(&mut self.suppressed_dirty) {
            records.push(Record::suppressed(self.id.clone(), self.suppressed));
        }
        self.ticket += 1;
        self.dirty = false;
        self.unwritten = Some(self.ticket);
        self.outstanding = Some((self.ticket, position, work.map().target_to()));
        out.push(Command::Persist { ticket: self.ticket, records, position });
    }

    /// Sets both ends to the acknowledged position and copies.
    fn go<P>(&mut self, out: &mut Vec<Command<P>>) {
        let Some(work) = self.work.as_ref() else { return };
        self.read_to = work.position();
        let from = work.map().target_to();
        self.session = self.session.next();
        self.window.clear();
        self.source_paused = false;
        self.gap_accepted = false;
        self.state = State::Running;
        out.push(Command::ResetSink { session: self.session, from });
        out.push(Command::ResetSource { from: self.read_to, session: self.session });
    }

    /// Begins anew from the durable state, once that has everything that was asked to be written: a write that becomes durable after the state was
    /// read would be undone by the next one.
    fn reopen<P>(&mut self, out: &mut Vec<Command<P>>) {
        self.state = State::Opening;
        self.forget();
        self.reopens = true;
        self.reopen_if_written(out);
    }

    fn reopen_if_written<P>(&mut self, out: &mut Vec<Command<P>>) {
        if self.reopens && self.unwritten.is_none() {
            self.reopens = false;
            out.push(Command::Reopen);
        }
    }

    /// Forgets what was under way besides the durable state.
    fn forget(&mut self) {
        self.window.clear();
        self.trouble = None;
        self.after = After::GoOn;
        self.outstanding = None;
        self.dirty = false;
        self.owed.clear();
    }

    fn stop<P>(&mut self, reason: StopReason, out: &mut Vec<Command<P>>) {
        self.state = State::Stopped(reason.clone());
        out.push(Command::Stopped(reason));
    }

    fn resume<P>(&mut self, out: &mut Vec<Command<P>>) {
        match &self.state {
            State::Stopped(StopReason::Fenced { .. }) => {} // only a new claim, by a new process, makes this instance a writer again
            State::Stopped(reason) => {
                self.gap_accepted = matches!(reason, StopReason::Gap(_));
                self.reopen(out);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
