//! Reading: fetches and look-ups by time. The log's lock is held only to see which segments there are; files are read without it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use causeway_wire::records::{BatchHeader, BatchView, DECOMPRESSED_BYTES_MAX, NO_TIMESTAMP, RecordError};

use super::blocking;
use super::disk::{DiskFile, read_new};
use super::error::LogError;
use super::index::{OFFSET_ENTRY, OffsetEntry, Probe, TIME_ENTRY, TimeEntry, read_entry, search_file};
use super::locate::Place;
use super::names::{FileKind, segment_file};
use super::partition::{Inner, Log};
use super::scan::{Found, HEADERS_CHUNK, Scan};
use super::segment::Segment;
use super::txn_index::{self, AbortedTxn};

/// Bytes of records that any number of look-ups may hold decompressed. Larger blocks are decompressed one at a time: a small batch may hold many, and
/// anybody may look for a time.
const DECOMPRESSED_FREELY_MAX: usize = 4 << 20;

/// What a fetch found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Whole batches; the first one holds the offset asked for, and may begin before it.
    pub bytes: Bytes,
    /// Offset after the last batch, or the offset asked for if there is none.
    pub next_offset: i64,
}

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    /// The record's time, ms.
    pub timestamp: i64,
    /// Its offset.
    pub offset: i64,
    /// Leader epoch of its batch.
    pub leader_epoch: i32,
}

/// A segment as it was when the lock was held.
struct View {
    generation: u64,
    dir: Arc<Path>,
    base: i64,
    size: u64,
    /// Where the next segment begins, or the log ends.
    limit: i64,
    index: Probe<OFFSET_ENTRY>,
    max_time: i64,
}

impl View {
    fn of(log: &Log, inner: &Inner, segment: &Segment, offset: i64) -> Self {
        let relative = segment.clamp_relative(offset);
        let index = segment.index.probe(|raw| OffsetEntry::decode(raw).relative <= relative);
        let next = inner.segments.range(segment.base.saturating_add(1)..).next();
        let limit = next.map_or_else(|| log.end_offset(), |(base, _)| *base);
        let (dir, generation, max_time) = (inner.dir.clone(), log.generation(), segment.max_time);
        Self { generation, dir, base: segment.base, size: segment.size, limit, index, max_time }
    }

    fn place<'a>(&'a self, file: &'a dyn DiskFile) -> Place<'a> {
        Place { file, dir: &self.dir, base: self.base, size: self.size }
    }
}

impl Log {
    /// Reads whole batches from the one that holds `offset`, up to `max_bytes` but at least one, and only such as lie below `upper` (high watermark, last stable or
    /// durable offset). Ends at a segment's end even if there is room for more.
    ///
    /// # Errors
    /// `offset` is before the log's start or after its end; the files cannot be read.
    pub fn read(&self, offset: i64, max_bytes: usize, upper: i64) -> Result<Fetched, LogError> {
        self.steady(|| self.read_once(offset, max_bytes, upper))
    }

