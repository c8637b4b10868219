//! Damaged messages, by the thousand: no decoder panics, loops or misreads what it accepts. Runs on stable Rust; `CAUSEWAY_FUZZ_ITERS` (per message and
//! version) and `CAUSEWAY_FUZZ_SEED` make it longer and other.

mod common;

use bytes::{Bytes, BytesMut};
use causeway_wire::frame::take_frame;
use causeway_wire::header::{RequestHeader, ResponseHeader};
use causeway_wire::messages::{self, RecodeError};
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

#[test]
fn damaged_messages_are_refused_or_read_the_same_twice() {
    let iterations = rounds("CAUSEWAY_FUZZ_ITERS", 1500);
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
