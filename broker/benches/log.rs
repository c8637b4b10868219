//! How close the log comes to what the machine can do: every figure stands beside a limit taken in the same run.
//!
//! `cargo bench -p causeway-broker --bench log`; set `BENCH_DIR` to the disk to be measured (default: a temporary directory), `BENCH_MIB` to the amount (default 256).
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and stops at the first surprise")]

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_broker::log::{FlushPolicy, Log, LogConfig, LogManager, ManagerConfig, Placing, RealDisk};
use causeway_wire::Uuid;
use causeway_wire::records::{BatchBuilder, BatchView, Codec, verify_crc};

const LEADER: Placing = Placing::Leader { epoch: 0 };
/// Rounds of each measurement, interleaved; the median counts.
const ROUNDS: usize = 5;
/// Synchronous appends per round.
const SYNCED: usize = 300;

struct Rate {
    name: &'static str,
    mb_per_s: f64,
}

fn main() {
    let mib: usize = std::env::var("BENCH_MIB").ok().and_then(|value| value.parse().ok()).unwrap_or(256);
    let dir = match std::env::var("BENCH_DIR") {
        Ok(root) => tempfile::tempdir_in(root).unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    let small = batch(16 << 10);
    let large = batch(1 << 20);
    let total = mib << 20;
    println!("{mib} MiB per measurement, median of {ROUNDS} rounds, directory {}", dir.path().display());

    let limits = medians(|| {
        vec![
            in_memory("memcpy 16 KiB", &small, total * 4, |bytes, out| out.copy_from_slice(bytes)),
            in_memory("CRC-32C 16 KiB", &small, total * 4, |bytes, _| verify_crc(bytes).unwrap()),
            plain_write("write 16 KiB", dir.path(), &small, total),
            plain_read("read 1 MiB", dir.path(), 1 << 20, total),
            plain_read("read 64 KiB", dir.path(), 64 << 10, total),
            plain_sync("write+fdatasync 16 KiB", dir.path(), &small, SYNCED),
            plain_sync("write+fdatasync 1 MiB", dir.path(), &large, SYNCED / 4),
        ]
    });
    let ours = medians(|| {
        let mut rates = Vec::new();
        let (manager, log) = open(dir.path(), FlushPolicy::Os, 1);
        rates.push(append("append 16 KiB, os", &log[0], &small, total, false));
        rates.push(fetch("fetch 1 MiB", &log[0], 1 << 20, total));
        rates.push(fetch("fetch 64 KiB", &log[0], 64 << 10, total));
        close(dir.path(), manager);
        let (manager, log) = open(dir.path(), FlushPolicy::Os, 1);
        rates.push(append("append 16 KiB, os, CRC checked", &log[0], &small, total, true));
        close(dir.path(), manager);
        for (name, partitions, appenders, batch) in [
            ("append 16 KiB, ack, 1 appender", 1, 1, &small),
            ("append 16 KiB, ack, 16 appenders", 1, 16, &small),
            ("append 16 KiB, ack, 64 appenders, 16 partitions", 16, 64, &small),
            ("append 1 MiB, ack, 4 appenders", 1, 4, &large),
        ] {
            let (manager, logs) = open(dir.path(), FlushPolicy::Ack, partitions);
            let each = if batch.bytes.len() > 100_000 { SYNCED / 16 } else { SYNCED / 2 };
            rates.push(append_synced(name, &logs, batch, appenders, each));
            close(dir.path(), manager);
        }
        rates
    });
    println!("\n{:<50} {:>10}", "limit", "MB/s");
    limits.iter().for_each(|rate| println!("{:<50} {:>10.0}", rate.name, rate.mb_per_s));
    println!("\n{:<50} {:>10}  ratio to", "log", "MB/s");
    let against = ["write 16 KiB", "read 1 MiB", "read 64 KiB", "write 16 KiB", "write+fdatasync 16 KiB"];
    let against = against.iter().chain(std::iter::repeat_n(&"write+fdatasync 1 MiB", 3));
    for (rate, name) in ours.iter().zip(against) {
        let limit = limits.iter().find(|limit| limit.name == *name).unwrap();
        println!("{:<50} {:>10.0}  {:.2} {name}", rate.name, rate.mb_per_s, rate.mb_per_s / limit.mb_per_s);
    }
}

/// The median of each figure over [`ROUNDS`] runs of all of them.
fn medians(run: impl Fn() -> Vec<Rate>) -> Vec<Rate> {
    let rounds: Vec<Vec<Rate>> = (0..ROUNDS).map(|_| run()).collect();
    let median = |at: usize| {
        let mut rates: Vec<f64> = rounds.iter().map(|round| round[at].mb_per_s).collect();
        rates.sort_by(f64::total_cmp);
        Rate { name: rounds[0][at].name, mb_per_s: rates[ROUNDS / 2] }
    };
    (0..rounds[0].len()).map(median).collect()
}

fn rate(name: &'static str, bytes: usize, took: Duration) -> Rate {
    Rate { name, mb_per_s: bytes as f64 / 1e6 / took.as_secs_f64() }
}

fn batch(size: usize) -> BatchView {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![7; 1000];
    while builder.uncompressed_size() + 1100 < size {
        builder.push(1_700_000_000_000, Some(b"key"), Some(&value), &[]).unwrap();
    }
    BatchView::parse(&builder.build().unwrap()).unwrap()
}

fn in_memory(name: &'static str, batch: &BatchView, total: usize, mut work: impl FnMut(&[u8], &mut [u8])) -> Rate {
    let mut out = vec![0; batch.bytes.len()];
    let rounds = total / batch.bytes.len();
    let begun = Instant::now();
    for _ in 0..rounds {
        work(black_box(&batch.bytes), black_box(&mut out));
    }
    rate(name, rounds * batch.bytes.len(), begun.elapsed())
}

fn plain_write(name: &'static str, dir: &Path, batch: &BatchView, total: usize) -> Rate {
    let mut file = File::create(dir.join("plain")).unwrap();
    let rounds = total / batch.bytes.len();
    let begun = Instant::now();
    for _ in 0..rounds {
        file.write_all(&batch.bytes).unwrap();
    }
    rate(name, rounds * batch.bytes.len(), begun.elapsed())
}

fn plain_read(name: &'static str, dir: &Path, size: usize, total: usize) -> Rate {
    let file = File::open(dir.join("plain")).unwrap();
    let rounds = total / size - 1;
    let begun = Instant::now();
    for n in 0..rounds {
        // A fetch needs memory of its own for each answer.
        let mut buf = vec![0; size];
        file.read_exact_at(&mut buf, (n * size) as u64).unwrap();
        black_box(buf);
    }
    rate(name, rounds * size, begun.elapsed())
}

fn plain_sync(name: &'static str, dir: &Path, batch: &BatchView, rounds: usize) -> Rate {
    let mut file = File::create(dir.join("plain-sync")).unwrap();
    let begun = Instant::now();
    for _ in 0..rounds {
        file.write_all(&batch.bytes).unwrap();
        file.sync_data().unwrap();
    }
    rate(name, rounds * batch.bytes.len(), begun.elapsed())
}

fn open(dir: &Path, flush: FlushPolicy, partitions: i32) -> (LogManager, Vec<Arc<Log>>) {
    let config = ManagerConfig {
        dirs: vec![dir.join("logs")],
        flush,
        node_id: 1,
        cluster_id: None,
        disk: Arc::new(RealDisk),
        now_ms: 0,
    };
    let settings = LogConfig::default();
    let (manager, _) = LogManager::open(&config, &|_| settings).unwrap();
    let create = |partition| manager.create("bench", partition, Uuid([1; 16]), settings, 0).unwrap();
    let logs = (0..partitions).map(create).collect();
    (manager, logs)
}

fn close(dir: &Path, manager: LogManager) {
    manager.shutdown(0).unwrap();
    drop(manager);
    std::fs::remove_dir_all(dir.join("logs")).unwrap();
}

fn append(name: &'static str, log: &Log, batch: &BatchView, total: usize, check: bool) -> Rate {
    let rounds = total / batch.bytes.len();
    let begun = Instant::now();
    for _ in 0..rounds {
        if check {
            verify_crc(&batch.bytes).unwrap();
        }
        log.append_one(batch, LEADER, 0).unwrap();
    }
    rate(name, rounds * batch.bytes.len(), begun.elapsed())
}

fn fetch(name: &'static str, log: &Log, size: usize, total: usize) -> Rate {
    let (mut offset, mut bytes) = (0, 0);
    let begun = Instant::now();
    while bytes < total && offset < log.end_offset() {
        let fetched = log.read(offset, size, i64::MAX).unwrap();
        offset = fetched.next_offset;
        bytes += fetched.bytes.len();
        black_box(fetched);
    }
    rate(name, bytes, begun.elapsed())
}

fn append_synced(name: &'static str, logs: &[Arc<Log>], batch: &BatchView, appenders: usize, each: usize) -> Rate {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let begun = Instant::now();
    runtime.block_on(async {
        let run = |n: usize| {
            let (log, batch) = (logs[n % logs.len()].clone(), batch.clone());
            tokio::spawn(async move {
                for _ in 0..each {
                    let done = log.append_one(&batch, LEADER, 0).unwrap();
                    log.wait_durable(done.last_offset + 1).await.unwrap();
                }
            })
        };
        let tasks: Vec<_> = (0..appenders).map(run).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    rate(name, appenders * each * batch.bytes.len(), begun.elapsed())
}
