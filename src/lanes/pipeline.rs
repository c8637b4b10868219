//! A pipeline: one thread, one consumer, one producer, and the lanes of a topic (or of several, past [`PIPELINES_MAX`]). It decides nothing: it
//! tells lanes what happened and does what they answer, in their order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::guard::{Guard, Ruling};
use super::mailbox::{Mailbox, ToPipeline};
use super::shared::FlowShared;
use super::slot::Slot;
use super::writer::Ask;
use crate::cluster::carried::Carried;
use crate::cluster::ends::EndsBoard;
use crate::cluster::ports::{Sink, SinkEvent, Source, SourceEvent};
use crate::cluster::progress_topic::now_ms;
use crate::core::batch::Batch;
use crate::core::ids::{LaneId, TopicId, UnixMillis};
use crate::core::lane::{Command, Event, Failure, Lane, Opening};

/// Pipelines per flow, each with about six threads and a few MB of buffers; further topics share them.
pub const PIPELINES_MAX: usize = 16;
/// Wait for records while acknowledgements are due: they are seen at most this late.
const WAIT_BUSY: Duration = Duration::from_millis(2);
/// Wait for records while nothing is under way.
const WAIT_IDLE: Duration = Duration::from_millis(20);
/// Between two views published, and two looks at ends.
const TICK: Duration = Duration::from_millis(100);
/// Batches of a lane that may wait for the map of another flow before no more of it are read; what gathers at the source meanwhile comes in fewer,
/// larger ones. Other lanes are read on: one of them may be what the other flow waits for.
const UNJUDGED_MAX: usize = 8;
/// How long a stopping pipeline waits for what is on its way; the next start finds it in the target anyway, as duplicates.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Both ends of a pipeline, of one engine.
pub type Ends = (Box<dyn Source<Payload = Carried> + Send>, Box<dyn Sink<Payload = Carried> + Send>);

/// What a pipeline asks of its flow.
#[derive(Debug)]
pub enum FromPipeline {
    /// Look at both ends of the lane and open it anew.
    Reopen(LaneId),
    /// The topic was re-created and the policy says to copy it.
    NextGeneration {
        /// The lane of the old generation.
        lane: LaneId,
        /// The new generation's ID.
        topic_id: TopicId,
        /// Whether it gets a target topic of its own.
        own_target: bool,
    },
}

/// The state of the thread.
pub struct Pipeline {
    pub(super) shared: Arc<FlowShared>,
    pub(super) mailbox: Mailbox,
    pub(super) source: Box<dyn Source<Payload = Carried> + Send>,
    pub(super) sink: Box<dyn Sink<Payload = Carried> + Send>,
    pub(super) ends: EndsBoard,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) flow: mpsc::Sender<FromPipeline>,
    pub(super) slots: HashMap<LaneId, Slot>,
    pub(super) waiting_asks: VecDeque<Ask>,
    pub(super) waiting_words: VecDeque<FromPipeline>,
    pub(super) next_tick: Instant,
    /// When the first of the lanes that back off is due; `None`: none does.
    pub(super) next_timer: Option<Instant>,
    pub(super) stopping: Option<Instant>,
    pub(super) fenced: bool,
    pub(super) guard: Option<Guard>,
}

impl Pipeline {
    /// A pipeline of these ends; [`Pipeline::run`] is its thread.
    #[must_use]
    pub fn new(
        shared: Arc<FlowShared>,
        mailbox: Mailbox,
        ends: Ends,
        board: EndsBoard,
        asks: mpsc::Sender<Ask>,
        flow: mpsc::Sender<FromPipeline>,
        guard: Option<Guard>,
    ) -> Self {
        Pipeline {
            shared,
            mailbox,
            source: ends.0,
            sink: ends.1,
            ends: board,
            asks,
            flow,
            slots: HashMap::new(),
            waiting_asks: VecDeque::new(),
            waiting_words: VecDeque::new(),
            next_tick: Instant::now(),
            next_timer: None,
            stopping: None,
            fenced: false,
            guard,
        }
    }

