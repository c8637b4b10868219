//! The broker through its sockets: produce and fetch of large requests, beside what the machine can do in the same run.
//!
//! Client and broker share this process and its cores, so these are rates of both together. `cargo bench -p causeway-broker --bench serve`; `BENCH_MIB`
//! is the amount of each measurement (default 256). The log alone, without sockets: `--bench log`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and stops at the first surprise")]

use std::io::{Read, Write};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig};
use causeway_wire::frame;
use causeway_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use causeway_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use causeway_wire::records::{BatchBuilder, BatchView, Batches, Codec, verify_crc};
use causeway_wire::{Message, Request};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Rounds; the median counts.
const ROUNDS: usize = 3;
/// Batches of one request, and about their bytes.
const BATCHES: i32 = 16;
const BATCH_BYTES: usize = 64 << 10;
/// Requests in flight, as librdkafka's default for an idempotent producer.
const IN_FLIGHT: usize = 5;
const ANSWER_MAX: usize = 64 << 20;
const NOW: i64 = 1_760_000_000_000;

fn main() {
    let mib: usize = std::env::var("BENCH_MIB").ok().and_then(|v| v.parse().ok()).unwrap_or(256);
    let requests = mib.max(IN_FLIGHT);
    let batch = batch();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!(
        "{requests} requests of {BATCHES} batches of {} B each; MB/s wall, median of {ROUNDS} rounds",
        batch.len()
    );
    let mut rows: Vec<[f64; 7]> = (0..ROUNDS).map(|_| round(&runtime, requests, &batch)).collect();
    let mut median = |i: usize| {
        rows.sort_by(|a, b| a[i].total_cmp(&b[i]));
        rows[ROUNDS / 2][i]
    };
    let [memcpy, crc, loopback, disk] = [0, 1, 2, 3].map(&mut median);
    println!(
        "limits: memcpy {memcpy:.0}, CRC-32C {crc:.0}, loopback TCP {loopback:.0}, write+fdatasync of 1 MiB {disk:.0}\n"
    );
    println!("| through sockets | MB/s | of loopback | of disk |\n|---|---|---|---|");
    for (i, name) in [(4, "produce, log.flush=os"), (5, "produce, log.flush=ack"), (6, "fetch, from page cache")] {
        let rate = median(i);
        println!("| {name} | {rate:.0} | {:.0} % | {:.0} % |", rate / loopback * 100.0, rate / disk * 100.0);
    }
}

fn round(runtime: &tokio::runtime::Runtime, requests: usize, batch: &Bytes) -> [f64; 7] {
    let block = vec![7u8; 1 << 20];
    let mut copy = vec![0u8; 1 << 20];
    let memcpy = rate(1_000, block.len(), || std::hint::black_box(&mut copy).copy_from_slice(&block));
    let crc = rate(4_000, batch.len(), || verify_crc(std::hint::black_box(batch)).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(dir.path().join("block")).unwrap();
    let disk = rate(64, block.len(), || {
        file.write_all(&block).unwrap();
        file.sync_data().unwrap();
    });
    let loopback = loopback(requests, &block);
    let (os, fetch) = runtime.block_on(serve(requests, batch, "os"));
    let (ack, _) = runtime.block_on(serve(requests, batch, "ack"));
    [memcpy, crc, loopback, disk, os, ack, fetch]
}

fn rate(times: usize, bytes: usize, mut work: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..times).for_each(|_| work());
    (times * bytes) as f64 / 1e6 / started.elapsed().as_secs_f64()
}

fn loopback(blocks: usize, block: &[u8]) -> f64 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let total = blocks * block.len();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut room, mut got) = (vec![0; 1 << 20], 0);
        while got < total {
            got += stream.read(&mut room).unwrap();
        }
    });
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let started = Instant::now();
    (0..blocks).for_each(|_| stream.write_all(block).unwrap());
    reader.join().unwrap();
    total as f64 / 1e6 / started.elapsed().as_secs_f64()
}

/// Produces, then fetches everything; MB/s of both.
async fn serve(requests: usize, batch: &Bytes, flush: &str) -> (f64, f64) {
    let dir = tempfile::tempdir().unwrap();
    let mut properties = Properties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
    properties.set("log.dirs", dir.path().display().to_string());
    properties.set("log.flush", flush);
    let broker = Broker::start(BrokerConfig::from_properties(&properties).unwrap()).await.unwrap();
    let mut stream = TcpStream::connect(broker.local_addr()).await.unwrap();
    let topic =
        CreatableTopic { name: "bench".into(), num_partitions: BATCHES, replication_factor: 1, ..Default::default() };
    send(&mut stream, 5, &CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() }).await;
    answer(&mut stream).await;
    let started = Instant::now();
    let data = |index| PartitionProduceData { index, records: Some(batch.clone()) };
    let topic = TopicProduceData {
        name: "bench".into(),
        partition_data: (0..BATCHES).map(data).collect(),
        ..Default::default()
    };
    let produce = ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() };
    let (mut sent, mut answered) = (0, 0);
    while answered < requests {
        while sent < requests && sent - answered < IN_FLIGHT {
            send(&mut stream, 7, &produce).await;
            sent += 1;
        }
        answer(&mut stream).await;
        answered += 1;
    }
    let bytes = requests * BATCHES as usize * batch.len();
    let produced = bytes as f64 / 1e6 / started.elapsed().as_secs_f64();
    let fetched = fetch_all(&mut stream, bytes).await;
    broker.shutdown().await;
    (produced, fetched)
}

async fn fetch_all(stream: &mut TcpStream, bytes: usize) -> f64 {
    let mut next = vec![0i64; BATCHES as usize];
    let (started, mut got) = (Instant::now(), 0);
    while got < bytes {
        let ask = |partition: i32| FetchPartition {
            partition,
            fetch_offset: next[partition as usize],
            partition_max_bytes: 1 << 20,
            ..Default::default()
        };
        let topic =
            FetchTopic { topic: "bench".into(), partitions: (0..BATCHES).map(ask).collect(), ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 100,
            min_bytes: 1,
            max_bytes: 16 << 20,
            topics: vec![topic],
            ..Default::default()
        };
        send(stream, 4, &request).await;
        let mut body = answer(stream).await;
        let _correlation = body.split_to(4);
        let response = <FetchRequest as Request>::Response::decode(4, &mut body).unwrap();
        for data in response.responses.into_iter().flat_map(|t| t.partitions) {
            assert_eq!(data.error_code, 0);
            let records = data.records.unwrap_or_default();
            got += records.len();
            let last: Option<BatchView> = Batches::new(records).filter_map(Result::ok).last();
            if let Some(last) = last {
                next[data.partition_index as usize] = last.header.last_offset() + 1;
            }
        }
    }
    got as f64 / 1e6 / started.elapsed().as_secs_f64()
}

async fn send<R: Request>(stream: &mut TcpStream, version: i16, request: &R) {
    let mut buf = BytesMut::new();
    frame::put_request(&mut buf, version, 1, Some("bench"), request).unwrap();
    stream.write_all(&buf).await.unwrap();
}

async fn answer(stream: &mut TcpStream) -> Bytes {
    frame::read_frame(stream, ANSWER_MAX).await.unwrap().expect("an answer")
}

fn batch() -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![b'x'; 1_000];
    for i in 0..(BATCH_BYTES / value.len()) as i64 {
        builder.push(NOW + i, None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}
