//! Produce, Fetch, ListOffsets and DeleteRecords over a real socket.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use causeway_wire::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use causeway_wire::messages::init_producer_id::InitProducerIdRequest;
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use causeway_wire::records::{BatchBuilder, Batches, Codec};
use causeway_wire::{ErrorCode, Request};
use support::{Raw, batch, build, now, produce_request, start};

fn fetch(topic: &str, offset: i64, min_bytes: i32, max_wait_ms: i32, max_bytes: i32) -> FetchRequest {
    let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: max_bytes, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { min_bytes, max_wait_ms, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
}

async fn fetched(raw: &mut Raw, request: &FetchRequest) -> PartitionData {
    raw.call(12, request).await.responses[0].partitions[0].clone()
}

fn base_offsets(data: &PartitionData) -> Vec<i64> {
    let batches = Batches::new(data.records.clone().unwrap());
    batches.map(|b| b.unwrap().header.base_offset).collect()
}

async fn list(raw: &mut Raw, topic: &str, timestamp: i64) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition { timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    let answer = raw.call(8, &ListOffsetsRequest { topics: vec![topic], ..Default::default() }).await;
    let p = &answer.topics[0].partitions[0];
    (p.error_code, p.offset, p.timestamp)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_inside_a_batch_returns_the_whole_batch() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 1, &[]).await, 0);
    for base in [0, 3, 6] {
        assert_eq!(raw.produce("t", batch(&["a", "b", "c"])).await.base_offset, base);
    }
    assert_eq!(base_offsets(&fetched(&mut raw, &fetch("t", 4, 1, 0, 1 << 20)).await), [3, 6]);
    // The limit is smaller than a batch: the first one comes all the same.
    assert_eq!(base_offsets(&fetched(&mut raw, &fetch("t", 4, 1, 0, 1)).await), [3]);
    let beyond = fetched(&mut raw, &fetch("t", 10, 1, 0, 1 << 20)).await;
    assert_eq!(beyond.error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
    assert_eq!((beyond.high_watermark, beyond.last_stable_offset), (-1, -1), "as Kafka answers");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_ends_with_data_or_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let (mut reader, mut writer) = (Raw::connect(&broker).await, Raw::connect(&broker).await);
    reader.create("t", 1, &[]).await;
    let begin = Instant::now();
    let empty = fetched(&mut reader, &fetch("t", 0, 1, 200, 1 << 20)).await;
    assert!(empty.records.unwrap().is_empty() && begin.elapsed() >= Duration::from_millis(190));
    let begin = Instant::now();
    let number = reader.send(12, &fetch("t", 0, 1, 15_000, 1 << 20)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    writer.produce("t", batch(&["x"])).await;
    let answer = reader.receive::<FetchRequest>(12, number).await;
    assert_eq!(base_offsets(&answer.responses[0].partitions[0]), [0]);
    assert!(begin.elapsed() < Duration::from_secs(5));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flush_policy_acknowledges_and_serves_after_a_restart() {
    for settings in [&[("log.flush", "os")][..], &[("log.flush", "interval"), ("log.flush.interval.ms", "20")]] {
        let dir = tempfile::tempdir().unwrap();
        let broker = start(dir.path(), settings).await;
        let mut raw = Raw::connect(&broker).await;
        raw.create("t", 1, &[]).await;
        assert_eq!(raw.produce("t", batch(&["a", "b"])).await.error_code, 0, "{settings:?}");
        assert_eq!(base_offsets(&fetched(&mut raw, &fetch("t", 0, 1, 5_000, 1 << 20)).await), [0]);
        broker.shutdown().await;
        let broker = start(dir.path(), settings).await;
        let mut raw = Raw::connect(&broker).await;
        assert_eq!(raw.produce("t", batch(&["c"])).await.base_offset, 2);
        assert_eq!(base_offsets(&fetched(&mut raw, &fetch("t", 0, 1, 5_000, 1 << 20)).await), [0, 2]);
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idempotent_retries_get_the_first_answer_and_gaps_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    let init = InitProducerIdRequest { transactional_id: None, ..Default::default() };
    let id = raw.call(4, &init).await.producer_id;
    let sent = |sequence, values: &[&str]| build(BatchBuilder::new(Codec::None).producer(id, 0, sequence), values);
    assert_eq!(raw.produce("t", sent(0, &["a", "b"])).await.base_offset, 0);
    let again = raw.produce("t", sent(0, &["a", "b"])).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert_eq!(raw.produce("t", sent(3, &["d"])).await.error_code, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER.0);
    assert_eq!(raw.produce("t", sent(2, &["c"])).await.base_offset, 2);
    assert_ne!(raw.call(4, &init).await.producer_id, id);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_break_the_topics_rules_are_refused_with_their_code() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("small", 1, &[("max.message.bytes", "200")]).await;
    raw.create("compact", 1, &[("cleanup.policy", "compact")]).await;
    raw.create("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let large = "x".repeat(300);
    assert_eq!(raw.produce("small", batch(&[&large])).await.error_code, ErrorCode::MESSAGE_TOO_LARGE.0);
    let mut keyless = BatchBuilder::new(Codec::None);
    keyless.push(now(), None, Some(b"v"), &[]).unwrap();
    let refused = raw.produce("compact", keyless.build().unwrap()).await;
    assert_eq!(refused.error_code, ErrorCode::INVALID_RECORD.0);
    assert_eq!(refused.record_errors[0].batch_index, 0);
    let mut damaged = BytesMut::from(&batch(&["v"])[..]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert_eq!(raw.produce("small", damaged.freeze()).await.error_code, ErrorCode::CORRUPT_MESSAGE.0);
    assert_eq!(raw.produce("nowhere", batch(&["v"])).await.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let stamped = raw.produce("append-time", batch(&["v"])).await;
    assert!(stamped.log_append_time_ms >= now() - 60_000);
    let data = fetched(&mut raw, &fetch("append-time", 0, 1, 0, 1 << 20)).await;
    let view = Batches::new(data.records.unwrap()).next().unwrap().unwrap();
    view.verify_crc().unwrap();
    assert!(view.header.attributes.is_log_append_time());
    assert_eq!(view.header.max_timestamp, stamped.log_append_time_ms);
    raw.create("squeezed", 1, &[("compression.type", "zstd"), ("message.timestamp.type", "LogAppendTime")]).await;
    raw.produce("squeezed", batch(&["v", "w"])).await;
    let data = fetched(&mut raw, &fetch("squeezed", 0, 1, 0, 1 << 20)).await;
    let view = Batches::new(data.records.unwrap()).next().unwrap().unwrap();
    view.verify_crc().unwrap();
    assert_eq!(view.header.attributes.codec().unwrap(), Codec::Zstd);
    assert!(view.header.attributes.is_log_append_time());
    assert_eq!(view.records(1 << 20).unwrap()[1].value.as_deref(), Some(&b"w"[..]));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_found_by_time_and_move_with_deleted_records() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    let base = now() - 10_000;
    for step in [0, 2_000, 1_000] {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(base + step, Some(b"k"), Some(b"v"), &[]).unwrap();
        raw.produce("t", builder.build().unwrap()).await;
    }
    assert_eq!(list(&mut raw, "t", -1).await, (0, 3, -1));
    assert_eq!(list(&mut raw, "t", -2).await, (0, 0, -1));
    assert_eq!(list(&mut raw, "t", -3).await, (0, 1, base + 2_000));
    assert_eq!(list(&mut raw, "t", base + 1).await, (0, 1, base + 2_000));
    assert_eq!(list(&mut raw, "t", base + 5_000).await, (0, -1, -1));
    assert_eq!(list(&mut raw, "t", -5).await.0, ErrorCode::UNSUPPORTED_VERSION.0, "not known in version 8");
    let delete = |offset| DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition { partition_index: 0, offset, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let done = raw.call(2, &delete(2)).await;
    assert_eq!(done.topics[0].partitions[0].low_watermark, 2);
    assert_eq!(list(&mut raw, "t", -2).await.1, 2);
    assert_eq!(fetched(&mut raw, &fetch("t", 0, 1, 0, 100)).await.error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
    let refused = raw.call(2, &delete(9)).await;
    assert_eq!(refused.topics[0].partitions[0].error_code, ErrorCode::OFFSET_OUT_OF_RANGE.0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_epochs_fence_those_who_slept_through_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    raw.produce("t", batch(&["a", "b"])).await;
    broker.shutdown().await;
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.produce("t", batch(&["c"])).await;
    let mut old = fetch("t", 0, 1, 0, 1 << 20);
    old.topics[0].partitions[0].current_leader_epoch = 0;
    let answer = fetched(&mut raw, &old).await;
    assert_eq!(answer.error_code, ErrorCode::FENCED_LEADER_EPOCH.0);
    assert_eq!(answer.current_leader.leader_epoch, 1);
    old.topics[0].partitions[0].current_leader_epoch = 2;
    assert_eq!(fetched(&mut raw, &old).await.error_code, ErrorCode::UNKNOWN_LEADER_EPOCH.0);
    let ask = |leader_epoch| OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![OffsetForLeaderPartition { leader_epoch, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let ends: Vec<(i32, i64)> = {
        let mut ends = Vec::new();
        for epoch in [0, 1, 7] {
            let answer = raw.call(4, &ask(epoch)).await;
            let p = &answer.topics[0].partitions[0];
            ends.push((p.leader_epoch, p.end_offset));
        }
        ends
    };
    assert_eq!(ends, [(0, 2), (1, 3), (-1, -1)]);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    let mut numbers = Vec::new();
    for _ in 0..40 {
        numbers.push(raw.send(9, &produce_request("t", -1, batch(&["v"]))).await);
    }
    for (i, number) in numbers.into_iter().enumerate() {
        let answer = raw.receive::<causeway_wire::messages::produce::ProduceRequest>(9, number).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, i as i64);
    }
    // acks=0 has no answer: what comes next is the answer to the next request.
    raw.send(9, &produce_request("t", 0, batch(&["silent"]))).await;
    assert_eq!(list(&mut raw, "t", -1).await.1, 41);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn produce_versions_that_are_only_shown_answer_unsupported() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    // Version 2: header, then acks, timeout, one topic "t" with one partition 0 and no records.
    let mut body = BytesMut::new();
    body.put_slice(&[0, 0, 0, 2, 0, 0, 0, 77, 0, 1, b'c']);
    body.put_slice(&[0, 1, 0, 0, 3, 232, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut out = BytesMut::new();
    out.put_u32(body.len() as u32);
    out.put_slice(&body);
    tokio::io::AsyncWriteExt::write_all(&mut raw.stream, &out).await.unwrap();
    let answer = raw.frame().await.unwrap();
    assert_eq!(&answer[..4], [0, 0, 0, 77]);
    assert_eq!(&answer[19..21], ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes(), "{answer:?}");
    assert_eq!(causeway_wire::messages::produce::ProduceRequest::KEY as i16, 0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_metadata_does_not_know_is_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    raw.create("gone", 1, &[("file.delete.delay.ms", "0")]).await;
    raw.produce("t", batch(&["precious"])).await;
    let delete = causeway_wire::messages::delete_topics::DeleteTopicsRequest {
        topic_names: vec!["gone".into()],
        ..Default::default()
    };
    raw.call(5, &delete).await;
    assert!(!dir.path().join("gone-0").exists());
    broker.shutdown().await;
    // As if the directory had come from elsewhere, and nobody knew of which topic it is.
    std::fs::remove_file(dir.path().join("causeway-meta.log")).unwrap();
    std::fs::remove_file(dir.path().join("t-0/partition.metadata")).unwrap();
    let segment = dir.path().join("t-0").join("00000000000000000000.log");
    let before = std::fs::read(&segment).unwrap();
    for _ in 0..2 {
        let broker = start(dir.path(), &[]).await;
        let mut raw = Raw::connect(&broker).await;
        assert_ne!(raw.create("t", 1, &[]).await, 0, "the name is taken by data of another topic id");
        broker.shutdown().await;
        assert_eq!(std::fs::read(&segment).unwrap(), before);
    }
}
