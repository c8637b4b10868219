//! Opening a partition. After a clean stop the files are trusted after a look at them; otherwise everything from the recovery point on is read, checked and, from
//! the first bad byte on, cut off (law R24). Log, indexes, epochs and producer state are brought to the same end (law R22).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};

use causeway_wire::records::BatchHeader;

use super::clean::settle_swaps;
use super::disk::{Disk, DiskFile, read_file};
use super::epochs::Epochs;
use super::error::LogError;
use super::flush::FlushMark;
use super::forced::Forced;
use super::names::{EPOCH_CHECKPOINT, FileKind, parse_segment_file, segment_file};
use super::partition::{DirEnv, Inner, Log, next_log_id};
use super::replay::replay;
use super::scan::{Found, HEADERS_CHUNK, RECOVERY_CHUNK, Scan};
use super::segment::{Segment, create_segment_files};
use super::{LogConfig, meta, snapshot, txn_index};
use crate::core::producer_state::ProducerState;
use crate::core::verification::Verifications;

/// What opening a partition found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Bytes of log whose batches were checked.
    pub scanned_bytes: u64,
    /// Bytes cut off because they were no whole, sound batches.
    pub cut_bytes: u64,
    /// Segments dropped because they came after such bytes.
    pub dropped_segments: usize,
    /// Segments whose indexes were made anew.
    pub rebuilt_indexes: usize,
    /// What was wrong at the first cut.
    pub cause: Option<String>,
    /// Log end after it.
    pub end_offset: i64,
    /// The log ends before the checkpointed high watermark: this replica has lost something that was committed.
    pub lost_committed: bool,
}

impl RecoveryReport {
    /// Says so where something was lost.
    pub(crate) fn tell(&self) {
        let Self { topic, partition, cut_bytes, dropped_segments, end_offset, lost_committed, cause, .. } = self;
        if cause.is_some() || *lost_committed {
            let cause = cause.as_deref().unwrap_or("it ends before what was committed");
            tracing::warn!(
                topic,
                partition,
                cause,
                cut_bytes,
                dropped_segments,
                end_offset,
                lost_committed,
                "log cut at its first damaged byte"
            );
        }
    }
}

/// What is known about a partition from the checkpoints of its directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenHints {
    pub(crate) config: LogConfig,
    pub(crate) clean: bool,
    pub(crate) recovery_point: i64,
    /// Log start inside of a segment; none if it is where the first segment begins.
    pub(crate) start: Option<i64>,
    /// Whether the file that says so could be read.
    pub(crate) starts_known: bool,
    pub(crate) high_watermark: i64,
    /// Compacted up to here, -1 for never or not known.
    pub(crate) cleaned_to: i64,
    pub(crate) now_ms: i64,
}

pub(super) struct Opening<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) hints: OpenHints,
    /// Epochs as checkpointed; `None` if that file is missing, empty or damaged.
    pub(super) known: Option<Epochs>,
    pub(super) epochs: Epochs,
    /// Leader epoch of the last batch, if that was read.
    pub(super) last_epoch: Option<i32>,
    pub(super) report: RecoveryReport,
    /// Files to flush before the log is served.
    pub(super) touched: BTreeSet<i64>,
    /// Segments that had a `.txnindex`.
    pub(super) with_aborts: BTreeSet<i64>,
}

