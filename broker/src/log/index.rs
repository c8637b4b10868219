//! Sparse index files: fixed-size entries in rising order, the newest few in memory, the rest on disk (Kafka's `.index` and `.timeindex`).
//!
//! Memory per partition is bounded: only entries not yet written are held. Entries carry no checksum; whoever uses one checks it against the log.

use std::io::{self, IoSlice};

use super::disk::{DiskFile, read_full_at, write_all_at};

/// Entries held before they are written: one write of 4-6 KiB per 2 MiB of log.
const TAIL_ENTRIES_MAX: usize = 512;

/// Bytes of an `.index` entry: relative offset i32, position i32.
pub(crate) const OFFSET_ENTRY: usize = 8;
/// Bytes of a `.timeindex` entry: timestamp i64, relative offset i32.
pub(crate) const TIME_ENTRY: usize = 12;

/// Last offset of a batch, relative to the segment, and where the batch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative: i32,
    pub(crate) position: u32,
}

/// Largest timestamp so far in the segment and the last offset, relative to the segment, of the batch that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative: i32,
}

impl OffsetEntry {
    pub(crate) fn encode(self) -> [u8; OFFSET_ENTRY] {
        let mut raw = [0; OFFSET_ENTRY];
        raw[..4].copy_from_slice(&self.relative.to_be_bytes());
        raw[4..].copy_from_slice(&self.position.to_be_bytes());
        raw
    }

    pub(crate) fn decode(raw: &[u8; OFFSET_ENTRY]) -> Self {
        let [a, b, c, d, e, f, g, h] = *raw;
        Self { relative: i32::from_be_bytes([a, b, c, d]), position: u32::from_be_bytes([e, f, g, h]) }
    }
}

impl TimeEntry {
    pub(crate) fn encode(self) -> [u8; TIME_ENTRY] {
        let mut raw = [0; TIME_ENTRY];
        raw[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        raw[8..].copy_from_slice(&self.relative.to_be_bytes());
        raw
    }

    pub(crate) fn decode(raw: &[u8; TIME_ENTRY]) -> Self {
        let (time, offset) = raw.split_at(8);
        Self {
            timestamp: i64::from_be_bytes(time.try_into().expect("8 of 12 bytes")),
            relative: i32::from_be_bytes(offset.try_into().expect("4 of 12 bytes")),
        }
    }
}

/// Where a search has to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe<const N: usize> {
    /// The entry was still in memory.
    Found([u8; N]),
    /// Search the first so many entries of the file.
    OnDisk(u32),
}

/// One index file: how many entries are on disk, and those that are not yet.
#[derive(Debug, Clone)]
pub(crate) struct Index<const N: usize> {
    on_disk: u32,
    tail: Vec<[u8; N]>,
    last: Option<[u8; N]>,
}

impl<const N: usize> Default for Index<N> {
    fn default() -> Self {
        Self { on_disk: 0, tail: Vec::new(), last: None }
    }
}

impl<const N: usize> Index<N> {
    /// An index whose file holds `on_disk` entries that end with `last`.
    pub(crate) fn opened(on_disk: u32, last: Option<[u8; N]>) -> Self {
        Self { on_disk, tail: Vec::new(), last }
    }

    pub(crate) fn last(&self) -> Option<&[u8; N]> {
        self.last.as_ref()
    }

    /// Entries in all.
    pub(crate) fn entries(&self) -> usize {
        self.on_disk as usize + self.tail.len()
    }

    /// Bytes the file will have.
    pub(crate) fn bytes(&self) -> usize {
        self.entries() * N
    }

    pub(crate) fn push(&mut self, entry: [u8; N]) {
        self.tail.push(entry);
        self.last = Some(entry);
    }

    /// The tail has reached its bound: time to [`flush`](Self::flush).
    pub(crate) fn is_tail_full(&self) -> bool {
        self.tail.len() >= TAIL_ENTRIES_MAX
    }

