use causeway_wire::ErrorCode;

use super::tests_support::*;
use super::*;

/// Two members that have two of four partitions each, both at epoch 3.
fn pair() -> Bench {
    let mut bench = Bench::new(&[("a", 4)]);
    assert_eq!(bench.join("m1", &["a"]).assignment, Some(held(&[0, 1, 2, 3])));
    assert_eq!(bench.join("m2", &["a"]).assignment, Some(Partitions::new()), "everything is still with m1");
    let told = bench.live("m1", 2, &[0, 1, 2, 3]);
    assert_eq!((told.epoch, told.assignment), (2, Some(held(&[0, 1]))), "give back before anything else");
    assert_eq!(bench.live("m2", 3, &[]).assignment, None, "not free yet");
    let told = bench.live("m1", 2, &[0, 1]);
    assert_eq!((told.epoch, told.assignment), (3, None));
    assert_eq!(bench.live("m2", 3, &[]).assignment, Some(held(&[2, 3])));
    assert_eq!(bench.group.state(), "Stable");
    bench
}

#[test]
fn partitions_are_given_back_before_they_are_given_out() {
    pair();
}

#[test]
fn what_a_request_lacks_is_named() {
    let limits = limits();
    let code = |group: &str, r: &HeartbeatRequest, version| check_request(group, r, version, &limits).unwrap_err().code;
    let good = joining("m", &["a"]);
    assert_eq!(check_request("g", &good, 1, &limits), Ok(()));
    assert_eq!(check_request("g", &HeartbeatRequest { member_id: String::new(), ..good.clone() }, 0, &limits), Ok(()));
    let bad = [
        HeartbeatRequest { member_id: String::new(), ..good.clone() },
        HeartbeatRequest { instance_id: Some(" ".into()), ..good.clone() },
        HeartbeatRequest { rack_id: Some(String::new()), ..good.clone() },
        HeartbeatRequest { rebalance_timeout: -1, ..good.clone() },
        HeartbeatRequest { owned: None, ..good.clone() },
        HeartbeatRequest { owned: Some(held(&[1])), ..good.clone() },
        HeartbeatRequest { topics: None, ..good.clone() },
        HeartbeatRequest { epoch: LEAVE_STATIC, ..good.clone() },
        HeartbeatRequest { epoch: -3, ..good.clone() },
    ];
    for request in &bad {
        assert_eq!(code("g", request, 1), ErrorCode::INVALID_REQUEST, "{request:?}");
    }
    assert_eq!(code("", &good, 1), ErrorCode::INVALID_REQUEST);
    let odd = HeartbeatRequest { assignor: Some("odd".into()), ..good };
    assert_eq!(code("g", &odd, 1), ErrorCode::UNSUPPORTED_ASSIGNOR);
}

#[test]
fn epochs_fence_all_but_the_lost_answer() {
    let mut bench = pair();
    assert_eq!(bench.refused(&living("m1", 4, &[0, 1])), ErrorCode::FENCED_MEMBER_EPOCH);
    assert_eq!(bench.live("m1", 2, &[0, 1]).epoch, 3, "the answer with epoch 3 was lost");
    assert_eq!(bench.refused(&living("m1", 2, &[0, 1, 2])), ErrorCode::FENCED_MEMBER_EPOCH, "it holds too much");
    let silent = HeartbeatRequest { owned: None, ..living("m1", 2, &[]) };
    assert_eq!(bench.refused(&silent), ErrorCode::FENCED_MEMBER_EPOCH, "it does not say what it holds");
    assert_eq!(bench.refused(&living("x", 3, &[])), ErrorCode::UNKNOWN_MEMBER_ID);
    let again = bench.join("m1", &["a"]);
    assert_eq!(
        (again.epoch, again.assignment),
        (3, Some(held(&[0, 1]))),
        "a fenced member joins again and keeps its share"
    );
}

#[test]
fn the_whole_assignment_comes_with_a_full_request_only() {
    let mut bench = pair();
    assert_eq!(bench.live("m1", 3, &[0, 1]).assignment, None);
    let full = HeartbeatRequest { epoch: 3, owned: Some(held(&[0])), ..joining("m1", &["a"]) };
    assert_eq!(bench.beat(&full).unwrap().assignment, Some(held(&[0, 1])));
}

#[test]
fn a_member_that_leaves_or_falls_silent_gives_its_share_to_the_rest() {
    let mut bench = pair();
    bench.leave("m2", None, LEAVE).unwrap();
    assert_eq!(bench.group.state(), "Assigning");
    assert_eq!(bench.live("m1", 3, &[0, 1]).assignment, Some(held(&[0, 1, 2, 3])));
    let mut bench = pair();
    bench.now = 30_000;
    bench.live("m1", 3, &[0, 1]);
    assert_eq!(bench.pass(15_000), ["m2"], "45 s without a word");
    assert_eq!(bench.live("m1", 3, &[0, 1]).assignment, Some(held(&[0, 1, 2, 3])));
    bench.leave("m1", None, LEAVE).unwrap();
    assert_eq!((bench.group.state(), bench.group.epoch), ("Empty", 5));
}

