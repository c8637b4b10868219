//! Produce and producer ids.

use bytes::{Bytes, BytesMut};
use causeway_wire::Uuid;
use causeway_wire::messages::init_producer_id::InitProducerIdRequest;
use causeway_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use causeway_wire::records::{BatchBuilder, Codec};

use crate::Case;
use crate::peer::{Peer, batch, build, now};

fn request(topic: &str, partition: i32, acks: i16, records: Option<Bytes>) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records, ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() }
}

/// Produces and notes codes, offset and the records that were refused.
fn put(p: &mut Peer, version: i16, topic: &str, partition: i32, records: Bytes) {
    send(p, version, &request(topic, partition, -1, Some(records)));
}

fn send(p: &mut Peer, version: i16, request: &ProduceRequest) {
    let Some(answer) = p.call(version, request) else { return };
    let topic = request.topic_data.first().map(|t| t.name.clone()).unwrap_or_default();
    for data in answer.responses.iter().flat_map(|t| &t.partition_responses) {
        let at = if topic.is_empty() { -1 } else { p.since(&topic, data.index, data.base_offset) };
        let records: Vec<i32> = data.record_errors.iter().map(|r| r.batch_index).collect();
        let stamped = data.log_append_time_ms >= 0;
        p.log(format_args!(
            "{} at {}, start {}, stamped {stamped}, records {records:?}",
            data.index, at, data.log_start_offset
        ));
    }
}

