//! What record batches cost: building, decoding, walking, validating and header updates, per codec and batch size.
//!
//! Every figure is set against a copy and a CRC-32C of the same bytes, measured in the same round, because only ratios
//! hold from one machine to another. Cases are interleaved and the median over the rounds is shown.
//! `cargo bench -p causeway-wire --bench records [FILTER]`, the filter being a part of a codec's name.
#![expect(clippy::print_stdout, reason = "a report for the terminal")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway_wire::records::validate::{Depth, ValidateOptions, produce_batch};
use causeway_wire::records::{
    BatchBuilder, BatchView, Codec, DECOMPRESSED_BYTES_MAX, HeaderPatch, RecordHeader, recrc_header, verify_crc,
};

/// Odd, so that the median is a measured value.
const ROUNDS: usize = 15;
/// Time per case and round: long against the clock, short against the machine's other work.
const SLICE: Duration = Duration::from_millis(12);
const NOW: i64 = 1_760_000_000_000;
const RECORD_BYTES: usize = 1000;

struct Input {
    records: Vec<(Vec<u8>, Vec<u8>)>,
    headers: Vec<RecordHeader>,
}

/// Events as applications send them: repeating field names, a fifth of each value random.
fn input(records: usize) -> Input {
    let mut rng = fastrand::Rng::with_seed(42);
    let records = (0..records)
        .map(|i| {
            let mut value =
                format!("{{\"event\":\"order.updated\",\"order\":{},\"token\":\"", rng.u32(..)).into_bytes();
            value.extend((0..RECORD_BYTES / 5).map(|_| rng.alphanumeric() as u8));
            let mut n = 0;
            while value.len() < RECORD_BYTES {
                n += 1;
                let (amount, word) = (rng.u32(..1000), rng.u8(..40));
                value.extend_from_slice(format!("\",\"field{n}\":\"{amount} items of kind {word}").as_bytes());
            }
            value.truncate(RECORD_BYTES);
            (format!("key-{i}").into_bytes(), value)
        })
        .collect();
    let headers = vec![RecordHeader { key: "trace".into(), value: Some("00-4bf92f3577b34da6".into()) }];
    Input { records, headers }
}

fn build(codec: Codec, input: &Input) -> Bytes {
    let mut batch = BatchBuilder::new(codec).producer(7, 1, 0);
    for (i, (key, value)) in input.records.iter().enumerate() {
        batch.push(NOW + i as i64, Some(key), Some(value), &input.headers).expect("fits a batch");
    }
    batch.build().expect("fits a batch")
}

type Case<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn cases<'a>(codec: Codec, input: &'a Input, batch: &'a BatchView, plain: &'a [u8]) -> Vec<Case<'a>> {
    let options = ValidateOptions { batch_bytes_max: usize::MAX, ..ValidateOptions::at(NOW) };
    let shallow = ValidateOptions { depth: Depth::Header, ..options.clone() };
    let mut copy = vec![0u8; plain.len()];
    let mut patched = batch.bytes.to_vec();
    let mut sequence = 0;
    vec![
        (
            "memcpy",
            Box::new(move || {
                copy.copy_from_slice(black_box(plain));
                black_box(&copy);
            }),
        ),
        ("crc", Box::new(move || _ = black_box(crc32c::crc32c(black_box(plain))))),
        ("encode", Box::new(move || drop(black_box(build(codec, input))))),
        ("decode", Box::new(move || drop(black_box(batch.records(DECOMPRESSED_BYTES_MAX).expect("is sound"))))),
        (
            "walk",
            Box::new(move || {
                let block = batch.decompress(DECOMPRESSED_BYTES_MAX).expect("is sound");
                let bytes: usize = batch.walk(&block).map(|r| r.expect("is sound").value.map_or(0, <[u8]>::len)).sum();
                black_box(bytes);
            }),
        ),
        ("validate", Box::new(move || _ = black_box(produce_batch(&batch.bytes, &options).expect("is sound")))),
        ("header", Box::new(move || _ = black_box(produce_batch(&batch.bytes, &shallow).expect("is sound")))),
        ("verify", Box::new(move || verify_crc(black_box(&batch.bytes)).expect("is sound"))),
        (
            "recrc",
            Box::new(move || {
                sequence += 1;
                let patch = HeaderPatch { producer: Some((9, 3, sequence)), ..HeaderPatch::default() };
                black_box(recrc_header(&mut patched, &patch).expect("is sound"));
            }),
        ),
    ]
}

/// Nanoseconds per call over one slice of time.
fn measure(case: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    let mut calls = 0u32;
    let mut elapsed = Duration::ZERO;
    while elapsed < SLICE {
        for _ in 0..4 {
            case();
        }
        calls += 4;
        elapsed = start.elapsed();
    }
    elapsed.as_nanos() as f64 / f64::from(calls)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn report(codec: Codec, records: usize) {
    let input = input(records);
    let plain = build(Codec::None, &input);
    let batch = BatchView::parse(&build(codec, &input)).expect("was just built");
    let mut cases = cases(codec, &input, &batch, &plain);
    let rounds: Vec<Vec<f64>> =
        (0..ROUNDS).map(|_| cases.iter_mut().map(|(_, case)| measure(case)).collect()).collect();
    println!("\n{codec}, {records} records, {} bytes plain, {} stored", plain.len(), batch.bytes.len());
    println!("{:>10} {:>12} {:>10} {:>10} {:>10}", "", "ns/batch", "MB/s", "x memcpy", "x crc");
    for (i, (name, _)) in cases.iter().enumerate() {
        let nanos = median(rounds.iter().map(|round| round[i]).collect());
        let copies = median(rounds.iter().map(|round| round[i] / round[0]).collect());
        let sums = median(rounds.iter().map(|round| round[i] / round[1]).collect());
        let rate = plain.len() as f64 / nanos * 1000.0;
        println!("{name:>10} {nanos:>12.0} {rate:>10.0} {copies:>10.2} {sums:>10.2}");
    }
}

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    for codec in Codec::ALL.into_iter().filter(|codec| codec.name().contains(&filter)) {
        for records in [1, 16, 250] {
            report(codec, records);
        }
    }
}
