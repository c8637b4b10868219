//! L1, L2 and L6 with real processes: the daemon is killed in mid-load, its cache is deleted, aged and damaged, it is stopped, paused and run twice.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::time::Duration;

use support::load::create_topic;
use support::mirror::{
    FLOW, Load, Pair, SOON, assert_nothing_lost, assert_translates, caught_up, end, json, lanes, log, translate,
    wait_status,
};
use support::process::{Daemon, both};
use support::wait_for;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 2;

fn at_target(pair: &Pair) -> i64 {
    (0..PARTITIONS).map(|partition| end(&pair.west.bootstrap, TOPIC, partition).unwrap_or(0)).sum()
}

/// Waits until so many records more are at the target.
fn wait_copied(pair: &Pair, more: i64) {
    let from = at_target(pair);
    wait_for(&format!("{more} records more at the target"), SOON, || (at_target(pair) >= from + more).then_some(()));
}

/// Stops the load and asserts that all of it crossed, in order, and that the map is right; answers the number of copies made twice.
fn settle(pair: &Pair, daemon: &Daemon, load: Load) -> usize {
    let written = load.stop();
    caught_up(&pair.east.bootstrap, &pair.west.bootstrap, TOPIC, PARTITIONS);
    wait_status(daemon, FLOW, "every lane caught up", |flow| {
        let lanes = lanes(flow, TOPIC);
        let all = lanes.len() == 2 && lanes.iter().all(|lane| lane["caught_up"] == true);
        all.then_some(())
    });
    let (mut twice, mut seen) = (0, 0);
    for partition in 0..PARTITIONS {
        let source = log(&pair.east.bootstrap, TOPIC, partition);
        let target = log(&pair.west.bootstrap, TOPIC, partition);
        seen += source.len();
        twice += assert_nothing_lost(&source, &target);
        assert_translates(daemon, TOPIC, partition, &source, &target);
    }
    assert_eq!(seen, written);
    twice
}

fn copy_dir(from: &Path, to: &Path) {
    let output = std::process::Command::new("cp").arg("-a").args([from, to]).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
}

/// Every file below `dir`.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}

fn damage(dir: &Path) {
    for file in files(dir) {
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
        // a file may vanish while the daemon runs
        let _ = std::fs::write(&file, bytes);
    }
}

#[test]
fn l1_kill_9_in_mid_load_loses_nothing_and_translation_stays_right() {
    let pair = Pair::start();
    create_topic(&pair.east.bootstrap, TOPIC, PARTITIONS, &[]);
    let load = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "r");
    for _ in 0..3 {
        let daemon = pair.daemon();
        wait_copied(&pair, 300);
        daemon.process.kill();
    }
    let daemon = pair.daemon();
    settle(&pair, &daemon, load);
}

#[test]
fn f25_kill_9_in_mid_load_doubles_nothing_where_exactly_once_is_asked_for() {
    let pair = Pair::start();
    create_topic(&pair.east.bootstrap, TOPIC, PARTITIONS, &[]);
    let load = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "r");
    for _ in 0..4 {
        let daemon = pair.exactly_once();
        wait_copied(&pair, 300);
        daemon.process.kill();
    }
    let daemon = pair.exactly_once();
    assert_eq!(settle(&pair, &daemon, load), 0, "records copied twice");
}

#[test]
fn l2_a_deleted_aged_or_damaged_store_costs_a_rebuild_and_nothing_else() {
    let pair = Pair::start();
    let (store, old) = (pair.path().join("store"), pair.path().join("old"));
    create_topic(&pair.east.bootstrap, TOPIC, PARTITIONS, &[]);
    let load = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "r");
    let daemon = pair.daemon();
    wait_copied(&pair, 200);
    // what is copied is not yet durable for a moment, and what is not durable is copied again after a kill
    wait_for("a durable beginning", Duration::from_secs(10), || {
        translate(&daemon, TOPIC, 0, &[0, 1], false).iter().all(|(_, exact)| *exact).then_some(())
    });
    daemon.process.kill();
    assert!(!files(&store).is_empty(), "the daemon keeps a store");
    copy_dir(&store, &old);
    let before: Vec<i64> = (0..at_target(&pair) / 4).collect();
    let known = translate(&daemon, TOPIC, 0, &before, false);
    let faults: [&dyn Fn(); 4] = [
        &|| std::fs::remove_dir_all(&store).unwrap(),
        &|| damage(&store),
        &|| {
            std::fs::remove_dir_all(&store).unwrap();
            copy_dir(&old, &store);
        },
        &|| std::fs::write(files(&store).pop().unwrap(), b"").unwrap(),
    ];
    for fault in faults {
        fault();
        let daemon = pair.daemon();
        wait_copied(&pair, 200);
        let now = translate(&daemon, TOPIC, 0, &before, false);
        // what was at or beyond the end has a place now; what had one keeps it: its neighbour had an exact answer too
        let moved = known.windows(2).zip(&now).position(|(known, now)| known[0].1 && known[1].1 && known[0] != *now);
        assert_eq!(moved.map(|at| (known[at], now[at])), None);
        daemon.process.kill();
    }
    let daemon = pair.daemon();
    settle(&pair, &daemon, load);
}

