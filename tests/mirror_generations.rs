//! L5 with real processes: source topics that are deleted, created anew, shortened and grown, while the daemon runs and while it does not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use support::load::{admin, block_on, create_topic};
use support::mirror::{
    FLOW, Load, Pair, Rec, SOON, assert_nothing_lost, caught_up, end, lanes, log, wait_status, write,
};
use support::process::{Daemon, both};
use support::wait_for;

const TOPIC: &str = "orders";

fn numbers(tag: &str, count: usize) -> impl Iterator<Item = String> {
    (0..count).map(move |n| format!("{tag}-{n}"))
}

fn texts(records: &[Rec]) -> Vec<String> {
    records.iter().map(Rec::text).collect()
}

fn delete_topic(bootstrap: &str, topic: &str) {
    let deleted = block_on(admin(bootstrap).delete_topics(&[topic], &AdminOptions::new())).unwrap();
    deleted.into_iter().for_each(|result| drop(result.unwrap()));
    wait_for("the topic to be gone", SOON, || end(bootstrap, topic, 0).is_none().then_some(()));
}

fn delete_records(bootstrap: &str, topic: &str, before: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(before)).unwrap();
    block_on(admin(bootstrap).delete_records(&list, &AdminOptions::new())).unwrap();
}

fn grow(bootstrap: &str, topic: &str, partitions: usize) {
    let new = NewPartitions::new(topic, partitions);
    block_on(admin(bootstrap).create_partitions([&new], &AdminOptions::new())).unwrap().remove(0).unwrap();
}

/// Cause and range of the ledger's lines about a topic.
fn gaps(flow: &Value, topic: &str) -> Vec<(String, i64, i64, bool)> {
    let all = flow["gaps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_topic = all.iter().filter(|gap| gap.to_string().contains(&format!("\"{topic}\"")));
    let at = |gap: &Value, name: &str| gap["range"][name].as_i64().unwrap();
    of_topic
        .map(|gap| (gap["cause"].as_str().unwrap().to_owned(), at(gap, "from"), at(gap, "to"), gap["passed"] == true))
        .collect()
}

fn wait_gaps(daemon: &Daemon, topic: &str, wanted: &[(&str, i64, i64, bool)]) {
    let wanted: Vec<_> =
        wanted.iter().map(|(cause, from, to, passed)| ((*cause).to_owned(), *from, *to, *passed)).collect();
    wait_status(daemon, FLOW, &format!("the ledger to hold {wanted:?}"), |flow| {
        (gaps(flow, topic) == wanted).then_some(())
    });
}

fn wait_stopped(daemon: &Daemon, topic: &str, why: &str) {
    wait_status(daemon, FLOW, &format!("{topic} to stand and say `{why}`"), |flow| {
        let stands = |lane: &&Value| lane["state"]["stopped"].is_object() && lane["reason"].to_string().contains(why);
        lanes(flow, topic).iter().any(stands).then_some(())
    });
}

fn recreated(while_running: bool, records: usize) {
    let pair = Pair::start();
    let (east, west) = (pair.east.bootstrap.clone(), pair.west.bootstrap.clone());
    for topic in [TOPIC, "other"] {
        create_topic(&east, topic, 1, &[]);
    }
    write(&east, TOPIC, 0, numbers("old", 100));
    let mut daemon = pair.daemon();
    caught_up(&east, &west, TOPIC, 1);
    wait_status(&daemon, FLOW, "position 100", |flow| {
        lanes(flow, TOPIC).iter().any(|lane| lane["position"] == 100).then_some(())
    });
    if !while_running {
        daemon.process.kill();
    }
    delete_topic(&east, TOPIC);
    create_topic(&east, TOPIC, 1, &[]);
    write(&east, TOPIC, 0, numbers("new", records));
    if !while_running {
        daemon = pair.daemon();
    }
    wait_gaps(&daemon, TOPIC, &[("topic_recreated", 100, 100, false)]);
    wait_stopped(&daemon, TOPIC, "re-created");
    // nothing of the new topic went to the end of the old one, and other topics go on
    write(&east, "other", 0, numbers("other", 10));
    caught_up(&east, &west, "other", 1);
    assert_eq!(texts(&log(&west, TOPIC, 0)), numbers("old", 100).collect::<Vec<_>>());
}

#[test]
fn a_topic_recreated_with_a_smaller_end_while_running_is_ledgered_and_stands() {
    recreated(true, 10);
}

#[test]
fn a_topic_recreated_with_a_larger_end_while_running_is_ledgered_and_stands() {
    recreated(true, 300);
}

#[test]
fn a_topic_recreated_with_a_smaller_end_while_down_is_ledgered_and_stands() {
    recreated(false, 10);
}

#[test]
fn a_topic_recreated_with_a_larger_end_while_down_is_ledgered_and_stands() {
    recreated(false, 300);
}

#[test]
fn l5_what_a_topic_still_had_when_it_was_recreated_is_in_the_ledger() {
    let pair = Pair::start();
    let east = pair.east.bootstrap.clone();
    create_topic(&east, TOPIC, 1, &[]);
    write(&east, TOPIC, 0, numbers("old", 100));
    let daemon = pair.daemon();
    wait_status(&daemon, FLOW, "position 100", |flow| {
        lanes(flow, TOPIC).iter().any(|lane| lane["position"] == 100).then_some(())
    });
    let output = daemon.verb(&["flow", "pause", FLOW]);
    assert!(output.status.success(), "{}", both(&output));
    write(&east, TOPIC, 0, numbers("not copied", 50));
    // the daemon looks at the source's ends with the groups, here every second, and writes them down
    std::thread::sleep(std::time::Duration::from_secs(3));
    daemon.process.kill();
    delete_topic(&east, TOPIC);
    create_topic(&east, TOPIC, 1, &[]);
    write(&east, TOPIC, 0, numbers("new", 300));
    let daemon = pair.daemon();
    wait_gaps(&daemon, TOPIC, &[("topic_recreated", 100, 150, false)]);
}

