//! Topics, settings, groups and the rules of a connection, over a real socket.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use causeway_wire::messages::api_versions::ApiVersionsRequest;
use causeway_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use causeway_wire::messages::delete_groups::DeleteGroupsRequest;
use causeway_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use causeway_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use causeway_wire::messages::describe_groups::DescribeGroupsRequest;
use causeway_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use causeway_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use causeway_wire::messages::list_groups::ListGroupsRequest;
use causeway_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use causeway_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use causeway_wire::{ErrorCode, Message, frame};
use support::{Raw, start};
use tokio::io::AsyncWriteExt;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_of_api_versions_is_answered_in_version_0() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.stream.write_all(&[0, 0, 0, 12, 0, 18, 0, 99, 0, 0, 0, 5, 0, 0, 0, 0]).await.unwrap();
    let mut answer = raw.frame().await.unwrap();
    assert_eq!(&answer.split_to(4)[..], [0, 0, 0, 5]);
    let decoded = causeway_wire::messages::api_versions::ApiVersionsResponse::decode(0, &mut answer).unwrap();
    assert_eq!(decoded.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    assert_eq!(decoded.api_keys.len(), 1);
    let named = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let shown = raw.call(3, &named).await;
    let produce = shown.api_keys.iter().find(|k| k.api_key == 0).unwrap();
    assert_eq!((produce.min_version, produce.max_version), (0, 13));
    assert!(shown.api_keys.iter().all(|k| k.api_key != 4), "LeaderAndIsr is not for clients");
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_topic_does_not_hold_up_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("num.partitions", "3")]).await;
    let mut raw = Raw::connect(&broker).await;
    let topic = |name: &str, partitions| CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: -1,
        ..Default::default()
    };
    let topics = vec![topic("good", -1), topic("b/d", 1), topic("twice", 1), topic("twice", 1), topic("zero", 0)];
    let answer = raw.call(7, &CreateTopicsRequest { topics, ..Default::default() }).await;
    let code = |name: &str| answer.topics.iter().find(|t| t.name == name).unwrap().error_code;
    assert_eq!(code("good"), 0);
    assert_eq!(answer.topics[0].num_partitions, 3);
    assert_eq!(code("b/d"), ErrorCode::INVALID_TOPIC_EXCEPTION.0);
    assert_eq!(code("twice"), ErrorCode::INVALID_REQUEST.0);
    assert_eq!(code("zero"), ErrorCode::INVALID_PARTITIONS.0);
    let only = CreateTopicsRequest { topics: vec![topic("checked", 1)], validate_only: true, ..Default::default() };
    assert_eq!(raw.call(7, &only).await.topics[0].error_code, 0);
    let all = raw.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert_eq!(all.topics.iter().map(|t| t.name.clone().unwrap()).collect::<Vec<_>>(), ["good"]);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_creates_on_request_and_finds_by_id_until_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let by_name = |allow| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some("auto".into()), ..Default::default() }]),
        allow_auto_topic_creation: allow,
        ..Default::default()
    };
    let unknown = raw.call(12, &by_name(false)).await;
    assert_eq!(unknown.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let before = raw.call(12, &by_name(true)).await;
    assert_eq!(before.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0, "the client asks again");
    let made = raw.call(12, &by_name(true)).await;
    assert_eq!((made.topics[0].error_code, made.topics[0].partitions.len()), (0, 1));
    let topic_id = made.topics[0].topic_id;
    let by_id = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id, name: None, ..Default::default() }]),
        ..Default::default()
    };
    let found = raw.call(12, &MetadataRequest { include_topic_authorized_operations: true, ..by_id.clone() }).await;
    assert_eq!(found.topics[0].name.as_deref(), Some("auto"));
    // READ (3) to DESCRIBE (8), DESCRIBE_CONFIGS and ALTER_CONFIGS (10, 11): all there are on a topic.
    assert_eq!(found.topics[0].topic_authorized_operations, 0b1101_1111_1000);
    assert_eq!(made.topics[0].topic_authorized_operations, i32::MIN, "only if asked for");
    let delete = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id, ..Default::default() }],
        ..Default::default()
    };
    let deleted = raw.call(6, &delete).await;
    assert_eq!((deleted.responses[0].error_code, deleted.responses[0].name.as_deref()), (0, Some("auto")));
    assert_eq!(raw.call(12, &by_id).await.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID.0);
    assert_eq!(raw.call(6, &delete).await.responses[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID.0);
    broker.shutdown().await;
}