impl Log {
    /// Opens the partition in `dir`, making an empty log if there is none.
    pub(crate) fn open(
        env: Arc<DirEnv>,
        dir: &Path,
        topic: &str,
        partition: i32,
        hints: OpenHints,
    ) -> Result<(Self, RecoveryReport), LogError> {
        let disk = env.disk.clone();
        let known = read_file(&*disk, &dir.join(EPOCH_CHECKPOINT))?
            .and_then(|raw| String::from_utf8(raw).ok())
            .and_then(|text| Epochs::decode(&text))
            .filter(|epochs| epochs.latest().is_some());
        let report = RecoveryReport { topic: topic.to_owned(), partition, ..RecoveryReport::default() };
        let epochs = known.clone().unwrap_or_default();
        let (touched, with_aborts) = (BTreeSet::new(), BTreeSet::new());
        let last_epoch = None;
        let mut opening = Opening { disk: &*disk, dir, hints, known, epochs, last_epoch, report, touched, with_aborts };
        let (bases, snapshots) = opening.list()?;
        opening.question_epochs(&bases)?;
        let start = opening.start(bases.first().copied().unwrap_or(0))?;
        let (mut segments, mut end) = opening.segments(&bases)?;
        opening.question(&segments, &snapshots, start, end)?;
        let start = start.max(segments.first_key_value().map_or(0, |(base, _)| *base));
        if end < start || segments.is_empty() {
            // The log start was moved past what is left of the log.
            opening.drop_segments(&segments.keys().copied().collect::<Vec<_>>())?;
            create_segment_files(&*disk, dir, start)?;
            opening.touched.insert(start);
            segments = BTreeMap::from([(start, Segment::new(start, hints.now_ms))]);
            end = start;
        }
        opening.settle_epochs(&segments, start, end)?;
        let (producers, snapshots) = opening.producers(&segments, snapshots, end)?;
        opening.flush_touched()?;
        txn_index::look(&*disk, dir, &mut segments, &opening.touched, &opening.with_aborts)?;
        let mut report = opening.report;
        report.end_offset = end;
        report.lost_committed = hints.high_watermark > end;
        let recovery_point = if hints.clean { hints.recovery_point.clamp(start, end) } else { end };
        let inner = Inner {
            dir: dir.into(),
            config: hints.config,
            segments,
            epochs: opening.epochs,
            producers,
            verifications: Verifications::default(),
            ended: BTreeMap::new(),
            snapshots,
            trash: Vec::new(),
            deleted: false,
            forced: Forced { end, at_ms: hints.now_ms },
        };
        let topic_id = Some(meta::read_topic_id(&*disk, dir)?).filter(|id| !id.is_zero());
        let log = Self {
            id: next_log_id(),
            topic_id: topic_id.map(OnceLock::from).unwrap_or_default(),
            env,
            topic: topic.to_owned(),
            partition,
            start: AtomicI64::new(start),
            end: AtomicI64::new(end),
            high_watermark: AtomicI64::new(hints.high_watermark.clamp(start, end)),
            mark: Arc::new(FlushMark::new(end, recovery_point)),
            generation: AtomicU64::new(0),
            cleaned_to: AtomicI64::new(hints.cleaned_to),
            inner: Mutex::new(inner),
        };
        Ok((log, report))
    }
}

