//! Law R24: after a power cut at any operation the log opens as a prefix of what was appended, never shorter than what was acknowledged.

use super::mem_disk::MemDisk;
use super::*;
use crate::core::producer_state::ProducerState;

/// Histories per test run, unless `CRASH_HISTORIES` says otherwise; each cuts the power six times.
const HISTORIES: u64 = 300;

/// What a correct log may hold: every batch that was ever placed at an offset, the last one placed there if there were several.
#[derive(Default)]
struct Model {
    /// Batches of the current world, by offset.
    placed: std::collections::BTreeMap<i64, Bytes>,
    acked: i64,
    start: i64,
    sequences: std::collections::HashMap<i64, i32>,
    epoch: i32,
}

fn mem_config(disk: &MemDisk) -> ManagerConfig {
    ManagerConfig { disk: Arc::new(disk.clone()), ..config(Path::new("/logs")) }
}

/// Seeds that once found a bug: segments or snapshots coming back after their removal, a snapshot spoiled while it was the only one, lost epochs.
const ONCE_BROKEN: [u64; 8] = [11, 118, 166, 336, 1208, 1637, 1874, 2865];

#[test]
fn r24_a_power_cut_at_any_operation_leaves_an_acknowledged_prefix() {
    let histories = std::env::var("CRASH_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(HISTORIES);
    for seed in ONCE_BROKEN.into_iter().chain(0..histories) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut disk = MemDisk::default();
        let mut model = Model::default();
        for _ in 0..3 {
            let (manager, report) = open(&mem_config(&disk));
            let log =
                manager.get("t", 0).unwrap_or_else(|| manager.create("t", 0, Uuid([5; 16]), small(), NOW).unwrap());
            check(seed, &log, &mut model, &report);
            disk.cut_power_in(rng.u64(1..120), rng.u64(..));
            load(&manager, &log, &disk, &mut model, &mut rng);
            if rng.u8(..4) == 0 && manager.shutdown(1).is_ok() && !disk.is_off() {
                model.acked = log.end_offset();
            }
            drop((manager, log));
            disk = disk.rebooted(rng.u64(..));
            // A cut while recovering must do no harm either.
            disk.cut_power_in(rng.u64(1..30), rng.u64(..));
            drop(LogManager::open(&mem_config(&disk), &|_| small()));
            disk = disk.rebooted(rng.u64(..));
        }
        let (manager, report) = open(&mem_config(&disk));
        check(seed, &manager.get("t", 0).unwrap(), &mut model, &report);
    }
}

/// Appends, flushes, rolls, moves the start, until the power goes.
fn load(manager: &LogManager, log: &Arc<Log>, disk: &MemDisk, model: &mut Model, rng: &mut fastrand::Rng) {
    model.epoch += i32::from(rng.bool());
    for _ in 0..200 {
        if disk.is_off() {
            return;
        }
        match rng.u8(..20) {
            0..13 => {
                let id = rng.i64(0..3);
                let sequence = model.sequences.entry(id).or_insert(0);
                let count = rng.usize(1..5);
                let built = BatchBuilder::new(Codec::None).producer(id, 0, *sequence);
                let batch = built_batch(built, count, rng.usize(..400));
                let done = log.append_one(&batch, Placing::Leader { epoch: model.epoch }, NOW).unwrap();
                assert!(done.duplicate.is_none());
                *sequence += count as i32;
                let stored = log.read(done.base_offset, 1, i64::MAX).unwrap().bytes;
                model.placed.insert(done.base_offset, stored);
            }
            13..17 => {
                let end = log.end_offset();
                log.env.flusher.barrier().unwrap();
                if !disk.is_off() {
                    model.acked = end;
                    log.set_high_watermark(end);
                }
            }
            17 => manager.checkpoint().unwrap(),
            18 => {
                let upto = rng.i64(log.start_offset()..=log.high_watermark());
                manager.delete_records(log, upto).unwrap();
                if !disk.is_off() {
                    model.start = upto;
                }
            }
            _ => {
                log.retain(NOW).unwrap();
                log.sweep(NOW + 100_000).unwrap();
            }
        }
    }
}

fn built_batch(builder: BatchBuilder, count: usize, size: usize) -> BatchView {
    built(builder, count, size, NOW)
}

fn check(seed: u64, log: &Log, model: &mut Model, report: &OpenReport) {
    let (start, end) = (log.start_offset(), log.end_offset());
    assert!(end >= model.acked, "seed {seed}: ends at {end}, acknowledged up to {}: {report:?}", model.acked);
    assert!(start >= model.start, "seed {seed}: starts at {start}, was {}", model.start);
    let mut next = None;
    for found in read_all(log, start) {
        let header = found.header;
        found.verify_crc().unwrap();
        assert_eq!(next.unwrap_or(header.base_offset), header.base_offset, "seed {seed}: hole, {report:?}");
        assert_eq!(model.placed.get(&header.base_offset), Some(&found.bytes), "seed {seed} at {}", header.base_offset);
        next = Some(header.next_offset());
    }
    assert_eq!(next.unwrap_or(end), end, "seed {seed}");
    // What was lost was never acknowledged; its offsets are used again.
    model.placed.split_off(&end);
    model.acked = end;
    let producers: ProducerState = log.producers();
    let inner = log.lock();
    for id in 0..3 {
        let mine = |bytes: &&Bytes| BatchView::parse(bytes).unwrap().header.producer_id == id;
        let last = model.placed.values().rev().find(mine).map(|bytes| BatchView::parse(bytes).unwrap().header);
        let known =
            producers.get(id).map(|entry| (entry.last_sequence(), entry.batches.last().map(|seen| seen.last_offset)));
        assert_eq!(
            known,
            last.map(|last| (last.last_sequence(), Some(last.last_offset()))),
            "seed {seed}: producer {id} (R14), {start}..{end}, snapshots {:?}, segments {:?}, {report:?}",
            inner.snapshots,
            inner.segments.keys()
        );
        model.sequences.insert(id, last.map_or(0, |last| last.last_sequence() + 1));
    }
    if start < end {
        let last = model.placed.last_key_value().map(|(_, bytes)| BatchView::parse(bytes).unwrap().header);
        assert_eq!(inner.epochs.latest(), last.map(|last| last.partition_leader_epoch), "seed {seed}: epochs (R2)");
    }
}
