//! One partition's log: appending and rolling.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use causeway_wire::Uuid;
use causeway_wire::records::{BatchHeader, BatchView};
use tokio::sync::watch;

use super::disk::{Disk, replace_file, write_all_at};
use super::epochs::Epochs;
use super::error::LogError;
use super::flush::{Dirty, FlushMark, Flusher, Sealed};
use super::forced::Forced;
use super::handles::Handles;
use super::judge::{judge, producer_batch};
use super::meta::write_topic_id;
use super::names::{EPOCH_CHECKPOINT, FileKind, segment_file};
use super::segment::{Segment, create_segment_files};
use super::txn_index::{self, AbortedTxn};
use super::{FlushPolicy, LogConfig, blocking, snapshot};
use crate::core::producer_state::{CompletedTxn, ProducerState, Undo};
use crate::core::verification::{Guard, Verifications};

/// Bytes of a batch's head that are rewritten at append: base offset, length, leader epoch (all outside the CRC).
const HEAD_BYTES: usize = 16;
/// Most bytes written with one call, so that a reader of the lock never waits for more than a few ms.
const RUN_BYTES_MAX: usize = 8 << 20;

/// What all partitions of one log directory share.
#[derive(Debug)]
pub(crate) struct DirEnv {
    pub(crate) path: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) handles: Handles,
    pub(crate) flusher: Flusher,
}

/// How appended batches get their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placing {
    /// As leader: base offsets from the log's end on, this leader epoch; producers' sequences are checked.
    Leader {
        /// The leader's epoch, not below the newest in the log.
        epoch: i32,
    },
    /// As leader, on behalf of a client whose transactional batches were verified or not: one that would begin a transaction needs a guard that
    /// stands (law R18).
    Client {
        /// The leader's epoch.
        epoch: i32,
        /// From [`Log::begin_verification`], before the coordinator was asked.
        guard: Option<Guard>,
    },
    /// As leader, a transaction marker.
    Marker {
        /// The leader's epoch.
        epoch: i32,
        /// The marker's producer epoch must be newer than that of the transaction it ends (transaction version 2).
        newer_epoch: bool,
    },
    /// As follower, or when mirroring: offsets and epochs stay as they are and must not lie before the log's end.
    Keep,
}

/// Where a batch stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
    /// It was there before, with this largest record time: an idempotent producer's retry. Nothing was appended; acknowledge
    /// it like the first time, once it is durable.
    pub duplicate: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) dir: Arc<Path>,
    pub(crate) config: LogConfig,
    pub(crate) segments: BTreeMap<i64, Segment>,
    pub(crate) epochs: Epochs,
    pub(crate) producers: ProducerState,
    pub(crate) verifications: Verifications,
    /// Ended transactions, first offset to marker, whose marker may still be above the high watermark: readers of `read_committed` must not pass them.
    pub(crate) ended: BTreeMap<i64, i64>,
    /// Offsets of producer snapshots on disk.
    pub(crate) snapshots: std::collections::BTreeSet<i64>,
    /// Files renamed to `.deleted`, with the time from which they may go.
    pub(crate) trash: Vec<(i64, PathBuf)>,
    pub(crate) deleted: bool,
    /// What `flush.messages` and `flush.ms` count from.
    pub(crate) forced: Forced,
}

impl Inner {
    pub(crate) fn active(&mut self) -> &mut Segment {
        self.segments.last_entry().expect("a log has at least one segment").into_mut()
    }
}

/// One partition's log. All methods may be called from any thread; appends are serialised by a lock.
#[derive(Debug)]
pub struct Log {
    pub(crate) id: u64,
    pub(crate) env: Arc<DirEnv>,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) topic_id: OnceLock<Uuid>,
    pub(crate) start: AtomicI64,
    pub(crate) end: AtomicI64,
    pub(crate) high_watermark: AtomicI64,
    pub(crate) mark: Arc<FlushMark>,
    /// Counts the times that names of the log's files went to other files (compaction, truncation); moved under the lock, before the first of them.
    pub(crate) generation: AtomicU64,
    /// Compacted up to here (`cleaner-offset-checkpoint`), -1 for never.
    pub(crate) cleaned_to: AtomicI64,
    pub(crate) inner: Mutex<Inner>,
}

pub(crate) fn next_log_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The part of a call's batches that is written with one system call.
#[derive(Default)]
struct Run {
    heads: Vec<[u8; HEAD_BYTES]>,
    bodies: Vec<Bytes>,
    headers: Vec<BatchHeader>,
    undo: Vec<Undo>,
    completed: Vec<CompletedTxn>,
    bytes: usize,
    /// Results that stand only if the write works.
    slots: Vec<usize>,
}

