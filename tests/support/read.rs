//! Reads whole topics back through librdkafka, and reduces every record to a digest of all that a mirror must keep.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, Timestamp, TopicPartitionList};

/// A broker on the same machine answers within this.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// A whole topic is read within this.
const READ_MAX: Duration = Duration::from_secs(120);

/// One record as seen by a committed reader: its offset, and the digest of key, value, headers and timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub offset: i64,
    pub digest: u64,
}

/// Every record of every partition of `topic`, in order; committed ones only.
pub fn read_topic(bootstrap: &str, topic: &str) -> Vec<Vec<Seen>> {
    let consumer = consumer(bootstrap, "reader");
    let partitions = partition_count(&consumer, topic);
    read_partitions(&consumer, topic, partitions)
}

/// Only the digests: what must be equal on both sides.
pub fn digests(partitions: &[Vec<Seen>]) -> Vec<Vec<u64>> {
    partitions.iter().map(|records| records.iter().map(|record| record.digest).collect()).collect()
}

/// Number of committed records that the end offsets can still hold, summed: an upper bound that is cheap to ask for.
pub fn end_offsets(bootstrap: &str, topic: &str) -> Option<i64> {
    let consumer = consumer(bootstrap, "ends");
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_MAX).ok()?;
    let found = metadata.topics().first().filter(|topic| topic.error().is_none())?;
    let mut sum = 0;
    for partition in found.partitions() {
        sum += consumer.fetch_watermarks(topic, partition.id(), ANSWER_MAX).ok()?.1;
    }
    Some(sum)
}

/// Commits `offset` for `group` on `partition` as an admin client would, without being a member.
pub fn commit(bootstrap: &str, group: &str, topic: &str, positions: &[(i32, i64)]) {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in positions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
    }
    consumer(bootstrap, group).commit(&list, CommitMode::Sync).unwrap();
}

/// What `group` has committed for each of the first `partitions`; `None` where nothing is.
pub fn committed(bootstrap: &str, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition(topic, partition);
    }
    let answer = match consumer(bootstrap, group).committed_offsets(list, ANSWER_MAX) {
        Ok(answer) => answer,
        Err(_) => return vec![None; usize::try_from(partitions).unwrap()],
    };
    let offset = |partition| match answer.find_partition(topic, partition).map(|found| found.offset()) {
        Some(Offset::Offset(offset)) => Some(offset),
        _ => None,
    };
    (0..partitions).map(offset).collect()
}

fn consumer(bootstrap: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("check.crcs", "true")
        .create()
        .unwrap()
}

fn partition_count(consumer: &BaseConsumer, topic: &str) -> i32 {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_MAX).unwrap();
    i32::try_from(metadata.topics()[0].partitions().len()).unwrap()
}

/// Reads all partitions side by side: the end of each is told late.
fn read_partitions(consumer: &BaseConsumer, topic: &str, count: i32) -> Vec<Vec<Seen>> {
    let mut list = TopicPartitionList::new();
    (0..count).for_each(|partition| list.add_partition_offset(topic, partition, Offset::Beginning).unwrap());
    consumer.assign(&list).unwrap();
    let end = Instant::now() + READ_MAX;
    let mut seen: Vec<Vec<Seen>> = (0..count).map(|_| Vec::new()).collect();
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < seen.len() {
        assert!(Instant::now() < end, "{topic}: only {ended:?} were read to their ends");
        match consumer.poll(Duration::from_millis(500)) {
            Some(Ok(message)) => seen[usize::try_from(message.partition()).unwrap()]
                .push(Seen { offset: message.offset(), digest: digest(&message) }),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => panic!("{topic}: {error}"),
            None => {}
        }
    }
    seen
}

/// Absent and empty are different: `Option` hashes its variant, slices their length.
fn digest(message: &BorrowedMessage<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.partition().hash(&mut hasher);
    message.key().hash(&mut hasher);
    message.payload().hash(&mut hasher);
    match message.timestamp() {
        Timestamp::CreateTime(millis) => (0, millis).hash(&mut hasher),
        Timestamp::LogAppendTime(millis) => (1, millis).hash(&mut hasher),
        Timestamp::NotAvailable => (2, 0_i64).hash(&mut hasher),
    }
    if let Some(headers) = message.headers() {
        for header in headers.iter() {
            header.key.hash(&mut hasher);
            header.value.hash(&mut hasher);
        }
    }
    hasher.finish()
}
