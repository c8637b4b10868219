//! Group commit: one thread per log directory makes appends durable for many partitions with few flushes.
//!
//! An append writes to the page cache and joins the flush generation that is being collected; the thread takes the whole generation, flushes each touched file
//! once, and then moves every partition's durable end. A failed flush is final for the directory: the kernel may have dropped the dirty pages, so a
//! later flush that succeeds proves nothing.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::FlushPolicy;
use super::disk::{Disk, DiskFile};
use super::error::LogError;

/// Longest wait for others to join a generation; the wait is also never longer than the last flush took.
const GROUP_WINDOW_MAX: Duration = Duration::from_millis(2);
/// Bytes that end the wait: flushing more at once gains little.
const GROUP_BYTES: usize = 1 << 20;
/// Files flushed at the same time: the file system's journal joins them into one commit.
const FLUSH_THREADS_MAX: usize = 4;

/// How far one partition's log is on disk. Shared with the flusher.
#[derive(Debug)]
pub(crate) struct FlushMark {
    durable: watch::Sender<i64>,
    recovery_point: AtomicI64,
}

impl FlushMark {
    pub(crate) fn new(end: i64, recovery_point: i64) -> Self {
        Self { durable: watch::Sender::new(end), recovery_point: AtomicI64::new(recovery_point) }
    }

    pub(crate) fn durable(&self) -> i64 {
        *self.durable.borrow()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<i64> {
        self.durable.subscribe()
    }

    /// Moves the durable end forward.
    pub(crate) fn advance(&self, end: i64) {
        self.durable.send_if_modified(|durable| {
            let moved = end > *durable;
            *durable = end.max(*durable);
            moved
        });
    }

    /// Sets the durable end, also back (truncation).
    pub(crate) fn reset(&self, end: i64) {
        self.durable.send_replace(end);
        self.recovery_point.fetch_min(end, Ordering::AcqRel);
    }

    pub(crate) fn recovery_point(&self) -> i64 {
        self.recovery_point.load(Ordering::Acquire)
    }

    pub(crate) fn raise_recovery_point(&self, to: i64) {
        self.recovery_point.fetch_max(to, Ordering::AcqRel);
    }

    /// Wakes all who wait, so that they see that the directory failed.
    fn wake(&self) {
        self.durable.send_modify(|_| {});
    }
}

/// Appended bytes that wait for their flush.
#[derive(Debug)]
pub(crate) struct Dirty {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) mark: Arc<FlushMark>,
    pub(crate) end: i64,
}

/// A segment that was rolled: once all its files are on disk, recovery need not look at it again.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) log_file: Arc<dyn DiskFile>,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) dir: PathBuf,
    pub(crate) mark: Arc<FlushMark>,
    pub(crate) next_base: i64,
}

#[derive(Debug, Default)]
struct Generation {
    dirty: HashMap<(u64, i64), Dirty>,
    sealed: Vec<Sealed>,
    dirs: BTreeSet<PathBuf>,
    bytes: usize,
    joined: usize,
}

impl Generation {
    fn is_empty(&self) -> bool {
        self.dirty.is_empty() && self.sealed.is_empty() && self.dirs.is_empty()
    }

    fn wake_all(&self) {
        self.dirty.values().for_each(|dirty| dirty.mark.wake());
        self.sealed.iter().for_each(|sealed| sealed.mark.wake());
    }
}

#[derive(Debug, Default)]
struct Queue {
    collecting: Generation,
    /// Generations taken and finished; a barrier waits for `finished` to pass what it saw.
    taken: u64,
    finished: u64,
    barrier: bool,
    stop: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    policy: FlushPolicy,
    queue: Mutex<Queue>,
    wake: Condvar,
    done: Condvar,
    failed: OnceLock<String>,
    flushes: AtomicU64,
}

/// Lets whoever works in a log directory say that it failed for good.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Arc<Shared>);

impl Failure {
    /// Marks the directory as failed; only the first cause counts.
    pub(crate) fn report(&self, cause: String) {
        self.0.fail(cause);
    }
}

