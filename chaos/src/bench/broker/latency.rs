//! How long a producer waits for its acknowledgement, at a pace that neither side has trouble with.

use crate::bench::rows::{Better, Row, Samples, Target};
use crate::bench::tools::{Load, Pace, latency};

use super::plan::Paced;
use super::{Nodes, Stage};

/// Not above Kafka's.
const TARGET: Target = Target::Ratio(1.0);

/// Measures the paces one after the other.
pub async fn run(stage: &mut Stage<'_>, nodes: &mut Nodes, paces: &[Paced]) -> anyhow::Result<()> {
    for paced in paces {
        let topic = format!("pace-{}", fastrand::u32(..));
        let (ours, peer) = nodes.pair(paced.flush);
        for node in [&*ours, &*peer] {
            node.create(&topic, paced.partitions, paced.flush).await?;
        }
        let payloads = stage.payloads(paced.size)?;
        let (rate, counted) = (paced.size.rate(), paced.size.rate() * stage.args.seconds);
        let mut samples = Samples::default();
        for round in 0..stage.args.rounds {
            for first in [true, false] {
                let is_ours = first == (round % 2 == 0);
                let node = if is_ours { &*ours } else { &*peer };
                let load = Load {
                    bootstrap: &node.bootstrap,
                    topic: &topic,
                    records: 2 * counted,
                    size: paced.size.bytes(),
                    codec: "none",
                };
                let ms = latency(&stage.kafka, &load, &payloads, Pace { rate, warm_up: counted }).await?;
                if is_ours { samples.ours.push(ms) } else { samples.peer.push(ms) }
            }
        }
        stage.keep(Row::new(paced.row(), "ms", Better::Lower, &samples, Some(TARGET)));
        for node in [&*ours, &*peer] {
            node.delete(&topic).await?;
        }
    }
    Ok(())
}