/// A batch of two whose bytes from `at` on are these; its checksum is made to fit again unless it lies about it.
fn patched(at: usize, bytes: &[u8]) -> Bytes {
    let mut raw = BytesMut::from(&batch(&["a", "b"])[..]);
    raw[at..at + bytes.len()].copy_from_slice(bytes);
    if at >= 21 {
        let crc = crc32c::crc32c(&raw[21..]);
        raw[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    raw.freeze()
}

fn stamped(timestamp: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(timestamp, Some(b"k"), Some(b"v"), &[]).unwrap();
    builder.build().unwrap()
}

fn idempotent(id: i64, epoch: i16, sequence: i32) -> Bytes {
    build(BatchBuilder::new(Codec::None).producer(id, epoch, sequence), &["a", "b"])
}

fn producer(p: &mut Peer) -> (i64, i16) {
    let request =
        InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
    let answer = p.quiet(3, &request).unwrap();
    (answer.producer_id, answer.producer_epoch)
}

fn init(p: &mut Peer, version: i16, id: Option<&str>, timeout: i32, producer: i64, epoch: i16) {
    let request = InitProducerIdRequest {
        transactional_id: id.map(str::to_owned),
        transaction_timeout_ms: timeout,
        producer_id: producer,
        producer_epoch: epoch,
        ..Default::default()
    };
    if let Some(answer) = p.call(version, &request) {
        p.log(format_args!("given {}, epoch {}", answer.producer_id >= 0, answer.producer_epoch));
    }
}

pub const CASES: &[Case] = &[
    ("produce: an unknown topic", |p| put(p, 9, "nowhere", 0, batch(&["a"]))),
    ("produce: an unknown partition", |p| put(p, 9, "plain", 7, batch(&["a"]))),
    ("produce: a negative partition", |p| put(p, 9, "plain", -1, batch(&["a"]))),
    ("produce: an illegal topic name", |p| put(p, 9, "no spaces", 0, batch(&["a"]))),
    ("produce: an empty topic name", |p| put(p, 9, "", 0, batch(&["a"]))),
    ("produce: an unknown topic id", |p| {
        let mut asked = request("", 0, -1, Some(batch(&["a"])));
        asked.topic_data[0].topic_id = Uuid([7; 16]);
        send(p, 13, &asked);
    }),
    ("produce: a zero topic id", |p| send(p, 13, &request("", 0, -1, Some(batch(&["a"]))))),
    ("produce: by topic id", |p| {
        let mut asked = request("", 1, -1, Some(batch(&["a"])));
        asked.topic_data[0].topic_id = p.topic_id("plain");
        send(p, 13, &asked);
    }),
    ("produce: acks that nobody knows", |p| send(p, 9, &request("plain", 0, 2, Some(batch(&["a"]))))),
    ("produce: acks of -2", |p| send(p, 9, &request("plain", 0, -2, Some(batch(&["a"]))))),
    ("produce: acks of one", |p| send(p, 9, &request("plain", 0, 1, Some(batch(&["a"]))))),
    ("produce: too few in sync", |p| put(p, 9, "two-in-sync", 0, batch(&["a"]))),
    ("produce: too few in sync with acks of one", |p| send(p, 9, &request("two-in-sync", 0, 1, Some(batch(&["a"]))))),
    ("produce: no records", |p| send(p, 9, &request("plain", 0, -1, None))),
    ("produce: empty records", |p| send(p, 9, &request("plain", 0, -1, Some(Bytes::new())))),
    ("produce: a batch without records", |p| {
        let empty = BatchBuilder::new(Codec::None).last_offset_delta(0).build();
        if let Ok(empty) = empty {
            put(p, 9, "plain", 0, empty);
        }
    }),
    ("produce: no topics", |p| send(p, 9, &ProduceRequest { acks: -1, timeout_ms: 1_000, ..Default::default() })),
    ("produce: a topic without partitions", |p| {
        let mut asked = request("plain", 0, -1, None);
        asked.topic_data[0].partition_data.clear();
        send(p, 9, &asked);
    }),
    ("produce: a partition twice", |p| {
        let mut asked = request("plain", 0, -1, Some(batch(&["a"])));
        asked.topic_data[0].partition_data.push(PartitionProduceData {
            index: 0,
            records: Some(batch(&["b"])),
            ..Default::default()
        });
        send(p, 9, &asked);
    }),
    ("produce: good and bad partitions together", |p| {
        let mut asked = request("plain", 0, -1, Some(batch(&["a"])));
        let bad = PartitionProduceData { index: 9, records: Some(batch(&["b"])), ..Default::default() };
        asked.topic_data[0].partition_data.push(bad);
        send(p, 9, &asked);
    }),
    ("produce: an internal topic", |p| put(p, 9, "__consumer_offsets", 0, batch(&["a"]))),
    ("produce: a wrong checksum", |p| put(p, 9, "plain", 0, patched(17, &[1, 2, 3, 4]))),
    ("produce: an old magic", |p| put(p, 9, "plain", 0, patched(16, &[1]))),
    ("produce: a magic to come", |p| put(p, 9, "plain", 0, patched(16, &[3]))),
    ("produce: a batch length too small", |p| put(p, 9, "plain", 0, patched(8, &10i32.to_be_bytes()))),
    ("produce: a batch length beyond the end", |p| put(p, 9, "plain", 0, patched(8, &10_000i32.to_be_bytes()))),
    ("produce: a negative batch length", |p| put(p, 9, "plain", 0, patched(8, &(-1i32).to_be_bytes()))),
    ("produce: an unknown codec", |p| put(p, 9, "plain", 0, patched(21, &[0, 7]))),
    ("produce: the control bit", |p| put(p, 9, "plain", 0, patched(21, &[0, 0x20]))),
    ("produce: a transactional batch without a transaction", |p| put(p, 9, "plain", 0, patched(21, &[0, 0x10]))),
    ("produce: compressed that is not", |p| put(p, 9, "plain", 0, patched(21, &[0, 1]))),
    ("produce: more records than the offsets say", |p| put(p, 9, "plain", 0, patched(23, &0i32.to_be_bytes()))),
    ("produce: fewer records than the offsets say", |p| put(p, 9, "plain", 0, patched(23, &5i32.to_be_bytes()))),
    ("produce: a record count too large", |p| put(p, 9, "plain", 0, patched(57, &900i32.to_be_bytes()))),
    ("produce: a record count too small", |p| put(p, 9, "plain", 0, patched(57, &1i32.to_be_bytes()))),
    ("produce: a negative record count", |p| put(p, 9, "plain", 0, patched(57, &(-2i32).to_be_bytes()))),
    ("produce: a base offset that is not zero", |p| put(p, 9, "plain", 0, patched(0, &77i64.to_be_bytes()))),
    ("produce: half a batch", |p| {
        let whole = batch(&["a", "b"]);
        put(p, 9, "plain", 0, whole.slice(..whole.len() - 3));
    }),
    ("produce: bytes after the batch", |p| {
        let mut long = BytesMut::from(&batch(&["a"])[..]);
        long.extend_from_slice(&[0; 5]);
        put(p, 9, "plain", 0, long.freeze());
    }),
    ("produce: two batches at once", |p| {
        let mut two = BytesMut::from(&batch(&["a"])[..]);
        two.extend_from_slice(&batch(&["b"]));
        put(p, 9, "plain", 0, two.freeze());
    }),
    ("produce: a batch too large for its topic", |p| put(p, 9, "small", 0, batch(&[&"x".repeat(3_000)]))),
    ("produce: a batch that just fits", |p| put(p, 9, "small", 0, batch(&[&"x".repeat(1_800)]))),
    ("produce: no key to a compacted topic", |p| {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(now(), Some(b"k"), Some(b"v"), &[]).unwrap();
        builder.push(now(), None, Some(b"v"), &[]).unwrap();
        put(p, 9, "compacted", 0, builder.build().unwrap());
    }),
    ("produce: a tombstone to a compacted topic", |p| {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(now(), Some(b"k"), None, &[]).unwrap();
        put(p, 9, "compacted", 0, builder.build().unwrap());
    }),
    ("produce: the broker's own time", |p| put(p, 9, "append-time", 0, batch(&["a"]))),
    ("produce: a time too far ahead", |p| put(p, 9, "strict-times", 0, stamped(now() + 7_200_000))),
    ("produce: a time too long ago", |p| put(p, 9, "strict-times", 0, stamped(now() - 7_200_000))),
    ("produce: a time of -1", |p| put(p, 9, "plain", 0, stamped(-1))),
    ("produce: a time of -2", |p| put(p, 9, "plain", 0, stamped(-2))),
    ("produce: zstd in an old version", |p| put(p, 6, "plain", 0, build(BatchBuilder::new(Codec::Zstd), &["a"]))),
    ("produce: zstd", |p| put(p, 7, "plain", 0, build(BatchBuilder::new(Codec::Zstd), &["a"]))),
    ("produce: version 3", |p| put(p, 3, "plain", 0, batch(&["a"]))),
    ("produce: a sequence that does not begin at zero", |p| {
        let (id, epoch) = producer(p);
        put(p, 9, "plain", 0, idempotent(id, epoch, 5));
    }),
    ("produce: a gap in the sequence", |p| {
        let (id, epoch) = producer(p);
        put(p, 9, "plain", 0, idempotent(id, epoch, 0));
        put(p, 9, "plain", 0, idempotent(id, epoch, 9));
    }),
    ("produce: a batch again", |p| {
        let (id, epoch) = producer(p);
        for _ in 0..2 {
            put(p, 9, "plain", 0, idempotent(id, epoch, 0));
        }
    }),
    ("produce: half of a batch again", |p| {
        let (id, epoch) = producer(p);
        put(p, 9, "plain", 0, idempotent(id, epoch, 0));
        put(p, 9, "plain", 0, idempotent(id, epoch, 1));
    }),
    ("produce: a batch again that is long gone", |p| {
        let (id, epoch) = producer(p);
        for sequence in [0, 2, 4, 6, 8, 10, 12, 0] {
            put(p, 9, "plain", 0, idempotent(id, epoch, sequence));
        }
    }),
    ("produce: an older epoch", |p| {
        let (id, _) = producer(p);
        put(p, 9, "plain", 0, idempotent(id, 3, 0));
        put(p, 9, "plain", 0, idempotent(id, 2, 2));
    }),
    ("produce: a newer epoch begins anew", |p| {
        let (id, _) = producer(p);
        put(p, 9, "plain", 0, idempotent(id, 0, 0));
        put(p, 9, "plain", 0, idempotent(id, 1, 2));
        put(p, 9, "plain", 0, idempotent(id, 1, 0));
    }),
    ("produce: a producer id nobody gave out", |p| put(p, 9, "plain", 0, idempotent(987_654_321, 0, 0))),
    ("produce: an unknown producer in mid-sequence", |p| put(p, 9, "plain", 0, idempotent(987_654_322, 0, 40))),
    ("produce: a producer id without an epoch", |p| put(p, 9, "plain", 0, idempotent(987_654_323, -1, 0))),
    ("produce: a producer id without a sequence", |p| put(p, 9, "plain", 0, idempotent(987_654_324, 0, -1))),
    ("produce: sequences that wrap", |p| {
        let (id, epoch) = producer(p);
        put(p, 9, "plain", 0, idempotent(id, epoch, i32::MAX));
    }),
    ("init producer: without a transactional id", |p| init(p, 4, None, 60_000, -1, -1)),
    ("init producer: an empty transactional id", |p| init(p, 4, Some(""), 60_000, -1, -1)),
    ("init producer: version 0", |p| init(p, 0, None, 60_000, -1, -1)),
    ("init producer: an id without a transaction to recover", |p| init(p, 3, None, 60_000, 5, 0)),
    ("init producer: an id without an epoch", |p| init(p, 3, None, 60_000, 5, -1)),
    ("init producer: an epoch without an id", |p| init(p, 3, None, 60_000, -1, 5)),
    ("init producer: a negative timeout without a transactional id", |p| init(p, 4, None, -5, -1, -1)),
];
