//! Retention, DeleteRecords, truncation, deletion, aborted transactions.

use causeway_wire::records::{ControlMarker, control_batch};

use super::*;

const HOUR_MS: i64 = 3_600_000;

/// One record of some 150 bytes per hour, `count` of them; all below the high watermark.
fn hourly(log: &Log, count: i64) {
    for n in 0..count {
        log.append_one(&batch(1, 80, NOW + n * HOUR_MS), LEADER, NOW + n * HOUR_MS).unwrap();
    }
    log.set_high_watermark(log.end_offset());
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn retention_by_time_takes_whole_old_segments_and_unlinks_them_later() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    log.set_config(LogConfig { retention_ms: 20 * HOUR_MS, file_delete_delay_ms: 1000, ..small() });
    hourly(&log, 50);
    let now = NOW + 50 * HOUR_MS;
    let done = manager.retain(now);
    assert!(done.segments > 0 && done.bytes > 0);
    let start = log.start_offset();
    assert!((10..=30).contains(&start), "records of the last 20 hours stay: starts at {start}");
    assert!(matches!(log.read(start - 1, 100, i64::MAX), Err(LogError::OffsetOutOfRange { .. })));
    assert_eq!(read_all(&log, start).len() as i64, 50 - start);
    let deleted = |dir: &Path| names(&dir.join("t-0")).iter().filter(|name| name.ends_with(".deleted")).count();
    assert_eq!(deleted(dir.path()), done.segments * 3);
    manager.sweep(now + 999);
    assert_eq!(deleted(dir.path()), done.segments * 3, "not yet");
    manager.sweep(now + 1000);
    assert_eq!(deleted(dir.path()), 0);
    assert_eq!(manager.retain(now), Retained::default(), "nothing more to do");
    drop((manager, log));
    let (manager, _) = open(&config(dir.path()));
    assert_eq!(manager.get("t", 0).unwrap().start_offset(), start);
}

#[test]
fn retention_of_a_log_that_is_all_too_old_empties_it() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    log.set_config(LogConfig { retention_ms: HOUR_MS, ..small() });
    hourly(&log, 30);
    manager.retain(NOW + 1000 * HOUR_MS);
    assert_eq!((log.start_offset(), log.end_offset(), log.size()), (30, 30, 0));
    assert_eq!(log.append_one(&batch(1, 1, NOW), LEADER, NOW).unwrap().base_offset, 30);
}

#[test]
fn retention_by_size_keeps_at_least_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    log.set_config(LogConfig { retention_ms: -1, retention_bytes: 4500, ..small() });
    hourly(&log, 80);
    let before = log.size();
    let done = manager.retain(NOW + 10_000 * HOUR_MS);
    assert_eq!(log.size(), before - done.bytes);
    assert!((4500..4500 + 2000).contains(&log.size()), "{} bytes left", log.size());
}

#[test]
fn retention_stops_at_the_high_watermark_and_at_compacted_topics() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    hourly(&log, 60);
    log.set_config(LogConfig { retention_ms: 0, retention_bytes: 0, delete: false, ..small() });
    assert_eq!(manager.retain(NOW + 1000 * HOUR_MS), Retained::default());
    log.set_config(LogConfig { retention_ms: 0, ..small() });
    log.set_high_watermark(25);
    manager.retain(NOW + 1000 * HOUR_MS);
    assert!(log.start_offset() > 0 && log.start_offset() <= 25, "starts at {}", log.start_offset());
}

#[test]
fn a_segment_being_read_while_it_is_removed_gives_its_bytes_or_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    log.set_config(LogConfig { retention_ms: HOUR_MS, file_delete_delay_ms: 0, ..small() });
    hourly(&log, 300);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..400 {
                log.retain(NOW + n * HOUR_MS).unwrap();
                manager.sweep(NOW + n * HOUR_MS);
            }
        });
        for offset in (0..300).cycle().take(20_000) {
            match log.read(offset, 500, i64::MAX) {
                Ok(fetched) => assert!(fetched.next_offset > offset),
                Err(LogError::OffsetOutOfRange { start, .. }) => assert!(start > offset),
                Err(error) => panic!("{error}"),
            }
        }
    });
}

#[test]
fn deleted_records_stay_deleted_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    hourly(&log, 40);
    log.env.flusher.barrier().unwrap();
    assert!(matches!(manager.delete_records(&log, 41), Err(LogError::OffsetOutOfRange { .. })));
    assert_eq!(manager.delete_records(&log, 17).unwrap(), 17);
    assert_eq!(manager.delete_records(&log, 3).unwrap(), 17, "never back");
    let segments = log.segment_count();
    log.retain(NOW).unwrap();
    assert!(log.segment_count() < segments, "segments before the start go");
    assert_eq!(log.offset_for_timestamp(NOW, i64::MAX).unwrap().unwrap().offset, 17);
    drop((manager, log));
    let (manager, report) = open(&config(dir.path()));
    assert!(!report.clean);
    let log = manager.get("t", 0).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (17, 40));
    assert_eq!(log.end_offset_for_epoch(0), Some((0, 40)));
}

