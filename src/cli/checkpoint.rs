//! `causeway checkpoint create|list|show`: named DR checkpoints. From the configuration and the target alone.
use clap::Subcommand;
use serde::Serialize;

use super::{
    Exit, Out,
    out::table,
    reach::{self, FlowArgs},
};
use crate::cluster::progress_topic::now_ms;
use crate::core::{checkpoint::Checkpoint, ids::UnixMillis};
use crate::groups::checkpoint;

/// What to do with DR checkpoints.
#[derive(Debug, Subcommand)]
pub enum CheckpointVerb {
    /// Take a consistent cut of all lanes and groups of a flow, under a name
    Create(NamedArgs),
    /// List the DR checkpoints of a flow
    List(FlowArgs),
    /// Show one whole
    Show(NamedArgs),
}

/// A DR checkpoint of a flow.
#[derive(Debug, clap::Args)]
pub struct NamedArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    flow: FlowArgs,
}

/// A DR checkpoint in a list.
#[derive(Debug, Clone, Serialize)]
struct Listed {
    name: String,
    at: UnixMillis,
    lanes: usize,
    groups: usize,
    /// Why it cannot be used, if so.
    problem: Option<String>,
}

/// A DR checkpoint just taken.
#[derive(Debug, Clone, Serialize)]
struct Created {
    #[serde(flatten)]
    checkpoint: Checkpoint,
    /// False: the source did not answer, group positions are those last written down.
    from_source: bool,
}

/// Runs the verb.
///
/// # Errors
/// A wrong configuration or name, an unreachable target, a DR checkpoint that is not there or not whole.
pub async fn run(verb: CheckpointVerb, out: &Out) -> anyhow::Result<Exit> {
    match verb {
        CheckpointVerb::Create(args) => create(args, out).await,
        CheckpointVerb::List(args) => list(args, out).await,
        CheckpointVerb::Show(args) => show(args, out).await,
    }
}

async fn create(args: NamedArgs, out: &Out) -> anyhow::Result<Exit> {
    let (config, flow) = args.flow.load()?;
    let ends = reach::connect(&config, &flow).await?;
    let mut progress = reach::progress(&ends).await?;
    let (checkpoint, from_source) = checkpoint::create(&ends, &mut progress, &args.name).await?;
    if !from_source {
        out.hint("the source did not answer: group positions are those last written down at the target");
    }
    let created = Created { checkpoint, from_source };
    out.show(&created, |created| {
        let c = &created.checkpoint;
        vec![format!("DR checkpoint {}: {} lanes, {} group positions", c.name, c.lanes.len(), c.groups.len())]
    })?;
    out.hint(&format!("next: causeway checkpoint show {}", args.name));
    Ok(Exit::Fine)
}

async fn list(args: FlowArgs, out: &Out) -> anyhow::Result<Exit> {
    let (config, flow) = args.load()?;
    let ends = reach::connect(&config, &flow).await?;
    let progress = reach::progress(&ends).await?;
    let listed: Vec<Listed> = progress
        .state()
        .checkpoints()
        .map(|(name, parts)| {
            let whole = Checkpoint::from_parts(name, &parts);
            let at = parts.iter().map(|part| part.at).max().unwrap_or_default();
            let (lanes, groups) = whole.as_ref().map_or((0, 0), |c| (c.lanes.len(), c.groups.len()));
            Listed { name: name.to_owned(), at, lanes, groups, problem: whole.err().map(|e| e.to_string()) }
        })
        .collect();
    out.show(&listed, |listed| {
        let rows: Vec<Vec<String>> = listed
            .iter()
            .map(|c| {
                let age = format!("{} ago", reach::age(Some(now_ms() - c.at.0)));
                let state = c.problem.clone().unwrap_or_else(|| "whole".to_owned());
                vec![c.name.clone(), age, c.lanes.to_string(), c.groups.to_string(), state]
            })
            .collect();
        table(&["NAME", "TAKEN", "LANES", "GROUP POSITIONS", "STATE"], &rows)
    })?;
    Ok(Exit::Fine)
}

async fn show(args: NamedArgs, out: &Out) -> anyhow::Result<Exit> {
    let (config, flow) = args.flow.load()?;
    let ends = reach::connect(&config, &flow).await?;
    let progress = reach::progress(&ends).await?;
    let whole = checkpoint::find(flow.name.as_str(), progress.state(), &args.name)?;
    out.show(&whole, |whole| {
        let lanes: Vec<Vec<String>> = whole
            .lanes
            .iter()
            .map(|l| vec![l.lane.to_string(), l.position.to_string(), l.target_topic.to_string(), l.target.to_string()])
            .collect();
        let groups: Vec<Vec<String>> = whole
            .groups
            .iter()
            .map(|g| {
                let at = format!("{}-{}", g.topic, g.partition);
                vec![g.group.to_string(), at, g.source.to_string(), g.target.to_string()]
            })
            .collect();
        let mut lines = table(&["LANE", "POSITION", "TARGET TOPIC", "TARGET"], &lanes);
        lines.push(String::new());
        lines.extend(table(&["GROUP", "PARTITION", "SOURCE", "TARGET"], &groups));
        lines
    })?;
    out.hint(&format!("next: causeway failover {} --to-checkpoint {} --preview", flow.name, args.name));
    Ok(Exit::Fine)
}
