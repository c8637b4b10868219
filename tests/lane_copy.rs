//! One flow between two brokers in this process: what crosses, and what happens when it cannot.

#[path = "lane_support/mod.rs"]
mod lane_support;

use bytes::Bytes;
use causeway::core::gap::GapCause;
use causeway::core::lane::{State, StopReason};
use causeway::lanes::view::Phase;
use causeway_wire::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use causeway_wire::messages::delete_topics::DeleteTopicsRequest;
use causeway_wire::records::{BatchBuilder, Codec, RecordHeader};
use lane_support::{World, flow, lane, wait_for, wait_position};

fn header(key: &'static [u8], value: Option<&'static [u8]>) -> RecordHeader {
    RecordHeader { key: Bytes::from_static(key), value: value.map(Bytes::from_static) }
}

/// Timestamp, key, value, headers.
type Shape = (i64, Option<&'static [u8]>, Option<&'static [u8]>, Vec<RecordHeader>);

/// Everything that librdkafka or a careless engine would change.
fn shapes() -> Vec<Shape> {
    let plain = || header(b"a", Some(b"1"));
    vec![
        (1_700_000_000_000, Some(b"key"), Some(b"value"), vec![]),
        (1_700_000_000_001, None, Some(b"no key"), vec![plain()]),
        (1_700_000_000_002, Some(b""), Some(b""), vec![plain(), header(b"a", Some(b"2")), plain()]),
        (1_600_000_000_000, Some(b"tombstone"), None, vec![header(b"null", None), header(b"empty", Some(b""))]),
        (1_700_000_000_003, None, None, vec![header(b"", Some(b"\x00\xff"))]),
        (1_700_000_000_004, Some(b"\x00\xff"), Some(b"v"), vec![header(b"\xff\xfe", Some(b"not UTF-8"))]),
        (1_700_000_000_005, Some(b"k"), Some(b"v"), vec![header(b"a\x00b", Some(b"NUL")), plain()]),
        (0, Some(b"epoch"), Some(b"0"), vec![plain(), header(b"\xff\x00", None)]),
        (1, Some(b"epoch"), Some(b"1"), vec![]),
        (1_700_000_000_006, Some(b"last"), Some(b"one"), vec![]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_record_crosses_unchanged() {
    let world = World::start().await;
    world.east.create("shapes", 5, &[]).await;
    for (partition, codec) in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].into_iter().enumerate()
    {
        let mut batch = BatchBuilder::new(codec);
        for (timestamp, key, value, headers) in shapes() {
            batch.push(timestamp, key, value, &headers).unwrap();
        }
        world.east.produce("shapes", partition as i32, batch.build().unwrap()).await;
        world.east.fill("shapes", partition as i32, 0, 500).await;
    }
    let daemon = world.daemon("");
    for partition in 0..5 {
        wait_position(&daemon, "shapes", partition, 510).await;
        let mut copies = world.west.read("shapes", partition).await;
        // the marker that keeps older writers out lies in front of the first
        copies.iter_mut().for_each(|copy| copy.offset -= 1);
        assert!(world.east.read("shapes", partition).await == copies, "partition {partition}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l8_a_record_too_large_for_the_target_stops_its_lane_alone() {
    let world = World::with(&["message.max.bytes=4000000"], &["message.max.bytes=200000"]).await;
    world.east.create("big", 2, &[]).await;
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(500_000).collect();
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1_700_000_000_000, Some(b"big"), Some(&noise), &[]).unwrap();
    world.east.fill("big", 0, 0, 300).await;
    world.east.produce("big", 0, batch.build().unwrap()).await;
    world.east.fill("big", 0, 300, 300).await;
    let daemon = world.daemon("");
    let reason =
        async || lane(&daemon, "big", 0).filter(|l| matches!(l.state, State::Stopped(_))).and_then(|l| l.reason);
    let reason = wait_for("the lane stops", &daemon, reason).await;
    assert!(reason.contains("[300, 301)"), "{reason}");
    // the other lane goes on, and nothing behind the record came before it
    world.east.fill("big", 1, 0, 1_000).await;
    wait_position(&daemon, "big", 1, 1_000).await;
    assert!(lane(&daemon, "big", 0).unwrap().position.unwrap().get() <= 300);
    assert_eq!(world.west.numbers("big", 0).await, (0..300).collect::<Vec<_>>());
    assert_eq!(world.west.numbers("big", 1).await, (0..1_000).collect::<Vec<_>>());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l5_what_retention_took_is_a_gap_with_its_exact_range() {
    let world = World::start().await;
    world.east.create("t", 1, &[]).await;
    world.east.fill("t", 0, 0, 100).await;
    let daemon = world.daemon("");
    wait_position(&daemon, "t", 0, 100).await;
    daemon.flow("f").unwrap().pause();
    let paused = async || lane(&daemon, "t", 0).filter(|l| l.state == State::Stopped(StopReason::Paused));
    wait_for("paused", &daemon, paused).await;
    world.east.fill("t", 0, 100, 100).await;
    let partition = DeleteRecordsPartition { partition_index: 0, offset: 150 };
    let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions: vec![partition] }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 5_000 };
    world.east.client.leader("t", 0, request).await.unwrap();
    daemon.flow("f").unwrap().resume();
    let stopped = async || lane(&daemon, "t", 0).filter(|l| matches!(l.state, State::Stopped(StopReason::Gap(_))));
    wait_for("the gap", &daemon, stopped).await;
    let gaps = flow(&daemon).gaps;
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].range.from.get(), gaps[0].range.to.get()), (100, 150));
    assert_eq!((&gaps[0].cause, gaps[0].passed), (&GapCause::RetentionOvertook, false));
    // somebody accepts it, and copying goes on behind it
    daemon.flow("f").unwrap().resume();
    wait_position(&daemon, "t", 0, 200).await;
    assert_eq!(world.west.numbers("t", 0).await, (0..100).chain(150..200).collect::<Vec<_>>());
    assert!(flow(&daemon).gaps[0].passed);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_at_the_source_is_not_taken_for_the_old_one() {
    let world = World::start().await;
    for topic in ["t", "other"] {
        world.east.create(topic, 1, &[]).await;
        world.east.fill(topic, 0, 0, 50).await;
    }
    let daemon = world.daemon("");
    wait_position(&daemon, "t", 0, 50).await;
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 5_000, ..Default::default() };
    world.east.client.controller(request).await.unwrap();
    world.east.create("t", 1, &[]).await;
    world.east.fill("t", 0, 1_000, 80).await;
    let stopped = async || {
        lane(&daemon, "t", 0).filter(|l| matches!(l.state, State::Stopped(StopReason::OtherGeneration { .. })))
    };
    wait_for("the new generation is noticed", &daemon, stopped).await;
    assert!(flow(&daemon).gaps.iter().any(|gap| gap.cause == GapCause::TopicRecreated));
    // nothing of the new topic was appended silently, and other topics go on
    assert_eq!(world.west.numbers("t", 0).await, (0..50).collect::<Vec<_>>());
    world.east.fill("other", 0, 50, 50).await;
    wait_position(&daemon, "other", 0, 100).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l2_a_lost_or_damaged_store_changes_no_answer() {
    let world = World::start().await;
    world.east.create("t", 2, &[]).await;
    let mut sent = 0;
    for round in 0..3 {
        for partition in 0..2 {
            world.east.fill("t", partition, sent, 200).await;
        }
        sent += 200;
        let daemon = world.daemon("");
        for partition in 0..2 {
            wait_position(&daemon, "t", partition, sent as i64).await;
        }
        daemon.stop().await;
        let store = world.dir.path().join("store").join("f");
        match round {
            0 => std::fs::remove_dir_all(&store).unwrap(),
            _ => {
                let db = std::fs::read(store.join("db")).unwrap();
                let damaged: Vec<u8> = db.iter().map(|byte| byte ^ 0x5a).collect();
                std::fs::write(store.join("db"), damaged).unwrap();
            }
        }
    }
    for partition in 0..2 {
        assert_eq!(world.west.numbers("t", partition).await, (0..sent).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_an_older_instance_is_refused_by_the_target() {
    let world = World::start().await;
    world.east.create("t", 1, &[]).await;
    world.east.fill("t", 0, 0, 100).await;
    let old = world.daemon("");
    wait_position(&old, "t", 0, 100).await;
    let new = world.daemon(""); // the same flow; its store is taken, and is only a cache
    wait_position(&new, "t", 0, 100).await;
    world.east.fill("t", 0, 100, 100).await;
    wait_for("the old instance is fenced", &old, async || (flow(&old).state == Phase::Fenced).then_some(())).await;
    assert!(flow(&old).reason.unwrap().contains("must not write"), "{:?}", flow(&old).reason);
    wait_position(&new, "t", 0, 200).await;
    let numbers = world.west.numbers("t", 0).await;
    let mut first_seen: Vec<usize> = Vec::new();
    numbers.iter().for_each(|n| {
        if !first_seen.contains(n) {
            first_seen.push(*n)
        }
    });
    assert_eq!(first_seen, (0..200).collect::<Vec<_>>(), "every record, in order, at least once");
    old.stop().await;
    new.stop().await;
}
