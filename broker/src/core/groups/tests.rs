use bytes::Bytes;
use causeway_wire::ErrorCode;

use super::*;

const LIMITS: GroupLimits =
    GroupLimits { initial_rebalance_delay: 0, members_max: 3, session_timeout_min: 1_000, session_timeout_max: 60_000 };

fn request(member_id: &str, new_id: &str) -> JoinRequest {
    JoinRequest {
        member_id: member_id.into(),
        instance_id: None,
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout: 10_000,
        rebalance_timeout: 30_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"meta"))],
        require_known_member_id: false,
        can_skip_assignment: true,
        new_member_id: new_id.into(),
    }
}

fn joined(effects: &[Effect], token: Token) -> &JoinReply {
    let found = effects.iter().find_map(|e| match e {
        Effect::Join(t, reply) if *t == token => Some(reply),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no answer to {token} in {effects:?}"))
}

fn synced(effects: &[Effect], token: Token) -> &SyncReply {
    let found = effects.iter().find_map(|e| match e {
        Effect::Sync(t, reply) if *t == token => Some(reply),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no answer to {token} in {effects:?}"))
}

fn sync(member: &str, generation: i32, assignments: &[(&str, &'static [u8])]) -> SyncRequest {
    SyncRequest {
        member_id: member.into(),
        instance_id: None,
        generation,
        protocol_type: None,
        protocol: None,
        assignments: assignments.iter().map(|(m, a)| ((*m).to_owned(), Bytes::from_static(a))).collect(),
    }
}

/// A stable group of `a` (leader) and `b` at generation 2.
fn stable_pair() -> Group {
    let mut group = Group::new("g", LIMITS);
    group.join(&request("", "a"), 1, 0);
    group.sync(&sync("a", 1, &[("a", b"all")]), 2, 0);
    group.join(&request("", "b"), 3, 0);
    let effects = group.join(&request("a", ""), 4, 0);
    assert_eq!(joined(&effects, 4).leader, "a");
    assert_eq!(joined(&effects, 4).members.len(), 2);
    assert_eq!(joined(&effects, 3).members.len(), 0);
    group.sync(&sync("b", 2, &[]), 5, 0);
    let effects = group.sync(&sync("a", 2, &[("a", b"0"), ("b", b"1")]), 6, 0);
    assert_eq!(effects[0], Effect::Persist, "an assignment is durable before anyone hears of it");
    assert_eq!(synced(&effects, 5).assignment, "1");
    assert_eq!(synced(&effects, 6).assignment, "0");
    assert_eq!((group.state, group.generation), (GroupState::Stable, 2));
    group
}

#[test]
fn two_members_reach_a_stable_generation() {
    stable_pair();
}

#[test]
fn a_newcomer_is_sent_back_for_its_id() {
    let mut group = Group::new("g", LIMITS);
    let mut first = request("", "given");
    first.require_known_member_id = true;
    let effects = group.join(&first, 1, 0);
    assert_eq!(joined(&effects, 1).error, ErrorCode::MEMBER_ID_REQUIRED);
    assert_eq!(joined(&effects, 1).member_id, "given");
    let effects = group.join(&request("given", ""), 2, 1);
    assert_eq!(joined(&effects, 2).error, ErrorCode::NONE);
    assert_eq!(joined(&effects, 2).generation, 1);
    let effects = group.join(&request("stranger", ""), 3, 1);
    assert_eq!(joined(&effects, 3).error, ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn a_pending_id_that_never_comes_back_does_not_hold_up_the_others() {
    let mut group = stable_pair();
    let mut newcomer = request("", "ghost");
    newcomer.require_known_member_id = true;
    group.join(&newcomer, 10, 0);
    group.join(&request("a", ""), 11, 5);
    let effects = group.join(&request("b", ""), 12, 5);
    assert!(effects.iter().all(|e| !matches!(e, Effect::Join(..))), "the join phase waits for the pending id");
    let effects = group.tick(10_000);
    assert_eq!(joined(&effects, 11).generation, 3);
}

#[test]
fn a_silent_member_is_dropped_and_the_rest_rebalances() {
    let mut group = stable_pair();
    assert_eq!(group.heartbeat("a", None, 2, 9_000), Ok(()));
    let effects = group.tick(10_000);
    assert!(effects.contains(&Effect::Rebalance("a member's session ended")));
    assert_eq!(group.heartbeat("a", None, 2, 10_001), Err(ErrorCode::REBALANCE_IN_PROGRESS));
    let effects = group.join(&request("a", ""), 20, 10_002);
    assert_eq!(joined(&effects, 20).members.len(), 1);
    assert_eq!(group.heartbeat("b", None, 3, 10_003), Err(ErrorCode::UNKNOWN_MEMBER_ID));
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let mut group = stable_pair();
    group.join(&request("a", ""), 20, 100);
    group.heartbeat("b", None, 2, 29_000).unwrap_err();
    let effects = group.tick(30_100);
    assert_eq!(joined(&effects, 20).members.len(), 1);
}

#[test]
fn the_last_member_leaving_empties_the_group_and_writes_it_down() {
    let mut group = stable_pair();
    let mut out = Vec::new();
    group.leave("a", None, 1, &mut out).unwrap();
    group.leave("b", None, 1, &mut out).unwrap();
    assert_eq!(group.state, GroupState::Empty);
    assert!(out.contains(&Effect::Persist));
    assert_eq!(group.leave("b", None, 1, &mut out), Err(ErrorCode::UNKNOWN_MEMBER_ID));
}

#[test]
fn a_static_member_returns_without_a_rebalance_and_fences_its_double() {
    let mut group = Group::new("g", LIMITS);
    let mut a = request("", "a-1");
    a.instance_id = Some("i".into());
    group.join(&a, 1, 0);
    let mut first = sync("a-1", 1, &[("a-1", b"x")]);
    first.instance_id = Some("i".into());
    group.sync(&first, 2, 0);
    a.new_member_id = "a-2".into();
    let effects = group.join(&a, 3, 5);
    let reply = joined(&effects, 3);
    assert_eq!((reply.generation, reply.skip_assignment, reply.member_id.as_str()), (1, true, "a-2"));
    assert_eq!(group.state, GroupState::Stable);
    assert_eq!(group.heartbeat("a-1", Some("i"), 1, 6), Err(ErrorCode::FENCED_INSTANCE_ID));
    let mut again = sync("a-2", 1, &[]);
    again.instance_id = Some("i".into());
    assert_eq!(synced(&group.sync(&again, 4, 6), 4).assignment, "x");
}

#[test]
fn commits_need_the_current_generation_or_an_empty_group() {
    let mut group = stable_pair();
    assert_eq!(group.check_commit("a", None, 2, 0), Ok(()));
    assert_eq!(group.check_commit("a", None, 1, 0), Err(ErrorCode::ILLEGAL_GENERATION));
    assert_eq!(group.check_commit("x", None, 2, 0), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(group.check_commit("", None, -1, 0), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(Group::new("h", LIMITS).check_commit("", None, -1, 0), Ok(()));
}

#[test]
fn other_protocols_and_a_full_group_are_refused() {
    let mut group = stable_pair();
    let mut other = request("", "c");
    other.protocols = vec![("sticky".into(), Bytes::new())];
    assert_eq!(joined(&group.join(&other, 30, 0), 30).error, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let mut short = request("", "c");
    short.session_timeout = 10;
    assert_eq!(joined(&group.join(&short, 31, 0), 31).error, ErrorCode::INVALID_SESSION_TIMEOUT);
    group.limits.members_max = 2;
    assert_eq!(joined(&group.join(&request("", "c"), 32, 0), 32).error, ErrorCode::GROUP_MAX_SIZE_REACHED);
    assert_eq!(joined(&group.join(&other, 33, 0), 33).error, ErrorCode::GROUP_MAX_SIZE_REACHED, "size comes first");
}

#[test]
fn the_first_rebalance_waits_for_company_but_not_for_ever() {
    let limits = GroupLimits { initial_rebalance_delay: 3_000, ..LIMITS };
    let mut group = Group::new("g", limits);
    assert!(group.join(&request("", "a"), 1, 0).iter().all(|e| !matches!(e, Effect::Join(..))));
    group.join(&request("", "b"), 2, 1_000);
    assert!(group.tick(3_000).is_empty(), "someone came, so it waits once more");
    let effects = group.tick(6_000);
    assert_eq!(joined(&effects, 1).members.len(), 2);
    assert_eq!(joined(&effects, 2).error, ErrorCode::NONE);
}

#[test]
fn a_restored_group_with_too_many_members_rebalances_so_that_they_can_commit() {
    let value = stable_pair().value();
    let small = GroupLimits { members_max: 1, ..LIMITS };
    let mut group = Group::restore("g", small, value.clone(), 0);
    assert_eq!(group.shrink(1), [Effect::Rebalance("the group was loaded with too many members")]);
    assert_eq!(group.heartbeat("a", None, 2, 2), Err(ErrorCode::REBALANCE_IN_PROGRESS));
    assert_eq!(
        joined(
            &{
                group.join(&request("a", ""), 1, 2);
                group.join(&request("b", ""), 2, 3)
            },
            2
        )
        .error,
        ErrorCode::GROUP_MAX_SIZE_REACHED
    );
    assert!(Group::restore("g", LIMITS, value, 0).shrink(1).is_empty());
}

#[test]
fn a_restored_group_goes_on_where_it_stood() {
    let value = stable_pair().value();
    let mut group = Group::restore("g", LIMITS, value.clone(), 50_000);
    assert_eq!(group.value(), value);
    assert_eq!(group.heartbeat("b", None, 2, 50_001), Ok(()));
    assert_eq!(synced(&group.sync(&sync("b", 2, &[]), 9, 50_002), 9).assignment, "1");
    assert!(!group.tick(60_000).is_empty(), "silent members of a restored group still expire");
}
