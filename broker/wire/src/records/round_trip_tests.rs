//! Decode and encode are inverses over every shape of batch and every codec.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const CAP: usize = 16 << 20;

fn any_bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

prop_compose! {
    fn any_header()(key in any_bytes(3), value in option::of(any_bytes(6))) -> RecordHeader {
        RecordHeader { key, value }
    }
}

prop_compose! {
    fn any_record()(
        attributes in any::<i8>(),
        timestamp_delta in prop_oneof![any::<i64>(), -5000i64..5000],
        gap in prop_oneof![4 => Just(0i32), 1 => 0i32..1000],
        key in option::of(any_bytes(20)),
        value in option::of(any_bytes(300)),
        headers in vec(any_header(), 0..6),
    ) -> Record {
        Record { attributes, timestamp_delta, offset_delta: gap, key, value, headers }
    }
}

/// Records whose offset deltas rise, with holes as compaction leaves them.
fn any_records() -> impl Strategy<Value = Vec<Record>> {
    vec(any_record(), 0..12).prop_map(|mut records| {
        let mut next = 0;
        for record in &mut records {
            record.offset_delta += next;
            next = record.offset_delta + 1;
        }
        records
    })
}

prop_compose! {
    fn any_batch_header()(
        base_offset in any::<i64>(),
        partition_leader_epoch in any::<i32>(),
        bits in any::<i16>(),
        codec in 0usize..5,
        last_offset_delta in any::<i32>(),
        times in any::<(i64, i64)>(),
        producer in any::<(i64, i16, i32)>(),
    ) -> BatchHeader {
        BatchHeader {
            base_offset,
            partition_leader_epoch,
            attributes: Attributes(bits).with_codec(Codec::ALL[codec]),
            last_offset_delta,
            base_timestamp: times.0,
            max_timestamp: times.1,
            producer_id: producer.0,
            producer_epoch: producer.1,
            base_sequence: producer.2,
            ..BatchHeader::default()
        }
    }
}

