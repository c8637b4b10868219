//! What the machine can do, taken in the same run.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

/// Bytes of one operation: a large batch.
const BLOCK: usize = 1 << 20;
/// Operations in memory, and on disk.
const IN_MEMORY: usize = 2_000;
const ON_DISK: usize = 100;

/// MB/s of one core, or of the disk.
pub struct Limits {
    /// Copying.
    pub memcpy: f64,
    /// CRC-32C.
    pub crc: f64,
    /// Writing and flushing a block at a time.
    pub disk: f64,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memcpy, crc, disk } = self;
        write!(f, "memcpy {memcpy:.0} MB/s, CRC-32C {crc:.0} MB/s, write+fdatasync of 1 MiB {disk:.0} MB/s")
    }
}

/// Measures them.
pub fn measure() -> Limits {
    let block: Vec<u8> = (0..BLOCK).map(|i| (i * 31) as u8).collect();
    let mut copy = vec![0; BLOCK];
    let memcpy = rate(IN_MEMORY, || black_box(&mut copy).copy_from_slice(black_box(&block)));
    let crc = rate(IN_MEMORY, || {
        black_box(crc32c::crc32c(black_box(&block)));
    });
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(dir.path().join("block")).unwrap();
    let disk = rate(ON_DISK, || {
        file.write_all(&block).unwrap();
        file.sync_data().unwrap();
    });
    Limits { memcpy, crc, disk }
}

fn rate(times: usize, mut work: impl FnMut()) -> f64 {
    let started = Instant::now();
    (0..times).for_each(|_| work());
    (times * BLOCK) as f64 / 1e6 / started.elapsed().as_secs_f64()
}
