//! Damaged messages and record batches, by the thousand: no decoder panics, loops or misreads what it accepts. Runs on stable Rust; `CAUSEWAY_FUZZ_ITERS`
//! (per message and version) and `CAUSEWAY_FUZZ_SEED` make it longer and other. `CAUSEWAY_FUZZ_INPUTS` is the number of inputs of all fuzzers together,
//! those of the broker too: a half of them are messages, a quarter batches.

mod common;

use bytes::{Bytes, BytesMut};
use causeway_wire::frame::take_frame;
use causeway_wire::header::{RequestHeader, ResponseHeader};
use causeway_wire::messages::{self, RecodeError};
use causeway_wire::records::validate::{Depth, ValidateOptions, produce_batch};
use causeway_wire::records::{BatchBuilder, Batches, Codec, TimestampType, decode_records};
use common::{described, random, rounds};
use std::time::{Duration, Instant};

/// Values at which lengths, counts and varints go wrong.
const EVIL: &[&[u8]] = &[
    &[0xff],
    &[0x80],
    &[0x7f],
    &[0x00],
    &[0xff, 0xff],
    &[0x7f, 0xff],
    &[0x80, 0x00],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x80, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
];
/// A decode of a few kilobytes takes microseconds; a second means a loop.
const SLOW: Duration = Duration::from_secs(1);

