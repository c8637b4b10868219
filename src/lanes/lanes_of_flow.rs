//! Which lanes a running flow has: found by its rules, opened in bulk, spread over pipelines.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::engine::Place;
use super::flow::{FlowSetup, with_progress};
use super::guard::Guard;
use super::machine::Machine;
use super::mailbox::{Mailbox, ToPipeline};
use super::naming;
use super::pipeline::{FromPipeline, Pipeline};
use super::provenance::Hops;
use super::router::Router;
use super::shared::{Connected, FlowShared};
use super::targets::{self, Target};
use super::writer::Ask;
use crate::cluster::ends::EndsBoard;
use crate::cluster::offsets::Partition;
use crate::cluster::topics::TopicInfo;
use crate::cluster::{Admin, ClusterError};
use crate::config::valid;
use crate::core::batch::{SourceEnds, TargetEnds};
use crate::core::ids::{FlowEpoch, LaneId, PartitionId, SourceOffset, TopicId, TopicName};
use crate::core::lane::{self, Event, Failure, GapPolicy, Lane, Opening, Plan, Policy, Start};
use crate::core::progress::Progress;

/// What is known of a lane that is open or to be opened.
#[derive(Debug, Clone)]
struct Known {
    target_topic: TopicName,
    start: valid::Start,
    mailbox: Mailbox,
}

struct Thread {
    mailbox: Mailbox,
    handle: JoinHandle<()>,
}

/// The lanes of one flow while it runs.
pub(super) struct LanesOfFlow {
    shared: Arc<FlowShared>,
    machine: Machine,
    aliases: Vec<String>,
    source: Admin,
    target: Admin,
    epoch: FlowEpoch,
    progress: Arc<RwLock<Progress>>,
    board: EndsBoard,
    asks: mpsc::Sender<Ask>,
    words: mpsc::Sender<FromPipeline>,
    lanes: HashMap<LaneId, Known>,
    threads: Vec<Thread>,
    /// Topic to pipeline.
    by_topic: BTreeMap<String, usize>,
    /// Nothing was ever copied when the flow began: only then the flow's `start` counts, later partitions begin at their log start.
    first_start: bool,
    targets: targets::Targets,
    guard: Option<Guard>,
    cyclic: bool,
}

fn guard(setup: &FlowSetup, connected: &Connected, machine: &Machine) -> Option<Guard> {
    let target_id = connected.target.cluster_id().clone();
    match machine {
        Machine::Record { provenance, .. } => provenance.then(|| {
            Guard::Hops(Hops {
                flow: setup.shared.flow.name.to_string(),
                source_id: connected.source.cluster_id().clone(),
                target_id,
                target: connected.target.clone(),
                runtime: tokio::runtime::Handle::current(),
                flows: setup.flows.clone(),
                windows: HashMap::new(),
            })
        }),
        Machine::Batch(_) => (setup.place == Place::Woven)
            .then(|| Guard::Router(Router::new(&setup.shared, target_id, setup.flows.clone()))),
    }
}

impl LanesOfFlow {
    pub fn new(
        setup: &FlowSetup,
        connected: &Connected,
        machine: Machine,
        board: EndsBoard,
        asks: mpsc::Sender<Ask>,
        words: mpsc::Sender<FromPipeline>,
    ) -> Self {
        let first_start = with_progress(&connected.progress, |progress| progress.lanes().next().is_none());
        LanesOfFlow {
            shared: setup.shared.clone(),
            guard: guard(setup, connected, &machine),
            cyclic: setup.cyclic,
            machine,
            aliases: setup.aliases.clone(),
            source: connected.source.clone(),
            target: connected.target.clone(),
            epoch: connected.epoch,
            progress: connected.progress.clone(),
            board,
            asks,
            words,
            lanes: HashMap::new(),
            threads: Vec::new(),
            by_topic: BTreeMap::new(),
            first_start,
            targets: targets::Targets::default(),
        }
    }

    /// A pipeline that ended before it was told to: a mistake of our own, said aloud; its lanes stand until the daemon starts again.
    pub fn broken(&self) -> Option<String> {
        let ended = self.threads.iter().position(|thread| thread.handle.is_finished())?;
        let topics: Vec<&str> =
            self.by_topic.iter().filter(|(_, at)| **at == ended).map(|(topic, _)| topic.as_str()).collect();
        Some(format!("the pipeline of {} ended by a mistake of our own: restart the daemon", topics.join(", ")))
    }

