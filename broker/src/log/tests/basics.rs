//! Appending, reading, rolling, looking up, reopening.

use super::*;

#[test]
fn appended_batches_are_read_back_whole_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    for n in 0..60 {
        let done = log.append_one(&batch(3, 40 + n, NOW + n as i64), LEADER, NOW).unwrap();
        assert_eq!((done.base_offset, done.last_offset), (n as i64 * 3, n as i64 * 3 + 2));
    }
    assert!(log.segment_count() > 3, "{} segments", log.segment_count());
    let all = read_all(&log, 0);
    assert_eq!(all.len(), 60);
    for (n, found) in all.iter().enumerate() {
        assert_eq!(found.header.base_offset, n as i64 * 3);
        assert_eq!(found.header.partition_leader_epoch, 0);
        found.verify_crc().unwrap();
    }
    for offset in 0..180 {
        let fetched = log.read(offset, 1, i64::MAX).unwrap();
        let first = BatchView::parse(&fetched.bytes).unwrap();
        assert_eq!(fetched.bytes.len(), first.bytes.len(), "one batch, larger than asked for");
        assert_eq!(first.header.base_offset, offset / 3 * 3);
        assert_eq!(fetched.next_offset, first.header.next_offset());
    }
    assert_eq!(log.read(180, 1, i64::MAX).unwrap().bytes.len(), 0);
    assert_eq!(log.read(5, 10_000, 5).unwrap().bytes.len(), 0, "the batch of 3..=5 is not below 5");
    assert_eq!(log.read(0, 10_000, 6).unwrap().next_offset, 6);
    for bad in [-1, 181] {
        assert_eq!(log.read(bad, 1, i64::MAX), Err(LogError::OffsetOutOfRange { offset: bad, start: 0, end: 180 }));
    }
    manager.shutdown(1).unwrap();
}

#[tokio::test]
async fn nobody_waits_for_what_was_written_to_a_deleted_log_of_the_same_name() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    let end = log.append_one(&batch(3, 10, NOW), LEADER, NOW).unwrap().last_offset + 1;
    log.wait_durable(end).await.unwrap();
    assert!(manager.delete("t", 0, NOW).unwrap());
    let again = manager.create("t", 0, Uuid([6; 16]), small(), NOW).unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_secs(30), again.wait_durable(end)).await;
    assert_eq!(waited.expect("an answer"), Err(LogError::Deleted));
}

#[test]
fn several_batches_in_one_call_and_a_roll_in_the_middle() {
    let dir = tempfile::tempdir().unwrap();
    let (_manager, log) = fresh(dir.path());
    let many: Vec<BatchView> = (0..40).map(|n| batch(2, 100, NOW + n)).collect();
    let done = log.append(&many, LEADER, NOW);
    for (n, one) in done.iter().enumerate() {
        assert_eq!(one.as_ref().unwrap().base_offset, n as i64 * 2);
    }
    assert!(log.segment_count() > 2);
    assert_eq!(read_all(&log, 0).len(), 40);
}

#[test]
fn acknowledged_means_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    let before = manager.flushes();
    runtime().block_on(async {
        let done = log.append_one(&batch(1, 10, NOW), LEADER, NOW).unwrap();
        log.wait_durable(done.last_offset + 1).await.unwrap();
    });
    assert!(manager.flushes() > before);
    assert_eq!(log.durable_offset(), 1);
}

