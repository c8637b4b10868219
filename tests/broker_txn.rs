//! Transactions of librdkafka against `causeway broker`: read-process-write, fencing, and `kill -9` in the middle of them.
//!
//! `CAUSEWAY_KILL_ROUNDS` asks for more kills than a quick run does.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod broker_support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use broker_support::txn_client::TxnClient;
use broker_support::{BrokerProcess, PATIENCE};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Kills in a row in a quick run; each in the middle of transactions.
const ROUNDS: usize = 6;
/// Records of one transaction, spread over both partitions.
const ROWS: usize = 6;
const TOPIC: &str = "ledger";
const GROUP: &str = "place";

type Transactional = ThreadedProducer<DefaultProducerContext>;

fn config(address: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("reconnect.backoff.max.ms", "200");
    config
}

fn producer(address: &str, id: &str) -> Result<Transactional, KafkaError> {
    let mut config = config(address);
    config.set("transactional.id", id).set("linger.ms", "1").set("transaction.timeout.ms", "30000");
    let producer: Transactional = config.create()?;
    producer.init_transactions(PATIENCE)?;
    Ok(producer)
}

fn rows(producer: &Transactional, n: usize) {
    for row in 0..ROWS {
        let partition = (row % 2) as i32;
        let key = format!("{n}");
        // A full queue or a transaction that must be aborted shows at the commit.
        let _ = producer.send(BaseRecord::to(TOPIC).partition(partition).key(&key).payload("x"));
    }
}

fn place(offset: i64) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(TOPIC, 0, Offset::Offset(offset)).unwrap();
    list
}

/// How a transaction ended, as far as its client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed,
    Aborted,
    Nothing,
}

/// Ends a transaction, asking again while the answer may still come.
fn end(producer: &Transactional, commit: bool) -> Told {
    let deadline = Instant::now() + PATIENCE;
    let mut commit = commit;
    loop {
        let asked = if commit {
            producer.commit_transaction(Duration::from_secs(5))
        } else {
            producer.abort_transaction(Duration::from_secs(5))
        };
        match asked {
            Ok(()) if commit => return Told::Committed,
            Ok(()) => return Told::Aborted,
            Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => commit = false,
            Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
            Err(_) => return Told::Nothing,
        }
    }
}

/// Everything a reader of `read_committed` finds up to the end: rows by partition, in order.
fn committed(address: &str) -> BTreeMap<i32, Vec<usize>> {
    let mut config = config(address);
    config.set("group.id", "reader").set("isolation.level", "read_committed").set("enable.partition.eof", "true");
    config.set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..2 {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut out, mut ended) = (BTreeMap::<i32, Vec<usize>>::new(), BTreeSet::new());
    let deadline = Instant::now() + PATIENCE;
    while ended.len() < 2 {
        assert!(Instant::now() < deadline, "partitions read to the end: {ended:?}");
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(KafkaError::MessageConsumption(_))) => {}
            Some(message) => {
                let message = message.unwrap();
                let n = std::str::from_utf8(message.key().unwrap()).unwrap().parse().unwrap();
                out.entry(message.partition()).or_default().push(n);
            }
        }
    }
    out
}

fn committed_place(address: &str) -> i64 {
    let consumer: BaseConsumer = config(address).set("group.id", GROUP).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(TOPIC, 0);
    let found = consumer.committed_offsets(asked, PATIENCE).unwrap();
    match found.elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => -1,
    }
}

#[test]
fn offsets_and_records_of_a_transaction_come_together_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(dir.path(), 0, &["num.partitions=2"]);
    let group: BaseConsumer = broker.client().set("group.id", GROUP).create().unwrap();
    let metadata = group.group_metadata().unwrap();
    let first = producer(&broker.address, "mover").unwrap();
    for (n, commit) in [(0, true), (1, false), (2, true)] {
        first.begin_transaction().unwrap();
        rows(&first, n);
        first.send_offsets_to_transaction(&place(n as i64 + 1), &metadata, PATIENCE).unwrap();
        assert_eq!(end(&first, commit), if commit { Told::Committed } else { Told::Aborted });
    }
    // What is under way when another producer takes over is aborted, and its writer fenced.
    first.begin_transaction().unwrap();
    rows(&first, 3);
    first.flush(PATIENCE).unwrap();
    let second = producer(&broker.address, "mover").unwrap();
    match first.commit_transaction(PATIENCE) {
        Err(KafkaError::Transaction(error)) => {
            assert!(error.is_fatal(), "{error:?}");
            assert!(
                matches!(
                    error.code(),
                    RDKafkaErrorCode::Fenced
                        | RDKafkaErrorCode::ProducerFenced
                        | RDKafkaErrorCode::InvalidProducerEpoch
                ),
                "{error:?}"
            );
        }
        other => panic!("the old producer is fenced: {other:?}"),
    }
    second.begin_transaction().unwrap();
    rows(&second, 4);
    assert_eq!(end(&second, true), Told::Committed);
    let expected = vec![0, 0, 0, 2, 2, 2, 4, 4, 4];
    assert_eq!(committed(&broker.address), BTreeMap::from([(0, expected.clone()), (1, expected)]));
    assert_eq!(committed_place(&broker.address), 3);
    broker.stop();
}

