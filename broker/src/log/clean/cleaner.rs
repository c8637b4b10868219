//! Which log is cleaned next, and what is known of all that were.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::error::LogError;
use super::super::manager::LogManager;
use super::super::partition::Log;
use super::Halt;
use super::round::{Cleaned, Round};
use crate::core::cleaning::plan::{LogFacts, Window, window};

/// Longest pause at once, so that a stop is seen soon.
const THROTTLE_NAP_MAX: Duration = Duration::from_millis(200);

/// How logs are compacted (`log.cleaner.*`).
#[derive(Debug, Clone, Copy)]
pub struct CleanerConfig {
    /// Most memory for the offset map of one cleaning, bytes (`log.cleaner.dedupe.buffer.size` by `log.cleaner.threads`).
    pub map_bytes_max: usize,
    /// Most bytes read and written per second by one thread (`log.cleaner.io.max.bytes.per.second` by threads); none if 0.
    pub bytes_per_second_max: f64,
    /// A log that could not be cleaned for want of space or because it changed is left for so long, ms (`log.cleaner.backoff.ms`).
    pub backoff_ms: i64,
}

/// Keeps reading and writing below a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    per_second: f64,
    begun: Instant,
    spent: Mutex<u64>,
}

impl Throttle {
    pub(crate) fn new(per_second: f64) -> Self {
        Self { per_second, begun: Instant::now(), spent: Mutex::new(0) }
    }

    /// Counts bytes and waits as long as they are ahead of the rate, in short naps.
    pub(crate) fn spend(&self, bytes: usize) {
        if self.per_second <= 0.0 || !self.per_second.is_finite() {
            return;
        }
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        *spent += bytes as u64;
        let due = Duration::try_from_secs_f64(*spent as f64 / self.per_second).unwrap_or(THROTTLE_NAP_MAX);
        drop(spent);
        std::thread::sleep(due.saturating_sub(self.begun.elapsed()).min(THROTTLE_NAP_MAX));
    }
}

/// A partition that compaction gave up on until the next start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncleanable {
    /// Topic.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Why.
    pub cause: String,
}

/// One finished cleaning.
#[derive(Debug, Clone, PartialEq)]
pub struct CleaningDone {
    /// Topic.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Records from here on are dirty now.
    pub cleaned_to: i64,
    /// Bytes of the segments cleaned, before and after.
    pub bytes: (u64, u64),
    /// Records in them, before and after.
    pub records: (u64, u64),
    /// How long it took.
    pub took: Duration,
}

/// Figures for metrics, by Kafka's names (`kafka.log:type=LogCleaner` and `LogCleanerManager`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CleanerStats {
    /// Cleanings finished.
    pub rounds: u64,
    /// Log bytes read by them.
    pub bytes_read: u64,
    /// Log bytes written by them.
    pub bytes_written: u64,
    /// `max-dirty-percent`: dirty part of the dirtiest compacted log when it was last looked, 0 to 100.
    pub dirty_percent_max: f64,
    /// `max-buffer-utilization-percent` of the last cleaning.
    pub buffer_percent: f64,
    /// `cleaner-recopy-percent` of the last cleaning: bytes kept of bytes read.
    pub recopy_percent: f64,
    /// `max-clean-time-secs`: length of the last cleaning.
    pub clean_time: Duration,
    /// `max-compaction-delay-secs`: longest time a record waits beyond `max.compaction.lag.ms`, ms.
    pub compaction_delay_ms_max: i64,
    /// `time-since-last-run-ms` counts from here: when logs were last looked at, wall clock ms; 0 for never.
    pub looked_ms: i64,
    /// `uncleanable-partitions-count`.
    pub uncleanable: usize,
}

/// What the cleaner remembers between rounds, by the logs' numbers in this process.
#[derive(Debug, Default)]
pub struct CleaningState {
    busy: HashSet<u64>,
    uncleanable: HashMap<u64, Uncleanable>,
    /// Not before this time, ms.
    resting: HashMap<u64, i64>,
    stats: CleanerStats,
}

/// A log that is being cleaned, until this is dropped.
struct Claim<'a> {
    manager: &'a LogManager,
    log: Arc<Log>,
    facts: LogFacts,
    window: Window,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.manager.cleaning().busy.remove(&self.log.id);
    }
}

impl LogManager {
    fn cleaning(&self) -> MutexGuard<'_, CleaningState> {
        self.cleaning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Figures of compaction so far.
    pub fn cleaner_stats(&self) -> CleanerStats {
        let state = self.cleaning();
        CleanerStats { uncleanable: state.uncleanable.len(), ..state.stats.clone() }
    }

    /// Partitions that compaction gave up on.
    pub fn uncleanable(&self) -> Vec<Uncleanable> {
        self.cleaning().uncleanable.values().cloned().collect()
    }

