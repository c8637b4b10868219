//! One cleaning of one log.

use std::hash::RandomState;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use causeway_wire::records::{BatchView, DECOMPRESSED_BYTES_MAX, RecordError};

use super::super::error::LogError;
use super::super::names::{FileKind, segment_file};
use super::super::partition::Log;
use super::super::scan::{Found, HEADERS_CHUNK, RECOVERY_CHUNK, Scan};
use super::super::segment::Segment;
use super::super::txn_index::AbortedTxn;
use super::cleaner::Throttle;
use super::rewrite::{Writer, discard};
use super::{BATCH_BYTES_MAX, Halt, failed};
use crate::core::cleaning::filter::{Filter, last_of_producers, marker_verdict};
use crate::core::cleaning::offset_map::{OffsetMap, SLOT_BYTES};
use crate::core::cleaning::plan::{LagBounds, LogFacts, SegmentFacts, Window, groups};
use crate::core::cleaning::txns::CleanedTxns;
use crate::core::producer_state::CompletedTxn;

/// What a round may use.
pub(crate) struct Round<'a> {
    pub(crate) map_bytes_max: usize,
    pub(crate) now_ms: i64,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) throttle: &'a Throttle,
    /// Writes the checkpoints: the recovery point must be on disk before a segment with holes is.
    pub(crate) checkpoint: &'a dyn Fn() -> Result<(), LogError>,
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cleaned {
    /// Records from here on are dirty now.
    pub(crate) to: i64,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
    pub(crate) records_before: u64,
    pub(crate) records_after: u64,
    /// Filled part of the memory allowed for the offset map.
    pub(crate) map_used: f64,
}

impl Log {
    /// Offset up to which the log was compacted, if ever.
    pub(crate) fn cleaned_to(&self) -> Option<i64> {
        Some(self.cleaned_to.load(Ordering::Acquire)).filter(|to| *to >= 0)
    }

    /// The settings that compaction follows; none if the log is not compacted.
    pub(crate) fn lag_bounds(&self) -> Option<LagBounds> {
        let config = self.config();
        config.compact.then(|| LagBounds {
            min_ms: config.min_compaction_lag_ms,
            max_ms: config.max_compaction_lag_ms,
            dirty_ratio_min: f64::from(config.dirty_ratio_min_ppm) / 1e6,
        })
    }

    /// What there is to decide on. Reads the head of segments that may be dirty if `max.compaction.lag.ms` is set.
    pub(crate) fn clean_facts(&self, bounds: &LagBounds) -> Result<LogFacts, LogError> {
        let (dir, mut facts) = {
            let mut inner = self.lock();
            self.check_open(&inner)?;
            let active_base = inner.active().base;
            let nexts = inner.segments.keys().skip(1).copied();
            let sealed = inner.segments.values().zip(nexts).map(|(segment, next)| SegmentFacts {
                base: segment.base,
                next,
                bytes: segment.size,
                index_bytes: segment.index.bytes().max(segment.times.bytes()) as u64,
                max_time_ms: segment.max_time,
                first_time_ms: None,
            });
            let open_txn = inner.producers.first_open_txn().unwrap_or(i64::MAX);
            let stable = open_txn.min(self.high_watermark()).min(self.mark.recovery_point());
            let facts = LogFacts {
                sealed: sealed.collect(),
                active_base,
                start: self.start_offset(),
                end: self.end_offset(),
                stable,
                cleaned_to: self.cleaned_to(),
            };
            (inner.dir.clone(), facts)
        };
        let from = facts.cleaned_to.unwrap_or(0);
        for segment in facts.sealed.iter_mut().filter(|segment| segment.next > from) {
            if bounds.max_ms < i64::MAX {
                segment.first_time_ms = self.first_time(&dir, segment)?;
            }
            if bounds.min_ms > 0 && segment.max_time_ms < 0 {
                segment.max_time_ms = self.modified_at(&dir, segment.base)?;
            }
        }
        Ok(facts)
    }

    fn first_time(&self, dir: &Path, segment: &SegmentFacts) -> Result<Option<i64>, LogError> {
        let path = segment_file(dir, segment.base, FileKind::Log);
        let file = self.env.disk.open(&path, false).map_err(failed("open", &path))?;
        let mut scan = Scan::new(&*file, 0, segment.bytes, HEADERS_CHUNK);
        Ok(match scan.step().map_err(failed("read", &path))? {
            Found::Batch(_, header) => Some(header.max_timestamp),
            Found::End | Found::Bad(..) => None,
        })
    }