    /// Nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.tail.is_empty()
    }

    /// Writes what is only in memory. On an error nothing is lost: the next flush writes the same bytes to the same place.
    pub(crate) fn flush(&mut self, file: &dyn DiskFile) -> io::Result<()> {
        if self.tail.is_empty() {
            return Ok(());
        }
        let bytes = self.tail.as_flattened();
        write_all_at(file, &mut [IoSlice::new(bytes)], u64::from(self.on_disk) * N as u64)?;
        self.on_disk += self.tail.len() as u32;
        self.tail.clear();
        Ok(())
    }

    /// Finds the last entry for which `wanted` holds (it must hold for a prefix), as far as memory can tell.
    pub(crate) fn probe(&self, wanted: impl Fn(&[u8; N]) -> bool) -> Probe<N> {
        match self.tail.partition_point(&wanted) {
            0 => Probe::OnDisk(self.on_disk),
            n => Probe::Found(self.tail[n - 1]),
        }
    }

    /// Drops entries for which `kept` does not hold (it must hold for a prefix); cuts the file too.
    pub(crate) fn truncate(&mut self, file: &dyn DiskFile, kept: impl Fn(&[u8; N]) -> bool) -> io::Result<()> {
        self.tail.truncate(self.tail.partition_point(&kept));
        if self.tail.is_empty() {
            self.on_disk = search_file(file, self.on_disk, &kept)?.map_or(0, |(at, _)| at + 1);
            file.set_len(u64::from(self.on_disk) * N as u64)?;
            self.last = match self.on_disk {
                0 => None,
                n => read_entry(file, n - 1)?,
            };
        } else {
            self.last = self.tail.last().copied();
        }
        Ok(())
    }
}

/// Binary search in the first `entries` entries of a file: the last one for which `wanted` holds, with its number.
pub(crate) fn search_file<const N: usize>(
    file: &dyn DiskFile,
    entries: u32,
    wanted: impl Fn(&[u8; N]) -> bool,
) -> io::Result<Option<(u32, [u8; N])>> {
    let (mut low, mut high) = (0, entries);
    let mut best = None;
    while low < high {
        let middle = low + (high - low) / 2;
        match read_entry(file, middle)? {
            Some(entry) if wanted(&entry) => {
                best = Some((middle, entry));
                low = middle + 1;
            }
            _ => high = middle,
        }
    }
    Ok(best)
}

/// One entry of a file; none behind its end.
pub(crate) fn read_entry<const N: usize>(file: &dyn DiskFile, at: u32) -> io::Result<Option<[u8; N]>> {
    let mut raw = [0; N];
    let read = read_full_at(file, &mut raw, u64::from(at) * N as u64)?;
    Ok((read == N).then_some(raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::{Disk, RealDisk};

    fn filled(file: &dyn DiskFile, written: i32, in_memory: i32) -> Index<OFFSET_ENTRY> {
        let mut index = Index::default();
        for n in 0..written {
            index.push(OffsetEntry { relative: n * 10, position: n as u32 * 100 }.encode());
        }
        index.flush(file).unwrap();
        for n in written..written + in_memory {
            index.push(OffsetEntry { relative: n * 10, position: n as u32 * 100 }.encode());
        }
        index
    }

    fn find(index: &Index<OFFSET_ENTRY>, file: &dyn DiskFile, target: i32) -> Option<u32> {
        let wanted = |raw: &[u8; OFFSET_ENTRY]| OffsetEntry::decode(raw).relative <= target;
        let raw = match index.probe(wanted) {
            Probe::Found(raw) => Some(raw),
            Probe::OnDisk(n) => search_file(file, n, wanted).unwrap().map(|(_, raw)| raw),
        };
        raw.map(|raw| OffsetEntry::decode(&raw).position)
    }

    #[test]
    fn a_search_finds_the_floor_on_disk_and_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("i"), true).unwrap();
        let index = filled(&*file, 7, 3);
        assert_eq!(find(&index, &*file, -1), None);
        for target in 0..120 {
            let expected = (target / 10).min(9) as u32 * 100;
            assert_eq!(find(&index, &*file, target), Some(expected), "target {target}");
        }
    }

    #[test]
    fn r22_truncation_cuts_memory_and_file() {
        for kept in 0..12 {
            let dir = tempfile::tempdir().unwrap();
            let file = RealDisk.open(&dir.path().join("i"), true).unwrap();
            let mut index = filled(&*file, 7, 3);
            index.truncate(&*file, |raw| OffsetEntry::decode(raw).relative < kept * 10).unwrap();
            index.flush(&*file).unwrap();
            let expected = kept.min(10) as usize;
            assert_eq!(index.entries(), expected);
            assert_eq!(file.size().unwrap(), (expected * OFFSET_ENTRY) as u64);
            assert_eq!(
                index.last().map(|raw| OffsetEntry::decode(raw).relative),
                (expected as i32 - 1).checked_mul(10).filter(|n| *n >= 0)
            );
        }
    }

    #[test]
    fn entries_have_kafkas_bytes() {
        assert_eq!(OffsetEntry { relative: 1, position: 258 }.encode(), [0, 0, 0, 1, 0, 0, 1, 2]);
        assert_eq!(TimeEntry { timestamp: 3, relative: 4 }.encode(), [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4]);
        let time = TimeEntry { timestamp: i64::MIN, relative: i32::MAX };
        assert_eq!(TimeEntry::decode(&time.encode()), time);
    }
}
