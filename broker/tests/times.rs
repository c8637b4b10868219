//! Times of records as the topic wants them (LogAppendTime, windows), in every codec that comes and every codec that is stored; and what compaction
//! leaves of transactions to a reader of `read_committed`.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;
mod txn_support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use causeway_broker::Broker;
use causeway_wire::ErrorCode;
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::records::{BatchBuilder, BatchView, Batches, Codec, decode_records};
use support::{Raw, batch, now, start};
use txn_support::Client;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;

async fn stored(raw: &mut Raw, topic: &str) -> Vec<BatchView> {
    let partition = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    let answer = raw.call(12, &FetchRequest { max_bytes: 1 << 20, topics, ..Default::default() }).await;
    Batches::new(answer.responses[0].partitions[0].records.clone().unwrap()).map(Result::unwrap).collect()
}

/// Three records at -2, -1 and 0 ms.
fn three(codec: Codec, time: i64) -> bytes::Bytes {
    let mut builder = BatchBuilder::new(codec);
    for n in 0..3 {
        let value = format!("value {n} {}", "z".repeat(200));
        builder.push(time - 2 + n, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn append_times_and_codecs_are_the_topics_whatever_the_producer_sends() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os")]).await;
    let mut raw = Raw::connect(&broker).await;
    let wanted = [("producer", None), ("uncompressed", Some(Codec::None)), ("gzip", Some(Codec::Gzip))];
    let wanted = wanted.into_iter().chain([
        ("snappy", Some(Codec::Snappy)),
        ("lz4", Some(Codec::Lz4)),
        ("zstd", Some(Codec::Zstd)),
    ]);
    for (name, codec) in wanted {
        for by_append in [false, true] {
            let topic = format!("{name}-{by_append}");
            let kind = if by_append { "LogAppendTime" } else { "CreateTime" };
            let configs = [("compression.type", name), ("message.timestamp.type", kind)];
            assert_eq!(raw.create(&topic, 1, &configs).await, 0);
            let before = now();
            // Long ago: only the producer's own time says so.
            let sent_at = before - 50 * HOUR_MS;
            for sent in Codec::ALL {
                let answer = raw.produce(&topic, three(sent, sent_at)).await;
                assert_eq!(answer.error_code, 0, "{topic} {sent}");
                assert_eq!(answer.log_append_time_ms >= before, by_append, "{topic} {sent}");
            }
            let batches = stored(&mut raw, &topic).await;
            for (sent, found) in Codec::ALL.into_iter().zip(&batches) {
                found.verify_crc().unwrap();
                let header = found.header;
                assert_eq!(header.attributes.codec().unwrap(), codec.unwrap_or(sent), "{topic}");
                assert_eq!(header.attributes.is_log_append_time(), by_append, "{topic} {sent}");
                let records = decode_records(found, 1 << 20).unwrap();
                assert_eq!(records.len(), 3);
                for (n, record) in records.iter().enumerate() {
                    assert!(record.value.as_ref().unwrap().starts_with(format!("value {n}").as_bytes()));
                }
                match by_append {
                    // The largest time is the append's; those of the records stay as they were sent, and readers ignore them.
                    true => assert!(header.max_timestamp >= before, "{topic} {sent}"),
                    false => assert_eq!(header.max_timestamp, sent_at, "{topic} {sent}"),
                }
            }
            // A look-up by time goes by the time that counts.
            let partition = ListOffsetsPartition { timestamp: before - 1_000, ..Default::default() };
            let topics =
                vec![ListOffsetsTopic { name: topic.clone(), partitions: vec![partition], ..Default::default() }];
            let answer = raw.call(8, &ListOffsetsRequest { topics, ..Default::default() }).await;
            let found = answer.topics[0].partitions[0].offset;
            assert_eq!(found, if by_append { 0 } else { -1 }, "{topic}");
        }
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_outside_the_topics_window_of_time_are_refused_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.flush", "os")]).await;
    let mut raw = Raw::connect(&broker).await;
    let window = [("message.timestamp.before.max.ms", "3600000"), ("message.timestamp.after.max.ms", "60000")];
    assert_eq!(raw.create("window", 1, &window).await, 0);
    let append = [&window[..], &[("message.timestamp.type", "LogAppendTime")]].concat();
    assert_eq!(raw.create("append", 1, &append).await, 0);
    assert_eq!(raw.create("default", 1, &[]).await, 0);
    let at = |times: &[i64], codec| {
        let mut builder = BatchBuilder::new(codec);
        for time in times {
            builder.push(*time, Some(b"k"), Some(b"v"), &[]).unwrap();
        }
        builder.build().unwrap()
    };
    let bad = ErrorCode::INVALID_TIMESTAMP.0;
    for codec in [Codec::None, Codec::Zstd] {
        let n = now();
        for (times, code, rejected) in [
            (vec![n, n - HOUR_MS + 60_000, n + 30_000], 0, vec![]),
            (vec![n - HOUR_MS - 60_000], bad, vec![0]),
            (vec![n, n + 120_000, n, n - 2 * HOUR_MS], bad, vec![1, 3]),
        ] {
            let answer = raw.produce("window", at(&times, codec)).await;
            let found: Vec<i32> = answer.record_errors.iter().map(|error| error.batch_index).collect();
            assert_eq!((answer.error_code, found), (code, rejected), "{times:?} at {n}");
            // Whose clock does not count is not looked at.
            assert_eq!(raw.produce("append", at(&times, codec)).await.error_code, 0, "{times:?}");
        }
        // An hour ahead, and any time back.
        assert_eq!(raw.produce("default", at(&[n - 9_000 * HOUR_MS, n + HOUR_MS - 60_000], codec)).await.error_code, 0);
        assert_eq!(raw.produce("default", at(&[n + HOUR_MS + 60_000], codec)).await.error_code, bad);
    }
    broker.shutdown().await;
}

/// Value by key as a reader of `read_committed` sees it, and how many records there are.
async fn latest(raw: &mut Raw, topic: &str) -> (BTreeMap<String, String>, usize) {
    let (mut next, mut seen, mut count) = (0, BTreeMap::new(), 0);
    loop {
        let partition = FetchPartition { partition_max_bytes: 1 << 20, fetch_offset: next, ..Default::default() };
        let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
        let request = FetchRequest { max_bytes: 1 << 20, isolation_level: 1, topics, ..Default::default() };
        let data = raw.call(12, &request).await.responses[0].partitions[0].clone();
        assert_eq!(data.error_code, 0);
        let mut aborted = data.aborted_transactions.unwrap_or_default();
        let mut dropping = std::collections::BTreeSet::new();
        let before = next;
        for found in Batches::new(data.records.unwrap()) {
            let found = found.unwrap();
            found.verify_crc().unwrap();
            next = found.header.next_offset();
            aborted.retain(|txn| {
                let begun = txn.first_offset <= found.header.last_offset();
                begun.then(|| dropping.insert(txn.producer_id));
                !begun
            });
            let producer = found.header.producer_id;
            let records = decode_records(&found, 1 << 20).unwrap();
            if found.header.attributes.is_control() {
                dropping.remove(&producer);
            } else if !(found.header.attributes.is_transactional() && dropping.contains(&producer)) {
                for record in records {
                    let text = |bytes: Option<bytes::Bytes>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
                    seen.insert(text(record.key), text(record.value));
                    count += 1;
                }
            }
        }
        if next == before {
            return (seen, count);
        }
    }
}

/// Commits, aborts and leaves transactions open over many segments, plain records of the same keys among them.
async fn write_transactions(broker: &Broker, topic: &str) -> Client {
    let mut raw = Raw::connect(broker).await;
    let mut client = Client::new(broker, "writer").await;
    let filler = "f".repeat(150);
    for round in 0..12 {
        assert_eq!(client.add(topic, &[0]).await, 0);
        let commit = round % 3 != 0;
        let values = [format!("{round} {commit} {filler}"), format!("{round} {commit}")];
        assert_eq!(client.write(9, topic, &[&values[0], &values[1]]).await.error_code, 0);
        client.end(3, commit).await;
        if round % 4 == 0 {
            assert_eq!(raw.produce(topic, batch(&["plain", "plain", &format!("{round}")])).await.error_code, 0);
        }
    }
    let mut open = Client::new(broker, "open").await;
    assert_eq!(open.add(topic, &[0]).await, 0);
    assert_eq!(open.write(9, topic, &["not decided", "not decided"]).await.error_code, 0);
    for n in 0..6 {
        assert_eq!(raw.produce(topic, batch(&["behind the open one", &format!("{n} {filler}")])).await.error_code, 0);
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn r25_compaction_shows_a_reader_of_committed_records_what_it_showed_before() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("log.flush", "os"), ("log.segment.bytes", "700"), ("log.cleaner.backoff.ms", "20")];
    let broker = start(dir.path(), &settings).await;
    let mut raw = Raw::connect(&broker).await;
    for (topic, policy) in [("compact", "compact"), ("both", "compact,delete")] {
        // Until it may be compacted the topic is not: a reader sees all of it first.
        assert_eq!(raw.create(topic, 1, &[("cleanup.policy", "delete"), ("min.cleanable.dirty.ratio", "0")]).await, 0);
        let mut open = write_transactions(&broker, topic).await;
        let (before, records) = latest(&mut raw, topic).await;
        assert_eq!(before["k0"].split(' ').nth(1), Some("true"), "an aborted value shows: {before:?}");
        assert!(!before.values().any(|value| value == "not decided" || value.starts_with("behind")), "R16");
        set(&mut raw, topic, "cleanup.policy", policy).await;
        let until = Instant::now() + PATIENCE;
        loop {
            let (after, left) = latest(&mut raw, topic).await;
            assert_eq!(after, before, "{topic}: the same values at any moment of a compaction");
            if left * 2 < records {
                break;
            }
            assert!(Instant::now() < until, "{topic}: never compacted: {left} of {records}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What was behind the open transaction comes to light when it ends, and its own records stay away.
        open.end(3, false).await;
        let until = Instant::now() + PATIENCE;
        while latest(&mut raw, topic).await.0["k0"] != "behind the open one" {
            assert!(Instant::now() < until);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (after, _) = latest(&mut raw, topic).await;
        assert!(!after.values().any(|value| value == "not decided"), "{after:?}");
    }
    broker.shutdown().await;
}

async fn set(raw: &mut Raw, topic: &str, key: &str, value: &str) {
    use causeway_wire::messages::incremental_alter_configs::{
        AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
    };
    let config = AlterableConfig { name: key.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: topic.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(raw.call(1, &request).await.responses[0].error_code, 0);
}
