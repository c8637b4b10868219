//! Compaction against a model (R25), in the race with readers, over crashes, and what stops it.

use std::sync::atomic::AtomicBool;

use super::compact_model::{Model, RETENTION, committed_from};
use super::mem_disk::{Faults, MemDisk};
use super::*;

pub(super) const CLEANER: CleanerConfig =
    CleanerConfig { map_bytes_max: 1 << 20, bytes_per_second_max: 0.0, backoff_ms: 1000 };

pub(super) fn compacted() -> LogConfig {
    LogConfig {
        segment_bytes: 1500,
        compact: true,
        delete: false,
        delete_retention_ms: RETENTION,
        dirty_ratio_min_ppm: 0,
        file_delete_delay_ms: 0,
        ..small()
    }
}

fn mem_config(disk: &MemDisk) -> ManagerConfig {
    ManagerConfig { disk: Arc::new(disk.clone()), ..config(Path::new("/logs")) }
}

fn reopen(config: &ManagerConfig) -> (LogManager, Arc<Log>) {
    let (manager, _) = LogManager::open(config, &|_| compacted()).unwrap();
    let log = manager.get("t", 0);
    let log = log.unwrap_or_else(|| manager.create("t", 0, Uuid([5; 16]), compacted(), NOW).unwrap());
    (manager, log)
}

fn settle(log: &Log) {
    log.env.flusher.barrier().unwrap();
    log.set_high_watermark(log.end_offset());
}

fn clean_all(manager: &LogManager, now: i64) -> Vec<CleaningDone> {
    let stop = AtomicBool::new(false);
    std::iter::from_fn(|| manager.clean_next(&CLEANER, now, &stop)).take(100).collect()
}

#[test]
fn r25_compaction_changes_nothing_that_a_reader_may_rely_on() {
    let mut shrunk = (0, 0);
    for seed in 0..30 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let disk = MemDisk::default();
        let mut model = Model::new();
        let (mut manager, mut log) = reopen(&mem_config(&disk));
        for round in 0..8 {
            for _ in 0..rng.usize(1..120) {
                model.append(&log, &mut rng);
                model.now += rng.i64(0..50);
            }
            if rng.bool() {
                model.end_all(&log);
            }
            settle(&log);
            let map_bytes_max = [0, 100, 300, 1 << 20][rng.usize(..4)];
            let cleaner = CleanerConfig { map_bytes_max, ..CLEANER };
            for _ in 0..rng.usize(..4) {
                if let Some(done) = manager.clean_next(&cleaner, model.now, &AtomicBool::new(false)) {
                    shrunk.0 += done.bytes.0;
                    shrunk.1 += done.bytes.1;
                    assert!(done.records.1 <= done.records.0);
                }
                model.check(&log, &format!("seed {seed} round {round}"), &mut rng);
                model.now += rng.i64(0..2 * RETENTION);
            }
            assert_eq!(manager.uncleanable(), []);
            if rng.bool() {
                manager.shutdown(0).unwrap();
                drop((manager, log));
                (manager, log) = reopen(&mem_config(&disk));
                model.check(&log, &format!("seed {seed} round {round} reopened"), &mut rng);
            }
        }
    }
    assert!(shrunk.1 * 2 < shrunk.0, "it does compact: {shrunk:?}");
}

#[test]
fn r25_cleaned_long_enough_only_the_latest_values_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = reopen(&config(dir.path()));
    let mut rng = fastrand::Rng::with_seed(3);
    let mut model = Model::new();
    for _ in 0..400 {
        model.append(&log, &mut rng);
    }
    model.end_all(&log);
    // Seals all that; the batch of an unknown key stays in the active segment.
    log.append_one(&batch(1, 1500, NOW), LEADER, NOW).unwrap();
    model.now = NOW;
    for round in 0..4 {
        settle(&log);
        log.append_one(&batch(1, 1500, NOW), LEADER, NOW).unwrap();
        settle(&log);
        assert!(!clean_all(&manager, NOW + round * 2 * RETENTION).is_empty());
    }
    let rows: Vec<_> = committed_from(&log, 0).into_values().filter(|(key, ..)| key.starts_with(b"key-")).collect();
    let keys: std::collections::BTreeSet<_> = rows.iter().map(|(key, ..)| key.clone()).collect();
    assert_eq!(rows.len(), keys.len(), "one record a key: {rows:?}");
    assert!(rows.iter().all(|(_, value, _)| value.is_some()), "no tombstone is left: {rows:?}");
    let markers = read_all(&log, 0).iter().filter(|batch| batch.header.attributes.is_control()).count();
    assert!(markers <= 2, "only those of active producers: {markers}");
    manager.sweep(i64::MAX);
    let files = std::fs::read_dir(dir.path().join("t-0")).unwrap().count();
    assert!(files < 25, "{files} files");
}

