//! Quotas and limits of connections, over real sockets: who uses too much waits or stays outside, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use causeway_broker::Broker;
use causeway_wire::ErrorCode;
use causeway_wire::messages::alter_client_quotas::{
    AlterClientQuotasRequest, OpData, RequestEntityData, RequestEntryData,
};
use causeway_wire::messages::api_versions::ApiVersionsRequest;
use causeway_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use causeway_wire::messages::delete_topics::DeleteTopicsRequest;
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use causeway_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use causeway_wire::messages::metadata::MetadataRequest;
use support::{Raw, batch, produce_request, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No wait of these tests is longer.
const PATIENCE: Duration = Duration::from_secs(30);

async fn set_quota(broker: &Broker, kind: &str, name: Option<&str>, key: &str, value: f64) {
    let entity =
        RequestEntityData { entity_type: kind.into(), entity_name: name.map(str::to_owned), ..Default::default() };
    let op = OpData { key: key.into(), value, remove: false, ..Default::default() };
    let entry = RequestEntryData { entity: vec![entity], ops: vec![op], ..Default::default() };
    let request = AlterClientQuotasRequest { entries: vec![entry], ..Default::default() };
    assert_eq!(Raw::connect(broker).await.call(1, &request).await.entries[0].error_code, 0);
}

fn fetch(max_bytes: i32) -> FetchRequest {
    let partition = FetchPartition { partition_max_bytes: max_bytes, ..Default::default() };
    let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_bytes, topics: vec![topic], ..Default::default() }
}

fn fetched(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|t| &t.partitions);
    partitions.map(|p| p.records.as_ref().map_or(0, |r| r.len())).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_above_its_quota_is_answered_at_once_told_to_wait_and_not_read_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os")]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 1, &[]).await, 0);
    // Ten thousand bytes at once are free, what comes beside them is owed.
    set_quota(&broker, "client-id", Some("test"), "producer_byte_rate", 1_000.0).await;
    let value = "x".repeat(11_500);
    let response = raw.call(9, &produce_request("t", -1, batch(&[&value]))).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "what came is stored");
    assert!(response.throttle_time_ms > 500, "{}", response.throttle_time_ms);
    let began = Instant::now();
    raw.call(12, &MetadataRequest::default()).await;
    let waited = began.elapsed();
    assert!(waited.as_millis() as i32 >= response.throttle_time_ms / 2, "{waited:?}");
    // Others are not held up; their client id has no quota.
    let mut other = Raw::connect(&broker).await;
    other.client_id = "other";
    let response = other.call(9, &produce_request("t", -1, batch(&[&value]))).await;
    assert_eq!(response.throttle_time_ms, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_above_its_quota_gets_nothing_now_and_everything_later() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os")]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 1, &[]).await, 0);
    let value = "x".repeat(7_000);
    for _ in 0..2 {
        assert_eq!(raw.produce("t", batch(&[&value])).await.error_code, 0);
    }
    set_quota(&broker, "client-id", None, "consumer_byte_rate", 5_000.0).await;
    let (mut total, mut throttled) = (0, 0);
    for _ in 0..5 {
        let response = raw.call(11, &fetch(1 << 20)).await;
        let bytes = fetched(&response);
        assert!(response.throttle_time_ms == 0 || bytes == 0, "a throttled answer is empty");
        throttled += usize::from(response.throttle_time_ms > 0);
        total += bytes;
    }
    assert!(throttled > 0 && total > 14_000, "{throttled} throttled, {total} bytes");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_and_deleted_as_fast_as_the_quota_says() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os")]).await;
    let mut raw = Raw::connect(&broker).await;
    set_quota(&broker, "client-id", Some("test"), "controller_mutation_rate", 1.0).await;
    let request = |name: &str| CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: name.into(),
            num_partitions: 12,
            replication_factor: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let first = raw.call(7, &request("first")).await;
    assert_eq!(first.topics[0].error_code, 0, "a burst is allowed");
    assert!(first.throttle_time_ms > 0);
    // Another connection of the same client: the first one is not read until nothing is owed.
    let second = Raw::connect(&broker).await.call(7, &request("second")).await;
    assert_eq!(second.topics[0].error_code, ErrorCode::THROTTLING_QUOTA_EXCEEDED.0);
    assert!(second.throttle_time_ms > 0);
    // Versions that know no such answer are only made to wait, by a connection that is not read.
    let mut old = Raw::connect(&broker).await;
    let third = old.call(5, &request("third")).await;
    assert_eq!(third.topics[0].error_code, 0);
    assert!(third.throttle_time_ms > 0);
    let mut again = Raw::connect(&broker).await;
    let delete = DeleteTopicsRequest { topic_names: vec!["first".into()], ..Default::default() };
    let deleted = again.call(5, &delete).await;
    assert_eq!(deleted.responses[0].error_code, ErrorCode::THROTTLING_QUOTA_EXCEEDED.0);
    broker.shutdown().await;
}

