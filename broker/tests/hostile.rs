//! Requests of strangers: whatever a connection sends, it is answered or closed, and the node goes on for everybody else. `CAUSEWAY_FUZZ_ITERS` (per
//! API and version) and `CAUSEWAY_FUZZ_SEED` make the random part longer and other.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use causeway_broker::Broker;
use causeway_wire::header::RequestHeader;
use causeway_wire::messages::api_versions::ApiVersionsRequest;
use causeway_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use causeway_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use causeway_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use causeway_wire::messages::{self, AnyMessage};
use causeway_wire::{ApiKey, frame};
use support::{Raw, batch, produce_request, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No single hostile request may keep its connection busy for longer; timeouts that a request asks for are short here.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests of one fuzzing connection before it makes room for the next.
const PER_CONNECTION: usize = 8;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn framed(key: i16, version: i16, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    let header = RequestHeader { api_key: key, api_version: version, correlation_id: 7, client_id: Some("x".into()) };
    let flexible = ApiKey::try_from(key).map_or(1, |k| k.request_header_version(version));
    out.put_i32(0);
    header.encode(flexible, &mut out).unwrap();
    out.extend_from_slice(body);
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// A body that is often well formed as far as it goes: small counts, short names, plausible numbers.
fn body(rng: &mut fastrand::Rng) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        &[0, 0, 0, 1],
        &[0, 0, 0, 2],
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0xff, 0xff, 0xff],
        &[0, 5, b't', b'o', b'p', b'i', b'c'],
        &[6, b't', b'o', b'p', b'i', b'c'],
        &[0, 1, b'g'],
        &[2, b'g'],
        &[0xff, 0xff],
        &[0],
        &[1],
        &[2],
        &[0xff],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
    ];
    let mut out = Vec::new();
    for _ in 0..rng.usize(0..24) {
        match rng.u8(0..6) {
            0 => out.extend((0..rng.usize(0..20)).map(|_| rng.u8(..))),
            _ => out.extend(PIECES[rng.usize(0..PIECES.len())]),
        }
    }
    out
}

/// A whole valid body: the message's own encoding of whatever random bytes it accepts, found within a few tries.
fn accepted(message: &AnyMessage, version: i16, rng: &mut fastrand::Rng) -> Option<Vec<u8>> {
    for _ in 0..40 {
        let mut bytes = body(rng);
        // Most messages accept a tail of zeros as empty fields.
        bytes.extend([0; 64]);
        let mut out = BytesMut::new();
        if (message.recode)(version, &mut Bytes::from(bytes), &mut out).is_ok() {
            return Some(out.to_vec());
        }
    }
    None
}

/// Sends and waits until everything was answered or the connection closed; whether it was closed.
async fn exchange(stream: &mut TcpStream, requests: &[u8], what: &str) {
    // A close in the middle of our writing is an answer too.
    let _ = stream.write_all(requests).await;
    let _ = stream.shutdown().await;
    let mut answers = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answers)).await;
    let _ = read.unwrap_or_else(|_| panic!("neither answered nor closed: {what}"));
    assert!(answers.len() < 64 << 20, "{} bytes for {} asked: {what}", answers.len(), requests.len());
}

