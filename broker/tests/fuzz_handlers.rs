//! Every API handler under structured, damaged and raw requests, against a node in this process: no panic, no hang, no growth. The short run has a fixed
//! seed and one drawn by chance, which it prints; `CAUSEWAY_FUZZ_ITERS` (requests) and `CAUSEWAY_FUZZ_SEED` make a long one. Of the
//! `CAUSEWAY_FUZZ_INPUTS` of all fuzzers an eighth are requests, and an eighth records of the journals.
#![allow(clippy::unwrap_used, clippy::needless_update, clippy::print_stdout, reason = "tests")]

#[path = "fuzz/input.rs"]
mod input;
#[path = "fuzz/no_sync.rs"]
mod no_sync;
#[allow(dead_code, reason = "the build script uses more of it")]
#[path = "../wire/build/schema.rs"]
mod schema;
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig};
use causeway_wire::header::ResponseHeader;
use causeway_wire::messages::api_versions::ApiVersionsRequest;
use causeway_wire::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
use causeway_wire::messages::fetch::FetchResponse;
use causeway_wire::messages::init_producer_id::InitProducerIdResponse;
use causeway_wire::messages::join_group::JoinGroupResponse;
use causeway_wire::messages::metadata::MetadataResponse;
use causeway_wire::{ApiKey, Message};
use input::{Known, Writer, damage, framed, remember};
use no_sync::NoSync;
use support::{Raw, batch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests of the short run, per seed.
const SHORT: u64 = 12_000;
/// Connections at a time: most requests wait for something.
const LANES: u64 = 24;
/// Requests of one connection.
const PIPELINED: usize = 12;
/// A connection's requests are answered, or it is closed, within this. What a request may ask to wait is far shorter.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the node may hold more at the end of a long run than after its first tenth (bytes). Everything it can be made to remember is named from short
/// lists, so it levels off; allocators and caches get some slack.
const GROWTH_MAX: u64 = 192 << 20;

static PANICS: AtomicU64 = AtomicU64::new(0);

struct Node {
    broker: Broker,
    /// Key, versions and description of each API it serves.
    apis: Vec<(ApiKey, i16, i16, schema::Message)>,
    known: Mutex<Known>,
}

#[derive(Default, Debug)]
struct Counts {
    sent: u64,
    answered: u64,
    closed: u64,
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|p| p.parse::<u64>().ok()).unwrap_or(0) * 4096
}

async fn node(dir: &std::path::Path) -> Node {
    let settings = [
        ("log.flush", "os"),
        ("offsets.topic.num.partitions", "2"),
        ("transaction.state.log.num.partitions", "2"),
        ("num.partitions", "2"),
        ("group.min.session.timeout.ms", "5"),
    ];
    let mut properties = Properties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
    properties.set("log.dirs", dir.display().to_string());
    properties.set("group.initial.rebalance.delay.ms", "0");
    settings.iter().for_each(|(key, value)| properties.set(*key, *value));
    let config = BrokerConfig::from_properties(&properties).unwrap();
    let broker = Broker::start_on(config, Arc::new(NoSync)).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    for (topic, configs) in
        [("t0", &[][..]), ("compacted", &[("cleanup.policy", "compact")]), ("tiny", &[("max.message.bytes", "120")])]
    {
        assert_eq!(raw.create(topic, 2, configs).await, 0);
    }
    let offered = raw.call(2, &ApiVersionsRequest::default()).await.api_keys;
    let described = input::requests();
    let apis = offered.iter().filter_map(|api| {
        let message = described.iter().find(|(key, _)| *key == api.api_key)?.1.clone();
        Some((ApiKey::try_from(api.api_key).ok()?, api.min_version, api.max_version, message))
    });
    let apis: Vec<_> = apis.collect();
    assert_eq!(apis.len(), offered.len(), "every API is described");
    Node { broker, apis, known: Mutex::default() }
}

/// One connection's worth of requests, answers read to the end.
async fn exchange(node: &Node, rng: &mut fastrand::Rng, counts: &mut Counts) {
    let mut out = BytesMut::new();
    let mut asked = Vec::new();
    {
        let known = node.known.lock().unwrap();
        for _ in 0..rng.usize(1..=PIPELINED) {
            let (key, low, high, message) = &node.apis[rng.usize(0..node.apis.len())];
            let version = rng.i16(*low..=*high);
            let described = version.max(message.versions.low);
            let mut writer = Writer { key: i16::from(*key), message, version: described, rng, known: &known };
            let mut body = writer.body().to_vec();
            // A damaged count may ask for thousands of partitions: allowed, and slow.
            if rng.u8(0..8) == 0 && ![ApiKey::CreateTopics, ApiKey::CreatePartitions].contains(key) {
                damage(&mut body, rng);
            }
            if rng.u8(0..40) == 0 {
                body = (0..rng.usize(0..300)).map(|_| rng.u8(..)).collect();
            }
            out.extend_from_slice(&framed(i16::from(*key), version, key.request_header_version(version), &body));
            asked.push((*key, version, body));
        }
    }
    counts.sent += asked.len() as u64;
    let mut stream = TcpStream::connect(node.broker.local_addr()).await.unwrap();
    // A close in the middle of our writing is an answer too.
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
    let mut answers = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answers)).await;
    assert!(
        read.is_ok(),
        "neither answered nor closed within {PATIENCE:?} after {} answers: {asked:02x?}",
        whole_answers(&answers)
    );
    assert!(answers.len() < 64 << 20, "{} bytes for {asked:02x?}", answers.len());
    let mut answers = Bytes::from(answers);
    let before = counts.answered;
    while answers.len() >= 4 {
        let length = answers.get_i32() as usize;
        assert!(length <= answers.len(), "half an answer to {asked:02x?}");
        let answer = answers.split_to(length);
        counts.answered += 1;
        learn(node, answer, rng);
    }
    counts.closed += u64::from(counts.answered - before < asked.len() as u64);
}

