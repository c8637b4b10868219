//! Many partitions with many segments: opened without an open file each, in memory that does not grow with their bytes.

use super::*;

const PARTITIONS: i32 = 120;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count())
}

/// One partition as a template, copied: partitions made one by one would flush thousands of files.
fn many(dir: &Path) -> (usize, usize) {
    let (manager, log) = fresh(dir);
    for n in 0..120 {
        log.append_one(&batch(2, 60, NOW + n), LEADER, NOW).unwrap();
    }
    log.set_high_watermark(log.end_offset());
    let (segments, batches) = (log.segment_count(), read_all(&log, 0).len());
    manager.shutdown(1).unwrap();
    for partition in 1..PARTITIONS {
        let copy = dir.join(format!("t-{partition}"));
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(dir.join("t-0")).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
    }
    for name in ["recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        let rows: String = (0..PARTITIONS).map(|partition| format!("t {partition} 240\n")).collect();
        std::fs::write(dir.join(name), format!("0\n{PARTITIONS}\n{rows}")).unwrap();
    }
    (segments, batches)
}

#[test]
fn l7_open_files_do_not_grow_with_partitions_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (segments, batches) = many(dir.path());
    assert!(segments * PARTITIONS as usize > 1000, "{segments} segments each");
    let before = open_files();
    let (manager, report) = open(&config(dir.path()));
    assert!(report.clean);
    assert!(report.partitions.iter().all(|found| found.scanned_bytes == 0 && found.end_offset == 240));
    assert!(open_files() < before + 20, "{} open files after the start", open_files() - before);
    for log in manager.logs() {
        assert_eq!(read_all(&log, 0).len(), batches, "{}", log.partition());
    }
    // The cache of one directory holds 512; other tests of this process have files of their own.
    assert!(open_files() < before + 1100, "{} open files after all was read", open_files() - before);
}