    /// One look at the source's topics: makes and grows their targets, and opens lanes that are new.
    pub async fn discover(&mut self) -> Result<(), ClusterError> {
        let (topics, trouble) = self.source.topics().await?;
        let flow = &self.shared.flow;
        let copied = |name: &str, internal| naming::is_copied(flow, &self.aliases, name, internal);
        let mut seen: BTreeSet<String> = BTreeSet::new();
        for topic in trouble.into_iter().filter(|topic| copied(&topic.name, false)) {
            self.shared
                .set_refusal(&topic.name, Some(format!("the source does not let us look into it: {}", topic.reason)));
            seen.insert(topic.name);
        }
        let topics: Vec<TopicInfo> = topics.into_iter().filter(|topic| copied(&topic.name, topic.internal)).collect();
        let made = {
            let mirrored = |topic: &str| {
                let topic = TopicName::new(topic);
                with_progress(&self.progress, |progress| progress.lanes_of(&topic).count())
            };
            self.targets.ensure(&self.source, &self.target, flow, &topics, mirrored).await?
        };
        let mut fresh = Vec::new();
        for topic in &topics {
            seen.insert(topic.name.clone());
            match &made[&topic.name] {
                Err(refusal) => self.shared.set_refusal(&topic.name, Some(refusal.clone())),
                Ok(target) => {
                    self.shared.set_refusal(&topic.name, target.refusal.clone());
                    fresh.extend(self.new_lanes(topic, target));
                }
            }
        }
        self.shared.keep_refusals(&seen);
        self.first_start = false;
        self.open(fresh).await;
        Ok(())
    }

    /// Lanes of a topic that are not open yet.
    fn new_lanes(&mut self, topic: &TopicInfo, target: &Target) -> Vec<LaneId> {
        let start = if self.first_start { self.shared.flow.start } else { valid::Start::Earliest };
        let name = TopicName::new(&topic.name);
        let mut fresh = Vec::new();
        for partition in 0..topic.partitions.min(target.partitions) {
            let plan =
                with_progress(&self.progress, |progress| lane::plan(progress, &name, topic.id, PartitionId(partition)));
            let (Plan::Open(id) | Plan::Recreated(id)) = plan;
            if self.lanes.contains_key(&id) {
                continue;
            }
            match self.mailbox_for(&topic.name, target) {
                Ok(mailbox) => {
                    let known = Known { target_topic: TopicName::new(&target.name), start, mailbox: mailbox.clone() };
                    self.shared.set_pipeline(id.clone(), mailbox);
                    self.lanes.insert(id.clone(), known);
                    fresh.push(id);
                }
                Err(reason) => self.shared.set_refusal(&topic.name, Some(reason)),
            }
        }
        fresh
    }

    /// The pipeline of a topic; a new one as long as there may be more.
    fn mailbox_for(&mut self, topic: &str, target: &Target) -> Result<Mailbox, String> {
        let known = self.by_topic.get(topic).copied();
        let index = match known {
            Some(index) => index,
            None if self.threads.len() < self.machine.pipelines_max() => {
                self.threads.push(self.start_pipeline(topic, target)?);
                self.threads.len() - 1
            }
            None => self.by_topic.len() % self.machine.pipelines_max(),
        };
        self.by_topic.insert(topic.to_owned(), index);
        let mailbox = self.threads[index].mailbox.clone();
        if known.is_none()
            && let Some(bytes_max) = target.message_bytes_max
        {
            mailbox.send(ToPipeline::Takes { target_topic: TopicName::new(&target.name), bytes_max });
        }
        Ok(mailbox)
    }

    fn start_pipeline(&self, topic: &str, target: &Target) -> Result<Thread, String> {
        let ends = self.machine.ends((&self.source, &self.target), target, &self.board)?;
        let mailbox = Mailbox::default();
        let pipeline = Pipeline::new(
            self.shared.clone(),
            mailbox.clone(),
            ends,
            self.board.clone(),
            self.asks.clone(),
            self.words.clone(),
            self.guard.clone(),
        );
        let name = format!("lanes-{}", topic.chars().take(9).collect::<String>());
        let handle = std::thread::Builder::new()
            .name(name)
            .spawn(move || pipeline.run())
            .map_err(|error| format!("no thread for it: {error}"))?;
        Ok(Thread { mailbox, handle })
    }

