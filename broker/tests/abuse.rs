//! One client can never take the node down, and many of the worst at once cannot either: while each of them does what costs a server most, an honest
//! client's every request is answered, and memory stays within the budgets. Each limit has tests of its own (`docs/reference/limits.md`); here they
//! hold together.
#![allow(clippy::unwrap_used, clippy::needless_update, clippy::print_stdout, reason = "tests")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use causeway_broker::Broker;
use causeway_wire::header::RequestHeader;
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::messages::metadata::MetadataRequest;
use causeway_wire::messages::produce::ProduceRequest;
use causeway_wire::records::{BatchBuilder, Codec};
use causeway_wire::{ApiKey, ErrorCode, frame};
use support::{Raw, batch, produce_request, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How long the honest client is at work among the others.
const LASTS: Duration = Duration::from_secs(4);
/// An honest request is answered within this, whatever the others do on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of each kind of abusive client.
const EACH: usize = 4;
/// Kinds of them.
const KINDS: usize = 9;
/// Resident memory that all of them together may cost: the budgets for requests and answers (256 MiB each), a batch of the
/// largest size for each who may decompress one (128 MiB), and what clients in this process hold.
const GROWTH_MAX: u64 = 900 << 20;

fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|p| p.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn header(api: ApiKey, version: i16) -> BytesMut {
    let mut out = BytesMut::new();
    let head = RequestHeader {
        api_key: i16::from(api),
        api_version: version,
        correlation_id: 1,
        client_id: Some("abuse".into()),
    };
    head.encode(api.request_header_version(version), &mut out).unwrap();
    out
}

fn framed(content: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(content.len() as i32);
    out.extend_from_slice(content);
    out.freeze()
}

fn fetch(bytes: i32) -> FetchRequest {
    let partition = FetchPartition { partition_max_bytes: bytes, ..Default::default() };
    let topics = vec![FetchTopic { topic: "large".into(), partitions: vec![partition], ..Default::default() }];
    FetchRequest { max_bytes: bytes, topics, ..Default::default() }
}

/// A byte of a request now and then, for ever.
async fn slow_loris(mut stream: TcpStream) {
    for byte in framed(&header(ApiKey::Metadata, 9)).iter().cycle() {
        if stream.write_all(&[*byte]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Announces a hundred megabytes and sends a few.
async fn half_a_request(mut stream: TcpStream) {
    let mut out = BytesMut::new();
    out.put_i32(99 << 20);
    out.extend_from_slice(&header(ApiKey::Produce, 9));
    out.resize(out.len() + (3 << 20), 1);
    let _ = stream.write_all(&out).await;
    let _ = stream.read_u8().await;
}

/// Asks for all there is, again and again, and reads nothing.
async fn deaf(mut stream: TcpStream) {
    let mut request = BytesMut::new();
    frame::put_request(&mut request, 11, 1, Some("abuse"), &fetch(100 << 20)).unwrap();
    while stream.write_all(&request).await.is_ok() {}
}

/// As many small requests as fit into the connection, and reads nothing.
async fn flood(mut stream: TcpStream) {
    let mut request = BytesMut::new();
    frame::put_request(&mut request, 9, 1, Some("abuse"), &MetadataRequest { topics: None, ..Default::default() })
        .unwrap();
    let many = request.repeat(500);
    while stream.write_all(&many).await.is_ok() {}
}

/// Lengths and counts that no memory could hold.
async fn numbers(mut stream: TcpStream) {
    let lengths: [&[u8]; 3] = [&[0x7f, 0xff, 0xff, 0xff], &[0x80, 0, 0, 0], &[0xff, 0xff, 0xff, 0xff]];
    let mut request = header(ApiKey::Metadata, 9).to_vec();
    match fastrand::u8(0..3) {
        0 => drop(stream.write_all(lengths[fastrand::usize(..3)]).await),
        1 => {
            // As many topics as a compact array can announce.
            request.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x07]);
            let _ = stream.write_all(&framed(&request)).await;
        }
        _ => {
            // No topics, three flags, and a million tagged fields that nobody knows.
            request.extend_from_slice(&[1, 0, 0, 0]);
            request.extend_from_slice(&[0xc0, 0x84, 0x3d]);
            (0..1_000_000u32).for_each(|_| request.extend_from_slice(&[0x7f, 0]));
            let _ = stream.write_all(&framed(&request)).await;
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_u8()).await;
}

/// A batch of a few kilobytes that wants to be hundreds of megabytes.
async fn bomb(mut stream: TcpStream, request: Arc<Bytes>) {
    if stream.write_all(&request).await.is_ok() {
        let _ = stream.read_u8().await;
    }
}

/// A small batch of `megabytes`.
fn dense(codec: Codec, megabytes: usize) -> Bytes {
    let zeros = vec![0; megabytes << 20];
    let mut builder = BatchBuilder::new(codec);
    builder.push(support::now(), Some(b"k"), Some(&zeros), &[]).unwrap();
    let batch = builder.build().unwrap();
    assert!(batch.len() < 1 << 20, "it is small: {}", batch.len());
    batch
}

/// Looks for a time in a batch that takes much memory to look into, again and again.
async fn seek(mut stream: TcpStream) {
    let partition = ListOffsetsPartition { timestamp: support::now() - 60_000, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: "dense".into(), partitions: vec![partition], ..Default::default() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let mut bytes = BytesMut::new();
    frame::put_request(&mut bytes, 7, 1, Some("abuse"), &request).unwrap();
    while stream.write_all(&bytes).await.is_ok() {
        if frame::read_frame(&mut stream, 1 << 20).await.is_err() {
            return;
        }
    }
}

/// Zstd says how large it will be, lz4 has to be tried.
fn bomb_request(codec: Codec) -> Arc<Bytes> {
    let request: ProduceRequest = produce_request("honest", -1, dense(codec, 200));
    let mut out = BytesMut::new();
    frame::put_request(&mut out, 9, 1, Some("abuse"), &request).unwrap();
    Arc::new(out.freeze())
}

/// Starts clients of every kind, each anew when its connection ends, until they are told to stop.
fn unleash(broker: &Broker, stop: &CancellationToken) -> tokio::task::JoinSet<usize> {
    let (address, bombs) = (broker.local_addr(), [Codec::Zstd, Codec::Lz4].map(bomb_request));
    let mut all = tokio::task::JoinSet::new();
    for kind in 0..KINDS {
        for _ in 0..EACH {
            let (stop, bombs) = (stop.clone(), bombs.clone());
            let work = async move {
                let mut connections = 0;
                loop {
                    let Ok(stream) = TcpStream::connect(address).await else { continue };
                    connections += 1;
                    let one = async {
                        match kind {
                            0 => slow_loris(stream).await,
                            1 => half_a_request(stream).await,
                            2 => deaf(stream).await,
                            3 => flood(stream).await,
                            4 => numbers(stream).await,
                            5 | 6 => bomb(stream, Arc::clone(&bombs[kind - 5])).await,
                            7 => seek(stream).await,
                            // Comes and goes.
                            _ => tokio::time::sleep(Duration::from_millis(1)).await,
                        }
                    };
                    tokio::select! {
                        () = one => {}
                        () = stop.cancelled() => return connections,
                    }
                }
            };
            all.spawn(work);
        }
    }
    all
}

#[test]
fn an_honest_client_is_served_while_the_worst_ones_do_their_worst() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let broker = start(dir.path(), &[("log.flush", "os"), ("message.max.bytes", "20000000")]).await;
        let mut raw = Raw::connect(&broker).await;
        assert_eq!(raw.create("honest", 1, &[]).await, 0);
        assert_eq!(raw.create("large", 1, &[]).await, 0);
        let large = "x".repeat(8 << 20);
        assert_eq!(raw.create("dense", 1, &[]).await, 0);
        assert_eq!(raw.produce("dense", dense(Codec::Zstd, 100)).await.error_code, 0);
        for _ in 0..5 {
            assert_eq!(raw.produce("large", batch(&[&large])).await.error_code, 0);
        }
        let idle: Vec<TcpStream> = {
            let mut idle = Vec::new();
            for _ in 0..200 {
                idle.push(TcpStream::connect(broker.local_addr()).await.unwrap());
            }
            idle
        };
        let (before, stop) = (resident(), CancellationToken::new());
        let mut abusers = unleash(&broker, &stop);
        let (until, mut served, mut slowest, mut peak) = (Instant::now() + LASTS, 0, Duration::ZERO, before);
        while Instant::now() < until || served < 10 {
            let began = Instant::now();
            let round = async {
                // Also whoever comes new is let in.
                let mut new = Raw::connect(&broker).await;
                for honest in [&mut raw, &mut new] {
                    assert_eq!(honest.produce("honest", batch(&["still here"])).await.error_code, 0);
                    let answer = honest.call(11, &fetch(1 << 20)).await;
                    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
                    assert!(!answer.responses[0].partitions[0].records.as_ref().unwrap().is_empty());
                    served += 1;
                }
            };
            tokio::time::timeout(PATIENCE, round).await.expect("an honest client is served");
            slowest = slowest.max(began.elapsed());
            peak = peak.max(resident());
        }
        stop.cancel();
        let mut connections = 0;
        while let Some(count) = abusers.join_next().await {
            connections += count.unwrap();
        }
        println!(
            "{served} honest rounds, slowest {slowest:?}; {connections} abusive connections; {} MiB more",
            (peak - before) >> 20
        );
        assert!(peak - before < GROWTH_MAX, "memory grew by {} MiB", (peak - before) >> 20);
        drop(idle);
        let refused = raw.produce("nowhere", batch(&["x"])).await.error_code;
        assert_eq!(refused, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
        tokio::time::timeout(PATIENCE, broker.shutdown()).await.expect("it still ends");
    });
}
