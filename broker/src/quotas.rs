//! Quotas at work: what each client used, and how long its connection is left unread when that is too much.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::BrokerConfig;
use crate::core::quota::{Rate, TokenBucket, Who, Window, find};
use crate::meta::MetaImage;
use crate::meta::quotas::{CONTROLLER_MUTATION_RATE, REQUEST_PERCENTAGE};

/// Whom every client is until it logs in.
pub const ANONYMOUS: &str = "ANONYMOUS";
/// Rates measured at once; client ids are what clients say they are, so there may be any number of them. When it is full those
/// that are idle make room, and whoever comes beside that is measured together with the others who find none.
const RATES_MAX: usize = 10_000;
/// Longest time a connection is left unread: a client that owes more waits again. Kafka's clients give up on a silent
/// connection after 30 s and more.
const MUTE_MAX: Duration = Duration::from_secs(20);

/// Rates and buckets of clients.
pub struct Quotas {
    started: Instant,
    window: Window,
    mutation_window: Window,
    rates: Mutex<HashMap<(&'static str, Who), Rate>>,
    buckets: Mutex<HashMap<Who, TokenBucket>>,
}

impl Quotas {
    /// Nothing used yet.
    pub fn new(config: &BrokerConfig) -> Self {
        let window = |num: &str, seconds: &str| Window {
            samples: config.number(num).max(1) as usize,
            each_ms: config.number(seconds).max(1) as u64 * 1_000,
        };
        Self {
            started: Instant::now(),
            window: window("quota.window.num", "quota.window.size.seconds"),
            mutation_window: window("controller.quota.window.num", "controller.quota.window.size.seconds"),
            rates: Mutex::default(),
            buckets: Mutex::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Counts a use of a byte rate; how long the client must wait.
    pub fn record(&self, image: &MetaImage, key: &'static str, client_id: &str, value: f64) -> Duration {
        self.count(image, key, client_id, value, false)
    }

    /// Counts a use unless the client must wait: then nothing is used and the caller must not do it.
    pub fn record_or_refuse(&self, image: &MetaImage, key: &'static str, client_id: &str, value: f64) -> Duration {
        self.count(image, key, client_id, value, true)
    }

    /// Most that may be used at once without having to wait for ever; none without a quota.
    pub fn burst(&self, image: &MetaImage, key: &str, client_id: &str) -> Option<f64> {
        find(&image.clients.quotas, key, ANONYMOUS, client_id).map(|(bound, _)| self.window.burst(bound))
    }

    /// Counts time spent on a request; how long the client must wait, at most one window (KIP-124).
    pub fn record_time(&self, image: &MetaImage, client_id: &str, busy: Duration) -> Duration {
        let percent = busy.as_secs_f64() * 100.0;
        let delay = self.count(image, REQUEST_PERCENTAGE, client_id, percent, false);
        delay.min(Duration::from_millis(self.window.each_ms))
    }

    fn count(&self, image: &MetaImage, key: &'static str, client_id: &str, value: f64, refuse: bool) -> Duration {
        let Some((bound, who)) = find(&image.clients.quotas, key, ANONYMOUS, client_id) else {
            return Duration::ZERO;
        };
        let now = self.now_ms();
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = slot(&mut rates, (key, who), |rate| rate.is_idle(self.window, now), Rate::default);
        rate.record(value, self.window, now);
        let delay = rate.delay_ms(bound, self.window, now);
        if refuse && delay > 0 {
            rate.record(-value, self.window, now);
        }
        Duration::from_millis(delay).min(MUTE_MAX)
    }

    /// A request's way to ask whether it may make or delete so many partitions.
    pub fn mutations<'a>(&'a self, image: &MetaImage, client_id: &str, strict: bool) -> Mutations<'a> {
        let found = find(&image.clients.quotas, CONTROLLER_MUTATION_RATE, ANONYMOUS, client_id);
        Mutations { quotas: self, found, strict, delay: Duration::ZERO }
    }
}

/// See [`Quotas::mutations`].
pub struct Mutations<'a> {
    quotas: &'a Quotas,
    found: Option<(f64, Who)>,
    /// Refuse what exceeds the quota; older versions of the APIs know no such answer and are only made to wait.
    strict: bool,
    delay: Duration,
}

