//! A disk that refuses: full, slow to take bytes, failing to write, failing to flush.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::mem_disk::{Faults, MemDisk};
use super::*;

fn mem(flush: FlushPolicy) -> (MemDisk, LogManager, Arc<Log>) {
    let disk = MemDisk::default();
    let config = ManagerConfig { disk: Arc::new(disk.clone()), flush, ..config(Path::new("/logs")) };
    let (manager, _) = open(&config);
    let log = manager.create("t", 0, Uuid([5; 16]), small(), NOW).unwrap();
    log.begin_epoch(0).unwrap();
    (disk, manager, log)
}

fn append(log: &Log, n: i32) -> Result<Appended, LogError> {
    log.append_one(&sequenced(7, 0, n, 1), LEADER, NOW)
}

#[test]
fn short_writes_are_finished() {
    let (disk, _manager, log) = mem(FlushPolicy::Ack);
    disk.set_faults(Faults { short: Some(7), ..Faults::default() });
    for n in 0..30 {
        append(&log, n).unwrap();
    }
    let found = read_all(&log, 0);
    assert_eq!(found.len(), 30);
    found.iter().for_each(|batch| batch.verify_crc().unwrap());
}

#[test]
fn a_full_disk_refuses_appends_and_takes_them_again_once_there_is_space() {
    for space in 0..400 {
        let (disk, manager, log) = mem(FlushPolicy::Ack);
        for n in 0..5 {
            append(&log, n).unwrap();
        }
        disk.set_faults(Faults { space: Some(space), ..Faults::default() });
        let mut next = 5;
        let error = loop {
            match append(&log, next) {
                Ok(_) => next += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, LogError::NoSpace { .. }), "{error}");
        assert!(
            matches!(append(&log, next), Err(LogError::NoSpace { .. })),
            "again, not out of order: nothing was recorded"
        );
        assert_eq!(log.end_offset(), i64::from(next), "space {space}");
        disk.set_faults(Faults::default());
        for n in next..next + 30 {
            assert_eq!(append(&log, n).unwrap().base_offset, i64::from(n), "space {space}");
        }
        assert_eq!(read_all(&log, 0).len(), next as usize + 30);
        manager.health().unwrap();
        // What a crash finds is whole as well.
        log.env.flusher.barrier().unwrap();
        let config = ManagerConfig { disk: Arc::new(disk.copied()), ..config(Path::new("/logs")) };
        let (manager, report) = open(&config);
        assert_eq!(report.partitions[0].cut_bytes, 0, "space {space}");
        assert_eq!(manager.get("t", 0).unwrap().end_offset(), i64::from(next) + 30);
    }
}

#[test]
fn a_full_disk_spoils_only_the_batches_of_its_write() {
    let (disk, _manager, log) = mem(FlushPolicy::Ack);
    let batches: Vec<BatchView> = (0..3).map(|n| sequenced(7, 0, n, 1)).collect();
    disk.set_faults(Faults { space: Some(batches[0].bytes.len() + 10), ..Faults::default() });
    let results = log.append(&batches, LEADER, NOW);
    assert!(results.iter().all(Result::is_err), "they were written together: {results:?}");
    assert_eq!((log.end_offset(), log.producer_count()), (0, 0));
    disk.set_faults(Faults::default());
    assert!(log.append(&batches, LEADER, NOW).iter().all(Result::is_ok));
    assert_eq!(log.end_offset(), 3);
}

#[test]
fn a_failed_write_leaves_no_trace() {
    for at in 0..4 {
        let (disk, manager, log) = mem(FlushPolicy::Ack);
        let mut acked = 0;
        disk.set_faults(Faults { write: Some((at, ErrorKind::Other)), ..Faults::default() });
        for n in 0..8 {
            let done = append(&log, acked);
            assert_eq!(done.is_err(), n == at, "write {n}: {done:?}");
            acked += i32::from(done.is_ok());
        }
        assert_eq!(log.end_offset(), i64::from(acked));
        assert_eq!(read_all(&log, 0).len(), acked as usize);
        manager.health().unwrap();
    }
}

#[test]
fn a_write_that_cannot_be_taken_back_fails_the_directory() {
    let (disk, manager, log) = mem(FlushPolicy::Ack);
    append(&log, 0).unwrap();
    disk.set_faults(Faults { write: Some((0, ErrorKind::Other)), shrink: Some(0), ..Faults::default() });
    assert!(append(&log, 1).is_err());
    assert!(matches!(manager.health(), Err(LogError::DirFailed { .. })));
    assert!(matches!(append(&log, 1), Err(LogError::DirFailed { .. })));
}

