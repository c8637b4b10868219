//! librdkafka against `causeway broker`: every codec, groups that share and take over, positions that stay.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod broker_support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker_support::{BrokerProcess, PATIENCE, read_all};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const RECORDS: usize = 600;

fn produce(broker: &BrokerProcess, topic: &str, settings: &[(&str, &str)], range: std::ops::Range<usize>) {
    let mut config = broker.client();
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "2");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer: BaseProducer = config.create().unwrap();
    for i in range {
        let (key, value) = (format!("k{i}"), format!("value {i} {}", "x".repeat(i % 300)));
        let mut record = BaseRecord::to(topic).key(&key).payload(&value);
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = back;
        }
    }
    producer.flush(PATIENCE).unwrap();
}

#[test]
fn every_codec_arrives_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(dir.path(), 0, &["num.partitions=3"]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        produce(&broker, &topic, &[("compression.type", codec)], 0..RECORDS);
        let read = read_all(&broker.client(), &topic, RECORDS);
        assert_eq!(read.len(), RECORDS, "{codec}");
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset, key, value) in &read {
            let expected = next.entry(*partition).or_default();
            assert_eq!(offset, expected, "{codec}: partition {partition}");
            *expected += 1;
            let i: usize = std::str::from_utf8(key).unwrap()[1..].parse().unwrap();
            assert_eq!(value, format!("value {i} {}", "x".repeat(i % 300)).as_bytes(), "{codec}");
        }
        assert_eq!(next.len(), 3, "{codec}: all partitions were used");
    }
    broker.stop();
}

fn member(broker: &BrokerProcess, assignor: &str) -> BaseConsumer {
    let mut config = broker.client();
    config.set("group.id", "g").set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    config.set("session.timeout.ms", "6000").set("partition.assignment.strategy", assignor);
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["shared"]).unwrap();
    consumer
}

/// Polls all members until `done` says so; what came is counted by key.
fn poll(
    members: &[&BaseConsumer],
    seen: &mut BTreeMap<String, usize>,
    done: impl Fn(&BTreeMap<String, usize>) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !done(seen) {
        assert!(Instant::now() < deadline, "only {} keys seen", seen.len());
        for member in members {
            if let Some(message) = member.poll(Duration::from_millis(20)) {
                let message = message.unwrap();
                *seen.entry(String::from_utf8(message.key().unwrap().to_vec()).unwrap()).or_default() += 1;
                member.commit_message(&message, CommitMode::Async).unwrap();
            }
        }
    }
}

fn group_shares_and_takes_over(assignor: &str) {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(dir.path(), 0, &["num.partitions=4"]);
    produce(&broker, "shared", &[], 0..RECORDS);
    let (a, b) = (member(&broker, assignor), member(&broker, assignor));
    let mut seen = BTreeMap::new();
    poll(&[&a, &b], &mut seen, |seen| seen.len() == RECORDS);
    // Both hold partitions; together all four.
    let deadline = Instant::now() + PATIENCE;
    loop {
        a.poll(Duration::from_millis(50));
        b.poll(Duration::from_millis(50));
        let counts = [a.assignment().unwrap().count(), b.assignment().unwrap().count()];
        if counts == [2, 2] {
            break;
        }
        assert!(Instant::now() < deadline, "partitions are held {counts:?}");
    }
    a.commit_consumer_state(CommitMode::Sync).ok();
    b.commit_consumer_state(CommitMode::Sync).ok();
    drop(b);
    produce(&broker, "shared", &[], RECORDS..2 * RECORDS);
    poll(&[&a], &mut seen, |seen| seen.len() == 2 * RECORDS);
    assert!(seen.values().all(|n| *n <= 2), "nothing is read again and again");
    a.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(a);
    // The group's position outlives members and broker.
    let port = broker.port();
    broker.stop();
    let broker = BrokerProcess::start(dir.path(), port, &["num.partitions=4"]);
    produce(&broker, "shared", &[], 2 * RECORDS..2 * RECORDS + 10);
    let c = member(&broker, assignor);
    let mut last = BTreeMap::new();
    poll(&[&c], &mut last, |seen| seen.len() >= 10);
    assert_eq!(last.len(), 10, "only what was new came: {:?}", last.keys().take(3).collect::<Vec<_>>());
}

#[test]
fn an_eager_group_shares_takes_over_and_keeps_its_place() {
    group_shares_and_takes_over("range");
}

#[test]
fn a_cooperative_group_shares_takes_over_and_keeps_its_place() {
    group_shares_and_takes_over("cooperative-sticky");
}
