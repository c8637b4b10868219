//! Encode and decode of messages that carry the load, beside the same work in another codec and beside a plain copy of the bytes.

use bytes::{Bytes, BytesMut};
use causeway_wire::Message;
use causeway_wire::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use causeway_wire::messages::metadata::{MetadataResponse, MetadataResponsePartition, MetadataResponseTopic};
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use causeway_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};

fn main() {
    divan::main();
}

/// Batches in one produce or fetch, and bytes of each: what a busy client sends.
const BATCHES: i32 = 16;
const BATCH_BYTES: usize = 64 << 10;

fn produce() -> (i16, ProduceRequest) {
    let data = |index| PartitionProduceData { index, records: Some(Bytes::from(vec![7; BATCH_BYTES])) };
    let partition_data = (0..BATCHES).map(data).collect();
    let topic = TopicProduceData { name: "orders".to_owned(), partition_data, ..Default::default() };
    (9, ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() })
}

fn fetch() -> (i16, FetchResponse) {
    let data = |partition_index| PartitionData {
        partition_index,
        records: Some(Bytes::from(vec![7; BATCH_BYTES])),
        ..Default::default()
    };
    let partitions = (0..BATCHES).map(data).collect();
    let topic = FetchableTopicResponse { topic: "orders".to_owned(), partitions, ..Default::default() };
    (12, FetchResponse { responses: vec![topic], ..Default::default() })
}

fn metadata() -> (i16, MetadataResponse) {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        replica_nodes: vec![1, 2, 3],
        isr_nodes: vec![1, 2, 3],
        ..Default::default()
    };
    let topic = |i| MetadataResponseTopic {
        name: Some(format!("topic-{i}")),
        partitions: (0..10).map(partition).collect(),
        ..Default::default()
    };
    (12, MetadataResponse { topics: (0..100).map(topic).collect(), ..Default::default() })
}

fn offset_commit() -> (i16, OffsetCommitRequest) {
    let partition = |partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1 << 40,
        committed_metadata: Some(String::new()),
        ..Default::default()
    };
    let partitions = (0..100).map(partition).collect();
    let topic = OffsetCommitRequestTopic { name: "orders".to_owned(), partitions, ..Default::default() };
    (8, OffsetCommitRequest { group_id: "billing".to_owned(), topics: vec![topic], ..Default::default() })
}

fn encoded<M: Message>((version, message): &(i16, M)) -> Bytes {
    let mut buf = BytesMut::new();
    message.encode(*version, &mut buf).expect("the sample can be encoded");
    buf.freeze()
}

fn encode<M: Message + Sync>(bencher: Bencher, sample: (i16, M)) {
    let size = encoded(&sample).len();
    bencher.counter(BytesCount::new(size)).with_inputs(|| BytesMut::with_capacity(size)).bench_values(|mut buf| {
        sample.1.encode(sample.0, &mut buf).expect("the sample can be encoded");
        buf
    });
}

fn decode<M: Message>(bencher: Bencher, sample: (i16, M)) {
    let bytes = encoded(&sample);
    let version = sample.0;
    bencher
        .counter(BytesCount::new(bytes.len()))
        .with_inputs(|| bytes.clone())
        .bench_values(|mut bytes| M::decode(version, &mut bytes).expect("the sample decodes"));
}

fn decode_theirs<M: Message, T: Decodable>(bencher: Bencher, sample: (i16, M)) {
    let bytes = encoded(&sample);
    let version = sample.0;
    bencher
        .counter(BytesCount::new(bytes.len()))
        .with_inputs(|| bytes.clone())
        .bench_values(|mut bytes| T::decode(&mut bytes, version).expect("the sample decodes"));
}

fn encode_theirs<M: Message, T: Decodable + Encodable + Sync>(bencher: Bencher, sample: (i16, M)) {
    let mut bytes = encoded(&sample);
    let (version, size) = (sample.0, bytes.len());
    let value = T::decode(&mut bytes, version).expect("the sample decodes");
    bencher.counter(BytesCount::new(size)).with_inputs(|| BytesMut::with_capacity(size)).bench_values(|mut buf| {
        value.encode(&mut buf, version).expect("the sample can be encoded");
        buf
    });
}

macro_rules! benches {
    ($($module:ident: $theirs:ident;)*) => { $(
        mod $module {
            use super::*;

            #[divan::bench]
            fn a_encode(bencher: Bencher) {
                encode(bencher, super::$module());
            }

            #[divan::bench]
            fn b_encode_other_codec(bencher: Bencher) {
                encode_theirs::<_, theirs::$theirs>(bencher, super::$module());
            }

            #[divan::bench]
            fn c_decode(bencher: Bencher) {
                decode(bencher, super::$module());
            }

            #[divan::bench]
            fn d_decode_other_codec(bencher: Bencher) {
                decode_theirs::<_, theirs::$theirs>(bencher, super::$module());
            }

            /// The limit: the same bytes, copied.
            #[divan::bench]
            fn e_copy(bencher: Bencher) {
                let bytes = encoded(&super::$module());
                bencher
                    .counter(BytesCount::new(bytes.len()))
                    .with_inputs(|| BytesMut::with_capacity(bytes.len()))
                    .bench_values(|mut buf| {
                        buf.extend_from_slice(black_box(&bytes));
                        buf
                    });
            }
        }
    )* };
}

benches! {
    produce: ProduceRequest;
    fetch: FetchResponse;
    metadata: MetadataResponse;
    offset_commit: OffsetCommitRequest;
}