#[test]
fn l2_a_store_that_is_deleted_or_damaged_while_the_daemon_runs_is_harmless() {
    let pair = Pair::start();
    let store = pair.path().join("store");
    create_topic(&pair.east.bootstrap, TOPIC, PARTITIONS, &[]);
    let load = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "r");
    let daemon = pair.daemon();
    wait_copied(&pair, 200);
    damage(&store);
    wait_copied(&pair, 200);
    std::fs::remove_dir_all(&store).unwrap();
    wait_copied(&pair, 200);
    daemon.process.kill();
    let daemon = pair.daemon();
    wait_copied(&pair, 200);
    settle(&pair, &daemon, load);
}

#[test]
fn a_daemon_stopped_under_load_copies_nothing_twice() {
    let pair = Pair::start();
    create_topic(&pair.east.bootstrap, TOPIC, PARTITIONS, &[]);
    let load = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "r");
    for _ in 0..3 {
        let daemon = pair.daemon();
        wait_copied(&pair, 300);
        daemon.process.terminate();
    }
    let daemon = pair.daemon();
    assert_eq!(settle(&pair, &daemon, load), 0, "records copied twice");
}

#[test]
fn a_paused_flow_stands_and_goes_on_where_it_stood() {
    let pair = Pair::start();
    create_topic(&pair.east.bootstrap, TOPIC, PARTITIONS, &[]);
    let load = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "r");
    let daemon = pair.daemon();
    for _ in 0..2 {
        wait_copied(&pair, 200);
        let output = daemon.verb(&["flow", "pause", FLOW]);
        assert!(output.status.success(), "{}", both(&output));
        let stood = at_target(&pair);
        // everything that is at the target is written down: nothing waits for the next write
        let preview = json(&daemon, &["failover", FLOW, "--preview"]);
        let copied: i64 =
            preview["lanes"].as_array().unwrap().iter().filter_map(|lane| lane["position"].as_i64()).sum();
        let lie = (0..PARTITIONS).map(|partition| log(&pair.west.bootstrap, TOPIC, partition).len()).sum::<usize>();
        assert_eq!(usize::try_from(copied), Ok(lie), "{preview:#}");
        std::thread::sleep(Duration::from_millis(700));
        assert_eq!(at_target(&pair), stood, "a paused flow copies");
        let output = daemon.verb(&["flow", "resume", FLOW]);
        assert!(output.status.success(), "{}", both(&output));
    }
    assert_eq!(settle(&pair, &daemon, load), 0, "records copied twice");
}

#[test]
fn l6_of_two_daemons_with_one_file_the_older_is_fenced_and_says_so() {
    let pair = Pair::start();
    create_topic(&pair.east.bootstrap, TOPIC, PARTITIONS, &[]);
    let load = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "r");
    let older = pair.daemon();
    wait_copied(&pair, 200);
    let other = pair.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let newer = Daemon::start(&other, &pair.text("active-passive"));
    wait_status(&older, FLOW, "the older daemon to be fenced", |flow| (flow["state"] == "fenced").then_some(()));
    older.process.says(&["fenced", "epoch"]);
    assert_ne!(older.get("/readyz").map(|answer| answer.0), Some(200), "a fenced daemon is not ready");
    wait_copied(&pair, 200);
    settle(&pair, &newer, load);
}
