//! The two brokers of a benchmark, each a process of its own, asked in the same words.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use causeway::drill::logs::create_topic;
use causeway::drill::processes::{Process, Spec, free_port};
use causeway_wire::client::{Client, ClientConfig};
use causeway_wire::messages::delete_topics::DeleteTopicsRequest;

use super::kafka::Kafka;

/// A node that opened its port and does not serve within this is not going to.
const READY_MAX: Duration = Duration::from_secs(120);
/// How often a starting node is knocked at: below what is measured.
const KNOCK: Duration = Duration::from_millis(2);
/// A node that was asked to stop gets so long.
const STOP_MAX: Duration = Duration::from_secs(60);

/// When a node flushes what it appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flush {
    /// Never by itself.
    Os,
    /// Before it acknowledges.
    Ack,
}

impl Flush {
    /// As in the names of rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Os => "flush-os",
            Self::Ack => "flush-ack",
        }
    }
}

/// Whose program a node runs.
#[derive(Debug, Clone)]
pub enum Maker {
    /// `causeway broker`, by the path of the binary, and when it flushes.
    Ours(PathBuf, Flush),
    /// Apache Kafka; when it flushes is said for each topic.
    Kafka(Kafka),
}

/// A running node with its data.
pub struct Node {
    /// `127.0.0.1:PORT`.
    pub bootstrap: String,
    maker: Maker,
    process: Process,
}

impl Node {
    /// Starts a node with an empty folder `dir/name` and waits until it serves.
    ///
    /// # Errors
    /// The program cannot be started, or does not serve in time.
    pub async fn start(maker: &Maker, dir: &Path, name: &str) -> anyhow::Result<Self> {
        let data = dir.join(name);
        std::fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
        let port = free_port()?;
        let bootstrap = format!("127.0.0.1:{port}");
        let log = dir.join(format!("{name}.log"));
        let (program, args) = match maker {
            Maker::Ours(program, flush) => (program.clone(), ours(port, &data, *flush)),
            Maker::Kafka(kafka) => ("java".into(), format(kafka, dir, name, port, &data).await?),
        };
        let spec = Spec { name: name.to_owned(), program, args, env: Vec::new(), log };
        let process = Process::spawn(spec)?;
        let mut node = Self { bootstrap, maker: maker.clone(), process };
        node.serves(None).await?;
        Ok(node)
    }

    /// The process.
    ///
    /// # Errors
    /// It has ended.
    pub fn pid(&mut self) -> anyhow::Result<u32> {
        self.process.check()?;
        self.process.pid().context("the node is not running")
    }

    /// Starts it again after [`stop`](Self::stop); how long it took until it answered for `topic`.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn restart(&mut self, topic: &str) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.process.start()?;
        self.serves(Some(topic)).await?;
        Ok(begun.elapsed())
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let status = self.process.terminate(STOP_MAX)?;
        ensure!(status.is_some(), "{} did not end within {STOP_MAX:?}", self.process.name());
        Ok(())
    }

    /// Kills it with -9.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        Ok(())
    }

    /// Makes a topic whose files go soon after it.
    ///
    /// # Errors
    /// The node refuses.
    pub async fn create(&self, topic: &str, partitions: i32, flush: Flush) -> anyhow::Result<()> {
        let mut settings = vec![("file.delete.delay.ms", "1000")];
        if matches!(self.maker, Maker::Kafka(_)) && flush == Flush::Ack {
            settings.push(("flush.messages", "1")); // the topic's log.flush.interval.messages
        }
        let client = Client::connect(ClientConfig::new([self.bootstrap.clone()])).await?;
        create_topic(&client, topic, partitions, &settings).await?;
        Ok(())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// The node refuses.
    pub async fn delete(&self, topic: &str) -> anyhow::Result<()> {
        let client = Client::connect(ClientConfig::new([self.bootstrap.clone()])).await?;
        let request =
            DeleteTopicsRequest { topic_names: vec![topic.to_owned()], timeout_ms: 30_000, ..Default::default() };
        let answer = client.any(request).await?;
        let refused = answer.responses.iter().find(|r| r.error_code != 0);
        ensure!(refused.is_none(), "delete {topic}: {refused:?}");
        Ok(())
    }

    /// Waits until it answers, for every partition of a topic if one is named.
    async fn serves(&mut self, topic: Option<&str>) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            self.process.check()?;
            if self.answers(topic).await {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.process.not_ready(READY_MAX).into());
            }
            tokio::time::sleep(KNOCK).await;
        }
    }

    async fn answers(&self, topic: Option<&str>) -> bool {
        let Ok(client) = Client::connect(ClientConfig::new([self.bootstrap.clone()])).await else { return false };
        let Some(topic) = topic else { return true };
        let Ok(answer) = client.metadata(Some(&[topic])).await else { return false };
        let led = |t: &causeway_wire::messages::metadata::MetadataResponseTopic| {
            t.error_code == 0 && !t.partitions.is_empty() && t.partitions.iter().all(|p| p.leader_id >= 0)
        };
        answer.topics.first().is_some_and(led)
    }
}

fn ours(port: u16, data: &Path, flush: Flush) -> Vec<String> {
    let flush = match flush {
        Flush::Os => "os",
        Flush::Ack => "ack",
    };
    let settings = [
        format!("listeners=PLAINTEXT://127.0.0.1:{port}"),
        format!("log.dirs={}", data.display()),
        format!("log.flush={flush}"),
    ];
    let arguments = settings.into_iter().flat_map(|setting| ["--override".to_owned(), setting]);
    ["broker".to_owned(), "--exit-with-stdin".to_owned()].into_iter().chain(arguments).collect()
}

/// Formats Kafka's folder; the arguments of `java` for its broker.
async fn format(kafka: &Kafka, dir: &Path, name: &str, port: u16, data: &Path) -> anyhow::Result<Vec<String>> {
    let controller = free_port()?;
    let properties = dir.join(format!("{name}.properties"));
    std::fs::write(&properties, settings(port, controller, data)).context("write Kafka's settings")?;
    let path = properties.display().to_string();
    // A cluster.id is 16 bytes in URL-safe base64; the characters of a port are legal there.
    let id = format!("benchmarkxxxxxxxx{port:05}");
    let output = kafka.tool(&["kafka.tools.StorageTool", "format", "-t", &id, "-c", &path]).output().await;
    let output = output.context("start Kafka's format tool")?;
    ensure!(output.status.success(), "Kafka's format tool: {}", String::from_utf8_lossy(&output.stderr));
    Ok(kafka.broker(&["kafka.Kafka", &path]))
}

/// Kafka's own `server.properties`, at one node's replication factors.
fn settings(port: u16, controller: u16, data: &Path) -> String {
    let data = data.display();
    format!(
        "node.id=1\n\
         process.roles=broker,controller\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         log.dirs={data}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         num.network.threads=3\n\
         num.io.threads=8\n\
         socket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\n\
         group.initial.rebalance.delay.ms=0\n"
    )
}