#[test]
fn reopening_after_a_clean_stop_finds_the_same_log() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    for n in 0..50 {
        log.append_one(&sequenced(7, 0, n * 2, 2), LEADER, NOW).unwrap();
    }
    log.set_high_watermark(100);
    let (before, producers) = (read_all(&log, 0), log.producers());
    manager.shutdown(9).unwrap();
    assert_eq!(log.append_one(&batch(1, 1, NOW), LEADER, NOW), Err(LogError::Deleted), "closed");
    drop((manager, log));
    let (manager, report) = open(&config(dir.path()));
    assert!(report.clean);
    assert_eq!(report.broker_epoch, Some(9));
    assert_eq!(report.partitions[0].scanned_bytes, 0, "nothing was recovered");
    let log = manager.get("t", 0).unwrap();
    assert_eq!(read_all(&log, 0), before);
    assert_eq!(log.producers(), producers, "all five batches are remembered");
    assert_eq!((log.end_offset(), log.high_watermark(), log.durable_offset()), (100, 100, 100));
    assert_eq!(log.topic_id(), Uuid([5; 16]));
    let next = log.append_one(&batch(1, 10, NOW), LEADER, NOW).unwrap();
    assert_eq!(next.base_offset, 100);
}

#[test]
fn two_managers_cannot_hold_one_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (_manager, _log) = fresh(dir.path());
    let second = LogManager::open(&config(dir.path()), &|_| small());
    assert_eq!(second.err(), Some(LogError::Locked { dir: dir.path().to_owned() }));
}

#[test]
fn a_directory_of_another_cluster_or_node_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&config(dir.path())));
    let mut other = config(dir.path());
    other.cluster_id = Some("other".to_owned());
    assert!(matches!(LogManager::open(&other, &|_| small()), Err(LogError::ForeignDir { key: "cluster.id", .. })));
    let mut other = config(dir.path());
    other.node_id = 2;
    assert!(matches!(LogManager::open(&other, &|_| small()), Err(LogError::ForeignDir { key: "node.id", .. })));
    let mut same = config(dir.path());
    same.cluster_id = None;
    assert_eq!(open(&same).0.cluster_id(), "test-cluster");
}

#[test]
fn a_time_finds_the_first_record_not_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    // Times rise by 10 per batch, but every seventh batch is 1000 ahead.
    let time = |n: i64| NOW + n * 10 + if n % 7 == 3 { 1000 } else { 0 };
    for n in 0..80 {
        log.append_one(&batch(2, 60, time(n)), LEADER, NOW).unwrap();
    }
    let check = |log: &Log| {
        for wanted in (NOW - 5..NOW + 2000).step_by(3) {
            let expected = (0..80).find(|n| time(*n) >= wanted).map(|n| (time(n), n * 2));
            let found = log.offset_for_timestamp(wanted, i64::MAX).unwrap();
            assert_eq!(found.map(|found| (found.timestamp, found.offset)), expected, "time {}", wanted - NOW);
        }
        let latest = (0..80).max_by_key(|n| (time(*n), -n)).unwrap();
        let found = log.offset_of_max_timestamp(i64::MAX).unwrap().unwrap();
        assert_eq!((found.timestamp, found.offset), (time(latest), latest * 2));
        let early = log.offset_of_max_timestamp(6).unwrap().unwrap();
        assert_eq!((early.timestamp, early.offset), (time(2), 4), "only below the bound");
    };
    check(&log);
    manager.shutdown(0).unwrap();
    drop((manager, log));
    let (manager, _) = open(&config(dir.path()));
    check(&manager.get("t", 0).unwrap());
}

#[test]
fn leader_epochs_are_kept_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = fresh(dir.path());
    for (epoch, count) in [(0, 2), (3, 4), (4, 1)] {
        log.append_one(&batch(count, 10, NOW), Placing::Leader { epoch }, NOW).unwrap();
    }
    let older = log.append_one(&batch(1, 10, NOW), Placing::Leader { epoch: 3 }, NOW);
    assert!(matches!(older, Err(LogError::BadAppend(_))), "{older:?}");
    manager.shutdown(0).unwrap();
    drop((manager, log));
    let (manager, _) = open(&config(dir.path()));
    let log = manager.get("t", 0).unwrap();
    assert_eq!(log.latest_epoch(), Some(4));
    let ends: Vec<_> = (0..6).map(|epoch| log.end_offset_for_epoch(epoch)).collect();
    assert_eq!(ends, [Some((0, 2)), Some((0, 2)), Some((0, 2)), Some((3, 6)), Some((4, 7)), None]);
}
