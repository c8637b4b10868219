//! `kill -9` of the broker: what was acknowledged, committed or created is there afterwards. `CAUSEWAY_KILL_ROUNDS` asks for more kills than a quick
//! run does.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod broker_support;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use broker_support::{BrokerProcess, PATIENCE, read_all};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

/// Kills in a row; each under load.
const ROUNDS: usize = 8;

fn rounds() -> usize {
    std::env::var("CAUSEWAY_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

type Keys = BTreeMap<(i32, i64), Vec<u8>>;

/// Remembers what the broker acknowledged: key by (partition, offset).
#[derive(Clone, Default)]
struct Acked(Arc<Mutex<Keys>>);

impl ClientContext for Acked {}

impl ProducerContext for Acked {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(m) = result {
            let old = self.0.lock().unwrap().insert((m.partition(), m.offset()), m.key().unwrap().to_vec());
            assert_eq!(old, None, "one offset was given twice");
        }
    }
}

#[test]
fn acknowledged_records_and_commits_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["num.partitions=2"];
    let mut broker = BrokerProcess::start(dir.path(), 0, &settings);
    let port = broker.port();
    let acked = Acked::default();
    let mut config = broker.client();
    config.set("acks", "all").set("enable.idempotence", "true").set("message.timeout.ms", "50000");
    config.set("linger.ms", "1").set("reconnect.backoff.max.ms", "200");
    let producer: ThreadedProducer<Acked> = config.create_with_context(acked.clone()).unwrap();
    let consumer: BaseConsumer =
        broker.client().set("group.id", "place").set("reconnect.backoff.max.ms", "200").create().unwrap();
    let mut sent = 0;
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..rounds() {
        let until = Instant::now() + Duration::from_millis(random.u64(80..350));
        while Instant::now() < until {
            for _ in 0..20 {
                let key = format!("{sent}");
                if producer.send(BaseRecord::to("load").key(&key).payload(&"p".repeat(sent % 500))).is_ok() {
                    sent += 1;
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // A place that was committed before the kill must be there after it.
        let mut place = TopicPartitionList::new();
        place.add_partition_offset("load", 0, Offset::Offset(round as i64 + 1)).unwrap();
        consumer.commit(&place, CommitMode::Sync).unwrap();
        let dir = broker.kill();
        broker = BrokerProcess::start(&dir, port, &settings);
        let mut asked = TopicPartitionList::new();
        asked.add_partition("load", 0);
        let found = consumer.committed_offsets(asked, PATIENCE).unwrap();
        assert_eq!(found.elements()[0].offset(), Offset::Offset(round as i64 + 1));
    }
    producer.flush(PATIENCE).unwrap();
    let acked = acked.0.lock().unwrap().clone();
    assert!(acked.len() > rounds() * 20, "the load was real: {}", acked.len());
    let there: Keys = read_all(&broker.client(), "load", acked.len())
        .into_iter()
        .map(|(partition, offset, key, _)| ((partition, offset), key))
        .collect();
    for (place, key) in &acked {
        assert_eq!(there.get(place), Some(key), "{place:?} was acknowledged");
    }
    let mut keys: Vec<&Vec<u8>> = there.values().collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "an idempotent producer's retry was stored twice");
}

/// A member of a group that reads, commits what it read, and notes each commit that was acknowledged, until it is told to stop.
fn commit_until(config: &ClientConfig, stop: &AtomicBool, committed: &Mutex<BTreeMap<i32, i64>>) -> usize {
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["load"]).unwrap();
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
        let mut place = TopicPartitionList::new();
        let (partition, next) = (message.partition(), message.offset() + 1);
        place.add_partition_offset("load", partition, Offset::Offset(next)).unwrap();
        // A commit that fails may or may not have taken effect; only an acknowledged one is held against the broker.
        if consumer.commit(&place, CommitMode::Sync).is_ok() {
            acknowledged += 1;
            let mut committed = committed.lock().unwrap();
            let at = committed.entry(partition).or_default();
            *at = next.max(*at);
        }
    }
    acknowledged
}

