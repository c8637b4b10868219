//! `flush.messages`, `flush.ms` and `segment.jitter.ms`.

use super::mem_disk::{Faults, MemDisk};
use super::*;

fn opened(flush: FlushPolicy, log: LogConfig) -> (MemDisk, LogManager, Arc<Log>) {
    let disk = MemDisk::default().with_atomic_renames();
    let config = ManagerConfig { disk: Arc::new(disk.clone()), flush, ..config(Path::new("/logs")) };
    let (manager, _) = open(&config);
    let log = manager.create("t", 0, Uuid([5; 16]), log, NOW).unwrap();
    log.begin_epoch(0).unwrap();
    (disk, manager, log)
}

/// Fewest records left by any of many power cuts now.
fn sure(disk: &MemDisk) -> i64 {
    let left = |seed| {
        let disk = Arc::new(disk.copied_with_its_cache().rebooted(seed));
        let (manager, _) = open(&ManagerConfig { disk, ..config(Path::new("/logs")) });
        manager.get("t", 0).map_or(0, |log| log.end_offset())
    };
    (0..20).map(left).min().unwrap()
}

#[test]
fn flush_messages_forces_a_flush_before_the_last_of_so_many_is_acknowledged() {
    let (disk, _manager, log) = opened(FlushPolicy::Os, LogConfig { flush_messages: 3, ..LogConfig::default() });
    for expected in [0, 0, 3, 3, 3, 6] {
        log.append_one(&batch(1, 10, NOW), LEADER, NOW).unwrap();
        assert_eq!(sure(&disk), expected, "after {}", log.end_offset());
    }
    log.append_one(&batch(7, 10, NOW), LEADER, NOW).unwrap();
    assert_eq!(sure(&disk), 13, "records count, not batches");
}

#[test]
fn flush_ms_flushes_what_is_older_when_it_is_looked_at() {
    let (disk, _manager, log) = opened(FlushPolicy::Os, LogConfig { flush_ms: 1_000, ..LogConfig::default() });
    assert!(!log.flush_by_age(NOW + 5_000).unwrap(), "nothing to flush");
    log.append_one(&batch(1, 10, NOW), LEADER, NOW).unwrap();
    assert!(!log.flush_by_age(NOW + 5_999).unwrap(), "not yet");
    assert_eq!(sure(&disk), 0);
    assert!(log.flush_by_age(NOW + 6_000).unwrap());
    assert_eq!(sure(&disk), 1);
    assert!(!log.flush_by_age(NOW + 60_000).unwrap(), "nothing new");
}

#[test]
fn a_forced_flush_that_fails_is_final_for_the_directory() {
    let (disk, manager, log) = opened(FlushPolicy::Os, LogConfig { flush_messages: 1, ..LogConfig::default() });
    log.append_one(&batch(1, 10, NOW), LEADER, NOW).unwrap();
    disk.set_faults(Faults { sync: Some(0), ..Faults::default() });
    assert!(log.append_one(&batch(1, 10, NOW), LEADER, NOW).is_err());
    assert_eq!(log.durable_offset(), 1, "not acknowledged");
    assert!(matches!(manager.health(), Err(LogError::DirFailed { .. })));
    assert!(matches!(log.append_one(&batch(1, 10, NOW), LEADER, NOW), Err(LogError::DirFailed { .. })));
}

#[test]
fn a_failed_flush_of_a_checkpoint_is_final_too() {
    let (disk, manager, log) = opened(FlushPolicy::Ack, LogConfig::default());
    disk.set_faults(Faults { sync: Some(0), ..Faults::default() });
    assert!(manager.checkpoint().is_err());
    assert!(matches!(log.append_one(&batch(1, 10, NOW), LEADER, NOW), Err(LogError::DirFailed { .. })));
}

#[test]
fn jitter_rolls_segments_earlier_by_a_random_part_of_it() {
    let config = LogConfig { segment_ms: 1_000, segment_jitter_ms: 600, ..LogConfig::default() };
    let mut ages = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let (_disk, _manager, log) = opened(FlushPolicy::Os, config);
        log.append_one(&batch(1, 10, NOW), LEADER, NOW).unwrap();
        let mut age = 0;
        while log.segment_count() == 1 {
            age += 20;
            log.append_one(&batch(1, 10, NOW + age), LEADER, NOW + age).unwrap();
        }
        assert!((400..=1_020).contains(&age), "{age}");
        ages.insert(age);
    }
    assert!(ages.len() > 5, "not all at once: {ages:?}");
    assert_eq!(LogConfig { segment_jitter_ms: 0, ..config }.jitter_ms(77), 0);
    assert_eq!(LogConfig { segment_jitter_ms: i64::MAX, ..config }.jitter_ms(1_999), 999, "below segment.ms");
}