#[test]
fn r25_readers_in_the_race_with_compaction_see_whole_records_and_every_latest_value() {
    let disk = MemDisk::default();
    let (manager, log) = reopen(&mem_config(&disk));
    let done = AtomicBool::new(false);
    let unique = |n: i64| format!("unique-{n}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..300 {
                let end = log.end_offset();
                let mut builder = BatchBuilder::new(Codec::ALL[n as usize % 5]);
                for (at, key) in [unique(n), format!("often-{}", n % 3)].iter().enumerate() {
                    let value = format!("{}{}", end + at as i64, " ".repeat(60));
                    builder.push(NOW + n, Some(key.as_bytes()), Some(value.as_bytes()), &[]).unwrap();
                }
                log.append_one(&BatchView::parse(&builder.build().unwrap()).unwrap(), LEADER, NOW).unwrap();
                if n % 10 == 0 {
                    settle(&log);
                    clean_all(&manager, NOW);
                    manager.sweep(i64::MAX);
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut rounds = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) || rounds == 0 {
                    let stable = log.last_stable_offset();
                    let seen = committed_from(&log, 0);
                    for (offset, (_, value, _)) in &seen {
                        let value = String::from_utf8(value.as_ref().unwrap().to_vec()).unwrap();
                        assert_eq!(value.trim().parse(), Ok(*offset), "a record at another one's offset");
                    }
                    let keys: std::collections::HashSet<_> = seen.into_values().map(|(key, ..)| key).collect();
                    for n in 0..stable / 2 {
                        assert!(keys.contains(unique(n).as_bytes()), "{n} of {stable} is gone");
                    }
                    let time = NOW + stable / 4;
                    let found = log.offset_for_timestamp(time, stable).unwrap();
                    assert!(stable < 4 || found.is_some_and(|found| found.timestamp == time), "{found:?} of {time}");
                    rounds += 1;
                }
            });
        }
    });
    assert!(manager.cleaner_stats().rounds > 5, "{:?}", manager.cleaner_stats());
    assert_eq!(manager.uncleanable(), []);
}

#[test]
fn a_damaged_partition_is_named_and_left_alone_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = reopen(&config(dir.path()));
    let other = manager.create("u", 0, Uuid([6; 16]), compacted(), NOW).unwrap();
    for log in [&log, &other] {
        for n in 0..60 {
            log.append_one(&batch(2, 50, NOW + n), LEADER, NOW).unwrap();
        }
        settle(log);
    }
    let path = dir.path().join("t-0/00000000000000000000.log");
    let mut content = std::fs::read(&path).unwrap();
    content[300] ^= 4;
    std::fs::write(&path, &content).unwrap();
    let done = clean_all(&manager, NOW);
    assert_eq!(done.iter().map(|done| done.topic.as_str()).collect::<Vec<_>>(), ["u"]);
    let left_out = manager.uncleanable();
    assert_eq!((left_out.len(), left_out[0].topic.as_str(), left_out[0].partition), (1, "t", 0));
    assert!(left_out[0].cause.contains("CRC"), "{left_out:?}");
    assert_eq!(manager.cleaner_stats().uncleanable, 1);
    assert_eq!(std::fs::read(&path).unwrap(), content, "not touched");
    assert!(
        !std::fs::read_dir(dir.path().join("t-0"))
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().ends_with(".cleaned") })
    );
    manager.delete("t", 0, NOW).unwrap();
    assert_eq!(manager.uncleanable(), []);
}

#[test]
fn a_full_disk_delays_compaction_and_changes_nothing() {
    let disk = MemDisk::default();
    let (manager, log) = reopen(&mem_config(&disk));
    let mut model = Model::new();
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..100 {
        model.append(&log, &mut rng);
    }
    model.end_all(&log);
    settle(&log);
    let (mut space, mut now) = (0, NOW);
    let done = loop {
        disk.set_faults(Faults { space: Some(space), ..Faults::default() });
        let done = clean_all(&manager, now);
        model.now = now;
        model.check(&log, &format!("{space} bytes"), &mut rng);
        manager.health().unwrap();
        assert_eq!(manager.uncleanable(), []);
        if !done.is_empty() {
            break done;
        }
        assert!(clean_all(&manager, now + CLEANER.backoff_ms - 1).is_empty(), "it rests");
        (space, now) = (space + 97, now + CLEANER.backoff_ms);
    };
    assert!(space > 1000 && done[0].bytes.1 < done[0].bytes.0, "{space} {done:?}");
}

