//! Tests of the log as a whole.

mod basics;
mod compact_model;
mod compacting;
mod crash;
mod damage;
mod faults;
mod forced;
mod letting_go;
mod many;
#[allow(dead_code, reason = "the tests of a whole node use more of it")]
mod mem_disk;
mod txns;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use causeway_wire::Uuid;
use causeway_wire::records::{BatchBuilder, BatchView, Batches, Codec};

use super::*;

/// Wall clock of all tests, ms.
pub(super) const NOW: i64 = 1_700_000_000_000;
pub(super) const LEADER: Placing = Placing::Leader { epoch: 0 };

/// A batch of `count` records at time `time`; each holds `size` bytes of value.
pub(super) fn batch(count: usize, size: usize, time: i64) -> BatchView {
    built(BatchBuilder::new(Codec::None), count, size, time)
}

/// An idempotent producer's batch.
pub(super) fn sequenced(id: i64, epoch: i16, sequence: i32, count: usize) -> BatchView {
    built(BatchBuilder::new(Codec::None).producer(id, epoch, sequence), count, 10, NOW)
}

pub(super) fn built(mut builder: BatchBuilder, count: usize, size: usize, time: i64) -> BatchView {
    for at in 0..count {
        let value = vec![at as u8; size];
        builder.push(time, Some(b"key"), Some(&value), &[]).unwrap();
    }
    BatchView::parse(&builder.build().unwrap()).unwrap()
}

pub(super) fn config(dir: &Path) -> ManagerConfig {
    ManagerConfig {
        dirs: vec![dir.to_owned()],
        flush: FlushPolicy::Ack,
        node_id: 1,
        cluster_id: Some("test-cluster".to_owned()),
        disk: Arc::new(RealDisk),
        now_ms: NOW,
    }
}

/// Small segments and a dense index.
pub(super) fn small() -> LogConfig {
    LogConfig { segment_bytes: 2000, index_interval_bytes: 200, ..LogConfig::default() }
}

pub(super) fn open(config: &ManagerConfig) -> (LogManager, OpenReport) {
    LogManager::open(config, &|_| small()).unwrap()
}

/// A manager with the log `t-0` in it.
pub(super) fn fresh(dir: &Path) -> (LogManager, Arc<Log>) {
    let (manager, _) = open(&config(dir));
    let log = manager.create("t", 0, Uuid([5; 16]), small(), NOW).unwrap();
    (manager, log)
}

/// All batches from `offset` to the log's end.
pub(super) fn read_all(log: &Log, mut offset: i64) -> Vec<BatchView> {
    let mut all = Vec::new();
    while offset < log.end_offset() {
        let fetched = log.read(offset, 700, i64::MAX).unwrap();
        assert!(fetched.next_offset > offset, "no progress at {offset}");
        let bytes: Bytes = fetched.bytes;
        all.extend(Batches::new(bytes).map(Result::unwrap));
        offset = fetched.next_offset;
    }
    all
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
