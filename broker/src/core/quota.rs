//! Rates of clients against their quotas, and how long who exceeds one must wait (KIP-13, KIP-124, KIP-599). Pure: time is an
//! argument, in milliseconds of a clock that never goes back.

use std::collections::{BTreeMap, VecDeque};

use crate::meta::clients::Entity;
use crate::meta::quotas::{CLIENT_ID, USER};

/// How a rate is measured: so many windows of so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Windows kept.
    pub samples: usize,
    /// Length of each.
    pub each_ms: u64,
}

impl Window {
    /// What a quota allows to come at once after a silence.
    pub fn burst(self, bound: f64) -> f64 {
        bound * (self.samples.saturating_sub(1).max(1) as f64) * self.each_ms as f64 / 1_000.0
    }
}

/// A rate over the latest windows, as Kafka measures it.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    samples: VecDeque<(u64, f64)>,
}

impl Rate {
    /// Adds (or takes back, if negative) a value.
    pub fn record(&mut self, value: f64, window: Window, now_ms: u64) {
        self.forget(window, now_ms);
        match self.samples.back_mut() {
            Some((start, total)) if now_ms < *start + window.each_ms => *total += value,
            _ => self.samples.push_back((now_ms, value)),
        }
        while self.samples.len() > window.samples {
            self.samples.pop_front();
        }
    }

    /// How long to wait until the rate is back at `bound` a second.
    pub fn delay_ms(&mut self, bound: f64, window: Window, now_ms: u64) -> u64 {
        self.forget(window, now_ms);
        let Some((oldest, _)) = self.samples.front() else { return 0 };
        // A short history counts as if it were nearly all windows long: else the first request would always exceed.
        let least = (window.samples.saturating_sub(1)) as u64;
        let elapsed = now_ms.saturating_sub(*oldest);
        let elapsed = elapsed + least.saturating_sub(elapsed / window.each_ms) * window.each_ms;
        let elapsed = elapsed.max(1) as f64;
        let total: f64 = self.samples.iter().map(|(_, total)| total).sum();
        let rate = total * 1_000.0 / elapsed;
        if rate <= bound {
            return 0;
        }
        ((rate - bound) / bound * elapsed).round() as u64
    }

    /// Whether nothing within the windows is left.
    pub fn is_idle(&mut self, window: Window, now_ms: u64) -> bool {
        self.forget(window, now_ms);
        self.samples.is_empty()
    }

    fn forget(&mut self, window: Window, now_ms: u64) {
        let all = window.samples as u64 * window.each_ms;
        while self.samples.front().is_some_and(|(start, _)| now_ms >= start + all) {
            self.samples.pop_front();
        }
    }
}

/// Tokens that come at a rate and are used up in bursts: for what is seldom and large, like making partitions.
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    tokens: f64,
    at_ms: u64,
}

impl TokenBucket {
    /// A full one.
    pub fn full(bound: f64, burst_ms: u64, now_ms: u64) -> Self {
        Self { tokens: bound * burst_ms as f64 / 1_000.0, at_ms: now_ms }
    }

    /// Fills up to now.
    fn fill(&mut self, bound: f64, burst_ms: u64, now_ms: u64) {
        let came = bound * now_ms.saturating_sub(self.at_ms) as f64 / 1_000.0;
        self.tokens = (self.tokens + came).min(bound * burst_ms as f64 / 1_000.0);
        self.at_ms = now_ms;
    }

    /// Uses some, also more than there are.
    pub fn take(&mut self, count: f64, bound: f64, burst_ms: u64, now_ms: u64) {
        self.fill(bound, burst_ms, now_ms);
        self.tokens -= count;
    }

    /// How long until nothing is owed.
    pub fn delay_ms(&mut self, bound: f64, burst_ms: u64, now_ms: u64) -> u64 {
        self.fill(bound, burst_ms, now_ms);
        if self.tokens >= 0.0 { 0 } else { (-self.tokens / bound * 1_000.0).ceil() as u64 }
    }
}

/// Who shares one measured rate: user and client id, empty where the quota does not name the part.
pub type Who = (String, String);

/// How an entity names one of its types: not at all, by default, or by a name.
type Part<'a> = Option<&'a Option<String>>;

