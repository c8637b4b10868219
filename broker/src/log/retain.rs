//! Letting go of records: retention, DeleteRecords, truncation, deletion; and the clean close.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::disk::replace_file;
use super::error::LogError;
use super::names::{DELETED, EPOCH_CHECKPOINT, FileKind, delete_dir, segment_file};
use super::partition::{Inner, Log};
use super::read::batch_end_before;
use super::replay::replay;
use super::segment::Segment;
use super::{snapshot, txn_index};
use crate::core::producer_state::ProducerState;

/// What one round of retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments removed.
    pub segments: usize,
    /// Their log bytes.
    pub bytes: u64,
}

impl Log {
    /// Bytes of all segments' log files (DescribeLogDirs, `retention.bytes`).
    pub fn size(&self) -> u64 {
        self.lock().segments.values().map(|segment| segment.size).sum()
    }

    /// Number of segments.
    pub fn segment_count(&self) -> usize {
        self.lock().segments.len()
    }

    /// Removes the oldest segments that are too old (`retention.ms`, by record time or else by the file's), too many (`retention.bytes`), or wholly before the log's
    /// start. Never goes past the high watermark. `now_ms` is the wall clock.
    ///
    /// # Errors
    /// A file cannot be renamed; what was removed until then is removed.
    pub fn retain(&self, now_ms: i64) -> Result<Retained, LogError> {
        let mut inner = self.lock();
        self.check_open(&inner)?;
        let mut done = Retained::default();
        let mut size: u64 = inner.segments.values().map(|segment| segment.size).sum();
        while let Some(segment) = self.oldest_to_remove(&inner, size, now_ms)? {
            if inner.segments.len() == 1 {
                // All is too old: the end of the log moves to a fresh segment.
                self.roll(&mut inner, self.end_offset(), now_ms)?;
            }
            size -= segment.size;
            self.remove_oldest(&mut inner, segment.base, now_ms)?;
            done.segments += 1;
            done.bytes += segment.size;
        }
        if done.segments > 0 {
            self.settle_start(&mut inner)?;
        }
        Ok(done)
    }

    fn oldest_to_remove(&self, inner: &Inner, size: u64, now_ms: i64) -> Result<Option<Segment>, LogError> {
        let mut oldest = inner.segments.values();
        let (Some(segment), next) = (oldest.next(), oldest.next()) else { return Ok(None) };
        let after = next.map_or(self.end_offset(), |next| next.base);
        if segment.size == 0 && next.is_none() || after > self.high_watermark() {
            return Ok(None);
        }
        let config = &inner.config;
        let before_start = next.is_some() && after <= self.start_offset();
        let too_old = config.delete && config.retention_ms >= 0 && {
            let time =
                if segment.max_time >= 0 { segment.max_time } else { self.modified_at(&inner.dir, segment.base)? };
            now_ms.saturating_sub(time) > config.retention_ms
        };
        // Only what is over the bound: the rest must still reach it.
        let too_many = config.delete
            && config.retention_bytes >= 0
            && next.is_some()
            && size.saturating_sub(segment.size) >= config.retention_bytes as u64;
        Ok((before_start || too_old || too_many).then(|| segment.clone()))
    }

    /// Time of a segment's last change, ms.
    pub(crate) fn modified_at(&self, dir: &Path, base: i64) -> Result<i64, LogError> {
        let path = segment_file(dir, base, FileKind::Log);
        let stat = self.env.disk.stat(&path).map_err(|error| LogError::io("stat", &path, &error))?;
        Ok(stat.map_or(i64::MAX, |stat| stat.modified_ms))
    }

    fn remove_oldest(&self, inner: &mut Inner, base: i64, now_ms: i64) -> Result<(), LogError> {
        let dir = inner.dir.clone();
        let due = now_ms.saturating_add(inner.config.file_delete_delay_ms);
        let next = inner.segments.range(base + 1..).next().map_or(self.end_offset(), |(next, _)| *next);
        self.keep_producers(inner, next)?;
        // Readers first see that the offsets are gone, then the files go.
        self.start.fetch_max(next, Ordering::AcqRel);
        for kind in FileKind::OF_SEGMENT {
            let path = segment_file(&dir, base, kind);
            let mut gone = path.clone().into_os_string();
            gone.push(DELETED);
            let gone = PathBuf::from(gone);
            match self.env.disk.rename(&path, &gone) {
                Ok(()) => inner.trash.push((due, gone)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LogError::io("rename", &path, &error)),
            }
        }
        inner.segments.remove(&base);
        self.env.handles.forget(self.id, |at| at == base);
        // Gone for good before the next one goes: a power cut must not bring back an older segment without the newer one.
        self.env.disk.sync_dir(&dir).map_err(|error| LogError::io("flush", &dir, &error))
    }