/// The flusher of one log directory.
#[derive(Debug)]
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Flusher {
    /// Starts the thread.
    pub(crate) fn start(dir: &Path, disk: Arc<dyn Disk>, policy: FlushPolicy) -> Result<Self, LogError> {
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            disk,
            policy,
            queue: Mutex::default(),
            wake: Condvar::new(),
            done: Condvar::new(),
            failed: OnceLock::new(),
            flushes: AtomicU64::new(0),
        });
        let run = shared.clone();
        let thread = std::thread::Builder::new()
            .name("log-flush".to_owned())
            .spawn(move || run.run())
            .map_err(|error| LogError::io("start the flusher of", dir, &error))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn policy(&self) -> FlushPolicy {
        self.shared.policy
    }

    /// Flush calls made so far (files and directories).
    pub(crate) fn flushes(&self) -> u64 {
        self.shared.flushes.load(Ordering::Relaxed)
    }

    /// An error if the directory has failed.
    pub(crate) fn health(&self) -> Result<(), LogError> {
        self.shared.health()
    }

    /// Marks the directory as failed for good.
    pub(crate) fn fail(&self, cause: String) {
        self.shared.fail(cause);
    }

    /// Something to hand to those who have no flusher.
    pub(crate) fn failure(&self) -> Failure {
        Failure(self.shared.clone())
    }

    /// Joins an append of `bytes` to the generation being collected. `key` is the log and the segment.
    pub(crate) fn join(&self, key: (u64, i64), dirty: Dirty, bytes: usize) -> Result<(), LogError> {
        self.health()?;
        if self.shared.policy == FlushPolicy::Os {
            return Ok(());
        }
        let mut queue = self.shared.lock();
        let generation = &mut queue.collecting;
        let first = generation.is_empty();
        generation.bytes += bytes;
        generation.joined += 1;
        generation.dirty.entry(key).and_modify(|old| old.end = old.end.max(dirty.end)).or_insert(dirty);
        drop(queue);
        if first || self.shared.policy == FlushPolicy::Ack {
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Queues the flush of a rolled segment; with it goes its directory, which has a new name in it.
    pub(crate) fn seal(&self, sealed: Sealed) {
        let mut queue = self.shared.lock();
        queue.collecting.dirs.insert(sealed.dir.clone());
        queue.collecting.sealed.push(sealed);
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Flushes all that was joined before the call, and waits for it (blocking).
    pub(crate) fn barrier(&self) -> Result<(), LogError> {
        let mut queue = self.shared.lock();
        // Whatever is being flushed now, plus the generation being collected if it holds anything.
        let target = queue.taken + u64::from(!queue.collecting.is_empty());
        queue.barrier = true;
        self.shared.wake.notify_one();
        while queue.finished < target && !queue.stop {
            queue = self.shared.done.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        drop(queue);
        self.health()
    }

    /// Flushes what is left and ends the thread (blocking).
    pub(crate) fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            self.shared.fail("the flusher panicked".to_owned());
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> Result<(), LogError> {
        match self.failed.get() {
            None => Ok(()),
            Some(cause) => Err(LogError::DirFailed { dir: self.dir.clone(), cause: cause.clone() }),
        }
    }

    fn fail(&self, cause: String) {
        if self.failed.set(cause.clone()).is_ok() {
            tracing::error!(dir = %self.dir.display(), %cause, "log directory failed");
        }
        self.lock().collecting.wake_all();
        self.done.notify_all();
    }

    fn run(&self) {
        let mut group = Group::default();
        loop {
            let (generation, stop) = self.collect(&group);
            if !generation.is_empty() {
                group.joined = generation.joined;
                let begun = Instant::now();
                match self.flush(&generation) {
                    Ok(()) => self.settle(&generation),
                    Err(error) => {
                        self.fail(error.to_string());
                        generation.wake_all();
                    }
                }
                group.took = begun.elapsed();
            }
            let mut queue = self.lock();
            queue.finished = queue.taken;
            drop(queue);
            self.done.notify_all();
            if stop {
                return;
            }
        }
    }

    /// Waits until there is something to flush and, if others are likely to join, a little longer. Returns the generation and whether to end after it.
    fn collect(&self, group: &Group) -> (Generation, bool) {
        let mut queue = self.lock();
        let interval = match self.policy {
            FlushPolicy::Interval(every) => Some(every),
            FlushPolicy::Ack | FlushPolicy::Os => None,
        };
        let due = interval.map(|every| Instant::now() + every);
        while !queue.stop && !queue.barrier {
            let ready = match due {
                None => !queue.collecting.is_empty(),
                Some(due) => Instant::now() >= due && !queue.collecting.is_empty(),
            };
            if ready {
                break;
            }
            queue = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                Some(wait) if !wait.is_zero() => {
                    self.wake.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        // As many as last time are likely to come again, unless they have gone.
        let until = Instant::now() + group.took.min(GROUP_WINDOW_MAX);
        while self.policy == FlushPolicy::Ack && !queue.stop && !queue.barrier {
            let left = until.saturating_duration_since(Instant::now());
            if queue.collecting.joined >= group.joined || queue.collecting.bytes >= GROUP_BYTES || left.is_zero() {
                break;
            }
            queue = self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.barrier = false;
        queue.taken += 1;
        (std::mem::take(&mut queue.collecting), queue.stop)
    }

    fn flush(&self, generation: &Generation) -> Result<(), LogError> {
        self.health()?;
        let fail = |path: &Path, error: &io::Error| LogError::io("flush", path, error);
        let mut files: Vec<&Arc<dyn DiskFile>> = generation.dirty.values().map(|dirty| &dirty.file).collect();
        files.extend(generation.sealed.iter().map(|sealed| &sealed.log_file));
        self.flushes.fetch_add((files.len() + generation.dirs.len()) as u64, Ordering::Relaxed);
        sync_files(&files).map_err(|error| fail(&self.dir, &error))?;
        for path in generation.sealed.iter().flat_map(|sealed| &sealed.files) {
            // Retention may have removed it meanwhile.
            match self.disk.open(path, false) {
                Ok(file) => file.sync().map_err(|error| fail(path, &error))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(fail(path, &error)),
            }
        }
        for dir in &generation.dirs {
            match self.disk.sync_dir(dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|error| fail(dir, &error))?,
            }
        }
        Ok(())
    }

    fn settle(&self, generation: &Generation) {
        for sealed in &generation.sealed {
            sealed.mark.raise_recovery_point(sealed.next_base);
        }
        for dirty in generation.dirty.values() {
            dirty.mark.advance(dirty.end);
        }
    }
}

/// What the last generation was like.
#[derive(Debug, Default)]
struct Group {
    joined: usize,
    took: Duration,
}

fn sync_files(files: &[&Arc<dyn DiskFile>]) -> io::Result<()> {
    if let [only] = files {
        return only.sync();
    }
    let per_thread = files.len().div_ceil(FLUSH_THREADS_MAX).max(1);
    std::thread::scope(|scope| {
        let (here, others) = files.split_at(per_thread.min(files.len()));
        let running: Vec<_> = others
            .chunks(per_thread)
            .map(|part| scope.spawn(move || part.iter().try_for_each(|file| file.sync())))
            .collect();
        let mut outcome = here.iter().try_for_each(|file| file.sync());
        for thread in running {
            let joined = thread.join().unwrap_or_else(|_| Err(io::Error::other("a flush panicked")));
            outcome = outcome.and(joined);
        }
        outcome
    })
}
