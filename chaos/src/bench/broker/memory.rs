//! Resident memory: of a node that nobody uses, and of one with a thousand partitions under load.

use std::time::Duration;

use crate::bench::nodes::{Flush, Maker, Node};
use crate::bench::rows::{Better, Row, Samples, Target};
use crate::bench::tools::Load;
use crate::bench::usage::resident_mb;

use super::Stage;
use super::plan::Size;

/// A started node gets so long to come to rest.
const REST: Duration = Duration::from_secs(3);
/// What ours may have at rest, MB.
const REST_MB_MAX: f64 = 32.0;
/// Partitions of the node under load, and the least share of Kafka's memory to leave unused there.
const PARTITIONS: i32 = 1_000;
const LOADED: Target = Target::Ratio(10.0);

/// Measures both, each node by itself on an empty folder.
pub async fn run(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let (rest, loaded) = ("rss/rest".to_owned(), format!("rss/{PARTITIONS}p"));
    if !stage.args.wants(&rest) && !stage.args.wants(&loaded) {
        return Ok(());
    }
    let (mut at_rest, mut at_peak) = (Samples::default(), Samples::default());
    for round in 0..stage.args.rounds {
        let (now, peak) = one(stage, &stage.ours(Flush::Os), &format!("memory-ours-{round}")).await?;
        at_rest.ours.push(now);
        at_peak.ours.push(peak);
        let (now, peak) = one(stage, &stage.theirs(), &format!("memory-kafka-{round}")).await?;
        at_rest.peer.push(now);
        at_peak.peer.push(peak);
    }
    stage.keep(Row::new(rest, "MB", Better::Lower, &at_rest, Some(Target::AtMost(REST_MB_MAX))));
    stage.keep(Row::new(loaded, "MB", Better::Lower, &at_peak, Some(LOADED)));
    Ok(())
}

/// Memory of one node at rest, and its peak after producing to and fetching from all partitions.
async fn one(stage: &Stage<'_>, maker: &Maker, name: &str) -> anyhow::Result<(f64, f64)> {
    let mut node = Node::start(maker, stage.dir, name).await?;
    tokio::time::sleep(REST).await;
    let (rest, _) = resident_mb(node.pid()?)?;
    node.create("many", PARTITIONS, Flush::Os).await?;
    let size = Size::Kilo;
    let records = stage.records(size, Flush::Os);
    let load = Load { bootstrap: &node.bootstrap, topic: "many", records, size: size.bytes(), codec: "none" };
    stage.java().produce(&load, &stage.payloads(size)?).await?;
    stage.java().consume(&load).await?;
    let pid = node.pid()?;
    let (_, peak) = resident_mb(pid)?;
    node.kill()?;
    std::fs::remove_dir_all(stage.dir.join(name))?;
    Ok((rest, peak))
}
