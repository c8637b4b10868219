//! Two included brokers and a daemon between them, under load, and what a sceptical user asks of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use causeway_wire::client::{Client, ClientConfig, Isolation, TIMESTAMP_EARLIEST, TIMESTAMP_LATEST};
use causeway_wire::records::{Batches, DECOMPRESSED_BYTES_MAX, decode_records};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::Value;

use super::load::{self, block_on};
use super::process::{Broker, Daemon, both};
use super::{flow, free_port, wait_for};

/// Until something must have happened on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Two brokers, east and west, and a folder for everything.
pub struct Pair {
    pub east: Broker,
    pub west: Broker,
    pub dir: tempfile::TempDir,
}

impl Pair {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let east = Broker::start(dir.path(), "east", free_port());
        let west = Broker::start(dir.path(), "west", free_port());
        Pair { east, west, dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What `init` prints, looked at every second.
    pub fn text(&self, topology: &str) -> String {
        let text = flow::init(&self.east.bootstrap, &self.west.bootstrap, topology);
        text.replace("naming = \"identity\" ", "refresh = { topics = \"1s\", groups = \"1s\" }\nnaming = \"identity\" ")
    }

    /// A daemon that copies east to west exactly once.
    pub fn exactly_once(&self) -> Daemon {
        let text = self.text("active-passive");
        Daemon::start(self.path(), &text.replace("naming = ", "delivery = \"exactly-once\"\nnaming = "))
    }

    /// A daemon that copies east to west.
    pub fn daemon(&self) -> Daemon {
        Daemon::start(self.path(), &self.text("active-passive"))
    }
}

/// The flow of active-passive.
pub const FLOW: &str = "east-to-west";

/// One record as it lies in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rec {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Rec {
    /// Its value as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// All that a mirror must keep.
    pub fn content(&self) -> Self {
        Rec { offset: 0, ..self.clone() }
    }
}

pub async fn client(bootstrap: &str) -> Client {
    // a disk that is busy with somebody else's work holds up a broker for seconds
    let config = ClientConfig { connect_timeout: SOON, ..ClientConfig::new([bootstrap]) };
    Client::connect(config).await.unwrap()
}

/// Everything that a partition holds, in order.
pub fn log(bootstrap: &str, topic: &str, partition: i32) -> Vec<Rec> {
    block_on(async {
        let client = client(bootstrap).await;
        let ends = async |at| client.list_offset(topic, partition, at).await.unwrap().offset;
        let (mut next, end) = (ends(TIMESTAMP_EARLIEST).await, ends(TIMESTAMP_LATEST).await);
        let mut records = Vec::new();
        while next < end {
            let fetched = client.fetch_batches(topic, partition, next, 8 << 20, Isolation::ReadUncommitted).await;
            let before = next;
            for batch in Batches::new(fetched.unwrap().batches) {
                let batch = batch.unwrap();
                // markers are not for readers
                let control = batch.header.attributes.is_control();
                let records_in =
                    if control { Vec::new() } else { decode_records(&batch, DECOMPRESSED_BYTES_MAX).unwrap() };
                for record in records_in {
                    let offset = batch.header.offset_at(record.offset_delta);
                    if offset >= before {
                        let bytes = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|bytes| bytes.to_vec());
                        records.push(Rec {
                            offset,
                            timestamp: batch.header.timestamp_at(record.timestamp_delta),
                            key: bytes(&record.key),
                            value: bytes(&record.value),
                            headers: record.headers.iter().map(|h| (h.key.to_vec(), bytes(&h.value))).collect(),
                        });
                    }
                }
                next = next.max(batch.header.next_offset());
            }
            assert!(next > before, "{topic}-{partition}: nothing is served at {before}, end {end}");
        }
        records
    })
}

/// The end of a partition; `None` while it is not there.
pub fn end(bootstrap: &str, topic: &str, partition: i32) -> Option<i64> {
    let ask = async { client(bootstrap).await.list_offset(topic, partition, TIMESTAMP_LATEST).await };
    block_on(ask).ok().map(|listed| listed.offset)
}

/// A producer that writes `TAG-0`, `TAG-1`, ... round robin over the partitions until it is stopped; every record is acknowledged.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Load {
    pub fn start(bootstrap: &str, topic: &str, partitions: i32, tag: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, bootstrap, topic, tag) = (stop.clone(), bootstrap.to_owned(), topic.to_owned(), tag.to_owned());
        let thread = std::thread::spawn(move || {
            let producer = load::producer(&bootstrap, &[]);
            let mut sent = 0;
            while !until.load(Ordering::SeqCst) {
                for _ in 0..20 {
                    write_one(&producer, &topic, i32::try_from(sent).unwrap() % partitions, &format!("{tag}-{sent}"));
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            producer.flush(SOON).unwrap();
            sent
        });
        Load { stop, thread: Some(thread) }
    }

    /// Stops it; how many records it wrote.
    pub fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn write_one(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value.as_bytes());
    while let Err((_, back)) = producer.send(record) {
        producer.poll(Duration::from_millis(10));
        record = back;
    }
    producer.poll(Duration::ZERO);
}

