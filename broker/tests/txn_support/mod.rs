//! A transactional producer and readers on bare connections.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway_broker::Broker;
use causeway_wire::ErrorCode;
use causeway_wire::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use causeway_wire::messages::add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use causeway_wire::messages::describe_transactions::DescribeTransactionsRequest;
use causeway_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use causeway_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use causeway_wire::messages::produce::PartitionProduceResponse;
use causeway_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use causeway_wire::records::{BatchBuilder, Batches, Codec, decode_records};

use crate::support::{Raw, build, produce_request};

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A transactional producer as a client of one protocol version would be.
pub struct Client {
    pub raw: Raw,
    pub id: &'static str,
    pub producer: (i64, i16),
    pub sequence: i32,
}

impl Client {
    pub async fn new(broker: &Broker, id: &'static str) -> Self {
        let mut client = Self::connect(broker, id).await;
        client.own(60_000).await;
        client
    }

    /// Without taking the id yet.
    pub async fn connect(broker: &Broker, id: &'static str) -> Self {
        Self { raw: Raw::connect(broker).await, id, producer: (-1, -1), sequence: 0 }
    }

    pub async fn init(&mut self, timeout_ms: i32, expected: (i64, i16)) -> InitProducerIdResponse {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.into()),
            transaction_timeout_ms: timeout_ms,
            producer_id: expected.0,
            producer_epoch: expected.1,
            ..Default::default()
        };
        self.raw.call(5, &request).await
    }

    /// Takes the transactional id, waiting for an older transaction to be aborted.
    pub async fn own(&mut self, timeout_ms: i32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.init(timeout_ms, (-1, -1)).await;
            if answer.error_code == 0 {
                (self.producer, self.sequence) = ((answer.producer_id, answer.producer_epoch), 0);
                return;
            }
            let again = [ErrorCode::CONCURRENT_TRANSACTIONS.0, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS.0];
            assert!(again.contains(&answer.error_code), "{}", ErrorCode(answer.error_code).name());
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn add(&mut self, topic: &str, partitions: &[i32]) -> i16 {
        let topic = AddPartitionsToTxnTopic { name: topic.into(), partitions: partitions.into(), ..Default::default() };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.into(),
            v3_and_below_producer_id: self.producer.0,
            v3_and_below_producer_epoch: self.producer.1,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.raw.call(3, &request).await;
            let code = answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
            if code != ErrorCode::CONCURRENT_TRANSACTIONS.0 || Instant::now() > deadline {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub fn records(&mut self, values: &[&str]) -> Bytes {
        let builder = BatchBuilder::new(Codec::None).transactional(true);
        let builder = builder.producer(self.producer.0, self.producer.1, self.sequence);
        self.sequence += values.len() as i32;
        build(builder, values)
    }

    pub async fn write(&mut self, version: i16, topic: &str, values: &[&str]) -> PartitionProduceResponse {
        let mut request = produce_request(topic, -1, self.records(values));
        request.transactional_id = Some(self.id.into());
        self.raw.call(version, &request).await.responses[0].partition_responses[0].clone()
    }

    pub async fn end_once(&mut self, version: i16, committed: bool) -> EndTxnResponse {
        let request = EndTxnRequest {
            transactional_id: self.id.into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            committed,
            ..Default::default()
        };
        self.raw.call(version, &request).await
    }

    pub async fn end(&mut self, version: i16, committed: bool) {
        let answer = self.end_once(version, committed).await;
        assert_eq!(answer.error_code, 0, "commit={committed}");
        if version >= 5 {
            (self.producer, self.sequence) = ((answer.producer_id, answer.producer_epoch), 0);
        }
    }

    /// State of the transactional id by DescribeTransactions, and its partitions.
    pub async fn state(&mut self) -> (String, usize) {
        let request = DescribeTransactionsRequest { transactional_ids: vec![self.id.into()], ..Default::default() };
        let answer = self.raw.call(0, &request).await.transaction_states.remove(0);
        let partitions = answer.topics.iter().map(|t| t.partitions.len()).sum();
        (answer.transaction_state, partitions)
    }

    pub async fn wait_state(&mut self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.state().await.0 != wanted {
            assert!(Instant::now() < deadline, "{:?} instead of {wanted}", self.state().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn commit_offset(&mut self, version: i16, group: &str, topic: &str, offset: i64) -> i16 {
        let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let topic =
            TxnOffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.into(),
            group_id: group.into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            generation_id: -1,
            topics: vec![topic],
            ..Default::default()
        };
        self.raw.call(version, &request).await.topics[0].partitions[0].error_code
    }

    pub async fn add_offsets(&mut self, group: &str) -> i16 {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.id.into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            group_id: group.into(),
            ..Default::default()
        };
        self.raw.call(3, &request).await.error_code
    }
}

/// What a reader sees: its values, leaving out what the broker's list of aborted transactions says.
pub async fn read(raw: &mut Raw, topic: &str, committed: bool) -> (PartitionData, Vec<String>) {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    let isolation_level = i8::from(committed);
    let request = FetchRequest { max_bytes: 1 << 20, isolation_level, topics, ..Default::default() };
    let data = raw.call(12, &request).await.responses[0].partitions[0].clone();
    let aborted = data.aborted_transactions.clone().unwrap_or_default();
    let mut values = Vec::new();
    let mut dropping = std::collections::BTreeSet::new();
    for batch in Batches::new(data.records.clone().unwrap()) {
        let batch = batch.unwrap();
        let header = batch.header;
        let begun = aborted.iter().filter(|txn| txn.first_offset <= header.last_offset());
        if header.attributes.is_control() {
            dropping.remove(&header.producer_id);
            continue;
        }
        if begun.clone().any(|txn| txn.producer_id == header.producer_id && txn.first_offset == header.base_offset) {
            dropping.insert(header.producer_id);
        }
        if !(header.attributes.is_transactional() && dropping.contains(&header.producer_id)) {
            let records = decode_records(&batch, 1 << 20).unwrap();
            values.extend(records.iter().map(|r| String::from_utf8(r.value.clone().unwrap().to_vec()).unwrap()));
        }
    }
    (data, values)
}

pub async fn latest(raw: &mut Raw, topic: &str, committed: bool) -> i64 {
    let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() }];
    let request = ListOffsetsRequest { isolation_level: i8::from(committed), topics, ..Default::default() };
    raw.call(8, &request).await.topics[0].partitions[0].offset
}

pub async fn committed_offset(raw: &mut Raw, group: &str, topic: &str, require_stable: bool) -> (i16, i64) {
    let topic = OffsetFetchRequestTopics { name: topic.into(), partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], require_stable, ..Default::default() };
    let answer = raw.call(8, &request).await.groups.remove(0);
    if answer.error_code != 0 {
        return (answer.error_code, -1);
    }
    let answer = answer.topics[0].partitions[0].clone();
    (answer.error_code, answer.committed_offset)
}

/// Until a committed reader sees these values.
pub async fn wait_read(raw: &mut Raw, topic: &str, wanted: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, values) = read(raw, topic, true).await;
        if values == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{values:?} instead of {wanted:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