impl Mutations<'_> {
    /// Whether so many more may be done now. Uses them if so.
    pub fn allow(&mut self, partitions: usize) -> bool {
        let Some((bound, who)) = &self.found else { return true };
        let (quotas, bound) = (self.quotas, *bound);
        let burst_ms = quotas.mutation_window.samples as u64 * quotas.mutation_window.each_ms;
        let now = quotas.now_ms();
        let mut buckets = quotas.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |bucket: &mut TokenBucket| bucket.delay_ms(bound, burst_ms, now) == 0;
        let bucket = slot(&mut buckets, who.clone(), idle, || TokenBucket::full(bound, burst_ms, now));
        let owed = bucket.delay_ms(bound, burst_ms, now);
        if self.strict && owed > 0 {
            self.delay = self.delay.max(Duration::from_millis(owed));
            return false;
        }
        bucket.take(partitions as f64, bound, burst_ms, now);
        self.delay = self.delay.max(Duration::from_millis(bucket.delay_ms(bound, burst_ms, now)));
        true
    }

    /// How long the client must wait after all this.
    pub fn delay(&self) -> Duration {
        self.delay.min(MUTE_MAX)
    }
}

/// The entry of `key`, made if there is room; without room one that all such share.
fn slot<K: Eq + Hash + Clone + Shared, V>(
    map: &mut HashMap<K, V>,
    key: K,
    mut idle: impl FnMut(&mut V) -> bool,
    new: impl FnOnce() -> V,
) -> &mut V {
    if map.len() >= RATES_MAX && !map.contains_key(&key) {
        map.retain(|_, value| !idle(value));
    }
    let key = if map.len() < RATES_MAX || map.contains_key(&key) { key } else { key.shared() };
    map.entry(key).or_insert_with(new)
}

/// Keys that can stand for all who found no room.
trait Shared {
    fn shared(&self) -> Self;
}

impl Shared for Who {
    fn shared(&self) -> Self {
        Who::default()
    }
}

impl Shared for (&'static str, Who) {
    fn shared(&self) -> Self {
        (self.0, Who::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::MetaRecord;
    use crate::meta::clients::Entity;
    use crate::meta::quotas::{CLIENT_ID, PRODUCER_BYTE_RATE};
    use crate::properties::Properties;

    fn quotas(key: &str, value: &str) -> (Quotas, MetaImage) {
        let mut image = MetaImage::default();
        let entity = Entity::from([(CLIENT_ID.to_owned(), None)]);
        image.apply(&MetaRecord::ClientQuota { entity, key: key.into(), value: Some(value.into()) });
        (Quotas::new(&BrokerConfig::from_properties(&Properties::default()).unwrap()), image)
    }

    #[test]
    fn what_is_refused_is_not_counted() {
        let (quotas, image) = quotas(PRODUCER_BYTE_RATE, "1000");
        assert_eq!(quotas.record_or_refuse(&image, PRODUCER_BYTE_RATE, "c", 9_000.0), Duration::ZERO);
        assert!(quotas.record_or_refuse(&image, PRODUCER_BYTE_RATE, "c", 9_000.0) > Duration::ZERO);
        assert_eq!(quotas.record_or_refuse(&image, PRODUCER_BYTE_RATE, "c", 900.0), Duration::ZERO);
        assert_eq!(quotas.record(&image, PRODUCER_BYTE_RATE, "other", 9_000.0), Duration::ZERO);
        assert_eq!(quotas.record(&MetaImage::default(), PRODUCER_BYTE_RATE, "c", 1e12), Duration::ZERO);
        assert!(quotas.record(&image, PRODUCER_BYTE_RATE, "c", 1e12) <= MUTE_MAX);
    }

    #[test]
    fn any_number_of_client_ids_costs_bounded_memory_and_escapes_nothing() {
        let (quotas, image) = quotas(PRODUCER_BYTE_RATE, "1000");
        for i in 0..RATES_MAX + 50 {
            quotas.record(&image, PRODUCER_BYTE_RATE, &format!("c{i}"), 1_000.0);
        }
        assert!(quotas.rates.lock().unwrap().len() <= RATES_MAX + 1);
        assert!(quotas.record(&image, PRODUCER_BYTE_RATE, "one more", 1_000.0) > Duration::ZERO);
    }

    #[test]
    fn strict_mutations_are_refused_when_something_is_owed_and_others_only_wait() {
        let (quotas, image) = quotas(CONTROLLER_MUTATION_RATE, "1");
        let mut strict = quotas.mutations(&image, "c", true);
        assert!(strict.allow(11) && strict.delay() == Duration::ZERO);
        assert!(strict.allow(5), "nothing was owed yet");
        assert!(!strict.allow(1));
        assert!(strict.delay() > Duration::from_secs(3));
        let mut lenient = quotas.mutations(&image, "c", false);
        assert!(lenient.allow(1) && lenient.delay() > Duration::from_secs(4));
    }
}
