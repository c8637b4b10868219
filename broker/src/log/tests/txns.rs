//! Transactions over many segments, restarts and guards, held against a plain list of what happened.

use std::collections::BTreeMap;

use causeway_wire::records::{ControlMarker, control_batch};
use fastrand::Rng;

use super::*;
use crate::core::producer_state::{Refusal, RefusalKind};

const PRODUCERS: i64 = 5;
const STEPS: usize = 300;
const SEEDS: u64 = 8;
const MARKER: Placing = Placing::Marker { epoch: 0, newer_epoch: false };

fn in_txn(id: i64, epoch: i16, sequence: i32) -> BatchView {
    built(BatchBuilder::new(Codec::None).producer(id, epoch, sequence).transactional(true), 2, 40, NOW)
}

fn marker(id: i64, epoch: i16, coordinator_epoch: i32, kind: ControlMarker) -> BatchView {
    BatchView::parse(&control_batch(kind, id, epoch, coordinator_epoch, NOW).unwrap()).unwrap()
}

/// What happened: open transactions by producer, ended ones as (producer, first offset, marker, committed).
#[derive(Default)]
struct Model {
    open: BTreeMap<i64, i64>,
    ended: Vec<(i64, i64, i64, bool)>,
    sequences: BTreeMap<i64, i32>,
    high_watermark: i64,
    /// Ended transactions that were on disk at the last start: all of them are durable.
    settled: usize,
}

impl Model {
    fn check(&mut self, log: &Log, rng: &mut Rng) {
        let end = log.end_offset();
        self.high_watermark = rng.i64(self.high_watermark..=end);
        log.set_high_watermark(self.high_watermark);
        let open = self.open.values().copied();
        let unsure = self.ended[self.settled..].iter().filter(|(_, _, marker, _)| *marker >= self.high_watermark);
        let first = open.chain(unsure.map(|(_, first, ..)| *first)).min().unwrap_or(i64::MAX);
        assert_eq!(log.last_stable_offset(), self.high_watermark.min(first), "R16: the stable offset");
        let all_ended = self.open.values().min().copied().unwrap_or(i64::MAX);
        for _ in 0..5 {
            let (from, to) = (rng.i64(0..=end), rng.i64(0..=end));
            let mut expected: Vec<(i64, i64)> = self
                .ended
                .iter()
                .filter(|(_, first, last, commit)| !commit && *last >= from && *first < to)
                .map(|(id, first, ..)| (*first, *id))
                .collect();
            expected.sort_unstable();
            let found = log.aborted_txns(from, to).unwrap();
            let found: Vec<(i64, i64)> = found.iter().map(|txn| (txn.first_offset, txn.producer_id)).collect();
            assert!(found.is_sorted(), "R16: sorted");
            // More may be listed than the range needs: a reader drops nothing by that. Never less.
            let missing: Vec<_> = expected.iter().filter(|txn| !found.contains(txn)).collect();
            assert!(to > all_ended || missing.is_empty(), "R16: {from}..{to}: {missing:?} missing");
        }
    }
}

#[test]
fn r16_the_aborted_list_is_complete_and_sorted_over_segments_and_restarts() {
    for seed in 0..SEEDS {
        let mut rng = Rng::with_seed(seed);
        let dir = tempfile::tempdir().unwrap();
        let (mut manager, mut log) = fresh(dir.path());
        let mut model = Model::default();
        for _ in 0..STEPS {
            let id = rng.i64(0..PRODUCERS);
            match rng.u8(0..20) {
                0..=11 => {
                    let sequence = model.sequences.entry(id).or_default();
                    let at = log.append_one(&in_txn(id, 0, *sequence), LEADER, NOW).unwrap();
                    *sequence += 2;
                    model.open.entry(id).or_insert(at.base_offset);
                }
                12..=17 => {
                    let commit = rng.bool();
                    let kind = if commit { ControlMarker::Commit } else { ControlMarker::Abort };
                    let at = log.append_one(&marker(id, 0, 1, kind), MARKER, NOW).unwrap();
                    if let Some(first) = model.open.remove(&id) {
                        assert!(at.duplicate.is_none());
                        model.ended.push((id, first, at.base_offset, commit));
                    }
                }
                18 => {
                    log.append_one(&batch(1, 50, NOW), LEADER, NOW).unwrap();
                }
                _ if rng.u8(0..4) == 0 => {
                    if rng.bool() {
                        manager.shutdown(1).unwrap();
                    }
                    drop((manager, log));
                    (manager, _) = open(&config(dir.path()));
                    log = manager.get("t", 0).unwrap();
                    (model.high_watermark, model.settled) = (log.high_watermark(), model.ended.len());
                }
                _ => {}
            }
            model.check(&log, &mut rng);
        }
        assert!(log.segment_count() > 5, "many segments");
    }
}