/// The quota of a client, and with whom it is shared. The first entity that has one counts, the most special first (KIP-55).
pub fn find(
    quotas: &BTreeMap<Entity, BTreeMap<String, f64>>,
    key: &str,
    user: &str,
    client_id: &str,
) -> Option<(f64, Who)> {
    if quotas.is_empty() {
        return None;
    }
    let (user_named, client_named) = (Some(user.to_owned()), Some(client_id.to_owned()));
    let levels: [(Part<'_>, Part<'_>); 8] = [
        (Some(&user_named), Some(&client_named)),
        (Some(&user_named), Some(&None)),
        (Some(&user_named), None),
        (Some(&None), Some(&client_named)),
        (Some(&None), Some(&None)),
        (Some(&None), None),
        (None, Some(&client_named)),
        (None, Some(&None)),
    ];
    levels.into_iter().find_map(|(user_part, client_part)| {
        let parts = [(USER, user_part), (CLIENT_ID, client_part)];
        let named = parts.into_iter().filter_map(|(kind, part)| Some((kind.to_owned(), part?.clone())));
        let bound = *quotas.get(&named.collect::<Entity>())?.get(key)?;
        // A default counts for each of those it stands for alone.
        let mine = |part: Part<'_>, own: &str| part.map_or_else(String::new, |_| own.to_owned());
        Some((bound, (mine(user_part, user), mine(client_part, client_id))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { samples: 11, each_ms: 1_000 };

    #[test]
    fn a_burst_within_the_windows_is_free_and_more_must_wait_until_the_rate_is_back() {
        let mut rate = Rate::default();
        rate.record(10_000.0, WINDOW, 5_000);
        assert_eq!(rate.delay_ms(1_000.0, WINDOW, 5_000), 0);
        rate.record(5_000.0, WINDOW, 5_000);
        let delay = rate.delay_ms(1_000.0, WINDOW, 5_000);
        assert_eq!(delay, 5_000);
        assert_eq!(rate.delay_ms(1_000.0, WINDOW, 16_000), 0, "windows pass and are forgotten");
        rate.record(10_000.0, WINDOW, 16_000);
        rate.record(5_000.0, WINDOW, 16_000);
        rate.record(-5_000.0, WINDOW, 16_000);
        assert_eq!(rate.delay_ms(1_000.0, WINDOW, 16_000), 0, "what was taken back does not count");
        assert!(!rate.is_idle(WINDOW, 16_000) && rate.is_idle(WINDOW, 27_000));
    }

    #[test]
    fn who_keeps_to_every_delay_gets_the_rate_that_the_quota_says() {
        for bound in [100.0, 1_000.0, 5_000.0] {
            let (mut rate, mut now, mut sent) = (Rate::default(), 0u64, 0.0);
            while now < 600_000 {
                rate.record(bound / 4.0, WINDOW, now);
                sent += bound / 4.0;
                now += 1 + rate.delay_ms(bound, WINDOW, now);
            }
            let got = sent * 1_000.0 / now as f64;
            assert!((0.8 * bound..1.25 * bound).contains(&got), "{got} at a quota of {bound}");
        }
    }

    #[test]
    fn a_bucket_owes_and_fills_again() {
        let mut bucket = TokenBucket::full(10.0, 11_000, 0);
        bucket.take(110.0, 10.0, 11_000, 0);
        assert_eq!(bucket.delay_ms(10.0, 11_000, 0), 0);
        bucket.take(20.0, 10.0, 11_000, 0);
        assert_eq!(bucket.delay_ms(10.0, 11_000, 0), 2_000);
        assert_eq!(bucket.delay_ms(10.0, 11_000, 2_000), 0);
        bucket.take(110.0, 10.0, 11_000, 1_000_000);
        assert_eq!(bucket.delay_ms(10.0, 11_000, 1_000_000), 0, "never more than full");
    }

    #[test]
    fn the_most_special_quota_counts_and_defaults_are_counted_for_each_alone() {
        let mut quotas = BTreeMap::new();
        let mut set = |user: Option<Option<&str>>, client: Option<Option<&str>>, value: f64| {
            let parts = [(USER, user), (CLIENT_ID, client)];
            let entity: Entity =
                parts.into_iter().filter_map(|(k, p)| Some((k.to_owned(), p?.map(str::to_owned)))).collect();
            quotas.insert(entity, BTreeMap::from([("k".to_owned(), value)]));
        };
        set(None, Some(None), 8.0);
        set(None, Some(Some("c")), 7.0);
        set(Some(None), None, 6.0);
        set(Some(Some("u")), None, 3.0);
        set(Some(Some("u")), Some(Some("c")), 1.0);
        let who = |user: &str, client: &str| (user.to_owned(), client.to_owned());
        assert_eq!(find(&quotas, "k", "u", "c"), Some((1.0, who("u", "c"))));
        assert_eq!(find(&quotas, "k", "u", "d"), Some((3.0, who("u", ""))));
        assert_eq!(find(&quotas, "k", "v", "c"), Some((6.0, who("v", ""))));
        assert_eq!(find(&quotas, "other", "u", "c"), None);
        quotas.retain(|entity, _| !entity.contains_key(USER));
        assert_eq!(find(&quotas, "k", "u", "c"), Some((7.0, who("", "c"))));
        assert_eq!(find(&quotas, "k", "u", "d"), Some((8.0, who("", "d"))));
    }
}