/// Transactions one after another until `stop`, through one producer as long as it lives; what was told of each.
fn run(address: &str, stop: &AtomicBool, ended: &AtomicUsize) -> Vec<Told> {
    let mut told = Vec::new();
    let mut current: Option<Transactional> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(producer) = current.take().or_else(|| producer(address, "mover").ok()) else { continue };
        let group: BaseConsumer = config(address).set("group.id", GROUP).create().unwrap();
        let metadata = group.group_metadata().unwrap();
        let outcome = loop {
            let n = told.len();
            if stop.load(Ordering::Relaxed) {
                return told;
            }
            if producer.begin_transaction().is_err() {
                break None;
            }
            rows(&producer, n);
            let sent = producer.send_offsets_to_transaction(&place(n as i64 + 1), &metadata, PATIENCE);
            match end(&producer, n % 4 != 3 && sent.is_ok()) {
                Told::Nothing => break Some(Told::Nothing),
                known => told.push(known),
            }
            ended.store(told.len(), Ordering::Relaxed);
        };
        // A producer that lost its way is replaced; what became of its last transaction is open.
        told.extend(outcome);
    }
    told
}

/// Kills and restarts a broker again and again while `client` runs; what that told, and the broker that is left.
fn under_kills<T: Send>(
    dir: &Path,
    rounds: usize,
    client: impl FnOnce(&str, &AtomicBool, &AtomicUsize) -> T + Send,
) -> (T, BrokerProcess) {
    let settings = ["num.partitions=2", "transaction.state.log.num.partitions=3", "offsets.topic.num.partitions=3"];
    let broker = BrokerProcess::start(dir, 0, &settings);
    let (address, port) = (broker.address.clone(), broker.port());
    let (stop, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| client(&address, &stop, &ended));
        let (mut broker, mut random) = (broker, fastrand::Rng::with_seed(5));
        for _ in 0..rounds {
            // Only a broker that serves is worth killing: some transactions end, and the kill comes at any point of a later one.
            let (before, deadline) = (ended.load(Ordering::Relaxed), Instant::now() + PATIENCE);
            while ended.load(Ordering::Relaxed) < before + 2 && !client.is_finished() {
                assert!(Instant::now() < deadline, "transactions go on after a kill");
                std::thread::sleep(Duration::from_millis(2));
            }
            std::thread::sleep(Duration::from_micros(random.u64(0..20_000)));
            let dir = broker.kill();
            broker = BrokerProcess::start(&dir, port, &settings);
        }
        stop.store(true, Ordering::Relaxed);
        (client.join().unwrap(), broker)
    })
}

fn rounds() -> usize {
    std::env::var("CAUSEWAY_KILL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS)
}

/// Each transaction is there with all its records or with none, as its client was told, and the group's place is that of the last one.
fn judge(address: &str, told: &[Told]) {
    let seen = committed(address);
    let count = |n: usize| seen.values().map(|rows| rows.iter().filter(|row| **row == n).count()).sum::<usize>();
    let mut last = 0;
    for (n, told) in told.iter().enumerate() {
        match (told, count(n)) {
            (Told::Committed | Told::Nothing, ROWS) => last = n + 1,
            (Told::Aborted | Told::Nothing, 0) => {}
            (told, rows) => panic!("transaction {n}: {told:?}, and {rows} of {ROWS} records are there"),
        }
    }
    for rows in seen.values() {
        assert!(rows.is_sorted(), "records out of order");
    }
    assert_eq!(committed_place(address), last as i64, "the group's place is that of the last transaction");
}

#[test]
fn no_outcome_of_a_transaction_changes_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (told, broker) = under_kills(dir.path(), rounds(), run);
    // The next owner of the id aborts what is still open.
    drop(producer(&broker.address, "mover").unwrap());
    judge(&broker.address, &told);
    let committed = told.iter().filter(|told| **told == Told::Committed).count();
    assert!(committed >= rounds(), "the load was real: {committed} committed of {}", told.len());
    println!("{} kills, {} transactions, {committed} committed", rounds(), told.len());
    broker.stop();
}

#[test]
fn every_outcome_of_version_2_is_known_and_kept_across_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let (told, broker) = under_kills(dir.path(), rounds(), |address, stop, ended| {
        let mut told = Vec::new();
        let plain: ThreadedProducer<DefaultProducerContext> = config(address).create().unwrap();
        let metadata = plain.client().fetch_metadata(Some(TOPIC), PATIENCE);
        assert_eq!(metadata.unwrap().topics().len(), 1, "asking for the topic makes it");
        let mut client = TxnClient::new(address, "raw");
        while !stop.load(Ordering::Relaxed) {
            let (n, commit) = (told.len(), told.len() % 3 != 2);
            for row in 0..ROWS {
                client.write(TOPIC, (row % 2) as i32, &format!("{n}"));
            }
            client.place(GROUP, TOPIC, n as i64 + 1);
            client.end(commit);
            told.push(if commit { Told::Committed } else { Told::Aborted });
            ended.store(told.len(), Ordering::Relaxed);
        }
        // The last markers may still be on their way: the next owner waits for them.
        drop(TxnClient::new(address, "raw"));
        told
    });
    judge(&broker.address, &told);
    println!("{} kills, {} transactions of version 2", rounds(), told.len());
    broker.stop();
}
