//! Memory for requests and answers, all connections together, and how long one that holds some may keep others waiting.
//!
//! Large requests may fill most of it and never all: what is left is for ordinary ones, which so are read whatever the large ones wait for. Peers that hold
//! room are given time generously as long as nobody needs it, and little while somebody does.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of requests read and not yet answered, all connections together, unless `queued.max.request.bytes` says otherwise.
const REQUEST_BYTES_MAX: usize = 256 << 20;
/// Bytes of answers to fetches that wait for their readers, all connections together: several of the largest answers at once.
/// Beyond it an answer carries one batch only.
const RESPONSE_BYTES_MAX: usize = 256 << 20;
/// A request up to this is an ordinary one: the largest that producers send unless they are told to (1 MiB), and its overhead.
pub const ORDINARY_BYTES_MAX: usize = (1 << 20) + (64 << 10);
/// Large requests leave one part in so many to ordinary ones.
const ORDINARY_SHARE: usize = 4;
/// A frame must arrive, and an answer be taken, within this, plus the time its size takes at the slowest rate we wait for; and no pause may be as long.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);
/// Slowest peer we keep buffers for, in bytes a second, reading and writing.
const RATE_MIN: u64 = 64 << 10;
/// The same while others wait for the room: an ordinary request takes much less on any network.
const WANTED_DEADLINE: Duration = Duration::from_secs(5);
/// A large answer is taken at this rate, in bytes a second, while others wait for its room.
const WANTED_RATE_MIN: u64 = 1 << 20;
/// How often a slow peer's time is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub struct Room {
    requests: Arc<Semaphore>,
    /// What large requests may take of it.
    large: Arc<Semaphore>,
    large_bytes: usize,
    /// Lets one request at a time exceed the budget.
    overdraft: Arc<Semaphore>,
    /// Connections that wait for room for a request.
    waiting: AtomicUsize,
    answers: Arc<Semaphore>,
    began: Instant,
    /// When there last was no room for an answer, milliseconds after `began`; 0 for never.
    short_of_answers: AtomicU64,
}

/// Room held for a request.
#[derive(Debug, Default)]
pub struct RequestBytes {
    counted: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    overdraft: Option<OwnedSemaphorePermit>,
}

impl RequestBytes {
    fn add(&mut self, (large, more): (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit)) {
        for (held, more) in [(&mut self.large, large), (&mut self.counted, Some(more))] {
            match (held.as_mut(), more) {
                (Some(held), Some(more)) => held.merge(more),
                (None, more) => *held = more,
                (Some(_), None) => {}
            }
        }
    }

    /// Whether it goes on without the budget.
    pub fn is_overdrawn(&self) -> bool {
        self.overdraft.is_some()
    }
}

impl Room {
    /// Room for requests as `queued.max.request.bytes` says, where that is positive, and for one of the largest size at least.
    pub fn new(queued_bytes_max: i64, request_bytes_max: usize) -> Self {
        let given = usize::try_from(queued_bytes_max).ok().filter(|given| *given > 0).unwrap_or(REQUEST_BYTES_MAX);
        // Semaphores count in u32.
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let large = (given / ORDINARY_SHARE * (ORDINARY_SHARE - 1)).max(request_bytes_max).min(most);
        let all = given.max(large / (ORDINARY_SHARE - 1) * ORDINARY_SHARE).min(most);
        Self {
            requests: Arc::new(Semaphore::new(all)),
            large: Arc::new(Semaphore::new(large)),
            large_bytes: large,
            overdraft: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
            answers: Arc::new(Semaphore::new(RESPONSE_BYTES_MAX)),
            began: Instant::now(),
            short_of_answers: AtomicU64::new(0),
        }
    }

    /// Waits for room for so many more bytes of a request, or for the right to go on without: one request at a time has it, so that unfinished requests
    /// that used up the budget do not all wait for each other.
    pub async fn more(&self, held: &mut RequestBytes, bytes: usize, ordinary: bool) {
        let permits = bytes.min(self.large_bytes) as u32;
        if let Some(more) = self.try_more(permits, ordinary) {
            return held.add(more);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        let both = async {
            let large = if ordinary { None } else { Some(acquire(&self.large, permits).await) };
            (large, acquire(&self.requests, permits).await)
        };
        tokio::select! {
            biased;
            more = both => held.add(more),
            granted = acquire(&self.overdraft, 1) => held.overdraft = Some(granted),
        }
    }

    fn try_more(&self, permits: u32, ordinary: bool) -> Option<(Option<OwnedSemaphorePermit>, OwnedSemaphorePermit)> {
        let large = match ordinary {
            true => None,
            false => Some(Arc::clone(&self.large).try_acquire_many_owned(permits).ok()?),
        };
        let more = Arc::clone(&self.requests).try_acquire_many_owned(permits).ok()?;
        Some((large, more))
    }

    /// Room for an answer of so many bytes until it is written; none if slow readers hold it all.
    pub fn answer(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes).ok()?;
        let room = Arc::clone(&self.answers).try_acquire_many_owned(permits).ok();
        if room.is_none() {
            let now = self.began.elapsed().as_millis() as u64;
            self.short_of_answers.store(now.max(1), Ordering::Relaxed);
        }
        room
    }

