//! Kafka's own transactional producer and `kafka-transactions` against `causeway broker`.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod broker_support;
mod support;

use broker_support::{BrokerProcess, PATIENCE, read_all};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use support::kafka::{self, tool};

const RECORDS: usize = 2_000;

#[test]
fn kafkas_producer_ends_every_transaction_with_a_new_epoch_and_its_tools_find_and_end_them() {
    if let Err(why) = kafka::available() {
        support::skip("Kafka's transactional producer and tools", &why);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start(dir.path(), 0, &["num.partitions=1"]);
    let bootstrap = ["--bootstrap-server", &broker.address];
    let transactions =
        |arguments: &[&str]| tool("org.apache.kafka.tools.TransactionsCommand", &[&bootstrap[..], arguments].concat());
    // Topics before the clients, so that none of them meets one that is just being made.
    let plain: BaseProducer = broker.client().create().unwrap();
    for topic in ["load", "left"] {
        plain.send(BaseRecord::to(topic).key("k").payload("first")).unwrap();
    }
    plain.flush(PATIENCE).unwrap();
    let (records, server) = (RECORDS.to_string(), format!("bootstrap.servers={}", broker.address));
    let printed = tool(
        "org.apache.kafka.tools.ProducerPerformance",
        &[
            "--topic",
            "load",
            "--num-records",
            &records,
            "--record-size",
            "100",
            "--throughput",
            "4000",
            "--transactional-id",
            "perf",
            "--transaction-duration-ms",
            "20",
            "--producer-props",
            &server,
        ],
    );
    assert!(printed.contains(&format!("{RECORDS} records sent")), "{printed}");
    let mut config = broker.client();
    config.set("isolation.level", "read_committed");
    assert_eq!(read_all(&config, "load", RECORDS + 1).len(), RECORDS + 1);
    // One epoch for each transaction: transaction version 2 was agreed on.
    let described = transactions(&["describe", "--transactional-id", "perf"]);
    let row = described.lines().last().unwrap_or_default().to_owned();
    let epoch = row.split_whitespace().nth(3).and_then(|field| field.parse::<i32>().ok());
    assert!(row.contains("CompleteCommit") && epoch.is_some_and(|epoch| epoch >= 2), "{described}");

    // A transaction that nobody ends holds readers back until an operator aborts it.
    let left: BaseProducer = broker.client().set("transactional.id", "left").create().unwrap();
    left.init_transactions(PATIENCE).unwrap();
    left.begin_transaction().unwrap();
    left.send(BaseRecord::to("left").key("k").payload("open")).unwrap();
    left.flush(PATIENCE).unwrap();
    let producers = transactions(&["describe-producers", "--topic", "left", "--partition", "0"]);
    assert!(producers.lines().count() > 1, "{producers}");
    transactions(&["abort", "--topic", "left", "--partition", "0", "--start-offset", "1"]);
    plain.send(BaseRecord::to("left").key("k").payload("after")).unwrap();
    plain.flush(PATIENCE).unwrap();
    let seen = read_all(&config, "left", 2);
    let offsets: Vec<i64> = seen.iter().map(|(_, offset, ..)| *offset).collect();
    assert_eq!(offsets, [0, 3], "offset 1 is aborted, 2 is its marker");
    broker.stop();
}
