//! CPU seconds of a broker for a gigabyte of records, produced with acks=all and fetched from the page cache.

use crate::bench::nodes::{Flush, Node};
use crate::bench::rows::{Better, Row, Samples, Target};
use crate::bench::tools::{Load, Tool};
use crate::bench::usage::cpu_seconds;

use super::plan::Cell;
use super::{Nodes, Stage};

/// At most half of Kafka's CPU.
const TARGET: Target = Target::Ratio(2.0);
/// Unit of the rows.
pub const UNIT: &str = "CPU-s/GB";

/// What a node is asked to do.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Produce,
    Fetch,
}

/// Measures the cells one after the other.
pub async fn run(stage: &mut Stage<'_>, nodes: &mut Nodes, tool: &Tool, cells: &[Cell]) -> anyhow::Result<()> {
    for cell in cells {
        for flush in [Flush::Os, Flush::Ack] {
            run_cell(stage, nodes, tool, cell, flush).await?;
        }
    }
    Ok(())
}

/// Produces to a fresh topic of each node, round by round, then fetches what the first rounds left there.
async fn run_cell(
    stage: &mut Stage<'_>,
    nodes: &mut Nodes,
    tool: &Tool,
    cell: &Cell,
    flush: Flush,
) -> anyhow::Result<()> {
    let (produces, fetches) =
        (stage.args.needs(&cell.produce_row(flush)), flush == Flush::Os && stage.args.needs(&cell.fetch_row()));
    if !produces && !fetches {
        return Ok(());
    }
    let topic = format!("bench-{}", fastrand::u32(..));
    let (ours, peer) = nodes.pair(flush);
    for node in [&*ours, &*peer] {
        node.create(&topic, cell.partitions, flush).await?;
    }
    let rounds = if produces { stage.args.rounds } else { 1 };
    let records = stage.records(cell.size, flush);
    let load = (cell, records, topic.as_str());
    let produced = turns(stage, (&mut *ours, &mut *peer), tool, load, Work::Produce, rounds).await?;
    if produces {
        stage.keep(Row::new(cell.produce_row(flush), UNIT, Better::Lower, &produced, Some(TARGET)));
    }
    if fetches {
        let rounds = stage.args.rounds;
        let fetched = turns(stage, (&mut *ours, &mut *peer), tool, load, Work::Fetch, rounds).await?;
        stage.keep(Row::new(cell.fetch_row(), UNIT, Better::Lower, &fetched, Some(TARGET)));
    }
    for node in [&*ours, &*peer] {
        node.delete(&topic).await?;
    }
    Ok(())
}

/// Ours first in even rounds, the peer first in odd ones.
async fn turns(
    stage: &Stage<'_>,
    (ours, peer): (&mut Node, &mut Node),
    tool: &Tool,
    load: (&Cell, u64, &str),
    work: Work,
    rounds: u32,
) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for round in 0..rounds {
        for first in [true, false] {
            let is_ours = first == (round % 2 == 0);
            let node = if is_ours { &mut *ours } else { &mut *peer };
            let cost = cost(stage, node, tool, load, work).await?;
            if is_ours { samples.ours.push(cost) } else { samples.peer.push(cost) }
        }
    }
    Ok(samples)
}

async fn cost(
    stage: &Stage<'_>,
    node: &mut Node,
    tool: &Tool,
    (cell, records, topic): (&Cell, u64, &str),
    work: Work,
) -> anyhow::Result<f64> {
    let pid = node.pid()?;
    let load = Load { bootstrap: &node.bootstrap, topic, records, size: cell.size.bytes(), codec: cell.codec };
    let payloads = stage.payloads(cell.size)?;
    let before = cpu_seconds(pid)?;
    match work {
        Work::Produce => tool.produce(&load, &payloads).await?,
        Work::Fetch => tool.consume(&load).await?,
    }
    let spent = cpu_seconds(pid)? - before;
    Ok(spent / (records as f64 * cell.size.bytes() as f64 / 1e9))
}
