use bytes::Bytes;

use super::super::*;
use super::*;

const NOW: i64 = 1_760_000_000_000;

fn options() -> ValidateOptions {
    ValidateOptions::at(NOW)
}

fn builder(codec: Codec) -> BatchBuilder {
    let mut batch = BatchBuilder::new(codec);
    for i in 0..3 {
        batch.push(NOW + i, Some(b"key"), Some(&[7; 100]), &[]).unwrap();
    }
    batch
}

fn good(codec: Codec) -> Bytes {
    builder(codec).build().unwrap()
}

/// The batch with header fields changed and a right CRC: what a client that lies would send.
fn with_header(codec: Codec, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let view = BatchView::parse(&good(codec)).unwrap();
    let mut header = view.header;
    change(&mut header);
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    bytes.extend_from_slice(&view.block());
    let sum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    bytes.into()
}

fn code(bytes: &[u8], options: &ValidateOptions) -> i16 {
    produce_batch(bytes, options).unwrap_err().code()
}

#[test]
fn good_batches_pass_at_both_depths() {
    for codec in Codec::ALL {
        let info = produce_batch(&good(codec), &options()).unwrap();
        assert_eq!((info.max_timestamp, info.codec, info.header.records_count), (NOW + 2, codec, 3));
        assert_eq!(info.uncompressed_bytes, builder(codec).uncompressed_size() - HEADER_BYTES);
        let shallow = ValidateOptions { depth: Depth::Header, ..options() };
        assert_eq!(produce_batch(&good(codec), &shallow).unwrap().max_timestamp, NOW + 2);
    }
}

#[test]
fn the_bytes_must_be_exactly_one_batch() {
    let one = good(Codec::Lz4);
    let two = [&one[..], &one[..]].concat();
    assert_eq!(produce_batch(&two, &options()), Err(ValidateError::MoreThanOneBatch));
    let tail = [&one[..], &[0; 5]].concat();
    assert_eq!(produce_batch(&tail, &options()), Err(ValidateError::TrailingBytes(5)));
    for len in 0..one.len() {
        assert_eq!(code(&one[..len], &options()), 87, "cut to {len}");
    }
}

#[test]
fn damage_is_corrupt_message_and_old_formats_are_invalid() {
    let mut bytes = good(Codec::Zstd).to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(code(&bytes, &options()), 2);
    bytes[16] = 1;
    assert_eq!(produce_batch(&bytes, &options()), Err(ValidateError::Batch(RecordError::Magic(1))));
    assert_eq!(code(&bytes, &options()), 87);
}

#[test]
fn size_limits_hold_before_and_after_decompression() {
    let bytes = good(Codec::Gzip);
    let tight = ValidateOptions { batch_bytes_max: bytes.len() - 1, ..options() };
    assert_eq!(code(&bytes, &tight), 10);
    assert!(produce_batch(&bytes, &ValidateOptions { batch_bytes_max: bytes.len(), ..options() }).is_ok());
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let small = ValidateOptions { decompressed_bytes_max: 300, ..options() };
        let error = produce_batch(&good(codec), &small).unwrap_err();
        assert_eq!(error, ValidateError::Batch(RecordError::CapExceeded { cap: 300 }), "{codec}");
        assert_eq!(error.code(), 10);
    }
}

#[test]
fn codecs_that_are_unknown_or_too_new_are_unsupported() {
    let unknown = with_header(Codec::None, |h| h.attributes = Attributes(6));
    assert_eq!(code(&unknown, &options()), 76);
    let old = ValidateOptions { zstd_allowed: false, ..options() };
    assert_eq!(code(&good(Codec::Zstd), &old), 76);
    assert!(produce_batch(&good(Codec::Lz4), &old).is_ok());
}

#[test]
fn offset_ranges_that_lie_are_refused_at_both_depths() {
    type Change = fn(&mut BatchHeader);
    let lies: [Change; 5] = [
        |h| h.last_offset_delta = 5,
        |h| h.records_count = 2,
        |h| h.records_count = 0,
        |h| h.records_count = -1,
        |h| h.base_offset = 1,
    ];
    for codec in Codec::ALL {
        for lie in lies {
            for depth in [Depth::Records, Depth::Header] {
                assert_eq!(code(&with_header(codec, lie), &ValidateOptions { depth, ..options() }), 87);
            }
        }
    }
}

#[test]
fn counts_are_checked_against_the_records() {
    for codec in Codec::ALL {
        for count in [2, 4, i32::MAX] {
            let lie = with_header(codec, |h| (h.records_count, h.last_offset_delta) = (count, count - 1));
            let error = produce_batch(&lie, &options()).unwrap_err();
            assert!(error.is_count_mismatch(), "{error}");
            assert_eq!(error.code(), 87);
        }
    }
}

#[test]
fn holes_inside_a_batch_are_refused_also_without_compression() {
    for codec in Codec::ALL {
        let mut batch = BatchBuilder::new(codec).base_timestamp(NOW);
        for offset_delta in [0, 2, 5] {
            batch.push_record(&Record { offset_delta, ..Record::default() }).unwrap();
        }
        let view = BatchView::parse(&batch.build().unwrap()).unwrap();
        assert_eq!(code(&view.bytes, &options()), 87);
        // forged as dense in the header: Kafka would store this and lose records of the next batch
        let mut forged = view.bytes.to_vec();
        forged[23..27].copy_from_slice(&2i32.to_be_bytes());
        let sum = crc32c::crc32c(&forged[21..]);
        forged[17..21].copy_from_slice(&sum.to_be_bytes());
        let expected = ValidateError::OffsetDelta { index: 1, offset_delta: 2 };
        assert_eq!(produce_batch(&forged, &options()), Err(expected));
    }
}

