//! Which records a drill sends: sizes, keys and headers drawn by chance from a stated mix.

use super::payload::{KeyShape, Shape, VALUE_BYTES_MAX, ValueShape};

/// Codecs of the protocol under librdkafka's names; a drill runs one producer for each.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Keys per partition and producer on a compacted topic: few, so that each is overwritten often.
const POOL_KEYS: u32 = 40;
/// Share of large records: rare, so that they are in every run of ten thousand and do not fill the disk.
const LARGE_PER_MILLION: u32 = 150;
/// Smallest value called large, in bytes: more than one default fetch or producer batch.
const LARGE_BYTES_MIN: usize = 100 << 10;

/// What kind of topic the records are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Any shape: null and unique keys, null, empty and sized values up to the limit in bytes.
    Any {
        /// Greatest value in bytes.
        bytes_max: usize,
    },
    /// A compacted topic: always a key from a small pool, one value in ten a tombstone.
    Compacted,
}

/// Draws the shape of the next record.
pub fn draw(mix: Mix, random: &mut fastrand::Rng) -> Shape {
    let odd_headers = random.u8(0..10) == 0;
    match mix {
        Mix::Compacted => {
            let value = if random.u8(0..10) == 0 { ValueShape::Null } else { ValueShape::Sized(random.usize(20..300)) };
            Shape { key: KeyShape::Pool(random.u32(0..POOL_KEYS)), value, odd_headers }
        }
        Mix::Any { bytes_max } => {
            let key = if random.u8(0..4) == 0 { KeyShape::Null } else { KeyShape::Unique };
            Shape { key, value: draw_value(bytes_max.min(VALUE_BYTES_MAX), random), odd_headers }
        }
    }
}

fn draw_value(bytes_max: usize, random: &mut fastrand::Rng) -> ValueShape {
    if random.u32(0..1_000_000) < LARGE_PER_MILLION && bytes_max > LARGE_BYTES_MIN {
        return ValueShape::Sized(random.usize(LARGE_BYTES_MIN..=bytes_max));
    }
    match random.u8(0..100) {
        0..2 => ValueShape::Null,
        2..4 => ValueShape::Empty,
        4..10 => ValueShape::Sized(random.usize(1..60).min(bytes_max)),
        10..90 => ValueShape::Sized(random.usize(100..400).min(bytes_max)),
        _ => ValueShape::Sized(random.usize(400..4_000).min(bytes_max)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_draws_hold_every_shape_and_no_value_above_the_limit() {
        let mut random = fastrand::Rng::with_seed(1);
        let drawn: Vec<Shape> = (0..40_000).map(|_| draw(Mix::Any { bytes_max: 200 << 10 }, &mut random)).collect();
        let has = |wanted: fn(&Shape) -> bool| drawn.iter().any(wanted);
        assert!(has(|s| s.key == KeyShape::Null) && has(|s| s.key == KeyShape::Unique));
        assert!(has(|s| s.value == ValueShape::Null) && has(|s| s.value == ValueShape::Empty));
        assert!(has(|s| matches!(s.value, ValueShape::Sized(size) if size >= LARGE_BYTES_MIN)));
        assert!(drawn.iter().all(|s| !matches!(s.value, ValueShape::Sized(size) if size > 200 << 10)));
    }

    #[test]
    fn a_compacted_topic_gets_keys_that_repeat_and_tombstones() {
        let mut random = fastrand::Rng::with_seed(1);
        let drawn: Vec<Shape> = (0..1_000).map(|_| draw(Mix::Compacted, &mut random)).collect();
        assert!(drawn.iter().all(|s| matches!(s.key, KeyShape::Pool(key) if key < POOL_KEYS)));
        assert!(drawn.iter().filter(|s| s.value == ValueShape::Null).count() > 50);
    }
}
