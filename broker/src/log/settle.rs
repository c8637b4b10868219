//! What the small files of a partition say, held against the log and against each other: none of them has a checksum.

use std::collections::{BTreeMap, BTreeSet};

use causeway_wire::records::BatchHeader;

use super::checkpoint::{CLEAN_SHUTDOWN, LOG_STARTS};
use super::disk::replace_file;
use super::epochs::Epochs;
use super::error::LogError;
use super::locate::Place;
use super::names::{EPOCH_CHECKPOINT, FileKind, segment_file};
use super::recover::Opening;
use super::segment::Segment;
use super::txn_index;

impl Opening<'_> {
    /// Damage after a clean stop is no torn write that may be cut off: everything there was on the disk, and most of it still is.
    pub(super) fn refuse_after_clean_stop(&self, base: i64, why: &str) -> Result<(), LogError> {
        if !self.hints.clean {
            return Ok(());
        }
        let what = format!("{why}; without {CLEAN_SHUTDOWN} in the log directory the next start cuts the log there");
        Err(LogError::Corrupt { path: segment_file(self.dir, base, FileKind::Log), what })
    }

    /// Holds what else there is against the segments.
    pub(super) fn question(
        &mut self,
        segments: &BTreeMap<i64, Segment>,
        snapshots: &BTreeSet<i64>,
        start: i64,
        end: i64,
    ) -> Result<(), LogError> {
        self.question_end(snapshots, end)?;
        if end < self.hints.start.unwrap_or(0) {
            self.refuse_after_clean_stop(0, &format!("it ends at {end}, before the log's start {start}"))?;
        }
        self.question_aborts(segments)
    }

    /// Lists of aborted transactions that are damaged are made anew from the log. Not where compaction writes them, and may have taken from the log what
    /// they tell of.
    fn question_aborts(&mut self, segments: &BTreeMap<i64, Segment>) -> Result<(), LogError> {
        if self.hints.config.compact || self.hints.cleaned_to >= 0 {
            return Ok(());
        }
        for base in txn_index::damaged(self.disk, self.dir, &self.with_aborts)? {
            if segments.contains_key(&base) && self.touched.insert(base) {
                let path = segment_file(self.dir, base, FileKind::TxnIndex);
                tracing::warn!(path = %path.display(), "a list of aborted transactions is damaged and made anew");
            }
        }
        Ok(())
    }

    /// After a clean stop the newest snapshot of producers was taken at the log's end.
    fn question_end(&self, snapshots: &BTreeSet<i64>, end: i64) -> Result<(), LogError> {
        // Kafka takes one only where there is something new.
        let taken = |at: &i64| *at > end || (*at < end && !self.hints.config.offset_gaps);
        match snapshots.last().copied().filter(taken) {
            Some(at) if self.report.cause.is_none() => {
                let base = snapshots.first().copied().unwrap_or(0);
                self.refuse_after_clean_stop(
                    base.max(0),
                    &format!("the log ends at {end}, when it was closed it was {at}"),
                )
            }
            _ => Ok(()),
        }
    }

    /// Drops the epochs of the checkpoint if they are not those of the batches at their borders.
    pub(super) fn question_epochs(&mut self, bases: &[i64]) -> Result<(), LogError> {
        let Some(known) = self.known.clone() else { return Ok(()) };
        for (epoch, start) in known.iter() {
            let before = start.checked_sub(1).filter(|before| bases.first().is_some_and(|first| before >= first));
            let before = before.and_then(|before| Some((known.at(before)?, before)));
            for (epoch, offset) in [Some((epoch, start)), before].into_iter().flatten() {
                if !self.is_of_epoch(bases, epoch, offset)? {
                    tracing::warn!(
                        topic = self.report.topic,
                        partition = self.report.partition,
                        "{EPOCH_CHECKPOINT} does not fit the log, whose epochs are taken"
                    );
                    (self.known, self.epochs) = (None, Epochs::default());
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether the batch that holds `offset` was written in `epoch`, as far as can be told.
    fn is_of_epoch(&self, bases: &[i64], epoch: i32, offset: i64) -> Result<bool, LogError> {
        let agrees = |header: &BatchHeader| [epoch, -1].contains(&header.partition_leader_epoch);
        match self.batch_at(bases, offset)? {
            Some(header) if !agrees(&header) => {
                // One that is alone in it is damaged itself.
                let next = self.batch_at(bases, header.next_offset())?;
                Ok(next.is_some_and(|next| agrees(&next)))
            }
            _ => Ok(true),
        }
    }

    /// The batch that holds `offset`; none if there is none, or if it cannot be found for damage.
    fn batch_at(&self, bases: &[i64], offset: i64) -> Result<Option<BatchHeader>, LogError> {
        let Some(base) = bases.iter().rev().find(|base| **base <= offset).copied() else { return Ok(None) };
        let file = self.open_log(base)?;
        let size = file.size().map_err(|error| self.fail(base, &error))?;
        let found = Place { file: &*file, dir: self.dir, base, size }.find_by_file(self.disk, offset);
        Ok(found.unwrap_or_default().map(|(_, header)| header).filter(|header| header.base_offset <= offset))
    }

    /// Where the log starts. `DeleteRecords` writes it down twice: the first known epoch begins there too.
    pub(super) fn start(&self, first: i64) -> Result<i64, LogError> {
        let told = self.hints.start.filter(|start| *start > first);
        let epochs = self.known.as_ref().and_then(|known| known.iter().next()).map(|(_, start)| start);
        // What Kafka wrote may have begun to count epochs later.
        let Some(epochs) = epochs.filter(|_| !self.hints.config.offset_gaps) else { return Ok(told.unwrap_or(first)) };
        match told {
            // It was written after the epochs were.
            Some(told) if told > epochs || (told < epochs && self.hints.clean) => Err(LogError::Corrupt {
                path: self.dir.join(EPOCH_CHECKPOINT),
                what: format!(
                    "it says that the log starts at {epochs}, but {LOG_STARTS} says {told}; remove the wrong one"
                ),
            }),
            Some(told) => Ok(told),
            None if !self.hints.starts_known && epochs > first => {
                tracing::warn!(
                    topic = self.report.topic,
                    partition = self.report.partition,
                    start = epochs,
                    "{LOG_STARTS} is damaged or missing, the log starts where {EPOCH_CHECKPOINT} says"
                );
                Ok(epochs)
            }
            None => Ok(first),
        }
    }

    /// Brings the epochs to the log's ends; finds them in the log if their file is lost, or was cut for a log start that was not written down before the crash.
    pub(super) fn settle_epochs(
        &mut self,
        segments: &BTreeMap<i64, Segment>,
        start: i64,
        end: i64,
    ) -> Result<(), LogError> {
        let fits = |known: &Epochs| start >= end || (known.at(start).is_some() && self.is_last(known, end));
        if !self.known.as_ref().is_some_and(fits) {
            self.known = None;
            self.epochs = Epochs::default();
            self.each_batch(segments, 0, |opening, _, header| {
                opening.note_epoch(header);
                Ok(())
            })?;
        }
        self.epochs.truncate_end(end);
        self.epochs.truncate_start(start);
        if self.known.as_ref() != Some(&self.epochs) {
            replace_file(self.disk, &self.dir.join(EPOCH_CHECKPOINT), self.epochs.encode().as_bytes())?;
        }
        Ok(())
    }

    /// Whether the last batch is of the epoch that is known for it. Every epoch is written down before its first batch: where none is known beyond the log's
    /// end, it is the batch that is damaged.
    fn is_last(&self, known: &Epochs, end: i64) -> bool {
        let there = known.at(end - 1);
        there == known.latest() || self.last_epoch.is_none_or(|last| last < 0 || there == Some(last))
    }

    pub(super) fn note_epoch(&mut self, header: &BatchHeader) {
        if self.known.is_none() && header.partition_leader_epoch >= 0 {
            self.epochs.assign(header.partition_leader_epoch, header.base_offset);
        }
    }
}
