//! L3 with real processes: groups are followed, left alone where they are live, moved exactly, and every verb works with the daemon and the source dead.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;
use support::load::create_topic;
use support::mirror::{
    FLOW, Load, Pair, SOON, assert_nothing_lost, assert_translates, end, json, lanes, log, wait_status, write,
};
use support::process::{Daemon, both};
use support::read::{commit, committed};
use support::wait_for;

const TOPIC: &str = "orders";
/// A group's new position is at the target after this long at most.
const FOLLOWED: Duration = Duration::from_secs(5);

fn numbers(tag: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{tag}-{n}"))
}

fn position(pair: &Pair, group: &str) -> Option<i64> {
    committed(&pair.west.bootstrap, group, TOPIC, 1)[0]
}

fn wait_position(pair: &Pair, group: &str, wanted: i64, within: Duration) {
    let asked = Instant::now();
    wait_for(&format!("{group} at {wanted}"), SOON, || (position(pair, group) == Some(wanted)).then_some(()));
    // looking takes time too, on a busy machine more
    assert!(asked.elapsed() < within + Duration::from_secs(3), "{group} came to {wanted} after {:?}", asked.elapsed());
}

/// One partition, 100 records copied from offset 0, where the target already had 7 others: no offset is the same on both sides.
/// What lies at the target in front of the first copy: seven records of its own, and the marker that keeps older writers out (ADR 0006).
const BEFORE: i64 = 8;

fn stage() -> (Pair, Daemon) {
    let pair = Pair::start();
    create_topic(&pair.east.bootstrap, TOPIC, 1, &[]);
    create_topic(&pair.west.bootstrap, TOPIC, 1, &[]);
    write(&pair.west.bootstrap, TOPIC, 0, numbers("own", 7));
    write(&pair.east.bootstrap, TOPIC, 0, numbers("r", 100));
    let daemon = pair.daemon();
    wait_lane(&daemon, 100);
    (pair, daemon)
}

fn wait_lane(daemon: &Daemon, position: i64) {
    wait_status(daemon, FLOW, "the lane to get there", |flow| {
        lanes(flow, TOPIC).iter().any(|lane| lane["position"].as_i64() >= Some(position)).then_some(())
    });
}

fn member(bootstrap: &str, group: &str) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", group).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.set("auto.offset.reset", "earliest").create().unwrap();
    consumer.subscribe(&[TOPIC]).unwrap();
    wait_for("a membership", SOON, || {
        consumer.poll(Duration::from_millis(100));
        consumer.assignment().is_ok_and(|list| list.count() > 0).then_some(())
    });
    consumer
}

#[test]
fn groups_are_followed_within_five_seconds_and_rewinds_propagate() {
    let (pair, _daemon) = stage();
    let east = &pair.east.bootstrap;
    for wanted in [40, 100, 3, 0] {
        commit(east, "readers", TOPIC, &[(0, wanted)]);
        wait_position(&pair, "readers", wanted + BEFORE, FOLLOWED);
    }
}

#[test]
fn f6_a_group_that_is_live_at_the_target_is_never_touched() {
    let (pair, daemon) = stage();
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    commit(east, "readers", TOPIC, &[(0, 10)]);
    wait_position(&pair, "readers", 10 + BEFORE, FOLLOWED);
    let live = member(west, "readers");
    commit(east, "readers", TOPIC, &[(0, 60)]);
    let end = Instant::now() + Duration::from_secs(6);
    while Instant::now() < end {
        live.poll(Duration::from_millis(100));
        assert_eq!(position(&pair, "readers"), Some(10 + BEFORE), "a live group was moved");
    }
    let groups = daemon.get(&format!("/v1/flows/{FLOW}/groups")).unwrap().1;
    assert!(groups.contains("live-here"), "{groups}");
    // a group that somebody else put somewhere is left there too, and said to be in conflict
    drop(live);
    commit(west, "readers", TOPIC, &[(0, 2)]);
    wait_for("the conflict to be told", SOON, || {
        daemon.get(&format!("/v1/flows/{FLOW}/groups"))?.1.contains("conflict").then_some(())
    });
    assert_eq!(position(&pair, "readers"), Some(2));
}

