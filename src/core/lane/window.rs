//! What a lane has sent and not yet had acknowledged: bounded, and released only as the longest acknowledged prefix (L1, L7).
use std::collections::VecDeque;

use super::Limits;
use crate::core::{
    batch::SourceRange,
    ids::{LeaderEpoch, SourceOffset},
    offset_map::Run,
};

/// A range that was read and whose end is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub range: SourceRange,
    /// Records in it that are not held back by loop prevention.
    pub records: u64,
    /// How many of them may be left out as poison.
    pub skipped_at_most: u64,
    pub bytes: u64,
    pub leader_epoch: LeaderEpoch,
    /// Where its records landed, once acknowledged.
    pub landed: Option<Vec<Run>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Window {
    sent: VecDeque<Sent>,
    records: u64,
    bytes: u64,
}

impl Window {
    pub fn push(&mut self, sent: Sent) {
        self.records += sent.records;
        self.bytes += sent.bytes;
        self.sent.push_back(sent);
    }

    /// Marks a range as acknowledged. `false`: it is not in the window, or it holds another number of records.
    pub fn landed(&mut self, range: SourceRange, runs: Vec<Run>) -> bool {
        let count: u64 = runs.iter().map(Run::count).sum();
        match self.sent.iter_mut().find(|sent| sent.range == range) {
            Some(sent) if (sent.records.saturating_sub(sent.skipped_at_most)..=sent.records).contains(&count) => {
                sent.landed = Some(runs);
                true
            }
            _ => false,
        }
    }

    /// The oldest range, if it is acknowledged.
    pub fn release(&mut self) -> Option<(Sent, Vec<Run>)> {
        let runs = self.sent.front_mut()?.landed.take()?;
        let sent = self.sent.pop_front()?;
        self.records -= sent.records;
        self.bytes -= sent.bytes;
        Some((sent, runs))
    }

    /// For a planted bug: forgets everything older than the first acknowledged range.
    pub fn forget_older_than_acked(&mut self) -> Option<SourceOffset> {
        let at = self.sent.iter().position(|sent| sent.landed.is_some())?;
        for sent in self.sent.drain(..at) {
            self.records -= sent.records;
            self.bytes -= sent.bytes;
        }
        self.sent.front().map(|sent| sent.range.from)
    }

    pub fn clear(&mut self) {
        *self = Window::default();
    }
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
    pub fn records(&self) -> u64 {
        self.records
    }
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.records >= limits.records || self.bytes >= limits.bytes || self.sent.len() >= RANGES_MAX
    }
    /// True when there is room for reading on: half of the limit, so that a lane does not pause and resume at every batch.
    pub fn has_room(&self, limits: &Limits) -> bool {
        self.records <= limits.records / 2 && self.bytes <= limits.bytes / 2 && self.sent.len() <= RANGES_MAX / 2
    }
}

/// Ranges in flight: bounds the bookkeeping for runs of empty batches (markers only), which count no record and no byte.
const RANGES_MAX: usize = 4096;