    /// Cleans the window. On an early end what was swapped in so far stays: it is as good as before, only not all of it.
    pub(crate) fn clean(&self, facts: &LogFacts, window: &Window, round: &Round<'_>) -> Result<Cleaned, Halt> {
        let config = self.config();
        let dir = self.lock().dir.clone();
        let inside: Vec<SegmentFacts> =
            facts.sealed.iter().filter(|segment| segment.base < window.first_uncleanable).copied().collect();
        let dirty = inside.partition_point(|segment| segment.next <= window.first_dirty);
        let (map, mapped_to) = self.build_map(&dir, &inside[dirty..], window, round)?;
        let producers = last_of_producers(&self.lock().producers);
        let filter = Filter {
            map: &map,
            mapped_to,
            round_end: window.first_uncleanable,
            producers: &producers,
            now_ms: round.now_ms,
            delete_retention_ms: config.delete_retention_ms,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        };
        (round.checkpoint)()?;
        let mut done = Cleaned {
            to: mapped_to,
            map_used: (map.len() * SLOT_BYTES) as f64 / round.map_bytes_max.max(1) as f64,
            ..Cleaned::default()
        };
        let mut txns = CleanedTxns::default();
        let concerned = &inside[..inside.partition_point(|segment| segment.base < mapped_to)];
        for group in groups(concerned, config.segment_bytes, config.segment_index_bytes as u64) {
            let seen = self.generation();
            let new = self.rewrite(&dir, group, &filter, &mut txns, round, &mut done).inspect_err(|_| {
                if !self.lock().deleted
                    && let Err(error) = discard(&*self.env.disk, &dir, group[0].base)
                {
                    tracing::warn!(topic = self.topic(), partition = self.partition(), %error, "leftover of a cleaning");
                }
            })?;
            self.swap_in(new, group, seen, round.now_ms)?;
        }
        self.cleaned_to.fetch_max(mapped_to, Ordering::AcqRel);
        Ok(done)
    }

    /// Maps the keys of the dirty segments; returns the map and the offset up to which it holds all.
    fn build_map(
        &self,
        dir: &Path,
        dirty: &[SegmentFacts],
        window: &Window,
        round: &Round<'_>,
    ) -> Result<(OffsetMap<RandomState>, i64), Halt> {
        let keys = self.count_records(dir, dirty, round)?;
        let mut map = OffsetMap::new(keys, round.map_bytes_max, [RandomState::new(), RandomState::new()]);
        let mut txns = CleanedTxns::default();
        let mut mapped_to = window.first_dirty;
        for segment in dirty {
            self.announce(&mut txns, segment)?;
            let mut full = None;
            self.each_checked_batch(dir, segment, round, &mut |batch| {
                let header = &batch.header;
                if header.last_offset() < window.first_dirty {
                    return Ok(true);
                }
                let block = batch.decompress(DECOMPRESSED_BYTES_MAX)?;
                if header.attributes.is_control() {
                    marker_verdict(batch, &block, &mut txns)?;
                    return Ok(true);
                }
                if txns.on_data(header.producer_id, header.last_offset(), header.attributes.is_transactional()) {
                    return Ok(true);
                }
                for record in batch.walk(&block) {
                    let record = record?;
                    let offset = header.offset_at(record.offset_delta);
                    if let Some(key) = record.key
                        && offset >= window.first_dirty
                        && !map.put(key, offset)
                    {
                        full = Some(offset);
                        return Ok(false);
                    }
                }
                Ok(true)
            })?;
            if let Some(offset) = full {
                return Ok((map, offset));
            }
            mapped_to = segment.next;
        }
        Ok((map, mapped_to))
    }

    /// Records in dirty segments, by their headers: so many keys there can be at most.
    fn count_records(&self, dir: &Path, dirty: &[SegmentFacts], round: &Round<'_>) -> Result<usize, Halt> {
        let mut records = 0_usize;
        for segment in dirty {
            let path = segment_file(dir, segment.base, FileKind::Log);
            let file = self.open_source(&path, segment)?;
            let mut scan = Scan::new(&*file, 0, segment.bytes, HEADERS_CHUNK);
            while let Found::Batch(_, header) = scan.step().map_err(failed("read", &path))? {
                records = records.saturating_add(header.records_count.max(0) as usize);
                check(round.stop)?;
            }
            if records.saturating_mul(SLOT_BYTES) > round.map_bytes_max {
                break;
            }
        }
        Ok(records)
    }