    /// A snapshot at or after `next` is all that will be known of the producers of the records before: it must be on disk before those go. There is none if
    /// a crash spoiled the one taken at the roll.
    fn keep_producers(&self, inner: &mut Inner, next: i64) -> Result<(), LogError> {
        self.env.flusher.barrier()?;
        if inner.snapshots.last().is_some_and(|newest| *newest >= next) {
            return Ok(());
        }
        let end = self.end_offset();
        self.snapshot_producers(inner, end)?;
        let path = segment_file(&inner.dir, end, FileKind::Snapshot);
        let flushed = self.env.disk.open(&path, false).and_then(|file| file.sync());
        flushed.map_err(|error| LogError::io("flush", &path, &error))?;
        self.env.disk.sync_dir(&inner.dir).map_err(|error| LogError::io("flush", &inner.dir, &error))
    }

    /// Moves the log's start, for DeleteRecords: records before `offset` are no longer readable. Segments wholly before it go with the next
    /// [`retain`](Self::retain). Returns the start then; it survives a crash once the manager wrote its checkpoint.
    ///
    /// # Errors
    /// `offset` is after the high watermark.
    pub fn delete_records(&self, offset: i64) -> Result<i64, LogError> {
        let mut inner = self.lock();
        self.check_open(&inner)?;
        if offset > self.high_watermark() {
            return Err(LogError::OffsetOutOfRange { offset, start: self.start_offset(), end: self.high_watermark() });
        }
        self.start.fetch_max(offset, Ordering::AcqRel);
        self.settle_start(&mut inner)?;
        Ok(self.start_offset())
    }

    /// Lets epochs and snapshots follow the log's start.
    fn settle_start(&self, inner: &mut Inner) -> Result<(), LogError> {
        if inner.epochs.truncate_start(self.start_offset()) {
            let text = inner.epochs.encode();
            replace_file(&*self.env.disk, &inner.dir.join(EPOCH_CHECKPOINT), text.as_bytes())?;
        }
        let first = inner.segments.first_key_value().map_or(0, |(base, _)| *base);
        // The newest one stays: it is all that is known of producers whose records are gone.
        let newest = inner.snapshots.last().copied().unwrap_or(0);
        self.drop_snapshots(inner, |offset| offset < first && offset != newest)
    }

    pub(crate) fn drop_snapshots(&self, inner: &mut Inner, gone: impl Fn(i64) -> bool) -> Result<(), LogError> {
        let stale: Vec<i64> = inner.snapshots.iter().copied().filter(|offset| gone(*offset)).collect();
        for offset in stale {
            self.remove_file(&segment_file(&inner.dir, offset, FileKind::Snapshot))?;
            inner.snapshots.remove(&offset);
        }
        Ok(())
    }

    /// Removes all records from `offset` on (a follower whose leader does not have them). Log, indexes, epochs, producer state go back together (law R22).
    ///
    /// # Errors
    /// `offset` is before the log's start; files cannot be changed, after which the directory counts as failed.
    pub fn truncate_to(&self, offset: i64, now_ms: i64) -> Result<(), LogError> {
        let mut inner = self.lock();
        self.check_open(&inner)?;
        if offset < self.start_offset() {
            return Err(LogError::OffsetOutOfRange { offset, start: self.start_offset(), end: self.end_offset() });
        }
        if offset >= self.end_offset() {
            return Ok(());
        }
        // Nothing of this log may be on its way through the flusher: it would move the durable end past the new one.
        self.env.flusher.barrier()?;
        self.cut(&mut inner, offset, now_ms).inspect_err(|error| self.env.flusher.fail(error.to_string()))
    }

    fn cut(&self, inner: &mut Inner, offset: i64, now_ms: i64) -> Result<(), LogError> {
        let (disk, dir) = (&*self.env.disk, inner.dir.clone());
        self.begin_generation();
        let later: Vec<i64> = inner.segments.range(offset..).map(|(base, _)| *base).collect();
        for base in later.into_iter().rev() {
            // The first segment stays, emptied; a log has at least one. The last one goes first, for good: at no time is there a hole.
            if inner.segments.len() > 1 {
                FileKind::OF_SEGMENT.iter().try_for_each(|kind| self.remove_file(&segment_file(&dir, base, *kind)))?;
                disk.sync_dir(&dir).map_err(|error| LogError::io("flush", &dir, &error))?;
                inner.segments.remove(&base);
                self.env.handles.forget(self.id, |at| at == base);
            }
        }
        let base = inner.active().base;
        let file = self.log_file(&dir, base)?;
        let path = segment_file(&dir, base, FileKind::Log);
        let fail = |error: io::Error| LogError::io("truncate", &path, &error);
        let (size, straddling) = batch_end_before(&*file, inner.active().size, offset).map_err(fail)?;
        let end = straddling.unwrap_or(offset);
        file.set_len(size).map_err(fail)?;
        *inner.active() = self.cut_segment(inner.active().clone(), size, end, &dir, now_ms)?;
        txn_index::truncate(disk, &segment_file(&dir, base, FileKind::TxnIndex), end)?;
        file.sync().map_err(fail)?;
        disk.sync_dir(&dir).map_err(|error| LogError::io("flush", &dir, &error))?;
        if inner.epochs.truncate_end(end) {
            replace_file(disk, &dir.join(EPOCH_CHECKPOINT), inner.epochs.encode().as_bytes())?;
        }
        self.drop_snapshots(inner, |at| at > end)?;
        let newest = inner.snapshots.last().copied();
        let found = newest.map(|at| snapshot::read(disk, &dir, at)).transpose()?.flatten();
        let from = if found.is_some() { newest.unwrap_or(0) } else { 0 };
        inner.producers = replay(disk, &dir, &inner.segments, found.unwrap_or_default(), from)?.0;
        inner.verifications = Default::default();
        inner.ended.retain(|_, marker| *marker < end);
        self.end.store(end, Ordering::Release);
        self.high_watermark.fetch_min(end, Ordering::AcqRel);
        self.cleaned_to.fetch_min(end, Ordering::AcqRel);
        self.mark.reset(end);
        Ok(())
    }