#[test]
fn r22_truncation_gives_the_log_that_never_had_the_rest() {
    for cut in (0..=40).step_by(3) {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (truncated, log) = fresh(one.path());
        let (shorter, expected) = fresh(other.path());
        for n in 0..20_i32 {
            let (batch, placing) = (sequenced(i64::from(n % 3), 0, n / 3 * 2, 2), Placing::Leader { epoch: n / 7 });
            log.append_one(&batch, placing, NOW).unwrap();
            if i64::from(n) * 2 + 2 <= cut {
                expected.append_one(&batch, placing, NOW).unwrap();
            }
        }
        log.set_high_watermark(40);
        log.truncate_to(cut, NOW).unwrap();
        let same = |log: &Log, when: &str| {
            // A batch that reaches across the cut goes as a whole.
            let end = cut / 2 * 2;
            assert_eq!((log.end_offset(), expected.end_offset()), (end, end), "cut {cut} {when}");
            assert_eq!(read_all(log, 0), read_all(&expected, 0), "cut {cut} {when}");
            assert_eq!(log.producers(), expected.producers(), "cut {cut} {when}");
            let epochs = |log: &Log| (0..4).map(|epoch| log.end_offset_for_epoch(epoch)).collect::<Vec<_>>();
            assert_eq!(epochs(log), epochs(&expected), "cut {cut} {when}");
            assert!(log.durable_offset() <= end && log.high_watermark() <= end);
        };
        same(&log, "at once");
        log.append_one(&batch(2, 10, NOW), Placing::Leader { epoch: 9 }, NOW).unwrap();
        expected.append_one(&batch(2, 10, NOW), Placing::Leader { epoch: 9 }, NOW).unwrap();
        assert_eq!(read_all(&log, 0), read_all(&expected, 0));
        drop((truncated, log, shorter));
        let (manager, _) = open(&config(one.path()));
        assert_eq!(read_all(&manager.get("t", 0).unwrap(), 0), read_all(&expected, 0), "cut {cut} after a crash");
        assert_eq!(manager.get("t", 0).unwrap().producers(), expected.producers(), "cut {cut} after a crash");
    }
}

#[test]
fn a_deleted_partition_is_gone_at_once_and_may_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    hourly(&log, 10);
    assert!(manager.delete("t", 0, NOW).unwrap());
    assert!(!manager.delete("t", 0, NOW).unwrap());
    assert_eq!(log.append_one(&batch(1, 1, NOW), LEADER, NOW), Err(LogError::Deleted));
    assert_eq!(log.read(0, 100, i64::MAX), Err(LogError::Deleted));
    let again = manager.create("t", 0, Uuid([6; 16]), small(), NOW).unwrap();
    assert_eq!((again.end_offset(), again.topic_id()), (0, Uuid([6; 16])));
    let waiting = |dir: &Path| names(dir).into_iter().filter(|name| name.ends_with("-delete")).count();
    assert_eq!(waiting(dir.path()), 1);
    manager.sweep(NOW + small().file_delete_delay_ms);
    assert_eq!(waiting(dir.path()), 0);
    assert!(manager.delete("t", 0, NOW).unwrap());
    drop((manager, log, again));
    let (manager, _) = open(&config(dir.path()));
    assert!(manager.get("t", 0).is_none());
    assert_eq!(waiting(dir.path()), 0, "removed at the start");
}

#[test]
fn r16_aborted_transactions_are_listed_and_bound_the_stable_offset() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    let append = |batch: &BatchView| {
        let done = log.append_one(batch, LEADER, NOW).unwrap();
        log.set_high_watermark(log.end_offset());
        done.base_offset
    };
    let txn = |id, sequence| {
        let builder = BatchBuilder::new(Codec::None).producer(id, 0, sequence).transactional(true);
        built(builder, 2, 10, NOW)
    };
    let marker = |id, marker| BatchView::parse(&control_batch(marker, id, 0, 1, NOW).unwrap()).unwrap();
    let first = append(&txn(1, 0));
    let second = append(&txn(2, 0));
    assert_eq!(log.last_stable_offset(), first);
    let abort = append(&marker(1, ControlMarker::Abort));
    assert_eq!(log.last_stable_offset(), second);
    append(&marker(2, ControlMarker::Commit));
    assert_eq!(log.last_stable_offset(), log.end_offset());
    let found = log.aborted_txns(0, log.end_offset()).unwrap();
    let expected = AbortedTxn { producer_id: 1, first_offset: first, last_offset: abort, last_stable_offset: second };
    assert_eq!(found, [expected]);
    assert_eq!(log.aborted_txns(abort + 1, log.end_offset()).unwrap(), []);
    assert_eq!(std::fs::read(dir.path().join("t-0/00000000000000000000.txnindex")).unwrap().len(), 34);
    let open_since = append(&txn(3, 0));
    // Killed, and the index lost or garbage: recovery finds the aborted ones in the log.
    log.env.flusher.barrier().unwrap();
    for garbage in [None, Some(vec![0; 68]), Some(vec![0xff; 50])] {
        let copy = tempfile::tempdir().unwrap();
        std::fs::create_dir(copy.path().join("t-0")).unwrap();
        for file in ["t-0/00000000000000000000.log", "t-0/leader-epoch-checkpoint", "t-0/partition.metadata"] {
            std::fs::copy(dir.path().join(file), copy.path().join(file)).unwrap();
        }
        if let Some(garbage) = garbage {
            std::fs::write(copy.path().join("t-0/00000000000000000000.txnindex"), garbage).unwrap();
        }
        let (manager, report) = open(&config(copy.path()));
        assert!(!report.clean);
        let log = manager.get("t", 0).unwrap();
        assert_eq!(log.aborted_txns(0, 100).unwrap(), [expected]);
        log.set_high_watermark(log.end_offset());
        assert_eq!(log.last_stable_offset(), open_since);
    }
    manager.shutdown(0).unwrap();
    drop(manager);
    let (manager, _) = open(&config(dir.path()));
    let log = manager.get("t", 0).unwrap();
    assert_eq!(log.last_stable_offset(), open_since, "an open transaction survives a restart");
    assert_eq!(log.aborted_txns(0, 100).unwrap(), [expected]);
}