/// Writes `values` to one partition, acknowledged when it returns.
pub fn write(bootstrap: &str, topic: &str, partition: i32, values: impl IntoIterator<Item = String>) {
    let producer = load::producer(bootstrap, &[]);
    for value in values {
        write_one(&producer, topic, partition, &value);
    }
    producer.flush(SOON).unwrap();
}

/// Waits until the last record of every source partition is in the same partition of the target.
pub fn caught_up(source: &str, target: &str, topic: &str, partitions: i32) {
    for partition in 0..partitions {
        let wanted = log(source, topic, partition).last().map(Rec::text);
        wait_for(&format!("the last record of {topic}-{partition}, {wanted:?}"), SOON, || {
            end(target, topic, partition)?;
            let there = log(target, topic, partition);
            (wanted.is_none() || there.iter().rev().any(|record| Some(record.text()) == wanted)).then_some(())
        });
    }
}

/// Asserts that a target partition holds every record of the source, whole and in its order; copies of records that were sent
/// again may follow. Answers how many were there more than once.
pub fn assert_nothing_lost(source: &[Rec], target: &[Rec]) -> usize {
    let mut seen = std::collections::HashSet::new();
    let first: Vec<Rec> = target.iter().filter(|r| seen.insert(r.text())).map(Rec::content).collect();
    let wanted: Vec<Rec> = source.iter().map(Rec::content).collect();
    let differs = wanted.iter().zip(&first).position(|(wanted, found)| wanted != found);
    assert_eq!(differs, None, "the first record that differs, of {} and {}", wanted.len(), first.len());
    assert_eq!(first.len(), wanted.len(), "records");
    target.len() - first.len()
}

/// What `offsets translate` says about these offsets, as `(answer, exact)`; `back` asks from the target to the source.
pub fn translate(daemon: &Daemon, topic: &str, partition: i32, offsets: &[i64], back: bool) -> Vec<(i64, bool)> {
    let mut arguments: Vec<String> =
        ["offsets", "translate", FLOW, "-o", "json", "--topic", topic].map(str::to_owned).to_vec();
    arguments.push(format!("--partition={partition}"));
    let name = if back { "target" } else { "source" };
    arguments.extend(offsets.iter().map(|offset| format!("--{name}={offset}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = daemon.offline(&arguments);
    assert!(output.status.success(), "{}", both(&output));
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let answer = if back { "source" } else { "target" };
    answers.iter().map(|a| (a[answer].as_i64().unwrap(), a["exact"].as_bool().unwrap())).collect()
}

/// Asserts, from what the records hold, that every offset of a lane translates to a copy of the record it names, and back.
pub fn assert_translates(daemon: &Daemon, topic: &str, partition: i32, source: &[Rec], target: &[Rec]) {
    for chunk in source.chunks(2000) {
        let offsets: Vec<i64> = chunk.iter().map(|record| record.offset).collect();
        let answers = translate(daemon, topic, partition, &offsets, false);
        for (record, (at, exact)) in chunk.iter().zip(answers) {
            let there = target.iter().find(|t| t.offset == at).map(Rec::text);
            assert_eq!((there.as_ref(), exact), (Some(&record.text()), true), "source {} -> {at}", record.offset);
        }
    }
    // a copy that the map does not name (sent again after a crash) must lead back to the same record or before it, never past it
    for chunk in target.chunks(2000) {
        let offsets: Vec<i64> = chunk.iter().map(|record| record.offset).collect();
        for (record, (at, _)) in chunk.iter().zip(translate(daemon, topic, partition, &offsets, true)) {
            let origin = source.iter().find(|s| s.text() == record.text()).unwrap().offset;
            assert!(at <= origin, "target {} holds source {origin}, but leads back to {at}", record.offset);
        }
    }
}

/// The status of a flow as the daemon's admin endpoint has it.
pub fn status(daemon: &Daemon, flow: &str) -> Option<Value> {
    serde_json::from_str(&daemon.get(&format!("/v1/flows/{flow}"))?.1).ok()
}

/// Waits until a flow's status satisfies `wanted`, and answers what that returned.
pub fn wait_status<T>(daemon: &Daemon, flow: &str, what: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
    let mut last = Value::Null;
    let end = std::time::Instant::now() + SOON;
    while std::time::Instant::now() < end {
        last = status(daemon, flow).unwrap_or_default();
        if let Some(found) = wanted(&last) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("waited {SOON:?} in vain for {what} in {last:#}\n{}", daemon.process.output());
}

/// The lanes of a topic in a flow's status.
pub fn lanes<'a>(flow: &'a Value, topic: &str) -> Vec<&'a Value> {
    let lanes = flow["lanes"].as_array().map(Vec::as_slice).unwrap_or_default();
    lanes.iter().filter(|lane| lane.to_string().contains(&format!("\"{topic}\""))).collect()
}

/// Runs a verb that must work, and answers its JSON.
pub fn json(daemon: &Daemon, arguments: &[&str]) -> Value {
    let output = daemon.offline(&[arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", both(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}
