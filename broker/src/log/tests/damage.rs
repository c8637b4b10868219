//! Law R24: whatever stands at the end of the files after a crash, the log opens as a prefix of sound batches and works on.

use std::path::PathBuf;

use super::mem_disk::MemDisk;
use super::*;
use crate::log::names::{FileKind, segment_file};

const DIR: &str = "/logs/t-0";

fn mem_config(disk: &MemDisk) -> ManagerConfig {
    ManagerConfig { disk: Arc::new(disk.clone()), ..config(Path::new("/logs")) }
}

/// A log of three segments whose last one holds a few batches, left as by kill -9.
fn killed() -> (MemDisk, Vec<BatchView>, PathBuf) {
    let disk = MemDisk::default();
    let (manager, _) = open(&mem_config(&disk));
    let log = manager.create("t", 0, Uuid([5; 16]), small(), NOW).unwrap();
    let mut n = 0;
    while log.segment_count() < 3 || log.end_offset() % 4 != 0 {
        log.append_one(&sequenced(7, 0, n, 2), Placing::Leader { epoch: 2 }, NOW).unwrap();
        n += 2;
    }
    for more in 0..3 {
        log.append_one(&sequenced(7, 0, n + more, 1), Placing::Leader { epoch: 2 }, NOW).unwrap();
    }
    log.env.flusher.barrier().unwrap();
    manager.checkpoint().unwrap();
    let all = read_all(&log, 0);
    let active = *log.lock().segments.last_key_value().unwrap().0;
    (disk.copied(), all, segment_file(Path::new(DIR), active, FileKind::Log))
}

/// Opens, checks that the log is a prefix, and appends once more. Returns how many batches are left.
fn reopened(disk: &MemDisk, all: &[BatchView], what: &str) -> usize {
    let (manager, _) = open(&mem_config(disk));
    let log = manager.get("t", 0).unwrap();
    let found = read_all(&log, 0);
    assert!(found.len() <= all.len(), "{what}");
    assert_eq!(found, all[..found.len()], "{what}");
    let end = found.last().map_or(0, |last| last.header.next_offset());
    assert_eq!(log.end_offset(), end, "{what}");
    let done = log.append_one(&batch(1, 5, NOW), Placing::Leader { epoch: 2 }, NOW).unwrap();
    assert_eq!(done.base_offset, end, "{what}");
    assert_eq!(read_all(&log, 0).len(), found.len() + 1, "{what}");
    found.len()
}

fn batches_in(all: &[BatchView], content: &[u8], active: &Path) -> (usize, usize) {
    let base: i64 = active.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let before = all.iter().filter(|batch| batch.header.base_offset < base).count();
    let mut bytes = 0;
    let inside = all[before..].iter().take_while(|batch| {
        bytes += batch.bytes.len();
        bytes <= content.len()
    });
    (before, inside.count())
}

#[test]
fn r24_a_log_cut_at_any_byte_opens_as_its_whole_batches() {
    let (disk, all, active) = killed();
    let content = disk.content(&active).unwrap();
    assert!(content.len() > 300);
    for len in 0..=content.len() {
        let disk = disk.copied();
        disk.put(&active, &content[..len]);
        let left = reopened(&disk, &all, &format!("cut to {len}"));
        let (before, inside) = batches_in(&all, &content[..len], &active);
        assert_eq!(left, before + inside, "cut to {len}");
    }
}

#[test]
fn r24_any_flipped_byte_of_the_tail_is_found() {
    let (disk, all, active) = killed();
    let content = disk.content(&active).unwrap();
    for at in 0..content.len() {
        let disk = disk.copied();
        let mut damaged = content.clone();
        damaged[at] ^= 1 << (at % 8);
        disk.put(&active, &damaged);
        let left = reopened(&disk, &all, &format!("flipped at {at}"));
        let (before, inside) = batches_in(&all, &content[..at], &active);
        assert_eq!(left, before + inside, "flipped at {at}");
    }
}

