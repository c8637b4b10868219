//! `.txnindex`: the aborted transactions whose markers stand in a segment (KIP-98), for readers of `read_committed`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, read_file, write_all_at};
use super::error::LogError;
use super::names::{FileKind, segment_file};
use super::segment::Segment;
use crate::core::producer_state::CompletedTxn;

/// Version i16, then producer id, first offset, last offset, last stable offset as i64.
const ENTRY_BYTES: usize = 34;
const VERSION: i16 = 0;

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Producer id.
    pub producer_id: i64,
    /// First offset of the transaction on this partition.
    pub first_offset: i64,
    /// Offset of the abort marker.
    pub last_offset: i64,
    /// Last stable offset when the marker was written.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    /// The entry of an ended transaction, if it was aborted.
    pub(crate) fn of(txn: &CompletedTxn) -> Option<Self> {
        let CompletedTxn { producer_id, first_offset, last_offset, commit, last_stable_offset } = *txn;
        (!commit).then_some(Self { producer_id, first_offset, last_offset, last_stable_offset })
    }

    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut raw = [0; ENTRY_BYTES];
        raw[..2].copy_from_slice(&VERSION.to_be_bytes());
        let fields = [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset];
        for (slot, field) in raw[2..].chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_be_bytes());
        }
        raw
    }

    fn decode(raw: &[u8]) -> Option<Self> {
        let (version, rest) = raw.split_first_chunk::<2>()?;
        if i16::from_be_bytes(*version) != VERSION {
            return None;
        }
        let mut fields = rest.chunks_exact(8).map(|raw| i64::from_be_bytes(raw.try_into().expect("chunks of 8")));
        let mut next = || fields.next();
        Some(Self { producer_id: next()?, first_offset: next()?, last_offset: next()?, last_stable_offset: next()? })
    }
}

/// An append that can be taken back while the log file's write is still open.
pub(crate) struct TxnAppend {
    file: Arc<dyn DiskFile>,
    before: u64,
}

impl TxnAppend {
    pub(crate) fn undo(self) -> io::Result<()> {
        self.file.set_len(self.before)
    }
}

/// Adds entries to a segment's file; the file is made with the first one.
pub(crate) fn append(disk: &dyn Disk, path: &Path, txns: &[AbortedTxn]) -> Result<Option<TxnAppend>, LogError> {
    if txns.is_empty() {
        return Ok(None);
    }
    let fail = |error: io::Error| LogError::io("append to", path, &error);
    let file = disk.open(path, true).map_err(fail)?;
    // A part of an entry is the rest of an append that failed; behind it every later one would be misread.
    let before = file.size().map_err(fail)? / ENTRY_BYTES as u64 * ENTRY_BYTES as u64;
    let raw: Vec<u8> = txns.iter().flat_map(AbortedTxn::encode).collect();
    if let Err(error) = write_all_at(&*file, &mut [IoSlice::new(&raw)], before) {
        // Whole entries among what was written would tell of markers that are not there. If they stay all the same, the transactions they name are
        // aborted ones whose markers will be written again.
        let _ = file.set_len(before);
        return Err(fail(error));
    }
    Ok(Some(TxnAppend { file, before }))
}

/// The whole entries of a segment's file, in the order of their markers; none if there is no file.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<AbortedTxn>, LogError> {
    let raw = read_file(disk, path)?.unwrap_or_default();
    Ok(raw.chunks_exact(ENTRY_BYTES).map_while(AbortedTxn::decode).collect())
}

/// Writes a recovered segment's file anew from the transactions that `ended` in the log; there is none if none was aborted in it.
pub(crate) fn rewrite(
    disk: &dyn Disk,
    dir: &Path,
    base: i64,
    segments: &BTreeMap<i64, Segment>,
    ended: &[CompletedTxn],
) -> Result<(), LogError> {
    let path = segment_file(dir, base, FileKind::TxnIndex);
    let next = segments.range(base + 1..).next().map_or(i64::MAX, |(next, _)| *next);
    let inside = ended.iter().filter(|txn| (base..next).contains(&txn.last_offset));
    let aborted: Vec<AbortedTxn> = inside.filter_map(AbortedTxn::of).collect();
    match disk.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(LogError::io("remove", &path, &error)),
        _ => {}
    }
    append(disk, &path, &aborted).map(|_| ())
}