    /// Cleans the dirtiest log that is due, if there is one that no other thread is at. `None`: nothing is due, wait for `log.cleaner.backoff.ms`. Blocking. One that
    /// cannot be cleaned is logged, remembered and left out until the next start; the others go on.
    pub fn clean_next(&self, config: &CleanerConfig, now_ms: i64, stop: &AtomicBool) -> Option<CleaningDone> {
        loop {
            let claim = self.claim_dirtiest(now_ms)?;
            let begun = Instant::now();
            let throttle = Throttle::new(config.bytes_per_second_max);
            let checkpoint = || self.checkpoint();
            let round = Round {
                map_bytes_max: config.map_bytes_max,
                now_ms,
                stop,
                throttle: &throttle,
                checkpoint: &checkpoint,
            };
            match claim.log.clean(&claim.facts, &claim.window, &round) {
                Ok(done) => {
                    if let Err(error) = self.checkpoint() {
                        tracing::warn!(%error, "cleaner checkpoint not written");
                    }
                    return Some(self.note_done(&claim.log, &done, begun.elapsed()));
                }
                Err(Halt::Stopped) => return None,
                Err(halt) => self.note_halt(&claim.log, halt, now_ms.saturating_add(config.backoff_ms)),
            }
        }
    }

    fn claim_dirtiest(&self, now_ms: i64) -> Option<Claim<'_>> {
        let mut best: Option<(Arc<Log>, LogFacts, Window)> = None;
        let (mut dirtiest, mut delay) = (0.0_f64, 0);
        for log in self.logs() {
            let Some(bounds) = log.lag_bounds() else { continue };
            {
                let state = self.cleaning();
                let rests = state.resting.get(&log.id).is_some_and(|until| now_ms < *until);
                if rests || state.busy.contains(&log.id) || state.uncleanable.contains_key(&log.id) {
                    continue;
                }
            }
            let facts = match log.clean_facts(&bounds) {
                Ok(facts) => facts,
                Err(LogError::Deleted | LogError::DirFailed { .. }) => continue,
                Err(error) => {
                    self.note_halt(&log, Halt::Failed(error), now_ms);
                    continue;
                }
            };
            let found = window(&facts, &bounds, now_ms);
            dirtiest = dirtiest.max(found.dirty_ratio);
            delay = delay.max(found.overdue_ms);
            let better = best.as_ref().is_none_or(|(_, _, best)| found.dirty_ratio > best.dirty_ratio);
            if found.is_due(&bounds) && better {
                best = Some((log, facts, found));
            }
        }
        let mut state = self.cleaning();
        state.stats.dirty_percent_max = dirtiest * 100.0;
        state.stats.compaction_delay_ms_max = delay;
        state.stats.looked_ms = now_ms;
        let (log, facts, window) = best?;
        // Another thread may have been quicker; there is more to find on the next call then.
        state.busy.insert(log.id).then_some(Claim { manager: self, log, facts, window })
    }

    fn note_done(&self, log: &Log, done: &Cleaned, took: Duration) -> CleaningDone {
        let mut state = self.cleaning();
        state.resting.remove(&log.id);
        let stats = &mut state.stats;
        stats.rounds += 1;
        stats.bytes_read += done.bytes_before;
        stats.bytes_written += done.bytes_after;
        stats.buffer_percent = done.map_used * 100.0;
        stats.recopy_percent = done.bytes_after as f64 * 100.0 / done.bytes_before.max(1) as f64;
        stats.clean_time = took;
        CleaningDone {
            topic: log.topic().to_owned(),
            partition: log.partition(),
            cleaned_to: done.to,
            bytes: (done.bytes_before, done.bytes_after),
            records: (done.records_before, done.records_after),
            took,
        }
    }

    fn note_halt(&self, log: &Log, halt: Halt, until_ms: i64) {
        let (topic, partition) = (log.topic(), log.partition());
        let mut state = self.cleaning();
        match halt {
            Halt::Stopped => {}
            Halt::Changed | Halt::Failed(LogError::Deleted) => {
                state.resting.insert(log.id, until_ms);
            }
            Halt::Failed(error @ LogError::NoSpace { .. }) => {
                tracing::warn!(topic, partition, %error, "not compacted for want of space; tried again later");
                state.resting.insert(log.id, until_ms);
            }
            Halt::Failed(error) => {
                tracing::error!(topic, partition, %error, "partition cannot be compacted; left out until the next start");
                let cause = error.to_string();
                state.uncleanable.insert(log.id, Uncleanable { topic: topic.to_owned(), partition, cause });
            }
        }
    }

    /// Forgets what was remembered of a log that is gone.
    pub(crate) fn forget_cleaning(&self, log: &Log) {
        let mut state = self.cleaning();
        state.uncleanable.remove(&log.id);
        state.resting.remove(&log.id);
    }
}