impl Log {
    /// Topic name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Partition number.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Topic id, as in `partition.metadata`; zero if there is none.
    pub fn topic_id(&self) -> Uuid {
        self.topic_id.get().copied().unwrap_or(Uuid::ZERO)
    }

    /// Gives a partition without a topic id one, as Kafka does when it begins to lead it: a crash while it was made leaves it without.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn assign_topic_id(&self, id: Uuid) -> Result<(), LogError> {
        let inner = self.lock();
        self.check_open(&inner)?;
        if self.topic_id().is_zero() {
            write_topic_id(&*self.env.disk, &inner.dir, id)?;
            // Under the lock nobody else has set it meanwhile.
            let _ = self.topic_id.set(id);
        }
        Ok(())
    }

    /// The log directory (of `log.dirs`) that holds the partition.
    pub fn log_dir(&self) -> &Path {
        &self.env.path
    }

    /// An error if the log directory has failed.
    ///
    /// # Errors
    /// The first failure.
    pub fn health(&self) -> Result<(), LogError> {
        self.env.flusher.health()
    }

    /// Offset of the first record that may be read.
    pub fn start_offset(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    /// Offset that the next record will get.
    pub fn end_offset(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    /// Offset below which all is as safe as `log.flush` promises: flushed (`ack`), or written (`interval`, `os`). With one replica it is the high watermark.
    pub fn durable_offset(&self) -> i64 {
        self.mark.durable()
    }

    /// Sees every move of [`durable_offset`](Self::durable_offset).
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.mark.subscribe()
    }

    /// The high watermark: what the broker set, or the checkpointed one after a restart.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// Sets the high watermark (bounded by the log's end); it is checkpointed, and retention never goes past it.
    pub fn set_high_watermark(&self, offset: i64) {
        self.high_watermark.store(offset.min(self.end_offset()), Ordering::Release);
    }

    /// Newest leader epoch that appended here, if any.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.lock().epochs.latest()
    }

    /// The largest epoch not above `epoch` and the offset after its last record (OffsetForLeaderEpoch); `None` if `epoch` is ahead of the log, or nothing is known.
    pub fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        self.lock().epochs.end_of(epoch, self.end_offset())
    }

    /// Settings in force.
    pub fn config(&self) -> LogConfig {
        self.lock().config
    }

    /// Replaces the settings; they count from the next append, roll or retention on.
    pub fn set_config(&self, config: LogConfig) {
        self.lock().config = config;
    }

    /// Remembered idempotent producers.
    pub fn producer_count(&self) -> usize {
        self.lock().producers.len()
    }

    /// Forgets expired producers (`producer.id.expiration.ms`); time in ms.
    pub fn expire_producers(&self, now_ms: i64) {
        let mut inner = self.lock();
        let expiration_ms = inner.config.producer_id_expiration_ms;
        inner.producers.expire(now_ms, expiration_ms);
    }

    /// Waits until all below `offset` is as durable as `log.flush` promises.
    ///
    /// # Errors
    /// The log directory failed; the caller must not acknowledge. Or the offset is beyond the log's end: it was written to a log of this name that was
    /// deleted since, and nobody will ever write it here.
    pub async fn wait_durable(&self, offset: i64) -> Result<(), LogError> {
        let mut durable = self.mark.subscribe();
        if offset > self.end_offset() {
            self.env.flusher.health()?;
            return Err(LogError::Deleted);
        }
        loop {
            if *durable.borrow_and_update() >= offset {
                return Ok(());
            }
            self.env.flusher.health()?;
            if durable.changed().await.is_err() {
                return Err(LogError::Deleted);
            }
        }
    }

    /// Appends one batch: see [`append`](Self::append).
    pub fn append_one(&self, batch: &BatchView, placing: Placing, now_ms: i64) -> Result<Appended, LogError> {
        let mut results = self.append(std::slice::from_ref(batch), placing, now_ms);
        results.pop().expect("one result per batch")
    }

    /// Appends validated batches (CRC, sizes, codecs are the caller's business) in their order, all-or-nothing each, and answers for each of them. What
    /// was appended is durable only after [`wait_durable`](Self::wait_durable)`(last_offset + 1)`; that holds for duplicates too. `now_ms` is the wall clock.
    ///
    /// # Errors
    /// Per batch: producer refused, full disk (the log then ends where it ended before), failed directory, deleted partition.
    pub fn append(&self, batches: &[BatchView], placing: Placing, now_ms: i64) -> Vec<Result<Appended, LogError>> {
        let bytes = batches.iter().map(|batch| batch.bytes.len()).sum();
        blocking(bytes, || {
            let mut inner = self.lock();
            let mut results = Vec::with_capacity(batches.len());
            let mut run = Run::default();
            for batch in batches {
                let result = self.place(&mut inner, &mut run, batch, placing, now_ms, &mut results);
                results.push(result);
            }
            self.write_run(&mut inner, run, &mut results);
            results
        })
    }

    /// Judges one batch and adds it to the run; writes the run first if a new segment is due or it has grown large.
    fn place(
        &self,
        inner: &mut Inner,
        run: &mut Run,
        batch: &BatchView,
        placing: Placing,
        now_ms: i64,
        results: &mut [Result<Appended, LogError>],
    ) -> Result<Appended, LogError> {
        self.check_open(inner)?;
        let mut header = batch.header;
        let end = run.headers.last().map_or(self.end_offset(), BatchHeader::next_offset);
        place_header(&mut header, placing, end, inner.epochs.latest())?;
        let size = batch.bytes.len();
        let config = inner.config;
        let active = inner.active();
        let due = active.must_roll(&header, run.bytes as u64, &config, now_ms);
        if !run.headers.is_empty() && (due || run.bytes + size > RUN_BYTES_MAX) {
            self.write_run(inner, std::mem::take(run), results);
            // A failed write moved the end back: start over from what is there.
            return self.place(inner, run, batch, placing, now_ms, results);
        }
        let producer = producer_batch(batch, &header);
        if let Some(producer) = &producer
            && let Some(there) = judge(inner, producer, placing, end)?
        {
            run.slots.push(results.len());
            return Ok(there);
        }
        if due {
            self.roll(inner, header.base_offset, now_ms)?;
        }
        self.note_epoch(inner, header.partition_leader_epoch, header.base_offset)?;
        if let Some(producer) = &producer {
            let (undo, completed) = inner.producers.record(producer);
            if producer.transactional {
                inner.verifications.end(producer.producer_id);
            }
            run.undo.push(undo);
            run.completed.extend(completed);
        }
        let mut head = [0; HEAD_BYTES];
        head.copy_from_slice(&batch.bytes[..HEAD_BYTES]);
        head[..8].copy_from_slice(&header.base_offset.to_be_bytes());
        head[12..].copy_from_slice(&header.partition_leader_epoch.to_be_bytes());
        run.heads.push(head);
        run.bodies.push(batch.bytes.slice(HEAD_BYTES..));
        run.bytes += size;
        run.slots.push(results.len());
        run.headers.push(header);
        Ok(Appended { base_offset: header.base_offset, last_offset: header.last_offset(), duplicate: None })
    }

    /// Writes a run at the end of the active segment, or takes back all it changed.
    fn write_run(&self, inner: &mut Inner, run: Run, results: &mut [Result<Appended, LogError>]) {
        if run.headers.is_empty() {
            return;
        }
        if let Err(error) = self.try_write(inner, &run) {
            for undo in run.undo.into_iter().rev() {
                inner.producers.undo(undo);
            }
            for slot in run.slots {
                results[slot] = Err(error.clone());
            }
        }
    }

    fn try_write(&self, inner: &mut Inner, run: &Run) -> Result<(), LogError> {
        let interval = inner.config.index_interval_bytes;
        let dir = inner.dir.clone();
        let active = inner.active();
        let (base, size) = (active.base, active.size);
        let file = self.log_file(&dir, base)?;
        let aborted: Vec<AbortedTxn> = run.completed.iter().filter_map(AbortedTxn::of).collect();
        let txns = txn_index::append(&*self.env.disk, &segment_file(&dir, base, FileKind::TxnIndex), &aborted)?;
        let mut slices = Vec::with_capacity(2 * run.heads.len());
        for (head, body) in run.heads.iter().zip(&run.bodies) {
            slices.push(IoSlice::new(head));
            slices.push(IoSlice::new(body));
        }
        if let Err(error) = write_all_at(&*file, &mut slices, size) {
            // A torn write must not stay in the middle of the log.
            if let Err(cut) = file.set_len(size).and_then(|()| txns.map_or(Ok(()), txn_index::TxnAppend::undo)) {
                self.env
                    .flusher
                    .fail(format!("cannot take back a failed append to {}-{}: {cut}", self.topic, self.partition));
            }
            return Err(LogError::io("append to", &segment_file(&dir, base, FileKind::Log), &error));
        }
        for header in &run.headers {
            active.note(header, interval);
        }
        active.no_aborts &= aborted.is_empty();
        if active.index.is_tail_full() || active.times.is_tail_full() {
            // Not fatal: the entries stay in memory and the next batch tries again.
            if let Err(error) = active.flush_indexes(&*self.env.disk, &dir) {
                tracing::warn!(topic = %self.topic, partition = self.partition, %error, "index not written");
            }
        }
        let end = run.headers.last().map_or(self.end_offset(), BatchHeader::next_offset);
        inner.ended.extend(run.completed.iter().map(|txn| (txn.first_offset, txn.last_offset)));
        self.end.store(end, Ordering::Release);
        let dirty = Dirty { file: file.clone(), mark: self.mark.clone(), end };
        self.env.flusher.join((self.id, base), dirty, run.bytes)?;
        if self.env.flusher.policy() != FlushPolicy::Ack {
            self.flush_by_count(inner, &*file, end)?;
            self.mark.advance(end);
        }
        Ok(())
    }

    /// Ends the active segment and starts one at `base`.
    pub(crate) fn roll(&self, inner: &mut Inner, base: i64, now_ms: i64) -> Result<(), LogError> {
        let dir = inner.dir.clone();
        let disk = &*self.env.disk;
        let old = inner.active();
        if old.base == base && old.size == 0 {
            return Ok(());
        }
        old.note_time();
        old.flush_indexes(disk, &dir)?;
        let old_base = old.base;
        txn_index::note_checksum(disk, &dir, old);
        let log_file = self.log_file(&dir, old_base)?;
        self.snapshot_producers(inner, base)?;
        create_segment_files(disk, &dir, base)?;
        let mut new = Segment::new(base, now_ms);
        new.no_aborts = true;
        inner.segments.insert(base, new);
        let mut files: Vec<PathBuf> = [FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex]
            .into_iter()
            .map(|kind| segment_file(&dir, old_base, kind))
            .collect();
        files.push(segment_file(&dir, base, FileKind::Snapshot));
        let (dir, mark) = (dir.to_path_buf(), self.mark.clone());
        self.env.flusher.seal(Sealed { log_file, files, dir, mark, next_base: base });
        Ok(())
    }

    /// Writes the producer snapshot at the log's end, unless there is one: overwriting would put at risk what a power cut may need.
    pub(crate) fn snapshot_producers(&self, inner: &mut Inner, end: i64) -> Result<(), LogError> {
        if !inner.snapshots.contains(&end) {
            snapshot::write(&*self.env.disk, &inner.dir, end, &inner.producers)?;
            inner.snapshots.insert(end);
        }
        Ok(())
    }

    /// Becoming leader: notes that `epoch` starts at the log's end. Appends do so by themselves if it was not done.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn begin_epoch(&self, epoch: i32) -> Result<(), LogError> {
        let mut inner = self.lock();
        self.check_open(&inner)?;
        self.note_epoch(&mut inner, epoch, self.end_offset())
    }

    fn note_epoch(&self, inner: &mut Inner, epoch: i32, start: i64) -> Result<(), LogError> {
        if epoch < 0 || inner.epochs.latest().is_some_and(|latest| latest >= epoch) {
            return Ok(());
        }
        // On disk before the first record of the epoch, so that recovery knows every epoch it can meet.
        let mut epochs = inner.epochs.clone();
        epochs.assign(epoch, start);
        replace_file(&*self.env.disk, &inner.dir.join(EPOCH_CHECKPOINT), epochs.encode().as_bytes())?;
        inner.epochs = epochs;
        Ok(())
    }

    pub(crate) fn check_open(&self, inner: &Inner) -> Result<(), LogError> {
        if inner.deleted { Err(LogError::Deleted) } else { self.env.flusher.health() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a batch its offset and epoch, or checks those it has.
fn place_header(header: &mut BatchHeader, placing: Placing, end: i64, latest: Option<i32>) -> Result<(), LogError> {
    match placing {
        Placing::Leader { epoch } | Placing::Client { epoch, .. } | Placing::Marker { epoch, .. } => {
            header.base_offset = end;
            header.partition_leader_epoch = epoch;
        }
        Placing::Keep if header.base_offset < end => {
            return Err(LogError::BadAppend(format!("offset {} is before the log's end {end}", header.base_offset)));
        }
        Placing::Keep => {}
    }
    let epoch = header.partition_leader_epoch;
    match latest {
        Some(latest) if epoch < latest => {
            Err(LogError::BadAppend(format!("leader epoch {epoch} is older than {latest}, the newest in the log")))
        }
        _ if header.last_offset_delta < 0 => Err(LogError::BadAppend("the last offset delta is negative".to_owned())),
        _ => Ok(()),
    }
}