#[test]
fn a_stop_ends_a_cleaning_and_retention_and_deletion_win_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = reopen(&config(dir.path()));
    for n in 0..60 {
        log.append_one(&batch(2, 50, NOW + n), LEADER, NOW).unwrap();
    }
    settle(&log);
    assert_eq!(manager.clean_next(&CLEANER, NOW, &AtomicBool::new(true)), None);
    assert_eq!(log.cleaned_to(), None);
    let before = read_all(&log, 0);
    assert_eq!(before.len(), 60);
    let done = clean_all(&manager, NOW);
    assert_eq!((done.len(), log.cleaned_to()), (1, Some(done[0].cleaned_to)));
    let checkpoint = std::fs::read_to_string(dir.path().join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(checkpoint, format!("0\n1\nt 0 {}\n", done[0].cleaned_to));
    assert!(clean_all(&manager, NOW).is_empty(), "nothing is dirty");
    drop((manager, log));
    let (manager, log) = reopen(&config(dir.path()));
    assert_eq!(log.cleaned_to(), Some(done[0].cleaned_to), "known after a restart");
    assert!(clean_all(&manager, NOW).is_empty());
}

#[test]
fn compact_and_delete_together_remove_old_segments_too() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, log) = reopen(&config(dir.path()));
    log.set_config(LogConfig { delete: true, retention_ms: 1000, ..compacted() });
    for n in 0..60 {
        let mut builder = BatchBuilder::new(Codec::None);
        for at in 0..2 {
            builder.push(NOW + n * 100, Some(format!("{n}-{at}").as_bytes()), Some(&[7; 50]), &[]).unwrap();
        }
        log.append_one(&BatchView::parse(&builder.build().unwrap()).unwrap(), LEADER, NOW).unwrap();
    }
    settle(&log);
    assert!(!clean_all(&manager, NOW).is_empty());
    manager.retain(NOW + 60 * 100);
    assert!(log.start_offset() > 60, "starts at {}", log.start_offset());
    assert_eq!(read_all(&log, log.start_offset()).last().unwrap().header.last_offset(), 119);
}

/// Histories per test run, unless `CRASH_HISTORIES` says otherwise.
const HISTORIES: u64 = 40;

#[test]
fn r25_a_power_cut_at_any_operation_of_a_compaction_loses_and_revives_nothing() {
    let histories = std::env::var("CRASH_HISTORIES").ok().and_then(|count| count.parse().ok()).unwrap_or(HISTORIES);
    let mut cleaned = 0;
    for seed in 0..histories {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut disk = MemDisk::default().with_atomic_renames();
        let mut model = Model::new();
        for life in 0..4 {
            let (manager, log) = reopen(&mem_config(&disk));
            assert!(log.end_offset() >= model.acked, "seed {seed} life {life}: {} < {}", log.end_offset(), model.acked);
            model.cut(log.end_offset());
            model.check(&log, &format!("seed {seed} life {life}"), &mut rng);
            for _ in 0..rng.usize(20..100) {
                model.append(&log, &mut rng);
            }
            model.end_all(&log);
            settle(&log);
            model.acked = log.end_offset();
            disk.cut_power_in(rng.u64(1..200), rng.u64(..));
            while !disk.is_off() {
                cleaned += clean_all(&manager, model.now).len();
                manager.sweep(i64::MAX);
                model.now += rng.i64(0..RETENTION);
                let end = log.end_offset();
                model.append(&log, &mut rng);
                log.env.flusher.barrier().unwrap();
                log.set_high_watermark(end);
                if !disk.is_off() {
                    model.acked = log.end_offset();
                }
            }
            drop((manager, log));
            disk = disk.rebooted(rng.u64(..));
            // A cut while swaps are being finished must do no harm either.
            disk.cut_power_in(rng.u64(1..40), rng.u64(..));
            drop(LogManager::open(&mem_config(&disk), &|_| compacted()));
            disk = disk.rebooted(rng.u64(..));
        }
        let (_manager, log) = reopen(&mem_config(&disk));
        assert!(log.end_offset() >= model.acked, "seed {seed}");
        model.cut(log.end_offset());
        model.check(&log, &format!("seed {seed} at last"), &mut rng);
    }
    assert!(cleaned as u64 > histories, "{cleaned} cleanings");
}
