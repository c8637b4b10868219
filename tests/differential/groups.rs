//! Groups: classic membership, offsets, descriptions, and consumer groups of KIP-848.

use bytes::Bytes;
use causeway_wire::messages::consumer_group_describe::ConsumerGroupDescribeRequest;
use causeway_wire::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use causeway_wire::messages::delete_groups::DeleteGroupsRequest;
use causeway_wire::messages::describe_groups::DescribeGroupsRequest;
use causeway_wire::messages::find_coordinator::FindCoordinatorRequest;
use causeway_wire::messages::heartbeat::HeartbeatRequest;
use causeway_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use causeway_wire::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use causeway_wire::messages::list_groups::ListGroupsRequest;
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use causeway_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use causeway_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use causeway_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use crate::Case;
use crate::peer::Peer;

fn protocol(name: &str) -> JoinGroupRequestProtocol {
    JoinGroupRequestProtocol { name: name.into(), metadata: Bytes::from_static(b"meta"), ..Default::default() }
}

fn joining(group: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 2_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range")],
        ..Default::default()
    }
}

fn join(p: &mut Peer, version: i16, request: &JoinGroupRequest) {
    let Some(answer) = p.call(version, request) else { return };
    p.log(format_args!(
        "generation {}, protocol {:?} {:?}, {} members, leads {}, named {}",
        answer.generation_id,
        answer.protocol_type,
        answer.protocol_name,
        answer.members.len(),
        answer.leader == answer.member_id,
        !answer.member_id.is_empty(),
    ));
}

/// Joins a group, alone, and takes an assignment; the member and its generation.
pub fn member(p: &mut Peer, group: &str) -> (String, i32) {
    let id = p.quiet(5, &joining(group, "")).unwrap().member_id;
    let joined = p.quiet(5, &joining(group, &id)).unwrap();
    assert_eq!(joined.error_code, 0);
    p.quiet(3, &syncing(group, &id, joined.generation_id)).unwrap();
    (id, joined.generation_id)
}

fn syncing(group: &str, member: &str, generation: i32) -> SyncGroupRequest {
    let mine = SyncGroupRequestAssignment {
        member_id: member.into(),
        assignment: Bytes::from_static(b"mine"),
        ..Default::default()
    };
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.into(),
        assignments: vec![mine],
        ..Default::default()
    }
}

pub fn leave(p: &mut Peer, group: &str, member: &str) {
    let identity = MemberIdentity { member_id: member.into(), ..Default::default() };
    let request = LeaveGroupRequest { group_id: group.into(), members: vec![identity], ..Default::default() };
    p.quiet(3, &request);
}

/// Makes the coordinator ready: the first request to it makes its topic.
pub fn warm_up(p: &mut Peer) {
    for kind in [0, 1] {
        let asked =
            FindCoordinatorRequest { key_type: kind, coordinator_keys: vec!["warm".into()], ..Default::default() };
        p.quiet(4, &asked);
    }
    commit(p, 7, &committing("warm", "", -1, "plain", 0, 1));
    p.transcript.clear();
}

fn committing(
    group: &str,
    member: &str,
    generation: i32,
    topic: &str,
    partition: i32,
    offset: i64,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: partition,
        committed_offset: offset,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.into(),
        topics: vec![topic],
        ..Default::default()
    }
}

/// Commits, then shows what is committed.
fn commit(p: &mut Peer, version: i16, request: &OffsetCommitRequest) {
    p.call(version, request);
    fetch(p, &request.group_id, None);
}

fn fetch(p: &mut Peer, group: &str, topics: Option<Vec<(&str, i32)>>) {
    fetch_as(p, group, None, -1, topics);
}

fn fetch_as(p: &mut Peer, group: &str, member: Option<&str>, epoch: i32, topics: Option<Vec<(&str, i32)>>) {
    let one = |(name, partition): (&str, i32)| OffsetFetchRequestTopics {
        name: name.into(),
        partition_indexes: vec![partition],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: group.into(),
        member_id: member.map(str::to_owned),
        member_epoch: epoch,
        topics: topics.map(|all| all.into_iter().map(one).collect()),
        ..Default::default()
    };
    let Some(answer) = p.call(9, &OffsetFetchRequest { groups: vec![group], ..Default::default() }) else { return };
    let mut found: Vec<String> = Vec::new();
    for topic in answer.groups.iter().flat_map(|g| &g.topics) {
        for part in &topic.partitions {
            found
                .push(format!("{}-{} {} {:?}", topic.name, part.partition_index, part.committed_offset, part.metadata));
        }
    }
    found.sort();
    p.log(found.join(", "));
}