/// How many answers arrived whole.
fn whole_answers(mut answers: &[u8]) -> usize {
    let mut count = 0;
    while answers.len() >= 4 {
        let length = answers.get_u32() as usize;
        let Some(rest) = answers.get(length..) else { break };
        (answers, count) = (rest, count + 1);
    }
    count
}

/// Takes from an answer what later requests should name.
fn learn(node: &Node, mut answer: Bytes, rng: &mut fastrand::Rng) {
    let number = answer.slice(..4).get_i32();
    let (version, Ok(key)) = ((number >> 16) as i16, ApiKey::try_from(number as i16)) else { return };
    if ResponseHeader::decode(key.response_header_version(version), &mut answer).is_err() {
        return;
    }
    let mut known = node.known.lock().unwrap();
    match key {
        ApiKey::JoinGroup => {
            let joined = JoinGroupResponse::decode(version, &mut answer).unwrap();
            remember(&mut known.members, (joined.member_id, joined.generation_id), rng);
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let beat = ConsumerGroupHeartbeatResponse::decode(version, &mut answer).unwrap();
            remember(&mut known.members, (beat.member_id.unwrap_or_default(), beat.member_epoch), rng);
        }
        ApiKey::InitProducerId => {
            let given = InitProducerIdResponse::decode(version, &mut answer).unwrap();
            remember(&mut known.producers, (given.producer_id, given.producer_epoch), rng);
        }
        ApiKey::Metadata => {
            for topic in MetadataResponse::decode(version, &mut answer).unwrap().topics {
                remember(&mut known.topic_ids, topic.topic_id.0, rng);
            }
        }
        ApiKey::Fetch => {
            let session = FetchResponse::decode(version, &mut answer).unwrap().session_id;
            remember(&mut known.sessions, session, rng);
        }
        _ => {}
    }
}

/// A normal client finds the node as it was.
async fn still_serves(node: &Node) {
    let mut raw = Raw::connect(&node.broker).await;
    let made = raw.create("after", 1, &[]).await;
    assert!(made == 0 || made == 36, "error {made}");
    assert_eq!(raw.produce("after", batch(&["still", "here"])).await.error_code, 0);
}

async fn fuzz(node: Arc<Node>, seed: u64, requests: u64) -> Counts {
    let started = Instant::now();
    let mut total = Counts::default();
    let mut level = 0;
    for tenth in 0..10 {
        let lanes = (0..LANES).map(|lane| {
            let node = Arc::clone(&node);
            let mut rng = fastrand::Rng::with_seed(seed ^ (tenth << 8 | lane) << 32);
            tokio::spawn(async move {
                let mut counts = Counts::default();
                while counts.sent < requests / 10 / LANES {
                    exchange(&node, &mut rng, &mut counts).await;
                }
                counts
            })
        });
        for lane in lanes.collect::<Vec<_>>() {
            let counts = lane.await.unwrap();
            total.sent += counts.sent;
            total.answered += counts.answered;
            total.closed += counts.closed;
        }
        still_serves(&node).await;
        assert_eq!(PANICS.load(Ordering::SeqCst), 0, "a handler panicked: see above; seed {seed}");
        let now = resident();
        level = if tenth == 0 { now } else { level };
        assert!(now < level + GROWTH_MAX, "memory grew from {level} to {now} bytes; seed {seed}");
        println!("{total:?} in {:.0?}, {} MiB resident", started.elapsed(), now >> 20);
    }
    total
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number"))
}

#[test]
fn no_request_makes_a_handler_panic_hang_or_hoard() {
    let share = setting("CAUSEWAY_FUZZ_INPUTS").map(|inputs| inputs / 8);
    let requests = share.or(setting("CAUSEWAY_FUZZ_ITERS")).unwrap_or(SHORT).max(1_000);
    let chance = fastrand::u64(..);
    let seeds = match setting("CAUSEWAY_FUZZ_SEED") {
        Some(seed) => vec![seed],
        None if share.is_some() => vec![chance],
        None => vec![1, chance],
    };
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        show(info);
    }));
    for seed in seeds {
        println!("seed {seed}: CAUSEWAY_FUZZ_SEED={seed} repeats it");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let total = runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let node = Arc::new(node(dir.path()).await);
            let total = fuzz(Arc::clone(&node), seed, requests).await;
            let node = Arc::into_inner(node).expect("all lanes have ended");
            tokio::time::timeout(PATIENCE, node.broker.shutdown()).await.expect("it still ends");
            total
        });
        assert!(total.answered > total.sent / 3, "most requests should reach a handler: {total:?}");
    }
}