#[test]
fn a_failed_flush_is_final_for_the_directory_and_never_acknowledged() {
    for at in 0..3 {
        let (disk, manager, log) = mem(FlushPolicy::Ack);
        let other = manager.create("u", 0, Uuid([6; 16]), small(), NOW).unwrap();
        disk.set_faults(Faults { sync: Some(at), ..Faults::default() });
        runtime().block_on(async {
            let mut failed = None;
            for n in 0..10 {
                let done = match append(&log, n) {
                    Ok(done) => done,
                    Err(error) => {
                        failed.get_or_insert((n, error));
                        continue;
                    }
                };
                if let Err(error) = log.wait_durable(done.last_offset + 1).await {
                    failed.get_or_insert((n, error));
                }
            }
            let (n, error) = failed.expect("the flush failed");
            assert_eq!(n, at as i32);
            assert!(matches!(error, LogError::DirFailed { .. }), "{error}");
            // The disk would flush again, but the pages may be gone.
            assert_eq!(log.durable_offset(), i64::from(n));
            assert!(log.wait_durable(i64::from(n) + 1).await.is_err());
        });
        assert!(matches!(append(&other, 0), Err(LogError::DirFailed { .. })), "all partitions of the directory");
        assert!(manager.shutdown(1).is_err());
        let marked = disk.content(Path::new("/logs/.kafka_cleanshutdown"));
        assert_eq!(marked, None, "no clean stop");
        read_all(&log, 0);
    }
}

#[test]
fn everyone_who_waits_learns_of_the_failure() {
    let (disk, manager, log) = mem(FlushPolicy::Ack);
    disk.set_faults(Faults { sync: Some(0), ..Faults::default() });
    runtime().block_on(async {
        let waiting: Vec<_> = (0..20)
            .map(|n| {
                let (log, done) = (log.clone(), append(&log, n));
                tokio::spawn(async move {
                    match done {
                        Ok(done) => log.wait_durable(done.last_offset + 1).await,
                        Err(error) => Err(error),
                    }
                })
            })
            .collect();
        for waiter in waiting {
            let outcome = tokio::time::timeout(Duration::from_secs(10), waiter).await.expect("nobody hangs").unwrap();
            assert!(matches!(outcome, Err(LogError::DirFailed { .. })), "{outcome:?}");
        }
    });
    assert!(manager.health().is_err());
}

#[test]
fn weaker_flush_modes_acknowledge_at_once_and_interval_flushes_soon() {
    let (disk, _manager, log) = mem(FlushPolicy::Os);
    let before = disk.ops();
    append(&log, 0).unwrap();
    assert_eq!(log.durable_offset(), 1);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(disk.ops(), before + 1, "one write, no flush");

    let (disk, _manager, log) = mem(FlushPolicy::Interval(Duration::from_millis(30)));
    append(&log, 0).unwrap();
    assert_eq!(log.durable_offset(), 1);
    let flushed = |disk: &MemDisk| {
        let (manager, _) = open(&ManagerConfig { disk: Arc::new(disk.rebooted(3)), ..config(Path::new("/logs")) });
        manager.get("t", 0).is_some_and(|log| log.end_offset() == 1)
    };
    std::thread::sleep(Duration::from_millis(500));
    assert!(flushed(&disk));
}

