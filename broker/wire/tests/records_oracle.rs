//! Record batches against an independent implementation, the kafka-protocol crate, both ways.
//!
//! Outside of the crate, because that crate's `PartialEq` implementations on integers break inference in generated code.

use bytes::{Bytes, BytesMut};
use causeway_wire::records::{BatchHeader, BatchView, Codec, Record, encode_batch};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as oracle;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const CAP: usize = 1 << 20;

/// What the crate can carry: unique UTF-8 header keys, no append time, no holes.
fn oracle_record() -> impl Strategy<Value = oracle::Record> {
    let bytes = |max| vec(any::<u8>(), 0..max).prop_map(Bytes::from);
    let headers = vec(("[a-z]{0,3}", option::of(bytes(6))), 0..4);
    (any::<u32>(), option::of(bytes(9)), option::of(bytes(200)), headers).prop_map(|(time, key, value, headers)| {
        let headers: IndexMap<_, _> = headers.into_iter().map(|(k, v)| (StrBytes::from_string(k), v)).collect();
        oracle::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 3,
            producer_id: 8,
            producer_epoch: 1,
            timestamp_type: oracle::TimestampType::Creation,
            offset: 0,
            sequence: 0,
            timestamp: i64::from(time),
            key,
            value,
            headers,
        }
    })
}

fn same(ours: &Record, base_timestamp: i64, theirs: &oracle::Record) -> bool {
    let headers = theirs.headers.iter();
    base_timestamp + ours.timestamp_delta == theirs.timestamp
        && (&ours.key, &ours.value) == (&theirs.key, &theirs.value)
        && ours.headers.iter().map(|h| (&h.key[..], &h.value)).eq(headers.map(|(k, v)| (k.as_bytes(), v)))
}

proptest! {
    #[test]
    fn both_ways_agree_with_an_independent_crate(
        mut records in vec(oracle_record(), 1..20),
        base_offset in 0i64..1 << 40,
        transactional in any::<bool>(),
        codec in prop::sample::select(vec![
            (Codec::None, oracle::Compression::None),
            (Codec::Gzip, oracle::Compression::Gzip),
            (Codec::Snappy, oracle::Compression::Snappy),
            (Codec::Zstd, oracle::Compression::Zstd),
        ]),
    ) {
        for (i, record) in records.iter_mut().enumerate() {
            (record.offset, record.sequence, record.transactional) = (base_offset + i as i64, i as i32, transactional);
        }
        let (codec, compression) = codec;
        let mut theirs = BytesMut::new();
        let options = oracle::RecordEncodeOptions { version: 2, compression };
        oracle::RecordBatchEncoder::encode(&mut theirs, &records, &options).unwrap();
        let view = BatchView::parse(&theirs.freeze()).unwrap();
        prop_assert_eq!(view.verify_crc(), Ok(()));
        prop_assert_eq!((view.header.base_offset, view.header.producer_id), (base_offset, 8));
        prop_assert_eq!(view.header.attributes.is_transactional(), transactional);
        let decoded = view.records(CAP).unwrap();
        prop_assert_eq!(decoded.len(), records.len());
        for (ours, theirs) in decoded.iter().zip(&records) {
            prop_assert!(same(ours, view.header.base_timestamp, theirs), "{:?} {:?}", ours, theirs);
        }

        let header = BatchHeader { attributes: view.header.attributes.with_codec(codec), ..view.header };
        let mut encoded = encode_batch(&header, &decoded).unwrap();
        let back = oracle::RecordBatchDecoder::decode(&mut encoded).unwrap().records;
        prop_assert_eq!(back, records);
    }
}
