//! Other people's load: Kafka's performance tools and librdkafka's.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::process::Command;
use tokio::time::timeout;

use super::kafka::Kafka;

/// A tool that takes longer hangs.
const TOOL_MAX: Duration = Duration::from_secs(300);
/// Different records in a payload file.
const PAYLOADS: usize = 500;
/// Milliseconds the Java producer waits for a batch to fill unless told otherwise (its default since 4.0); librdkafka gets the same.
const LINGER_MS: u32 = 5;

/// What to send.
#[derive(Debug, Clone)]
pub struct Load<'a> {
    /// Address of the node.
    pub bootstrap: &'a str,
    /// Topic.
    pub topic: &'a str,
    /// Records.
    pub records: u64,
    /// Bytes of each.
    pub size: usize,
    /// Codec by its name.
    pub codec: &'a str,
}

/// How evenly to send.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Records a second.
    pub rate: u64,
    /// Records before latencies count.
    pub warm_up: u64,
}

/// Which client.
#[derive(Debug, Clone)]
pub enum Tool {
    /// `kafka-producer-perf-test` and `kafka-consumer-perf-test`.
    Java(Kafka),
    /// `rdkafka_performance`, by its path.
    Rdkafka(PathBuf),
}

impl Tool {
    /// Sends everything with acks=all, as fast as it goes.
    ///
    /// # Errors
    /// The tool fails.
    pub async fn produce(&self, load: &Load<'_>, payloads: &Path) -> anyhow::Result<()> {
        let command = match self {
            Self::Java(kafka) => java_producer(kafka, load, payloads, LINGER_MS, None),
            Self::Rdkafka(program) => rdkafka_producer(program, load, payloads)?,
        };
        run(command).await.map(|_| ())
    }

    /// Reads everything from the beginning, in a group of its own.
    ///
    /// # Errors
    /// The tool fails.
    pub async fn consume(&self, load: &Load<'_>) -> anyhow::Result<()> {
        let records = load.records.to_string();
        let group = format!("bench-{}", fastrand::u32(..));
        let command = match self {
            Self::Java(kafka) => {
                let class = "org.apache.kafka.tools.ConsumerPerformance";
                let place = ["--bootstrap-server", load.bootstrap, "--topic", load.topic, "--group", &group];
                kafka.tool(&[&[class][..], &place, &["--num-records", &records, "--timeout", "60000"]].concat())
            }
            Self::Rdkafka(program) => {
                let mut command = quiet(program);
                command.args(["-G", &group, "-t", load.topic, "-b", load.bootstrap, "-c", &records, "-q"]);
                command.args(["-X", "auto.offset.reset=earliest"]);
                command
            }
        };
        run(command).await.map(|_| ())
    }
}

/// Sends at an even pace, without lingering; the 99th percentile of the latencies after the warm-up, ms.
///
/// # Errors
/// The tool fails, or says something else.
pub async fn latency(kafka: &Kafka, load: &Load<'_>, payloads: &Path, pace: Pace) -> anyhow::Result<f64> {
    let said = run(java_producer(kafka, load, payloads, 0, Some(pace))).await?;
    percentile_99(&said).with_context(|| format!("no 99th percentile in {said:?}"))
}

fn java_producer(kafka: &Kafka, load: &Load<'_>, payloads: &Path, linger_ms: u32, pace: Option<Pace>) -> Command {
    let class = "org.apache.kafka.tools.ProducerPerformance";
    let (records, payloads) = (load.records.to_string(), payloads.display().to_string());
    let throughput = pace.map_or_else(|| "-1".to_owned(), |pace| pace.rate.to_string());
    let mut arguments = vec![class, "--bootstrap-server", load.bootstrap, "--topic", load.topic];
    arguments.extend(["--num-records", &records, "--payload-file", &payloads, "--throughput", &throughput]);
    let warm_up = pace.map(|pace| pace.warm_up.to_string());
    arguments.extend(warm_up.iter().flat_map(|records| ["--warmup-records", records.as_str()]));
    let (codec, linger) = (format!("compression.type={}", load.codec), format!("linger.ms={linger_ms}"));
    arguments.extend(["--command-property", "acks=all", &codec, &linger]);
    kafka.tool(&arguments)
}

/// It repeats one pattern, so only uncompressed loads mean something.
fn rdkafka_producer(program: &Path, load: &Load<'_>, payloads: &Path) -> anyhow::Result<Command> {
    let text = std::fs::read_to_string(payloads).context("read payloads")?;
    let (size, records) = (load.size.to_string(), load.records.to_string());
    let mut command = quiet(program);
    command.args(["-P", "-t", load.topic, "-b", load.bootstrap, "-s", &size, "-c", &records, "-q"]);
    command.args(["-m", text.lines().next().unwrap_or_default().get(..64).unwrap_or("payload")]);
    command.args(["-a", "-1", "-z", load.codec, "-X", &format!("linger.ms={LINGER_MS}")]);
    command.args(["-X", "queue.buffering.max.messages=200000"]);
    Ok(command)
}

fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> anyhow::Result<String> {
    let output = timeout(TOOL_MAX, command.output()).await;
    let output = output.context("a performance tool hangs")?.context("start a performance tool")?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{:?} ended with {}: {said}", command.as_std(), output.status);
    Ok(said)
}

/// `..., 1 ms 50th, 2 ms 95th, 3 ms 99th, 8 ms 99.9th.` -> 3, of the last such line: that is the one without the warm-up.
fn percentile_99(said: &str) -> Option<f64> {
    let line = said.lines().rev().find(|line| line.contains(" ms 99th"))?;
    line.split(" ms 99th").next()?.rsplit(' ').next()?.parse().ok()
}

/// Writes a file of records that look like JSON with numbers in it, one a line; the same at every call.
///
/// # Errors
/// The file cannot be written.
pub fn write_payloads(path: &Path, size: usize) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(size as u64);
    let mut text = String::with_capacity(PAYLOADS * (size + 1));
    for _ in 0..PAYLOADS {
        let end = text.len() + size;
        while text.len() < end {
            let (user, amount) = (random.u32(..1_000_000), random.u32(..100_000));
            text.push_str(&format!(
                "{{\"user\":\"u-{user:06}\",\"amount\":{amount},\"token\":\"{:016x}\"}},",
                random.u64(..)
            ));
        }
        text.truncate(end);
        text.push('\n');
    }
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_that_of_the_steady_state() {
        let said = "5 records sent, 99.8 records/sec (9.76 MB/sec), 1.2 ms avg latency, 45.00 ms max latency, 1 ms 50th, 2 ms 95th, 30 ms 99th, 8 ms 99.9th.\n\
                    4 steady state records sent, 9 records/sec, 1.2 ms avg latency, 1 ms 50th, 2 ms 95th, 3 ms 99th, 8 ms 99.9th.\n";
        assert_eq!(percentile_99(said), Some(3.0));
        assert_eq!(percentile_99("nothing"), None);
    }

    #[test]
    fn payloads_have_their_size_and_do_not_repeat() {
        let path = std::env::temp_dir().join(format!("causeway-payloads-{}", std::process::id()));
        write_payloads(&path, 100).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: std::collections::BTreeSet<&str> = text.lines().collect();
        assert_eq!(lines.len(), PAYLOADS);
        assert!(lines.iter().all(|line| line.len() == 100));
    }
}