#[test]
fn a_member_that_gives_nothing_back_is_fenced_after_its_rebalance_timeout() {
    let mut bench = Bench::new(&[("a", 4)]);
    bench.join("m1", &["a"]);
    bench.join("m2", &["a"]);
    bench.live("m1", 2, &[0, 1, 2, 3]);
    for _ in 0..5 {
        assert!(bench.pass(5_000).is_empty());
        bench.live("m1", 2, &[0, 1, 2, 3]);
        bench.live("m2", 3, &[]);
    }
    assert_eq!(bench.pass(5_000), ["m1"]);
    assert_eq!(bench.live("m2", 3, &[]).assignment, Some(held(&[0, 1, 2, 3])));
}

#[test]
fn a_static_member_comes_back_under_another_id_and_finds_its_share() {
    let mut bench = Bench::new(&[("a", 2)]);
    let with = |member: &str| HeartbeatRequest { instance_id: Some("i".into()), ..joining(member, &["a"]) };
    bench.beat(&with("m1")).unwrap();
    bench.join("m2", &["a"]);
    let as_i = |r: HeartbeatRequest| HeartbeatRequest { instance_id: Some("i".into()), ..r };
    bench.beat(&as_i(living("m1", 2, &[0]))).unwrap();
    assert_eq!(bench.beat(&with("m9")).unwrap_err().code, ErrorCode::UNRELEASED_INSTANCE_ID);
    assert_eq!(bench.leave("m9", Some("i"), LEAVE_STATIC).unwrap_err().code, ErrorCode::FENCED_INSTANCE_ID);
    assert_eq!(bench.leave("m1", Some("x"), LEAVE_STATIC).unwrap_err().code, ErrorCode::UNKNOWN_MEMBER_ID);
    let epoch = bench.group.epoch;
    assert_eq!(bench.leave("m1", Some("i"), LEAVE_STATIC).unwrap().epoch, LEAVE_STATIC);
    let mine = bench.group.members["m1"].assigned();
    let back = bench.beat(&with("m3")).unwrap();
    assert_eq!((bench.group.epoch, back.assignment), (epoch, Some(mine)), "no rebalance");
    assert_eq!(bench.beat(&as_i(living("m1", 3, &[]))).unwrap_err().code, ErrorCode::FENCED_INSTANCE_ID);
    bench.leave("m3", Some("i"), LEAVE_STATIC).unwrap();
    bench.live("m2", 3, &[1]);
    bench.now = 44_000;
    bench.live("m2", 3, &[1]);
    assert_eq!(bench.pass(1_000), ["m3"], "it did not come back within its session");
}

#[test]
fn new_partitions_and_topics_reach_the_group_with_a_heartbeat() {
    let mut bench = Bench::new(&[("a", 1)]);
    assert_eq!(bench.join("m1", &["a", "b"]).assignment, Some(held(&[0])));
    bench.topics.set("a", 2);
    let told = bench.live("m1", 2, &[0]);
    assert_eq!((told.epoch, told.assignment), (3, Some(held(&[0, 1]))));
    bench.topics.set("b", 1);
    let told = bench.live("m1", 3, &[0, 1]).assignment.unwrap();
    assert_eq!(told[&id("b")].len(), 1);
    bench.topics.set("other", 1);
    assert_eq!(bench.live("m1", 4, &[0, 1]).epoch, 4, "nobody reads it");
    bench.topics.delete("b");
    assert_eq!(bench.live("m1", 4, &[0, 1]).assignment, Some(held(&[0, 1])));
}

#[test]
fn a_changed_subscription_takes_partitions_away_at_once() {
    let mut bench = Bench::new(&[("a", 2), ("b", 2)]);
    bench.join("m1", &["a", "b"]);
    let fewer = HeartbeatRequest { topics: Some(vec!["b".into()]), ..living("m1", 2, &[0, 1]) };
    let told = bench.beat(&fewer).unwrap();
    assert_eq!(told.epoch, 2, "it must give them back first");
    assert_eq!(told.assignment.unwrap().keys().copied().collect::<Vec<_>>(), [id("b")]);
    assert_eq!(bench.live("m1", 2, &[]).epoch, 3);
}

#[test]
fn regular_expressions_find_topics_now_and_later() {
    let mut bench = Bench::new(&[("a", 1), ("ab", 1), ("b", 1)]);
    let by = |regex: &str| HeartbeatRequest { topics: None, regex: Some(regex.into()), ..joining("m1", &[]) };
    assert_eq!(bench.refused(&by("(")), ErrorCode::INVALID_REGULAR_EXPRESSION);
    assert!(bench.group.members.is_empty(), "a refusal changes nothing");
    assert_eq!(bench.beat(&by("a.?")).unwrap().assignment.unwrap().len(), 2);
    bench.topics.set("ac", 1);
    assert_eq!(bench.live("m1", 2, &[0]).assignment.unwrap().len(), 3);
    let other = HeartbeatRequest { regex: Some("b".into()), ..living("m1", 3, &[]) };
    bench.beat(&other).unwrap();
    assert_eq!(bench.group.regexes.keys().collect::<Vec<_>>(), ["b"], "nobody uses the old one any more");
    assert!(bench.group.is_subscribed_to("b") && !bench.group.is_subscribed_to("a"));
    bench.remove("m1");
    assert!(bench.group.regexes.is_empty());
}