/// 100 records crossed; 100 more were written and the first 150 deleted while the daemon was down.
fn overtaken(policy: &str) -> (Pair, Daemon) {
    let pair = Pair::start();
    let east = pair.east.bootstrap.clone();
    for topic in [TOPIC, "other"] {
        create_topic(&east, topic, 1, &[]);
    }
    write(&east, TOPIC, 0, numbers("r", 100));
    let text = pair.text("active-passive").replace("naming =", &format!("gap_policy = \"{policy}\"\nnaming ="));
    let daemon = Daemon::start(pair.path(), &text);
    caught_up(&east, &pair.west.bootstrap, TOPIC, 1);
    wait_status(&daemon, FLOW, "position 100", |flow| {
        lanes(flow, TOPIC).iter().any(|lane| lane["position"] == 100).then_some(())
    });
    daemon.process.terminate();
    write(&east, TOPIC, 0, numbers("s", 100));
    delete_records(&east, TOPIC, 150);
    write(&east, "other", 0, numbers("other", 10));
    let daemon = Daemon::start(pair.path(), &text);
    (pair, daemon)
}

fn with_the_gap() -> Vec<String> {
    numbers("r", 100).chain(numbers("s", 100).skip(50)).collect()
}

#[test]
fn l5_a_gap_stops_its_lane_alone_and_resume_goes_on_behind_it() {
    let (pair, daemon) = overtaken("stop");
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    wait_gaps(&daemon, TOPIC, &[("retention_overtook", 100, 150, false)]);
    wait_stopped(&daemon, TOPIC, "flow resume");
    caught_up(east, west, "other", 1);
    assert_eq!(end(west, TOPIC, 0), Some(101), "the marker of the fence, and what lay before the gap");
    // a restart asks again, it does not slip past, and writes no second line
    daemon.process.kill();
    let daemon = Daemon::launch_file(pair.path(), &daemon.config, &[]);
    wait_stopped(&daemon, TOPIC, "flow resume");
    wait_gaps(&daemon, TOPIC, &[("retention_overtook", 100, 150, false)]);
    let output = daemon.verb(&["flow", "resume", FLOW]);
    assert!(output.status.success(), "{}", both(&output));
    caught_up(east, west, TOPIC, 1);
    assert_eq!(texts(&log(west, TOPIC, 0)), with_the_gap());
    wait_gaps(&daemon, TOPIC, &[("retention_overtook", 100, 150, true)]);
}

#[test]
fn l5_a_recorded_gap_is_passed() {
    let (pair, daemon) = overtaken("record");
    caught_up(&pair.east.bootstrap, &pair.west.bootstrap, TOPIC, 1);
    assert_eq!(texts(&log(&pair.west.bootstrap, TOPIC, 0)), with_the_gap());
    wait_gaps(&daemon, TOPIC, &[("retention_overtook", 100, 150, true)]);
}

#[test]
fn partitions_added_under_load_are_read_from_their_first_record() {
    let pair = Pair::start();
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    create_topic(east, TOPIC, 2, &[("cleanup.policy", "compact"), ("max.message.bytes", "500000")]);
    let text = pair.text("active-passive").replace("naming =", "start = \"latest\"\nnaming =");
    let daemon = Daemon::start(pair.path(), &text);
    wait_for("the target topic", SOON, || end(west, TOPIC, 1));
    wait_status(&daemon, FLOW, "both lanes", |flow| {
        let lanes = lanes(flow, TOPIC);
        (lanes.len() == 2 && lanes.iter().all(|lane| lane["position"] == 0)).then_some(())
    });
    let load = Load::start(east, TOPIC, 2, "r");
    grow(east, TOPIC, 5);
    for partition in 2..5 {
        // written before the daemon can have seen the partition
        write(east, TOPIC, partition, numbers(&format!("p{partition}"), 50));
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    load.stop();
    for partition in 0..5 {
        wait_for("the grown partition at the target", SOON, || end(west, TOPIC, partition));
    }
    caught_up(east, west, TOPIC, 5);
    for partition in 0..5 {
        assert_eq!(assert_nothing_lost(&log(east, TOPIC, partition), &log(west, TOPIC, partition)), 0);
    }
    let options = AdminOptions::new();
    let resource = rdkafka::admin::ResourceSpecifier::Topic(TOPIC);
    let found = block_on(admin(west).describe_configs([&resource], &options)).unwrap().remove(0).unwrap();
    for (name, value) in [("cleanup.policy", "compact"), ("max.message.bytes", "500000")] {
        assert_eq!(found.get(name).and_then(|entry| entry.value.as_deref()), Some(value), "{name}");
    }
}

#[test]
fn a_target_with_fewer_partitions_is_refused_by_name_and_never_folded() {
    let pair = Pair::start();
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    create_topic(east, TOPIC, 4, &[]);
    create_topic(west, TOPIC, 2, &[]);
    (0..4).for_each(|partition| write(east, TOPIC, partition, numbers(&format!("p{partition}"), 20)));
    let daemon = pair.daemon();
    wait_status(&daemon, FLOW, "a refusal that names topic and numbers", |flow| {
        let reason = flow["refused"].to_string();
        ["orders", "2 partitions", "4"].iter().all(|part| reason.contains(part)).then_some(())
    });
    caught_up(east, west, TOPIC, 2);
    for partition in 0..2 {
        assert_eq!(assert_nothing_lost(&log(east, TOPIC, partition), &log(west, TOPIC, partition)), 0);
    }
    assert_eq!(end(west, TOPIC, 2), None);
}