/// A normal client finds the node as it was.
async fn still_serves(broker: &Broker, topic: &str) {
    let mut raw = Raw::connect(broker).await;
    let offered = raw.call(2, &ApiVersionsRequest::default()).await;
    assert_eq!(offered.error_code, 0);
    let made = raw.create(topic, 1, &[]).await;
    assert!(made == 0 || made == 36, "error {made} creating {topic}");
    assert_eq!(raw.produce(topic, batch(&["still", "here"])).await.error_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_of_any_api_takes_the_node_down() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os"), ("offsets.topic.num.partitions", "1")]).await;
    still_serves(&broker, "topic").await;
    let offered = Raw::connect(&broker).await.call(2, &ApiVersionsRequest::default()).await.api_keys;
    assert!(offered.len() > 20);
    let (rounds, seed) = (setting("CAUSEWAY_FUZZ_ITERS", 8), setting("CAUSEWAY_FUZZ_SEED", 1));
    let (mut sent, mut whole) = (0u64, 0u64);
    for api in &offered {
        let key = ApiKey::try_from(api.api_key).unwrap();
        let name = format!("{key:?}Request");
        let message = messages::ALL.iter().find(|m| m.name == name).unwrap();
        for version in api.min_version..=api.max_version {
            let mut rng = fastrand::Rng::with_seed(seed ^ (api.api_key as u64) << 32 ^ (version as u64) << 48);
            for round in 0..rounds {
                let mut requests = BytesMut::new();
                for _ in 0..rng.usize(1..=PER_CONNECTION) {
                    let valid = if rng.bool() { accepted(message, version, &mut rng) } else { None };
                    whole += u64::from(valid.is_some());
                    sent += 1;
                    let mut bytes = framed(api.api_key, version, &valid.unwrap_or_else(|| body(&mut rng)));
                    if rng.u8(0..16) == 0 {
                        // Not even the header holds.
                        let at = rng.usize(4..bytes.len());
                        bytes[at] = rng.u8(..);
                    }
                    requests.extend_from_slice(&bytes);
                }
                let mut stream = TcpStream::connect(broker.local_addr()).await.unwrap();
                exchange(&mut stream, &requests, &format!("{name} v{version}, round {round}")).await;
            }
        }
        still_serves(&broker, "topic").await;
    }
    assert!(whole > sent / 8, "{whole} of {sent} requests were well formed: the bodies are too wild");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_closes_its_own_connection_only() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os")]).await;
    let mut rng = fastrand::Rng::with_seed(setting("CAUSEWAY_FUZZ_SEED", 1));
    for round in 0..setting("CAUSEWAY_FUZZ_ITERS", 100) {
        let mut noise: Vec<u8> = (0..rng.usize(0..4000)).map(|_| rng.u8(..)).collect();
        if rng.bool() && noise.len() > 4 {
            let length = (noise.len() - 4) as i32;
            noise[..4].copy_from_slice(&length.to_be_bytes());
        }
        let mut stream = TcpStream::connect(broker.local_addr()).await.unwrap();
        exchange(&mut stream, &noise, &format!("noise {round}")).await;
    }
    still_serves(&broker, "topic").await;
    broker.shutdown().await;
}

#[tokio::test]
async fn only_a_produce_may_be_long() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut announced = framed(3, 12, &[]);
    announced[..4].copy_from_slice(&(9_i32 << 20).to_be_bytes());
    let mut metadata = TcpStream::connect(broker.local_addr()).await.unwrap();
    metadata.write_all(&announced).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, metadata.read_u8()).await.expect("no wait for 9 MiB of names");
    assert!(closed.is_err(), "closed at once, not answered");

    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("big", 1, &[("max.message.bytes", "20000000")]).await, 0);
    let large = "x".repeat(9 << 20);
    assert_eq!(raw.produce("big", batch(&[&large])).await.error_code, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_requests_that_fill_the_budget_do_not_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mb = "1048576";
    let settings = [("socket.request.max.bytes", mb), ("queued.max.request.bytes", mb), ("log.flush", "os")];
    let broker = start(dir.path(), &settings).await;
    let mut first = Raw::connect(&broker).await;
    assert_eq!(first.create("t", 1, &[]).await, 0);
    let mut request = BytesMut::new();
    let value = "x".repeat(900_000);
    frame::put_request(&mut request, 9, 1, Some("test"), &produce_request("t", -1, batch(&[&value]))).unwrap();
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut peer = Raw::connect(&broker).await;
        peer.stream.write_all(&request[..200_000]).await.unwrap();
        peers.push(peer);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    let senders = peers.into_iter().map(|mut peer| {
        let rest = request[200_000..].to_vec();
        tokio::spawn(async move {
            peer.stream.write_all(&rest).await.unwrap();
            assert!(peer.frame().await.is_some());
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    assert!(started.elapsed() < PATIENCE);
    broker.shutdown().await;
}

/// So many bytes of a produce request for `announced`, and then nothing.
async fn half_of(broker: &Broker, announced: usize, sent: usize) -> TcpStream {
    let mut out = framed(0, 9, &[]);
    out[..4].copy_from_slice(&(announced as u32).to_be_bytes());
    out.resize(4 + sent, 1);
    let mut stream = TcpStream::connect(broker.local_addr()).await.unwrap();
    stream.write_all(&out).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_large_requests_leave_room_for_ordinary_ones() {
    let dir = tempfile::tempdir().unwrap();
    let four = (4 << 20).to_string();
    let settings = [("socket.request.max.bytes", &*four), ("queued.max.request.bytes", &*four), ("log.flush", "os")];
    let broker = start(dir.path(), &settings).await;
    let mut half = Vec::new();
    for _ in 0..4 {
        half.push(half_of(&broker, 4 << 20, 3 << 20).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    still_serves(&broker, "topic").await;
    let mut raw = Raw::connect(&broker).await;
    let value = "x".repeat(900_000);
    assert_eq!(raw.produce("topic", batch(&[&value])).await.error_code, 0);
    // Those would have had more than a minute to go on.
    assert!(started.elapsed() < PATIENCE);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_requests_are_given_up_where_others_wait_for_their_room() {
    let dir = tempfile::tempdir().unwrap();
    let two = (2 << 20).to_string();
    let settings = [("socket.request.max.bytes", &*two), ("queued.max.request.bytes", &*two), ("log.flush", "os")];
    let broker = start(dir.path(), &settings).await;
    let mut half = Vec::new();
    for _ in 0..8 {
        half.push(half_of(&broker, 900_000, 800_000).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    still_serves(&broker, "topic").await;
    let closed = tokio::time::timeout(PATIENCE, half[0].read_u8()).await.expect("it was given up");
    assert!(closed.is_err());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_names_cost_no_more_than_they_are_worth() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os"), ("num.partitions", "1")]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 50, &[]).await, 0);

    // The same thing asked for again and again is answered once.
    let topic = || MetadataRequestTopic { name: Some("t".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some((0..100_000).map(|_| topic()).collect()), ..Default::default() };
    assert_eq!(raw.call(12, &request).await.topics.len(), 1);
    let resource = || DescribeConfigsResource { resource_type: 2, resource_name: "t".into(), ..Default::default() };
    let request =
        DescribeConfigsRequest { resources: (0..100_000).map(|_| resource()).collect(), ..Default::default() };
    assert_eq!(raw.call(4, &request).await.results.len(), 1);

    // Many different ones are gone through once, not once for each.
    let topic = |i: u32| CreatableTopic { name: format!("{i}/"), num_partitions: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: (0..200_000).map(topic).collect(), ..Default::default() };
    let started = Instant::now();
    assert!(raw.call(7, &request).await.topics.iter().all(|t| t.error_code == 17));
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());

    // However they are spread over topics, a request makes so many partitions and no more.
    let topic = |i: u32| CreatableTopic {
        name: format!("n{i}"),
        num_partitions: 6_000,
        replication_factor: 1,
        ..Default::default()
    };
    let topics = (0..4).map(topic).collect();
    let request = CreateTopicsRequest { topics, validate_only: true, ..Default::default() };
    let codes: Vec<i16> = raw.call(7, &request).await.topics.iter().map(|t| t.error_code).collect();
    assert_eq!(codes, [0, 44, 44, 44]);
    broker.shutdown().await;
}
