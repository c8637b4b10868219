//! What the daemon costs: records per CPU-second of its process, copying a backlog between two brokers, each a process of its own.
//!
//! Beside it, in the same run: a bare rdkafka consumer-to-producer loop between the same brokers with the same client settings (what rdkafka itself
//! costs), and a copy, a CRC-32C and a flushed write of the same amount of bytes (what the machine can do). Only ratios hold from one machine to
//! another. `cargo bench --bench pipeline`; `CAUSEWAY_BENCH_RUNS` (default 1) takes medians, `CAUSEWAY_BENCH_MB` (default 100) is the size of a backlog.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and stops at the first surprise")]

mod limits;
mod peer;
mod usage;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway::drill::fleet::{Daemon, END_MAX, FlowSpec, Region};
use causeway::drill::logs::{create_topic, end_offset};
use causeway_wire::client::Client;
use causeway_wire::records::{BatchBuilder, Codec};
use usage::Usage;

const PROGRAM: &str = env!("CARGO_BIN_EXE_causeway");
/// Partitions of every topic: several lanes, few enough that each has whole batches to read.
const PARTITIONS: i32 = 8;
/// Uncompressed bytes of a batch at the source: what a default producer sends.
const SOURCE_BATCH: usize = 16 << 10;
/// A copy that takes longer has failed.
const COPY_MAX: Duration = Duration::from_secs(60);
/// How often the target's ends are looked at: a hundredth of the shortest copy.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const NOW: i64 = 1_760_000_000_000;

struct Case {
    record: usize,
    codec: Codec,
}

/// One copy of a backlog.
#[derive(Clone, Copy)]
struct Copied {
    usage: Usage,
    wall: Duration,
}

fn main() {
    // `--peer` is how this program starts itself as the bare loop.
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == peer::ARG) {
        return peer::run(&args[at + 1..]);
    }
    let setting = |name: &str, default: usize| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (runs, megabytes) = (setting("CAUSEWAY_BENCH_RUNS", 1), setting("CAUSEWAY_BENCH_MB", 100));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let limits = limits::measure();
    println!("limits: {limits}");
    println!(
        "{megabytes} MB of records a case, {PARTITIONS} partitions, source batches of {SOURCE_BATCH} B, median of {runs} run(s)"
    );
    println!(
        "k rec/CPU-s and MB/CPU-s: of the copying process alone, from its start to its last record, brokers apart\n"
    );
    println!(
        "| records | daemon k rec/CPU-s | MB/CPU-s | of CRC | k rec/s wall | of disk | peak MB | bare rdkafka k rec/CPU-s | peak MB | daemon : bare |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for case in [(100, Codec::None), (100, Codec::Lz4), (1_000, Codec::None), (1_000, Codec::Lz4)] {
        let case = Case { record: case.0, codec: case.1 };
        let mut measured: Vec<(Copied, Copied, u64)> =
            (0..runs).map(|_| runtime.block_on(measure(&case, megabytes))).collect();
        // The median run by the ratio that matters.
        measured.sort_by(|a, b| (a.0.usage.cpu / a.1.usage.cpu).total_cmp(&(b.0.usage.cpu / b.1.usage.cpu)));
        let (daemon, bare, records) = measured[measured.len() / 2];
        println!("{}", row(&case, records as f64, &daemon, &bare, &limits));
    }
}

fn row(case: &Case, records: f64, daemon: &Copied, bare: &Copied, limits: &limits::Limits) -> String {
    let megabytes = records * case.record as f64 / 1e6;
    let (cpu, wall) = (daemon.usage.cpu, daemon.wall.as_secs_f64());
    format!(
        "| {} B {} | {:.0} | {:.0} | {:.2} % | {:.0} | {:.0} % | {:.0} | {:.0} | {:.0} | {:.2} |",
        case.record,
        case.codec,
        records / cpu / 1e3,
        megabytes / cpu,
        megabytes / cpu / limits.crc * 100.0,
        records / wall / 1e3,
        megabytes / wall / limits.disk * 100.0,
        daemon.usage.peak_mb,
        records / bare.usage.cpu / 1e3,
        bare.usage.peak_mb,
        bare.usage.cpu / cpu,
    )
}

