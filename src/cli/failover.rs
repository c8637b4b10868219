//! `causeway failover` and `causeway promote`: switch a flow's consumers and producers to its target. From the configuration and the target
//! alone; a daemon that answers is asked to stop copying first.
use std::io::IsTerminal as _;
use std::time::Duration;

use super::{
    AdminArgs, Exit, Out, http,
    out::table,
    reach::{self, FlowArgs},
};
use crate::core::failover::{SwitchKind, SwitchStep};
use crate::groups::switch::{self, Order, Report};

/// Arguments of `failover`.
#[derive(Debug, clap::Args)]
pub struct FailoverArgs {
    #[command(flatten)]
    flow: FlowArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// Say what it would cost and change nothing
    #[arg(long, alias = "dry-run")]
    preview: bool,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Set the groups to this DR checkpoint instead of their newest positions
    #[arg(long, value_name = "NAME")]
    to_checkpoint: Option<String>,
}

/// Arguments of `promote`.
#[derive(Debug, clap::Args)]
pub struct PromoteArgs {
    #[command(flatten)]
    flow: FlowArgs,
    #[command(flatten)]
    admin: AdminArgs,
    /// Do it without asking
    #[arg(short, long)]
    yes: bool,
    /// Seconds to wait for everything to be copied
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

/// Runs `failover`.
///
/// # Errors
/// A wrong configuration, an unreachable target, a flow that somebody else took.
pub async fn failover(args: FailoverArgs, out: &Out) -> anyhow::Result<Exit> {
    let (config, flow) = args.flow.load()?;
    let ends = reach::connect(&config, &flow).await?;
    let mut progress = reach::progress(&ends).await?;
    let preview = switch::preview(&ends, &mut progress).await?;
    if args.preview {
        out.show(&preview, lines)?;
        out.hint(&format!("next: causeway failover {} --yes", flow.name));
        return Ok(Exit::Fine);
    }
    if !args.yes && !confirmed(out, &preview)? {
        return Ok(Exit::Pending);
    }
    stop_daemon(&args.admin.admin, flow.name.as_str(), out);
    let order = order(SwitchKind::Failover, args.to_checkpoint, Duration::ZERO);
    let report = switch::run(&ends, &mut progress, &order).await?;
    out.show(&report, lines)?;
    out.hint(&format!("next: point producers and consumers at {}", flow.to));
    Ok(if report.is_done() { Exit::Fine } else { Exit::Error })
}

/// Runs `promote`.
///
/// # Errors
/// As [`failover`]; a source that does not answer.
pub async fn promote(args: PromoteArgs, out: &Out) -> anyhow::Result<Exit> {
    let (config, flow) = args.flow.load()?;
    let ends = reach::connect(&config, &flow).await?;
    let mut progress = reach::progress(&ends).await?;
    if !args.yes && !confirmed(out, &switch::preview(&ends, &mut progress).await?)? {
        return Ok(Exit::Pending);
    }
    let order = order(SwitchKind::Promote, None, Duration::from_secs(args.timeout));
    let report = switch::run(&ends, &mut progress, &order).await?;
    out.show(&report, lines)?;
    if let Some(SwitchStep::Refused { reason }) = report.switch.as_ref().map(|switch| &switch.step) {
        out.hint(&format!("not promoted: {reason}"));
        return Ok(Exit::Pending);
    }
    out.hint(&format!("next: point producers and consumers at {}", flow.to));
    Ok(if report.is_done() { Exit::Fine } else { Exit::Error })
}

fn order(kind: SwitchKind, to_checkpoint: Option<String>, drain_max: Duration) -> Order {
    Order { kind, to_checkpoint, drain_max, instance: format!("{:08x}", fastrand::u32(..)) }
}

/// Shows what it costs and asks; without a terminal nothing is asked and nothing done.
fn confirmed(out: &Out, preview: &Report) -> anyhow::Result<bool> {
    for line in lines(preview) {
        out.hint(&line);
    }
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("nothing was changed: say --yes to do it");
    }
    out.hint(&format!("switch flow {}? type its name: ", preview.flow));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == preview.flow)
}

/// What a daemon has in flight lands, is written down, and nothing more follows. Without a daemon there is nothing in flight.
fn stop_daemon(admin: &str, flow: &str, out: &Out) {
    let path = format!("/v1/flows/{flow}/pause");
    match http::post::<serde_json::Value>(admin, &path, &serde_json::json!({ "wait": true })) {
        Ok(_) => out.hint(&format!("the daemon at {admin} stopped copying {flow}")),
        Err(error) => out.hint(&format!("going on without a daemon: {error:#}")),
    }
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    match &report.switch {
        Some(switch) => lines.push(format!(
            "flow {}: {} at flow epoch {}, {} ms",
            report.flow,
            switch.step.name(),
            switch.epoch,
            report.took_ms
        )),
        None => lines.push(format!("flow {}: what a failover would lose", report.flow)),
    }
    if !report.source_reached {
        lines.push(format!("the source does not answer: its figures are {} old", reach::age(report.source_age_ms)));
    }
    let rows: Vec<Vec<String>> = report
        .lanes
        .iter()
        .map(|lane| {
            let end = lane.source_end.map_or_else(|| "?".to_owned(), |end| end.to_string());
            let exposed = lane.offsets.map_or_else(|| "?".to_owned(), |count| count.to_string());
            vec![lane.lane.to_string(), lane.position.to_string(), end, exposed]
        })
        .collect();
    lines.extend(table(&["LANE", "COPIED TO", "SOURCE END", "NOT COPIED"], &rows));
    if !report.groups.is_empty() {
        let rows: Vec<Vec<String>> = report.groups.iter().flat_map(group_rows).collect();
        lines.push(String::new());
        lines.extend(table(&["GROUP", "PARTITION", "SOURCE", "TARGET", "OUTCOME"], &rows));
    }
    lines
}

fn group_rows(group: &crate::groups::place::PlacedGroup) -> Vec<Vec<String>> {
    let row = |p: &crate::groups::place::PlacedPartition| {
        let target = p.target.map_or_else(|| "-".to_owned(), |target| target.to_string());
        let partition = format!("{}-{}", p.target_topic, p.partition);
        vec![group.group.to_string(), partition, p.source.to_string(), target, p.outcome.clone()]
    };
    group.partitions.iter().map(row).collect()
}
