//! What the thread of a pipeline sleeps on: news from either end wakes it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A flag that can be waited for. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    shared: Arc<(Mutex<bool>, Condvar)>,
}

impl Wake {
    /// Wakes the waiting thread, or the next one that would wait.
    pub fn wake(&self) {
        let mut woken = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *woken, true) {
            self.shared.1.notify_one();
        }
    }

    /// Waits for [`Wake::wake`], at most so long.
    pub fn wait(&self, max: Duration) {
        let deadline = Instant::now() + max;
        let mut woken = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*woken {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            woken = self.shared.1.wait_timeout(woken, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *woken = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_wait_is_not_lost_and_counts_once() {
        let wake = Wake::default();
        wake.wake();
        wake.wake();
        wake.wait(Duration::from_secs(60));
        let began = Instant::now();
        wake.wait(Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20));
    }
}