#[test]
fn r24_garbage_and_zeros_behind_the_tail_are_cut_off() {
    let (disk, all, active) = killed();
    let content = disk.content(&active).unwrap();
    let mut rng = fastrand::Rng::with_seed(1);
    let last_batch = all.last().unwrap().bytes.clone();
    let random = |rng: &mut fastrand::Rng, n: usize| (0..n).map(|_| rng.u8(..)).collect::<Vec<u8>>();
    let mut tails = vec![vec![0; 1], vec![0; 61], vec![0; 5000], vec![0xff; 4096], last_batch.to_vec()];
    tails.extend((0..50).map(|n| random(&mut rng, n * 7)));
    for (n, tail) in tails.iter().enumerate() {
        let disk = disk.copied();
        disk.put(&active, &[content.as_slice(), tail].concat());
        assert_eq!(reopened(&disk, &all, &format!("tail {n}")), all.len(), "tail {n}");
    }
    // Zeros in place of the last sectors, as after a power cut with delayed allocation.
    for from in (0..content.len()).step_by(7) {
        let disk = disk.copied();
        let mut damaged = content.clone();
        damaged[from..].fill(0);
        disk.put(&active, &damaged);
        // Some of the zeroed bytes were zero before.
        let same = content.iter().zip(&damaged).take_while(|(old, new)| old == new).count();
        let (before, inside) = batches_in(&all, &content[..same], &active);
        assert_eq!(reopened(&disk, &all, &format!("zeros from {from}")), before + inside);
    }
}

#[test]
fn r24_missing_or_garbage_side_files_cost_nothing_but_time() {
    let (disk, all, active) = killed();
    let mut rng = fastrand::Rng::with_seed(2);
    let root = Path::new("/logs");
    for path in [disk.files(Path::new(DIR)), disk.files(root)].concat() {
        let name = path.to_str().unwrap().to_owned();
        if name.ends_with(".log") || name.ends_with("meta.properties") {
            continue;
        }
        let content = disk.content(&path).unwrap();
        let noise: Vec<u8> = (0..content.len().max(24)).map(|_| rng.u8(..)).collect();
        let variants: [&[u8]; 5] = [&[], &content[..content.len() / 2], &noise, &[0; 96], &[0xff; 96]];
        for (n, variant) in variants.iter().enumerate() {
            let disk = disk.copied();
            disk.put(&path, variant);
            assert_eq!(reopened(&disk, &all, &format!("{name} variant {n}")), all.len());
        }
        let disk = disk.copied();
        disk.remove_file(&path).unwrap();
        assert_eq!(reopened(&disk, &all, &format!("{name} missing")), all.len());
    }
    assert!(active.starts_with(DIR));
}

#[test]
fn r24_segments_behind_a_damaged_one_are_dropped_and_reported() {
    let (disk, all, _) = killed();
    let first = segment_file(Path::new(DIR), 0, FileKind::Log);
    let mut content = disk.content(&first).unwrap();
    let at = all[0].bytes.len() + 70;
    content[at] ^= 1;
    disk.put(&first, &content);
    // The recovery point would spare the sealed segment: bit rot there is the scrubber's business. Without it everything is checked.
    disk.put(Path::new("/logs/recovery-point-offset-checkpoint"), b"0\n0\n");
    disk.put(Path::new("/logs/replication-offset-checkpoint"), format!("0\n1\nt 0 {}\n", all.len()).as_bytes());
    let (manager, report) = open(&mem_config(&disk));
    let found = &report.partitions[0];
    assert_eq!((found.end_offset, found.dropped_segments), (all[1].header.base_offset, 2));
    assert!(found.cut_bytes > 0 && found.lost_committed, "{found:?}");
    assert!(found.cause.as_ref().unwrap().contains("CRC"), "{found:?}");
    assert_eq!(read_all(&manager.get("t", 0).unwrap(), 0), all[..1]);
}
