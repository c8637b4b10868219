//! Groups of both protocols over a real socket: who has what, what a restart keeps, what offsets need.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use bytes::{BufMut, Bytes, BytesMut};
use causeway_broker::Broker;
use causeway_wire::messages::consumer_group_describe::{ConsumerGroupDescribeRequest, DescribedGroup};
use causeway_wire::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestTopicPartitions,
};
use causeway_wire::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use causeway_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use causeway_wire::messages::delete_groups::DeleteGroupsRequest;
use causeway_wire::messages::describe_groups::DescribeGroupsRequest;
use causeway_wire::messages::heartbeat::HeartbeatRequest;
use causeway_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use causeway_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use causeway_wire::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use causeway_wire::messages::list_groups::ListGroupsRequest;
use causeway_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use causeway_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use causeway_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
};
use causeway_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use causeway_wire::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};
use causeway_wire::{ErrorCode, Message, Uuid};
use support::{Raw, start};

fn joining(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

async fn beat(raw: &mut Raw, member: &str, epoch: i32, owned: &[(Uuid, &[i32])]) -> ConsumerGroupHeartbeatResponse {
    let part = |(topic_id, partitions): &(Uuid, &[i32])| RequestTopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.to_vec(),
        ..Default::default()
    };
    let request = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: -1,
        topic_partitions: Some(owned.iter().map(part).collect()),
        ..Default::default()
    };
    raw.call(1, &request).await
}

fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<i32>> {
    let assignment = answer.assignment.as_ref()?;
    Some(assignment.topic_partitions.iter().flat_map(|t| t.partitions.clone()).collect())
}

async fn topic_id(raw: &mut Raw, name: &str) -> Uuid {
    let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    raw.call(12, &MetadataRequest { topics: Some(vec![topic]), ..Default::default() }).await.topics[0].topic_id
}

async fn describe(raw: &mut Raw, group: &str) -> DescribedGroup {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
    raw.call(1, &request).await.groups[0].clone()
}

