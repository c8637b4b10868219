//! Members of both protocols in one group, and groups that change over.

#![allow(clippy::needless_update, reason = "a message may get fields in a later version of the protocol")]

use bytes::{BufMut, Bytes, BytesMut};
use causeway_wire::messages::consumer_protocol_subscription::{ConsumerProtocolSubscription, TopicPartition};
use causeway_wire::{ErrorCode, Message};

use super::tests_support::*;
use super::*;
use crate::core::groups::{Effect, Group, GroupLimits, GroupState, JoinRequest, SyncRequest};

const CLASSIC: GroupLimits =
    GroupLimits { initial_rebalance_delay: 0, members_max: 5, session_timeout_min: 1_000, session_timeout_max: 60_000 };

fn metadata(topics: &[&str], owned: &[i32]) -> Bytes {
    let part = |p: &[i32]| TopicPartition { topic: "a".into(), partitions: p.to_vec(), ..Default::default() };
    let value = ConsumerProtocolSubscription {
        topics: topics.iter().map(|t| (*t).to_owned()).collect(),
        owned_partitions: if owned.is_empty() { Vec::new() } else { vec![part(owned)] },
        ..Default::default()
    };
    let mut out = BytesMut::new();
    out.put_i16(3);
    value.encode(3, &mut out).unwrap();
    out.freeze()
}

fn join(member: &str, owned: &[i32]) -> JoinRequest {
    JoinRequest {
        member_id: member.into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout: 10_000,
        rebalance_timeout: 20_000,
        protocol_type: CONSUMER.into(),
        protocols: vec![("range".into(), metadata(&["a"], owned))],
        require_known_member_id: false,
        can_skip_assignment: true,
        new_member_id: "made".into(),
    }
}

