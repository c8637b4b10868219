//! One process of the daemon for one flow: drives lanes as the runtime does, one small step at a time.
#[path = "loops.rs"]
mod loops;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use causeway::cluster::fake::{FakeRecords, FakeSink, FakeSource, Late, Odds, ProgressLog, Shared};
use causeway::cluster::ports::{Sink as _, SinkEvent, Source as _, SourceEvent};
use causeway::core::{
    batch::{Batch, Session, SourceEnds},
    ids::{LaneId, PartitionId, SourceOffset, TopicId, TopicName, UnixMillis},
    lane::{self, Command, Event, Failure, Lane, Opening, Plan, Policy, Start, State, StopReason},
    planted::{self, Bug},
    progress::{Progress, Record},
    provenance::Judgement,
};

pub const NOW: UnixMillis = UnixMillis(1);
/// Looks at a batch whose claims wait for the map of the other flow, before it has waited as long as it may.
const WAITS_MAX: u32 = 60;

/// Batches that wait for the other map before the source is read again.
const UNJUDGED_MAX: usize = 4;

struct Slot {
    lane: Lane,
    held: VecDeque<Command<FakeRecords>>,
    waits_for: Option<Session>,
    retry: bool,
    unjudged: VecDeque<(Batch<FakeRecords>, u32)>,
    target_topic_id: TopicId,
}

struct Ask {
    lane: LaneId,
    ticket: u64,
    records: Vec<Record>,
}

/// What a step of the daemon touches besides itself.
pub struct Around<'a> {
    pub log: &'a mut ProgressLog,
    /// The progress of the opposite flow, on a cycle.
    pub other: Option<&'a Progress>,
    /// What went wrong, as a law.
    pub broken: &'a mut Vec<String>,
}

pub struct Daemon {
    pub owner: String,
    pub epoch: causeway::core::ids::FlowEpoch,
    pub state: Progress,
    next: u64,
    pub source: Shared,
    pub target: Shared,
    reader: FakeSource,
    writer: FakeSink,
    slots: BTreeMap<LaneId, Slot>,
    targets: BTreeMap<LaneId, TopicName>,
    asks: VecDeque<Ask>,
    reopen: VecDeque<LaneId>,
    policy: Policy,
    rng: fastrand::Rng,
    cyclic: bool,
    /// Copies are told by the producer that wrote them, not by what they say of themselves.
    by_producer: bool,
    pub fenced: bool,
    /// What it writes its progress with; none after a write whose outcome is unknown.
    pub pen: Option<u64>,
    /// Looks at the log before a write, as it should; false in the moment between a look and a write.
    pub looks: bool,
}

impl Daemon {
    /// Starts: loads the state (from a cache that ends at an older offset, or from the front) and claims the flow.
    pub fn start(
        ends: (Shared, Shared),
        cache: (Progress, u64),
        log: &mut ProgressLog,
        setup: (Policy, Odds, bool, bool),
        mut rng: fastrand::Rng,
    ) -> Self {
        let ((mut state, next), (policy, odds, cyclic, exactly_once)) = (cache, setup);
        let next = log.catch_up(&mut state, next);
        let owner = format!("daemon-{}", rng.u64(..));
        let epoch = state.epoch().next();
        let pen = log.take_pen();
        assert!(log.append_with(pen, &[Record::claim(epoch, owner.clone(), NOW)]), "nobody was faster");
        let reader = FakeSource::new(ends.0.clone(), cyclic && !exactly_once, rng.fork());
        let writer = FakeSink::new(ends.1.clone(), odds, rng.fork()).exactly_once(exactly_once);
        let (source, target) = ends;
        let mut daemon = Daemon {
            owner,
            epoch,
            state,
            next,
            source,
            target,
            reader,
            writer,
            slots: BTreeMap::new(),
            targets: BTreeMap::new(),
            asks: VecDeque::new(),
            reopen: VecDeque::new(),
            policy,
            rng,
            cyclic,
            by_producer: cyclic && exactly_once,
            fenced: false,
            pen: Some(pen),
            looks: true,
        };
        daemon.catch_up(log);
        daemon
    }

    fn catch_up(&mut self, log: &ProgressLog) {
        self.next = log.catch_up(&mut self.state, self.next);
    }

