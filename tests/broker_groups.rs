//! librdkafka's consumers of the new protocol (KIP-848) against `causeway broker`: sharing, taking over, `kill -9`, and one
//! group with consumers of both protocols.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod broker_support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker_support::{BrokerProcess, PATIENCE};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const RECORDS: usize = 400;
/// Heartbeats often enough for a test; everything else as shipped.
const SETTINGS: &[&str] =
    &["num.partitions=4", "group.consumer.min.heartbeat.interval.ms=100", "group.consumer.heartbeat.interval.ms=200"];

fn produce(broker: &BrokerProcess, range: std::ops::Range<usize>) {
    let producer: BaseProducer = broker.client().set("acks", "all").create().unwrap();
    for i in range {
        let (key, value) = (format!("k{i}"), format!("value {i}"));
        producer.send(BaseRecord::to("shared").key(&key).payload(&value)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

fn member(broker: &BrokerProcess, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = broker.client();
    config.set("group.id", "g").set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    // A new topic is there for a consumer once it looks again.
    config.set("topic.metadata.refresh.interval.ms", "500").set("reconnect.backoff.max.ms", "500");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["shared"]).unwrap();
    consumer
}

const NEW: &[(&str, &str)] = &[("group.protocol", "consumer")];

/// Polls all members until `done` says so; what came is counted by key.
fn poll(
    members: &[&BaseConsumer],
    seen: &mut BTreeMap<String, usize>,
    done: impl Fn(&BTreeMap<String, usize>) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !done(seen) {
        assert!(Instant::now() < deadline, "only {} keys seen, {:?}", seen.len(), counts(members));
        for member in members {
            // A broker that is away for a moment is no matter: librdkafka comes back by itself.
            if let Some(Ok(message)) = member.poll(Duration::from_millis(20)) {
                *seen.entry(String::from_utf8(message.key().unwrap().to_vec()).unwrap()).or_default() += 1;
                let _ = member.commit_message(&message, CommitMode::Async);
            }
        }
    }
}

/// How many partitions each member has.
fn counts(members: &[&BaseConsumer]) -> Vec<usize> {
    members.iter().map(|m| m.assignment().unwrap().count()).collect()
}

#[test]
fn consumers_of_the_new_protocol_share_take_over_and_outlive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    // Declared before the consumers, so that it outlives them: closing waits for an answer.
    let mut broker = BrokerProcess::start(dir.path(), 0, SETTINGS);
    produce(&broker, 0..RECORDS);
    let (a, b) = (member(&broker, NEW), member(&broker, NEW));
    let mut seen = BTreeMap::new();
    poll(&[&a, &b], &mut seen, |seen| seen.len() == RECORDS && counts(&[&a, &b]) == [2, 2]);

    let port = broker.port();
    broker.kill();
    broker = BrokerProcess::start(dir.path(), port, SETTINGS);
    produce(&broker, RECORDS..2 * RECORDS);
    poll(&[&a, &b], &mut seen, |seen| seen.len() == 2 * RECORDS);
    assert_eq!(counts(&[&a, &b]), [2, 2], "both went on where they were");

    a.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(a);
    produce(&broker, 2 * RECORDS..3 * RECORDS);
    poll(&[&b], &mut seen, |seen| seen.len() == 3 * RECORDS && counts(&[&b]) == [4]);
    drop(b);
    broker.stop();
}

#[test]
fn consumers_of_both_protocols_share_one_group() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(dir.path(), 0, SETTINGS);
    produce(&broker, 0..RECORDS);
    let old = member(
        &broker,
        &[
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "200"),
        ],
    );
    let mut seen = BTreeMap::new();
    poll(&[&old], &mut seen, |seen| seen.len() == RECORDS && counts(&[&old]) == [4]);
    let new = member(&broker, NEW);
    poll(&[&old, &new], &mut seen, |_| counts(&[&old, &new]) == [2, 2]);
    produce(&broker, RECORDS..2 * RECORDS);
    poll(&[&old, &new], &mut seen, |seen| seen.len() == 2 * RECORDS);
    // The last one of the new protocol leaves: the group is a classic one again.
    drop(new);
    poll(&[&old], &mut seen, |_| counts(&[&old]) == [4]);
    produce(&broker, 2 * RECORDS..3 * RECORDS);
    poll(&[&old], &mut seen, |seen| seen.len() == 3 * RECORDS);
    drop(old);
    broker.stop();
}