    /// The segment with only its first `size` bytes: both indexes are cut to offsets before `end`, times are read again.
    fn cut_segment(&self, mut old: Segment, size: u64, end: i64, dir: &Path, now_ms: i64) -> Result<Segment, LogError> {
        use super::index::{OffsetEntry, TimeEntry};
        let relative = old.clamp_relative(end);
        for kind in [FileKind::Index, FileKind::TimeIndex] {
            let path = segment_file(dir, old.base, kind);
            let file = self.env.disk.open(&path, true).map_err(|error| LogError::io("open", &path, &error))?;
            let cut = match kind {
                FileKind::Index => old.index.truncate(&*file, |raw| OffsetEntry::decode(raw).relative < relative),
                _ => old.times.truncate(&*file, |raw| TimeEntry::decode(raw).relative < relative),
            };
            cut.map_err(|error| LogError::io("truncate", &path, &error))?;
        }
        let mut new = Segment::new(old.base, now_ms);
        let file = self.log_file(dir, old.base)?;
        new.remeasure(&*file, size)
            .map_err(|error| LogError::io("read", &segment_file(dir, old.base, FileKind::Log), &error))?;
        (new.index, new.times, new.no_aborts) = (old.index, old.times, old.no_aborts);
        Ok(new)
    }

    /// Writes and flushes everything, for a clean stop; nothing can be appended afterwards.
    ///
    /// # Errors
    /// Something could not be written or flushed: the stop is not a clean one.
    pub(crate) fn close(&self) -> Result<(), LogError> {
        let mut inner = self.lock();
        self.check_open(&inner)?;
        let (disk, dir, end) = (&*self.env.disk, inner.dir.clone(), self.end_offset());
        let active = inner.active();
        active.note_time();
        active.flush_indexes(disk, &dir)?;
        let base = active.base;
        txn_index::note_checksum(disk, &dir, active);
        self.snapshot_producers(&mut inner, end)?;
        let bases: Vec<i64> = inner.segments.keys().copied().collect();
        self.drop_snapshots(&mut inner, |at| at != end && bases.binary_search(&at).is_err())?;
        let mut files: Vec<PathBuf> = FileKind::OF_SEGMENT.iter().map(|kind| segment_file(&dir, base, *kind)).collect();
        files.push(segment_file(&dir, end, FileKind::Snapshot));
        for path in files {
            match disk.open(&path, false).and_then(|file| file.sync()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LogError::io("flush", &path, &error));
                }
                _ => {}
            }
        }
        disk.sync_dir(&dir).map_err(|error| LogError::io("flush", &dir, &error))?;
        self.mark.raise_recovery_point(end);
        inner.deleted = true;
        Ok(())
    }

    /// Marks the partition as deleted and renames its directory. Returns the new path, to be removed later.
    pub(crate) fn retire(&self, unique: u128) -> Result<PathBuf, LogError> {
        let mut inner = self.lock();
        let target = self.env.path.join(delete_dir(&self.topic, self.partition, unique));
        self.env.disk.rename(&inner.dir, &target).map_err(|error| LogError::io("rename", &inner.dir, &error))?;
        let parent = &self.env.path;
        self.env.disk.sync_dir(parent).map_err(|error| LogError::io("flush", parent, &error))?;
        inner.deleted = true;
        inner.trash.clear();
        self.env.handles.forget(self.id, |_| true);
        Ok(target)
    }

    /// Unlinks removed files whose delay is over.
    pub(crate) fn sweep(&self, now_ms: i64) -> Result<(), LogError> {
        let due: Vec<PathBuf> = {
            let mut inner = self.lock();
            let (due, later) = inner.trash.drain(..).partition(|(at, _)| *at <= now_ms);
            inner.trash = later;
            due.into_iter().map(|(_, path): (i64, PathBuf)| path).collect()
        };
        due.iter().try_for_each(|path| self.remove_file(path))
    }

    fn remove_file(&self, path: &Path) -> Result<(), LogError> {
        match self.env.disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", path, &error)),
            _ => Ok(()),
        }
    }

    /// Producer state, for tests and DescribeProducers.
    pub fn producers(&self) -> ProducerState {
        self.lock().producers.clone()
    }
}
