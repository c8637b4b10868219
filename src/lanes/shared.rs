//! What one flow lets others see and say: written by its tasks and pipelines, read by status, health and commands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::watch;

use super::engine::Choice;
use super::mailbox::{Mailbox, ToPipeline};
use super::view::{EndView, FlowView, LaneView, Phase, Refusal};
use crate::cluster::{Admin, pen::SharedPen};
use crate::config::valid::Flow;
use crate::core::ids::{FlowEpoch, LaneId};
use crate::core::lane::{Event, State};
use crate::core::progress::Progress;

/// A flow's clusters and its hold on it: there while it runs.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Where it reads.
    pub source: Admin,
    /// Where it writes.
    pub target: Admin,
    /// The epoch this process claimed.
    pub epoch: FlowEpoch,
    /// The name under which it claimed it.
    pub owner: String,
    /// What is durable, kept up to date with the progress topic.
    pub progress: Arc<RwLock<Progress>>,
    /// With what the progress topic is written.
    pub pen: SharedPen,
}

#[derive(Debug, Default)]
struct Inner {
    phase: Phase,
    reason: Option<String>,
    paused: bool,
    source_id: Option<String>,
    target_id: Option<String>,
    lanes: BTreeMap<LaneId, (LaneView, Instant)>,
    refused: BTreeMap<String, String>,
    pipelines: BTreeMap<LaneId, Mailbox>,
    caught_up_at: Option<Instant>,
    choice: Option<Choice>,
}

/// The shared side of a flow.
#[derive(Debug)]
pub struct FlowShared {
    /// Its settings.
    pub flow: Flow,
    inner: Mutex<Inner>,
    connected: watch::Sender<Option<Connected>>,
    started: Instant,
}

