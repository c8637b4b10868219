//! What the verbs that work without a daemon have in common: the configuration, the flow meant, both clusters as far as they can be
//! reached, the flow's progress topic.
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

use crate::cluster::{Admin, ClusterSpec, progress_topic::ProgressTopic};
use crate::config::{self, Config, valid};
use crate::core::ids::FlowName;
use crate::groups::Ends;

/// A source that does not answer by then is treated as gone: in a disaster every second counts, and its last known figures are in the target.
const SOURCE_PATIENCE: Duration = Duration::from_secs(4);

/// Which configuration and which flow.
#[derive(Debug, Clone, clap::Args)]
pub struct FlowArgs {
    /// The flow; may be left out when the configuration has only one
    pub flow: Option<String>,
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "causeway.toml")]
    pub config: PathBuf,
}

impl FlowArgs {
    /// The configuration, and the flow meant.
    ///
    /// # Errors
    /// A configuration that is wrong; a flow that is not in it, or none named where there are several.
    pub fn load(&self) -> anyhow::Result<(Config, valid::Flow)> {
        let config = config::load(&self.config)?;
        let flow = pick(&config, self.flow.as_deref())?.clone();
        Ok((config, flow))
    }
}

fn pick<'a>(config: &'a Config, name: Option<&str>) -> anyhow::Result<&'a valid::Flow> {
    let names = || config.flows.iter().map(|flow| flow.name.as_str()).collect::<Vec<_>>().join(", ");
    match name {
        Some(name) => {
            config.flow(name).with_context(|| format!("there is no flow `{name}`: the flows are {}", names()))
        }
        None if config.flows.len() == 1 => Ok(&config.flows[0]),
        None => anyhow::bail!("say which flow: {}", names()),
    }
}

/// How a configured cluster is reached.
#[must_use]
pub fn spec(cluster: &valid::Cluster) -> ClusterSpec {
    ClusterSpec {
        alias: cluster.alias.as_str().to_owned(),
        bootstrap: cluster.bootstrap.iter().map(ToString::to_string).collect(),
        cluster_id: cluster.cluster_id.clone(),
        client: Vec::new(),
    }
}

/// Connects both ends of a flow. Only the target has to answer.
///
/// # Errors
/// The target cannot be reached, or is another cluster than the pinned one.
pub async fn connect(config: &Config, flow: &valid::Flow) -> anyhow::Result<Ends> {
    let cluster = |alias: &valid::Alias| {
        config.clusters.get(alias).with_context(|| format!("flow {}: no cluster `{alias}`", flow.name)).map(spec)
    };
    let (source, target) = (cluster(&flow.from)?, cluster(&flow.to)?);
    let target = Admin::connect(&target).await.with_context(|| format!("flow {}: target", flow.name))?;
    let source = match tokio::time::timeout(SOURCE_PATIENCE, Admin::connect(&source)).await {
        Ok(Ok(admin)) => Ok(admin),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("cluster {} did not answer within {} s", source.alias, SOURCE_PATIENCE.as_secs())),
    };
    if let Ok(source) = &source {
        let same = source.cluster_id() == target.cluster_id();
        anyhow::ensure!(!same, "flow {}: source and target are the same cluster {}", flow.name, target.cluster_id());
    }
    Ok(Ends { flow: flow.clone(), source, target })
}

/// The flow's progress topic, read to its end.
///
/// # Errors
/// The target does not answer, or the topic was written by a newer version.
pub async fn progress(ends: &Ends) -> anyhow::Result<ProgressTopic> {
    let flow = FlowName::new(ends.flow.name.as_str());
    Ok(ProgressTopic::open(ends.target.client().clone(), &flow).await?)
}

/// An age for people: `3.2 s`, `5 min`, `2 h`; `never` without one.
#[must_use]
pub fn age(ms: Option<i64>) -> String {
    match ms {
        None => "never".to_owned(),
        Some(ms) if ms < 60_000 => format!("{:.1} s", ms.max(0) as f64 / 1000.0),
        Some(ms) if ms < 7_200_000 => format!("{} min", ms / 60_000),
        Some(ms) => format!("{} h", ms / 3_600_000),
    }
}