#[test]
fn r18_a_batch_that_begins_a_transaction_needs_a_guard_that_stands() {
    let dir = tempfile::tempdir().unwrap();
    let (_manager, log) = fresh(dir.path());
    let client = |guard| Placing::Client { epoch: 0, guard };
    let unverified = Err(LogError::Refused(Refusal { producer_id: 1, kind: RefusalKind::Unverified }));
    assert_eq!(log.append_one(&in_txn(1, 0, 0), client(None), NOW), unverified);
    let guard = log.begin_verification(1, 0, 0);
    // The transaction ended between the coordinator's word and the append.
    log.append_one(&marker(1, 0, 1, ControlMarker::Abort), MARKER, NOW).unwrap();
    assert_eq!(log.append_one(&in_txn(1, 0, 0), client(Some(guard)), NOW), unverified);
    let guard = log.begin_verification(1, 0, 0);
    let overtaking = log.append_one(&in_txn(1, 0, 2), client(Some(guard)), NOW);
    assert!(matches!(overtaking, Err(LogError::Refused(Refusal { kind: RefusalKind::OutOfOrder { .. }, .. }))));
    assert_eq!(log.append_one(&in_txn(1, 0, 0), client(Some(guard)), NOW).unwrap().base_offset, 1);
    assert_eq!(log.append_one(&in_txn(1, 0, 2), client(None), NOW).unwrap().base_offset, 3, "it is open now");
    assert!(log.append_one(&in_txn(1, 0, 2), client(None), NOW).unwrap().duplicate.is_some());
    assert_eq!((log.last_stable_offset(), log.has_open_txn(1, 0)), (0, true));
}

#[test]
fn r17_a_marker_is_written_once_and_an_older_coordinator_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_manager, log) = fresh(dir.path());
    log.append_one(&in_txn(1, 0, 0), LEADER, NOW).unwrap();
    let newer = Placing::Marker { epoch: 0, newer_epoch: true };
    let own = log.append_one(&marker(1, 0, 3, ControlMarker::Commit), newer, NOW);
    assert!(matches!(own, Err(LogError::Refused(Refusal { kind: RefusalKind::StaleEpoch { .. }, .. }))), "{own:?}");
    let written = log.append_one(&marker(1, 1, 3, ControlMarker::Commit), newer, NOW).unwrap();
    assert_eq!((written.base_offset, written.duplicate), (2, None));
    let again = log.append_one(&marker(1, 1, 3, ControlMarker::Commit), newer, NOW).unwrap();
    assert_eq!(
        (again.last_offset, again.duplicate.is_some()),
        (2, true),
        "whoever waits for it waits for the first one"
    );
    let old = log.append_one(&marker(1, 1, 2, ControlMarker::Abort), MARKER, NOW);
    assert!(matches!(old, Err(LogError::Refused(Refusal { kind: RefusalKind::StaleCoordinator { .. }, .. }))));
    // Another coordinator must leave its epoch here, even if there is nothing to end.
    assert!(log.append_one(&marker(1, 1, 4, ControlMarker::Commit), newer, NOW).unwrap().duplicate.is_none());
    let late = log.append_one(&in_txn(1, 0, 2), LEADER, NOW);
    assert!(matches!(late, Err(LogError::Refused(Refusal { kind: RefusalKind::StaleEpoch { .. }, .. }))));
}

#[test]
fn r16_what_a_power_cut_took_of_the_lists_of_aborted_transactions_is_made_anew_though_no_snapshot_reaches_back() {
    let disk = super::mem_disk::MemDisk::default();
    let config =
        |disk: &super::mem_disk::MemDisk| ManagerConfig { disk: Arc::new(disk.clone()), ..config(Path::new("/logs")) };
    let (manager, _) = open(&config(&disk));
    let log = manager.create("t", 0, Uuid([5; 16]), small(), NOW).unwrap();
    log.append_one(&batch(1, 10, NOW), LEADER, NOW).unwrap();
    log.append_one(&in_txn(7, 0, 0), LEADER, NOW).unwrap();
    log.append_one(&marker(7, 0, 0, ControlMarker::Abort), MARKER, NOW).unwrap();
    while log.segment_count() < 4 {
        log.append_one(&batch(1, 200, NOW), LEADER, NOW).unwrap();
    }
    log.env.flusher.barrier().unwrap();
    let whole = log.aborted_txns(0, log.end_offset()).unwrap();
    assert_eq!(whole.len(), 1);
    let image = disk.copied();
    let index = crate::log::names::segment_file(Path::new("/logs/t-0"), 0, crate::log::names::FileKind::TxnIndex);
    image.remove_file(&index).expect("it was there");
    let (manager, _) = open(&config(&image));
    let log = manager.get("t", 0).unwrap();
    assert_eq!(log.aborted_txns(0, log.end_offset()).unwrap(), whole);
}
