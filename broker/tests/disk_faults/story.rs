//! What clients did and were told, and what a node must therefore hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_broker::Broker;
use causeway_wire::ErrorCode;
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use causeway_wire::messages::find_coordinator::FindCoordinatorRequest;
use causeway_wire::messages::init_producer_id::InitProducerIdRequest;
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use causeway_wire::records::{BatchBuilder, Batches, Codec, decode_records};

use crate::mem_disk::{Hit, MemDisk};
use crate::support::{Raw, batch, build, produce_request};
use crate::txn_support::{Client, committed_offset};

/// Tries of one step: a fault comes once, so the second already works, but a failed transaction is finished after 50 ms.
const TRIES: usize = 60;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(5);

/// How a transaction ended, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Committed,
    Aborted,
    Unknown,
}

/// One transaction: its name is the value it wrote to both topics.
#[derive(Debug, Clone)]
pub struct Told {
    pub name: String,
    /// Acknowledged records of it.
    pub written: usize,
    pub end: End,
    /// Offset that it committed for the group, if that was acknowledged.
    pub offset: Option<i64>,
}

/// All that clients know.
#[derive(Debug, Default)]
pub struct Story {
    /// Acknowledged records: value by topic and offset.
    pub acked: BTreeMap<(&'static str, i64), String>,
    /// Values that were ever sent, also without an answer.
    pub sent: BTreeSet<String>,
    pub txns: Vec<Told>,
    /// Last offset acknowledged for the plain group, and the last one asked for.
    pub offset_acked: i64,
    pub offset_asked: i64,
    /// Created topics that were acknowledged.
    pub topics: BTreeSet<&'static str>,
    next: usize,
}

pub const TOPICS: [&str; 4] = ["plain", "idem", "left", "right"];
const GROUP: &str = "places";
const TXN_GROUP: &str = "txn-places";

/// Whether it is of use to go on: a node whose directory failed refuses everything until it is started again.
fn over(disk: &MemDisk) -> bool {
    disk.hit() == Some(Hit::Flush)
}

impl Story {
    fn name(&mut self, of: &str) -> String {
        self.next += 1;
        let name = format!("{of}-{}", self.next);
        self.sent.insert(name.clone());
        name
    }