fn sync(member: &str, generation: i32) -> SyncRequest {
    SyncRequest {
        member_id: member.into(),
        instance_id: None,
        generation,
        protocol_type: Some(CONSUMER.into()),
        protocol: Some("range".into()),
        assignments: Vec::new(),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> ErrorCode {
    result.unwrap_err().code
}

/// A classic group of `c1` with all four partitions.
fn classic() -> Group {
    let topics = FakeTopics::of(&[("a", 4)]);
    let mut group = Group::new("g", CLASSIC);
    group.join(&join("", &[]), 1, 0);
    let all = Assigned::from([(id("a"), (0..4).map(|p| (p, 1)).collect())]);
    let mut request = sync("made", 1);
    request.assignments = vec![("made".into(), protocol::encode_assignment(&all, 3, &topics))];
    group.sync(&request, 2, 0);
    assert_eq!(group.state, GroupState::Stable);
    group
}

/// The classic group after `m2` of the new protocol joined.
fn upgraded() -> Bench {
    let mut bench = Bench::new(&[("a", 4)]);
    let (group, records) = convert::upgrade(&classic(), &bench.limits, &bench.topics, 0).unwrap();
    bench.commit(&Decision::of(records, ()));
    assert!(bench.group == group);
    let told = bench.join("m2", &["a"]);
    assert_eq!((told.epoch, told.assignment), (2, Some(Partitions::new())), "all is with the classic member");
    bench
}

impl Bench {
    fn classic_join(&mut self, request: &JoinRequest) -> Result<Joined, Refusal> {
        let joined = self.group.classic_join(request, &self.limits, &self.topics, self.wall())?;
        self.commit(&joined.decision);
        Ok(joined)
    }

    fn classic_sync(&mut self, request: &SyncRequest) -> Partitions {
        let synced = self.group.classic_sync(request, &self.topics).unwrap();
        self.commit(&synced);
        protocol::decode_assignment(&synced.reply.assignment, &self.topics).unwrap()
    }

    fn classic_beat(&mut self, member: &str, generation: i32) -> ErrorCode {
        let beat = self.group.classic_heartbeat(member, None, generation, &self.limits, self.wall()).unwrap();
        self.commit(&beat);
        beat.reply
    }
}

#[test]
fn a_classic_group_is_taken_over_with_what_everybody_has() {
    let mut bench = upgraded();
    assert_eq!(bench.classic_beat("made", 1), ErrorCode::REBALANCE_IN_PROGRESS);
    // It gives two back (cooperatively: it stays in its epoch first), then catches up.
    let told = bench.classic_join(&join("made", &[0, 1, 2, 3])).unwrap().decision.reply;
    assert_eq!((told.error, told.generation, told.protocol.as_deref()), (ErrorCode::NONE, 1, Some("range")));
    assert_eq!(bench.classic_sync(&sync("made", 1)), held(&[0, 1]));
    assert_eq!(bench.live("m2", 2, &[]).assignment, None, "not given back yet");
    assert_eq!(bench.classic_beat("made", 1), ErrorCode::REBALANCE_IN_PROGRESS, "it still has to say so");
    let told = bench.classic_join(&join("made", &[0, 1])).unwrap().decision.reply;
    assert_eq!(told.generation, 2);
    assert_eq!(bench.classic_sync(&sync("made", 2)), held(&[0, 1]));
    assert_eq!(bench.classic_beat("made", 2), ErrorCode::NONE);
    assert_eq!(bench.live("m2", 2, &[]).assignment, Some(held(&[2, 3])));
    assert_eq!(bench.group.state(), "Stable");
}

#[test]
fn classic_members_are_checked_as_such() {
    let mut bench = upgraded();
    let beat = |b: &Bench, m: &str, g| code(b.group.classic_heartbeat(m, None, g, &b.limits, 0));
    assert_eq!(beat(&bench, "made", 7), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(beat(&bench, "m2", 2), ErrorCode::UNKNOWN_MEMBER_ID, "it speaks the new protocol");
    assert_eq!(beat(&bench, "x", 2), ErrorCode::UNKNOWN_MEMBER_ID);
    let (refusal, must_join) = bench.group.classic_sync(&sync("made", 1), &bench.topics).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::REBALANCE_IN_PROGRESS);
    bench.commit(&must_join);
    let mut other = join("", &[]);
    other.protocols = vec![("sticky".into(), metadata(&["a"], &[]))];
    assert_eq!(code(bench.classic_join(&other)), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    other = join("", &[]);
    other.protocol_type = "connect".into();
    assert_eq!(code(bench.classic_join(&other)), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let mut newcomer = join("", &[]);
    newcomer.require_known_member_id = true;
    newcomer.new_member_id = "fresh".into();
    let told = bench.classic_join(&newcomer).unwrap().decision.reply;
    assert_eq!((told.error, told.member_id.as_str()), (ErrorCode::MEMBER_ID_REQUIRED, "fresh"));
    assert_eq!(bench.classic_join(&join("fresh", &[])).unwrap().decision.reply.error, ErrorCode::NONE);
    assert_eq!(bench.group.members.len(), 3);
    assert_eq!(bench.group.classic_leave("x", None), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(bench.group.classic_leave("fresh", None), Ok("fresh".into()));
    assert_eq!(bench.group.classic_leave("m2", None), Ok("m2".into()), "an admin may remove any member");
}

#[test]
fn a_classic_member_that_does_not_join_again_or_sync_is_fenced() {
    let mut bench = upgraded();
    bench.classic_beat("made", 1);
    bench.now = 9_000;
    bench.classic_beat("made", 1);
    bench.live("m2", 2, &[]);
    bench.now = 18_000;
    bench.classic_beat("made", 1);
    assert_eq!(bench.pass(2_000), ["made"], "20 s after it was told to join");
    let mut bench = upgraded();
    bench.classic_join(&join("made", &[])).unwrap();
    bench.now = 9_000;
    bench.classic_beat("made", 2);
    bench.now = 18_000;
    bench.classic_beat("made", 2);
    assert_eq!(bench.pass(2_000), ["made"], "20 s without a sync");
}

#[test]
fn a_classic_member_is_called_once_a_target_may_be_made_even_with_nobody_else_there() {
    let mut bench = upgraded();
    bench.classic_join(&join("made", &[])).unwrap();
    bench.classic_sync(&sync("made", 2));
    (bench.limits.assignment_interval, bench.limits.migration) = (1_000, Migration::Disabled);
    bench.leave("m2", None, LEAVE).unwrap();
    assert_eq!(bench.classic_beat("made", 2), ErrorCode::NONE, "too early for another target");
    bench.now += 1_000;
    assert_eq!(bench.classic_beat("made", 2), ErrorCode::REBALANCE_IN_PROGRESS);
    let told = bench.classic_join(&join("made", &[0, 1])).unwrap().decision.reply;
    assert_eq!((told.error, told.generation), (ErrorCode::NONE, 3));
    assert_eq!(bench.classic_sync(&sync("made", 3)), held(&[0, 1, 2, 3]));
}

#[test]
fn the_last_consumer_leaving_takes_the_group_back() {
    let mut bench = upgraded();
    assert!(bench.group.downgrades_without(&["m2".into()], &bench.limits));
    assert!(!bench.group.downgrades_without(&["made".into()], &bench.limits), "the other one stays a consumer");
    let mut group = convert::downgrade(&bench.group, &["m2".into()], CLASSIC, &bench.topics, 0);
    assert_eq!((group.state, group.generation, group.members.len()), (GroupState::Stable, 2, 1));
    assert_eq!(group.protocol.as_deref(), Some("range"));
    let effects = group.rebalance("x", 0);
    assert_eq!(effects, [Effect::Rebalance("x")]);
    assert_eq!(group.heartbeat("made", None, 2, 0), Err(ErrorCode::REBALANCE_IN_PROGRESS));
    assert!(!bench.group.downgrades_without(&["m2".into(), "made".into()], &bench.limits), "nobody would be left");
    bench.limits.migration = Migration::Upgrade;
    assert!(!bench.group.downgrades_without(&["m2".into()], &bench.limits));
    bench.limits.migration = Migration::Downgrade;
    bench.limits.classic_members_max = 0;
    assert!(!bench.group.downgrades_without(&["m2".into()], &bench.limits));
}

#[test]
fn a_static_consumer_that_comes_back_classic_takes_the_group_back() {
    let mut bench = Bench::new(&[("a", 2)]);
    bench.beat(&HeartbeatRequest { instance_id: Some("i".into()), ..joining("m1", &["a"]) }).unwrap();
    bench.leave("m1", Some("i"), LEAVE_STATIC).unwrap();
    let request = JoinRequest { instance_id: Some("i".into()), ..join("", &[]) };
    let joined = bench.classic_join(&request).unwrap();
    assert!(joined.downgrades && !joined.rebalances);
    assert_eq!(joined.decision.reply.member_id, "made");
    let group = convert::downgrade(&bench.group, &[], CLASSIC, &bench.topics, 0);
    assert_eq!((group.members.len(), group.generation), (1, joined.decision.reply.generation));
}

#[test]
fn what_cannot_be_taken_over_stays_classic() {
    let mut bench = Bench::new(&[("a", 4)]);
    let up = |group: &Group, b: &Bench| convert::upgrade(group, &b.limits, &b.topics, 0).map(|_| ());
    let mut connect = Group::new("g", CLASSIC);
    connect.join(&JoinRequest { protocol_type: "connect".into(), ..join("", &[]) }, 1, 0);
    assert_eq!(code(up(&connect, &bench)), ErrorCode::GROUP_ID_NOT_FOUND);
    let mut odd = Group::new("g", CLASSIC);
    let garbage = vec![("range".into(), Bytes::from_static(b"\xff"))];
    odd.join(&JoinRequest { protocols: garbage, ..join("", &[]) }, 1, 0);
    assert_eq!(code(up(&odd, &bench)), ErrorCode::GROUP_ID_NOT_FOUND);
    bench.limits.migration = Migration::Downgrade;
    assert_eq!(code(up(&classic(), &bench)), ErrorCode::GROUP_ID_NOT_FOUND);
    bench.limits.migration = Migration::Upgrade;
    assert_eq!(up(&classic(), &bench), Ok(()));
}
