//! What a partition remembers of its idempotent producers (KIP-98), without any I/O: leaders, followers and recovery use the same rules.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::core::planted::{Bug, is};

/// Batches remembered per producer: Kafka's clients keep at most five requests in flight when idempotent.
pub const BATCHES_MAX: usize = 5;
/// Producers remembered per partition; beyond it the one idle longest without an open transaction is forgotten (its next batch is taken as a first one).
/// At about 250 bytes each this bounds a partition to some 25 MB.
pub const PRODUCERS_MAX: usize = 100_000;
/// No sequence was seen yet, or the batch has none.
const NO_SEQUENCE: i32 = -1;

/// What the rules need to know of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerBatch {
    /// Producer id; the caller leaves out batches that have none.
    pub producer_id: i64,
    /// Producer epoch.
    pub producer_epoch: i16,
    /// Sequence of the first record; -1 in control batches.
    pub base_sequence: i32,
    /// Sequence of the last record, wrapped at `i32::MAX`.
    pub last_sequence: i32,
    /// Offset of the first record (ignored by [`ProducerState::check`]).
    pub base_offset: i64,
    /// Offset of the last record (ignored by [`ProducerState::check`]).
    pub last_offset: i64,
    /// Largest record time, ms; expiry counts from it.
    pub timestamp: i64,
    /// Belongs to a transaction.
    pub transactional: bool,
    /// A control batch; one that is no end marker changes nothing but the time.
    pub control: bool,
    /// Ends a transaction: outcome and the coordinator's epoch.
    pub marker: Option<EndMarker>,
}

/// The content of a transaction marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndMarker {
    /// The transaction's records count.
    pub commit: bool,
    /// Epoch of the coordinator that wrote the marker.
    pub coordinator_epoch: i32,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Append,
    /// It is in the log already: answer with its first place there and append nothing.
    Duplicate {
        /// Offset of its first record.
        base_offset: i64,
        /// Offset of its last record.
        last_offset: i64,
        /// Its largest record time.
        timestamp: i64,
    },
    /// Its sequence does not follow the last one.
    OutOfOrder(Refusal),
    /// Its producer or coordinator was fenced by a newer epoch.
    InvalidEpoch(Refusal),
    /// It does not belong to the producer's open transaction.
    OutsideTxn(Refusal),
}

/// Why a batch is refused, with the facts for log and client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Producer id.
    pub producer_id: i64,
    /// Kind of refusal.
    pub kind: RefusalKind,
}

/// Kinds of [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER.
    OutOfOrder {
        /// Last sequence appended, -1 for none in this epoch.
        last: i32,
        /// First sequence of the batch.
        got: i32,
    },
    /// INVALID_PRODUCER_EPOCH.
    StaleEpoch {
        /// Newest epoch seen.
        current: i16,
        /// The batch's epoch.
        got: i16,
    },
    /// TRANSACTION_COORDINATOR_FENCED.
    StaleCoordinator {
        /// Newest coordinator epoch seen.
        current: i32,
        /// The marker's epoch.
        got: i32,
    },
    /// INVALID_TXN_STATE: the producer has an open transaction here, and the batch does not belong to it.
    OutsideTxn,
    /// INVALID_TXN_STATE: the batch would begin a transaction that nobody confirmed to be going on (KIP-890, law R18).
    Unverified,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.producer_id;
        match self.kind {
            RefusalKind::OutOfOrder { last, got } => write!(f, "producer {id}: sequence {got} does not follow {last}"),
            RefusalKind::StaleEpoch { current, got } => write!(f, "producer {id}: epoch {got} is older than {current}"),
            RefusalKind::StaleCoordinator { current, got } => {
                write!(f, "producer {id}: marker of coordinator epoch {got}, newest is {current}")
            }
            RefusalKind::OutsideTxn => write!(f, "producer {id}: not part of the transaction it has open"),
            RefusalKind::Unverified => write!(f, "producer {id}: not part of an ongoing transaction"),
        }
    }
}

impl std::error::Error for Refusal {}

/// One remembered batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenBatch {
    /// Sequence of its first record.
    pub base_sequence: i32,
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Its largest record time.
    pub timestamp: i64,
}

/// One producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    /// Newest epoch seen.
    pub epoch: i16,
    /// Last batches of that epoch, oldest first, at most [`BATCHES_MAX`].
    pub batches: Vec<SeenBatch>,
    /// Time of the last batch or marker, ms.
    pub last_timestamp: i64,
    /// Newest coordinator epoch of a marker, -1 for none.
    pub coordinator_epoch: i32,
    /// First offset of the open transaction.
    pub txn_first_offset: Option<i64>,
}

