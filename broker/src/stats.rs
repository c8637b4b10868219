//! What the node counts while it serves: requests and their times.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use causeway_wire::ApiKey;

use crate::api::ENABLED;

/// Upper ends of the classes that times are counted in, in milliseconds.
pub const TIME_BOUNDS_MS: [f64; 12] = [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 500.0, 1_000.0, 10_000.0];

/// Requests of one API.
#[derive(Debug, Default)]
pub struct ApiStats {
    /// Answered ones by class of time, the last class without an upper end.
    pub classes: [AtomicU64; TIME_BOUNDS_MS.len() + 1],
    /// Sum of the times, in microseconds.
    pub micros: AtomicU64,
    /// Bytes of requests, with their headers.
    pub bytes: AtomicU64,
}

impl ApiStats {
    fn record(&self, time: Duration, bytes: usize) {
        let ms = time.as_secs_f64() * 1_000.0;
        let class = TIME_BOUNDS_MS.iter().position(|bound| ms <= *bound).unwrap_or(TIME_BOUNDS_MS.len());
        self.classes[class].fetch_add(1, Relaxed);
        self.micros.fetch_add(time.as_micros() as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }
}

/// All counters of a node.
#[derive(Debug)]
pub struct Stats {
    apis: Vec<(ApiKey, ApiStats)>,
    /// Connections closed by us because of what the peer did.
    pub faults: AtomicU64,
    /// Threads of compaction that ended by a bug.
    pub dead_cleaners: AtomicU64,
    /// Connections turned away at the door.
    pub refused: AtomicU64,
    /// Records, bytes in and bytes out of topics that are gone: totals never go back.
    pub gone: Traffic,
}

impl Default for Stats {
    fn default() -> Self {
        let apis = ENABLED.iter().map(|(key, _)| (*key, ApiStats::default())).collect();
        Self {
            apis,
            faults: AtomicU64::default(),
            dead_cleaners: AtomicU64::default(),
            refused: AtomicU64::default(),
            gone: Traffic::default(),
        }
    }
}

impl Stats {
    /// Counts a request that was answered.
    pub fn answered(&self, key: i16, time: Duration, bytes: usize) {
        if let Some((_, stats)) = self.apis.iter().find(|(k, _)| i16::from(*k) == key) {
            stats.record(time, bytes);
        }
    }

    /// Counters by API.
    pub fn apis(&self) -> impl Iterator<Item = (ApiKey, &ApiStats)> {
        self.apis.iter().map(|(key, stats)| (*key, stats))
    }
}

/// What went in and out.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Records appended by producers.
    pub records_in: AtomicU64,
    /// Bytes of their batches.
    pub bytes_in: AtomicU64,
    /// Bytes of batches sent to readers.
    pub bytes_out: AtomicU64,
}

impl Traffic {
    /// Counts a batch that came.
    pub fn came(&self, records: u64, bytes: usize) {
        self.records_in.fetch_add(records, Relaxed);
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts what a reader was sent.
    pub fn went(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    /// Records in, bytes in, bytes out.
    pub fn read(&self) -> [u64; 3] {
        [self.records_in.load(Relaxed), self.bytes_in.load(Relaxed), self.bytes_out.load(Relaxed)]
    }

    /// Adds what another one counted.
    pub fn add(&self, other: [u64; 3]) {
        self.records_in.fetch_add(other[0], Relaxed);
        self.bytes_in.fetch_add(other[1], Relaxed);
        self.bytes_out.fetch_add(other[2], Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_classes() {
        let stats = Stats::default();
        for ms in [0, 1, 7, 60_000] {
            stats.answered(18, Duration::from_millis(ms), 10);
        }
        stats.answered(i16::MAX, Duration::ZERO, 10);
        let (_, api) = stats.apis().find(|(key, _)| *key == ApiKey::ApiVersions).unwrap();
        let classes: Vec<u64> = api.classes.iter().map(|c| c.load(Relaxed)).collect();
        assert_eq!(classes, [1, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((api.micros.load(Relaxed), api.bytes.load(Relaxed)), (60_008_000, 40));
    }
}
