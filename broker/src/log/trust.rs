//! Segments that nothing ought to have happened to: their files are taken as they are after a look at what no checksum covers.

use std::io;
use std::sync::Arc;

use super::disk::DiskFile;
use super::error::LogError;
use super::index::{Index, OFFSET_ENTRY, OffsetEntry, TIME_ENTRY, TimeEntry};
use super::locate::Place;
use super::names::{FileKind, segment_file};
use super::recover::Opening;
use super::scan::{Found, HEADERS_CHUNK, Scan};
use super::segment::Segment;

/// A segment's two indexes.
type Indexes = (Index<OFFSET_ENTRY>, Index<TIME_ENTRY>);

impl Opening<'_> {
    /// Takes a segment as it is if its indexes look right; the last one is read from its last index entry on. Returns it and the offset after it.
    pub(super) fn trust(&mut self, base: i64, next: Option<i64>) -> Result<Option<(Segment, i64)>, LogError> {
        let file = self.open_log(base)?;
        let size = file.size().map_err(|error| self.fail(base, &error))?;
        let Some((index, times)) = self.sound_indexes(base, &file, size)? else { return Ok(None) };
        let mut segment = Segment::new(base, self.hints.now_ms);
        if let Some(entry) = times.last().map(TimeEntry::decode) {
            segment.max_time = entry.timestamp;
            segment.max_time_offset = base + i64::from(entry.relative);
        }
        (segment.index, segment.times, segment.size) = (index, times, size);
        if let Some(next) = next {
            return Ok(Some((segment, next)));
        }
        self.tail(segment, &*file)
    }

    /// Reads the last segment from its last index entry on; a stop that was clean left nothing torn there. None if that entry does not fit.
    fn tail(&mut self, mut segment: Segment, file: &dyn DiskFile) -> Result<Option<(Segment, i64)>, LogError> {
        let (base, size) = (segment.base, segment.size);
        let place = Place { file, dir: self.dir, base, size };
        let fail = |error: io::Error| place.failed(&error);
        let mut scan = Scan::new(file, 0, size.min(HEADERS_CHUNK as u64), HEADERS_CHUNK);
        if let Found::Batch(_, first) = scan.step().map_err(fail)? {
            segment.first_time = Some(first.max_timestamp);
        }
        let from = match segment.index.last().map(OffsetEntry::decode) {
            None => 0,
            Some(entry) => match place.find(Some(entry), base + i64::from(entry.relative)) {
                Ok(Some((pos, _))) if pos == u64::from(entry.position) => pos,
                Ok(_) => return Ok(None),
                // The log is damaged before it, or there.
                Err(_) => u64::from(entry.position),
            },
        };
        let mut scan = Scan::new(file, from, size, HEADERS_CHUNK);
        let mut before = None;
        loop {
            match scan.step().map_err(fail)? {
                Found::Batch(pos, header) => {
                    if from == 0 || before.is_some() {
                        place.in_order(before, &header)?;
                    }
                    // Whoever reads it is told; where the log ends does not depend on it, unless it is the last.
                    if !scan.crc_holds(pos, &header).map_err(fail)? {
                        let error = place.wrong_crc(&header);
                        tracing::error!(topic = self.report.topic, partition = self.report.partition, %error, "a damaged batch will not be served");
                    }
                    if header.max_timestamp > segment.max_time {
                        segment.max_time = header.max_timestamp;
                        segment.max_time_offset = header.last_offset();
                    }
                    segment.first_time.get_or_insert(header.max_timestamp);
                    self.last_epoch = Some(header.partition_leader_epoch);
                    before = Some(header);
                }
                Found::End => return Ok(Some((segment, before.map_or(base, |last| last.next_offset())))),
                Found::Bad(pos, why) => {
                    self.refuse_after_clean_stop(base, &format!("at byte {pos}: {why}"))?;
                    return Err(place.damaged(why));
                }
            }
        }
    }

    /// Both indexes, if their sizes and last entries are possible.
    fn sound_indexes(&self, base: i64, file: &Arc<dyn DiskFile>, size: u64) -> Result<Option<Indexes>, LogError> {
        let index = self.read_index::<OFFSET_ENTRY>(base, FileKind::Index)?;
        let times = self.read_index::<TIME_ENTRY>(base, FileKind::TimeIndex)?;
        let (Some(index), Some(times)) = (index, times) else { return Ok(None) };
        let offset_fits = index
            .last()
            .map(OffsetEntry::decode)
            .is_none_or(|last| last.relative >= 0 && u64::from(last.position) < size);
        let time_fits =
            times.last().map(TimeEntry::decode).is_none_or(|last| last.relative >= 0 && last.timestamp >= 0);
        // A closed segment with records has its largest time in the index, unless its records have no times.
        let fits = offset_fits
            && time_fits
            && self.is_borne_out(&Place { file: &**file, dir: self.dir, base, size }, &times)?;
        Ok(fits.then_some((index, times)))
    }

    /// Whether the batch that the last entry names has the time that it says is the segment's largest: retention and look-ups rely on it.
    fn is_borne_out(&self, place: &Place<'_>, times: &Index<TIME_ENTRY>) -> Result<bool, LogError> {
        let Some(entry) = times.last().map(TimeEntry::decode) else { return Ok(true) };
        let offset = place.base + i64::from(entry.relative);
        // A log that is damaged there cannot tell; its readers are told.
        let Ok(found) = place.find_by_file(self.disk, offset) else { return Ok(true) };
        let Some((pos, header)) = found else { return Ok(false) };
        if header.max_timestamp == entry.timestamp {
            return Ok(true);
        }
        let mut scan = Scan::new(place.file, pos, place.size, HEADERS_CHUNK);
        scan.crc_holds(pos, &header).map(|sound| !sound).map_err(|error| place.failed(&error))
    }

    fn read_index<const N: usize>(&self, base: i64, kind: FileKind) -> Result<Option<Index<N>>, LogError> {
        let path = segment_file(self.dir, base, kind);
        let file = match self.disk.open(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogError::io("open", &path, &error)),
        };
        let fail = |error: io::Error| LogError::io("read", &path, &error);
        let len = file.size().map_err(fail)?;
        if len % N as u64 != 0 {
            return Ok(None);
        }
        let entries = (len / N as u64) as u32;
        let mut last = [0; N];
        let read = super::disk::read_full_at(&*file, &mut last, len.saturating_sub(N as u64)).map_err(fail)?;
        Ok(Some(Index::opened(entries, (entries > 0 && read == N).then_some(last))))
    }
}