    /// How slow a peer may be to send a request of so many bytes.
    pub fn to_send(&self, bytes: usize) -> Patience {
        match self.waiting.load(Ordering::Relaxed) {
            0 => generous(bytes),
            _ => Patience { whole: WANTED_DEADLINE, pause: WANTED_DEADLINE },
        }
    }

    /// How slow a peer may be to read an answer of so many bytes.
    pub fn to_read(&self, bytes: usize) -> Patience {
        let short = self.short_of_answers.load(Ordering::Relaxed);
        let wanted = short > 0 && self.began.elapsed() < Duration::from_millis(short) + WANTED_DEADLINE;
        match wanted {
            false => generous(bytes),
            true => Patience { whole: at_rate(WANTED_DEADLINE, bytes, WANTED_RATE_MIN), pause: WANTED_DEADLINE },
        }
    }
}

fn generous(bytes: usize) -> Patience {
    Patience { whole: at_rate(FRAME_DEADLINE, bytes, RATE_MIN), pause: FRAME_DEADLINE }
}

fn at_rate(start: Duration, bytes: usize, rate: u64) -> Duration {
    start + Duration::from_secs(bytes as u64 / rate)
}

/// What a peer has done so far of what we wait for.
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes sent or read.
    pub bytes: AtomicUsize,
    /// Set while it is we who let it wait.
    pub ours: AtomicBool,
}

/// How slow a peer may be.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For all of it.
    whole: Duration,
    /// Without any byte.
    pause: Duration,
}

/// Waits for `work`, which waits for a peer, as long as the peer keeps within the `patience`, which may change on the way. None if it does not.
pub async fn in_time<T>(work: impl Future<Output = T>, pace: &Pace, patience: impl Fn() -> Patience) -> Option<T> {
    let mut work = pin!(work);
    let (mut whole, mut pause, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        if let Ok(done) = tokio::time::timeout(LOOK_EVERY, &mut work).await {
            return Some(done);
        }
        if pace.ours.load(Ordering::Relaxed) {
            continue;
        }
        (whole, pause) = (whole + LOOK_EVERY, pause + LOOK_EVERY);
        let now = pace.bytes.load(Ordering::Relaxed);
        if now != bytes {
            (bytes, pause) = (now, Duration::ZERO);
        }
        let patience = patience();
        if whole >= patience.whole || pause >= patience.pause {
            return None;
        }
    }
}

/// Counts one who waits.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    Arc::clone(semaphore).acquire_many_owned(permits).await.expect("the semaphore is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When a peer is given up that takes `step` bytes every `every` of 100 in all; none if it is not.
    async fn given_up(step: usize, every: Duration, patience: Patience) -> Option<Duration> {
        let (pace, began) = (Pace::default(), tokio::time::Instant::now());
        let work = async {
            while pace.bytes.fetch_add(step, Ordering::Relaxed) < 100 {
                tokio::time::sleep(every).await;
            }
        };
        let done = in_time(work, &pace, || patience).await;
        done.is_none().then(|| began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn in_time_gives_up_a_peer_that_pauses() {
        let second = Duration::from_secs(1);
        assert_eq!(given_up(10, second, generous(100)).await, None);
        let given = given_up(10, Duration::from_secs(1_000), generous(100)).await;
        assert!(given.is_some_and(|after| after <= FRAME_DEADLINE + second), "{given:?}");
        // Bytes now and then are not enough.
        let given = given_up(1, second * 10, generous(100)).await;
        assert!(given.is_some_and(|after| after <= FRAME_DEADLINE + second), "{given:?}");
        // The more there is to send, the longer it may take.
        assert_eq!(given_up(10, second * 10, generous(100 << 20)).await, None);
    }

    #[tokio::test]
    async fn large_requests_leave_a_quarter_to_ordinary_ones() {
        let room = Room::new(8 << 20, 1 << 20);
        let (mut large, mut ordinary) = (RequestBytes::default(), RequestBytes::default());
        room.more(&mut large, 6 << 20, false).await;
        room.more(&mut large, 1, false).await;
        assert!(large.is_overdrawn(), "three quarters are taken");
        room.more(&mut ordinary, 2 << 20, true).await;
        assert!(!ordinary.is_overdrawn());
    }
}
