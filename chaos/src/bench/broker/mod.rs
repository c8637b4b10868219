//! The included broker against a real Apache Kafka node.

mod latency;
mod limits;
mod memory;
mod plan;
mod start;
mod throughput;

use std::path::{Path, PathBuf};

use super::kafka::{self, Kafka};
use super::nodes::{Flush, Maker, Node};
use super::rows::{Report, Row};
use super::tools::{Load, Tool, write_payloads};
use crate::Common;
use plan::{Cell, Size};

/// A run that flushes takes so many times longer, by its flushes and not by its bytes: so much less of it tells as much.
const FLUSHED_SHARE: u64 = 4;

/// Settings of `bench broker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only rows whose names begin so (repeatable, or with commas): `produce-cpu/1KB`, `fetch-cpu`, `p99`, `rss`, `start`, `limit`, `share`
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    rows: Vec<String>,
    /// Rounds, each ours and the peer's turn about
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Megabytes of records a throughput run sends or reads
    #[arg(long, value_name = "MB", default_value_t = 200)]
    megabytes: u64,
    /// Seconds that a latency run counts, after a warm-up as long
    #[arg(long, value_name = "S", default_value_t = 4)]
    seconds: u64,
    /// Gigabytes of log for the rows of the start
    #[arg(long, value_name = "GB", default_value_t = 10)]
    start_gigabytes: u64,
    /// Kafka's jars (default: those that the tests keep in `target/tmp`, fetched by Maven if they are not there)
    #[arg(long, value_name = "DIR")]
    kafka_jars: Option<PathBuf>,
    /// librdkafka's `rdkafka_performance`, for the rows by that client
    #[arg(long, value_name = "PATH")]
    rdkafka_performance: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: Common,
}

impl Args {
    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|prefix| row.starts_with(prefix.as_str()))
    }

    /// Whether a row has to be measured: for itself, or for its share of a limit.
    fn needs(&self, row: &str) -> bool {
        self.wants(row) || self.wants(&format!("share/{row}"))
    }

    fn needs_any<'a>(&self, rows: impl IntoIterator<Item = &'a String>) -> bool {
        rows.into_iter().any(|row| self.needs(row))
    }
}

/// What all rows of a run share.
struct Stage<'a> {
    args: &'a Args,
    program: &'a Path,
    dir: &'a Path,
    kafka: Kafka,
    say: &'a dyn Fn(String),
    rows: Vec<Row>,
}

impl Stage<'_> {
    /// A file of records of this size.
    fn payloads(&self, size: Size) -> anyhow::Result<PathBuf> {
        let path = self.dir.join(format!("payloads-{}", size.name()));
        if !path.exists() {
            write_payloads(&path, size.bytes())?;
        }
        Ok(path)
    }

    /// Records that make up the volume of a throughput run.
    fn records(&self, size: Size, flush: Flush) -> u64 {
        let bytes = match flush {
            Flush::Os => self.args.megabytes * 1_000_000,
            Flush::Ack => self.args.megabytes * 1_000_000 / FLUSHED_SHARE,
        };
        (bytes / size.bytes() as u64).max(1)
    }

    fn java(&self) -> Tool {
        Tool::Java(self.kafka.clone())
    }

    fn ours(&self, flush: Flush) -> Maker {
        Maker::Ours(self.program.to_owned(), flush)
    }

    fn theirs(&self) -> Maker {
        Maker::Kafka(self.kafka.clone())
    }

    fn keep(&mut self, row: Row) {
        let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        (self.say)(format!("{} ours {:?} peer {:?} {} ratio {ratio}", row.row, row.ours, row.peer, row.unit));
        self.rows.push(row);
    }
}

/// The nodes of a run: ours for each way to flush, and the peer, which is told for each topic.
struct Nodes {
    os: Node,
    ack: Node,
    peer: Node,
}

