//! What a pipeline keeps of a lane beside the lane itself: what is held back, timers, and the figures for metrics and views.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::shared::FlowShared;
use super::view::LaneView;
use crate::cluster::carried::Carried;
use crate::cluster::ends::{Seen, SeenTopic};
use crate::cluster::progress_topic::now_ms;
use crate::core::batch::{Batch, Session};
use crate::core::gap::Gap;
use crate::core::ids::{SourceOffset, TopicId};
use crate::core::lane::{Command, Event, Lane, State, StopReason};
use crate::core::offset_map::Run;
use crate::retry::Retry;
use crate::telemetry::{events, names};

/// Records, bytes and newest timestamp of what became or becomes durable together.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    records: u64,
    bytes: u64,
    newest: i64,
}

impl Load {
    fn add(&mut self, other: Load) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.newest = self.newest.max(other.newest);
    }
}

/// A lane in its pipeline.
pub(super) struct Slot {
    pub lane: Lane,
    /// Commands not yet done: they wait for a reset.
    pub held: VecDeque<Command<Carried>>,
    /// The session whose reset of the sink is under way.
    pub waits_for: Option<Session>,
    pub retry_at: Option<Instant>,
    /// Batches that wait for the map of another flow, and since when; nothing of the lane goes past them.
    pub unjudged: VecDeque<(Batch<Carried>, Instant)>,
    /// The lane asked for no more batches.
    pub paused: bool,
    /// So many batches wait to be judged that no more of them are read.
    pub is_full: bool,
    /// The target topic's ID when the lane was opened.
    pub target_topic_id: TopicId,
    /// The source topic's ID when the lane was opened.
    pub topic_id: TopicId,
    /// The ticket of the write that is under way, and what it covers.
    pub asked: Option<u64>,
    covered: Load,
    retry: Retry,
    /// Sent and not acknowledged, by first offset.
    on_the_way: BTreeMap<SourceOffset, Load>,
    /// Acknowledged, and not yet part of a write.
    acked: Load,
    read_to: SourceOffset,
    read_at: Instant,
    moved_at: Instant,
    /// When it was last known to be caught up, while it is not.
    behind_since: Option<Instant>,
    last_position: Option<SourceOffset>,
    reason: Option<String>,
}

impl Slot {
    pub fn new(lane: Lane) -> Self {
        let now = Instant::now();
        Slot {
            lane,
            held: VecDeque::new(),
            waits_for: None,
            retry_at: None,
            unjudged: VecDeque::new(),
            paused: false,
            is_full: false,
            target_topic_id: TopicId::UNKNOWN,
            topic_id: TopicId::UNKNOWN,
            asked: None,
            covered: Load::default(),
            retry: Retry::default(),
            on_the_way: BTreeMap::new(),
            acked: Load::default(),
            read_to: SourceOffset::ZERO,
            read_at: now,
            moved_at: now,
            behind_since: Some(now),
            last_position: None,
            reason: None,
        }
    }

    pub fn restart(&mut self, from: SourceOffset) {
        self.read(from);
        self.on_the_way.clear();
        self.unjudged.clear();
        (self.paused, self.is_full) = (false, false);
        self.acked = Load::default();
        self.reason = None;
    }

    pub fn read(&mut self, to: SourceOffset) {
        (self.read_to, self.read_at) = (to, Instant::now());
    }

    pub fn sent(&mut self, batch: &Batch<Carried>) {
        let load = Load {
            records: u64::from(batch.summary.records),
            bytes: batch.summary.bytes,
            newest: batch.summary.timestamp_max,
        };
        self.on_the_way.insert(batch.range.from, load);
    }

    pub fn acked(&mut self, from: SourceOffset, runs: &[Run]) {
        if let Some(mut load) = self.on_the_way.remove(&from) {
            load.records = runs.iter().map(Run::count).sum();
            self.acked.add(load);
        }
    }

    pub fn ask(&mut self, ticket: u64) {
        self.asked = Some(ticket);
        // what an unanswered write covered before is covered by this one too
        let acked = std::mem::take(&mut self.acked);
        self.covered.add(acked);
    }

    /// A write came back: metrics move here and nowhere earlier.
    pub fn durable(&mut self, ticket: u64, shared: &FlowShared) {
        if self.asked != Some(ticket) {
            return;
        }
        self.asked = None;
        self.retry.reset();
        let load = std::mem::take(&mut self.covered);
        if load.records > 0 {
            let age_seconds = (load.newest > 0).then(|| (now_ms() - load.newest) as f64 / 1_000.0);
            let (flow, topic) = (shared.flow.name.as_str(), self.lane.id().topic().as_str());
            events::Delivered { flow, topic, records: load.records, bytes: load.bytes, age_seconds }.emit();
        }
    }

    pub fn report_gap(&mut self, gap: &Gap, shared: &FlowShared) {
        events::GapFound {
            flow: shared.flow.name.as_str(),
            topic: gap.lane.topic().as_str(),
            partition: gap.lane.partition.0,
            range: gap.range.to_string(),
            offsets: gap.range.offsets(),
            cause: gap.cause.name(),
            passed: gap.passed,
        }
        .emit();
    }

    pub fn back_off(&mut self, reason: String, shared: &FlowShared) {
        let delay = self.retry.delay();
        events::Retrying { flow: shared.flow.name.as_str(), kind: "lane", reason: &reason, delay }.emit();
        self.retry_at = Some(Instant::now() + delay);
        self.reason = Some(reason);
        self.asked = None;
        self.covered = Load::default();
    }

