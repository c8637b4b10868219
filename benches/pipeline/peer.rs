//! The bare loop: what rdkafka itself costs, with the daemon's client settings and nothing else: no offset map, no progress, no checks.

use std::process::Stdio;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfig as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::PARTITIONS;
use super::usage::Usage;

/// Argument that makes this program the loop.
pub const ARG: &str = "--peer";
/// Topic it writes.
pub const TOPIC: &str = "bare";
/// A loop that takes longer has failed.
const LOOP_MAX: Duration = Duration::from_secs(60);
/// Deliveries are looked at every so many records.
const POLL_EVERY: u64 = 500;

/// Runs the loop in a process of its own and answers what it used.
pub async fn spawn(from: &str, to: &str, records: u64) -> Usage {
    let program = std::env::current_exe().unwrap();
    let mut command = tokio::process::Command::new(program);
    command.args([ARG, from, to, &records.to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(LOOP_MAX, command.output()).await.expect("the bare loop in time").unwrap();
    assert!(output.status.success(), "the bare loop failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    Usage { cpu: numbers[0], peak_mb: numbers[1] }
}

/// The loop: `FROM TO RECORDS`; prints what this process used.
pub fn run(args: &[String]) {
    let records: u64 = args[2].parse().unwrap();
    let mut consuming = ClientConfig::new();
    consuming.set("bootstrap.servers", &args[0]).set("group.id", "bare").set("enable.auto.commit", "false");
    consuming.set("queued.max.messages.kbytes", "16384").set("fetch.wait.max.ms", "100").set("check.crcs", "true");
    consuming.set("fetch.queue.backoff.ms", "10").set("isolation.level", "read_committed");
    let consumer = BaseConsumer::from_config(&consuming).unwrap();
    let mut producing = ClientConfig::new();
    producing.set("bootstrap.servers", &args[1]).set("enable.idempotence", "true").set("compression.type", "lz4");
    producing.set("linger.ms", "5").set("batch.size", (512 << 10).to_string()).set("message.max.bytes", "1000000000");
    producing.set("queue.buffering.max.messages", "200000").set("queue.buffering.max.kbytes", "131072");
    let producer = BaseProducer::from_config(&producing).unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset("bench", partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut copied = 0;
    while copied < records {
        let Some(read) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = read.unwrap();
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(TOPIC).partition(message.partition());
        record.payload = message.payload();
        record.key = message.key();
        record.timestamp = message.timestamp().to_millis();
        while let Err((error, back)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            producer.poll(Duration::from_millis(1));
            record = back;
        }
        copied += 1;
        if copied.is_multiple_of(POLL_EVERY) {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(LOOP_MAX).unwrap();
    let usage = Usage::of(std::process::id());
    println!("{} {}", usage.cpu, usage.peak_mb);
}
