//! The life of a flow: connect, load, claim, then discover and keep lanes open until told to stop, or until somebody else takes the flow.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::engine::{self, CannotChoose, Place};
use super::lanes_of_flow::LanesOfFlow;
use super::machine::Machine;
use super::pipeline::FromPipeline;
use super::shared::{Connected, FlowShared};
use super::view::Phase;
use super::writer::{self, ASKS_MAX, Hold};
use super::{cache, cache::CacheHandle, heartbeat, pipeline};
use crate::cluster::batch::BatchEngine;
use crate::cluster::ends::EndsBoard;
use crate::cluster::progress_topic::{ProgressError, ProgressTopic, now_ms};
use crate::cluster::{Admin, ClusterError, ClusterSpec};
use crate::config::valid::{Delivery, Engine};
use crate::core::failover::switched;
use crate::core::ids::{FlowName, UnixMillis};
use crate::core::progress::Progress;
use crate::retry::Retry;
use crate::telemetry::{events, names};

/// Words of pipelines that may wait for the flow.
const WORDS_MAX: usize = 1_024;
/// Between two looks at a flow that somebody has to change something about.
const REFUSED_BEAT: Duration = Duration::from_secs(5);
/// Words gathered before lanes are opened anew, so that an outage of many lanes is a handful of requests.
const GATHER: Duration = Duration::from_millis(20);

/// What a flow needs to begin.
#[derive(Debug, Clone)]
pub struct FlowSetup {
    /// Its shared side.
    pub shared: Arc<FlowShared>,
    /// Where it reads.
    pub source: ClusterSpec,
    /// Where it writes.
    pub target: ClusterSpec,
    /// All aliases of the configuration.
    pub aliases: Vec<String>,
    /// The name of this process in claims.
    pub owner: String,
    /// Where caches lie.
    pub store_dir: PathBuf,
    /// Where it lies in the graph.
    pub place: Place,
    /// It lies on a cycle of identity flows: what was born on the target comes back to it.
    pub cyclic: bool,
    /// Every flow of the daemon.
    pub flows: Arc<Vec<Arc<FlowShared>>>,
}

/// Why a flow does not run.
#[derive(Debug, thiserror::Error)]
enum NotRunning {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Progress(#[from] ProgressError),
    #[error("source {source_alias} and target {target_alias} are one cluster, {id}: a flow needs two")]
    OneCluster { source_alias: String, target_alias: String, id: String },
    #[error("clusters {alias} and {other} are one cluster, {id}: give it one name")]
    TwoNames { alias: String, other: String, id: String },
    #[error(transparent)]
    Engine(#[from] CannotChoose),
    #[error(
        "held by switch {switch} ({kind}) since epoch {epoch}: the target is in charge; this flow copies no more until it is claimed again"
    )]
    Switched { switch: String, kind: String, epoch: u64 },
}

impl NotRunning {
    fn is_retriable(&self) -> bool {
        match self {
            NotRunning::Cluster(error) => error.is_retriable(),
            NotRunning::Progress(error) => error.is_retriable(),
            NotRunning::OneCluster { .. }
            | NotRunning::TwoNames { .. }
            | NotRunning::Engine(_)
            | NotRunning::Switched { .. } => false,
        }
    }
}

