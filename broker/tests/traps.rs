//! What partly compatible brokers get wrong and clients trip over: each of these has broken somebody's client.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use causeway_wire::ErrorCode;
use causeway_wire::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use causeway_wire::messages::create_topics::{CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest};
use causeway_wire::messages::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use causeway_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use causeway_wire::records::{BatchBuilder, Codec};
use support::{Raw, batch, now, start};

async fn partitions_of(raw: &mut Raw, name: &str) -> usize {
    let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
    raw.call(12, &request).await.topics[0].partitions.len()
}

/// Nisshi's gap: no results at all, and admin clients waited for ever.
#[tokio::test(flavor = "multi_thread")]
async fn create_partitions_tells_each_topics_outcome_and_only_validates_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 2, &[]).await, 0);
    let grow = |name: &str, count, assignments: Option<Vec<i32>>| CreatePartitionsTopic {
        name: name.into(),
        count,
        assignments: assignments.map(|all| {
            let one = |id| CreatePartitionsAssignment { broker_ids: vec![id], ..Default::default() };
            all.into_iter().map(one).collect()
        }),
        ..Default::default()
    };
    let request = |topics, validate_only| CreatePartitionsRequest { topics, validate_only, ..Default::default() };
    let topics = vec![grow("t", 4, None), grow("no", 4, None), grow("twice", 4, None), grow("twice", 5, None)];
    let only = raw.call(3, &request(topics.clone(), true)).await;
    assert_eq!(only.results.len(), 3);
    assert_eq!(partitions_of(&mut raw, "t").await, 2);
    let done = raw.call(3, &request(topics, false)).await;
    let code = |name: &str| done.results.iter().find(|r| r.name == name).unwrap().error_code;
    assert_eq!(code("t"), 0);
    assert_eq!(code("no"), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    assert_eq!(code("twice"), ErrorCode::INVALID_REQUEST.0);
    assert_eq!(partitions_of(&mut raw, "t").await, 4);
    for (count, assignments, expected) in [
        (3, None, ErrorCode::INVALID_PARTITIONS),
        (4, None, ErrorCode::INVALID_PARTITIONS),
        (-1, None, ErrorCode::INVALID_PARTITIONS),
        (6, Some(vec![1]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (5, Some(vec![99]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (5, Some(vec![1]), ErrorCode::NONE),
    ] {
        let answer = raw.call(0, &request(vec![grow("t", count, assignments.clone())], false)).await;
        assert_eq!(answer.results[0].error_code, expected.0, "{count} {assignments:?}");
    }
    broker.shutdown().await;
}

/// Streams and Connect create topics with -1 and read back what they got.
#[tokio::test(flavor = "multi_thread")]
async fn minus_one_takes_the_brokers_defaults_and_the_answer_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("num.partitions", "3")]).await;
    let mut raw = Raw::connect(&broker).await;
    let topic = |name: &str, num_partitions, replication_factor, assigned: Vec<i32>| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor,
        assignments: (assigned.into_iter().zip(0..))
            .map(|(id, i)| CreatableReplicaAssignment {
                partition_index: i,
                broker_ids: vec![id],
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let topics = vec![
        topic("defaults", -1, -1, vec![]),
        topic("assigned", -1, -1, vec![1, 1]),
        topic("both", 1, -1, vec![1]),
        topic("nobody", -1, -1, vec![7]),
        topic("none", 0, 1, vec![]),
        topic("many", 1, 2, vec![]),
    ];
    let made = raw.call(7, &CreateTopicsRequest { topics, ..Default::default() }).await;
    let of = |name: &str| made.topics.iter().find(|t| t.name == name).unwrap();
    assert_eq!(
        (of("defaults").error_code, of("defaults").num_partitions, of("defaults").replication_factor),
        (0, 3, 1)
    );
    let cleanup = of("defaults").configs.as_ref().unwrap().iter().find(|c| c.name == "cleanup.policy").unwrap();
    assert_eq!((cleanup.value.as_deref(), cleanup.config_source), (Some("delete"), 5));
    assert_eq!((of("assigned").error_code, of("assigned").num_partitions), (0, 2));
    assert_eq!(of("both").error_code, ErrorCode::INVALID_REQUEST.0);
    assert_eq!(of("nobody").error_code, ErrorCode::INVALID_REPLICA_ASSIGNMENT.0);
    assert_eq!(of("none").error_code, ErrorCode::INVALID_PARTITIONS.0);
    assert_eq!(of("many").error_code, ErrorCode::INVALID_REPLICATION_FACTOR.0);
    broker.shutdown().await;
}

/// librdkafka's suite waits for exactly this code.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_a_key_is_refused_on_a_compacted_topic_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("c", 1, &[("cleanup.policy", "compact")]).await, 0);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(now(), Some(b"k"), Some(b"v"), &[]).unwrap();
    builder.push(now(), None, Some(b"v"), &[]).unwrap();
    let refused = raw.produce("c", builder.build().unwrap()).await;
    assert_eq!(refused.error_code, ErrorCode::INVALID_RECORD.0);
    assert_eq!(refused.record_errors.iter().map(|r| r.batch_index).collect::<Vec<_>>(), [1]);
    assert_eq!(raw.produce("c", batch(&["v"])).await.error_code, 0);
    broker.shutdown().await;
}

/// Kafka UIs show nothing at all without it.
#[tokio::test(flavor = "multi_thread")]
async fn log_dirs_show_partitions_their_sizes_and_the_room_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 2, &[]).await, 0);
    let sent = batch(&["value"]);
    assert_eq!(raw.produce("t", sent.clone()).await.error_code, 0);
    let all = raw.call(4, &DescribeLogDirsRequest { topics: None, ..Default::default() }).await;
    assert_eq!(all.results.len(), 1);
    let shown = &all.results[0];
    assert!(std::path::Path::new(&shown.log_dir).is_absolute());
    assert!(shown.total_bytes >= shown.usable_bytes && shown.usable_bytes > 0, "{shown:?}");
    let topic = shown.topics.iter().find(|t| t.name == "t").unwrap();
    let sizes: Vec<i64> = topic.partitions.iter().map(|p| p.partition_size).collect();
    assert_eq!(sizes, [sent.len() as i64, 0]);
    let one = DescribableLogDirTopic { topic: "t".into(), partitions: vec![1], ..Default::default() };
    let some = raw.call(1, &DescribeLogDirsRequest { topics: Some(vec![one]), ..Default::default() }).await;
    assert_eq!(some.results[0].topics[0].partitions.len(), 1);
    let none = raw.call(5, &DescribeLogDirsRequest { topics: Some(vec![]), ..Default::default() }).await;
    assert!(none.results[0].topics.is_empty());
    broker.shutdown().await;
}
