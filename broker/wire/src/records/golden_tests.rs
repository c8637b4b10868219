//! Batches of other implementations: Java's and librdkafka's (`golden/README.md`).

use bytes::Bytes;

use super::*;

const CAP: usize = 1 << 20;
const FIRST_TIMESTAMP: i64 = 1_700_000_000_000;

macro_rules! golden {
    ($name:literal) => {
        Bytes::from_static(include_bytes!(concat!("golden/", $name, ".bin")))
    };
}

fn java() -> Vec<(Codec, Bytes)> {
    vec![
        (Codec::None, golden!("java-none")),
        (Codec::Gzip, golden!("java-gzip")),
        (Codec::Snappy, golden!("java-snappy")),
        (Codec::Lz4, golden!("java-lz4")),
        (Codec::Zstd, golden!("java-zstd")),
    ]
}

fn librdkafka() -> Vec<(Codec, Bytes)> {
    vec![
        (Codec::Gzip, golden!("librdkafka-gzip")),
        (Codec::Snappy, golden!("librdkafka-snappy")),
        (Codec::Lz4, golden!("librdkafka-lz4")),
        (Codec::Zstd, golden!("librdkafka-zstd")),
    ]
}

fn key(i: usize) -> Option<Bytes> {
    match i % 7 {
        3 => None,
        5 => Some(Bytes::new()),
        _ => Some(format!("key-{i}").into()),
    }
}

fn value(i: usize) -> Option<Bytes> {
    (i % 5 != 4).then(|| (0..3000 + i * 17).map(|j| (i * 31 + j / 8) as u8).collect())
}

fn headers(i: usize) -> Vec<RecordHeader> {
    if !i.is_multiple_of(3) {
        return vec![];
    }
    let header = |key: &str, value: Option<Vec<u8>>| RecordHeader {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.map(Bytes::from),
    };
    vec![header("h", Some(vec![1, i as u8])), header("h", None), header("\u{e9}", Some(vec![]))]
}

fn timestamp(i: usize) -> i64 {
    FIRST_TIMESTAMP + i as i64 * 10 - if i == 2 { 500 } else { 0 }
}

fn ours(codec: Codec, count: usize) -> BatchView {
    let mut batch = BatchBuilder::new(codec).producer(4711, 2, 100).transactional(true);
    for i in 0..count {
        batch.push(timestamp(i), key(i).as_deref(), value(i).as_deref(), &headers(i)).unwrap();
    }
    BatchView::parse(&batch.build().unwrap()).unwrap()
}

#[test]
fn batches_of_java_and_librdkafka_decode_to_every_byte() {
    for (codec, bytes) in java().into_iter().chain(librdkafka()) {
        let view = BatchView::parse(&bytes).unwrap();
        assert_eq!(view.bytes.len(), bytes.len());
        assert_eq!(view.verify_crc(), Ok(()));
        assert_eq!(view.header.attributes.codec(), Ok(codec));
        let records = view.records(CAP).unwrap();
        assert_eq!(records.len(), if codec == Codec::None { 5 } else { 60 });
        for (i, record) in records.iter().enumerate() {
            assert_eq!((&record.key, &record.value), (&key(i), &value(i)), "{codec} record {i}");
            assert_eq!(record.headers, headers(i), "{codec} record {i}");
            assert_eq!(view.header.timestamp_at(record.timestamp_delta), timestamp(i));
            assert_eq!(record.offset_delta, i as i32);
        }
        let info = validate::produce_batch(&bytes, &validate::ValidateOptions::at(FIRST_TIMESTAMP)).unwrap();
        assert_eq!(info.max_timestamp, view.header.max_timestamp);
    }
}

