//! Connections by address: opened on demand, shared, reopened after a bounded, jittered delay.

use super::connection::Connection;
use super::{ClientConfig, ClientError, greeting};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// First delay before an address is tried again.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// Longest delay: Kafka's `reconnect.backoff.max.ms`.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// Most addresses remembered: beyond it those without a live connection are dropped (brokers come and go with new addresses in clouds).
const ADDRESSES_MAX: usize = 4096;

#[derive(Default)]
pub(super) struct Pool {
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    /// Cluster ID that every peer must have: the expected one, or the first one met.
    cluster_id: Mutex<Option<String>>,
}

#[derive(Default)]
struct Slot {
    state: tokio::sync::Mutex<SlotState>,
    /// The live connection again, for a look without waiting.
    live: Mutex<Option<Arc<Connection>>>,
}

#[derive(Default)]
struct SlotState {
    failures: u32,
    not_before: Option<Instant>,
    /// When and why the last attempt failed.
    failed: Option<(Instant, ClientError)>,
}

impl Pool {
    /// A pool that takes connections to this cluster only, or to the first one met.
    pub fn for_cluster(cluster_id: Option<String>) -> Self {
        Self { cluster_id: Mutex::new(cluster_id), ..Self::default() }
    }

    /// The live connection to this address, or a new one.
    pub async fn get(&self, address: &str, config: &ClientConfig) -> Result<Arc<Connection>, ClientError> {
        let slot = self.slot(address);
        if let Some(connection) = slot.live() {
            return Ok(connection);
        }
        // One task connects, others wait here and share the outcome: a hundred who want a dead address wait once, not a hundred times.
        let arrived = Instant::now();
        let mut state = slot.state.lock().await;
        if let Some(connection) = slot.live() {
            return Ok(connection);
        }
        if let Some((at, error)) = &state.failed
            && *at > arrived
        {
            return Err(error.clone());
        }
        if let Some(not_before) = state.not_before {
            tokio::time::sleep_until(not_before).await;
        }
        let expected = lock(&self.cluster_id).clone();
        match greeting::connect(address, config, expected.as_deref()).await {
            Ok((connection, cluster_id)) => {
                if expected.is_none() {
                    *lock(&self.cluster_id) = cluster_id;
                }
                *state = SlotState::default();
                let connection = Arc::new(connection);
                *lock(&slot.live) = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                tracing::debug!(address, %error, "connection failed");
                let now = Instant::now();
                state.not_before = Some(now + backoff(state.failures, fastrand::f64()));
                state.failed = Some((now, error.clone()));
                state.failures = state.failures.saturating_add(1);
                Err(error)
            }
        }
    }

    /// A live connection to any of these addresses, without waiting.
    pub fn live<'a>(&self, addresses: impl Iterator<Item = &'a String>) -> Option<Arc<Connection>> {
        let slots = lock(&self.slots);
        addresses.filter_map(|address| slots.get(address)?.live()).next()
    }

    fn slot(&self, address: &str) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if slots.len() >= ADDRESSES_MAX {
            slots.retain(|_, slot| slot.live().is_some());
        }
        slots.entry(address.to_owned()).or_default().clone()
    }
}

impl Slot {
    fn live(&self) -> Option<Arc<Connection>> {
        let mut live = lock(&self.live);
        if live.as_ref().is_some_and(|connection| !connection.is_alive()) {
            *live = None;
        }
        live.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Delay after so many failures in a row; `chance` in 0..1 spreads clients over the upper half of it.
pub(super) fn backoff(failures: u32, chance: f64) -> Duration {
    let full = BACKOFF_FIRST.saturating_mul(1 << failures.min(16)).min(BACKOFF_MAX);
    full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_its_bound_and_stays_in_its_upper_half() {
        assert_eq!(backoff(0, 1.0), BACKOFF_FIRST);
        assert_eq!(backoff(1, 0.0), BACKOFF_FIRST);
        for failures in [10, 100, u32::MAX] {
            assert_eq!(backoff(failures, 1.0), BACKOFF_MAX);
            assert_eq!(backoff(failures, 0.0), BACKOFF_MAX / 2);
        }
    }
}