    /// Everything once: topics, plain and idempotent records, commits, transactions of both versions. Each step must work within a few tries, unless
    /// the directory failed.
    pub async fn tell(&mut self, broker: &Broker, disk: &MemDisk) {
        let mut raw = Raw::connect(broker).await;
        for topic in TOPICS {
            for _ in 0..TRIES {
                let code = raw.create(topic, 1, &[]).await;
                if code == 0 || code == ErrorCode::TOPIC_ALREADY_EXISTS.0 {
                    self.topics.insert(topic);
                    break;
                }
                if over(disk) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
            assert!(self.topics.contains(topic), "{topic} cannot be created");
        }
        for key_type in [0, 1] {
            let keys = vec!["x".to_owned()];
            raw.call(4, &FindCoordinatorRequest { key_type, coordinator_keys: keys, ..Default::default() }).await;
        }
        for _ in 0..3 {
            self.plain(&mut raw, disk).await;
            self.commit(&mut raw, disk).await;
        }
        self.idempotent(&mut raw, disk).await;
        for (version, commit) in [(3, true), (3, false), (5, true), (5, false)] {
            self.transaction(broker, disk, version, Some(commit)).await;
        }
        self.transaction(broker, disk, 5, None).await;
    }

    async fn plain(&mut self, raw: &mut Raw, disk: &MemDisk) {
        let mut last = None;
        for _ in 0..TRIES {
            let name = self.name("plain");
            // Records of some size, so that segments are rolled.
            let padded = format!("{name} {}", "x".repeat(150));
            self.sent.insert(padded.clone());
            let answer = raw.produce("plain", batch(&[&padded])).await;
            if answer.error_code == 0 {
                self.acked.insert(("plain", answer.base_offset), padded);
                return;
            }
            last = Some(answer);
            if over(disk) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("a plain producer is not served: {last:?}");
    }

    async fn idempotent(&mut self, raw: &mut Raw, disk: &MemDisk) {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let mut given = raw.call(4, &request).await;
        for _ in 0..TRIES {
            if given.error_code == 0 || over(disk) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            given = raw.call(4, &request).await;
        }
        if given.error_code != 0 {
            assert!(over(disk), "no producer id: {}", given.error_code);
            return;
        }
        for sequence in 0..4 {
            let name = self.name("idem");
            let (mut done, mut last) = (over(disk), None);
            // The same batch again and again, as a producer does that got no answer; and once more after it was acknowledged.
            for _ in 0..TRIES {
                let builder = BatchBuilder::new(Codec::None);
                let builder = builder.producer(given.producer_id, given.producer_epoch, sequence);
                let answer = raw.produce("idem", build(builder, &[&name])).await;
                if answer.error_code == 0 {
                    let old = self.acked.insert(("idem", answer.base_offset), name.clone());
                    assert!(old.is_none_or(|old| old == name), "two records at offset {}", answer.base_offset);
                    if done {
                        break;
                    }
                    done = true;
                    continue;
                }
                last = Some(answer);
                if over(disk) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
            assert!(done, "an idempotent producer is not served: {last:?}");
        }
    }

    async fn commit(&mut self, raw: &mut Raw, disk: &MemDisk) {
        self.offset_asked += 1;
        for _ in 0..TRIES {
            let partition = OffsetCommitRequestPartition { committed_offset: self.offset_asked, ..Default::default() };
            let topic =
                OffsetCommitRequestTopic { name: "plain".into(), partitions: vec![partition], ..Default::default() };
            let request = OffsetCommitRequest {
                group_id: GROUP.into(),
                generation_id_or_member_epoch: -1,
                topics: vec![topic],
                ..Default::default()
            };
            if raw.call(8, &request).await.topics[0].partitions[0].error_code == 0 {
                self.offset_acked = self.offset_asked;
                return;
            }
            if over(disk) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("a commit is not taken");
    }

    /// One transaction over two topics and a group's offset. Without an outcome it is left open.
    async fn transaction(&mut self, broker: &Broker, disk: &MemDisk, version: i16, commit: Option<bool>) {
        let mut client = Client::connect(broker, "x").await;
        if !own(&mut client, disk).await {
            assert!(over(disk), "a transactional id is not given");
            return;
        }
        let name = self.name("txn");
        let mut told = Told { name: name.clone(), written: 0, end: End::Unknown, offset: None };
        let ended = write_and_end(&mut client, disk, version, commit, &mut told, self.next as i64).await;
        assert!(ended || commit.is_none() || over(disk), "a transaction cannot be ended: {told:?}");
        self.txns.push(told);
    }

    /// Looks at a node that serves: it may lack nothing acknowledged, and show nothing that was never sent, or was aborted. `settled`: no transaction is
    /// under way any more.
    pub async fn check(&self, broker: &Broker, settled: bool, what: &str) {
        let mut raw = Raw::connect(broker).await;
        for topic in &self.topics {
            let seen = all(&mut raw, topic).await;
            let values: Vec<&String> = seen.values().collect();
            for value in &values {
                assert!(self.sent.contains(*value), "{what}: {topic} holds {value}, which nobody sent");
            }
            for ((_, offset), value) in self.acked.iter().filter(|((of, _), _)| of == topic) {
                assert_eq!(seen.get(offset), Some(value), "{what}: acknowledged in {topic} at {offset}");
            }
            if *topic == "idem" {
                let unique: BTreeSet<_> = values.iter().collect();
                assert_eq!(unique.len(), values.len(), "{what}: an idempotent record is there twice: {values:?}");
            }
        }
        if self.topics.len() < TOPICS.len() {
            return;
        }
        let (left, right) = (all(&mut raw, "left").await, all(&mut raw, "right").await);
        let mut offsets = BTreeSet::from([-1]);
        for txn in &self.txns {
            let count = |side: &BTreeMap<i64, String>| side.values().filter(|value| **value == txn.name).count();
            let there = (count(&left), count(&right));
            match txn.end {
                End::Committed if settled => assert_eq!(there, (1, 1), "{what}: committed {txn:?}"),
                End::Committed => {}
                End::Aborted => assert_eq!(there, (0, 0), "{what}: aborted {txn:?}"),
                // Without an answer a retry may have come twice only if the first did not count.
                End::Unknown if settled => {
                    assert!(there.0 == there.1 && there.0 <= 1, "{what}: torn {txn:?} {there:?}")
                }
                End::Unknown => {}
            }
            match (txn.end, txn.offset) {
                (End::Committed, Some(offset)) => offsets = BTreeSet::from([offset]),
                (End::Unknown, Some(offset)) => drop(offsets.insert(offset)),
                _ => {}
            }
        }
        let (code, place) = committed_offset(&mut raw, GROUP, "plain", false).await;
        assert_eq!(code, 0, "{what}");
        let expected = self.offset_acked..=self.offset_asked;
        assert!(expected.contains(&place.max(0)), "{what}: committed {expected:?}, found {place}");
        if settled {
            let (_, place) = committed_offset(&mut raw, TXN_GROUP, "plain", false).await;
            assert!(offsets.contains(&place), "{what}: a transaction committed one of {offsets:?}, found {place}");
        }
    }
}

/// Takes the transactional id away from whoever had it, which settles what was open.
pub async fn own(client: &mut Client, disk: &MemDisk) -> bool {
    for _ in 0..TRIES {
        let answer = client.init(60_000, (-1, -1)).await;
        if answer.error_code == 0 {
            (client.producer, client.sequence) = ((answer.producer_id, answer.producer_epoch), 0);
            return true;
        }
        if over(disk) {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

/// Whether the transaction was ended and its client was told how.
async fn write_and_end(
    client: &mut Client,
    disk: &MemDisk,
    version: i16,
    commit: Option<bool>,
    told: &mut Told,
    offset: i64,
) -> bool {
    let mut failed = false;
    for topic in ["left", "right"] {
        failed |= version < 5 && !again(disk, async || client.add(topic, &[0]).await).await;
        let mut request = produce_request(topic, -1, build_one(client, &told.name));
        request.transactional_id = Some("x".into());
        let produce = if version < 5 { 9 } else { 12 };
        let written = again(disk, async || {
            let answer = client.raw.call(produce, &request).await;
            answer.responses[0].partition_responses[0].error_code
        });
        let written = written.await;
        told.written += usize::from(written);
        failed |= !written;
    }
    failed |= version < 5 && !again(disk, async || client.add_offsets(TXN_GROUP).await).await;
    let commit_version = if version < 5 { 3 } else { 5 };
    if again(disk, async || client.commit_offset(commit_version, TXN_GROUP, "plain", offset).await).await {
        told.offset = Some(offset);
    } else {
        // Whether it counts nobody knows.
        (told.offset, failed) = (Some(offset), true);
    }
    let Some(commit) = commit else { return true };
    // A producer that could not write all of it does not commit it.
    let commit = commit && !failed;
    for _ in 0..TRIES {
        let answer = client.end_once(version, commit).await;
        if answer.error_code == 0 {
            told.end = if commit { End::Committed } else { End::Aborted };
            return true;
        }
        if over(disk) {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

fn build_one(client: &Client, value: &str) -> bytes::Bytes {
    let builder = BatchBuilder::new(Codec::None).transactional(true);
    build(builder.producer(client.producer.0, client.producer.1, 0), &[value])
}

/// Asks until the answer is no error, the directory failed, or the tries are used up.
async fn again(disk: &MemDisk, mut ask: impl AsyncFnMut() -> i16) -> bool {
    for _ in 0..TRIES {
        match ErrorCode(ask().await) {
            ErrorCode::NONE => return true,
            _ if over(disk) => return false,
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    false
}

/// Every record that a reader of `read_committed` sees, by offset; leaves out what the lists of aborted transactions say, as Kafka's consumer does.
async fn all(raw: &mut Raw, topic: &str) -> BTreeMap<i64, String> {
    let (mut out, mut next) = (BTreeMap::new(), 0);
    loop {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, fetch_offset: next, ..Default::default() };
        let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
        let request = FetchRequest { max_bytes: 1 << 20, isolation_level: 1, topics, ..Default::default() };
        let data = raw.call(12, &request).await.responses[0].partitions[0].clone();
        assert_eq!(data.error_code, 0, "{topic}");
        let mut aborted = data.aborted_transactions.unwrap_or_default();
        let mut dropping = BTreeSet::new();
        let before = next;
        for found in Batches::new(data.records.unwrap()) {
            let found = found.unwrap();
            found.verify_crc().unwrap();
            let header = found.header;
            next = header.next_offset();
            aborted.retain(|txn| {
                let begun = txn.first_offset <= header.last_offset();
                begun.then(|| dropping.insert(txn.producer_id));
                !begun
            });
            let records = decode_records(&found, 1 << 20).unwrap();
            if header.attributes.is_control() {
                // Version and type, 0 for an abort.
                if records[0].key.as_deref() == Some(&[0; 4][..]) {
                    dropping.remove(&header.producer_id);
                }
            } else if !(header.attributes.is_transactional() && dropping.contains(&header.producer_id)) {
                let text = |value: Option<bytes::Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
                out.extend((header.base_offset..).zip(records.into_iter().map(|record| text(record.value))));
            }
        }
        if next == before {
            return out;
        }
    }
}