#[test]
fn many_appenders_share_flushes() {
    let (disk, manager, log) = mem(FlushPolicy::Ack);
    disk.set_faults(Faults { slow_sync: Duration::from_millis(3), ..Faults::default() });
    let before = manager.flushes();
    const APPENDERS: usize = 16;
    const EACH: usize = 25;
    runtime().block_on(async {
        let tasks: Vec<_> = (0..APPENDERS)
            .map(|_| {
                let log = log.clone();
                tokio::spawn(async move {
                    for _ in 0..EACH {
                        let done = log.append_one(&batch(1, 50, NOW), LEADER, NOW).unwrap();
                        log.wait_durable(done.last_offset + 1).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(log.end_offset(), (APPENDERS * EACH) as i64);
    let flushes = manager.flushes() - before;
    assert!(flushes < (APPENDERS * EACH) as u64 / 2, "{flushes} flushes for {} appends", APPENDERS * EACH);
}

#[test]
fn a_directory_that_failed_takes_only_its_own_partitions_offline() {
    let disk = MemDisk::default();
    let dirs = vec![PathBuf::from("/one"), PathBuf::from("/other")];
    let config = ManagerConfig { disk: Arc::new(disk.clone()), dirs, ..config(Path::new("/unused")) };
    let (manager, _) = open(&config);
    let create = |partition| manager.create("t", partition, Uuid([5; 16]), small(), NOW).unwrap();
    let (log, other) = (create(0), create(1));
    log.begin_epoch(0).unwrap();
    other.begin_epoch(0).unwrap();
    assert_ne!(log.log_dir(), other.log_dir(), "each where there are fewest");
    runtime().block_on(async {
        disk.set_faults(Faults { sync: Some(0), ..Faults::default() });
        append(&log, 0).unwrap();
        assert!(log.wait_durable(1).await.is_err());
        append(&other, 0).unwrap();
        other.wait_durable(1).await.unwrap();
    });
    let failed = manager.failed_dirs();
    assert_eq!(failed.iter().map(|(dir, _)| dir.as_path()).collect::<Vec<_>>(), [log.log_dir()]);
    assert!(matches!(append(&log, 1), Err(LogError::DirFailed { .. })));
    assert_eq!(create(2).log_dir(), other.log_dir(), "new ones go where it works");
    manager.checkpoint().unwrap();
    assert!(manager.shutdown(1).is_err());
    let marked = |dir: &Path| disk.content(&dir.join(".kafka_cleanshutdown")).is_some();
    assert!(marked(other.log_dir()) && !marked(log.log_dir()), "clean where it was");
}

#[test]
fn a_failed_read_is_an_error_to_the_reader_and_never_other_data() {
    let (disk, _manager, log) = mem(FlushPolicy::Ack);
    for n in 0..60 {
        append(&log, n).unwrap();
    }
    let whole = read_all(&log, 0);
    let mut failures = 0;
    for at in 0..40 {
        for offset in [0, 17, 59] {
            disk.set_faults(Faults { read: Some(at), ..Faults::default() });
            match log.read(offset, 700, i64::MAX) {
                Ok(found) => assert!(whole.iter().any(|batch| found.bytes.starts_with(&batch.bytes))),
                Err(error) => {
                    assert!(matches!(error, LogError::Io { .. }), "{error}");
                    failures += 1;
                }
            }
        }
    }
    assert!(failures > 0);
    disk.set_faults(Faults::default());
    assert_eq!(read_all(&log, 0), whole, "it was the disk, not the log");
}

#[test]
fn a_failed_read_at_the_start_stops_the_start_and_cuts_nothing() {
    let (disk, manager, log) = mem(FlushPolicy::Ack);
    for n in 0..60 {
        append(&log, n).unwrap();
    }
    log.env.flusher.barrier().unwrap();
    manager.checkpoint().unwrap();
    let (whole, image) = (read_all(&log, 0), disk.copied());
    drop((manager, log));
    let mut refused = 0;
    for at in 0..60 {
        let disk = image.copied();
        let config = ManagerConfig { disk: Arc::new(disk.clone()), ..config(Path::new("/logs")) };
        disk.set_faults(Faults { read: Some(at), ..Faults::default() });
        refused += usize::from(LogManager::open(&config, &|_| small()).is_err());
        disk.set_faults(Faults::default());
        let (manager, _) = open(&config);
        assert_eq!(read_all(&manager.get("t", 0).unwrap(), 0), whole, "read {at}");
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn a_failed_flush_of_compaction_is_final_too_and_the_old_segments_are_still_there() {
    let compacted = LogConfig { compact: true, delete: false, dirty_ratio_min_ppm: 0, ..small() };
    let cleaner = CleanerConfig { map_bytes_max: 1 << 20, bytes_per_second_max: 0.0, backoff_ms: 0 };
    let mut failed = 0;
    for at in 0..12 {
        let (disk, manager, log) = mem(FlushPolicy::Ack);
        log.set_config(compacted);
        for n in 0..60 {
            append(&log, n).unwrap();
        }
        log.env.flusher.barrier().unwrap();
        log.set_high_watermark(log.end_offset());
        disk.set_faults(Faults { sync: Some(at), ..Faults::default() });
        let done = manager.clean_next(&cleaner, NOW, &std::sync::atomic::AtomicBool::new(false));
        failed += usize::from(done.is_none());
        disk.set_faults(Faults::default());
        let config = ManagerConfig { disk: Arc::new(disk.copied()), ..config(Path::new("/logs")) };
        let (manager, _) = LogManager::open(&config, &|_| compacted).unwrap();
        let log = manager.get("t", 0).unwrap();
        assert_eq!(log.end_offset(), 60, "flush {at}");
        // All have one key: the latest is what must be there.
        assert_eq!(read_all(&log, 0).last().unwrap().header.last_offset(), 59, "flush {at}");
    }
    assert!(failed > 2, "{failed}");
}