proptest! {
    #[test]
    fn every_batch_decodes_to_what_was_encoded(header in any_batch_header(), records in any_records()) {
        let bytes = encode_batch(&header, &records).unwrap();
        let view = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(view.header.size(), bytes.len());
        prop_assert_eq!(view.verify_crc(), Ok(()));
        let expected = BatchHeader {
            batch_length: view.header.batch_length,
            crc: view.header.crc,
            records_count: records.len() as i32,
            ..header
        };
        prop_assert_eq!(view.header, expected);
        prop_assert_eq!(&decode_records(&view, CAP).unwrap(), &records);
        prop_assert_eq!(encode_batch(&view.header, &records).unwrap(), bytes);
    }

    #[test]
    fn borrowed_and_owned_records_agree(header in any_batch_header(), records in any_records()) {
        let view = BatchView::parse(&encode_batch(&header, &records).unwrap()).unwrap();
        let block = view.decompress(CAP).unwrap();
        let mut copied = BatchBuilder::new(Codec::None).base_timestamp(header.base_timestamp);
        for (borrowed, owned) in view.walk(&block).zip(&records) {
            let borrowed = borrowed.unwrap();
            prop_assert_eq!(&borrowed.to_record(&block), owned);
            prop_assert_eq!(borrowed.headers_count(), owned.headers.len());
            copied.push_ref(&borrowed).unwrap();
        }
        let copied = BatchView::parse(&copied.build().unwrap()).unwrap();
        prop_assert_eq!(copied.block(), block);
    }

    #[test]
    fn a_run_is_cut_into_its_batches_and_a_partial_tail_is_reported(
        batches in vec((any_batch_header(), any_records()), 0..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole: Vec<Bytes> = batches.iter().map(|(header, records)| encode_batch(header, records).unwrap()).collect();
        let tail = encode_batch(&BatchHeader::default(), &[]).unwrap();
        let tail = tail.slice(..cut.index(tail.len()));
        let run = Bytes::from([whole.concat(), tail.to_vec()].concat());
        let mut iter = Batches::new(run);
        let found: Vec<Bytes> = iter.by_ref().map(|batch| batch.unwrap().bytes).collect();
        prop_assert_eq!(found, whole);
        prop_assert_eq!(iter.partial_bytes(), tail.len());
    }
}

fn header(key: &'static [u8], value: Option<&'static [u8]>) -> RecordHeader {
    RecordHeader { key: Bytes::from_static(key), value: value.map(Bytes::from_static) }
}

#[test]
fn null_is_not_empty_and_duplicate_headers_stay_in_order() {
    let headers =
        [header(b"a", Some(b"1")), header(b"a", None), header(b"\xff\x00", Some(b"")), header(b"", Some(b"1"))];
    for codec in Codec::ALL {
        let mut batch = BatchBuilder::new(codec);
        batch.push(10, None, Some(b""), &headers).unwrap();
        batch.push(12, Some(b""), None, &[]).unwrap();
        let view = BatchView::parse(&batch.build().unwrap()).unwrap();
        let records = view.records(CAP).unwrap();
        assert_eq!((records[0].key.as_deref(), records[0].value.as_deref()), (None, Some(&b""[..])));
        assert_eq!((records[1].key.as_deref(), records[1].value.as_deref()), (Some(&b""[..]), None));
        assert_eq!(records[0].headers, headers);
        assert_eq!((view.header.base_timestamp, view.header.max_timestamp), (10, 12));
        assert_eq!((view.header.last_offset_delta, view.header.records_count), (1, 2));
    }
}

#[test]
fn append_time_replaces_every_record_time() {
    let mut batch = BatchBuilder::new(Codec::None).base_offset(70).log_append_time(500);
    batch.push(10, None, None, &[]).unwrap();
    batch.push(900, None, None, &[]).unwrap();
    let header = BatchView::parse(&batch.build().unwrap()).unwrap().header;
    assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!((header.max_timestamp, header.timestamp_at(890)), (500, 500));
    assert_eq!((header.last_offset(), header.next_offset(), header.offset_at(1)), (71, 72, 71));
}

#[test]
fn batches_emptied_by_compaction_survive_under_every_codec() {
    for codec in Codec::ALL {
        let batch = BatchBuilder::new(codec).base_offset(5).producer(9, 1, 40).last_offset_delta(7);
        let view = BatchView::parse(&batch.build().unwrap()).unwrap();
        assert_eq!((view.bytes.len(), view.header.records_count), (HEADER_BYTES, 0));
        assert_eq!((view.header.last_offset(), view.header.last_sequence()), (12, 47));
        assert_eq!(view.header.attributes.codec(), Ok(codec));
        assert_eq!(view.records(CAP), Ok(vec![]));
    }
}

#[test]
fn markers_read_back_as_written() {
    for (marker, key) in [(ControlMarker::Abort, [0, 0, 0, 0]), (ControlMarker::Commit, [0, 0, 0, 1])] {
        assert_eq!(marker.key(), key);
        let view = BatchView::parse(&control_batch(marker, 77, 3, 12, 1000).unwrap()).unwrap();
        let bits = view.header.attributes;
        assert!(bits.is_control() && bits.is_transactional());
        assert_eq!((view.header.producer_id, view.header.producer_epoch), (77, 3));
        assert_eq!((view.header.base_sequence, view.header.last_sequence()), (NO_SEQUENCE, NO_SEQUENCE));
        let block = view.block();
        let record = view.walk(&block).next().unwrap().unwrap();
        assert_eq!(ControlMarker::from_record(&record), Some((marker, 12)));
    }
    assert_eq!(ControlMarker::from_key(&[0, 0, 0, 2]), None);
    assert_eq!(ControlMarker::from_key(&[0, 0, 0]), None);
}

#[test]
fn sequences_wrap_to_zero() {
    let header = BatchHeader { base_sequence: i32::MAX, last_offset_delta: 2, ..BatchHeader::default() };
    assert_eq!(header.last_sequence(), 1);
}

#[test]
fn the_builder_refuses_offsets_that_go_back() {
    let mut batch = BatchBuilder::new(Codec::None).base_timestamp(0);
    batch.push_record(&Record { offset_delta: 3, ..Record::default() }).unwrap();
    assert!(batch.push_record(&Record { offset_delta: 3, ..Record::default() }).is_err());
    assert!(batch.last_offset_delta(1).build().is_err());
}