fn damage(bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..=bytes.len());
        match rng.u8(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => bytes.truncate(at),
            3 => {
                let evil = EVIL[rng.usize(0..EVIL.len())];
                let end = (at + evil.len()).min(bytes.len());
                bytes.splice(at..end, evil.iter().copied());
            }
            4 => {
                let evil = EVIL[rng.usize(0..EVIL.len())];
                bytes.splice(at..at, evil.iter().copied());
            }
            _ => {
                let from = rng.usize(0..=bytes.len());
                let piece: Vec<u8> = bytes[from..(from + rng.usize(0..40)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

/// Share of `CAUSEWAY_FUZZ_INPUTS` for one kind of input, if that is set.
fn share(of: u64) -> Option<u64> {
    Some(rounds("CAUSEWAY_FUZZ_INPUTS", 0) / of).filter(|inputs| *inputs > 0)
}

#[test]
fn damaged_messages_are_refused_or_read_the_same_twice() {
    let all: usize = described().iter().map(|(_, description)| description.versions.versions().count()).sum();
    let each = share(2).map(|inputs| inputs.div_ceil(all as u64));
    let iterations = each.unwrap_or_else(|| rounds("CAUSEWAY_FUZZ_ITERS", 1500));
    let seed = rounds("CAUSEWAY_FUZZ_SEED", 1);
    let (mut accepted, mut refused) = (0u64, 0u64);
    for (name, description) in described() {
        let message = messages::ALL.iter().find(|m| m.name == name).unwrap();
        for version in description.versions.versions() {
            let mut rng = fastrand::Rng::with_seed(seed ^ (version as u64) << 32);
            let mut input = Vec::new();
            for iteration in 0..iterations {
                if iteration % 8 == 0 {
                    input = random(&description, version, rng.u64(..));
                }
                damage(&mut input, &mut rng);
                let started = Instant::now();
                let mut first = BytesMut::new();
                let outcome = (message.recode)(version, &mut Bytes::copy_from_slice(&input), &mut first);
                assert!(started.elapsed() < SLOW, "{name} v{version} is slow on {input:02x?}");
                match outcome {
                    Err(RecodeError::Decode(_)) => refused += 1,
                    Err(RecodeError::Encode(error)) => {
                        panic!("{name} v{version} reads {input:02x?} but cannot write it: {error}")
                    }
                    Ok(()) => {
                        accepted += 1;
                        let (mut again, mut second) = (first.clone().freeze(), BytesMut::new());
                        (message.recode)(version, &mut again, &mut second).unwrap_or_else(|e| {
                            panic!("{name} v{version} cannot read what it wrote for {input:02x?}: {e}")
                        });
                        assert!(again.is_empty(), "{name} v{version}: {input:02x?}");
                        assert_eq!(first, second, "{name} v{version}: {input:02x?}");
                    }
                }
            }
        }
    }
    assert!(
        accepted > 1000 && refused > 1000,
        "{accepted} accepted, {refused} refused: the damage is too mild or too harsh"
    );
    println!("{accepted} damaged messages accepted, {refused} refused");
}

/// A batch of some records in any codec, of a producer or of none.
fn some_batch(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::ALL[rng.usize(..Codec::ALL.len())]);
    if rng.bool() {
        builder = builder.producer(rng.i64(0..99), rng.i16(0..9), rng.i32(0..99)).transactional(rng.bool());
    }
    for _ in 0..rng.usize(1..6) {
        let text: Vec<u8> = (0..rng.usize(0..80)).map(|_| rng.u8(b'a'..b'e')).collect();
        let key = rng.bool().then_some(&text[..text.len() / 2]);
        builder.push(rng.i64(-1..2_000_000_000_000), key, rng.bool().then_some(&text[..]), &[]).expect("fits");
    }
    builder.build().expect("fits").to_vec()
}

#[test]
fn damaged_batches_are_refused_or_read_within_bounds() {
    /// Most output of a block here; a bomb must stop at it.
    const BYTES_MAX: usize = 1 << 20;
    let options = ValidateOptions {
        batch_bytes_max: BYTES_MAX,
        decompressed_bytes_max: BYTES_MAX,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        now: 1_700_000_000_000,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        zstd_allowed: true,
        depth: Depth::Records,
    };
    let mut rng = fastrand::Rng::with_seed(rounds("CAUSEWAY_FUZZ_SEED", 1));
    let (mut valid, mut read, mut broken) = (0u64, 0u64, 0u64);
    let mut input = Vec::new();
    for iteration in 0..share(4).unwrap_or_else(|| 20 * rounds("CAUSEWAY_FUZZ_ITERS", 1500)) {
        if iteration % 8 == 0 {
            input = some_batch(&mut rng);
        }
        damage(&mut input, &mut rng);
        if rng.u8(0..4) > 0 && input.len() > 21 {
            // Behind a CRC that holds there is more to go wrong.
            let length = (input.len() - 12) as i32;
            input[8..12].copy_from_slice(&length.to_be_bytes());
            input[16] = 2;
            let crc = crc32c::crc32c(&input[21..]);
            input[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        let mut started = Instant::now();
        valid += u64::from(produce_batch(&input, &options).is_ok());
        for batch in Batches::new(Bytes::copy_from_slice(&input)).map_while(Result::ok) {
            let _ = batch.verify_crc();
            match decode_records(&batch, BYTES_MAX) {
                Ok(_) => read += 1,
                Err(_) => broken += 1,
            }
        }
        if started.elapsed() >= SLOW {
            // The machine may have been busy with others; a loop is as slow again.
            started = Instant::now();
            let _ = produce_batch(&input, &options);
            assert!(started.elapsed() < SLOW, "slow on {input:02x?}");
        }
    }
    assert!(valid > 100 && read > 100 && broken > 100, "{valid} valid, {read} read, {broken} refused");
    println!("damaged batches: {valid} valid, {read} read, {broken} refused");
}

#[test]
fn pure_noise_is_no_message() {
    let mut rng = fastrand::Rng::with_seed(rounds("CAUSEWAY_FUZZ_SEED", 1));
    for _ in 0..rounds("CAUSEWAY_FUZZ_ITERS", 1500) {
        let noise: Bytes = (0..rng.usize(0..2000)).map(|_| rng.u8(..)).collect();
        for message in messages::ALL {
            let version = rng.i16(message.versions.clone());
            let _ = (message.show)(version, &mut noise.clone());
        }
        let _ = RequestHeader::decode(&mut noise.clone());
        let _ = ResponseHeader::decode(1, &mut noise.clone());
        let _ = take_frame(&mut BytesMut::from(&noise[..]), 1 << 20);
    }
}