async fn described(raw: &mut Raw, kind: i8, name: &str, key: &str) -> (Option<String>, i8, usize) {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: None,
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    let answer = raw.call(4, &request).await;
    assert_eq!(answer.results[0].error_code, 0, "{:?}", answer.results[0].error_message);
    let all = &answer.results[0].configs;
    let found = all.iter().find(|c| c.name == key).unwrap();
    (found.value.clone(), found.config_source, all.len())
}

async fn alter(raw: &mut Raw, kind: i8, name: &str, key: &str, operation: i8, value: Option<&str>) -> i16 {
    let config = AlterableConfig {
        name: key.into(),
        config_operation: operation,
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    raw.call(1, &request).await.responses[0].error_code
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_whole_with_their_source_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("log.retention.hours", "2")]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[("segment.ms", "60000")]).await;
    let (value, source, count) = described(&mut raw, TOPIC, "t", "retention.ms").await;
    assert_eq!((value.as_deref(), source), (Some("7200000"), 4));
    assert!(count >= 30, "{count}");
    assert_eq!(described(&mut raw, TOPIC, "t", "segment.ms").await.1, 1);
    assert_eq!(described(&mut raw, TOPIC, "t", "cleanup.policy").await.1, 5);
    assert_eq!(alter(&mut raw, TOPIC, "t", "cleanup.policy", 2, Some("compact")).await, 0);
    assert_eq!(alter(&mut raw, TOPIC, "t", "no.such.key", 0, Some("1")).await, ErrorCode::INVALID_CONFIG.0);
    assert_eq!(alter(&mut raw, BROKER, "1", "message.max.bytes", 0, Some("2000000")).await, 0);
    assert_eq!(alter(&mut raw, BROKER, "1", "listeners", 0, Some("x")).await, ErrorCode::INVALID_REQUEST.0);
    broker.shutdown().await;
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let (value, source, _) = described(&mut raw, TOPIC, "t", "cleanup.policy").await;
    assert_eq!((value.as_deref(), source), (Some("delete,compact"), 1));
    let (value, source, _) = described(&mut raw, TOPIC, "t", "max.message.bytes").await;
    assert_eq!((value.as_deref(), source), (Some("2000000"), 2));
    assert_eq!(alter(&mut raw, TOPIC, "t", "cleanup.policy", 1, None).await, 0);
    assert_eq!(described(&mut raw, TOPIC, "t", "cleanup.policy").await.0.as_deref(), Some("delete"));
    broker.shutdown().await;
}

fn commit(group: &str, topic: &str, offset: i64, note: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some(note.into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..Default::default() }
}

