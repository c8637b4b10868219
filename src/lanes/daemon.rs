//! The daemon: every flow of a configuration, each on its own; one that cannot run does not keep the others from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::engine::Place;
use super::flow::{self, FlowSetup};
use super::shared::FlowShared;
use super::view::StatusView;
use crate::cluster::ClusterSpec;
use crate::cluster::progress_topic::now_ms;
use crate::config::Config;
use crate::config::valid::{Cluster, Engine, Flow, Naming};
use crate::core::graph::{self, Edge};
use crate::core::ids::{ClusterId, FlowName};

/// How long a stopping daemon waits for its flows: pipelines drain for at most 5 s, then one last write.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A running daemon. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Daemon {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    flows: Arc<Vec<Arc<FlowShared>>>,
    stop: CancellationToken,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
    started: Instant,
}

impl Daemon {
    /// Starts every flow of the configuration on the current runtime.
    #[must_use]
    pub fn start(config: Config) -> Daemon {
        let stop = CancellationToken::new();
        let owner = owner();
        let aliases: Vec<String> = config.clusters.keys().map(ToString::to_string).collect();
        let mut tasks = JoinSet::new();
        let flows: Arc<Vec<_>> =
            Arc::new(config.flows.iter().map(|flow| Arc::new(FlowShared::new(flow.clone()))).collect());
        let edges = edges(&config);
        for shared in flows.iter() {
            let settings = &shared.flow;
            let ends = (config.cluster(settings.from.as_str()), config.cluster(settings.to.as_str()));
            let (Some(source), Some(target)) = ends else { continue }; // a valid configuration has both
            let name = FlowName::new(settings.name.as_str());
            let setup = FlowSetup {
                shared: shared.clone(),
                source: spec(source),
                target: spec(target),
                aliases: aliases.clone(),
                owner: owner.clone(),
                store_dir: config.store.dir.clone(),
                place: place(&config, &edges, &name),
                cyclic: graph::needs_provenance(&edges, &name),
                flows: flows.clone(),
            };
            tasks.spawn(flow::run(setup, stop.clone()));
        }
        let inner = Inner { config, flows, stop, tasks: tokio::sync::Mutex::new(tasks), started: Instant::now() };
        Daemon { inner: Arc::new(inner) }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    /// Its flows, sorted by name.
    #[must_use]
    pub fn flows(&self) -> &[Arc<FlowShared>] {
        &self.inner.flows
    }

    /// The flow called `name`.
    #[must_use]
    pub fn flow(&self, name: &str) -> Option<&Arc<FlowShared>> {
        self.inner.flows.iter().find(|shared| shared.flow.name.as_str() == name)
    }

    /// Everything there is to say.
    #[must_use]
    pub fn status(&self) -> StatusView {
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at_ms: now_ms(),
            uptime_seconds: self.inner.started.elapsed().as_secs_f64(),
            flows: self.inner.flows.iter().map(|shared| shared.view()).collect(),
        }
    }

    /// Ends when the daemon is told to stop: for tasks that live as long as it does.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stop.child_token()
    }

    /// Stops every flow: what is on its way lands, the last positions are written; bounded.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        let mut tasks = self.inner.tasks.lock().await;
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_MAX, all).await.is_err() {
            tracing::warn!("flows did not end in time; what was on its way will be copied again");
        }
    }
}

/// The flows as a graph. Aliases stand for clusters: one cluster under two of them is refused when it is met.
fn edges(config: &Config) -> Vec<Edge> {
    let edge = |flow: &Flow| Edge {
        flow: FlowName::new(flow.name.as_str()),
        source: ClusterId::new(flow.from.as_str()),
        target: ClusterId::new(flow.to.as_str()),
        identity: flow.naming == Naming::Identity,
    };
    config.flows.iter().map(edge).collect()
}

/// A flow's place in the graph.
fn place(config: &Config, edges: &[Edge], flow: &FlowName) -> Place {
    let by_records = |other: &&Flow| other.engine == Some(Engine::Record);
    let mut by_records = config.flows.iter().filter(by_records).map(|other| FlowName::new(other.name.as_str()));
    if by_records.any(|other| graph::share_a_cycle(edges, flow, &other)) {
        return Place::CycleOfRecords;
    }
    let identity = edges.iter().any(|edge| edge.flow == *flow && edge.identity);
    if identity && graph::is_ambiguous(edges) { Place::Woven } else { Place::Apart }
}

/// Who we are in claims: unique per process start.
fn owner() -> String {
    format!("{}-{:08x}", std::process::id(), fastrand::u32(..))
}

/// A cluster of the configuration, as the cluster module takes it.
#[must_use]
pub fn spec(cluster: &Cluster) -> ClusterSpec {
    ClusterSpec {
        alias: cluster.alias.to_string(),
        bootstrap: cluster.bootstrap.iter().map(ToString::to_string).collect(),
        cluster_id: cluster.cluster_id.clone(),
        client: cluster.client.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
    }
}
