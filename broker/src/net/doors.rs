//! Who may connect: how many at once, how many from one address, how fast.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::config::items;
use crate::core::quota::TokenBucket;
use crate::meta::clients::Clients;
use crate::meta::quotas::{CONNECTION_CREATION_RATE, IP};
use crate::node::Node;

/// Connections at once unless `max.connections` says less: each costs two tasks and some kilobytes.
const CONNECTIONS_MAX: usize = 20_000;
/// Connections a second in a burst after a silence, in milliseconds of the rate: Kafka's eleven windows of a second.
const BURST_MS: u64 = 11_000;
/// Addresses whose rate is measured at once; those at rest make room.
const ADDRESSES_MAX: usize = 10_000;

/// What is in force when somebody knocks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Connections at once.
    pub total: usize,
    /// From one address.
    pub per_address: usize,
    /// Other numbers for some addresses.
    pub overrides: Vec<(IpAddr, usize)>,
    /// New ones a second, all together.
    pub rate: Option<f64>,
    /// New ones a second from the address that knocks.
    pub address_rate: Option<f64>,
}

impl Limits {
    /// The limits of a node now, for an address.
    pub fn of(node: &Node, address: IpAddr) -> Self {
        let number = |name: &str| usize::try_from(node.broker_number(name)).unwrap_or(0);
        let most = i32::MAX as usize;
        let rate = number("max.connection.creation.rate");
        Self {
            total: number("max.connections").min(CONNECTIONS_MAX),
            per_address: number("max.connections.per.ip"),
            overrides: overrides(&node.broker_text("max.connections.per.ip.overrides")),
            rate: (rate < most).then_some(rate as f64),
            address_rate: address_rate(&node.meta.image().clients, address),
        }
    }

    fn for_address(&self, address: IpAddr) -> usize {
        let own = self.overrides.iter().find(|(ip, _)| *ip == address);
        own.map_or(self.per_address, |(_, count)| *count)
    }
}

/// `address:count` pairs; what cannot be read was refused when it was set.
pub fn overrides(text: &str) -> Vec<(IpAddr, usize)> {
    let pair = |item: &str| {
        let (address, count) = item.rsplit_once(':')?;
        Some((address.trim().parse().ok()?, count.trim().parse().ok()?))
    };
    items(text).filter_map(pair).collect()
}

/// The quota of an address: its own or that of all addresses (KIP-612).
fn address_rate(clients: &Clients, address: IpAddr) -> Option<f64> {
    if clients.quotas.is_empty() {
        return None;
    }
    let quota = |name: Option<String>| {
        let entity = [(IP.to_owned(), name)].into();
        clients.quotas.get(&entity)?.get(CONNECTION_CREATION_RATE).copied()
    };
    quota(Some(address.to_string())).or_else(|| quota(None))
}

/// Why somebody stays outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// As many as may be are there.
    Full,
    /// As many from that address.
    AddressFull,
    /// That address comes too fast.
    AddressTooFast,
    /// All together come too fast: the next may come after so many milliseconds.
    TooFast(u64),
}

/// Counts who is inside; shared by all listeners.
#[derive(Debug)]
pub struct Doors {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    by_address: HashMap<IpAddr, usize>,
    rate: Option<TokenBucket>,
    address_rates: HashMap<IpAddr, TokenBucket>,
}

impl Default for Doors {
    fn default() -> Self {
        Self { started: Instant::now(), state: Mutex::default() }
    }
}