    /// Looks at both ends of these lanes and opens them; what cannot be looked at is tried again by the lane itself.
    pub async fn open(&self, lanes: Vec<LaneId>) {
        if lanes.is_empty() {
            return;
        }
        match Look::at(self, &lanes).await {
            Ok(look) => {
                for id in lanes {
                    self.open_one(&id, &look).await;
                }
            }
            Err(error) => {
                let failure = |reason: String| match error.is_retriable() {
                    true => Failure::Retry { reason },
                    false => Failure::Refuse { reason },
                };
                for id in lanes {
                    self.open_failed(&id, failure(error.to_string()));
                }
            }
        }
    }

    async fn open_one(&self, id: &LaneId, look: &Look) {
        let Some(known) = self.lanes.get(id) else { return };
        let source_key = (id.topic().as_str().to_owned(), id.partition.0);
        let durable = with_progress(&self.progress, |progress| progress.lane(id).cloned());
        let target_topic = durable.as_ref().map_or(&known.target_topic, |state| state.target_topic());
        let target_key = (target_topic.as_str().to_owned(), id.partition.0);
        let ids = (look.source_ids.get(&source_key.0), look.target_ids.get(&target_key.0));
        let (Some(&source_topic_id), Some(&target_topic_id)) = ids else {
            let reason = format!("{} or {} cannot be found just now", source_key.0, target_key.0);
            return self.open_failed(id, Failure::Retry { reason });
        };
        let (source, target) = match (look.source.get(&source_key), look.target.get(&target_key)) {
            (Some(Ok(source)), Some(Ok(target))) => (*source, *target),
            (Some(Err(error)), _) | (_, Some(Err(error))) => return self.open_failed(id, retry(error)),
            _ => return self.open_failed(id, Failure::Retry { reason: "no answer about its ends".to_owned() }),
        };
        // a re-created topic's ends say nothing about what the old one still had: what was last written down of that does
        let source = match id.generation.id.may_be(source_topic_id) {
            true => source,
            false => with_progress(&self.progress, |progress| old_ends(progress, id)),
        };
        let start = match self.start(known.start, &source_key, &source, durable.is_some()).await {
            Ok(start) => start,
            Err(error) => return self.open_failed(id, retry(&error)),
        };
        let opening = Opening { durable, source_topic_id, source, target_topic_id, target, start };
        let suppressed = with_progress(&self.progress, |progress| progress.suppressed(id));
        let policy = self.policy();
        let lane = Lane::new(id.clone(), target_topic_of(&opening, known), self.epoch, policy, suppressed);
        let lane = self.guarded(lane);
        known.mailbox.send(ToPipeline::Open { lane: Box::new(lane), opening: Box::new(opening) });
    }

    fn open_failed(&self, id: &LaneId, failure: Failure) {
        let Some(known) = self.lanes.get(id) else { return };
        let suppressed = with_progress(&self.progress, |progress| progress.suppressed(id));
        let lane = Lane::new(id.clone(), known.target_topic.clone(), self.epoch, self.policy(), suppressed);
        let lane = self.guarded(lane);
        known.mailbox.send(ToPipeline::Prepare { lane: Box::new(lane) });
        known.mailbox.send(ToPipeline::Tell { lane: id.clone(), event: Event::Failed(failure) });
    }

    /// On a cycle a lane keeps where held-back records lie at the target.
    fn guarded(&self, lane: Lane) -> Lane {
        if !self.cyclic {
            return lane;
        }
        let held = with_progress(&self.progress, |progress| progress.held(lane.id()).cloned());
        lane.on_a_cycle(held)
    }

    async fn start(
        &self,
        start: valid::Start,
        key: &Partition,
        ends: &SourceEnds,
        known: bool,
    ) -> Result<Start, ClusterError> {
        Ok(match start {
            valid::Start::Earliest => Start::Earliest,
            valid::Start::Latest => Start::Latest,
            _ if known => Start::Earliest, // not used: the durable position counts
            valid::Start::Timestamp(at) => {
                let offset = self.source.offset_at(&key.0, key.1, at).await?;
                Start::At(offset.map_or(ends.high_watermark, SourceOffset))
            }
        })
    }

    fn policy(&self) -> Policy {
        let gap = match self.shared.flow.gap_policy {
            valid::GapPolicy::Stop => GapPolicy::Stop,
            valid::GapPolicy::Record => GapPolicy::Record,
        };
        Policy { gap, ..Policy::default() }
    }