#[test]
fn our_records_are_java_s_byte_for_byte() {
    for (codec, bytes) in java() {
        let theirs = BatchView::parse(&bytes).unwrap();
        let ours = ours(codec, theirs.header.records_count as usize);
        assert_eq!(ours.decompress(CAP), theirs.decompress(CAP), "{codec}");
        let same_block = BatchHeader { batch_length: ours.header.batch_length, crc: ours.header.crc, ..theirs.header };
        assert_eq!(ours.header, same_block, "{codec}");
        if codec == Codec::None {
            assert_eq!(ours.bytes, bytes);
        }
    }
}

#[test]
fn our_marker_and_our_empty_batch_are_java_s_byte_for_byte() {
    let mut marker = control_batch(ControlMarker::Commit, 900, 3, 12, 1234).unwrap().to_vec();
    let theirs = golden!("java-commit");
    let expected = BatchHeader::parse(&theirs).unwrap();
    patch_base_offset(&mut marker, expected.base_offset);
    patch_leader_epoch(&mut marker, expected.partition_leader_epoch);
    assert_eq!(marker, theirs);
    let base = BatchBuilder::new(Codec::None).base_offset(500).leader_epoch(9).last_offset_delta(7);
    let empty = base.producer(900, 3, 40).transactional(true).build().unwrap();
    let patch = HeaderPatch { max_timestamp: Some(4242), ..HeaderPatch::default() };
    let mut empty = empty.to_vec();
    recrc_header(&mut empty, &patch).unwrap();
    let theirs = golden!("java-empty");
    assert_eq!(
        BatchHeader::parse(&empty),
        BatchHeader::parse(&theirs).map(|h| BatchHeader { crc: empty_crc(&empty), ..h })
    );
    assert_eq!(BatchView::parse(&theirs).unwrap().records(CAP), Ok(vec![]));
}

fn empty_crc(batch: &[u8]) -> u32 {
    BatchHeader::parse(batch).unwrap().crc
}

#[test]
fn recompressing_changes_the_codec_and_nothing_else() {
    let view = BatchView::parse(&golden!("java-gzip")).unwrap();
    for codec in Codec::ALL {
        let other = BatchView::parse(&recompress(&view, codec, CAP).unwrap()).unwrap();
        assert_eq!(other.verify_crc(), Ok(()));
        assert_eq!(other.records(CAP), view.records(CAP));
        let restored = BatchHeader {
            attributes: other.header.attributes.with_codec(Codec::Gzip),
            batch_length: view.header.batch_length,
            crc: view.header.crc,
            ..other.header
        };
        assert_eq!(restored, view.header);
    }
}

#[test]
fn a_level_changes_the_size_and_nothing_else() {
    let mut builder = BatchBuilder::new(Codec::None);
    for n in 0..2000_u32 {
        let value = format!(
            "{{\"event\":{n},\"kind\":\"{}\",\"user\":{}}}",
            ["read", "write"][n as usize % 2],
            n.wrapping_mul(2_654_435_761)
        );
        builder.push(n.into(), Some(&n.to_be_bytes()), Some(value.as_bytes()), &[]).unwrap();
    }
    let batch = BatchView::parse(&builder.build().unwrap()).unwrap();
    let at = |codec, level| {
        let bytes = recompress_at_level(&batch, codec, level, CAP).unwrap();
        let other = BatchView::parse(&bytes).unwrap();
        other.verify_crc().unwrap();
        assert_eq!(other.records(CAP).unwrap(), batch.records(CAP).unwrap(), "{codec} {level:?}");
        bytes.len()
    };
    for (codec, low, high) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -5, 19)] {
        let sizes = (at(codec, Some(low)), at(codec, None), at(codec, Some(high)));
        assert!(sizes.0 > sizes.1 && sizes.1 > sizes.2, "{codec}: {sizes:?}");
        assert_eq!(at(codec, None), sizes.1, "a level does not stay with the thread");
    }
    assert_eq!(at(Codec::Lz4, Some(17)), at(Codec::Lz4, None));
    for odd in [i32::MIN, -1, 0, 23, i32::MAX] {
        at(Codec::Gzip, Some(odd));
        at(Codec::Zstd, Some(odd));
    }
}