#[test]
fn clients_write_no_control_batches_and_no_producer_id_without_sequence() {
    let marker = control_batch(ControlMarker::Commit, 5, 0, 1, NOW).unwrap();
    assert_eq!(produce_batch(&marker, &options()), Err(ValidateError::Control));
    let no_sequence = with_header(Codec::None, |h| h.producer_id = 5);
    assert_eq!(produce_batch(&no_sequence, &options()), Err(ValidateError::Sequence(-1)));
    let idempotent = with_header(Codec::None, |h| (h.producer_id, h.producer_epoch, h.base_sequence) = (5, 0, 0));
    assert!(produce_batch(&idempotent, &options()).is_ok());
}

#[test]
fn compacted_topics_name_every_record_without_key() {
    for codec in Codec::ALL {
        let mut batch = BatchBuilder::new(codec);
        for key in [None, Some(&b"k"[..]), None] {
            batch.push(NOW, key, Some(b"v"), &[]).unwrap();
        }
        let bytes = batch.build().unwrap();
        let error = produce_batch(&bytes, &ValidateOptions { compacted: true, ..options() }).unwrap_err();
        assert_eq!(error.code(), 87);
        assert_eq!(error.rejected_records().iter().map(|r| r.index).collect::<Vec<_>>(), [0, 2]);
        assert!(produce_batch(&bytes, &options()).is_ok());
    }
}

#[test]
fn times_outside_of_the_window_are_refused_per_record() {
    let window = ValidateOptions { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 10, ..options() };
    for (offset, accepted) in [(-1001, false), (-1000, true), (10, true), (11, false)] {
        let mut batch = BatchBuilder::new(Codec::Snappy);
        batch.push(NOW, None, None, &[]).unwrap();
        batch.push(NOW + offset, None, None, &[]).unwrap();
        let bytes = batch.build().unwrap();
        let outcome = produce_batch(&bytes, &window);
        assert_eq!(outcome.is_ok(), accepted, "{offset}");
        if let Err(error) = outcome {
            assert_eq!((error.code(), error.rejected_records()[0].index), (32, 1));
        }
        // where the broker sets the times, the producer's do not matter
        let append = ValidateOptions { timestamp_type: TimestampType::LogAppendTime, ..window.clone() };
        assert!(produce_batch(&bytes, &append).is_ok());
    }
    let mut none = BatchBuilder::new(Codec::None);
    none.push(NO_TIMESTAMP, None, None, &[]).unwrap();
    assert!(produce_batch(&none.build().unwrap(), &window).is_ok());
}

#[test]
fn rejected_records_are_bounded() {
    let mut batch = BatchBuilder::new(Codec::Lz4);
    for _ in 0..1000 {
        batch.push(NOW, None, None, &[]).unwrap();
    }
    let compacted = ValidateOptions { compacted: true, ..options() };
    let error = produce_batch(&batch.build().unwrap(), &compacted).unwrap_err();
    assert_eq!(error.rejected_records().len(), REJECTED_RECORDS_MAX);
}

#[test]
fn the_append_patch_corrects_times_and_keeps_the_crc_right() {
    let wrong_max = with_header(Codec::Lz4, |h| h.max_timestamp = NOW - 50);
    let info = produce_batch(&wrong_max, &options()).unwrap();
    let mut stored = wrong_max.to_vec();
    let header = recrc_header(&mut stored, &info.append_patch(900, 4, &options())).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch, header.max_timestamp), (900, 4, NOW + 2));
    assert_eq!(verify_crc(&stored), Ok(()));

    let append = ValidateOptions { timestamp_type: TimestampType::LogAppendTime, ..options() };
    let header = recrc_header(&mut stored, &info.append_patch(900, 4, &append)).unwrap();
    assert!(header.attributes.is_log_append_time());
    assert_eq!(header.max_timestamp, NOW);
    assert_eq!(verify_crc(&stored), Ok(()));
}

#[test]
fn only_the_broker_sets_append_time() {
    let bytes = builder(Codec::None).log_append_time(NOW).build().unwrap();
    let append = ValidateOptions { timestamp_type: TimestampType::LogAppendTime, ..options() };
    assert_eq!(produce_batch(&bytes, &append), Err(ValidateError::LogAppendTime));
    assert_eq!(code(&bytes, &append), 32);
    // a topic with create time takes the records' own times and clears the bit
    let info = produce_batch(&bytes, &options()).unwrap();
    let mut stored = bytes.to_vec();
    let header = recrc_header(&mut stored, &info.append_patch(0, 0, &options())).unwrap();
    assert!(!header.attributes.is_log_append_time());
    assert_eq!(header.max_timestamp, NOW + 2);
}

#[test]
fn a_client_s_delete_horizon_and_unknown_bits_are_not_stored() {
    let codec = Codec::Zstd;
    let bytes = with_header(codec, |h| h.attributes = Attributes(h.attributes.0 | 0x50c0));
    let info = produce_batch(&bytes, &options()).unwrap();
    let mut stored = bytes.to_vec();
    let header = recrc_header(&mut stored, &info.append_patch(0, 0, &options())).unwrap();
    assert_eq!(header.attributes, Attributes::default().with_codec(codec));
    let transactional = with_header(codec, |h| h.attributes = h.attributes.with_transactional(true));
    let info = produce_batch(&transactional, &options()).unwrap();
    assert_eq!(info.append_patch(0, 0, &options()).attributes, Some(info.header.attributes));
}