async fn committed(raw: &mut Raw, groups: &[&str]) -> Vec<(i64, String)> {
    let topics =
        || vec![OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() }];
    let group =
        |id: &&str| OffsetFetchRequestGroup { group_id: (*id).into(), topics: Some(topics()), ..Default::default() };
    let request = OffsetFetchRequest { groups: groups.iter().map(group).collect(), ..Default::default() };
    let answer = raw.call(8, &request).await;
    let first = |g: &causeway_wire::messages::offset_fetch::OffsetFetchResponseGroup| {
        let p = &g.topics[0].partitions[0];
        (p.committed_offset, p.metadata.clone().unwrap_or_default())
    };
    answer.groups.iter().map(first).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_without_members_survive_a_restart_until_their_group_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    for (offset, note) in [(5, "first"), (7, "a note é")] {
        let answer = raw.call(8, &commit("g", "t", offset, note)).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    }
    let unknown = raw.call(8, &commit("g", "nowhere", 1, "")).await;
    assert_eq!(unknown.topics[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let long = raw.call(8, &commit("g", "t", 9, &"n".repeat(5_000))).await;
    assert_eq!(long.topics[0].partitions[0].error_code, ErrorCode::OFFSET_METADATA_TOO_LARGE.0);
    broker.shutdown().await;
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(committed(&mut raw, &["g", "other"]).await, [(7, "a note é".to_owned()), (-1, String::new())]);
    let listed = raw.call(4, &ListGroupsRequest::default()).await;
    assert_eq!(listed.groups[0].group_id, "g");
    assert_eq!(listed.groups[0].group_state, "Empty");
    let delete = DeleteGroupsRequest { groups_names: vec!["g".into(), "ghost".into()], ..Default::default() };
    let deleted = raw.call(2, &delete).await;
    let codes: Vec<i16> = deleted.results.iter().map(|r| r.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::GROUP_ID_NOT_FOUND.0]);
    broker.shutdown().await;
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(committed(&mut raw, &["g"]).await[0].0, -1);
    let describe = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let described = raw.call(5, &describe).await;
    assert_eq!(described.groups[0].group_state, "Dead");
    assert_eq!(raw.call(6, &describe).await.groups[0].error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_wait_for_each_other_do_not_hold_up_a_shutdown() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("group.initial.rebalance.delay.ms", "60000")]).await;
    let mut raw = Raw::connect(&broker).await;
    let join = JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 300_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        ..Default::default()
    };
    raw.send(3, &join).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    broker.shutdown().await;
    // The data directory is free again.
    start(dir.path(), &[]).await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_closes_its_own_connection_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[("socket.request.max.bytes", "1000000")]).await;
    let mut good = Raw::connect(&broker).await;
    good.create("t", 1, &[]).await;
    let inputs: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1],
        &[0x7f, 0xff, 0xff, 0xff, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0, 0],
        &[0, 0, 0, 3, 1, 2, 3],
        // An API that does not exist, and a Metadata request with an array of two billion entries.
        &[0, 0, 0, 10, 0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
    ];
    for input in inputs {
        let mut bad = Raw::connect(&broker).await;
        bad.stream.write_all(input).await.unwrap();
        assert_eq!(bad.frame().await, None, "{input:?}");
    }
    // Half a frame, then silence: held without harm.
    let mut half = Raw::connect(&broker).await;
    half.stream.write_all(&[0, 0, 0, 50, 0, 3]).await.unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let length = random.usize(8..400);
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
        // A plausible length and a known API make the decoders work.
        let length = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[4] = 0;
        bytes[5] %= 70;
        bytes[6] = 0;
        if bytes.len() > 7 {
            bytes[7] %= 14;
        }
        let mut bad = Raw::connect(&broker).await;
        bad.stream.write_all(&bytes).await.unwrap();
        bad.stream.shutdown().await.unwrap();
        while bad.frame().await.is_some() {}
    }
    let still = good.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert!(still.topics.iter().any(|t| t.name.as_deref() == Some("t")));
    assert!(frame::check_length([0, 0, 0, 1], 10).is_ok());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_surplus_connections_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("connections.max.idle.ms", "2000"), ("max.connections", "2")];
    let broker = start(dir.path(), &settings).await;
    let mut idle = Raw::connect(&broker).await;
    let mut busy = Raw::connect(&broker).await;
    assert_eq!(busy.create("t", 1, &[]).await, 0);
    let mut surplus = Raw::connect(&broker).await;
    assert_eq!(surplus.frame().await, None, "a third connection is one too many");
    // A connection that waits for an answer is not idle.
    let number = busy
        .send(
            12,
            &causeway_wire::messages::fetch::FetchRequest {
                max_wait_ms: 4_000,
                min_bytes: 1,
                max_bytes: 1 << 20,
                topics: vec![causeway_wire::messages::fetch::FetchTopic {
                    topic: "t".into(),
                    partitions: vec![Default::default()],
                    ..Default::default()
                }],
                ..Default::default()
            },
        )
        .await;
    assert_eq!(idle.frame().await, None);
    busy.receive::<causeway_wire::messages::fetch::FetchRequest>(12, number).await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_bytes_that_never_come_hold_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("queued.max.request.bytes", "200000"), ("socket.request.max.bytes", "150000")];
    let broker = start(dir.path(), &settings).await;
    let mut half = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(&broker).await;
        raw.stream.write_all(&140_000u32.to_be_bytes()).await.unwrap();
        half.push(raw);
    }
    let mut good = Raw::connect(&broker).await;
    assert_eq!(good.create("t", 1, &[]).await, 0);
    broker.shutdown().await;
}
