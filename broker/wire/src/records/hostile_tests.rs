//! Bytes from a hostile or broken peer: an error, never a panic, and never more memory than the cap.

use bytes::Bytes;

use super::compress::{compress, decompress, decompress_into};
use super::validate::{Depth, ValidateOptions, produce_batch};
use super::*;

const CAP: usize = 1 << 20;
/// Iterations of the mutational fuzz test: about two seconds unoptimized. `CAUSEWAY_FUZZ_ITERS` overrides.
const FUZZ_ITERATIONS: u64 = 20_000;

const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

#[test]
fn bombs_stop_at_the_cap_without_holding_more() {
    let zeros = vec![0; 24 << 20];
    for codec in COMPRESSED {
        let bomb = compress(codec, &zeros).unwrap();
        let mut out = Vec::new();
        assert_eq!(decompress_into(codec, &bomb, CAP, &mut out), Err(RecordError::CapExceeded { cap: CAP }), "{codec}");
        assert!(out.capacity() <= 2 * CAP + (64 << 10), "{codec} held {} bytes", out.capacity());
        assert_eq!(decompress(codec, &bomb.into(), zeros.len()).unwrap().len(), zeros.len());
    }
    let plain = Bytes::from(vec![0; CAP + 1]);
    assert_eq!(decompress(Codec::None, &plain, CAP), Err(RecordError::CapExceeded { cap: CAP }));
}

#[test]
fn a_frame_that_declares_more_than_the_cap_is_refused_without_the_work() {
    let bomb = compress(Codec::Zstd, &vec![0; 64 << 20]).unwrap();
    let mut out = Vec::new();
    let outcome = decompress_into(Codec::Zstd, &bomb, 32 << 20, &mut out);
    assert_eq!(outcome, Err(RecordError::CapExceeded { cap: 32 << 20 }));
    assert_eq!(out.capacity(), 0, "nothing was decompressed");
}

#[test]
fn the_cap_is_exact() {
    let block = vec![7; 100_000];
    for codec in Codec::ALL {
        let stored = Bytes::from(compress(codec, &block).unwrap());
        assert_eq!(decompress(codec, &stored, 100_000).unwrap(), block, "{codec}");
        let over = decompress(codec, &stored, 99_999);
        assert_eq!(over, Err(RecordError::CapExceeded { cap: 99_999 }), "{codec}");
    }
}

#[test]
fn a_snappy_length_that_lies_reserves_nothing() {
    let lie = [0xff, 0xff, 0xff, 0x3f, 0x00, b'x']; // claims 128 MiB
    let mut out = Vec::new();
    let outcome = decompress_into(Codec::Snappy, &lie, DECOMPRESSED_BYTES_MAX, &mut out);
    assert!(matches!(outcome, Err(RecordError::Decompress { .. })));
    assert_eq!(out.capacity(), 0);
}

#[test]
fn cut_blocks_are_errors() {
    let block: Vec<u8> = (0..5000u32).flat_map(|i| (i / 3).to_be_bytes()).collect();
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let stored = Bytes::from(compress(codec, &block).unwrap());
        for len in 0..stored.len() {
            assert!(decompress(codec, &stored.slice(..len), CAP).is_err(), "{codec} cut to {len}");
        }
    }
    // xerial framing has no end mark: a cut between blocks shows only in the record count
    let stored = Bytes::from(compress(Codec::Snappy, &block).unwrap());
    for len in 17..stored.len() {
        assert!(decompress(Codec::Snappy, &stored.slice(..len), CAP).is_err(), "snappy cut to {len}");
    }
}

#[test]
fn gzip_members_and_xerial_streams_may_follow_one_another() {
    for codec in [Codec::Gzip, Codec::Snappy] {
        let two = [compress(codec, b"first ").unwrap(), compress(codec, b"second").unwrap()].concat();
        assert_eq!(decompress(codec, &two.into(), CAP).unwrap(), &b"first second"[..], "{codec}");
    }
}

#[test]
fn snappy_is_read_raw_and_written_framed() {
    let framed = compress(Codec::Snappy, b"hello hello hello").unwrap();
    assert_eq!(&framed[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw.into(), CAP).unwrap(), &b"hello hello hello"[..]);
}

#[test]
fn lz4_frames_are_those_java_reads() {
    let stored = compress(Codec::Lz4, &[1; 200_000]).unwrap();
    assert_eq!(&stored[..4], &0x184d_2204u32.to_le_bytes());
    assert_eq!(stored[4] & 0b1110_0000, 0b0110_0000, "version 1, independent blocks");
    assert_eq!(stored[5] >> 4, 4, "64 KiB blocks");
}

