//! How long a node takes from start to serving with data on its disk, and what it holds then.
//!
//! `cargo bench -p causeway-broker --bench open`; `OPEN_PARTITIONS` and `OPEN_SEGMENTS` (each) for many small files, default 10,000 and 20; `OPEN_GIB` for few large ones,
//! default 10; `BENCH_DIR` is the disk to be used (default: a temporary directory). All is removed at the end.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and stops at the first surprise")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use causeway_broker::log::{FlushPolicy, LogConfig, LogManager, ManagerConfig, Placing, RealDisk};
use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig};
use causeway_wire::Uuid;
use causeway_wire::records::{BatchBuilder, BatchView, Codec};

const TIME: i64 = 1_700_000_000_000;
const LEADER: Placing = Placing::Leader { epoch: 0 };

fn main() {
    let number =
        |name: &str, default: usize| std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default);
    let dir = || match std::env::var("BENCH_DIR") {
        Ok(root) => tempfile::tempdir_in(root).unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    println!("{:<44} {:>9} {:>9} {:>9} {:>11}", "", "start ms", "again ms", "RSS MiB", "open files");
    let gib = number("OPEN_GIB", 10);
    if gib > 0 {
        let large = dir();
        fill(large.path(), 10, gib << 30, 1 << 30);
        measure(&format!("{gib} GiB in 10 partitions, segments of 1 GiB"), large.path());
    }
    let (partitions, segments) = (number("OPEN_PARTITIONS", 10_000), number("OPEN_SEGMENTS", 20));
    if partitions > 0 {
        let many = dir();
        fill(many.path(), 1, segments * 2000, 2000);
        copy(many.path(), partitions);
        measure(&format!("{partitions} partitions of {segments} segments"), many.path());
    }
}

fn config(dir: &Path) -> ManagerConfig {
    ManagerConfig {
        dirs: vec![dir.to_owned()],
        flush: FlushPolicy::Os,
        node_id: 1,
        cluster_id: None,
        disk: Arc::new(RealDisk),
        now_ms: TIME,
    }
}

fn batch(size: usize) -> BatchView {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![7; size.min(1000)];
    while builder.records_count() == 0 || builder.uncompressed_size() + 1100 < size {
        builder.push(TIME, Some(b"key"), Some(&value), &[]).unwrap();
    }
    BatchView::parse(&builder.build().unwrap()).unwrap()
}

/// Writes so many bytes in all, and leaves the directory as a clean stop does.
fn fill(dir: &Path, partitions: i32, bytes: usize, segment_bytes: u64) {
    let (manager, _) = LogManager::open(&config(dir), &|_| LogConfig::default()).unwrap();
    let log_config = LogConfig { segment_bytes, ..LogConfig::default() };
    let one = batch(if segment_bytes > 1 << 20 { 1 << 20 } else { 500 });
    let each = bytes / partitions as usize / one.bytes.len();
    for partition in 0..partitions {
        let log = manager.create("t", partition, Uuid([5; 16]), log_config, TIME).unwrap();
        for _ in 0..each {
            log.append_one(&one, LEADER, TIME).unwrap();
        }
        log.set_high_watermark(log.end_offset());
    }
    manager.shutdown(1).unwrap();
}

/// Makes more partitions of the first one's files.
fn copy(dir: &Path, partitions: usize) {
    let template: Vec<_> = std::fs::read_dir(dir.join("t-0")).unwrap().map(Result::unwrap).collect();
    for partition in 1..partitions {
        let to = dir.join(format!("t-{partition}"));
        std::fs::create_dir(&to).unwrap();
        for file in &template {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        let text = std::fs::read_to_string(dir.join(name)).unwrap();
        let end = text.lines().last().unwrap().rsplit(' ').next().unwrap();
        let rows: String = (0..partitions).map(|partition| format!("t {partition} {end}\n")).collect();
        std::fs::write(dir.join(name), format!("0\n{partitions}\n{rows}")).unwrap();
    }
}

/// Starts a node twice (the first start takes the directory over), then tells what it holds.
fn measure(what: &str, dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut took = Vec::new();
    let mut held = (0, 0);
    for _ in 0..2 {
        let mut properties = Properties::default();
        properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
        properties.set("log.dirs", dir.display().to_string());
        properties.set("log.retention.ms", "-1");
        let config = BrokerConfig::from_properties(&properties).unwrap();
        let begun = Instant::now();
        let broker = runtime.block_on(Broker::start(config)).unwrap();
        took.push(begun.elapsed().as_millis());
        held = (resident_mib(), std::fs::read_dir("/proc/self/fd").unwrap().count());
        runtime.block_on(broker.shutdown());
    }
    println!("{what:<44} {:>9} {:>9} {:>9} {:>11}", took[0], took[1], held.0, held.1);
}

fn resident_mib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    (statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096) >> 20
}