#[test]
fn the_assignor_that_most_ask_for_is_used() {
    let mut bench = Bench::new(&[("a", 2)]);
    let range = |m: &str| HeartbeatRequest { assignor: Some("range".into()), ..joining(m, &["a"]) };
    bench.beat(&range("m1")).unwrap();
    assert_eq!(bench.group.preferred_assignor(), Some(assignor::Assignor::Range));
    bench.join("m2", &["a"]);
    assert_eq!(bench.group.preferred_assignor(), Some(assignor::Assignor::Range), "who does not care does not count");
}

#[test]
fn a_storm_of_joins_makes_one_target_per_interval() {
    let mut bench = Bench::new(&[("a", 4)]);
    bench.limits.assignment_interval = 1_000;
    assert_eq!(bench.join("m1", &["a"]).assignment, Some(held(&[0, 1, 2, 3])), "the first does not wait");
    for member in ["m2", "m3", "m4"] {
        let told = bench.join(member, &["a"]);
        assert_eq!((told.epoch, told.assignment), (2, Some(Partitions::new())), "{member} is in, and waits");
        assert_eq!(bench.group.state(), "Assigning");
    }
    bench.now = 999;
    assert_eq!(bench.live("m1", 2, &[0, 1, 2, 3]).assignment, None);
    // A restart forgets neither the target nor its age.
    bench.group = bench.replayed.clone();
    assert_eq!(bench.live("m2", 2, &[]).epoch, 2);
    bench.now = 1_000;
    let told = bench.live("m1", 2, &[0, 1, 2, 3]);
    assert_eq!((told.epoch, told.assignment), (2, Some(held(&[0]))), "one target for all three");
    assert_eq!(bench.group.target_epoch, 5);
    assert_eq!(bench.live("m1", 2, &[0]).epoch, 5);
    for (member, partition) in [("m2", 1), ("m3", 2), ("m4", 3)] {
        assert_eq!(bench.live(member, 2, &[]).assignment, Some(held(&[partition])));
    }
    assert_eq!(bench.group.state(), "Stable");
}

#[test]
fn a_member_that_wants_nothing_has_an_epoch_all_the_same() {
    let mut bench = Bench::new(&[("a", 4)]);
    let told = bench.join("m1", &[]);
    assert_eq!((told.epoch, told.assignment), (1, Some(Partitions::new())));
    assert!(!bench.group.is_blank() && bench.group.state() == "Stable");
    assert_eq!(bench.live("m1", 1, &[]).epoch, 1);
    bench.leave("m1", None, LEAVE).unwrap();
    assert_eq!(bench.group.epoch, 2);
}

#[test]
fn a_full_group_takes_only_those_that_are_in() {
    let mut bench = Bench::new(&[("a", 2)]);
    bench.limits.members_max = 1;
    bench.join("m1", &["a"]);
    assert_eq!(bench.refused(&joining("m2", &["a"])), ErrorCode::GROUP_MAX_SIZE_REACHED);
    bench.join("m1", &["a"]);
}

#[test]
fn commits_and_fetches_of_offsets_must_come_from_members_of_the_epoch() {
    let bench = pair();
    let commit = |member: &str, epoch, version, partition| {
        bench.group.check_commit(member, epoch, version, [(Some(id("a")), partition)].into_iter())
    };
    assert_eq!(commit("m1", 3, 9, 0), Ok(()));
    assert_eq!(commit("m1", 3, 8, 0), Err(ErrorCode::UNSUPPORTED_VERSION));
    assert_eq!(commit("m1", 4, 9, 0), Err(ErrorCode::STALE_MEMBER_EPOCH));
    assert_eq!(commit("m1", 2, 9, 0), Ok(()), "held since epoch 2 without a break");
    assert_eq!(commit("m1", 2, 9, 2), Err(ErrorCode::STALE_MEMBER_EPOCH), "given away since");
    assert_eq!(commit("m2", 2, 9, 2), Err(ErrorCode::STALE_MEMBER_EPOCH), "it came with epoch 3");
    assert_eq!(commit("", -1, 9, 0), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    assert_eq!(bench.group.check_fetch(None, -1), Ok(()));
    assert_eq!(bench.group.check_fetch(Some("m1"), 3), Ok(()));
    assert_eq!(bench.group.check_fetch(Some("m1"), 2), Err(ErrorCode::STALE_MEMBER_EPOCH));
    assert_eq!(bench.group.check_fetch(Some("x"), 2), Err(ErrorCode::UNKNOWN_MEMBER_ID));
    let empty = ConsumerGroup::new("h");
    assert_eq!(empty.check_commit("", -1, 2, std::iter::empty()), Ok(()));
}

#[test]
fn tombstones_leave_nothing_behind() {
    let mut bench = pair();
    let all = Decision::of(bench.group.tombstones(), ());
    bench.commit(&all);
    assert!(bench.group == ConsumerGroup::new("g"), "{:?}", bench.group);
}
