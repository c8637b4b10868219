//! `causeway status`: what each flow is doing. Asked of the daemon; when none answers, read from the targets, with the age of what they know.
use serde::Serialize;

use super::{
    AdminArgs, Exit, Out, http,
    out::table,
    reach::{self, age},
};
use crate::cluster::progress_topic::now_ms;
use crate::config::{self, Config, valid};
use crate::core::{
    failover::{Exposure, switched},
    gap::Gap,
    ids::FlowEpoch,
};
use crate::groups::switch;
use crate::lanes::view::{FlowView, StatusView};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// The configuration: read when no daemon answers
    #[arg(short, long, value_name = "FILE", default_value = "causeway.toml")]
    config: std::path::PathBuf,
    /// Only this flow
    flow: Option<String>,
}

/// The answer, whoever gave it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Status {
    /// A daemon's.
    Daemon {
        /// True.
        daemon: bool,
        #[serde(flatten)]
        view: StatusView,
    },
    /// What the targets know.
    Targets {
        /// False.
        daemon: bool,
        /// Why no daemon was asked.
        reason: String,
        /// When this was read, milliseconds since 1970.
        at_ms: i64,
        flows: Vec<OfflineFlow>,
    },
}

/// A flow as its target knows it.
#[derive(Debug, Serialize)]
pub struct OfflineFlow {
    /// Its name.
    name: String,
    /// Label of the source.
    source: String,
    /// Label of the target.
    target: String,
    /// `no_daemon`, `failed_over`, `promoted`, `never_mirrored` or `unreachable`.
    state: &'static str,
    /// What is in the way, if something is.
    reason: Option<String>,
    /// The newest epoch.
    epoch: FlowEpoch,
    /// Who holds it.
    owner: Option<String>,
    /// Whether the source answered just now.
    source_reached: bool,
    /// Age of the source's figures in milliseconds.
    source_age_ms: Option<i64>,
    /// Sum of what is not copied, as far as is known.
    lag_records: u64,
    /// By lane.
    lanes: Vec<Exposure>,
    /// The gap ledger.
    gaps: Vec<Gap>,
}

/// Runs the verb.
///
/// # Errors
/// No daemon answers and there is no configuration that can be read.
pub fn run(args: &StatusArgs, out: &Out) -> anyhow::Result<Exit> {
    let status = match http::get::<StatusView>(&args.admin.admin, "/v1/status") {
        Ok(mut view) => {
            view.flows.retain(|flow| args.flow.as_ref().is_none_or(|name| *name == flow.name));
            Status::Daemon { daemon: true, view }
        }
        Err(error) => {
            let config = config::load(&args.config).map_err(|e| error.context(format!("and without one: {e}")))?;
            offline(&config, args, out)?
        }
    };
    out.show(&status, lines)?;
    out.hint("next: causeway failover --preview");
    Ok(Exit::Fine)
}

fn offline(config: &Config, args: &StatusArgs, out: &Out) -> anyhow::Result<Status> {
    let reason = format!("no daemon answers at {}", args.admin.admin);
    out.hint(&format!("{reason}: this is what the targets know"));
    let wanted = |flow: &&valid::Flow| args.flow.as_ref().is_none_or(|name| name == flow.name.as_str());
    let flows = super::runtime()?.block_on(async {
        let mut flows = Vec::new();
        for flow in config.flows.iter().filter(wanted) {
            flows.push(offline_flow(config, flow).await);
        }
        flows
    });
    Ok(Status::Targets { daemon: false, reason, at_ms: now_ms(), flows })
}