/// Runs a flow until `stop`.
pub async fn run(setup: FlowSetup, stop: CancellationToken) {
    let mut retry = Retry::default();
    let shared = setup.shared.clone();
    let name = shared.flow.name.to_string();
    while !stop.is_cancelled() {
        let begun = tokio::select! {
            begun = begin(&setup) => begun,
            () = stop.cancelled() => return,
        };
        let delay = match begun {
            Ok((topic, store, connected, machine)) => {
                serve(&setup, topic, store, (connected, machine), stop.clone()).await;
                return;
            }
            Err(error) if error.is_retriable() => {
                shared.set_phase(Phase::Connecting, Some(error.to_string()));
                let delay = retry.delay();
                events::Retrying { flow: &name, kind: "connect", reason: &error.to_string(), delay }.emit();
                delay
            }
            Err(error) => {
                let reason = error.to_string();
                if shared.view().reason.as_deref() != Some(&reason) {
                    tracing::error!(flow = name, reason, "flow refused");
                }
                shared.set_phase(Phase::Refused, Some(reason));
                REFUSED_BEAT
            }
        };
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Connects both ends, reads the progress topic to its end, and claims the flow.
async fn begin(setup: &FlowSetup) -> Result<(ProgressTopic, CacheHandle, Connected, Machine), NotRunning> {
    let shared = &setup.shared;
    // both, so that one that is down does not hide what is wrong with the other
    let (source, target) = tokio::join!(Admin::connect(&setup.source), Admin::connect(&setup.target));
    let id = |end: &Result<Admin, ClusterError>| end.as_ref().ok().map(|admin| admin.cluster_id().to_string());
    shared.set_cluster_ids(id(&source), id(&target));
    let (source, target) = match (source, target) {
        (Ok(source), Ok(target)) => (source, target),
        // what waiting cannot heal is told first
        (Err(one), Err(other)) => return Err(if one.is_retriable() { other } else { one }.into()),
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    if source.cluster_id() == target.cluster_id() {
        return Err(NotRunning::OneCluster {
            source_alias: source.alias().to_owned(),
            target_alias: target.alias().to_owned(),
            id: source.cluster_id().to_string(),
        });
    }
    for admin in [&source, &target] {
        let (alias, id) = (admin.alias().to_owned(), admin.cluster_id().to_string());
        if let Some(other) = other_name(&setup.flows, &alias, &id) {
            return Err(NotRunning::TwoNames { alias, other, id });
        }
    }
    shared.set_phase(Phase::Loading, None);
    let flow = FlowName::new(shared.flow.name.as_str());
    let (mut topic, store) = cache::open(&setup.store_dir, &target, &flow).await?;
    if let Some(switch) = switched(topic.state()) {
        return Err(NotRunning::Switched {
            switch: switch.id.clone(),
            kind: format!("{:?}", switch.kind).to_lowercase(),
            epoch: topic.state().epoch().0,
        });
    }
    let choice = engine::choose(&shared.flow, setup.place)?;
    shared.set_choice(choice);
    let machine = match choice.engine {
        Engine::Record => {
            let (source, target) = (setup.source.clone(), setup.target.clone());
            Machine::Record { source, target, provenance: setup.cyclic }
        }
        Engine::Batch => {
            let exactly_once = choice.delivery == Delivery::ExactlyOnce;
            let tells_origins = setup.place == Place::Woven;
            Machine::Batch(BatchEngine::connect(&source, &target, &flow, tells_origins, exactly_once).await?)
        }
    };
    let progress = topic.share();
    let epoch = topic.claim(&setup.owner, UnixMillis(now_ms())).await?;
    metrics::gauge!(names::EPOCH, "flow" => flow.to_string()).set(epoch.0 as f64);
    tracing::info!(%flow, %epoch, owner = setup.owner, source = %source.cluster_id(), target = %target.cluster_id(), "flow claimed");
    let pen = topic.pen();
    Ok((topic, store, Connected { source, target, epoch, owner: setup.owner.clone(), progress, pen }, machine))
}

/// Another alias under which some flow of the daemon met this cluster: provenance and loop checks would not see that they are one.
fn other_name(flows: &[Arc<FlowShared>], alias: &str, id: &str) -> Option<String> {
    let ends = flows.iter().flat_map(|flow| {
        let view = flow.ends();
        [view.0, view.1]
    });
    ends.into_iter().find(|end| end.alias != alias && end.cluster_id.as_deref() == Some(id)).map(|end| end.alias)
}

/// Copies until `stop` or a fence.
async fn serve(
    setup: &FlowSetup,
    topic: ProgressTopic,
    store: CacheHandle,
    (connected, machine): (Connected, Machine),
    stop: CancellationToken,
) {
    let shared = &setup.shared;
    let mut tasks = JoinSet::new();
    let board = EndsBoard::default();
    tasks.spawn(board.clone().keep_looking(connected.source.clone()));
    tasks.spawn(heartbeat::run(shared.clone(), connected.target.clone()));
    let (asks, asked) = mpsc::channel(ASKS_MAX);
    let hold = Hold { epoch: connected.epoch, owner: connected.owner.clone() };
    let writer = tokio::spawn(writer::run(topic, store, hold, asked, shared.clone()));
    let (words, mut heard) = mpsc::channel(WORDS_MAX);
    let mut lanes = LanesOfFlow::new(setup, &connected, machine, board, asks, words);
    shared.set_phase(Phase::Running, None);
    shared.set_connected(Some(connected));
    let mut retry = Retry::default();
    let mut next_look = tokio::time::Instant::now();
    while shared.phase() != Phase::Fenced {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(next_look) => {
                let pause = look(&mut lanes, shared, &mut retry).await;
                next_look = tokio::time::Instant::now() + pause;
            }
            word = heard.recv() => {
                let Some(word) = word else { break };
                tokio::time::sleep(GATHER).await;
                let mut words = vec![word];
                while let Ok(word) = heard.try_recv() {
                    words.push(word);
                }
                hear(&mut lanes, words).await;
            }
        }
    }
    shared.set_phase(Phase::Stopping, None);
    shared.set_connected(None);
    // pipelines let what is on its way land; the writer ends when the last of them has let go
    drop(heard);
    lanes.stop().await;
    if let Err(error) = writer.await {
        tracing::error!(flow = %shared.flow.name, %error, "progress writer");
    }
    tasks.shutdown().await;
}

async fn look(lanes: &mut LanesOfFlow, shared: &Arc<FlowShared>, retry: &mut Retry) -> Duration {
    match lanes.discover().await {
        Ok(()) => {
            retry.reset();
            if let Some(reason) = lanes.broken().filter(|_| shared.phase() == Phase::Running) {
                tracing::error!(flow = %shared.flow.name, reason, "pipeline ended");
                shared.set_reason(Some(reason));
            }
            shared.flow.refresh.topics
        }
        Err(error) => {
            let (reason, delay) = (error.to_string(), retry.delay());
            shared.set_reason(Some(reason.clone()));
            let flow = shared.flow.name.as_str();
            events::Retrying { flow, kind: "discovery", reason: &reason, delay }.emit();
            delay
        }
    }
}

async fn hear(lanes: &mut LanesOfFlow, words: Vec<FromPipeline>) {
    let mut reopen = Vec::new();
    for word in words {
        match word {
            pipeline::FromPipeline::Reopen(lane) => reopen.push(lane),
            pipeline::FromPipeline::NextGeneration { lane, topic_id, own_target } => {
                lanes.next_generation(&lane, topic_id, own_target);
            }
        }
    }
    lanes.open(reopen).await;
}

/// Reads a shared progress state.
pub fn with_progress<T>(progress: &RwLock<Progress>, read: impl FnOnce(&Progress) -> T) -> T {
    read(&progress.read().unwrap_or_else(PoisonError::into_inner))
}
