//! L4 with real processes: two clusters copy each other under the same names, the daemon is killed, and applications copy headers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_wire::records::{BatchBuilder, Codec, Record, RecordHeader};
use support::load::{block_on, create_topic};
use support::mirror::{Load, Pair, Rec, SOON, client, lanes, log, status, wait_status, write};
use support::process::Daemon;
use support::wait_for;

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 2;
const BACK: &str = "west-to-east";
/// What records on a cycle carry.
const HOPS: &[u8] = b"causeway-hops";

fn daemon(pair: &Pair) -> Daemon {
    Daemon::start(pair.path(), &pair.text("active-active"))
}

fn all(bootstrap: &str) -> Vec<Rec> {
    (0..PARTITIONS).flat_map(|partition| log(bootstrap, TOPIC, partition)).collect()
}

fn counts(records: &[Rec]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    records.iter().for_each(|record| *counts.entry(record.text()).or_default() += 1);
    counts
}

/// Waits until both sides hold every one of `total` records.
fn wait_union(pair: &Pair, total: usize) {
    for side in [&pair.east.bootstrap, &pair.west.bootstrap] {
        wait_for(&format!("all {total} records at {side}"), SOON, || (counts(&all(side)).len() >= total).then_some(()));
    }
}

/// Longer than any claim waits for a map: what would come back has come back.
fn linger() {
    std::thread::sleep(Duration::from_secs(4));
}

/// Asserts that no record came back to where it was written: there it stands exactly once, whatever was sent twice to the other side.
fn assert_no_echo(pair: &Pair) {
    for (side, own) in [(&pair.east, "e-"), (&pair.west, "w-")] {
        let back: Vec<_> = counts(&all(&side.bootstrap))
            .into_iter()
            .filter(|(text, count)| text.starts_with(own) && *count > 1)
            .collect();
        assert_eq!(back, vec![], "records that came back to {own}");
    }
}

#[test]
fn l4_records_of_both_sides_cross_once_in_one_topic() {
    let pair = Pair::start();
    for side in [&pair.east, &pair.west] {
        create_topic(&side.bootstrap, TOPIC, PARTITIONS, &[]);
    }
    let _daemon = daemon(&pair);
    let east = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "e");
    let west = Load::start(&pair.west.bootstrap, TOPIC, PARTITIONS, "w");
    std::thread::sleep(Duration::from_secs(2));
    let total = east.stop() + west.stop();
    wait_union(&pair, total);
    linger();
    for side in [&pair.east, &pair.west] {
        let twice: Vec<_> = counts(&all(&side.bootstrap)).into_iter().filter(|(_, count)| *count > 1).collect();
        assert_eq!(twice, vec![]);
    }
}

#[test]
fn l4_no_record_comes_back_when_the_daemon_is_killed_under_load() {
    let pair = Pair::start();
    for side in [&pair.east, &pair.west] {
        create_topic(&side.bootstrap, TOPIC, PARTITIONS, &[]);
    }
    let east = Load::start(&pair.east.bootstrap, TOPIC, PARTITIONS, "e");
    let west = Load::start(&pair.west.bootstrap, TOPIC, PARTITIONS, "w");
    for _ in 0..3 {
        let daemon = daemon(&pair);
        std::thread::sleep(Duration::from_millis(1200));
        daemon.process.kill();
    }
    let _daemon = daemon(&pair);
    std::thread::sleep(Duration::from_secs(1));
    let total = east.stop() + west.stop();
    wait_union(&pair, total);
    linger();
    assert_no_echo(&pair);
}

fn produce(bootstrap: &str, partition: i32, record: &Rec) {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| bytes.clone().into());
    let header =
        |(key, value): &(Vec<u8>, Option<Vec<u8>>)| RecordHeader { key: key.clone().into(), value: bytes(value) };
    let mut batch = BatchBuilder::new(Codec::None).base_timestamp(record.timestamp);
    let record = Record {
        key: bytes(&record.key),
        value: bytes(&record.value),
        headers: record.headers.iter().map(header).collect(),
        ..Default::default()
    };
    batch.push_record(&record).unwrap();
    block_on(async { client(bootstrap).await.produce_batch(TOPIC, partition, batch.build().unwrap()).await }).unwrap();
}

#[test]
fn f40_what_an_application_writes_with_copied_or_forged_hops_is_delivered_and_counted() {
    let pair = Pair::start();
    for side in [&pair.east, &pair.west] {
        create_topic(&side.bootstrap, TOPIC, PARTITIONS, &[]);
    }
    let text = pair.text("active-active").replace("naming = ", "engine = \"record\"\nnaming = ");
    let daemon = Daemon::start(pair.path(), &text);
    write(&pair.east.bootstrap, TOPIC, 0, (0..20).map(|n| format!("e-{n}")));
    wait_union(&pair, 20);
    let mirrored = log(&pair.west.bootstrap, TOPIC, 0);
    let hops =
        mirrored[3].headers.iter().find(|(key, _)| key == HOPS).expect("a record on a cycle carries its hops").clone();
    // one application keeps the headers and changes the value; a second puts them elsewhere; a third makes them up
    let forged = |text: &str, hops: Vec<(Vec<u8>, Option<Vec<u8>>)>| Rec {
        value: Some(text.as_bytes().to_vec()),
        headers: hops,
        ..mirrored[3].clone()
    };
    produce(&pair.west.bootstrap, 0, &forged("changed", vec![hops.clone()]));
    produce(&pair.west.bootstrap, 1, &forged("moved", vec![hops.clone()]));
    produce(&pair.west.bootstrap, 0, &forged("garbage", vec![(HOPS.to_vec(), Some(b"\xff\x00nonsense".to_vec()))]));
    produce(&pair.west.bootstrap, 0, &forged("null", vec![(HOPS.to_vec(), None)]));
    produce(&pair.west.bootstrap, 0, &forged("twice", vec![hops.clone(), hops.clone()]));
    let wanted = ["changed", "moved", "garbage", "null", "twice"];
    wait_for("every forged record at the east", SOON, || {
        let there = counts(&all(&pair.east.bootstrap));
        wanted.iter().all(|text| there.contains_key(*text)).then_some(())
    });
    linger();
    for side in [&pair.east, &pair.west] {
        let there = counts(&all(&side.bootstrap));
        assert!(wanted.iter().all(|text| there[*text] == 1), "{there:?}");
        assert_eq!(there.len(), 20 + wanted.len());
    }
    let dropped = status(&daemon, BACK).unwrap()["loop_records_dropped"].as_u64().unwrap();
    assert_eq!(dropped, 20, "every copy held back is counted, and nothing else");
}

#[test]
fn a_flow_on_no_cycle_adds_no_header() {
    let pair = Pair::start();
    create_topic(&pair.east.bootstrap, TOPIC, PARTITIONS, &[]);
    let daemon = pair.daemon();
    write(&pair.east.bootstrap, TOPIC, 0, (0..20).map(|n| format!("e-{n}")));
    wait_status(&daemon, support::mirror::FLOW, "everything copied", |flow| {
        lanes(flow, TOPIC).iter().any(|lane| lane["position"] == 20).then_some(())
    });
    let contents = |records: Vec<Rec>| records.iter().map(Rec::content).collect::<Vec<_>>();
    assert_eq!(contents(log(&pair.west.bootstrap, TOPIC, 0)), contents(log(&pair.east.bootstrap, TOPIC, 0)));
}
