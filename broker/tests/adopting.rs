//! Log directories that come without metadata of ours are taken over.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use causeway_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use causeway_wire::records::{Batches, DECOMPRESSED_BYTES_MAX, decode_records};
use support::{Raw, batch, start};

async fn topic_id(raw: &mut Raw, name: &str) -> (i16, causeway_wire::Uuid, usize) {
    let topics = Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]);
    let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    let response = raw.call(12, &request).await;
    let topic = &response.topics[0];
    (topic.error_code, topic.topic_id, topic.partitions.len())
}

async fn values(raw: &mut Raw, topic: &str) -> Vec<String> {
    let partition = FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest { max_bytes: 1 << 20, min_bytes: 1, topics: vec![topic], ..Default::default() };
    let response = raw.call(11, &request).await;
    let data = response.responses[0].partitions[0].clone();
    assert_eq!(data.error_code, 0);
    let batches = Batches::new(data.records.unwrap()).map(Result::unwrap);
    let records = batches.flat_map(|batch| decode_records(&batch, DECOMPRESSED_BYTES_MAX).unwrap());
    records.map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_a_directory_without_metadata_are_served_under_their_ids() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 2, &[]).await;
    raw.produce("t", batch(&["one", "two"])).await;
    let before = topic_id(&mut raw, "t").await;
    broker.shutdown().await;
    std::fs::remove_file(dir.path().join("causeway-meta.log")).unwrap();
    // Kafka's own log of metadata is no topic, and a directory marked for deletion is none any more.
    std::fs::create_dir(dir.path().join("__cluster_metadata-0")).unwrap();
    std::fs::create_dir(dir.path().join("gone-0.0123456789abcdef0123456789abcdef-delete")).unwrap();
    for round in 0..2 {
        let broker = start(dir.path(), &[]).await;
        let mut raw = Raw::connect(&broker).await;
        assert_eq!(topic_id(&mut raw, "t").await, before, "round {round}");
        assert_ne!(topic_id(&mut raw, "__cluster_metadata").await.0, 0);
        assert_eq!(values(&mut raw, "t").await[..2], ["one", "two"]);
        let appended = raw.produce("t", batch(&["three"])).await;
        assert_eq!((appended.error_code, appended.base_offset), (0, 2 + round));
        broker.shutdown().await;
    }
    assert_eq!(std::fs::read_dir(dir.path().join("__cluster_metadata-0")).unwrap().count(), 0, "not touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_compacted_while_it_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.cleaner.backoff.ms", "20")]).await;
    let mut raw = Raw::connect(&broker).await;
    let settings = [("cleanup.policy", "compact"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.01")];
    raw.create("t", 1, &settings).await;
    let value = "x".repeat(50_000);
    let size = || -> u64 {
        let files = std::fs::read_dir(dir.path().join("t-0")).unwrap().map(Result::unwrap);
        let logs = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "log"));
        logs.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
    };
    for _ in 0..60 {
        assert_eq!(raw.produce("t", batch(&[&value])).await.error_code, 0);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while size() > 1_600_000 {
        assert!(std::time::Instant::now() < deadline, "still {} bytes", size());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(values(&mut raw, "t").await.iter().all(|found| *found == value));
    broker.shutdown().await;
    // The broker comes up with what compaction left.
    let broker = start(dir.path(), &[("log.cleaner.enable", "false")]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.produce("t", batch(&[&value])).await.base_offset, 60);
    broker.shutdown().await;
}