    /// Runs until told to stop.
    pub fn run(mut self) {
        while !self.is_done() {
            for message in self.mailbox.take() {
                self.take_message(message);
            }
            self.turn();
            self.judge_waiting();
            self.send_waiting();
            self.fire_timers();
            if Instant::now() >= self.next_tick {
                self.next_tick = Instant::now() + TICK;
                self.tick();
            }
        }
    }

    /// One look at both ends. With a full sink the source is not read: back-pressure, never a drop.
    fn turn(&mut self) {
        let reads = self.stopping.is_none() && !self.fenced && !self.sink.is_full();
        if reads {
            let wait = if self.sink.in_flight() > 0 { WAIT_BUSY } else { WAIT_IDLE };
            for event in self.source.poll(wait) {
                self.source_event(event);
            }
        }
        let wait = if reads { Duration::ZERO } else { WAIT_BUSY };
        for event in self.sink.poll(wait) {
            self.sink_event(event);
        }
    }

    fn is_done(&self) -> bool {
        if self.fenced {
            return true;
        }
        let Some(since) = self.stopping else { return false };
        let idle = self.sink.in_flight() == 0
            && !self.sink.is_full()
            && self.waiting_asks.is_empty()
            && self.slots.values().all(|slot| slot.asked.is_none());
        idle || since.elapsed() > DRAIN_MAX
    }

    fn take_message(&mut self, message: ToPipeline) {
        match message {
            ToPipeline::Open { lane, opening } => self.open(*lane, *opening),
            ToPipeline::Prepare { lane } => {
                self.slots.entry(lane.id().clone()).or_insert_with(|| Slot::new(*lane));
            }
            ToPipeline::Tell { lane, event } => {
                if let (Event::Durable { ticket }, Some(slot)) = (&event, self.slots.get_mut(&lane)) {
                    slot.durable(*ticket, &self.shared);
                }
                self.drive(&lane, event);
            }
            ToPipeline::Takes { target_topic, bytes_max } => self.sink.set_bytes_max(&target_topic, bytes_max),
            ToPipeline::Stop => self.stopping = Some(self.stopping.unwrap_or_else(Instant::now)),
            ToPipeline::Fence { reason } => {
                self.fenced = true;
                self.sink.abandon();
                for lane in self.slots.keys().cloned().collect::<Vec<_>>() {
                    self.drive(&lane, Event::Failed(Failure::Fence { reason: reason.clone() }));
                }
                self.tick();
            }
        }
    }

    fn open(&mut self, lane: Lane, opening: Opening) {
        let id = lane.id().clone();
        self.sink.route(&id, lane.target_topic(), opening.target_topic_id);
        if let Some(guard) = &mut self.guard {
            guard.opened(lane.target_topic(), id.partition);
        }
        let slot = self.slots.entry(id.clone()).or_insert_with(|| Slot::new(lane));
        slot.topic_id = opening.source_topic_id;
        slot.target_topic_id = opening.target_topic_id;
        self.drive(&id, Event::Opened(opening));
        if self.shared.is_paused() {
            self.drive(&id, Event::Pause);
        }
    }

    /// Tells a lane, and does what it answers.
    fn drive(&mut self, id: &LaneId, event: Event<Carried>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        let commands = slot.lane.on(event, UnixMillis(now_ms()));
        slot.held.extend(commands);
        self.execute(id);
    }

    /// Does what the lane asked for, in order; what comes after a reset of the sink waits until that is done.
    fn execute(&mut self, id: &LaneId) {
        loop {
            let Some(slot) = self.slots.get_mut(id) else { return };
            if slot.waits_for.is_some() {
                return;
            }
            let Some(command) = slot.held.pop_front() else { return };
            self.command(id, command);
        }
    }

