//! The segment that compaction writes.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use causeway_wire::records::BatchHeader;

use super::super::disk::{Disk, DiskFile, write_all_at};
use super::super::error::LogError;
use super::super::names::{CLEANED, FileKind, segment_file_as};
use super::super::segment::Segment;
use super::super::txn_index::{self, AbortedTxn};
use super::failed;

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Files `<base>.*.cleaned` in the making.
pub(crate) struct Writer<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    segment: Segment,
    file: Arc<dyn DiskFile>,
    buf: Vec<u8>,
    index_interval: u64,
    aborted: Vec<AbortedTxn>,
}

impl<'a> Writer<'a> {
    pub(crate) fn create(
        disk: &'a dyn Disk,
        dir: &'a Path,
        segment: Segment,
        index_interval: u64,
    ) -> Result<Self, LogError> {
        discard(disk, dir, segment.base)?;
        let path = segment_file_as(dir, segment.base, FileKind::Log, CLEANED);
        let file = disk.open(&path, true).map_err(failed("create", &path))?;
        for kind in [FileKind::Index, FileKind::TimeIndex] {
            let path = segment_file_as(dir, segment.base, kind, CLEANED);
            disk.open(&path, true).map_err(failed("create", &path))?;
        }
        Ok(Self { disk, dir, segment, file, buf: Vec::new(), index_interval, aborted: Vec::new() })
    }

    /// Adds a batch.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let header = BatchHeader::parse(bytes).expect("a batch that the filter gave has a header");
        if self.segment.size + header.size() as u64 > i32::MAX as u64 {
            // Recompression may make a segment larger than those it was made from; positions are 31 bits.
            let path = segment_file_as(self.dir, self.segment.base, FileKind::Log, CLEANED);
            return Err(LogError::Corrupt { path, what: "the compacted segment passes 2 GiB".to_owned() });
        }
        self.segment.note(&header, self.index_interval);
        self.buf.extend_from_slice(bytes);
        if self.segment.index.is_tail_full() || self.segment.times.is_tail_full() {
            self.segment.flush_indexes_as(self.disk, self.dir, CLEANED)?;
        }
        if self.buf.len() >= WRITE_BYTES { self.flush_buf() } else { Ok(()) }
    }

    /// Notes an aborted transaction of which batches are left.
    pub(crate) fn note_aborted(&mut self, txn: AbortedTxn) {
        self.aborted.push(txn);
    }

    fn flush_buf(&mut self) -> Result<(), LogError> {
        let pos = self.segment.size - self.buf.len() as u64;
        let path = segment_file_as(self.dir, self.segment.base, FileKind::Log, CLEANED);
        write_all_at(&*self.file, &mut [IoSlice::new(&self.buf)], pos).map_err(failed("write", &path))?;
        self.buf.clear();
        Ok(())
    }

    /// Writes what is left.
    pub(crate) fn write_out(&mut self) -> Result<(), LogError> {
        self.flush_buf()?;
        self.segment.note_time();
        self.segment.flush_indexes_as(self.disk, self.dir, CLEANED)?;
        let base = self.segment.base;
        self.segment.no_aborts = self.aborted.is_empty();
        txn_index::append(self.disk, &segment_file_as(self.dir, base, FileKind::TxnIndex, CLEANED), &self.aborted)?;
        Ok(())
    }

    /// Flushes all files. `modified_ms`: time of last change of the newest source, which retention of records without times counts from.
    pub(crate) fn finish(self, modified_ms: i64) -> Result<Segment, LogError> {
        let base = self.segment.base;
        for kind in FileKind::OF_SEGMENT {
            let path = segment_file_as(self.dir, base, kind, CLEANED);
            match self.disk.open(&path, false) {
                Ok(file) => file.sync().map_err(failed("flush", &path))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("open", &path)(error)),
            }
        }
        let path = segment_file_as(self.dir, base, FileKind::Log, CLEANED);
        self.disk.set_modified(&path, modified_ms).map_err(failed("set the time of", &path))?;
        Ok(self.segment)
    }
}

/// Removes the files of a cleaning that is not to be finished.
pub(crate) fn discard(disk: &dyn Disk, dir: &Path, base: i64) -> Result<(), LogError> {
    for kind in FileKind::OF_SEGMENT {
        let path = segment_file_as(dir, base, kind, CLEANED);
        match disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(error)),
            _ => {}
        }
    }
    Ok(())
}