impl ProducerEntry {
    fn new(epoch: i16, timestamp: i64) -> Self {
        Self { epoch, batches: Vec::new(), last_timestamp: timestamp, coordinator_epoch: -1, txn_first_offset: None }
    }

    /// Last sequence of the current epoch, -1 for none.
    pub fn last_sequence(&self) -> i32 {
        self.batches.last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }
}

/// A transaction that a marker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedTxn {
    /// Producer id.
    pub producer_id: i64,
    /// First offset of the transaction on this partition.
    pub first_offset: i64,
    /// Offset of the marker.
    pub last_offset: i64,
    /// Committed, or else aborted.
    pub commit: bool,
    /// First offset of the oldest transaction still open after the marker, or the offset after the marker.
    pub last_stable_offset: i64,
}

/// What [`ProducerState::record`] replaced, to be given back if the write failed.
#[derive(Debug)]
pub struct Undo {
    producer_id: i64,
    before: Option<ProducerEntry>,
}

/// All producers of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerState {
    producers: HashMap<i64, ProducerEntry>,
    open_txns: BTreeMap<i64, i64>, // first offset -> producer id
}

impl ProducerState {
    /// Judges a client's batch or a coordinator's marker; changes nothing.
    pub fn check(&self, batch: &ProducerBatch) -> Verdict {
        let refuse = |kind| Refusal { producer_id: batch.producer_id, kind };
        let Some(entry) = self.producers.get(&batch.producer_id) else {
            // Unknown here: expired, or its records are deleted. Kafka takes any first sequence then.
            return Verdict::Append;
        };
        if batch.producer_epoch < entry.epoch {
            let kind = RefusalKind::StaleEpoch { current: entry.epoch, got: batch.producer_epoch };
            return Verdict::InvalidEpoch(refuse(kind));
        }
        if let Some(marker) = batch.marker {
            if marker.coordinator_epoch < entry.coordinator_epoch && !is(Bug::TakeStaleMarkers) {
                let (current, got) = (entry.coordinator_epoch, marker.coordinator_epoch);
                return Verdict::InvalidEpoch(refuse(RefusalKind::StaleCoordinator { current, got }));
            }
            return Verdict::Append;
        }
        if entry.txn_first_offset.is_some() && !batch.transactional {
            return Verdict::OutsideTxn(refuse(RefusalKind::OutsideTxn));
        }
        if batch.base_sequence == NO_SEQUENCE {
            // A coordinator's own transactional write (committed offsets): it has no sequence to check.
            return Verdict::Append;
        }
        if batch.producer_epoch > entry.epoch {
            // A new epoch starts at 0, or the producer has lost a batch.
            return match batch.base_sequence {
                0 => Verdict::Append,
                got => Verdict::OutOfOrder(refuse(RefusalKind::OutOfOrder { last: NO_SEQUENCE, got })),
            };
        }
        let same =
            |seen: &&SeenBatch| seen.base_sequence == batch.base_sequence && seen.last_sequence == batch.last_sequence;
        if let Some(seen) = entry.batches.iter().find(same) {
            let SeenBatch { base_offset, last_offset, timestamp, .. } = *seen;
            return Verdict::Duplicate { base_offset, last_offset, timestamp };
        }
        let last = entry.last_sequence();
        if follows(last, batch.base_sequence) {
            Verdict::Append
        } else {
            Verdict::OutOfOrder(refuse(RefusalKind::OutOfOrder { last, got: batch.base_sequence }))
        }
    }

    /// Whether the producer has a transaction open in this epoch.
    pub fn has_open_txn(&self, producer_id: i64, epoch: i16) -> bool {
        let entry = self.producers.get(&producer_id);
        entry.is_some_and(|entry| entry.epoch == epoch && entry.txn_first_offset.is_some())
    }

    /// Whether a marker says nothing new: it was written before, by this coordinator, and nothing came from the producer since (law R17).
    pub fn is_repeated_marker(&self, batch: &ProducerBatch) -> bool {
        let (Some(marker), Some(entry)) = (batch.marker, self.producers.get(&batch.producer_id)) else { return false };
        entry.txn_first_offset.is_none()
            && entry.epoch == batch.producer_epoch
            && entry.coordinator_epoch == marker.coordinator_epoch
    }