#[test]
fn declared_counts_reserve_nothing_and_structs_count_against_the_cap() {
    let batch = BatchBuilder::new(Codec::None).build().unwrap();
    let mut lie = batch.to_vec();
    lie[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    let view = BatchView::parse(&lie.into()).unwrap();
    assert_eq!(view.records(CAP), Err(RecordError::Count { declared: i32::MAX }));
    let mut many = BatchBuilder::new(Codec::Zstd);
    for _ in 0..20_000 {
        many.push(0, None, None, &[]).unwrap();
    }
    let view = BatchView::parse(&many.build().unwrap()).unwrap();
    assert!(view.decompress(CAP).is_ok());
    assert_eq!(view.records(CAP), Err(RecordError::CapExceeded { cap: CAP }));
    assert_eq!(view.records(16 * CAP).map(|records| records.len()), Ok(20_000));
}

#[test]
fn a_run_with_a_broken_header_reports_it_once() {
    let good = BatchBuilder::new(Codec::None).build().unwrap();
    let mut bad = good.to_vec();
    bad[8..12].copy_from_slice(&(-5i32).to_be_bytes());
    let mut run = Batches::new([&good[..], &bad, &good].concat().into());
    assert!(run.next().unwrap().is_ok());
    assert_eq!(run.next(), Some(Err(RecordError::BatchLength(-5))));
    assert_eq!(run.next(), None);
}

/// Batches to mutate: small ones, so that a mutation often hits something that matters.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for codec in Codec::ALL {
        let mut batch = BatchBuilder::new(codec).producer(1, 0, 0);
        let header = RecordHeader { key: "h".into(), value: Some("v".into()) };
        for i in 0..4 {
            batch.push(i, Some(b"key"), Some(&[i as u8; 90]), &[header.clone(), header.clone()]).unwrap();
        }
        seeds.push(batch.build().unwrap().to_vec());
    }
    seeds.push(control_batch(ControlMarker::Abort, 1, 0, 0, 0).unwrap().to_vec());
    seeds
}

fn mutate(rng: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = rng.choice(seeds).unwrap().clone();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..bytes.len());
        match rng.u8(..6) {
            0 => bytes[at] ^= 1 << rng.u8(..8),
            1 => bytes[at] = *rng.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap(),
            2 => bytes.truncate(at.max(1)),
            3 => bytes.insert(at, rng.u8(..)),
            4 => {
                let other = rng.choice(seeds).unwrap();
                let from = rng.usize(..other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let len = rng.usize(..16).min(bytes.len() - at);
                rng.fill(&mut bytes[at..at + len]);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    if rng.u8(..4) > 0 && bytes.len() >= HEADER_BYTES {
        // mend length and CRC, so that what lies behind those checks is reached
        let length = (bytes.len() - LENGTH_PREFIX_BYTES) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let sum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// Everything a peer's bytes go through. True if they were a batch with readable records.
fn exercise(bytes: Vec<u8>) -> bool {
    let mut patched = bytes.clone();
    let patch = HeaderPatch { producer: Some((3, 1, 5)), ..HeaderPatch::default() };
    let crc_was_right = verify_crc(&bytes).is_ok();
    if recrc_header(&mut patched, &patch).is_ok() {
        assert_eq!(verify_crc(&patched).is_ok(), crc_was_right);
    }
    for depth in [Depth::Records, Depth::Header] {
        let options = ValidateOptions { depth, decompressed_bytes_max: CAP, ..ValidateOptions::at(10) };
        if let Ok(info) = produce_batch(&bytes, &options) {
            assert_eq!(info.header.records_count, info.header.last_offset_delta + 1);
        }
    }
    let mut readable = false;
    for batch in Batches::new(bytes.into()).map_while(Result::ok) {
        let Ok(records) = decode_records(&batch, CAP) else { continue };
        let header = BatchHeader { attributes: batch.header.attributes.with_codec(Codec::None), ..batch.header };
        let again = BatchView::parse(&encode_batch(&header, &records).unwrap()).unwrap();
        assert_eq!(decode_records(&again, CAP).unwrap(), records);
        readable = true;
    }
    readable
}

#[test]
fn mutated_batches_never_panic() {
    let iterations = std::env::var("CAUSEWAY_FUZZ_ITERS").map_or(FUZZ_ITERATIONS, |n| n.parse().expect("a number"));
    let seeds = seeds();
    let mut readable = 0;
    for seed in 0..iterations {
        let bytes = mutate(&mut fastrand::Rng::with_seed(seed), &seeds);
        let shown = bytes.clone();
        match std::panic::catch_unwind(|| exercise(bytes)) {
            Ok(was_readable) => readable += u64::from(was_readable),
            Err(_) => panic!("seed {seed} panics with {shown:02x?}"),
        }
    }
    assert!(readable > iterations / 100, "only {readable} of {iterations} mutants got past the checks");
}

#[test]
fn mutated_blocks_never_panic_and_never_pass_the_cap() {
    let iterations = std::env::var("CAUSEWAY_FUZZ_ITERS").map_or(FUZZ_ITERATIONS, |n| n.parse().expect("a number"));
    let block: Vec<u8> = (0..2000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
    let seeds: Vec<Vec<u8>> = COMPRESSED.iter().map(|codec| compress(*codec, &block).unwrap()).collect();
    let cap = 10_000;
    let mut out = Vec::new();
    for seed in 0..iterations {
        let mut rng = fastrand::Rng::with_seed(seed);
        let which = rng.usize(..seeds.len());
        let mut stored = seeds[which].clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..stored.len());
            stored[at] = rng.u8(..);
        }
        if decompress_into(COMPRESSED[which], &stored, cap, &mut out).is_ok() {
            assert!(out.len() <= cap, "seed {seed}");
        }
    }
}
