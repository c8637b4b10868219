//! How many bytes may be held between source and target at a time, over all lanes of a flow (L7).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes held at most, but for one answer per source broker that was on its way when the bound was reached.
pub const BYTES_MAX: usize = 32 << 20;

/// The bound, and what is held. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    used: AtomicUsize,
    freed: Notify,
}

/// Bytes held for a lane; given back when dropped.
#[derive(Debug)]
pub struct Hold {
    budget: Budget,
    lane: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    /// Waits until something may be fetched; answers how many bytes.
    pub async fn room(&self) -> usize {
        loop {
            let freed = self.shared.freed.notified();
            let used = self.shared.used.load(Ordering::Acquire);
            if used < BYTES_MAX {
                return BYTES_MAX - used;
            }
            freed.await;
        }
    }
}

impl Hold {
    /// Counts bytes as held, in all and for a lane.
    #[must_use]
    pub fn of_lane(budget: &Budget, bytes: usize, lane: Arc<AtomicUsize>) -> Self {
        budget.shared.used.fetch_add(bytes, Ordering::AcqRel);
        lane.fetch_add(bytes, Ordering::AcqRel);
        Hold { budget: budget.clone(), lane, bytes }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.lane.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.shared.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.budget.shared.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn l7_nothing_is_fetched_past_the_bound_until_something_is_given_back() {
        let budget = Budget::default();
        let most = Hold::of_lane(&budget, BYTES_MAX - 10, Arc::default());
        assert_eq!(budget.room().await, 10);
        let rest = Hold::of_lane(&budget, 50, Arc::default());
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.room().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(rest);
        assert_eq!(waiting.await.unwrap(), 10);
        drop(most);
        assert_eq!(budget.room().await, BYTES_MAX);
    }
}