/// What the target knows of a flow; a target that does not answer is said so, and the other flows are shown all the same.
async fn offline_flow(config: &Config, flow: &valid::Flow) -> OfflineFlow {
    let mut view = OfflineFlow {
        name: flow.name.as_str().to_owned(),
        source: flow.from.as_str().to_owned(),
        target: flow.to.as_str().to_owned(),
        state: "unreachable",
        reason: None,
        epoch: FlowEpoch(0),
        owner: None,
        source_reached: false,
        source_age_ms: None,
        lag_records: 0,
        lanes: Vec::new(),
        gaps: Vec::new(),
    };
    let looked = async {
        let ends = reach::connect(config, flow).await?;
        let mut progress = reach::progress(&ends).await?;
        if !progress.exists() {
            view.state = "never_mirrored";
            return Ok(());
        }
        let report = switch::preview(&ends, &mut progress).await?;
        let state = progress.state();
        view.state = match switched(state).map(|switch| switch.kind) {
            Some(crate::core::failover::SwitchKind::Failover) => "failed_over",
            Some(crate::core::failover::SwitchKind::Promote) => "promoted",
            None => "no_daemon",
        };
        (view.epoch, view.owner) = (state.epoch(), state.holder().map(|holder| holder.owner.clone()));
        (view.source_reached, view.source_age_ms) = (report.source_reached, report.source_age_ms);
        (view.lag_records, view.lanes) = (report.exposed_offsets, report.lanes);
        view.gaps = state.gaps().cloned().collect();
        Ok::<(), anyhow::Error>(())
    };
    if let Err(error) = looked.await {
        view.reason = Some(format!("{error:#}"));
    }
    view
}

fn lines(status: &Status) -> Vec<String> {
    match status {
        Status::Daemon { view, .. } => {
            let mut lines = flow_table(&view.flows);
            for flow in &view.flows {
                lines.extend(troubles(flow));
            }
            lines
        }
        Status::Targets { flows, .. } => {
            let rows: Vec<Vec<String>> = flows
                .iter()
                .map(|flow| {
                    let figures = if flow.source_reached { "now".to_owned() } else { age(flow.source_age_ms) };
                    vec![
                        flow.name.clone(),
                        format!("{} -> {}", flow.source, flow.target),
                        flow.state.to_owned(),
                        flow.lanes.len().to_string(),
                        flow.lag_records.to_string(),
                        figures,
                        flow.gaps.len().to_string(),
                        flow.epoch.to_string(),
                    ]
                })
                .collect();
            let head = ["FLOW", "CLUSTERS", "STATE", "LANES", "LAG", "SOURCE SEEN", "GAPS", "EPOCH"];
            let mut lines = table(&head, &rows);
            lines.extend(flows.iter().filter_map(|flow| flow.reason.as_ref().map(|r| format!("{}: {r}", flow.name))));
            lines
        }
    }
}

/// One line per flow.
#[must_use]
pub fn flow_table(flows: &[FlowView]) -> Vec<String> {
    let rows: Vec<Vec<String>> = flows
        .iter()
        .map(|flow| {
            vec![
                flow.name.clone(),
                format!("{} -> {}", flow.source.alias, flow.target.alias),
                if flow.paused { "paused".to_owned() } else { flow.state.name().to_owned() },
                flow.topics.to_string(),
                flow.lanes.len().to_string(),
                format!("{} rec", flow.lag_records),
                format!("{:.1} s", flow.rpo_estimate_seconds),
                flow.gaps.len().to_string(),
                flow.loop_records_dropped.to_string(),
                flow.epoch.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
            ]
        })
        .collect();
    table(&["FLOW", "CLUSTERS", "STATE", "TOPICS", "LANES", "LAG", "RPO EST.", "GAPS", "LOOPS", "EPOCH"], &rows)
}

/// What is not as it should be, one line each.
#[must_use]
pub fn troubles(flow: &FlowView) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(flow.reason.as_ref().map(|reason| format!("{}: {reason}", flow.name)));
    lines.extend(
        flow.refused.iter().map(|refusal| format!("{}: topic {}: {}", flow.name, refusal.topic, refusal.reason)),
    );
    for lane in &flow.lanes {
        if let Some(reason) = &lane.reason {
            lines.push(format!("{}: lane {} is {}: {reason}", flow.name, lane.lane, lane.state_name()));
        }
    }
    lines
}