/// Whether the broker serves a new connection, from this address.
async fn served(broker: &Broker) -> Option<Raw> {
    let mut raw = Raw::connect(broker).await;
    let number = raw.try_send(2, &ApiVersionsRequest::default()).await?;
    raw.frame().await?;
    assert_eq!(number, 1);
    Some(raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_no_more_connections_than_it_may_and_the_number_changes_while_running() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("max.connections.per.ip", "2")]).await;
    let mut first = served(&broker).await.unwrap();
    let second = served(&broker).await.unwrap();
    assert!(served(&broker).await.is_none());
    let config = AlterableConfig {
        name: "max.connections.per.ip.overrides".into(),
        value: Some("127.0.0.1:3".into()),
        ..Default::default()
    };
    let resource = |config| AlterConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configs: vec![config],
        ..Default::default()
    };
    let set = IncrementalAlterConfigsRequest { resources: vec![resource(config.clone())], ..Default::default() };
    assert_eq!(first.call(1, &set).await.responses[0].error_code, 0);
    let third = served(&broker).await.expect("three are allowed now");
    assert!(served(&broker).await.is_none());
    drop((second, third));
    let until = Instant::now() + PATIENCE;
    while served(&broker).await.is_none() {
        assert!(Instant::now() < until, "who left makes room");
    }
    let bad = AlterableConfig { value: Some("localhost".into()), ..config };
    let bad = IncrementalAlterConfigsRequest { resources: vec![resource(bad)], ..Default::default() };
    assert_eq!(first.call(1, &bad).await.responses[0].error_code, ErrorCode::INVALID_REQUEST.0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_connects_too_fast_is_refused_and_all_together_have_to_wait() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    set_quota(&broker, "ip", Some("127.0.0.1"), "connection_creation_rate", 1.0).await;
    let mut refused = 0;
    for _ in 0..40 {
        refused += usize::from(served(&broker).await.is_none());
    }
    assert!(refused > 0, "forty at once are more than eleven seconds' worth");
    broker.shutdown().await;

    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("max.connection.creation.rate", "2")]).await;
    let began = Instant::now();
    for _ in 0..26 {
        assert!(served(&broker).await.is_some(), "nobody is refused, all wait");
    }
    assert!(began.elapsed() > Duration::from_millis(500), "22 in a burst, then two a second");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_never_finished_closes_its_connection() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut slow = TcpStream::connect(broker.local_addr()).await.unwrap();
    slow.write_all(&[0, 0]).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, slow.read_u8()).await.expect("no endless wait for two bytes");
    assert!(closed.is_err());
    assert!(served(&broker).await.is_some());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_never_read_hold_bounded_memory_and_others_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os"), ("message.max.bytes", "20000000")]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 1, &[]).await, 0);
    let large = "x".repeat(8 << 20);
    for _ in 0..6 {
        assert_eq!(raw.produce("t", batch(&[&large])).await.error_code, 0);
    }
    // Each is owed two batches and takes what fits into its socket's buffers: after a few the room for answers is used up. One more in every round: the
    // reader needs room, too, and may have that of one of them just when it asks.
    let mut deaf = Vec::new();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut one = Raw::connect(&broker).await;
        one.send(11, &fetch(57 << 20)).await;
        deaf.push(one);
        let mut reader = Raw::connect(&broker).await;
        let bytes = fetched(&reader.call(11, &fetch(57 << 20)).await);
        assert!(
            (8 << 20..=24 << 20).contains(&bytes),
            "everybody gets a batch, and no more than an answer holds: {bytes}"
        );
        if bytes < 16 << 20 {
            break;
        }
        assert!(Instant::now() < until, "answers never became shorter");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(deaf);
    let until = Instant::now() + PATIENCE;
    while fetched(&Raw::connect(&broker).await.call(11, &fetch(57 << 20)).await) < 16 << 20 {
        assert!(Instant::now() < until, "room is given back when they leave");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_never_read_are_given_up_where_others_go_short() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os"), ("message.max.bytes", "20000000")]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 1, &[]).await, 0);
    let large = "x".repeat(8 << 20);
    for _ in 0..6 {
        assert_eq!(raw.produce("t", batch(&[&large])).await.error_code, 0);
    }
    let mut deaf = Vec::new();
    for _ in 0..18 {
        let mut one = Raw::connect(&broker).await;
        one.send(11, &fetch(57 << 20)).await;
        deaf.push(one);
    }
    // They stay connected, and would have had a quarter of an hour to read what they are owed.
    let until = Instant::now() + PATIENCE;
    let (mut short, mut whole) = (false, false);
    while !(short && whole) {
        let bytes = fetched(&Raw::connect(&broker).await.call(11, &fetch(57 << 20)).await);
        (short, whole) = (short || bytes < 16 << 20, short && bytes > 16 << 20);
        assert!(Instant::now() < until, "their room is given to those who read: went short {short}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    broker.shutdown().await;
}