    fn command(&mut self, id: &LaneId, command: Command<Carried>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        match command {
            Command::ResetSource { from, session } => {
                slot.restart(from);
                self.source.reset(id, from, session);
            }
            Command::ResetSink { session, from } => {
                slot.waits_for = Some(session);
                self.sink.reset(id, session, from);
            }
            Command::PauseSource => {
                slot.paused = true;
                self.source.pause(id);
            }
            Command::ResumeSource => {
                slot.paused = false;
                if !slot.is_full {
                    self.source.resume(id);
                }
            }
            Command::Produce { batch, skip } => {
                slot.sent(&batch);
                self.sink.produce(batch, skip);
            }
            Command::Persist { ticket, records, .. } => {
                slot.ask(ticket);
                self.waiting_asks.push_back(Ask { lane: id.clone(), ticket, records, reply: self.mailbox.clone() });
            }
            Command::ReportGap(gap) => slot.report_gap(&gap, &self.shared),
            Command::Backoff { reason, .. } => {
                slot.back_off(reason, &self.shared);
                self.next_timer = self.next_timer.into_iter().chain(slot.retry_at).min();
            }
            Command::Reopen => self.waiting_words.push_back(FromPipeline::Reopen(id.clone())),
            Command::NextGeneration { topic_id, own_target } => {
                let lane = id.clone();
                self.waiting_words.push_back(FromPipeline::NextGeneration { lane, topic_id, own_target });
            }
            Command::Stopped(reason) => {
                slot.stopped(&reason, &self.shared);
                self.source.close(id);
            }
        }
    }

    /// A batch of a flow on a cycle is judged first; one that has to wait holds back what follows it, and the source.
    fn fetched(&mut self, id: &LaneId, batch: Batch<Carried>) {
        if self.guard.is_none() {
            return self.drive(id, Event::Fetched { batch, suppressed: Vec::new() });
        }
        if let Some(slot) = self.slots.get_mut(id) {
            slot.unjudged.push_back((batch, Instant::now()));
            self.judge(id);
        }
    }

    fn judge(&mut self, id: &LaneId) {
        self.judge_all(id);
        let Some(slot) = self.slots.get_mut(id) else { return };
        let is_full = slot.unjudged.len() >= UNJUDGED_MAX;
        if is_full != std::mem::replace(&mut slot.is_full, is_full) {
            match is_full {
                true => self.source.pause(id),
                false if !slot.paused => self.source.resume(id),
                false => {}
            }
        }
    }

    fn judge_all(&mut self, id: &LaneId) {
        loop {
            let (Some(guard), Some(slot)) = (&mut self.guard, self.slots.get_mut(id)) else { return };
            let Some((batch, since)) = slot.unjudged.pop_front() else { return };
            if batch.session != slot.lane.session() {
                continue;
            }
            match guard.judge(batch, since, slot) {
                Ruling::Go { batch, suppressed, waits } => {
                    let has_to_wait = waits.is_some();
                    if let Some(rest) = waits {
                        slot.unjudged.push_front((*rest, since));
                    }
                    self.drive(id, Event::Fetched { batch, suppressed });
                    if has_to_wait {
                        return;
                    }
                }
                Ruling::Wait(batch) => return slot.unjudged.push_front((batch, since)),
                Ruling::Fail(failure) => {
                    slot.unjudged.clear();
                    return self.drive(id, Event::Failed(failure));
                }
            }
        }
    }

    /// Lanes whose oldest batch waits for the map of another flow.
    fn judge_waiting(&mut self) {
        if self.guard.is_none() {
            return;
        }
        let waiting: Vec<LaneId> =
            self.slots.values().filter(|slot| !slot.unjudged.is_empty()).map(|slot| slot.lane.id().clone()).collect();
        for id in waiting {
            self.judge(&id);
        }
    }

