//! From the start of the process to its first answer about a topic, with a log that is already there.

use bytes::Bytes;
use causeway_wire::client::{Client, ClientConfig};
use causeway_wire::records::{BatchBuilder, Codec};

use crate::bench::nodes::{Flush, Maker, Node};
use crate::bench::rows::{Better, Row, Samples, Target};

use super::Stage;

/// What ours may take, seconds.
const SECONDS_MAX: f64 = 0.2;
/// Partitions that the log is spread over, and bytes of each batch in it.
const PARTITIONS: i32 = 10;
const BATCH_BYTES: u64 = 1_000_000;

/// Measures starts after a stop and after a kill; one node after the other, because the log is large.
pub async fn run(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let gigabytes = stage.args.start_gigabytes;
    let (stopped, killed) = (format!("start/{gigabytes}GB"), format!("start-killed/{gigabytes}GB"));
    if !stage.args.wants(&stopped) && !stage.args.wants(&killed) {
        return Ok(());
    }
    let (ours_stopped, ours_killed) = one(stage, &stage.ours(Flush::Os), "start-ours").await?;
    let (peer_stopped, peer_killed) = one(stage, &stage.theirs(), "start-kafka").await?;
    let stopped_samples = Samples { ours: ours_stopped, peer: peer_stopped };
    stage.keep(Row::new(stopped, "s", Better::Lower, &stopped_samples, Some(Target::AtMost(SECONDS_MAX))));
    let killed_samples = Samples { ours: ours_killed, peer: peer_killed };
    stage.keep(Row::new(killed, "s", Better::Lower, &killed_samples, None));
    Ok(())
}

/// Seconds of each start after a clean stop, and after a kill.
async fn one(stage: &Stage<'_>, maker: &Maker, name: &str) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let mut node = Node::start(maker, stage.dir, name).await?;
    node.create("full", PARTITIONS, Flush::Os).await?;
    (stage.say)(format!("{name}: writing {} GB", stage.args.start_gigabytes));
    fill(&node, stage.args.start_gigabytes).await?;
    let (mut stopped, mut killed) = (Vec::new(), Vec::new());
    for _ in 0..stage.args.rounds {
        node.stop()?;
        stopped.push(node.restart("full").await?.as_secs_f64());
    }
    for _ in 0..stage.args.rounds {
        node.kill()?;
        killed.push(node.restart("full").await?.as_secs_f64());
    }
    node.kill()?;
    std::fs::remove_dir_all(stage.dir.join(name))?;
    Ok((stopped, killed))
}

async fn fill(node: &Node, gigabytes: u64) -> anyhow::Result<()> {
    let client = Client::connect(ClientConfig::new([node.bootstrap.clone()])).await?;
    let batch = large_batch()?;
    let batches = gigabytes * 1_000_000_000 / BATCH_BYTES / PARTITIONS as u64;
    let mut writers = tokio::task::JoinSet::new();
    for partition in 0..PARTITIONS {
        let (client, batch) = (client.clone(), batch.clone());
        writers.spawn(async move {
            for _ in 0..batches {
                client.produce_batch("full", partition, batch.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

/// A batch of records of 10 kB.
fn large_batch() -> anyhow::Result<Bytes> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as i64;
    let mut builder = BatchBuilder::new(Codec::None);
    let mut random = fastrand::Rng::with_seed(1);
    while builder.uncompressed_size() as u64 + 11_000 < BATCH_BYTES {
        let value: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(10_000).collect();
        builder.push(now, None, Some(&value), &[])?;
    }
    Ok(builder.build()?)
}
