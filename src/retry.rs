//! Delays between tries: exponential, jittered, bounded, and without an end (L7). The only user of `backoff`.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};

/// The first delay: a leader change is over in about this time.
const INITIAL: Duration = Duration::from_millis(100);
/// The longest delay: how long a cluster may be back before we notice.
const MAX: Duration = Duration::from_secs(5);
/// Delays are spread by this part of themselves, so that lanes do not come back in step.
const JITTER: f64 = 0.5;

/// The delays of one thing that is tried again and again.
#[derive(Debug)]
pub struct Retry {
    delays: ExponentialBackoff<backoff::SystemClock>,
    attempt: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self::with_max(MAX)
    }
}

impl Retry {
    /// Delays that never exceed `max`, its jitter included.
    #[must_use]
    pub fn with_max(max: Duration) -> Self {
        let delays = ExponentialBackoffBuilder::new()
            .with_initial_interval(INITIAL.min(max))
            .with_max_interval(max.div_f64(1.0 + JITTER))
            .with_randomization_factor(JITTER)
            // its default gives up after 15 minutes: an outage of a day must not end a flow
            .with_max_elapsed_time(None)
            .build();
        Retry { delays, attempt: 0 }
    }

    /// How long to wait before the next try.
    pub fn delay(&mut self) -> Duration {
        self.attempt = self.attempt.saturating_add(1);
        self.delays.next_backoff().unwrap_or(MAX)
    }

    /// Tries that failed in a row.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// It worked: the next delay is the first one again.
    pub fn reset(&mut self) {
        self.attempt = 0;
        self.delays.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l7_delays_grow_to_a_bound_and_never_end() {
        let mut retry = Retry::default();
        let first = retry.delay();
        assert!(first <= INITIAL * 2, "{first:?}");
        let delays: Vec<_> = (0..1_000).map(|_| retry.delay()).collect();
        assert!(delays.iter().all(|delay| *delay <= MAX), "{:?}", delays.iter().max());
        assert!(delays[500..].iter().all(|delay| *delay >= MAX / 4), "{:?}", delays[500..].iter().min());
        assert!(delays[500..].windows(2).any(|pair| pair[0] != pair[1]), "no jitter");
        assert_eq!(retry.attempt(), 1_001);
        retry.reset();
        assert!(retry.delay() <= INITIAL * 2);
    }
}