fn verb(daemon: &Daemon, arguments: &[&str]) -> Value {
    let output = daemon.causeway(&[arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", both(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn l3_every_verb_works_from_the_file_and_the_target_when_daemon_and_source_are_dead() {
    let (pair, daemon) = stage();
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    commit(east, "readers", TOPIC, &[(0, 30)]);
    wait_position(&pair, "readers", 30 + BEFORE, FOLLOWED);
    let made = json(&daemon, &["checkpoint", "create", "before", FLOW]);
    assert_eq!(made["from_source"], true, "{made:#}");
    commit(east, "readers", TOPIC, &[(0, 80)]);
    wait_position(&pair, "readers", 80 + BEFORE, FOLLOWED);
    let source = log(east, TOPIC, 0);
    daemon.process.kill();
    pair.east.process.kill();

    let status = verb(&daemon, &["status"]);
    assert_eq!(status["daemon"], false, "{status:#}");
    let flow = &status["flows"][0];
    assert_eq!(flow["source_reached"], false, "{flow:#}");
    assert!(flow["source_age_ms"].as_i64().is_some_and(|age| (1..600_000).contains(&age)), "{flow:#}");
    let shown = both(&daemon.causeway(&["status"]));
    assert!(shown.contains("SOURCE SEEN") && shown.contains(" s "), "the age is shown to a person too:\n{shown}");

    let copied: Vec<_> = log(west, TOPIC, 0).into_iter().skip(7).collect();
    assert_nothing_lost(&source, &copied);
    assert_translates(&daemon, TOPIC, 0, &source, &copied);

    let listed = json(&daemon, &["checkpoint", "list", FLOW]);
    assert_eq!((listed[0]["name"].as_str(), listed[0]["problem"].as_str()), (Some("before"), None), "{listed:#}");
    assert_eq!(json(&daemon, &["checkpoint", "show", "before", FLOW])["groups"][0]["source"], 30);
    let made = json(&daemon, &["checkpoint", "create", "after", FLOW]);
    assert_eq!(made["from_source"], false, "{made:#}");

    let output = daemon.causeway(&["promote", FLOW, "--yes", "--timeout", "2"]);
    assert_ne!(output.status.code(), Some(0), "nothing can be drained from a dead source: {}", both(&output));
    assert!(both(&output).contains("failover"), "{}", both(&output));

    let preview = verb(&daemon, &["failover", FLOW, "--preview"]);
    assert_eq!(preview["source_reached"], false);
    assert_eq!(position(&pair, "readers"), Some(80 + BEFORE), "a preview changes nothing");
    let report = verb(&daemon, &["failover", FLOW, "--yes"]);
    assert_eq!(
        (report["switch"]["step"].as_str(), position(&pair, "readers")),
        (Some("done"), Some(80 + BEFORE)),
        "{report:#}"
    );

    // the group reads on at the target; ordering the failover again must not take it back
    commit(west, "readers", TOPIC, &[(0, 95)]);
    let again = verb(&daemon, &["failover", FLOW, "--yes"]);
    assert_eq!(position(&pair, "readers"), Some(95), "{again:#}");
    // going back to the DR checkpoint is asked for by name; a group that went on by itself is reported, not moved
    let back = verb(&daemon, &["failover", FLOW, "--yes", "--to-checkpoint", "before"]);
    assert!(back["groups"].to_string().contains("foreign"), "{back:#}");
}

#[test]
fn failover_to_a_checkpoint_sets_its_positions_and_a_daemon_started_later_does_not_copy() {
    let (pair, daemon) = stage();
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    commit(east, "readers", TOPIC, &[(0, 30)]);
    wait_position(&pair, "readers", 30 + BEFORE, FOLLOWED);
    json(&daemon, &["checkpoint", "create", "before", FLOW]);
    commit(east, "readers", TOPIC, &[(0, 80)]);
    wait_position(&pair, "readers", 80 + BEFORE, FOLLOWED);
    let report = verb(&daemon, &["failover", FLOW, "--yes", "--to-checkpoint", "before"]);
    assert_eq!(
        (report["switch"]["step"].as_str(), position(&pair, "readers")),
        (Some("done"), Some(30 + BEFORE)),
        "{report:#}"
    );
    // the daemon that ran on is fenced; one started later is refused, and says why
    wait_status(&daemon, FLOW, "the old hold to end", |flow| (flow["state"] == "fenced").then_some(()));
    let _told_or_refused = daemon.verb(&["flow", "resume", FLOW]);
    let there = end(west, TOPIC, 0);
    write(east, TOPIC, 0, numbers("late", 20));
    commit(east, "readers", TOPIC, &[(0, 110)]);
    daemon.process.kill();
    let daemon = Daemon::launch(pair.path(), &pair.text("active-passive"));
    wait_status(&daemon, FLOW, "a refusal", |flow| {
        (flow["state"] == "refused" && flow["reason"].to_string().contains("switch")).then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(
        (end(west, TOPIC, 0), position(&pair, "readers")),
        (there, Some(30 + BEFORE)),
        "a failed-over flow copies nothing"
    );
}

#[test]
fn a_failover_under_load_sets_the_group_before_the_record_that_it_would_have_read_next() {
    let (pair, daemon) = stage();
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    let load = Load::start(east, TOPIC, 1, "load");
    wait_lane(&daemon, 400);
    commit(east, "readers", TOPIC, &[(0, 251)]);
    let next = log(east, TOPIC, 0)[251].text();
    let report = verb(&daemon, &["failover", FLOW, "--yes"]);
    assert_eq!(report["switch"]["step"], "done", "{report:#}");
    let at = position(&pair, "readers").unwrap();
    let there = log(west, TOPIC, 0);
    assert_eq!(there.iter().find(|record| record.offset == at).unwrap().text(), next);
    load.stop();
    // what is lost is a suffix: what is there is the source's beginning, without a hole
    let copied: Vec<_> = there[7..].iter().map(|record| record.text()).collect();
    let source: Vec<_> = log(east, TOPIC, 0).iter().map(|record| record.text()).collect();
    assert_eq!(copied, source[..copied.len()]);
    let fork = report["forks"][0]["source"].as_i64().unwrap();
    assert_eq!(fork, i64::try_from(copied.len()).unwrap(), "the fork point is where copying ended: {report:#}");
}

#[test]
fn a_promote_drains_first_and_loses_nothing() {
    let (pair, daemon) = stage();
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    commit(east, "readers", TOPIC, &[(0, 100)]);
    write(east, TOPIC, 0, numbers("more", 300));
    let report = verb(&daemon, &["promote", FLOW, "--yes"]);
    assert_eq!((report["switch"]["step"].as_str(), report["exposed_offsets"].as_u64()), (Some("done"), Some(0)));
    assert_nothing_lost(&log(east, TOPIC, 0), &log(west, TOPIC, 0)[7..]);
    assert_eq!(position(&pair, "readers"), Some(100 + BEFORE));
}