    /// Takes an appended (or replayed) batch into the state. Returns what to give to [`undo`](Self::undo) if its write fails.
    pub fn record(&mut self, batch: &ProducerBatch) -> (Undo, Option<CompletedTxn>) {
        self.make_room(batch.producer_id);
        let before = self.producers.get(&batch.producer_id).cloned();
        let entry = self
            .producers
            .entry(batch.producer_id)
            .or_insert_with(|| ProducerEntry::new(batch.producer_epoch, batch.timestamp));
        if batch.producer_epoch > entry.epoch {
            entry.epoch = batch.producer_epoch;
            entry.batches.clear();
        }
        entry.last_timestamp = batch.timestamp;
        let mut completed = None;
        if let Some(marker) = batch.marker {
            entry.coordinator_epoch = entry.coordinator_epoch.max(marker.coordinator_epoch);
            if let Some(first_offset) = entry.txn_first_offset.take() {
                self.open_txns.remove(&first_offset);
                completed = Some(CompletedTxn {
                    producer_id: batch.producer_id,
                    first_offset,
                    last_offset: batch.last_offset,
                    commit: marker.commit,
                    last_stable_offset: self.first_open_txn().unwrap_or(batch.last_offset + 1),
                });
            }
        } else {
            let ProducerBatch { base_sequence, last_sequence, base_offset, last_offset, timestamp, .. } = *batch;
            if base_sequence != NO_SEQUENCE {
                if entry.batches.len() >= BATCHES_MAX {
                    entry.batches.remove(0);
                }
                entry.batches.push(SeenBatch { base_sequence, last_sequence, base_offset, last_offset, timestamp });
            }
            if batch.transactional && !batch.control && entry.txn_first_offset.is_none() {
                entry.txn_first_offset = Some(base_offset);
                self.open_txns.insert(base_offset, batch.producer_id);
            }
        }
        (Undo { producer_id: batch.producer_id, before }, completed)
    }

    /// Takes back one [`record`](Self::record); the newest first.
    pub fn undo(&mut self, undo: Undo) {
        let now = match undo.before {
            Some(before) => self.producers.insert(undo.producer_id, before),
            None => self.producers.remove(&undo.producer_id),
        };
        if let Some(first) = now.and_then(|entry| entry.txn_first_offset) {
            self.open_txns.remove(&first);
        }
        if let Some(first) = self.producers.get(&undo.producer_id).and_then(|entry| entry.txn_first_offset) {
            self.open_txns.insert(first, undo.producer_id);
        }
    }

    /// Forgets producers without an open transaction whose last record is `expiration_ms` or more older than `now_ms` (producer.id.expiration.ms).
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, entry| {
            entry.txn_first_offset.is_some() || now_ms.saturating_sub(entry.last_timestamp) < expiration_ms
        });
    }

    /// First offset of the oldest open transaction.
    pub fn first_open_txn(&self) -> Option<i64> {
        self.open_txns.first_key_value().map(|(first, _)| *first)
    }

    /// Puts a producer in, as a snapshot had it.
    pub fn restore(&mut self, producer_id: i64, entry: ProducerEntry) {
        if let Some(first) = entry.txn_first_offset {
            self.open_txns.insert(first, producer_id);
        }
        self.producers.insert(producer_id, entry);
    }

    /// All producers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &ProducerEntry)> {
        self.producers.iter().map(|(id, entry)| (*id, entry))
    }

    /// One producer.
    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.producers.get(&producer_id)
    }

    /// Producers remembered.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// No producer is remembered.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    fn make_room(&mut self, producer_id: i64) {
        if self.producers.len() < PRODUCERS_MAX || self.producers.contains_key(&producer_id) {
            return;
        }
        // The idlest eighth at once, so that the scan is paid once per 12,500 new producers.
        let mut idle: Vec<(i64, i64)> = self
            .producers
            .iter()
            .filter(|(_, entry)| entry.txn_first_offset.is_none())
            .map(|(id, entry)| (entry.last_timestamp, *id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(PRODUCERS_MAX / 8) {
            self.producers.remove(&id);
        }
    }
}

/// Sequences go from `i32::MAX` to 0. A producer known only by markers (`last` = -1) starts where it likes, as in Kafka only 0 follows -1.
fn follows(last: i32, next: i32) -> bool {
    i64::from(next) == i64::from(last) + 1 || (next == 0 && last == i32::MAX)
}

#[cfg(test)]
#[path = "producer_state_tests.rs"]
mod tests;