#[test]
fn what_members_of_a_group_committed_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["num.partitions=2", "group.min.session.timeout.ms=1000"];
    let mut broker = BrokerProcess::start(dir.path(), 0, &settings);
    let port = broker.port();
    let mut config = broker.client();
    config.set("reconnect.backoff.max.ms", "200").set("message.timeout.ms", "50000");
    let producer: ThreadedProducer<Acked> = config.create_with_context(Acked::default()).unwrap();
    config.set("group.id", "members").set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    config.set("session.timeout.ms", "3000").set("heartbeat.interval.ms", "500");
    let (stop, committed) = (AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    let mut random = fastrand::Rng::with_seed(12);
    let acknowledged = std::thread::scope(|scope| {
        let member = scope.spawn(|| commit_until(&config, &stop, &committed));
        let looker: BaseConsumer = config.create().unwrap();
        for round in 0..rounds() {
            let before: i64 = committed.lock().unwrap().values().sum();
            let deadline = Instant::now() + PATIENCE;
            let mut sent = 0;
            // Each round lasts until the member has committed something in it, and a little longer.
            let mut until = None;
            while until.is_none_or(|until| Instant::now() < until) {
                assert!(Instant::now() < deadline, "round {round}: nothing was committed");
                let key = format!("{round}-{sent}");
                sent += usize::from(producer.send(BaseRecord::to("load").key(&key).payload("p")).is_ok());
                std::thread::sleep(Duration::from_millis(2));
                if until.is_none() && committed.lock().unwrap().values().sum::<i64>() > before {
                    until = Some(Instant::now() + Duration::from_millis(random.u64(20..200)));
                }
            }
            let dir = broker.kill();
            let held = committed.lock().unwrap().clone();
            broker = BrokerProcess::start(&dir, port, &settings);
            let mut asked = TopicPartitionList::new();
            for partition in held.keys() {
                asked.add_partition("load", *partition);
            }
            let found = looker.committed_offsets(asked, PATIENCE).unwrap();
            for (partition, offset) in held {
                let place = found.find_partition("load", partition).unwrap().offset();
                let there = matches!(place, Offset::Offset(at) if at >= offset);
                assert!(there, "round {round}: {offset} was committed for {partition}, found {place:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        member.join().unwrap()
    });
    assert!(acknowledged >= rounds(), "{acknowledged} commits were acknowledged");
}

#[test]
fn what_is_wrong_at_the_start_is_named_and_ends_with_1() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(dir.path(), 0, &["cluster.id=mine"]);
    let run = |settings: &[String]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
        command.arg("broker");
        for setting in settings {
            command.arg("--override").arg(setting);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{settings:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let listen = |port: u16| format!("listeners=PLAINTEXT://127.0.0.1:{port}");
    let data = |path: &std::path::Path| format!("log.dirs={}", path.display());
    let other = tempfile::tempdir().unwrap();
    let busy = run(&[listen(broker.port()), data(other.path())]);
    assert!(busy.contains("already in use") && busy.contains(&broker.address), "{busy}");
    let locked = run(&[listen(0), data(dir.path())]);
    assert!(locked.contains("in use by another process") && locked.contains(dir.path().to_str().unwrap()), "{locked}");
    broker.stop();
    let foreign = run(&[listen(0), data(dir.path()), "cluster.id=theirs".into()]);
    assert!(foreign.contains("mine") && foreign.contains("theirs"), "{foreign}");
    let unknown = run(&["listenerz=x".into()]);
    assert!(unknown.contains("listenerz") && unknown.contains("listeners"), "{unknown}");
    let file = other.path().join("file");
    std::fs::write(&file, "").unwrap();
    let unusable = run(&[listen(0), data(&file)]);
    assert!(unusable.contains(file.to_str().unwrap()), "{unusable}");
}