    /// As [`read`](Self::read), with the aborted transactions that a reader of `read_committed` has to leave out of what was read, by first offset. Read
    /// together: compaction takes aborted records and their entries away at once.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn read_committed(
        &self,
        offset: i64,
        max_bytes: usize,
        upper: i64,
    ) -> Result<(Fetched, Vec<AbortedTxn>), LogError> {
        self.steady(|| {
            let fetched = self.read_once(offset, max_bytes, upper)?;
            let aborted = self.aborted_once(offset, fetched.next_offset)?;
            Ok((fetched, aborted))
        })
    }

    /// Reads until no other file got a name of this log's files meanwhile: then all that was read belongs together. Each new round needs another
    /// compaction or truncation of this log within the time of one read.
    fn steady<T>(&self, read: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
        loop {
            let generation = self.generation();
            let found = read();
            if self.generation() == generation {
                return found;
            }
        }
    }

    fn read_once(&self, offset: i64, max_bytes: usize, upper: i64) -> Result<Fetched, LogError> {
        let mut at = offset;
        loop {
            let Some((view, next_base)) = self.view(offset, at)?.filter(|_| offset < upper) else {
                return Ok(Fetched { bytes: Bytes::new(), next_offset: offset });
            };
            match self.read_segment(&view, offset, max_bytes, upper) {
                Ok(Some(fetched)) => return Ok(fetched),
                // Nothing at or after the offset in this segment: a hole at its end.
                Ok(None) => match next_base {
                    Some(base) => at = base,
                    None => return Ok(Fetched { bytes: Bytes::new(), next_offset: offset }),
                },
                // Retention may have taken the segment since the lock was dropped.
                Err(_) if offset < self.start_offset() => return Err(self.out_of_range(offset)),
                Err(error) => return Err(error),
            }
        }
    }

    /// The segment to look for `at` in, and the base of the one after it.
    fn view(&self, offset: i64, at: i64) -> Result<Option<(View, Option<i64>)>, LogError> {
        let inner = self.lock();
        if inner.deleted {
            return Err(LogError::Deleted);
        }
        let end = self.end_offset();
        if offset < self.start_offset() || offset > end {
            return Err(self.out_of_range(offset));
        }
        if offset == end {
            return Ok(None);
        }
        let found = inner.segments.range(..=at).next_back().or_else(|| inner.segments.iter().next());
        let next = inner.segments.range(at.saturating_add(1)..).next().map(|(base, _)| *base);
        Ok(found.map(|(_, segment)| (View::of(self, &inner, segment, offset), next)))
    }

    fn out_of_range(&self, offset: i64) -> LogError {
        LogError::OffsetOutOfRange { offset, start: self.start_offset(), end: self.end_offset() }
    }

    fn read_segment(&self, view: &View, offset: i64, max: usize, upper: i64) -> Result<Option<Fetched>, LogError> {
        let file = self.open_file(view.generation, &view.dir, view.base, FileKind::Log)?;
        let fail = |error: io::Error| LogError::io("read", &segment_file(&view.dir, view.base, FileKind::Log), &error);
        let Some((pos, first)) = self.locate(view, &*file, offset)? else { return Ok(None) };
        if first.last_offset() >= upper {
            // Readers wait for it, so it must not be one that only says it is so far.
            view.place(&*file).check(pos, &first, view.limit)?;
            return Ok(Some(Fetched { bytes: Bytes::new(), next_offset: offset }));
        }
        let want = max.max(first.size()).min((view.size - pos) as usize);
        let mut raw = blocking(want, || read_new(&*file, want, pos)).map_err(fail)?;
        let (whole, next_offset) = blocking(want, || self.sound_batches(view, &*file, pos, &raw, (offset, upper)))?;
        raw.truncate(whole);
        if raw.capacity() - whole > whole / 2 {
            // An answer is counted by its bytes until it is written, and must not hold much more than that.
            raw.shrink_to_fit();
        }
        Ok(Some(Fetched { bytes: raw.into(), next_offset }))
    }

    /// Bytes of whole batches below `upper` in what was read from `pos` on, and the offset after them: of those before the first damaged one, which is an
    /// error if it is the very first. A CRC is checked at a tenth of what it costs to send the bytes; not every client does it.
    fn sound_batches(
        &self,
        view: &View,
        file: &dyn DiskFile,
        pos: u64,
        raw: &[u8],
        (offset, upper): (i64, i64),
    ) -> Result<(usize, i64), LogError> {
        let (place, epochs) = (view.place(file), self.lock().epochs.clone());
        let (mut at, mut next) = (0, offset);
        while let Ok(header) = BatchHeader::parse(&raw[at..]) {
            let after = at + header.size();
            if after > raw.len() || header.last_offset() >= upper {
                break;
            }
            let follower = match raw[after..].first_chunk() {
                Some(base) => i64::from_be_bytes(*base),
                None => place.base_offset_at(pos + after as u64)?.unwrap_or(view.limit),
            };
            match place.sound(&header, &raw[at..after], follower, epochs.at(header.base_offset)) {
                Ok(()) => (at, next) = (after, header.next_offset()),
                Err(damage) if at == 0 => return Err(damage),
                Err(_) => break,
            }
        }
        Ok((at, next))
    }

    /// Position and header of the first batch whose last offset is not below `offset`.
    fn locate(&self, view: &View, file: &dyn DiskFile, offset: i64) -> Result<Option<(u64, BatchHeader)>, LogError> {
        view.place(file).find(self.index_hint(view, offset), offset)
    }

    fn index_hint(&self, view: &View, offset: i64) -> Option<OffsetEntry> {
        let relative = offset.saturating_sub(view.base).min(i64::from(i32::MAX)) as i32;
        let raw = match view.index {
            Probe::Found(raw) => raw,
            Probe::OnDisk(0) => return None,
            Probe::OnDisk(entries) => {
                let file = self.open_file(view.generation, &view.dir, view.base, FileKind::Index).ok()?;
                search_file(&*file, entries, |raw| OffsetEntry::decode(raw).relative <= relative).ok()??.1
            }
        };
        Some(OffsetEntry::decode(&raw))
    }

    /// The first record, at or after the log's start and below `upper`, whose time is not before `timestamp` (ListOffsets by time). Decodes the records of one
    /// batch, or of several if batches' declared times are larger than their records'.
    ///
    /// # Errors
    /// Files cannot be read, or a batch cannot be decoded.
    pub fn offset_for_timestamp(&self, timestamp: i64, upper: i64) -> Result<Option<TimestampOffset>, LogError> {
        blocking(usize::MAX, || self.steady(|| self.offset_for_timestamp_once(timestamp, upper)))
    }

    fn offset_for_timestamp_once(&self, timestamp: i64, upper: i64) -> Result<Option<TimestampOffset>, LogError> {
        for view in self.views_by_time() {
            if view.max_time < timestamp {
                continue;
            }
            let matches = |time: i64| time >= timestamp;
            if let Some(found) = self.first_record(&view, self.time_hint(&view, timestamp)?, upper, &matches)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record with the largest time of all below `upper` (ListOffsets -3, KIP-734).
    ///
    /// # Errors
    /// Files cannot be read, or a batch cannot be decoded.
    pub fn offset_of_max_timestamp(&self, upper: i64) -> Result<Option<TimestampOffset>, LogError> {
        blocking(usize::MAX, || self.steady(|| self.offset_of_max_timestamp_once(upper)))
    }

    fn offset_of_max_timestamp_once(&self, upper: i64) -> Result<Option<TimestampOffset>, LogError> {
        let mut views = self.views_by_time();
        // The oldest of those with the largest time: the sort is stable.
        views.sort_by_key(|view| std::cmp::Reverse(view.max_time));
        for view in views.into_iter().filter(|view| view.max_time > NO_TIMESTAMP) {
            let largest = self.largest_time(&view, upper)?;
            if largest == NO_TIMESTAMP {
                continue;
            }
            let found = self.first_record(&view, 0, upper, &|time| time >= largest)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn views_by_time(&self) -> Vec<View> {
        let inner = self.lock();
        let start = self.start_offset();
        inner.segments.values().map(|segment| View::of(self, &inner, segment, start)).collect()
    }

    /// Position from which to look for `timestamp`. An entry says that all before its batch is older than its time, so it may be used only if its time is
    /// not after the one sought, and the batch it names bears it out. A damaged one could name another batch of the same time: the one before it is asked, too.
    fn time_hint(&self, view: &View, timestamp: i64) -> Result<u64, LogError> {
        let probe = {
            let inner = self.lock();
            let Some(segment) = inner.segments.get(&view.base) else { return Ok(0) };
            segment.times.probe(|raw| TimeEntry::decode(raw).timestamp <= timestamp)
        };
        let raw: Vec<[u8; TIME_ENTRY]> = match probe {
            Probe::Found(raw) => vec![raw],
            Probe::OnDisk(0) => Vec::new(),
            Probe::OnDisk(entries) => {
                let path = segment_file(&view.dir, view.base, FileKind::TimeIndex);
                let file = self.open_file(view.generation, &view.dir, view.base, FileKind::TimeIndex)?;
                let fail = |error| LogError::io("read", &path, &error);
                let found = search_file(&*file, entries, |raw| TimeEntry::decode(raw).timestamp <= timestamp);
                match found.map_err(fail)? {
                    Some((0, _)) | None => Vec::new(),
                    Some((at, raw)) => read_entry(&*file, at - 1).map_err(fail)?.into_iter().chain([raw]).collect(),
                }
            }
        };
        let file = self.open_file(view.generation, &view.dir, view.base, FileKind::Log)?;
        let mut from = None;
        for entry in raw.iter().map(TimeEntry::decode) {
            // Where the log itself cannot be read, the walk from its beginning tells.
            let found = self.locate(view, &*file, view.base + i64::from(entry.relative)).unwrap_or_default();
            let borne_out = found.filter(|(_, header)| header.max_timestamp == entry.timestamp);
            let pos = borne_out.map_or(0, |(pos, _)| pos);
            from = Some(from.map_or(pos, |from: u64| from.min(pos)));
        }
        Ok(from.unwrap_or(0))
    }

    fn largest_time(&self, view: &View, upper: i64) -> Result<i64, LogError> {
        let mut largest = NO_TIMESTAMP;
        let start = self.start_offset();
        self.each_batch(view, 0, upper, |_, header| {
            if header.last_offset() >= start {
                largest = largest.max(header.max_timestamp);
            }
            Ok(true)
        })?;
        Ok(largest)
    }

    fn first_record(
        &self,
        view: &View,
        from: u64,
        upper: i64,
        matches: &dyn Fn(i64) -> bool,
    ) -> Result<Option<TimestampOffset>, LogError> {
        let mut found = None;
        let start = self.start_offset();
        self.each_batch(view, from, upper, |bytes, header| {
            if header.last_offset() < start || !matches(header.max_timestamp) {
                return Ok(true);
            }
            let corrupt =
                |what: String| LogError::Corrupt { path: segment_file(&view.dir, view.base, FileKind::Log), what };
            let bytes =
                bytes()?.ok_or_else(|| corrupt(format!("batch at offset {} is cut off", header.base_offset)))?;
            let batch = BatchView { header: *header, bytes };
            let (block, _alone) = decompressed(&batch).map_err(|error| corrupt(error.to_string()))?;
            for record in batch.walk(&block) {
                let record = record.map_err(|error| corrupt(error.to_string()))?;
                let (timestamp, offset) =
                    (header.timestamp_at(record.timestamp_delta), header.offset_at(record.offset_delta));
                if offset >= start && matches(timestamp) {
                    found = Some(TimestampOffset { timestamp, offset, leader_epoch: header.partition_leader_epoch });
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(found)
    }

    /// Calls `visit` for each batch of a segment below `upper` until it says no.
    fn each_batch(
        &self,
        view: &View,
        from: u64,
        upper: i64,
        mut visit: impl FnMut(&mut dyn FnMut() -> Result<Option<Bytes>, LogError>, &BatchHeader) -> Result<bool, LogError>,
    ) -> Result<(), LogError> {
        let file = self.open_file(view.generation, &view.dir, view.base, FileKind::Log)?;
        let place = view.place(&*file);
        let fail = |error: io::Error| place.failed(&error);
        let mut scan = Scan::new(&*file, from, view.size, HEADERS_CHUNK);
        let mut before = None;
        loop {
            let (pos, header) = match scan.step().map_err(fail)? {
                Found::Batch(pos, header) => (pos, header),
                Found::End => return Ok(()),
                Found::Bad(pos, why) => return Err(place.damaged(format!("at byte {pos}: {why}"))),
            };
            if from == 0 || before.is_some() {
                place.in_order(before, &header)?;
            }
            let after = pos + header.size() as u64;
            if header.last_offset() >= upper {
                return place.check(pos, &header, view.limit);
            }
            // A batch is passed over or taken for its time: what it says must be what was written.
            if !scan.crc_holds(pos, &header).map_err(fail)? {
                return Err(place.wrong_crc(&header));
            }
            let mut bytes = || {
                place.followed(&header, place.base_offset_at(after)?.unwrap_or(view.limit))?;
                scan.bytes(pos, &header).map_err(fail)
            };
            if !visit(&mut bytes, &header)? {
                return Ok(());
            }
            before = Some(header);
        }
    }

    /// Aborted transactions that a reader of `from..to` with `read_committed` has to leave out, by first offset.
    ///
    /// # Errors
    /// An index file cannot be read.
    pub fn aborted_txns(&self, from: i64, to: i64) -> Result<Vec<AbortedTxn>, LogError> {
        self.steady(|| self.aborted_once(from, to))
    }

    fn aborted_once(&self, from: i64, to: i64) -> Result<Vec<AbortedTxn>, LogError> {
        let (dir, bases): (Arc<Path>, Vec<i64>) = {
            let inner = self.lock();
            let first = inner.segments.range(..=from).next_back().map_or(from, |(base, _)| *base);
            let with_aborts = inner.segments.range(first..).filter(|(_, segment)| !segment.no_aborts);
            (inner.dir.clone(), with_aborts.map(|(base, _)| *base).collect())
        };
        let mut aborted = Vec::new();
        for base in bases {
            let txns = txn_index::read(&*self.env.disk, &segment_file(&dir, base, FileKind::TxnIndex))?;
            // Once the stable offset had passed `to`, no later marker can concern the range.
            let complete = txns.iter().any(|txn| txn.last_stable_offset >= to);
            aborted.extend(txns.into_iter().filter(|txn| txn.last_offset >= from && txn.first_offset < to));
            if complete {
                break;
            }
        }
        aborted.sort_unstable_by_key(|txn| txn.first_offset);
        Ok(aborted)
    }
}

/// A batch's records; with them, where they are many bytes, the right to hold so many.
fn decompressed(batch: &BatchView) -> Result<(Bytes, Option<MutexGuard<'static, ()>>), RecordError> {
    static ALONE: Mutex<()> = Mutex::new(());
    match batch.decompress(DECOMPRESSED_FREELY_MAX) {
        Err(RecordError::CapExceeded { .. }) => {
            let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
            Ok((batch.decompress(DECOMPRESSED_BYTES_MAX)?, Some(alone)))
        }
        outcome => Ok((outcome?, None)),
    }
}

/// Bytes of whole batches before `offset` in a file of `size` bytes; and, if a batch reaches across `offset`, where that one begins.
pub(crate) fn batch_end_before(file: &dyn DiskFile, size: u64, offset: i64) -> io::Result<(u64, Option<i64>)> {
    let mut scan = Scan::new(file, 0, size, HEADERS_CHUNK);
    while let Found::Batch(pos, header) = scan.step()? {
        if header.last_offset() >= offset {
            return Ok((pos, (header.base_offset < offset).then_some(header.base_offset)));
        }
    }
    Ok((size, None))
}