async fn commit(raw: &mut Raw, version: i16, member: &str, epoch: i32, topic: Uuid, partition: i32) -> ErrorCode {
    let p = OffsetCommitRequestPartition { partition_index: partition, committed_offset: 7, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { name: "t".into(), topic_id: topic, partitions: vec![p], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        member_id: member.into(),
        generation_id_or_member_epoch: epoch,
        topics: vec![topic],
        ..Default::default()
    };
    ErrorCode(raw.call(version, &request).await.topics[0].partitions[0].error_code)
}

async fn fetch(raw: &mut Raw, member: Option<&str>, epoch: i32) -> OffsetFetchResponseGroup {
    let topics = vec![OffsetFetchRequestTopics { name: "t".into(), partition_indexes: vec![0], ..Default::default() }];
    let group = OffsetFetchRequestGroup {
        group_id: "g".into(),
        member_id: member.map(str::to_owned),
        member_epoch: epoch,
        topics: Some(topics),
        ..Default::default()
    };
    raw.call(9, &OffsetFetchRequest { groups: vec![group], ..Default::default() }).await.groups[0].clone()
}

async fn broker(dir: &std::path::Path) -> (Broker, Raw) {
    // Nothing here shall wait for the next target.
    let broker = start(dir, &[("group.consumer.assignment.interval.ms", "0")]).await;
    let raw = Raw::connect(&broker).await;
    (broker, raw)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_a_topic_and_a_restart_keeps_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut raw) = broker(dir.path()).await;
    raw.create("t", 4, &[]).await;
    let t = topic_id(&mut raw, "t").await;
    let first = raw.call(1, &joining("m1")).await;
    assert_eq!((first.error_code, first.member_epoch, first.heartbeat_interval_ms), (0, 2, 5_000));
    assert_eq!(assigned(&first), Some(vec![0, 1, 2, 3]));
    assert_eq!(assigned(&raw.call(1, &joining("m2")).await), Some(Vec::new()));
    assert_eq!(assigned(&beat(&mut raw, "m1", 2, &[(t, &[0, 1, 2, 3])]).await), Some(vec![0, 1]));
    assert_eq!(beat(&mut raw, "m1", 2, &[(t, &[0, 1])]).await.member_epoch, 3);
    assert_eq!(assigned(&beat(&mut raw, "m2", 3, &[]).await), Some(vec![2, 3]));

    assert_eq!(commit(&mut raw, 9, "m1", 3, Uuid::ZERO, 0).await, ErrorCode::NONE);
    assert_eq!(commit(&mut raw, 10, "m1", 3, t, 0).await, ErrorCode::NONE);
    assert_eq!(commit(&mut raw, 9, "m1", 6, Uuid::ZERO, 0).await, ErrorCode::STALE_MEMBER_EPOCH);
    assert_eq!(commit(&mut raw, 8, "m1", 3, Uuid::ZERO, 0).await, ErrorCode::UNSUPPORTED_VERSION);
    assert_eq!(commit(&mut raw, 9, "", -1, Uuid::ZERO, 0).await, ErrorCode::UNKNOWN_MEMBER_ID);
    let read = fetch(&mut raw, Some("m1"), 3).await;
    assert_eq!((read.error_code, read.topics[0].partitions[0].committed_offset), (0, 7));
    assert_eq!(fetch(&mut raw, None, -1).await.error_code, 0);
    assert_eq!(fetch(&mut raw, Some("m1"), 2).await.error_code, ErrorCode::STALE_MEMBER_EPOCH.0);
    assert_eq!(fetch(&mut raw, Some("x"), 2).await.error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    let before = describe(&mut raw, "g").await;
    node.shutdown().await;

    let (node, mut raw) = broker(dir.path()).await;
    let after = describe(&mut raw, "g").await;
    assert_eq!(after, before);
    assert_eq!((after.group_state.as_str(), after.group_epoch, after.members.len()), ("Stable", 3, 2));
    assert_eq!((after.assignor_name.as_str(), after.members[0].member_type), ("uniform", 1));
    assert_eq!(after.members[1].assignment.topic_partitions[0].partitions, [2, 3]);
    assert_eq!(assigned(&beat(&mut raw, "m2", 3, &[(t, &[2, 3])]).await), None, "nothing happened to it");
    let grow = CreatePartitionsTopic { name: "t".into(), count: 5, assignments: None, ..Default::default() };
    let grown = raw.call(3, &CreatePartitionsRequest { topics: vec![grow], ..Default::default() }).await;
    assert_eq!(grown.results[0].error_code, 0);
    beat(&mut raw, "m1", 3, &[(t, &[0, 1])]).await;
    let m2 = beat(&mut raw, "m2", 3, &[(t, &[2, 3])]).await;
    let group = describe(&mut raw, "g").await;
    assert_eq!((group.group_epoch, m2.member_epoch, group.group_state.as_str()), (4, 4, "Stable"));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_kinds_of_groups_are_listed_described_and_deleted_as_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut raw) = broker(dir.path()).await;
    raw.create("t", 1, &[]).await;
    assert_eq!(beat(&mut raw, "m1", 1, &[]).await.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
    raw.call(1, &joining("m1")).await;
    let offsets = OffsetCommitRequestTopic {
        name: "t".into(),
        partitions: vec![OffsetCommitRequestPartition::default()],
        ..Default::default()
    };
    let simple = OffsetCommitRequest { group_id: "simple".into(), topics: vec![offsets], ..Default::default() };
    raw.call(8, &simple).await;
    let all = raw.call(5, &ListGroupsRequest::default()).await.groups;
    let shown: Vec<_> =
        all.iter().map(|g| (&*g.group_id, &*g.group_type, &*g.group_state, &*g.protocol_type)).collect();
    assert_eq!(shown, [("g", "consumer", "Stable", "consumer"), ("simple", "classic", "Empty", "")]);
    let only = ListGroupsRequest { types_filter: vec!["Consumer".into()], ..Default::default() };
    assert_eq!(raw.call(5, &only).await.groups.len(), 1);
    let classic = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    assert_eq!(raw.call(6, &classic).await.groups[0].error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
    assert_eq!(describe(&mut raw, "simple").await.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
    let delete = DeleteGroupsRequest { groups_names: vec!["g".into()], ..Default::default() };
    assert_eq!(raw.call(2, &delete).await.results[0].error_code, ErrorCode::NON_EMPTY_GROUP.0);
    assert_eq!(beat(&mut raw, "m1", -1, &[]).await.member_epoch, -1);
    assert_eq!(describe(&mut raw, "g").await.group_state, "Empty");
    assert_eq!(raw.call(2, &delete).await.results[0].error_code, 0);
    node.shutdown().await;
    let (node, mut raw) = broker(dir.path()).await;
    let left = raw.call(5, &ListGroupsRequest::default()).await.groups;
    assert_eq!(left.iter().map(|g| &*g.group_id).collect::<Vec<_>>(), ["simple"], "a deleted group stays deleted");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_groups_own_settings_count_and_the_feature_can_be_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut raw) = broker(dir.path()).await;
    raw.create("t", 1, &[]).await;
    let config = AlterableConfig {
        name: "consumer.heartbeat.interval.ms".into(),
        value: Some("7000".into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: 32,
        resource_name: "g".into(),
        configs: vec![config],
        ..Default::default()
    };
    let alter = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    assert_eq!(raw.call(1, &alter).await.responses[0].error_code, 0);
    assert_eq!(raw.call(1, &joining("m1")).await.heartbeat_interval_ms, 7_000);
    let off = FeatureUpdateKey { feature: "group.version".into(), upgrade_type: 2, ..Default::default() };
    let update = UpdateFeaturesRequest { feature_updates: vec![off], timeout_ms: 9_000, ..Default::default() };
    assert_eq!(raw.call(1, &update).await.error_code, 0);
    assert_eq!(beat(&mut raw, "m1", 1, &[]).await.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    node.shutdown().await;
}

fn metadata(topics: &[&str]) -> Bytes {
    let value =
        ConsumerProtocolSubscription { topics: topics.iter().map(|t| (*t).to_owned()).collect(), ..Default::default() };
    let mut out = BytesMut::new();
    out.put_i16(1);
    value.encode(1, &mut out).unwrap();
    out.freeze()
}

fn classic_join(member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: metadata(&["t"]), ..Default::default() };
    JoinGroupRequest {
        group_id: "g".into(),
        member_id: member.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

fn classic_sync(member: &str, generation: i32, assignment: Option<Bytes>) -> SyncGroupRequest {
    let given = |a| SyncGroupRequestAssignment { member_id: member.into(), assignment: a, ..Default::default() };
    SyncGroupRequest {
        group_id: "g".into(),
        member_id: member.into(),
        generation_id: generation,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignment.into_iter().map(given).collect(),
        ..Default::default()
    }
}

async fn classic_beat(raw: &mut Raw, member: &str, generation: i32) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        generation_id: generation,
        ..Default::default()
    };
    ErrorCode(raw.call(4, &request).await.error_code)
}

/// Version 1 of an assignment of partitions 0 and 1 of `t`.
const BOTH: &[u8] = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x01\xff\xff\xff\xff";

#[tokio::test(flavor = "multi_thread")]
async fn a_group_moves_to_the_consumer_protocol_and_back_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut raw) = broker(dir.path()).await;
    raw.create("t", 2, &[]).await;
    let t = topic_id(&mut raw, "t").await;
    let c = raw.call(3, &classic_join("")).await;
    raw.call(5, &classic_sync(&c.member_id, c.generation_id, Some(Bytes::from_static(BOTH)))).await;

    let m = raw.call(1, &joining("m")).await;
    assert_eq!((m.error_code, m.member_epoch, assigned(&m)), (0, 2, Some(Vec::new())));
    let shown = describe(&mut raw, "g").await;
    assert_eq!(shown.members.iter().map(|m| m.member_type).collect::<Vec<_>>().len(), 2);
    assert_eq!(classic_beat(&mut raw, &c.member_id, 1).await, ErrorCode::REBALANCE_IN_PROGRESS);
    // An eager member gives everything back before it joins.
    let again = raw.call(7, &classic_join(&c.member_id)).await;
    assert_eq!((again.error_code, again.generation_id, again.leader.as_str()), (0, 2, ""));
    let synced = raw.call(5, &classic_sync(&c.member_id, 2, None)).await;
    // Version, one topic named t, one partition.
    assert_eq!((synced.error_code, &synced.assignment[..13]), (0, &b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x01"[..]));
    assert_eq!(assigned(&beat(&mut raw, "m", 2, &[]).await).map(|p| p.len()), Some(1));
    assert_eq!(classic_beat(&mut raw, &c.member_id, 2).await, ErrorCode::NONE);
    node.shutdown().await;

    let (node, mut raw) = broker(dir.path()).await;
    assert_eq!(describe(&mut raw, "g").await.members.len(), 2, "both are still there after a restart");
    assert_eq!(beat(&mut raw, "m", -1, &[(t, &[])]).await.error_code, 0);
    let listed = raw.call(5, &ListGroupsRequest::default()).await.groups;
    assert_eq!((&*listed[0].group_type, &*listed[0].group_state), ("classic", "PreparingRebalance"));
    assert_eq!(classic_beat(&mut raw, &c.member_id, 3).await, ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(classic_beat(&mut raw, &c.member_id, 2).await, ErrorCode::REBALANCE_IN_PROGRESS);
    let last = raw.call(7, &classic_join(&c.member_id)).await;
    assert_eq!((last.error_code, last.generation_id, &last.leader), (0, 3, &c.member_id));
    node.shutdown().await;
    let (node, mut raw) = broker(dir.path()).await;
    let listed = raw.call(5, &ListGroupsRequest::default()).await.groups;
    assert_eq!((listed.len(), &*listed[0].group_type), (1, "classic"), "the change is in the log");
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![MemberIdentity { member_id: c.member_id.clone(), ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(raw.call(5, &leave).await.members[0].error_code, 0);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_topics_that_nobody_reads_can_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (node, mut raw) = broker(dir.path()).await;
    raw.create("t", 2, &[]).await;
    raw.create("u", 1, &[]).await;
    let request = |group: &str, topics: &[(&str, i32)]| OffsetDeleteRequest {
        group_id: group.into(),
        topics: topics
            .iter()
            .map(|(name, p)| OffsetDeleteRequestTopic {
                name: (*name).into(),
                partitions: vec![OffsetDeleteRequestPartition { partition_index: *p, ..Default::default() }],
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let missing = raw.call(0, &request("g", &[("t", 0)])).await;
    assert_eq!(missing.error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
    assert_eq!(raw.call(0, &request("", &[])).await.error_code, ErrorCode::INVALID_GROUP_ID.0);
    assert_eq!(commit(&mut raw, 8, "", -1, Uuid::ZERO, 0).await, ErrorCode::NONE);
    let codes = |answer: causeway_wire::messages::offset_delete::OffsetDeleteResponse| -> Vec<i16> {
        assert_eq!(answer.error_code, 0);
        answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| p.error_code)).collect()
    };
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0;
    assert_eq!(codes(raw.call(0, &request("g", &[("t", 9), ("u", 0)])).await), [unknown, 0]);
    let c = raw.call(3, &classic_join("")).await;
    raw.call(5, &classic_sync(&c.member_id, c.generation_id, Some(Bytes::from_static(BOTH)))).await;
    let subscribed = ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC.0;
    assert_eq!(codes(raw.call(0, &request("g", &[("t", 0), ("u", 0)])).await), [subscribed, 0]);
    assert_eq!(fetch(&mut raw, None, -1).await.topics[0].partitions[0].committed_offset, 7);
    let leave = LeaveGroupRequest {
        group_id: "g".into(),
        members: vec![MemberIdentity { member_id: c.member_id, ..Default::default() }],
        ..Default::default()
    };
    raw.call(5, &leave).await;
    assert_eq!(codes(raw.call(0, &request("g", &[("t", 0)])).await), [0]);
    node.shutdown().await;
    let (node, mut raw) = broker(dir.path()).await;
    assert_eq!(fetch(&mut raw, None, -1).await.topics[0].partitions[0].committed_offset, -1, "for good");
    raw.call(1, &joining("m1")).await;
    assert_eq!(codes(raw.call(0, &request("g", &[("t", 0), ("u", 0)])).await), [subscribed, 0]);
    node.shutdown().await;
}