    /// A copy of its local cache: the state, and the log offset it is of.
    pub fn cache(&self) -> (Progress, u64) {
        (self.state.clone(), self.next)
    }
    pub fn die(self) -> Vec<Late> {
        self.writer.die()
    }
    pub fn heal(&mut self) {
        (self.looks, _) = (true, self.writer.heal());
    }
    pub fn disconnect(&mut self, topic: &TopicName) {
        self.writer.disconnect(topic);
    }
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.slots.values().map(|slot| &slot.lane)
    }
    pub fn is_done(&self) -> bool {
        let done = |lane: &Lane| lane.is_caught_up() || matches!(lane.state(), State::Stopped(_));
        self.asks.is_empty() && self.reopen.is_empty() && self.lanes().all(done) && self.writer.busy().is_empty()
    }
    /// Somebody accepts what lanes stand before.
    pub fn resume(&mut self, around: &mut Around<'_>) {
        let gap = |slot: &Slot| matches!(slot.lane.state(), State::Stopped(StopReason::Gap(_) | StopReason::Paused));
        let ids: Vec<LaneId> = self.slots.iter().filter(|(_, slot)| gap(slot)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.drive(&id, Event::Resume, around);
        }
    }
    /// Looks for lanes of the source's topics that are not open yet, as the runtime's discovery does.
    fn discover(&mut self) {
        let mut found = Vec::new();
        for (name, topic) in &self.source.borrow().topics {
            for partition in 0..topic.partitions.len() as i32 {
                let plan = lane::plan(&self.state, name, topic.id, PartitionId(partition));
                let (Plan::Open(id) | Plan::Recreated(id)) = plan;
                found.push((id, name.clone()));
            }
        }
        for (id, name) in found {
            if !self.targets.contains_key(&id) {
                self.targets.insert(id.clone(), name);
                self.reopen.push_back(id);
            }
        }
    }

    fn open(&mut self, id: &LaneId, around: &mut Around<'_>) {
        let Some(known) = self.targets.get(id).cloned() else { return };
        let durable = self.state.lane(id).cloned();
        let topic = durable.as_ref().map_or(known, |state| state.target_topic().clone());
        let partitions = self.source.borrow().topics.get(id.topic()).map_or(1, |topic| topic.partitions.len());
        if self.target.borrow().topic_id(&topic).is_none() {
            self.target.borrow_mut().create(&topic, partitions);
        }
        let (Some(source_topic_id), Some(target_topic_id)) =
            (self.source.borrow().topic_id(id.topic()), self.target.borrow().topic_id(&topic))
        else {
            return self.reopen.push_back(id.clone());
        };
        let partition = id.partition.0;
        let mut source = self.source.borrow_mut().log(id.topic(), partition).unwrap().source_ends();
        if source_topic_id != id.generation.id {
            // as the runtime does: of a generation that is gone, what is known of its end is how far it was copied
            let copied = durable.as_ref().map(|state| state.position()).unwrap_or_default();
            source = SourceEnds { high_watermark: copied, last_stable: copied, ..SourceEnds::default() };
        }
        let target = self.target.borrow_mut().log(&topic, partition).unwrap().target_ends();
        let lane = Lane::new(id.clone(), topic.clone(), self.epoch, self.policy, self.state.suppressed(id));
        let opening = Opening { durable, source_topic_id, source, target_topic_id, target, start: Start::Earliest };
        self.writer.route(id, &topic, target_topic_id);
        let slot = self.slots.entry(id.clone()).or_insert_with(|| Slot {
            lane,
            held: VecDeque::new(),
            waits_for: None,
            retry: false,
            unjudged: VecDeque::new(),
            target_topic_id,
        });
        slot.target_topic_id = target_topic_id;
        self.drive(id, Event::Opened(opening), around);
    }

    /// One small step.
    pub fn step(&mut self, around: &mut Around<'_>) {
        if self.fenced {
            return;
        }
        match self.rng.u32(0..10) {
            0..3 => {
                let unjudged: usize = self.slots.values().map(|slot| slot.unjudged.len()).sum();
                let events = if unjudged < UNJUDGED_MAX { self.reader.poll(Duration::ZERO) } else { Vec::new() };
                for event in events {
                    self.source_event(event, around);
                }
                self.judge_waiting(around);
            }
            3..5 => {
                for lane in self.writer.busy() {
                    self.writer.land_one(&lane);
                }
            }
            5..7 => {
                for event in self.writer.poll(Duration::ZERO) {
                    self.sink_event(event, around);
                }
            }
            7 => self.write(around),
            8 => self.timers(around),
            _ => self.tick(around),
        }
    }

    fn timers(&mut self, around: &mut Around<'_>) {
        self.discover();
        if let Some(id) = self.reopen.pop_front() {
            self.open(&id, around);
        }
        let due: Vec<LaneId> = self.slots.iter().filter(|(_, slot)| slot.retry).map(|(id, _)| id.clone()).collect();
        for id in due {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.retry = false;
            }
            self.drive(&id, Event::RetryNow, around);
        }
    }

    fn tick(&mut self, around: &mut Around<'_>) {
        for id in self.slots.keys().cloned().collect::<Vec<_>>() {
            if self.slots[&id].waits_for.is_some() {
                continue;
            }
            let topic = self.slots[&id].lane.target_topic().clone();
            let topic_id = self.source.borrow().topic_id(id.topic());
            let ends = self.source.borrow_mut().log(id.topic(), id.partition.0).map(|log| log.source_ends());
            if let Some(ends) = ends {
                self.drive(&id, Event::SourceSeen { topic_id, ends }, around);
            }
            let topic_id = self.target.borrow().topic_id(&topic);
            let ends = self.target.borrow_mut().log(&topic, id.partition.0).map(|log| log.target_ends());
            if let (Some(topic_id), Some(ends), true) = (topic_id, ends, self.rng.bool()) {
                self.drive(&id, Event::TargetSeen { topic_id, ends }, around);
            }
        }
    }

    fn write(&mut self, around: &mut Around<'_>) {
        if self.asks.is_empty() {
            return;
        }
        if self.looks {
            self.catch_up(around.log);
        }
        let held = self.state.is_held_by(self.epoch, &self.owner) || planted::is(Bug::IgnoreEpoch);
        if !held {
            return self.fence(around);
        }
        let Some(pen) = self.pen else { return self.take_pen(around) };
        let Some(ask) = self.asks.front() else { return };
        let whole = ask.records.len();
        // the outcome of some writes is unknown, a part is there: all of it is written again
        let unknown = self.rng.u32(0..20) == 0;
        let part = if unknown { self.rng.usize(0..=whole) } else { whole };
        let landed = if planted::is(Bug::IgnoreEpoch) {
            around.log.append(&ask.records[..part]);
            true
        } else {
            around.log.append_with(pen, &ask.records[..part])
        };
        if !landed || unknown {
            self.pen = None;
            return;
        }
        self.catch_up(around.log);
        if !self.state.is_held_by(self.epoch, &self.owner) && !planted::is(Bug::IgnoreEpoch) {
            return self.fence(around);
        }
        if let Some(Ask { lane, ticket, .. }) = self.asks.pop_front() {
            self.drive(&lane, Event::Durable { ticket }, around);
        }
    }

    /// Takes the pen anew, and then looks whether it is still its own.
    fn take_pen(&mut self, around: &mut Around<'_>) {
        let pen = around.log.take_pen();
        let landed = around.log.append_with(pen, &[Record::fence(self.owner.clone())]);
        self.catch_up(around.log);
        if !self.state.is_held_by(self.epoch, &self.owner) && !planted::is(Bug::IgnoreEpoch) {
            return self.fence(around);
        }
        self.pen = landed.then_some(pen);
    }

    fn fence(&mut self, around: &mut Around<'_>) {
        self.fenced = true;
        for id in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.drive(&id, Event::Failed(Failure::Fence { reason: "another holds it".into() }), around);
        }
    }

    fn drive(&mut self, id: &LaneId, event: Event<FakeRecords>, around: &mut Around<'_>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let commands = slot.lane.on(event, NOW);
        let (records, _) = slot.lane.in_flight();
        let waited = if self.cyclic { (UNJUDGED_MAX + 1) * 6 } else { 6 };
        if records > self.policy.limits.records + waited as u64 {
            around.broken.push(format!("L7 {id}: {records} records in flight"));
        }
        slot.held.extend(commands);
        while let Some(slot) = self.slots.get_mut(id).filter(|slot| slot.waits_for.is_none()) {
            let Some(command) = slot.held.pop_front() else { return };
            self.command(id, command, around);
        }
    }

    fn command(&mut self, id: &LaneId, command: Command<FakeRecords>, around: &mut Around<'_>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        match command {
            Command::ResetSource { from, session } => {
                slot.unjudged.clear();
                self.reader.reset(id, from, session);
            }
            Command::ResetSink { session, from } => {
                slot.waits_for = Some(session);
                self.writer.reset(id, session, from);
            }
            Command::PauseSource => self.reader.pause(id),
            Command::ResumeSource => self.reader.resume(id),
            Command::Produce { batch, skip } => self.writer.produce(batch, skip),
            Command::Persist { ticket, records, .. } => {
                self.asks.push_back(Ask { lane: id.clone(), ticket, records });
            }
            Command::ReportGap(_) => {}
            Command::Backoff { .. } => slot.retry = true,
            Command::Reopen => self.reopen.push_back(id.clone()),
            Command::NextGeneration { topic_id, own_target } => {
                let old = slot.lane.target_topic().clone();
                let topic = if own_target { lane::next_generation_topic(&old, topic_id) } else { old };
                let next = LaneId::new(id.topic().clone(), topic_id, id.partition.0);
                // discovery may have opened it already, when nothing of the old generation was durable yet: then it has its target
                if !self.targets.contains_key(&next) {
                    self.targets.insert(next.clone(), topic);
                    self.reopen.push_back(next);
                }
            }
            Command::Stopped(reason) => {
                if let StopReason::Bug { reason } = &reason {
                    around.broken.push(format!("BUG {id} stopped: {reason}"));
                }
                self.reader.close(id);
            }
        }
    }

    fn source_event(&mut self, event: SourceEvent<FakeRecords>, around: &mut Around<'_>) {
        match event {
            SourceEvent::Batch(batch) => {
                let id = batch.lane.clone();
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.unjudged.push_back((batch, 0));
                    self.judge(&id, around);
                }
            }
            SourceEvent::CaughtUp { lane, session, ends } => {
                if self.slots.get(&lane).is_some_and(|slot| slot.lane.session() == session) {
                    let topic_id = Some(lane.generation.id);
                    self.drive(&lane, Event::SourceSeen { topic_id, ends }, around);
                }
            }
            SourceEvent::OutOfRange { lane, session, topic_id, ends } => {
                if self.slots.get(&lane).is_some_and(|slot| slot.lane.session() == session) {
                    self.drive(&lane, Event::SourceSeen { topic_id, ends }, around);
                    if *self.slots[&lane].lane.state() == State::Running {
                        let reason = "the ends explain nothing".to_owned();
                        self.drive(&lane, Event::Failed(Failure::Retry { reason }), around);
                    }
                }
            }
            SourceEvent::Failed { lane, failure, .. } => self.drive(&lane, Event::Failed(failure), around),
        }
    }

    fn sink_event(&mut self, event: SinkEvent, around: &mut Around<'_>) {
        match event {
            SinkEvent::Acked { lane, session, range, runs } => {
                self.drive(&lane, Event::Acked { session, range, runs }, around);
            }
            SinkEvent::ResetDone { lane, session } => {
                if let Some(slot) = self.slots.get_mut(&lane).filter(|slot| slot.waits_for == Some(session)) {
                    slot.waits_for = None;
                    self.drive(&lane, Event::SourceDiverged { at: SourceOffset(i64::MAX) }, around);
                }
            }
            SinkEvent::Failed { lane, session, failure } => {
                if self.slots.get(&lane).is_some_and(|slot| slot.lane.session() == session) {
                    self.drive(&lane, Event::Failed(failure), around);
                }
            }
        }
    }

    fn judge_waiting(&mut self, around: &mut Around<'_>) {
        for id in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.judge(&id, around);
        }
    }

    fn judge(&mut self, id: &LaneId, around: &mut Around<'_>) {
        while let Some((mut batch, waits)) = self.slots.get_mut(id).and_then(|slot| slot.unjudged.pop_front()) {
            if batch.session != self.slots[id].lane.session() {
                continue;
            }
            let (mut suppressed, mut forged, mut before) = (Vec::new(), 0, BTreeMap::new());
            for claim in &batch.summary.claims {
                match self.judge_one(id, claim, &batch, waits, around.other) {
                    Judgement::Suppress => suppressed.push(claim.at),
                    Judgement::PassForged => forged += 1,
                    Judgement::WaitForMap => {
                        let slot = self.slots.get_mut(id).unwrap();
                        return slot.unjudged.push_front((batch, waits + 1));
                    }
                    _ => drop(before.insert(claim.at, claim.hops.clone())),
                }
            }
            if self.by_producer {
                self.leave_out_copies(id, &mut batch);
            } else if self.cyclic {
                loops::stamp(&mut batch, &before, &self.source.borrow().id);
            }
            self.slots.get_mut(id).unwrap().lane.count_forged(forged);
            self.drive(id, Event::Fetched { batch, suppressed }, around);
        }
    }
}
