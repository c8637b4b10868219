//! Expiry of committed offsets (KIP-211), with the wall clock as an argument.

use bytes::Bytes;

use super::*;
use crate::Broker;
use crate::meta::controller::NewTopic;
use crate::properties::Properties;

const MINUTE: i64 = 60_000;

async fn start(dir: &std::path::Path) -> Broker {
    let mut properties = Properties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
    properties.set("log.dirs", dir.display().to_string());
    properties.set("group.initial.rebalance.delay.ms", "0");
    properties.set("offsets.retention.minutes", "10");
    let broker = Broker::start(BrokerConfig::from_properties(&properties).unwrap()).await.unwrap();
    broker.node().ready_for_groups().await.unwrap();
    broker
}

async fn topics(broker: &Broker) {
    for name in ["t", "u"] {
        let topic = NewTopic {
            name: name.into(),
            partitions: 1,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        broker.node().create_topics(vec![topic], false).await.pop().unwrap().unwrap();
    }
}

async fn commit(broker: &Broker, member_id: &str, generation: i32, topic: &str) {
    let offset = NewOffset { topic: topic.into(), partition: 0, offset: 5, leader_epoch: -1, metadata: String::new() };
    let request = CommitRequest {
        group: "g".into(),
        member_id: member_id.into(),
        instance_id: None,
        generation,
        version: 9,
        offsets: vec![offset],
    };
    assert_eq!(broker.node().coordinator.commit(&request).await, [ErrorCode::NONE]);
}

fn has(broker: &Broker, topic: &str) -> bool {
    broker.node().coordinator.committed("g", topic, 0).is_some()
}

/// A subscription to `t`, version 0.
const READS_T: &[u8] = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

async fn stable_member(broker: &Broker) -> String {
    let coordinator = &broker.node().coordinator;
    let request = JoinRequest {
        member_id: String::new(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout: 1_800_000,
        rebalance_timeout: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(READS_T))],
        require_known_member_id: false,
        can_skip_assignment: false,
        new_member_id: "m".into(),
    };
    let joined = coordinator.join("g", &request).await;
    let sync = SyncRequest {
        member_id: joined.member_id.clone(),
        instance_id: None,
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    };
    assert_eq!(coordinator.sync("g", &sync).await.error, ErrorCode::NONE);
    joined.member_id
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_nobody_live_for_the_retention_after_their_commit() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    topics(&broker).await;
    let now = crate::clock::wall_ms();
    commit(&broker, "", -1, "t").await;
    broker.node().coordinator.expire(now + 9 * MINUTE);
    assert!(has(&broker, "t"));
    broker.node().coordinator.expire(now + 11 * MINUTE);
    assert!(!has(&broker, "t"));
    assert!(broker.node().coordinator.list().is_empty(), "nothing is left of the group");
    broker.shutdown().await;
    let broker = start(dir.path()).await;
    assert!(!has(&broker, "t"), "the tombstone is in the log");
    assert!(broker.node().coordinator.list().is_empty());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_group_live_until_the_retention_after_it_became_empty() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    topics(&broker).await;
    let coordinator = &broker.node().coordinator;
    let member = stable_member(&broker).await;
    commit(&broker, &member, 1, "t").await;
    commit(&broker, &member, 1, "u").await;
    let now = crate::clock::wall_ms();
    coordinator.expire(now + 11 * MINUTE);
    assert!(has(&broker, "t"), "a member reads t");
    assert!(!has(&broker, "u"), "nobody reads u");
    coordinator.leave("g", &[(member, None)]).unwrap()[0].unwrap();
    coordinator.expire(now + 9 * MINUTE);
    assert!(has(&broker, "t"));
    coordinator.expire(now + 11 * MINUTE);
    assert!(!has(&broker, "t") && coordinator.list().is_empty());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_group_keeps_what_it_reads_and_goes_with_its_last_offset() {
    use crate::core::groups::consumer::{HeartbeatRequest, LEAVE, Partitions};
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path()).await;
    topics(&broker).await;
    let coordinator = &broker.node().coordinator;
    let join = HeartbeatRequest {
        member_id: "m".into(),
        rebalance_timeout: 1_000,
        topics: Some(vec!["t".into()]),
        owned: Some(Partitions::new()),
        ..HeartbeatRequest::default()
    };
    assert_eq!(coordinator.consumer_heartbeat("g", &join, 1).await.unwrap().epoch, 2);
    commit(&broker, "m", 2, "t").await;
    commit(&broker, "m", 2, "u").await;
    let now = crate::clock::wall_ms();
    coordinator.expire(now + 11 * MINUTE);
    assert!(has(&broker, "t") && !has(&broker, "u"));
    let leave = HeartbeatRequest { epoch: LEAVE, topics: None, owned: None, ..join };
    coordinator.consumer_heartbeat("g", &leave, 1).await.unwrap();
    coordinator.expire(now + 9 * MINUTE);
    assert_eq!(coordinator.list().len(), 1);
    coordinator.expire(now + 11 * MINUTE);
    assert!(!has(&broker, "t") && coordinator.list().is_empty());
    broker.shutdown().await;
    let broker = start(dir.path()).await;
    assert!(broker.node().coordinator.list().is_empty(), "the group stays gone");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn groups_that_come_while_the_topic_is_made_are_kept_where_they_belong() {
    let dir = tempfile::tempdir().unwrap();
    let mut properties = Properties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
    properties.set("log.dirs", dir.path().display().to_string());
    let broker = Broker::start(BrokerConfig::from_properties(&properties).unwrap()).await.unwrap();
    topics(&broker).await;
    let first = |i: usize| {
        let node = Arc::clone(broker.node());
        async move {
            node.ready_for_groups().await.unwrap();
            let group = format!("group-{i}");
            let offset =
                NewOffset { topic: "t".into(), partition: 0, offset: 5, leader_epoch: -1, metadata: String::new() };
            let request = CommitRequest {
                group: group.clone(),
                member_id: String::new(),
                instance_id: None,
                generation: -1,
                version: 9,
                offsets: vec![offset],
            };
            assert_eq!(node.coordinator.commit(&request).await, [ErrorCode::NONE]);
            group
        }
    };
    let all: Vec<_> = (0..40).map(|i| tokio::spawn(first(i))).collect();
    for task in all {
        let group = task.await.unwrap();
        let home = journal::partition_for(&group, 50);
        let log = broker.node().partitions.get(OFFSETS_TOPIC, home).unwrap();
        assert!(log.log.end_offset() > 0, "{group} is not in partition {home}");
    }
    broker.shutdown().await;
}