/// CRCs of a partition's files, which have none: one `base length crc` per line. A line that does not fit its file's length is of an older one. Kafka pays
/// no attention to the file.
const CHECKSUMS: &str = "causeway-txnindex-checksums";

type Checksums = BTreeMap<i64, (usize, u32)>;

fn checksums(disk: &dyn Disk, dir: &Path) -> Result<Checksums, LogError> {
    let text = String::from_utf8(read_file(disk, &dir.join(CHECKSUMS))?.unwrap_or_default()).unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let (base, length) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((base, (length, words.next()?.parse().ok()?)))
    };
    Ok(text.lines().filter_map(parse).collect())
}

/// Notes the CRC of a segment's file that will not grow any more. Without it the file is believed, as Kafka does: it is not flushed, and need not be there.
pub(crate) fn note_checksum(disk: &dyn Disk, dir: &Path, segment: &Segment) {
    if !segment.no_aborts
        && let Err(error) = try_note_checksum(disk, dir, segment.base)
    {
        tracing::warn!(%error, "checksum of a list of aborted transactions not written");
    }
}

fn try_note_checksum(disk: &dyn Disk, dir: &Path, base: i64) -> Result<(), LogError> {
    let Some(raw) = read_file(disk, &segment_file(dir, base, FileKind::TxnIndex))? else { return Ok(()) };
    let mut all = checksums(disk, dir)?;
    all.insert(base, (raw.len(), crc32c::crc32c(&raw)));
    let text: String = all.iter().map(|(base, (length, crc))| format!("{base} {length} {crc}\n")).collect();
    let path = dir.join(CHECKSUMS);
    let written = disk.open(&path, true).and_then(|file| {
        file.set_len(0)?;
        write_all_at(&*file, &mut [IoSlice::new(text.as_bytes())], 0)
    });
    written.map_err(|error| LogError::io("write", &path, &error))
}

/// Those of the `found` files that are not what they were.
pub(crate) fn damaged(disk: &dyn Disk, dir: &Path, found: &BTreeSet<i64>) -> Result<Vec<i64>, LogError> {
    let mut damaged = Vec::new();
    for (base, (length, crc)) in checksums(disk, dir)?.into_iter().filter(|(base, _)| found.contains(base)) {
        let raw = read_file(disk, &segment_file(dir, base, FileKind::TxnIndex))?.unwrap_or_default();
        if raw.len() == length && crc32c::crc32c(&raw) != crc {
            damaged.push(base);
        }
    }
    Ok(damaged)
}

/// Notes which segments have no file: of those `touched` by recovery it was written anew, the others had one if they are among `found`.
pub(crate) fn look(
    disk: &dyn Disk,
    dir: &Path,
    segments: &mut BTreeMap<i64, Segment>,
    touched: &BTreeSet<i64>,
    found: &BTreeSet<i64>,
) -> Result<(), LogError> {
    for (base, segment) in segments {
        let path = segment_file(dir, *base, FileKind::TxnIndex);
        segment.no_aborts = match touched.contains(base) {
            true => disk.stat(&path).map_err(|error| LogError::io("look at", &path, &error))?.is_none(),
            false => !found.contains(base),
        };
    }
    Ok(())
}

/// Keeps the entries whose marker lies before `end`.
pub(crate) fn truncate(disk: &dyn Disk, path: &Path, end: i64) -> Result<(), LogError> {
    let fail = |error: io::Error| LogError::io("truncate", path, &error);
    if disk.stat(path).map_err(fail)?.is_none() {
        return Ok(());
    }
    let kept = read(disk, path)?.iter().take_while(|txn| txn.last_offset < end).count();
    let file = disk.open(path, false).map_err(fail)?;
    file.set_len((kept * ENTRY_BYTES) as u64).map_err(fail)
}
