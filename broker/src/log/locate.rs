//! Finding a batch in a segment, with or without an index, so that one flipped bit of either is noticed.
//!
//! No CRC covers where a batch says it stands, and indexes have none at all. But a batch that lies about its offset overlaps with one of its neighbours,
//! unless compaction left a hole beside it; and an index entry names an offset, which the batch at its position must bear out. What an index says is
//! dropped where it does not fit the log; what does not fit in the log itself is damage.

use std::io;
use std::path::Path;

use causeway_wire::records::{BatchHeader, verify_crc};

use super::disk::{Disk, DiskFile, read_full_at};
use super::error::LogError;
use super::index::{OFFSET_ENTRY, OffsetEntry, search_file};
use super::names::{FileKind, segment_file};
use super::scan::{Found, HEADERS_CHUNK, Scan};

/// Leader epoch of batches that were written before there were any.
const NO_EPOCH: i32 = -1;

/// A segment's log file.
pub(crate) struct Place<'a> {
    pub(crate) file: &'a dyn DiskFile,
    pub(crate) dir: &'a Path,
    pub(crate) base: i64,
    pub(crate) size: u64,
}

impl Place<'_> {
    /// The file is damaged.
    pub(crate) fn damaged(&self, what: String) -> LogError {
        LogError::Corrupt { path: segment_file(self.dir, self.base, FileKind::Log), what }
    }

    pub(crate) fn failed(&self, error: &io::Error) -> LogError {
        LogError::io("read", &segment_file(self.dir, self.base, FileKind::Log), error)
    }

    /// Position and header of the first batch whose last offset is not below `offset`; `hint` is an index entry not after it.
    pub(crate) fn find(&self, hint: Option<OffsetEntry>, offset: i64) -> Result<Option<(u64, BatchHeader)>, LogError> {
        if let Some(hint) = hint
            && u64::from(hint.position) < self.size
            && let Ok(Some(found)) =
                self.walk(u64::from(hint.position), Some(self.base + i64::from(hint.relative)), offset)
        {
            return Ok(Some(found));
        }
        // No entry, or one that does not fit the log: the log is right.
        self.walk(0, None, offset)
    }

    /// As [`find`](Self::find), for a segment that is not open yet: the index is looked up in its file.
    pub(crate) fn find_by_file(&self, disk: &dyn Disk, offset: i64) -> Result<Option<(u64, BatchHeader)>, LogError> {
        let relative = offset.saturating_sub(self.base).min(i64::from(i32::MAX)) as i32;
        let hint = disk.open(&segment_file(self.dir, self.base, FileKind::Index), false).ok().and_then(|index| {
            let entries = (index.size().ok()? / OFFSET_ENTRY as u64) as u32;
            search_file::<OFFSET_ENTRY>(&*index, entries, |raw| OffsetEntry::decode(raw).relative <= relative).ok()?
        });
        self.find(hint.map(|(_, raw)| OffsetEntry::decode(&raw)), offset)
    }

    /// Walks from `pos`; one of the batches passed must end at `claimed`.
    fn walk(&self, pos: u64, mut claimed: Option<i64>, offset: i64) -> Result<Option<(u64, BatchHeader)>, LogError> {
        let mut scan = Scan::new(self.file, pos, self.size, HEADERS_CHUNK);
        let mut before: Option<(u64, BatchHeader)> = None;
        loop {
            let found = match scan.step().map_err(|error| self.failed(&error))? {
                Found::Batch(pos, header) => {
                    self.in_order(before.map(|(_, header)| header), &header)?;
                    if claimed.is_some_and(|end| header.last_offset() > end || header.base_offset > offset) {
                        return Err(self.damaged("an index entry does not fit".to_owned()));
                    }
                    claimed = claimed.filter(|end| header.last_offset() != *end);
                    (pos, header)
                }
                Found::End => {
                    self.whole(&mut scan, before)?;
                    return Ok(None);
                }
                Found::Bad(pos, why) => return Err(self.damaged(format!("at byte {pos}: {why}"))),
            };
            if found.1.last_offset() >= offset {
                if found.1.base_offset > offset {
                    // A hole, or the batch before says it ends earlier than it does.
                    self.whole(&mut scan, before)?;
                }
                return Ok(Some(found));
            }
            before = Some(found);
        }
    }

    /// Whether a batch may follow another one, or be the segment's first.
    pub(crate) fn in_order(&self, before: Option<BatchHeader>, header: &BatchHeader) -> Result<(), LogError> {
        let from = before.map_or(self.base, |before| before.next_offset());
        match header.base_offset >= from {
            true => Ok(()),
            false => Err(self.damaged(format!("a batch at offset {} where {from} is due", header.base_offset))),
        }
    }

    /// Whether a batch may stand before one at offset `follower`.
    pub(crate) fn followed(&self, header: &BatchHeader, follower: i64) -> Result<(), LogError> {
        match follower >= header.next_offset() {
            true => Ok(()),
            false => Err(self.damaged(format!("offset {follower} follows {}", header.last_offset()))),
        }
    }

    /// Whether a batch, these bytes, is what was written: by its CRC, by what follows it, and by the leader epoch that is known for its place.
    pub(crate) fn sound(
        &self,
        header: &BatchHeader,
        bytes: &[u8],
        follower: i64,
        epoch: Option<i32>,
    ) -> Result<(), LogError> {
        if verify_crc(bytes).is_err() {
            return Err(self.wrong_crc(header));
        }
        self.followed(header, follower)?;
        let (offset, found) = (header.base_offset, header.partition_leader_epoch);
        match epoch.filter(|epoch| *epoch != found && found != NO_EPOCH) {
            Some(epoch) => Err(self.damaged(format!("leader epoch {found} at offset {offset}, not {epoch}"))),
            None => Ok(()),
        }
    }

    /// Whether the batch at `pos` is whole, and where it says; behind the last one begins `limit`.
    pub(crate) fn check(&self, pos: u64, header: &BatchHeader, limit: i64) -> Result<(), LogError> {
        let mut scan = Scan::new(self.file, pos, self.size, HEADERS_CHUNK);
        self.whole(&mut scan, Some((pos, *header)))?;
        self.followed(header, self.base_offset_at(pos + header.size() as u64)?.unwrap_or(limit))
    }

    fn whole(&self, scan: &mut Scan<'_>, batch: Option<(u64, BatchHeader)>) -> Result<(), LogError> {
        let Some((pos, header)) = batch else { return Ok(()) };
        match scan.crc_holds(pos, &header).map_err(|error| self.failed(&error))? {
            true => Ok(()),
            false => Err(self.wrong_crc(&header)),
        }
    }

    pub(crate) fn wrong_crc(&self, header: &BatchHeader) -> LogError {
        self.damaged(format!("the CRC of the batch at offset {} is wrong", header.base_offset))
    }

    /// The offset that the batch at `pos` says it begins at; none at the file's end.
    pub(crate) fn base_offset_at(&self, pos: u64) -> Result<Option<i64>, LogError> {
        let mut raw = [0; size_of::<i64>()];
        if pos >= self.size {
            return Ok(None);
        }
        let read = read_full_at(self.file, &mut raw, pos).map_err(|error| self.failed(&error))?;
        Ok((read == raw.len()).then(|| i64::from_be_bytes(raw)))
    }
}
