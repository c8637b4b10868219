//! A replicator that drains one topic: ours, or MirrorMaker 2 as a careful operator sets it up.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use causeway::drill::processes::{Process, Spec, free_port};
use causeway_wire::client::{Client, ClientConfig, TIMESTAMP_LATEST};

use super::PARTITIONS;
use crate::bench::kafka::Kafka;
use crate::bench::usage::{cpu_seconds, resident_mb};

/// A backlog that is not drained by then never will be.
const DRAIN_MAX: Duration = Duration::from_secs(300);
/// Between two looks at the target.
const LOOK: Duration = Duration::from_millis(25);
/// It is asked to end, and then killed: what it would still write is nobody's business.
const STOP_MAX: Duration = Duration::from_secs(10);

/// What draining has cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// CPU seconds for all records: of ours from its start on, of a JVM from its first record on.
    pub cpu_seconds: f64,
    /// Peak of resident memory, MB.
    pub peak_mb: f64,
    /// From the first record at the target to the last, seconds.
    pub seconds: f64,
}

/// A running replicator.
pub struct Replicator {
    process: Process,
    /// Markers that it leaves beside the records: our fence, one per lane.
    markers: u64,
    /// What it used before its first record counts too; not for a JVM, which compiles itself first.
    counts_start: bool,
}

impl Replicator {
    /// `causeway run` with the batch engine, exactly once.
    pub fn ours(program: &Path, dir: &Path, topic: &str, (source, target): (&str, &str)) -> anyhow::Result<Self> {
        let text = format!(
            "[clusters.a]\nbootstrap = \"{source}\"\n[clusters.b]\nbootstrap = \"{target}\"\n\
             [[flows]]\nname = \"{topic}\"\nfrom = \"a\"\nto = \"b\"\ntopics = {{ include = [\"{topic}\"] }}\n\
             delivery = \"exactly-once\"\n[admin]\nlisten = \"127.0.0.1:{}\"\n[store]\ndir = \"{}\"\n",
            free_port()?,
            dir.join(format!("store-{topic}")).display()
        );
        let file = dir.join(format!("{topic}.toml"));
        std::fs::write(&file, text).context("write our configuration")?;
        let args = ["run", "-c", &file.display().to_string()].map(str::to_owned).to_vec();
        let spec = Spec {
            name: "causeway".into(),
            program: program.to_owned(),
            args,
            env: Vec::new(),
            log: dir.join(format!("{topic}.log")),
        };
        Ok(Self { process: Process::spawn(spec)?, markers: PARTITIONS.unsigned_abs().into(), counts_start: true })
    }

    /// MirrorMaker 2, tuned: four tasks, large batches, five in flight, the codec of the source.
    pub fn mm2(
        kafka: &Kafka,
        dir: &Path,
        topic: &str,
        (source, target): (&str, &str),
        codec: &str,
    ) -> anyhow::Result<Self> {
        let file = dir.join(format!("{topic}.properties"));
        std::fs::write(&file, properties(topic, source, target, codec)).context("write MirrorMaker's settings")?;
        let spec = Spec {
            name: "mm2".into(),
            program: "java".into(),
            args: kafka.mirror(&file),
            env: Vec::new(),
            log: dir.join(format!("{topic}-mm2.log")),
        };
        Ok(Self { process: Process::spawn(spec)?, markers: 0, counts_start: false })
    }

    /// Waits until `topic` holds `records` at the target, and ends it.
    pub async fn drain(mut self, target: &str, topic: &str, records: u64) -> anyhow::Result<Cost> {
        let client = Client::connect(ClientConfig::new([target.to_owned()])).await?;
        let pid = self.process.pid().context("the replicator is not running")?;
        let (began, mut first) = (Instant::now(), None);
        loop {
            self.process.check()?;
            let held = held(&client, topic).await;
            if held > 0 && first.is_none() {
                let used = if self.counts_start { 0.0 } else { cpu_seconds(pid)? };
                first = Some((Instant::now(), used, if self.counts_start { 0 } else { held }));
            }
            if held >= records + self.markers
                && let Some((since, used, before)) = first
            {
                let part = (records - before.min(records - 1)) as f64 / records as f64;
                let cost = Cost {
                    cpu_seconds: (cpu_seconds(pid)? - used) / part,
                    peak_mb: resident_mb(pid)?.1,
                    seconds: since.elapsed().as_secs_f64(),
                };
                if self.process.terminate(STOP_MAX)?.is_none() {
                    self.process.kill()?;
                }
                return Ok(cost);
            }
            ensure!(began.elapsed() < DRAIN_MAX, "{held} of {records} records of {topic} after {DRAIN_MAX:?}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Offsets at the target.
async fn held(client: &Client, topic: &str) -> u64 {
    let mut held = 0;
    for partition in 0..PARTITIONS {
        let listed = client.list_offset(topic, partition, TIMESTAMP_LATEST).await;
        held += listed.map_or(0, |listed| u64::try_from(listed.offset).unwrap_or(0));
    }
    held
}

/// Where a setting stands decides whether it does anything; these places do.
fn properties(topic: &str, source: &str, target: &str, codec: &str) -> String {
    format!(
        "clusters = A, B\nA.bootstrap.servers = {source}\nB.bootstrap.servers = {target}\n\
         A->B.enabled = true\nA->B.topics = {topic}\nB->A.enabled = false\ntasks.max = 4\n\
         replication.factor = 1\ncheckpoints.topic.replication.factor = 1\nheartbeats.topic.replication.factor = 1\n\
         offset-syncs.topic.replication.factor = 1\noffset.storage.replication.factor = 1\n\
         status.storage.replication.factor = 1\nconfig.storage.replication.factor = 1\n\
         refresh.topics.interval.seconds = 5\n\
         A.consumer.auto.offset.reset = earliest\nA.consumer.max.poll.records = 5000\n\
         A.consumer.fetch.max.bytes = 67108864\nA.consumer.max.partition.fetch.bytes = 4194304\n\
         A->B.producer.override.batch.size = 524288\nA->B.producer.override.linger.ms = 20\n\
         A->B.producer.override.max.in.flight.requests.per.connection = 5\n\
         A->B.producer.override.enable.idempotence = true\nA->B.producer.override.compression.type = {codec}\n\
         A->B.producer.override.buffer.memory = 134217728\n"
    )
}