impl FlowShared {
    /// A flow that has not begun.
    #[must_use]
    pub fn new(flow: Flow) -> Self {
        FlowShared { flow, inner: Mutex::default(), connected: watch::Sender::new(None), started: Instant::now() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clusters and the hold; none while it does not run.
    #[must_use]
    pub fn connected(&self) -> Option<Connected> {
        self.connected.borrow().clone()
    }

    /// To be told when the flow begins or ceases to run.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Option<Connected>> {
        self.connected.subscribe()
    }

    /// It runs now, or does no more.
    pub fn set_connected(&self, connected: Option<Connected>) {
        self.connected.send_replace(connected);
    }

    /// Its engine, and why it is this one.
    pub fn set_choice(&self, choice: Choice) {
        self.lock().choice = Some(choice);
    }

    /// What it is doing, and why.
    pub fn set_phase(&self, phase: Phase, reason: Option<String>) {
        let mut inner = self.lock();
        // a fenced flow stays so until a new process claims it
        if inner.phase != Phase::Fenced {
            (inner.phase, inner.reason) = (phase, reason);
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// What is in its way just now, or that nothing is any more.
    pub fn set_reason(&self, reason: Option<String>) {
        let mut inner = self.lock();
        if inner.phase == Phase::Running {
            inner.reason = reason;
        }
    }

    /// The cluster IDs met.
    pub fn set_cluster_ids(&self, source: Option<String>, target: Option<String>) {
        let mut inner = self.lock();
        inner.source_id = source.or_else(|| inner.source_id.take());
        inner.target_id = target.or_else(|| inner.target_id.take());
    }

    /// A topic that is not copied, or is again.
    pub fn set_refusal(&self, topic: &str, reason: Option<String>) {
        let mut inner = self.lock();
        match reason {
            Some(reason) if inner.refused.get(topic) == Some(&reason) => {}
            Some(reason) => {
                tracing::warn!(flow = %self.flow.name, topic, reason, "topic refused");
                inner.refused.insert(topic.to_owned(), reason);
            }
            None => {
                inner.refused.remove(topic);
            }
        }
    }

    /// Forgets refusals of topics that are not among these any more.
    pub fn keep_refusals(&self, topics: &BTreeSet<String>) {
        self.lock().refused.retain(|topic, _| topics.contains(topic));
    }

    /// Which pipeline carries a lane.
    pub fn set_pipeline(&self, lane: LaneId, mailbox: Mailbox) {
        self.lock().pipelines.insert(lane, mailbox);
    }

    /// The pipeline that carries a lane.
    #[must_use]
    pub fn pipeline(&self, lane: &LaneId) -> Option<Mailbox> {
        self.lock().pipelines.get(lane).cloned()
    }

    /// Lanes that are carried.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneId> {
        self.lock().pipelines.keys().cloned().collect()
    }

    /// A lane's newest view; `moved_at` is when it last moved or was found caught up.
    pub fn publish(&self, view: LaneView, moved_at: Instant) {
        self.lock().lanes.insert(view.lane.clone(), (view, moved_at));
    }

    /// True while somebody has the flow paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.lock().paused
    }

    /// Pauses every lane, now and to come.
    pub fn pause(&self) {
        self.tell_all(true);
    }

    /// Goes on with every paused lane, and accepts the gaps of lanes that stand before one.
    pub fn resume(&self) {
        self.tell_all(false);
    }

    fn tell_all(&self, paused: bool) {
        let mut inner = self.lock();
        inner.paused = paused;
        for (lane, mailbox) in &inner.pipelines {
            let event = if paused { Event::Pause } else { Event::Resume };
            mailbox.send(ToPipeline::Tell { lane: lane.clone(), event });
        }
    }

    /// Goes on with one stopped lane.
    #[must_use]
    pub fn resume_lane(&self, lane: &LaneId) -> bool {
        let mailbox = self.pipeline(lane);
        if let Some(mailbox) = &mailbox {
            mailbox.send(ToPipeline::Tell { lane: lane.clone(), event: Event::Resume });
        }
        mailbox.is_some()
    }

    /// Another instance holds the flow: nothing more is written (L6).
    pub fn fence(&self, reason: &str) {
        let mailboxes = {
            let mut inner = self.lock();
            if inner.phase == Phase::Fenced {
                return;
            }
            (inner.phase, inner.reason) = (Phase::Fenced, Some(reason.to_owned()));
            inner.pipelines.values().cloned().collect::<Vec<_>>()
        };
        tracing::error!(flow = %self.flow.name, reason, "flow fenced, this instance writes no more");
        for mailbox in mailboxes {
            mailbox.send(ToPipeline::Fence { reason: reason.to_owned() });
        }
        self.set_connected(None);
    }

    /// Both ends, as far as they were met.
    #[must_use]
    pub fn ends(&self) -> (EndView, EndView) {
        let inner = self.lock();
        let end = |alias: &str, id: &Option<String>| EndView { alias: alias.to_owned(), cluster_id: id.clone() };
        (end(self.flow.from.as_str(), &inner.source_id), end(self.flow.to.as_str(), &inner.target_id))
    }

    /// Everything there is to say.
    #[must_use]
    pub fn view(&self) -> FlowView {
        let connected = self.connected();
        let (gaps, loop_records_dropped) = match &connected {
            Some(connected) => {
                let progress = connected.progress.read().unwrap_or_else(PoisonError::into_inner);
                let suppressed = progress.lanes().map(|lane| progress.suppressed(lane.lane()).records).sum();
                (progress.gaps().cloned().collect(), suppressed)
            }
            None => (Vec::new(), 0),
        };
        let mut inner = self.lock();
        let now = Instant::now();
        let mut lanes: Vec<LaneView> = Vec::with_capacity(inner.lanes.len());
        for (view, moved_at) in inner.lanes.values() {
            let age = if view.caught_up { 0.0 } else { now.duration_since(*moved_at).as_secs_f64() };
            lanes.push(LaneView { progress_age_seconds: age, ..view.clone() });
        }
        let topics: BTreeSet<_> = lanes.iter().map(|view| view.lane.topic()).collect();
        let topics = topics.len();
        let behind = inner.phase != Phase::Running || lanes.iter().any(|view| !view.caught_up);
        if !behind {
            inner.caught_up_at = Some(now);
        }
        // what was written since everything was last known to be copied
        let rpo =
            if behind { now.duration_since(inner.caught_up_at.unwrap_or(self.started)).as_secs_f64() } else { 0.0 };
        let end = |alias: &str, id: &Option<String>| EndView { alias: alias.to_owned(), cluster_id: id.clone() };
        FlowView {
            name: self.flow.name.to_string(),
            source: end(self.flow.from.as_str(), &inner.source_id),
            target: end(self.flow.to.as_str(), &inner.target_id),
            state: inner.phase,
            paused: inner.paused,
            reason: inner.reason.clone(),
            engine: inner.choice.map(|choice| choice.engine.name().to_owned()),
            engine_reason: inner.choice.map(|choice| choice.why.to_owned()),
            delivery: inner.choice.map(|choice| choice.delivery.name().to_owned()),
            epoch: connected.as_ref().map(|connected| connected.epoch),
            owner: connected.map(|connected| connected.owner),
            topics,
            lag_records: lanes.iter().filter_map(|view| view.lag_records).sum(),
            rpo_estimate_seconds: rpo,
            lanes,
            refused: inner
                .refused
                .iter()
                .map(|(topic, reason)| Refusal { topic: topic.clone(), reason: reason.clone() })
                .collect(),
            gaps,
            loop_records_dropped,
        }
    }

    /// Lanes that neither moved nor were found caught up for longer than this, and lanes that stopped by themselves.
    #[must_use]
    pub fn stuck(&self, longer_than: std::time::Duration) -> Vec<String> {
        let view = self.view();
        let mut stuck = Vec::new();
        if view.state != Phase::Running {
            let reason = view.reason.unwrap_or_default();
            stuck.push(format!("flow {} is {}: {reason}", view.name, view.state.name()));
        }
        for lane in view.lanes {
            let stopped =
                matches!(&lane.state, State::Stopped(reason) if *reason != crate::core::lane::StopReason::Paused);
            if stopped || (lane.progress_age_seconds > longer_than.as_secs_f64() && !view.paused) {
                let reason = lane.reason.clone().unwrap_or_default();
                stuck.push(format!("lane {} of {} is {}: {reason}", lane.lane, view.name, lane.state_name()));
            }
        }
        stuck
    }
}
