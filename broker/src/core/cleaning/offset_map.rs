//! The latest offset of each key in the dirty part of a log, in memory of fixed size.

use std::hash::BuildHasher;

/// Bytes of one slot; with it `log.cleaner.dedupe.buffer.size` becomes a number of keys, as in Kafka (16 of hash, 8 of offset).
pub const SLOT_BYTES: usize = 24;
/// Numerator and denominator of the part of the slots that is filled (`log.cleaner.io.buffer.load.factor` is 0.9 by default).
const LOAD: (usize, usize) = (9, 10);

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Two keyed hashes of 64 bits: with 10^8 keys the chance that any two share both is below 10^-22.
    hash: [u64; 2],
    /// Offset + 1; 0: free.
    offset: i64,
}

/// See the module. Keys are remembered by keyed hashes, so nobody can choose two that collide.
#[derive(Debug)]
pub struct OffsetMap<S> {
    slots: Vec<Slot>,
    len: usize,
    keys_max: usize,
    hashers: [S; 2],
}

impl<S: BuildHasher> OffsetMap<S> {
    /// Room for `keys` keys, or as many as fit in `bytes_max`, but at least one. The two hashers must be seeded by chance, each on its own.
    pub fn new(keys: usize, bytes_max: usize, hashers: [S; 2]) -> Self {
        let slots_max = (bytes_max / SLOT_BYTES).max(2);
        let slots = (keys.saturating_mul(LOAD.1) / LOAD.0).saturating_add(2).min(slots_max);
        let keys_max = (slots * LOAD.0 / LOAD.1).clamp(1, slots - 1);
        Self { slots: vec![Slot::default(); slots], len: 0, keys_max, hashers }
    }

    /// Notes a key at an offset, which must be the largest so far. False: there is no room for a new key.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        if self.slots[at].offset == 0 {
            if self.len == self.keys_max {
                return false;
            }
            self.len += 1;
        }
        self.slots[at] = Slot { hash, offset: offset + 1 };
        true
    }

    /// The latest offset of a key.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let found = self.slots[self.find(self.hash(key))].offset;
        (found > 0).then(|| found - 1)
    }

    /// Keys noted.
    pub fn len(&self) -> usize {
        self.len
    }

    /// No key is noted.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }

    /// The slot of a hash, or the free one where it belongs; there is always a free one.
    fn find(&self, hash: [u64; 2]) -> usize {
        let mut at = ((u128::from(hash[0]) * self.slots.len() as u128) >> 64) as usize;
        while self.slots[at].offset != 0 && self.slots[at].hash != hash {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn the_latest_offset_of_each_key_is_found_up_to_the_bound() {
        let mut map = OffsetMap::new(1000, 1 << 20, [RandomState::new(), RandomState::new()]);
        let mut model = HashMap::new();
        for offset in 0..5000_i64 {
            let key = (offset * 7919 % 997).to_string();
            assert!(map.put(key.as_bytes(), offset));
            model.insert(key, offset);
        }
        assert_eq!(map.len(), model.len());
        assert!(model.iter().all(|(key, offset)| map.get(key.as_bytes()) == Some(*offset)));
        assert_eq!(map.get(b"unknown"), None);
    }

    #[test]
    fn l7_memory_is_bounded_and_known_keys_still_move_when_it_is_full() {
        for bytes in [0, 24, 48, 100, 1000, 10_000] {
            let mut map = OffsetMap::new(usize::MAX, bytes, [RandomState::new(), RandomState::new()]);
            let mut keys = 0;
            while map.put(&keys.to_string().into_bytes(), keys) {
                keys += 1;
                assert!(keys < 1000);
            }
            assert!(keys >= 1 && keys as usize <= (bytes / SLOT_BYTES).max(2), "{keys} keys in {bytes} bytes");
            assert!(map.put(b"0", 9999));
            assert_eq!(map.get(b"0"), Some(9999));
        }
    }
}