impl Doors {
    /// How many are inside.
    pub fn open(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).open
    }

    /// Lets somebody in, or says why not. What is returned counts them until it is dropped.
    pub fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Result<Inside, Closed> {
        let now = self.started.elapsed().as_millis() as u64;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.open >= limits.total {
            return Err(Closed::Full);
        }
        if state.by_address.get(&address).copied().unwrap_or(0) >= limits.for_address(address) {
            return Err(Closed::AddressFull);
        }
        if let Some(rate) = limits.address_rate {
            if state.address_rates.len() >= ADDRESSES_MAX {
                state.address_rates.retain(|_, bucket| bucket.delay_ms(rate, BURST_MS, now) > 0);
            }
            if state.address_rates.len() >= ADDRESSES_MAX && !state.address_rates.contains_key(&address) {
                // Nobody at rest to make room: all of them owe, and a newcomer waits like them.
                return Err(Closed::AddressTooFast);
            }
            let bucket = state.address_rates.entry(address);
            let bucket = bucket.or_insert_with(|| TokenBucket::full(rate, BURST_MS, now));
            if bucket.delay_ms(rate, BURST_MS, now) > 0 {
                return Err(Closed::AddressTooFast);
            }
            bucket.take(1.0, rate, BURST_MS, now);
        }
        if let Some(rate) = limits.rate {
            // A rate of zero lets nobody in; the number is only there to divide by.
            let rate = rate.max(f64::MIN_POSITIVE);
            let bucket = state.rate.get_or_insert_with(|| TokenBucket::full(rate, BURST_MS, now));
            match bucket.delay_ms(rate, BURST_MS, now) {
                0 => bucket.take(1.0, rate, BURST_MS, now),
                wait => return Err(Closed::TooFast(wait)),
            }
        }
        state.open += 1;
        *state.by_address.entry(address).or_default() += 1;
        Ok(Inside { doors: Arc::clone(self), address })
    }
}

/// Somebody who is inside.
#[derive(Debug)]
pub struct Inside {
    doors: Arc<Doors>,
    address: IpAddr,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut state = self.doors.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open -= 1;
        if let Some(count) = state.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { total: 100, per_address: 100, ..Limits::default() }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn who_leaves_makes_room_for_the_next() {
        let doors = Arc::new(Doors::default());
        let two = Limits { total: 2, ..limits() };
        let first = doors.enter(ip(1), &two).unwrap();
        let _second = doors.enter(ip(1), &two).unwrap();
        assert_eq!(doors.enter(ip(2), &two).unwrap_err(), Closed::Full);
        drop(first);
        assert_eq!(doors.open(), 1);
        assert!(doors.enter(ip(2), &two).is_ok());
    }

    #[test]
    fn an_address_has_its_own_number() {
        let doors = Arc::new(Doors::default());
        let overrides = overrides("10.0.0.2:0, ::1:7,10.0.0.3:2");
        assert_eq!(overrides, [(ip(2), 0), ("::1".parse().unwrap(), 7), (ip(3), 2)]);
        let limits = Limits { per_address: 1, overrides, ..limits() };
        let _first = doors.enter(ip(1), &limits).unwrap();
        assert_eq!(doors.enter(ip(1), &limits).unwrap_err(), Closed::AddressFull);
        assert_eq!(doors.enter(ip(2), &limits).unwrap_err(), Closed::AddressFull);
        let _two = (doors.enter(ip(3), &limits).unwrap(), doors.enter(ip(3), &limits).unwrap());
        assert_eq!(doors.enter(ip(3), &limits).unwrap_err(), Closed::AddressFull);
    }

    #[test]
    fn a_burst_is_let_in_and_then_the_rate_counts() {
        let doors = Arc::new(Doors::default());
        let slow = Limits { address_rate: Some(0.5), ..limits() };
        let inside: Vec<_> = (0..20).filter_map(|_| doors.enter(ip(1), &slow).ok()).collect();
        assert!((5..=7).contains(&inside.len()), "{}", inside.len());
        assert_eq!(doors.enter(ip(1), &slow).unwrap_err(), Closed::AddressTooFast);
        assert!(doors.enter(ip(2), &slow).is_ok());
        let all = Limits { rate: Some(0.5), ..limits() };
        let inside: Vec<_> = (0..20).filter_map(|i| doors.enter(ip(i), &all).ok()).collect();
        assert!((5..=7).contains(&inside.len()), "{}", inside.len());
        assert!(matches!(doors.enter(ip(9), &all).unwrap_err(), Closed::TooFast(wait) if wait > 0));
    }
}
