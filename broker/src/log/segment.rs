//! One segment: a stretch of the log in a file of its own, with its two sparse indexes.

use std::io;
use std::path::Path;

use causeway_wire::records::BatchHeader;

use super::LogConfig;
use super::disk::{Disk, DiskFile};
use super::error::LogError;
use super::index::{Index, OFFSET_ENTRY, OffsetEntry, TIME_ENTRY, TimeEntry};
use super::names::{FileKind, segment_file, segment_file_as};
use super::scan::{Found, HEADERS_CHUNK, Scan};

/// A segment's size, times and indexes. Its files are opened through the directory's handle cache.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    /// Offset of the first record, and the files' name.
    pub(crate) base: i64,
    /// Bytes of whole batches in the log file.
    pub(crate) size: u64,
    /// Largest record time and the last offset of the first batch that has it; -1 for none.
    pub(crate) max_time: i64,
    pub(crate) max_time_offset: i64,
    /// Largest time of the first batch; rolling by age counts from it.
    pub(crate) first_time: Option<i64>,
    pub(crate) created_ms: i64,
    /// Drawn when the segment was made; says how much of `segment.jitter.ms` it is rolled earlier.
    pub(crate) luck: u32,
    pub(crate) index: Index<OFFSET_ENTRY>,
    pub(crate) times: Index<TIME_ENTRY>,
    /// Known to have no `.txnindex`: readers of `read_committed` need not look for one.
    pub(crate) no_aborts: bool,
    since_index: u64,
}

impl Segment {
    pub(crate) fn new(base: i64, created_ms: i64) -> Self {
        Self {
            base,
            size: 0,
            max_time: -1,
            max_time_offset: base,
            first_time: None,
            created_ms,
            luck: fastrand::u32(..),
            index: Index::default(),
            times: Index::default(),
            no_aborts: false,
            since_index: 0,
        }
    }

    /// Takes in one batch that stands, or will stand, at the segment's end.
    pub(crate) fn note(&mut self, header: &BatchHeader, interval: u64) {
        self.first_time.get_or_insert(header.max_timestamp);
        if header.max_timestamp > self.max_time {
            self.max_time = header.max_timestamp;
            self.max_time_offset = header.last_offset();
        }
        if self.since_index > interval {
            let relative = self.relative(header.last_offset());
            self.index.push(OffsetEntry { relative, position: self.size as u32 }.encode());
            self.note_time();
            self.since_index = 0;
        }
        self.size += header.size() as u64;
        self.since_index += header.size() as u64;
    }

    /// Adds the largest time so far to the time index, if it is larger than what stands there.
    pub(crate) fn note_time(&mut self) {
        let last = self.times.last().map(|raw| TimeEntry::decode(raw).timestamp);
        if self.max_time >= 0 && last.is_none_or(|last| last < self.max_time) {
            let relative = self.relative(self.max_time_offset);
            self.times.push(TimeEntry { timestamp: self.max_time, relative }.encode());
        }
    }

    /// Must a new segment be started before this batch, which would come after `pending` more bytes? Kafka's four reasons: size, age, a full index, an offset too far
    /// from the base.
    pub(crate) fn must_roll(&self, header: &BatchHeader, pending: u64, config: &LogConfig, now_ms: i64) -> bool {
        let before = self.size + pending;
        if before == 0 && self.fits(header.last_offset()) {
            return false;
        }
        let age = match (self.first_time, header.max_timestamp) {
            (Some(first), time) if first >= 0 && time >= 0 => time.saturating_sub(first),
            _ => now_ms.saturating_sub(self.created_ms),
        };
        before + header.size() as u64 > config.segment_bytes.min(i32::MAX as u64)
            || age > config.roll_ms() - config.jitter_ms(self.luck)
            || self.index.bytes() + OFFSET_ENTRY > config.segment_index_bytes
            || self.times.bytes() + 2 * TIME_ENTRY > config.segment_index_bytes
            || !self.fits(header.last_offset())
    }

    /// Reads sizes and times of the first `size` bytes again; indexes are left as they are.
    pub(crate) fn remeasure(&mut self, file: &dyn DiskFile, size: u64) -> io::Result<()> {
        let mut scan = Scan::new(file, 0, size, HEADERS_CHUNK);
        while let Found::Batch(_, header) = scan.step()? {
            // With an endless interval no entry is made.
            self.note(&header, u64::MAX);
        }
        Ok(())
    }

    fn fits(&self, offset: i64) -> bool {
        (0..=i64::from(i32::MAX)).contains(&offset.saturating_sub(self.base))
    }

    fn relative(&self, offset: i64) -> i32 {
        i32::try_from(offset - self.base).expect("rolled before an offset is out of reach")
    }

    /// Writes index entries that are still in memory; creates the files if need be.
    pub(crate) fn flush_indexes(&mut self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        self.flush_indexes_as(disk, dir, "")
    }

    /// As [`flush_indexes`](Self::flush_indexes), to files with one more ending.
    pub(crate) fn flush_indexes_as(&mut self, disk: &dyn Disk, dir: &Path, ending: &str) -> Result<(), LogError> {
        let base = self.base;
        let write = |kind, flush: &mut dyn FnMut(&dyn DiskFile) -> io::Result<()>| {
            let path = segment_file_as(dir, base, kind, ending);
            let outcome = disk.open(&path, true).and_then(|file| flush(&*file));
            outcome.map_err(|error| LogError::io("write", &path, &error))
        };
        if !self.index.is_flushed() {
            write(FileKind::Index, &mut |file| self.index.flush(file))?;
        }
        if !self.times.is_flushed() {
            write(FileKind::TimeIndex, &mut |file| self.times.flush(file))?;
        }
        Ok(())
    }

    /// Relative offset of `offset`, at most as far as entries go.
    pub(crate) fn clamp_relative(&self, offset: i64) -> i32 {
        (offset - self.base).clamp(-1, i64::from(i32::MAX)) as i32
    }
}

/// Makes a segment's empty files.
pub(crate) fn create_segment_files(disk: &dyn Disk, dir: &Path, base: i64) -> Result<(), LogError> {
    for kind in [FileKind::Log, FileKind::Index, FileKind::TimeIndex] {
        let path = segment_file(dir, base, kind);
        // A leftover of a roll that failed half-way must not lend its bytes to the new segment.
        let made = disk.open(&path, true).and_then(|file| file.set_len(0));
        made.map_err(|error| LogError::io("create", &path, &error))?;
    }
    Ok(())
}