    /// Tells the walk of the transactions that are aborted and reach into a segment.
    fn announce(&self, txns: &mut CleanedTxns, segment: &SegmentFacts) -> Result<(), LogError> {
        txns.announce(self.aborted_txns(segment.base, segment.next)?.iter().map(completed));
        Ok(())
    }

    fn rewrite<S: std::hash::BuildHasher>(
        &self,
        dir: &Path,
        group: &[SegmentFacts],
        filter: &Filter<'_, S>,
        txns: &mut CleanedTxns,
        round: &Round<'_>,
        done: &mut Cleaned,
    ) -> Result<Segment, Halt> {
        let created_ms = self.lock().segments.get(&group[0].base).map_or(round.now_ms, |segment| segment.created_ms);
        let interval = self.config().index_interval_bytes;
        let segment = Segment::new(group[0].base, created_ms);
        let mut writer = Writer::create(&*self.env.disk, dir, segment, interval)?;
        let mut failure = None;
        for source in group {
            self.announce(txns, source)?;
            self.each_checked_batch(dir, source, round, &mut |batch| {
                let kept = filter.next(batch, txns)?;
                done.bytes_before += batch.bytes.len() as u64;
                done.records_before += batch.header.records_count.max(0) as u64;
                done.records_after += kept.records as u64;
                if let Some(txn) = kept.aborted.as_ref().and_then(AbortedTxn::of) {
                    writer.note_aborted(txn);
                }
                if let Some(bytes) = &kept.bytes {
                    done.bytes_after += bytes.len() as u64;
                    round.throttle.spend(bytes.len());
                    failure = writer.push(bytes).err();
                }
                Ok(failure.is_none())
            })?;
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
        let newest = group.last().expect("a group has a segment");
        let modified_ms = self.modified_at(dir, newest.base)?;
        writer.write_out()?;
        // A failed flush is final for the directory, whatever it was of.
        Ok(writer.finish(modified_ms).inspect_err(|error| self.env.flusher.fail(error.to_string()))?)
    }

    fn open_source(&self, path: &Path, segment: &SegmentFacts) -> Result<Arc<dyn super::super::DiskFile>, Halt> {
        self.env.disk.open(path, false).map_err(|error| match self.lock().segments.contains_key(&segment.base) {
            true => Halt::Failed(failed("open", path)(error)),
            false => Halt::Changed,
        })
    }

    /// Calls `visit` with each batch of a segment, its CRC checked, until it says no.
    fn each_checked_batch(
        &self,
        dir: &Path,
        segment: &SegmentFacts,
        round: &Round<'_>,
        visit: &mut dyn FnMut(&BatchView) -> Result<bool, RecordError>,
    ) -> Result<(), Halt> {
        let path = segment_file(dir, segment.base, FileKind::Log);
        let file = self.open_source(&path, segment)?;
        let corrupt = |what: String| LogError::Corrupt { path: path.clone(), what };
        let mut scan = Scan::new(&*file, 0, segment.bytes, RECOVERY_CHUNK);
        let mut end = segment.base;
        loop {
            check(round.stop)?;
            let (pos, header) = match scan.step().map_err(failed("read", &path))? {
                Found::End => return Ok(()),
                Found::Bad(pos, why) => return Err(corrupt(format!("at byte {pos}: {why}")).into()),
                Found::Batch(pos, header) => (pos, header),
            };
            let offset = header.base_offset;
            if header.size() > BATCH_BYTES_MAX || offset < end || header.last_offset() >= segment.next {
                return Err(corrupt(format!("batch at offset {offset} of {} bytes cannot be", header.size())).into());
            }
            end = header.next_offset();
            round.throttle.spend(header.size());
            let bytes = scan.buffered_bytes(pos, &header).map_err(failed("read", &path))?;
            let bytes = bytes.ok_or_else(|| corrupt(format!("batch at offset {offset} is cut off")))?;
            let batch = BatchView { header, bytes };
            // A new CRC must never be written over damaged bytes.
            let visited = batch.verify_crc().and_then(|()| visit(&batch));
            if !visited.map_err(|error| corrupt(format!("batch at offset {offset}: {error}")))? {
                return Ok(());
            }
        }
    }
}

fn completed(txn: &AbortedTxn) -> CompletedTxn {
    let AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset } = *txn;
    CompletedTxn { producer_id, first_offset, last_offset, commit: false, last_stable_offset }
}

fn check(stop: &AtomicBool) -> Result<(), Halt> {
    if stop.load(Ordering::Relaxed) { Err(Halt::Stopped) } else { Ok(()) }
}
