//! `causeway broker` as a child process, and librdkafka clients on it.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

pub mod txn_client;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A broker process that dies with this value.
pub struct BrokerProcess {
    child: Child,
    pub address: String,
    dir: PathBuf,
}

impl BrokerProcess {
    /// Starts on a port of the system's choice, or on the one given.
    pub fn start(dir: &Path, port: u16, settings: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
        command.arg("broker").arg("--exit-with-stdin");
        let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{port}");
        let dirs = format!("log.dirs={}", dir.display());
        for setting in [listeners.as_str(), dirs.as_str(), "group.initial.rebalance.delay.ms=0"].iter().chain(settings)
        {
            command.arg("--override").arg(setting);
        }
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("broker started listener=") {
                    let _ = sender.try_send(rest.split(' ').next().unwrap_or("").to_owned());
                }
            }
        });
        let address = receiver.recv_timeout(PATIENCE).expect("the broker says where it listens");
        Self { child, address, dir: dir.to_owned() }
    }

    /// `kill -9`.
    pub fn kill(mut self) -> PathBuf {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.dir.clone()
    }

    /// SIGTERM by way of a closed stdin; waits for the end.
    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the broker did not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a topic from its start until `count` records came: (partition, offset, key, payload).
pub fn read_all(config: &ClientConfig, topic: &str, count: usize) -> Vec<(i32, i64, Vec<u8>, Vec<u8>)> {
    let mut config = config.clone();
    config.set("group.id", "reader").set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    for p in metadata.topics()[0].partitions() {
        list.add_partition_offset(topic, p.id(), rdkafka::Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut out = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while out.len() < count && Instant::now() < deadline {
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            let m = message.unwrap();
            let bytes = |b: Option<&[u8]>| b.unwrap_or_default().to_vec();
            out.push((m.partition(), m.offset(), bytes(m.key()), bytes(m.payload())));
        }
    }
    out
}