fn beat(p: &mut Peer, group: &str, member: &str, generation: i32) {
    let request = HeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        generation_id: generation,
        ..Default::default()
    };
    p.call(3, &request);
}

fn leaving(p: &mut Peer, group: &str, members: &[(&str, Option<&str>)]) {
    let one = |(id, instance): &(&str, Option<&str>)| MemberIdentity {
        member_id: (*id).into(),
        group_instance_id: instance.map(str::to_owned),
        ..Default::default()
    };
    let request =
        LeaveGroupRequest { group_id: group.into(), members: members.iter().map(one).collect(), ..Default::default() };
    p.call(4, &request);
}

fn describe(p: &mut Peer, version: i16, group: &str) {
    let Some(answer) = p.call(version, &DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() })
    else {
        return;
    };
    for g in &answer.groups {
        p.log(format_args!(
            "{} {:?} {:?}, {} members",
            g.group_state,
            g.protocol_type,
            g.protocol_data,
            g.members.len()
        ));
    }
}

fn delete(p: &mut Peer, groups: &[&str]) {
    p.call(
        2,
        &DeleteGroupsRequest { groups_names: groups.iter().map(|g| (*g).to_owned()).collect(), ..Default::default() },
    );
}

fn list(p: &mut Peer, states: &[&str], types: &[&str]) {
    let own = |all: &[&str]| all.iter().map(|s| (*s).to_owned()).collect();
    let request = ListGroupsRequest { states_filter: own(states), types_filter: own(types), ..Default::default() };
    let Some(answer) = p.call(5, &request) else { return };
    let mut found: Vec<String> =
        answer.groups.iter().map(|g| format!("{} {} {}", g.group_id, g.group_state, g.group_type)).collect();
    found.sort();
    p.log(found.join(", "));
}

fn forget(p: &mut Peer, group: &str, topic: &str, partition: i32) {
    let partition = OffsetDeleteRequestPartition { partition_index: partition, ..Default::default() };
    let topic = OffsetDeleteRequestTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    p.call(0, &OffsetDeleteRequest { group_id: group.into(), topics: vec![topic], ..Default::default() });
}

fn coordinator(p: &mut Peer, key: &str, kind: i8) {
    let request = FindCoordinatorRequest { key_type: kind, coordinator_keys: vec![key.into()], ..Default::default() };
    let Some(answer) = p.call(4, &request) else { return };
    p.log(format_args!("found {}", answer.coordinators.iter().filter(|c| c.node_id >= 0).count()));
}

fn heartbeat(p: &mut Peer, request: &ConsumerGroupHeartbeatRequest) -> i32 {
    let Some(answer) = p.call(1, request) else { return -1 };
    p.log(format_args!(
        "named {}, epoch {}, assignment {:?}",
        answer.member_id.is_some(),
        answer.member_epoch,
        answer.assignment.as_ref().map(|a| a.topic_partitions.iter().map(|t| t.partitions.len()).sum::<usize>())
    ));
    answer.member_epoch
}

fn consumer(group: &str, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: 5_000,
        subscribed_topic_names: Some(vec!["plain".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// A consumer group with one member that comes and goes again; `ask` runs while it is there.
fn with_consumer(p: &mut Peer, group: &str, ask: fn(&mut Peer, &str, i32)) {
    let epoch = heartbeat(p, &consumer(group, "m1", 0));
    ask(p, group, epoch);
    heartbeat(p, &ConsumerGroupHeartbeatRequest { member_epoch: -1, ..consumer(group, "m1", -1) });
}

fn describe_consumer(p: &mut Peer, group: &str) {
    let request = ConsumerGroupDescribeRequest { group_ids: vec![group.into()], ..Default::default() };
    let Some(answer) = p.call(0, &request) else { return };
    for g in &answer.groups {
        p.log(format_args!("{} by {:?}, {} members", g.group_state, g.assignor_name, g.members.len()));
    }
}

/// A group that a member joined and left again is there, empty.
fn emptied(p: &mut Peer, group: &str) {
    let (id, _) = member(p, group);
    leave(p, group, &id);
}

#[path = "groups_cases.rs"]
mod cases;
pub use cases::CASES;