impl Nodes {
    /// Starts them, and runs every one warm: a JVM that has not compiled its code yet is no peer.
    async fn start(stage: &Stage<'_>) -> anyhow::Result<Self> {
        let mut nodes = Self {
            os: Node::start(&stage.ours(Flush::Os), stage.dir, "ours-os").await?,
            ack: Node::start(&stage.ours(Flush::Ack), stage.dir, "ours-ack").await?,
            peer: Node::start(&stage.theirs(), stage.dir, "kafka").await?,
        };
        (stage.say)("nodes run; warming them".to_owned());
        for codec in ["none", "lz4", "zstd"] {
            nodes.warm(stage, Size::Kilo, codec).await?;
        }
        Ok(nodes)
    }

    /// Sends a run's volume to the peer and to ours, and reads it back.
    async fn warm(&mut self, stage: &Stage<'_>, size: Size, codec: &str) -> anyhow::Result<()> {
        let topic = format!("warm-{codec}");
        let (records, payloads) = (stage.records(size, Flush::Os), stage.payloads(size)?);
        for node in [&self.os, &self.peer] {
            node.create(&topic, 1, Flush::Os).await?;
            let load = Load { bootstrap: &node.bootstrap, topic: &topic, records, size: size.bytes(), codec };
            stage.java().produce(&load, &payloads).await?;
            stage.java().consume(&load).await?;
            node.delete(&topic).await?;
        }
        Ok(())
    }

    /// Ours and the peer, for one way to flush.
    fn pair(&mut self, flush: Flush) -> (&mut Node, &mut Node) {
        match flush {
            Flush::Os => (&mut self.os, &mut self.peer),
            Flush::Ack => (&mut self.ack, &mut self.peer),
        }
    }
}

/// Measures every row that is wanted.
pub async fn run(args: &Args, program: &Path, dir: &Path, say: &dyn Fn(String)) -> anyhow::Result<Report> {
    let mut skipped = Vec::new();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let about = format!(
        "causeway broker against Apache Kafka {} on {cores} cores: {} rounds, {} MB a run, CPU of the brokers alone",
        kafka::VERSION,
        args.rounds,
        args.megabytes
    );
    let kafka = match Kafka::find(args.kafka_jars.as_deref(), &super::cache()?, dir).await {
        Ok(kafka) => kafka,
        Err(why) => {
            skipped.push(format!("every row: there is no peer, {why:#}"));
            return Ok(Report { about, skipped, rows: Vec::new() });
        }
    };
    let mut stage = Stage { args, program, dir, kafka, say, rows: Vec::new() };
    limits::run(&mut stage)?;
    let cells: Vec<Cell> = plan::cells().into_iter().filter(|cell| args.needs_any(&cell.rows())).collect();
    let paces = plan::paces().into_iter().filter(|pace| args.wants(&pace.row())).collect::<Vec<_>>();
    let tool = args.rdkafka_performance.clone().map(Tool::Rdkafka);
    let others: Vec<Cell> = plan::rdkafka_cells().into_iter().filter(|cell| args.needs_any(&cell.rows())).collect();
    if tool.is_none() && !others.is_empty() {
        skipped.push("rows by librdkafka: name its program with --rdkafka-performance PATH".to_owned());
    }
    let others = if tool.is_some() { others } else { Vec::new() };
    if !cells.is_empty() || !paces.is_empty() || !others.is_empty() {
        let mut nodes = Nodes::start(&stage).await?;
        let java = stage.java();
        throughput::run(&mut stage, &mut nodes, &java, &cells).await?;
        if let Some(tool) = tool {
            throughput::run(&mut stage, &mut nodes, &tool, &others).await?;
        }
        latency::run(&mut stage, &mut nodes, &paces).await?;
    }
    memory::run(&mut stage).await?;
    start::run(&mut stage).await?;
    limits::shares(&mut stage);
    let rows = stage.rows.into_iter().filter(|row| args.wants(&row.row)).collect();
    Ok(Report { about, skipped, rows })
}