    fn source_event(&mut self, event: SourceEvent<Carried>) {
        match event {
            SourceEvent::Batch(batch) => {
                let id = batch.lane.clone();
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.read(batch.range.to);
                }
                self.fetched(&id, batch);
            }
            SourceEvent::CaughtUp { lane, session, ends } => {
                let settled = |slot: &&Slot| slot.lane.session() == session && slot.unjudged.is_empty();
                if let Some(slot) = self.slots.get(&lane).filter(settled) {
                    let topic_id = Some(slot.topic_id);
                    self.drive(&lane, Event::SourceSeen { topic_id, ends });
                }
            }
            SourceEvent::OutOfRange { lane, session, topic_id, ends } => {
                if self.slots.get(&lane).is_some_and(|slot| slot.lane.session() == session) {
                    self.drive(&lane, Event::SourceSeen { topic_id, ends });
                    self.resume_if_unmoved(&lane);
                }
            }
            SourceEvent::Failed { lane, session, failure } => {
                if self.slots.get(&lane).is_some_and(|slot| slot.lane.session() == session) {
                    self.drive(&lane, Event::Failed(failure));
                }
            }
        }
    }

    /// The reader stopped, and the ends it told explain nothing: try again from the durable position.
    fn resume_if_unmoved(&mut self, lane: &LaneId) {
        let running = |slot: &Slot| *slot.lane.state() == crate::core::lane::State::Running;
        if self.slots.get(lane).is_some_and(running) {
            let reason = "the leader does not have the position, though its ends include it".to_owned();
            self.drive(lane, Event::Failed(Failure::Retry { reason }));
        }
    }

    fn sink_event(&mut self, event: SinkEvent) {
        match event {
            SinkEvent::Acked { lane, session, range, runs } => {
                if let Some(slot) = self.slots.get_mut(&lane).filter(|slot| slot.lane.session() == session) {
                    slot.acked(range.from, &runs);
                    self.drive(&lane, Event::Acked { session, range, runs });
                }
            }
            SinkEvent::ResetDone { lane, session } => {
                if let Some(slot) = self.slots.get_mut(&lane).filter(|slot| slot.waits_for == Some(session)) {
                    slot.waits_for = None;
                    self.execute(&lane);
                }
            }
            SinkEvent::Failed { lane, session, failure } => {
                if self.slots.get(&lane).is_some_and(|slot| slot.lane.session() == session) {
                    self.drive(&lane, Event::Failed(failure));
                }
            }
        }
    }

    fn send_waiting(&mut self) {
        while let Some(ask) = self.waiting_asks.pop_front() {
            match self.asks.try_send(ask) {
                Ok(()) => {}
                Err(TrySendError::Full(ask)) => {
                    self.waiting_asks.push_front(ask);
                    break;
                }
                // the writer is gone: the flow was fenced or ends, and says so itself
                Err(TrySendError::Closed(_)) => {}
            }
        }
        while let Some(word) = self.waiting_words.pop_front() {
            match self.flow.try_send(word) {
                Ok(()) => {}
                Err(TrySendError::Full(word)) => {
                    self.waiting_words.push_front(word);
                    break;
                }
                Err(TrySendError::Closed(_)) => {}
            }
        }
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        // looked at on every turn: lanes are only if one of them is due
        if self.next_timer.is_none_or(|at| at > now) {
            return;
        }
        let due = |slot: &&mut Slot| slot.retry_at.is_some_and(|at| at <= now);
        let due: Vec<LaneId> = self
            .slots
            .values_mut()
            .filter(due)
            .map(|slot| {
                slot.retry_at = None;
                slot.lane.id().clone()
            })
            .collect();
        self.next_timer = self.slots.values().filter_map(|slot| slot.retry_at).min();
        for lane in due {
            self.drive(&lane, Event::RetryNow);
        }
    }

    /// Brings ends and topic IDs to the lanes, and publishes what they look like.
    fn tick(&mut self) {
        let lanes: Vec<LaneId> = self.slots.keys().cloned().collect();
        let mut topics: BTreeMap<String, super::slot::TopicFigures> = BTreeMap::new();
        for id in lanes {
            let key = (id.topic().as_str().to_owned(), id.partition.0);
            let seen = self.ends.seen(&key);
            let trouble = self.ends.trouble(&key);
            let topic = self.ends.topic(&key.0);
            if let Some(slot) = self.slots.get_mut(&id) {
                let event = slot.look(seen, topic);
                slot.publish(trouble, &self.shared, topics.entry(key.0).or_default());
                if let Some(event) = event {
                    self.drive(&id, event);
                }
            }
        }
        for (topic, figures) in topics {
            figures.emit(self.shared.flow.name.as_str(), &topic);
        }
    }
}