impl Opening<'_> {
    /// Base offsets of segments and offsets of snapshots; leftovers are removed.
    fn list(&mut self) -> Result<(Vec<i64>, BTreeSet<i64>), LogError> {
        let (disk, dir) = (self.disk, self.dir);
        let list = || disk.list(dir).map_err(|error| LogError::io("list", dir, &error));
        let mut entries = list()?;
        if settle_swaps(disk, dir, entries.iter().map(|entry| entry.name.as_str()))? {
            entries = list()?;
        }
        let files: Vec<_> = entries.iter().filter(|entry| !entry.is_dir).collect();
        let named = |wanted: FileKind| {
            let parsed = files.iter().filter_map(|file| parse_segment_file(&file.name));
            parsed.filter(move |(_, kind)| *kind == wanted).map(|(base, _)| base)
        };
        let mut bases: Vec<i64> = named(FileKind::Log).collect();
        bases.sort_unstable();
        let snapshots = named(FileKind::Snapshot).collect();
        self.with_aborts = named(FileKind::TxnIndex).collect();
        for file in &files {
            let leftover = [".deleted", ".tmp", ".cleaned"].iter().any(|ending| file.name.ends_with(ending));
            let orphan = parse_segment_file(&file.name).is_some_and(|(base, kind)| {
                !matches!(kind, FileKind::Log | FileKind::Snapshot) && bases.binary_search(&base).is_err()
            });
            if leftover || orphan {
                self.remove(&self.dir.join(&file.name))?;
            }
        }
        Ok((bases, snapshots))
    }

    /// Opens or recovers all segments in order; returns them and the log's end.
    fn segments(&mut self, bases: &[i64]) -> Result<(BTreeMap<i64, Segment>, i64), LogError> {
        let mut segments = BTreeMap::new();
        let mut end = bases.first().copied().unwrap_or(0);
        // The recovery point lies in the last segment that starts at or before it.
        let doubt_from = match self.hints.clean {
            true => i64::MAX,
            false => bases.iter().rev().find(|base| **base <= self.hints.recovery_point).copied().unwrap_or(0),
        };
        for (at, &base) in bases.iter().enumerate() {
            let (later, next) = (&bases[at + 1..], bases.get(at + 1).copied());
            let hole = base > end && base >= doubt_from && !self.hole_may_be(end, base, false);
            if base < end || hole {
                self.refuse_after_clean_stop(base, &format!("it begins before the log's end {end}"))?;
                self.report
                    .cause
                    .get_or_insert_with(|| format!("segment {base} does not begin at the log's end {end}"));
                self.drop_segments(&bases[at..])?;
                break;
            }
            let trusted = if base < doubt_from { self.trust(base, next)? } else { None };
            let (segment, segment_end) = match trusted {
                Some(found) => found,
                None => self.recover(base, end, later)?,
            };
            // An end below the next base is a hole at the segment's end.
            end = segment_end.max(base);
            segments.insert(base, segment);
            if self.report.cause.is_some() {
                break;
            }
        }
        Ok((segments, end))
    }

    /// Reads a whole segment, checks every batch and writes the indexes anew. At the first bad batch the `later` segments are dropped and then the file is cut: were it
    /// the other way round, a crash in between would leave later segments that look as if they belonged to the log.
    fn recover(&mut self, base: i64, expected: i64, later: &[i64]) -> Result<(Segment, i64), LogError> {
        let file = self.open_log(base)?;
        let size = file.size().map_err(|error| self.fail(base, &error))?;
        let mut segment = Segment::new(base, self.hints.now_ms);
        let mut scan = Scan::new(&*file, 0, size, RECOVERY_CHUNK);
        let mut end = expected.max(base);
        let mut bad = None;
        while bad.is_none() {
            match scan.step().map_err(|error| self.fail(base, &error))? {
                Found::End => break,
                Found::Bad(_, why) => bad = Some(why),
                Found::Batch(pos, header) => {
                    bad = self.misplaced(&header, base, end, later.is_empty());
                    if bad.is_none() && !scan.crc_holds(pos, &header).map_err(|error| self.fail(base, &error))? {
                        bad = Some(format!("CRC of the batch at offset {} is wrong", header.base_offset));
                    }
                    if bad.is_none() {
                        end = header.next_offset();
                        self.last_epoch = Some(header.partition_leader_epoch);
                        self.note_epoch(&header);
                        segment.note(&header, self.hints.config.index_interval_bytes);
                    }
                }
            }
        }
        self.report.scanned_bytes += segment.size;
        if let Some(why) = bad {
            self.refuse_after_clean_stop(base, &why)?;
            self.report.cut_bytes += size - segment.size;
            self.drop_segments(later)?;
            self.report.cause.get_or_insert(format!("segment {base} at byte {}: {why}", segment.size));
            file.set_len(segment.size).map_err(|error| self.fail(base, &error))?;
        }
        self.rewrite_indexes(&mut segment)?;
        txn_index::truncate(self.disk, &segment_file(self.dir, base, FileKind::TxnIndex), end)?;
        self.report.rebuilt_indexes += 1;
        self.touched.insert(base);
        Ok((segment, end))
    }

    /// Why a batch cannot stand here, by the fields that its CRC does not cover.
    fn misplaced(&self, header: &BatchHeader, base: i64, end: i64, last: bool) -> Option<String> {
        let offset = header.base_offset;
        let gap = offset > end && !self.hole_may_be(end, offset, last);
        if offset < end || gap || header.last_offset() - base > i64::from(i32::MAX) {
            return Some(format!("offset {offset}, expected {end}"));
        }
        let epoch = header.partition_leader_epoch;
        // Every epoch is written down before its first record. Offsets before the first known epoch are those that DeleteRecords left in a segment.
        let expected = self.known.as_ref().and_then(|known| known.at(offset));
        match expected {
            Some(expected) if expected != epoch => Some(format!("leader epoch {epoch}, expected {expected}")),
            None if self.known.is_none() && self.epochs.latest().is_some_and(|latest| epoch < latest) => {
                Some(format!("leader epoch {epoch} after a newer one"))
            }
            _ => None,
        }
    }

    /// Whether offsets may be missing from `at` up to `to`. Compaction leaves holes only below the recovery point that is on disk, and never in the active segment;
    /// elsewhere a hole is a base offset gone wrong, which no CRC covers. A compacted log gets the benefit of the doubt: its recovery point may be another broker's.
    fn hole_may_be(&self, at: i64, to: i64, last_segment: bool) -> bool {
        let hints = &self.hints;
        let compacted = hints.config.compact || hints.cleaned_to >= 0;
        let sealed = !last_segment || hints.recovery_point == 0;
        hints.config.offset_gaps || (at < to && to <= hints.recovery_point) || (compacted && sealed)
    }

    fn rewrite_indexes(&self, segment: &mut Segment) -> Result<(), LogError> {
        segment.note_time();
        for kind in [FileKind::Index, FileKind::TimeIndex] {
            let path = segment_file(self.dir, segment.base, kind);
            let emptied = self.disk.open(&path, true).and_then(|file| file.set_len(0));
            emptied.map_err(|error| LogError::io("write", &path, &error))?;
        }
        segment.flush_indexes(self.disk, self.dir)
    }

    /// Producer state at `end`: a sound snapshot, and what came after it. Returns it and the snapshots kept. Aborted transactions of recovered segments are
    /// found on the way.
    fn producers(
        &mut self,
        segments: &BTreeMap<i64, Segment>,
        mut snapshots: BTreeSet<i64>,
        end: i64,
    ) -> Result<(ProducerState, BTreeSet<i64>), LogError> {
        let mut best = (ProducerState::default(), 0);
        while let Some(newest) = snapshots.last().copied() {
            if newest <= end
                && let Some(found) = snapshot::read(self.disk, self.dir, newest)?
            {
                best = (found, newest);
                break;
            }
            self.remove(&segment_file(self.dir, newest, FileKind::Snapshot))?;
            snapshots.remove(&newest);
        }
        if let Some(&doubt) = self.touched.first()
            && best.1 > doubt
            && let Some(&older) = snapshots.range(..=doubt).next_back()
            && segments.first_key_value().is_some_and(|(first, _)| *first <= older)
            && let Some(found) = snapshot::read(self.disk, self.dir, older)?
        {
            // Replaying all that was in doubt also tells which transactions were aborted there. (The log must reach back that far.)
            best = (found, older);
        }
        let (snapshot, from) = best;
        // After a clean stop the snapshot says all, and nothing of the last segment is read.
        let (mut state, ended) = match from == end {
            true => (snapshot, Vec::new()),
            false => replay(self.disk, self.dir, segments, snapshot, from)?,
        };
        let first = segments.first_key_value().map_or(from, |(first, _)| *first);
        let ended = match self.touched.first() {
            // No snapshot reaches back to what was in doubt, so the whole log has to tell which transactions were aborted: their index was not flushed.
            Some(&doubt) if from > doubt => replay(self.disk, self.dir, segments, ProducerState::default(), first)?.1,
            _ => ended,
        };
        for &base in &self.touched {
            txn_index::rewrite(self.disk, self.dir, base, segments, &ended)?;
        }
        state.expire(self.hints.now_ms, self.hints.config.producer_id_expiration_ms);
        Ok((state, snapshots))
    }

    pub(super) fn each_batch(
        &mut self,
        segments: &BTreeMap<i64, Segment>,
        from: i64,
        mut visit: impl FnMut(&mut Self, u64, &BatchHeader) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        for segment in segments.values().filter(|segment| segment.size > 0) {
            let file = self.open_log(segment.base)?;
            let mut scan = Scan::new(&*file, 0, segment.size, HEADERS_CHUNK);
            while let Found::Batch(pos, header) = scan.step().map_err(|error| self.fail(segment.base, &error))? {
                if header.base_offset >= from {
                    visit(self, pos, &header)?;
                }
            }
        }
        Ok(())
    }

    /// Removes segments, the last one first and each for good before the next: at no time is there a hole.
    fn drop_segments(&mut self, bases: &[i64]) -> Result<(), LogError> {
        for base in bases.iter().rev() {
            for kind in FileKind::OF_SEGMENT {
                self.remove(&segment_file(self.dir, *base, kind))?;
            }
            self.disk.sync_dir(self.dir).map_err(|error| LogError::io("flush", self.dir, &error))?;
            self.touched.remove(base);
            self.report.dropped_segments += 1;
        }
        Ok(())
    }

    fn flush_touched(&self) -> Result<(), LogError> {
        if self.touched.is_empty() {
            return Ok(());
        }
        for base in &self.touched {
            for kind in FileKind::OF_SEGMENT {
                let path = segment_file(self.dir, *base, kind);
                match self.disk.open(&path, false) {
                    Ok(file) => file.sync().map_err(|error| LogError::io("flush", &path, &error))?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(LogError::io("open", &path, &error)),
                }
            }
        }
        self.disk.sync_dir(self.dir).map_err(|error| LogError::io("flush", self.dir, &error))
    }

    pub(super) fn open_log(&self, base: i64) -> Result<Arc<dyn DiskFile>, LogError> {
        self.disk.open(&segment_file(self.dir, base, FileKind::Log), false).map_err(|error| self.fail(base, &error))
    }

    pub(super) fn fail(&self, base: i64, error: &io::Error) -> LogError {
        LogError::io("recover", &segment_file(self.dir, base, FileKind::Log), error)
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), LogError> {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", path, &error)),
            _ => Ok(()),
        }
    }
}
