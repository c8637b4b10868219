//! The mirror against a real MirrorMaker 2: both drain the same backlog between the same two Apache Kafka nodes, turn about.

mod replicator;

use std::path::{Path, PathBuf};

use super::kafka::{self, Kafka};
use super::nodes::{Flush, Maker, Node};
use super::rows::{Better, Report, Row, Samples, Target};
use super::tools::{Load, Tool, write_payloads};
use crate::Common;
use replicator::Replicator;

/// Partitions of each topic.
const PARTITIONS: i32 = 8;

/// Settings of `bench mm2`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only rows whose names begin so (repeatable, or with commas): `cpu/1KB`, `rss`
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    rows: Vec<String>,
    /// Rounds, each ours and the peer's turn about
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Megabytes of records that are drained in a round
    #[arg(long, value_name = "MB", default_value_t = 400)]
    megabytes: u64,
    /// Jars of Kafka and MirrorMaker 2 (default: kept in `target/tmp`, fetched by Maven if they are not there)
    #[arg(long, value_name = "DIR")]
    kafka_jars: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// What is drained: bytes of a record, codec of its batches, and by how much less we have to use.
struct Cell {
    size: usize,
    name: &'static str,
    codec: &'static str,
    least: f64,
}

const CELLS: [Cell; 3] = [
    Cell { size: 1024, name: "1KB", codec: "none", least: 12.0 },
    Cell { size: 1024, name: "1KB", codec: "lz4", least: 30.0 },
    Cell { size: 100, name: "100B", codec: "lz4", least: 90.0 },
];

impl Cell {
    fn row(&self, what: &str) -> String {
        format!("{what}/{}/{}", self.name, self.codec)
    }
}

/// Measures every row that is wanted.
pub async fn run(args: &Args, program: &Path, dir: &Path, say: &dyn Fn(String)) -> anyhow::Result<Report> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let about = format!(
        "causeway run against MirrorMaker 2 of Apache Kafka {} on {cores} cores: {} rounds, {} MB drained in each, CPU of the replicator alone",
        kafka::VERSION,
        args.rounds,
        args.megabytes
    );
    let mut report = Report { about, skipped: Vec::new(), rows: Vec::new() };
    let kafka = match Kafka::find_with_mirror(args.kafka_jars.as_deref(), &super::cache()?, dir).await {
        Ok(kafka) => kafka,
        Err(why) => {
            report.skipped.push(format!("every row: there is no peer, {why:#}"));
            return Ok(report);
        }
    };
    let wants = |row: &str| args.rows.is_empty() || args.rows.iter().any(|prefix| row.starts_with(prefix.as_str()));
    let source = Node::start(&Maker::Kafka(kafka.clone()), dir, "source").await?;
    let target = Node::start(&Maker::Kafka(kafka.clone()), dir, "target").await?;
    let clusters = (source.bootstrap.as_str(), target.bootstrap.as_str());
    for cell in CELLS.iter().filter(|cell| ["cpu", "rss", "rate"].iter().any(|what| wants(&cell.row(what)))) {
        let (mut cpu, mut memory, mut rate) = (Samples::default(), Samples::default(), Samples::default());
        for round in 0..args.rounds {
            let topic = format!("t{}-{}-{round}", cell.size, cell.codec);
            let records = fill(args, &kafka, &source, cell, &topic, dir).await?;
            let gigabytes = (records * cell.size as u64) as f64 / 1e9;
            let ours = Replicator::ours(program, dir, &topic, clusters)?.drain(clusters.1, &topic, records).await?;
            target.delete(&topic).await?;
            let theirs = Replicator::mm2(&kafka, dir, &topic, clusters, cell.codec)?;
            let copy = format!("A.{topic}");
            let theirs = theirs.drain(clusters.1, &copy, records).await?;
            target.delete(&copy).await?;
            source.delete(&topic).await?;
            cpu.ours.push(ours.cpu_seconds / gigabytes);
            cpu.peer.push(theirs.cpu_seconds / gigabytes);
            memory.ours.push(ours.peak_mb);
            memory.peer.push(theirs.peak_mb);
            rate.ours.push(gigabytes * 1_000.0 / ours.seconds);
            rate.peer.push(gigabytes * 1_000.0 / theirs.seconds);
            say(format!("{} round {round}: {ours:?} against {theirs:?}", cell.row("cpu")));
        }
        let least = Some(Target::Ratio(cell.least));
        report.rows.push(Row::new(cell.row("cpu"), "CPU-s/GB", Better::Lower, &cpu, least));
        report.rows.push(Row::new(cell.row("rss"), "MB", Better::Lower, &memory, None));
        report.rows.push(Row::new(cell.row("rate"), "MB/s", Better::Higher, &rate, None));
    }
    report.rows.retain(|row| wants(&row.row));
    Ok(report)
}

/// A topic with a backlog; answers how many records it has.
async fn fill(args: &Args, kafka: &Kafka, source: &Node, cell: &Cell, topic: &str, dir: &Path) -> anyhow::Result<u64> {
    source.create(topic, PARTITIONS, Flush::Os).await?;
    let payloads = dir.join(format!("payloads-{}", cell.size));
    if !payloads.exists() {
        write_payloads(&payloads, cell.size)?;
    }
    let records = (args.megabytes * 1_000_000 / cell.size as u64).max(1);
    let load = Load { bootstrap: &source.bootstrap, topic, records, size: cell.size, codec: cell.codec };
    Tool::Java(kafka.clone()).produce(&load, &payloads).await?;
    Ok(records)
}
