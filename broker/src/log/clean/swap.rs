//! A compacted segment takes the place of those it was made from, and what a crash left of that is finished or taken back.
//!
//! Steps, each on disk before the next: `.cleaned` files whole · renamed to `.swap`: from here on the new segment counts · the old segments but the first go ·
//! `.swap` of the log gets its name, replacing the first one · the other files follow. Kafka reads the same states the same way.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::super::disk::{Disk, DiskFile};
use super::super::error::LogError;
use super::super::names::{CLEANED, DELETED, FileKind, SWAP, parse_segment_file, segment_file, segment_file_as};
use super::super::partition::{Inner, Log};
use super::super::scan::{Found, HEADERS_CHUNK, Scan};
use super::super::segment::Segment;
use super::{Halt, failed, rewrite};
use crate::core::cleaning::plan::SegmentFacts;

/// Files besides the log itself.
const SIDE_FILES: [FileKind; 3] = [FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex];

impl Log {
    /// Puts the finished segment in the place of its sources, unless the log has changed since generation `seen`.
    pub(crate) fn swap_in(&self, new: Segment, sources: &[SegmentFacts], seen: u64, now_ms: i64) -> Result<(), Halt> {
        let mut inner = self.lock();
        let base = new.base;
        let (disk, dir) = (&*self.env.disk, inner.dir.clone());
        let same = |source: &SegmentFacts| inner.segments.get(&source.base).is_some_and(|it| it.size == source.bytes);
        if self.check_open(&inner).is_err() || self.generation() != seen || !sources.iter().all(same) {
            if !inner.deleted {
                rewrite::discard(disk, &dir, base)?;
            }
            return Err(Halt::Changed);
        }
        let swapped = self.swap_files(&mut inner, base, sources, now_ms);
        // What is on the disk now is whole, but not what memory says: only a restart may go on.
        swapped.inspect_err(|error| self.env.flusher.fail(error.to_string()))?;
        for source in &sources[1..] {
            inner.segments.remove(&source.base);
        }
        inner.segments.insert(base, new);
        let gone: BTreeSet<i64> = sources[1..].iter().map(|source| source.base).collect();
        let newest = inner.snapshots.last().copied();
        self.drop_snapshots(&mut inner, |at| gone.contains(&at) && Some(at) != newest)?;
        Ok(())
    }

    fn swap_files(&self, inner: &mut Inner, base: i64, sources: &[SegmentFacts], now_ms: i64) -> Result<(), LogError> {
        let (disk, dir) = (&*self.env.disk, inner.dir.clone());
        let sync = || disk.sync_dir(&dir).map_err(failed("flush", &dir));
        let due = now_ms.saturating_add(inner.config.file_delete_delay_ms);
        sync()?;
        for kind in SIDE_FILES {
            rename(disk, &dir, base, kind, CLEANED, SWAP)?;
        }
        rename(disk, &dir, base, FileKind::Log, CLEANED, SWAP)?;
        sync()?;
        self.begin_generation();
        for source in sources[1..].iter().rev() {
            for kind in FileKind::OF_SEGMENT {
                if rename(disk, &dir, source.base, kind, "", DELETED)? {
                    inner.trash.push((due, segment_file_as(&dir, source.base, kind, DELETED)));
                }
            }
        }
        if rename(disk, &dir, base, FileKind::TxnIndex, "", DELETED)? {
            inner.trash.push((due, segment_file_as(&dir, base, FileKind::TxnIndex, DELETED)));
        }
        sync()?;
        finish(disk, &dir, base)
    }
}

/// Gives a new segment its names; the log first: once it has its name, side files only wait for theirs.
fn finish(disk: &dyn Disk, dir: &Path, base: i64) -> Result<(), LogError> {
    rename(disk, dir, base, FileKind::Log, SWAP, "")?;
    disk.sync_dir(dir).map_err(failed("flush", dir))?;
    for kind in SIDE_FILES {
        rename(disk, dir, base, kind, SWAP, "")?;
    }
    disk.sync_dir(dir).map_err(failed("flush", dir))
}

/// Whether there was such a file.
fn rename(disk: &dyn Disk, dir: &Path, base: i64, kind: FileKind, from: &str, to: &str) -> Result<bool, LogError> {
    let from = segment_file_as(dir, base, kind, from);
    match disk.rename(&from, &segment_file_as(dir, base, kind, to)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("rename", &from)(error)),
    }
}

/// Finishes or takes back what a crash left of a swap, ours or Kafka's. `names` are the files of the directory; returns whether anything changed.
pub(crate) fn settle_swaps<'a>(
    disk: &dyn Disk,
    dir: &Path,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<bool, LogError> {
    let with = |ending: &'static str| {
        names.clone().filter_map(move |name| parse_segment_file(name.strip_suffix(ending)?)).collect::<Vec<_>>()
    };
    let (cleaned, mut swaps) = (with(CLEANED), with(SWAP));
    if cleaned.is_empty() && swaps.is_empty() {
        return Ok(false);
    }
    let sync = || disk.sync_dir(dir).map_err(failed("flush", dir));
    // Where a `.cleaned` file is left, renaming to `.swap` was not through, and all old segments are still there.
    let unfinished = cleaned.iter().map(|(base, _)| *base).min().unwrap_or(i64::MAX);
    let (valid, undone): (Vec<_>, Vec<_>) = swaps.drain(..).partition(|(base, _)| *base < unfinished);
    for (base, kind) in undone {
        remove(disk, &segment_file_as(dir, base, kind, SWAP))?;
    }
    sync()?;
    for (base, kind) in cleaned {
        remove(disk, &segment_file_as(dir, base, kind, CLEANED))?;
    }
    let logs: Vec<i64> = valid.iter().filter(|(_, kind)| *kind == FileKind::Log).map(|(base, _)| *base).collect();
    for &base in &logs {
        let next = next_offset(disk, &segment_file_as(dir, base, FileKind::Log, SWAP), base)?;
        tracing::info!(dir = %dir.display(), base, next, "finishing the swap of a compacted segment");
        for (old, kind) in names.clone().filter_map(parse_segment_file) {
            let replaced = if old == base { kind != FileKind::Log } else { (base..next).contains(&old) };
            if replaced && kind != FileKind::Snapshot {
                remove(disk, &segment_file(dir, old, kind))?;
            }
        }
    }
    sync()?;
    let bases: BTreeSet<i64> = valid.iter().map(|(base, _)| *base).collect();
    bases.into_iter().try_for_each(|base| finish(disk, dir, base))?;
    Ok(true)
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The offset after the last batch of a log file.
fn next_offset(disk: &dyn Disk, path: &Path, base: i64) -> Result<i64, LogError> {
    let file = disk.open(path, false).map_err(failed("open", path))?;
    let size = file.size().map_err(failed("read", path))?;
    let mut scan = Scan::new(&*file as &dyn DiskFile, 0, size, HEADERS_CHUNK);
    let mut next = base;
    while let Found::Batch(_, header) = scan.step().map_err(failed("read", path))? {
        next = header.next_offset();
    }
    Ok(next)
}