/// One run: two fresh brokers, a backlog, the daemon, then the bare loop.
async fn measure(case: &Case, megabytes: usize) -> (Copied, Copied, u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut east = Region::start(Path::new(PROGRAM), dir.path(), "east").unwrap();
    let mut west = Region::start(Path::new(PROGRAM), dir.path(), "west").unwrap();
    let (source, target) = (east.ready().await.unwrap(), west.ready().await.unwrap());
    let records = fill(&source, case, megabytes).await;

    let flow = FlowSpec {
        name: "bench".into(),
        from: "east".into(),
        to: "west".into(),
        topics: vec!["bench".into()],
        groups: Vec::new(),
        delivery: None,
        engine: None,
    };
    let mut process = Daemon::start(Path::new(PROGRAM), dir.path(), &[&east.site, &west.site], &[flow], &[]).unwrap();
    let pid = process.process.pid().unwrap();
    let wall = arrived(&target, "bench", records).await;
    let daemon = Copied { usage: Usage::of(pid), wall };
    process.process.terminate(END_MAX).unwrap();

    create_topic(&target, peer::TOPIC, PARTITIONS, &[]).await.unwrap();
    let started = Instant::now();
    let usage = peer::spawn(&east.site.bootstrap, &west.site.bootstrap, records).await;
    let bare = Copied { usage, wall: started.elapsed() };
    east.process.kill().unwrap();
    west.process.kill().unwrap();
    (daemon, bare, records)
}

/// Fills `bench` at the source; answers how many records are there.
async fn fill(client: &Client, case: &Case, megabytes: usize) -> u64 {
    create_topic(client, "bench", PARTITIONS, &[]).await.unwrap();
    let (batch, per_batch) = batch(case);
    let batches = (megabytes * 1_000_000 / (per_batch * case.record)).div_ceil(PARTITIONS as usize);
    // Several batches a request would be faster, but only the copying is measured.
    let fillers = (0..PARTITIONS).map(|partition| {
        let (client, batch) = (client.clone(), batch.clone());
        tokio::spawn(async move {
            for _ in 0..batches {
                client.produce_batch("bench", partition, batch.clone()).await.unwrap();
            }
        })
    });
    for filler in fillers.collect::<Vec<_>>() {
        filler.await.unwrap();
    }
    (batches * per_batch * PARTITIONS as usize) as u64
}

/// Events as applications send them: repeating field names, a fifth of each value random (lz4 makes about a half of them).
fn batch(case: &Case) -> (Bytes, usize) {
    let mut random = fastrand::Rng::with_seed(1);
    let count = SOURCE_BATCH / case.record;
    let mut builder = BatchBuilder::new(case.codec);
    for i in 0..count {
        let mut value = Vec::new();
        while value.len() < case.record {
            value.extend(format!("{{\"id\":{},\"state\":\"confirmed\"}}", random.u32(..)).as_bytes());
        }
        value.truncate(case.record);
        builder.push(NOW + i as i64, None, Some(&value), &[]).unwrap();
    }
    (builder.build().unwrap(), count)
}

/// Waits until so many records are at the target; answers how long it took from the first of them on.
async fn arrived(client: &Client, topic: &str, records: u64) -> Duration {
    let (started, mut first) = (Instant::now(), None);
    loop {
        let mut sum = 0;
        for partition in 0..PARTITIONS {
            // Not there yet: the daemon makes the topic.
            sum += end_offset(client, topic, partition).await.unwrap_or(0);
        }
        if sum > 0 {
            first.get_or_insert_with(Instant::now);
        }
        if sum as u64 >= records {
            return first.map_or(Duration::ZERO, |first| first.elapsed());
        }
        assert!(started.elapsed() < COPY_MAX, "{sum} of {records} records within {COPY_MAX:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