    /// Opens a lane for a new generation of a topic.
    pub fn next_generation(&mut self, old: &LaneId, topic_id: TopicId, own_target: bool) {
        let Some(known) = self.lanes.get(old).cloned() else { return };
        let target_topic = match own_target {
            true => lane::next_generation_topic(&known.target_topic, topic_id),
            false => known.target_topic.clone(),
        };
        let id = LaneId::new(old.topic().clone(), topic_id, old.partition.0);
        self.shared.set_pipeline(id.clone(), known.mailbox.clone());
        self.lanes.insert(id, Known { target_topic, start: valid::Start::Earliest, ..known });
    }

    /// Stops every pipeline, and waits until what was on its way has landed (bounded by the pipelines themselves).
    pub async fn stop(self) {
        let LanesOfFlow { threads, asks, words, .. } = self;
        drop((asks, words));
        for thread in &threads {
            thread.mailbox.send(ToPipeline::Stop);
        }
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(|t| t.handle.join().is_ok()).collect::<Vec<_>>()
        });
        match joined.await {
            Ok(ended) if ended.iter().all(|fine| *fine) => {}
            _ => tracing::error!(flow = %self.shared.flow.name, "a pipeline ended with a panic"),
        }
    }
}

fn target_topic_of(opening: &Opening, known: &Known) -> TopicName {
    opening.durable.as_ref().map_or_else(|| known.target_topic.clone(), |state| state.target_topic().clone())
}

/// The ends of a generation that is gone, as last seen; at least as far as it was copied.
fn old_ends(progress: &Progress, id: &LaneId) -> SourceEnds {
    let seen = progress.source_seen(id.topic()).filter(|seen| seen.topic_id == id.generation.id);
    let position = progress.lane(id).map(|state| state.position()).unwrap_or_default();
    let end = seen.and_then(|seen| seen.end(id.partition)).unwrap_or_default().max(position);
    SourceEnds { high_watermark: end, last_stable: end, ..SourceEnds::default() }
}

fn retry(error: &ClusterError) -> Failure {
    let reason = error.to_string();
    // an unknown topic may be one that a broker has not heard of yet
    if error.is_retriable() || error.is_unknown_topic() {
        Failure::Retry { reason }
    } else {
        Failure::Refuse { reason }
    }
}

/// Both ends of some lanes, looked at together.
struct Look {
    source_ids: HashMap<String, TopicId>,
    target_ids: HashMap<String, TopicId>,
    source: BTreeMap<Partition, Result<SourceEnds, ClusterError>>,
    target: BTreeMap<Partition, Result<TargetEnds, ClusterError>>,
}

impl Look {
    async fn at(flow: &LanesOfFlow, lanes: &[LaneId]) -> Result<Look, ClusterError> {
        let mut sources = Vec::new();
        let mut targets = Vec::new();
        for id in lanes {
            let Some(known) = flow.lanes.get(id) else { continue };
            let durable =
                with_progress(&flow.progress, |progress| progress.lane(id).map(|state| state.target_topic().clone()));
            let target = durable.unwrap_or_else(|| known.target_topic.clone());
            sources.push((id.topic().as_str().to_owned(), id.partition.0));
            targets.push((target.as_str().to_owned(), id.partition.0));
        }
        let ids =
            |topics: Vec<TopicInfo>| topics.into_iter().map(|t| (t.name, t.id)).collect::<HashMap<String, TopicId>>();
        let (source_topics, target_topics) = tokio::try_join!(flow.source.topics(), flow.target.topics())?;
        let (source, target) = tokio::try_join!(flow.source.source_ends(&sources), flow.target.target_ends(&targets))?;
        let (source_after, target_after) = tokio::try_join!(flow.source.topics(), flow.target.topics())?;
        // ends belong to a topic ID only if it was the same before and after: a name that changed hands in between is looked at again
        let same = |mut before: HashMap<String, TopicId>, after: HashMap<String, TopicId>| {
            before.retain(|name, id| after.get(name) == Some(id));
            before
        };
        let source_ids = same(ids(source_topics.0), ids(source_after.0));
        let target_ids = same(ids(target_topics.0), ids(target_after.0));
        Ok(Look { source_ids, target_ids, source, target })
    }
}
