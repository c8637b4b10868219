//! The batch engine between two brokers in this process: what crosses unread, what is read and written anew, and what a target refuses.

#[path = "lane_support/mod.rs"]
mod lane_support;

use causeway::core::lane::State;
use causeway_wire::records::{BatchBuilder, BatchHeader, Codec, RecordHeader};
use lane_support::{World, flow, lane, wait_for, wait_position};

const EXACTLY_ONCE: &str = "delivery = \"exactly-once\"";

/// Keys, values, headers and times that a careless engine would change.
fn shapes(codec: Codec) -> BatchBuilder {
    let header = |key: &'static [u8], value: Option<&'static [u8]>| RecordHeader {
        key: key.into(),
        value: value.map(bytes::Bytes::from_static),
    };
    let mut batch = BatchBuilder::new(codec);
    #[allow(clippy::unwrap_used, reason = "a test may panic")]
    let mut push = |time: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[RecordHeader]| {
        batch.push(time, key, value, headers).unwrap();
    };
    push(1_700_000_000_000, Some(b"key"), Some(b"value"), &[]);
    push(0, None, Some(b""), &[header(b"a", None), header(b"a", Some(b"")), header(b"\xff\0", Some(b"v"))]);
    push(1_600_000_000_000, Some(b"tombstone"), None, &[]);
    push(1_700_000_000_001, None, None, &[]);
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_and_codec_crosses_unchanged() {
    let world = World::start().await;
    world.east.create("shapes", 5, &[]).await;
    for (partition, codec) in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd].into_iter().enumerate()
    {
        world.east.produce("shapes", partition as i32, shapes(codec).build().unwrap()).await;
        world.east.fill("shapes", partition as i32, 0, 500).await;
    }
    let daemon = world.daemon(EXACTLY_ONCE);
    for partition in 0..5 {
        wait_position(&daemon, "shapes", partition, 504).await;
        let content = |lying: Vec<lane_support::Lying>| {
            lying.into_iter().map(|l| (l.timestamp, l.key, l.value, l.headers)).collect::<Vec<_>>()
        };
        let (east, west) = (world.east.read("shapes", partition).await, world.west.read("shapes", partition).await);
        // the fence takes one offset at the target
        assert_eq!(content(east), content(west));
    }
    let view = flow(&daemon);
    assert_eq!((view.engine.as_deref(), view.delivery.as_deref()), (Some("batch"), Some("exactly-once")));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_needs_no_fence() {
    let world = World::start().await;
    world.east.create("t", 1, &[]).await;
    world.east.fill("t", 0, 0, 500).await;
    let daemon = world.daemon("engine = \"batch\"\ndelivery = \"at-least-once\"");
    wait_position(&daemon, "t", 0, 500).await;
    assert_eq!(world.west.end("t", 0).await, 500, "no marker, and nothing twice");
    assert_eq!(world.west.numbers("t", 0).await, (0..500).collect::<Vec<_>>());
    assert_eq!(flow(&daemon).delivery.as_deref(), Some("at-least-once"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_begins_in_the_middle_of_a_batch_copies_the_rest_of_it() {
    let world = World::start().await;
    world.east.create("t", 1, &[]).await;
    let mut batch = BatchBuilder::new(Codec::Lz4);
    for (number, time) in (0..100).zip(1_700_000_000_000_i64..) {
        batch.push(time, None, Some(format!("{number}").as_bytes()), &[]).unwrap();
    }
    world.east.produce("t", 0, batch.build().unwrap()).await;
    world.east.fill("t", 0, 100, 10).await;
    let daemon = world.daemon(&format!("{EXACTLY_ONCE}\nstart = \"2023-11-14T22:13:20.040Z\""));
    wait_position(&daemon, "t", 0, 110).await;
    assert_eq!(world.west.numbers("t", 0).await, (40..110).collect::<Vec<_>>());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_too_large_for_the_target_is_split_and_a_record_too_large_stops_its_lane_alone() {
    let world = World::with(&["message.max.bytes=4000000"], &["message.max.bytes=200000"]).await;
    world.east.create("big", 2, &[]).await;
    let noise = |len: usize| std::iter::repeat_with(|| fastrand::u8(..)).take(len).collect::<Vec<u8>>();
    let mut batch = BatchBuilder::new(Codec::None);
    (0..10).for_each(|time| batch.push(time, None, Some(&noise(50_000)), &[]).unwrap());
    world.east.produce("big", 0, batch.build().unwrap()).await;
    let daemon = world.daemon(EXACTLY_ONCE);
    wait_position(&daemon, "big", 0, 10).await;
    let value = |lying: lane_support::Lying| lying.value;
    let (east, west) = (world.east.read("big", 0).await, world.west.read("big", 0).await);
    assert!(east.into_iter().map(value).eq(west.into_iter().map(value)));
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1, None, Some(&noise(500_000)), &[]).unwrap();
    world.east.produce("big", 0, batch.build().unwrap()).await;
    world.east.fill("big", 1, 0, 1_000).await;
    let stopped = async || lane(&daemon, "big", 0).filter(|l| matches!(l.state, State::Stopped(_)));
    let reason = wait_for("the lane stops", &daemon, stopped).await.reason.unwrap();
    assert!(reason.contains("[10, 11)"), "{reason}");
    wait_position(&daemon, "big", 1, 1_000).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_begins_behind_a_fence_and_copies_nothing_twice() {
    let world = World::start().await;
    world.east.create("t", 1, &[]).await;
    for round in 0..3 {
        world.east.fill("t", 0, round * 200, 200).await;
        let daemon = world.daemon(EXACTLY_ONCE);
        wait_position(&daemon, "t", 0, (round as i64 + 1) * 200).await;
        daemon.stop().await;
    }
    assert_eq!(world.west.numbers("t", 0).await, (0..600).collect::<Vec<_>>());
    // one marker a session that wrote: it carries a new producer epoch into the partition
    assert_eq!(world.west.end("t", 0).await, 603);
    let header = BatchHeader::parse(
        &world.west.client.fetch_batches("t", 0, 602, 1 << 20, Default::default()).await.unwrap().batches,
    );
    assert!(header.unwrap().producer_id >= 0, "batches carry our producer");
}