    pub fn stopped(&mut self, reason: &StopReason, shared: &Arc<FlowShared>) {
        let words = words(reason);
        let id = self.lane.id();
        let (topic, partition) = (id.topic().as_str(), id.partition.0);
        events::LaneStopped { flow: shared.flow.name.as_str(), topic, partition, reason: &words }.emit();
        self.reason = Some(words);
        self.asked = None;
    }

    /// What the ends board has for the lane, as an event; `None` when there is nothing new to tell.
    pub fn look(&mut self, seen: Option<Seen>, topic: Option<SeenTopic>) -> Option<Event<Carried>> {
        if *self.lane.state() != State::Running || self.waits_for.is_some() {
            return None;
        }
        let ends = seen.as_ref().map(|seen| seen.ends).or(self.lane.ends())?;
        match topic {
            Some(SeenTopic::Gone) => return Some(Event::SourceSeen { topic_id: None, ends }),
            Some(SeenTopic::Is(id)) if !id.may_be(self.lane.id().generation.id) => {
                return Some(Event::SourceSeen { topic_id: Some(id), ends });
            }
            _ => {}
        }
        let seen = seen?;
        let mut ends = seen.ends;
        if seen.at <= self.read_at {
            // older than what was read: it proves nothing about the end
            ends.high_watermark = ends.high_watermark.max(self.read_to);
            ends.last_stable = ends.last_stable.max(self.read_to);
            ends.log_start = ends.log_start.min(self.read_to);
        }
        let topic_id = Some(self.lane.id().generation.id);
        (self.lane.ends() != Some(ends)).then_some(Event::SourceSeen { topic_id, ends })
    }

    /// Publishes the lane's view and adds it to its topic's figures.
    pub fn publish(&mut self, trouble: Option<String>, shared: &FlowShared, figures: &mut TopicFigures) {
        let position = self.lane.position();
        let caught_up = self.lane.is_caught_up() && trouble.is_none();
        if position != self.last_position || caught_up {
            self.last_position = position;
            self.moved_at = Instant::now();
        }
        self.behind_since = if caught_up { None } else { self.behind_since.or_else(|| Some(Instant::now())) };
        let running = *self.lane.state() == State::Running;
        let reason = if running { trouble } else { self.reason.clone() };
        let ends = self.lane.ends();
        let lag_records = ends.zip(position).map(|(ends, position)| ends.last_stable.since(position));
        let (in_flight_records, in_flight_bytes) = self.lane.in_flight();
        let view = LaneView {
            lane: self.lane.id().clone(),
            target_topic: self.lane.target_topic().clone(),
            state: self.lane.state().clone(),
            reason,
            position,
            target_position: None,
            log_start: ends.map(|ends| ends.log_start),
            high_watermark: ends.map(|ends| ends.high_watermark),
            last_stable: ends.map(|ends| ends.last_stable),
            lag_records,
            caught_up,
            in_flight_records,
            in_flight_bytes,
            settled: self.lane.is_settled(),
            attempt: self.retry.attempt(),
            progress_age_seconds: 0.0,
        };
        figures.add(&view, self.moved_at, self.behind_since);
        shared.publish(view, self.moved_at);
    }
}

/// Sums over the lanes of a topic.
#[derive(Debug, Default)]
pub(super) struct TopicFigures {
    lag: u64,
    oldest_seconds: f64,
    behind_seconds: f64,
    states: BTreeMap<&'static str, u32>,
}

/// The states a lane can be in, so that a gauge that falls to 0 is set and not forgotten.
const STATES: [&str; 6] = ["opening", "running", "draining", "ledgering", "backing_off", "stopped"];

impl TopicFigures {
    fn add(&mut self, view: &LaneView, moved_at: Instant, behind_since: Option<Instant>) {
        self.lag += view.lag_records.unwrap_or(0);
        let behind = behind_since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        self.behind_seconds = self.behind_seconds.max(behind);
        if !view.caught_up {
            self.oldest_seconds = self.oldest_seconds.max(moved_at.elapsed().as_secs_f64());
        }
        *self.states.entry(view.state_name()).or_default() += 1;
    }

    pub fn emit(&self, flow: &str, topic: &str) {
        let labels = [("flow", flow.to_owned()), ("topic", topic.to_owned())];
        metrics::gauge!(names::LAG_RECORDS, &labels).set(self.lag as f64);
        metrics::gauge!(names::LAG_SECONDS, &labels).set(self.behind_seconds);
        metrics::gauge!(names::PROGRESS_AGE, &labels).set(self.oldest_seconds);
        for state in STATES {
            let count = self.states.get(state).copied().unwrap_or(0);
            let labels = [("flow", flow.to_owned()), ("topic", topic.to_owned()), ("state", state.to_owned())];
            metrics::gauge!(names::LANES, &labels).set(f64::from(count));
        }
    }
}

/// Why a lane stands, for a person.
fn words(reason: &StopReason) -> String {
    match reason {
        StopReason::Paused => "paused".to_owned(),
        StopReason::Gap(gap) => {
            format!("gap {} ({}): `causeway flow resume` accepts it and goes on behind it", gap.range, gap.cause.name())
        }
        StopReason::Poison { range, reason } => format!("records {range} cannot be copied: {reason}"),
        StopReason::OtherGeneration { topic_id } => format!("the topic was re-created at the source as {topic_id}"),
        StopReason::TopicDeleted => "the topic was deleted at the source".to_owned(),
        StopReason::Refused { reason } => reason.clone(),
        StopReason::Fenced { reason } => format!("fenced: {reason}"),
        StopReason::Bug { reason } => format!("a mistake of our own: {reason}"),
    }
}
