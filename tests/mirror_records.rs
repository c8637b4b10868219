//! L8 and what a record may be, with real processes: what one topic's target refuses stops that topic alone, and every shape crosses unchanged.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use causeway_wire::records::{BatchBuilder, Codec, Record, RecordHeader};
use serde_json::Value;
use support::load::{block_on, create_topic};
use support::mirror::{FLOW, Load, Pair, Rec, SOON, assert_nothing_lost, client, end, lanes, log, wait_status, write};
use support::process::Background;
use support::wait_for;

const TOPIC: &str = "orders";
/// L8: the reason is visible within this.
const VISIBLE: Duration = Duration::from_secs(30);

/// A pair whose west takes batches of at most `bytes`.
fn pair_with_small_west(bytes: usize) -> Pair {
    let mut pair = Pair::start();
    pair.west.process.kill();
    let mut command = vec![support::process::CAUSEWAY.to_owned(), "broker".to_owned()];
    let data = pair.path().join("west").display().to_string();
    for setting in [
        format!("listeners=PLAINTEXT://{}", pair.west.bootstrap),
        format!("log.dirs={data}"),
        format!("message.max.bytes={bytes}"),
    ] {
        command.extend(["--override".to_owned(), setting]);
    }
    pair.west.process = Background::spawn(&command, &pair.path().join("west-small.log"));
    pair.west.process.wait_output("broker started");
    pair
}

fn incompressible(length: usize, seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| rng.alphanumeric()).collect()
}

#[test]
fn l8_a_record_that_the_target_refuses_stops_its_lane_alone_and_says_why() {
    let pair = pair_with_small_west(100_000);
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    for topic in [TOPIC, "other"] {
        create_topic(east, topic, 1, &[]);
    }
    let daemon = pair.daemon();
    let load = Load::start(east, "other", 1, "o");
    write(east, TOPIC, 0, (0..20).map(|n| format!("small-{n}")));
    write(east, TOPIC, 0, [incompressible(200_000, 1)]);
    write(east, TOPIC, 0, (20..40).map(|n| format!("small-{n}")));
    let asked = Instant::now();
    let reason = wait_status(&daemon, FLOW, "the lane to stop and name the record", |flow| {
        let lane: &Value = lanes(flow, TOPIC).first().copied()?;
        let poison = lane["state"]["stopped"]["stopped"] == "poison";
        poison.then(|| lane["reason"].to_string())
    });
    assert!(asked.elapsed() < VISIBLE);
    assert!(reason.contains("[20, 21)") && reason.contains("MESSAGE_TOO_LARGE"), "{reason}");
    let before = end(west, "other", 0).unwrap();
    wait_for("the other topic to go on", SOON, || (end(west, "other", 0).unwrap() > before + 200).then_some(()));
    let written = load.stop();
    wait_for("all of the other topic", SOON, || (end(west, "other", 0) >= i64::try_from(written).ok()).then_some(()));
    assert_nothing_lost(&log(east, "other", 0), &log(west, "other", 0));
    let small: Vec<String> = (0..20).map(|n| format!("small-{n}")).collect();
    let mut copied: Vec<String> = log(west, TOPIC, 0).iter().map(Rec::text).collect();
    copied.dedup();
    assert_eq!(copied[..20], small[..], "what lies before it is there");
    assert!(!copied.iter().any(|text| text == "small-20"), "nothing after it is, or it would be a hole");
    let (status, body) = daemon.get("/readyz").unwrap();
    assert!(status != 200 || body.contains(TOPIC), "health names the lane: {status} {body}");
}

#[test]
fn many_small_records_cross_to_a_target_that_takes_small_batches_only() {
    let pair = pair_with_small_west(60_000);
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    create_topic(east, TOPIC, 1, &[]);
    write(east, TOPIC, 0, (0..1000).map(|n| format!("{n}-{}", incompressible(1000, n))));
    let _daemon = pair.daemon();
    wait_for("all records", SOON, || (end(west, TOPIC, 0)? >= 1000).then_some(()));
    assert_nothing_lost(&log(east, TOPIC, 0), &log(west, TOPIC, 0));
}

fn header(key: &[u8], value: Option<&[u8]>) -> RecordHeader {
    RecordHeader { key: key.to_vec().into(), value: value.map(|value| value.to_vec().into()) }
}

/// Shapes that clients other than librdkafka write.
fn shapes() -> Vec<Record> {
    let headers = [
        vec![],
        vec![header(b"trace", Some(b"1")), header(b"trace", Some(b"2")), header(b"trace", None)],
        vec![header(b"", Some(b"")), header(b"empty", None)],
        vec![header(b"\xff\xfe\x80", Some(b"\xff\x00\x01"))],
        vec![header(b"a\0b", Some(b"nul")), header(b"a", Some(b"plain"))],
        vec![header("ключ-鍵".as_bytes(), Some(b"text"))],
    ];
    let bytes: [Option<&'static [u8]>; 4] = [None, Some(b""), Some(b"\0\xff\xfe"), Some(b"text")];
    let mut shapes = Vec::new();
    for key in bytes {
        for value in bytes {
            for headers in &headers {
                let (key, value) = (key.map(Into::into), value.map(Into::into));
                shapes.push(Record { key, value, headers: headers.clone(), ..Default::default() });
            }
        }
    }
    shapes
}

#[test]
fn f16_every_shape_of_record_crosses_unchanged_with_every_codec() {
    let pair = Pair::start();
    let (east, west) = (&pair.east.bootstrap, &pair.west.bootstrap);
    let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    create_topic(east, TOPIC, 1, &[]);
    let _daemon = pair.daemon();
    let mut count = 0;
    block_on(async {
        let client = client(east).await;
        for (round, codec) in (0..).zip(codecs) {
            let mut batch = BatchBuilder::new(codec).base_timestamp(1_600_000_000_000 + round);
            for (index, record) in (0..).zip(shapes()) {
                // times of a batch go back and forth
                let timestamp_delta = if index % 3 == 0 { -1000 * index } else { index };
                let offset_delta = i32::try_from(index).unwrap();
                batch.push_record(&Record { timestamp_delta, offset_delta, ..record }).unwrap();
                count += 1;
            }
            client.produce_batch(TOPIC, 0, batch.build().unwrap()).await.unwrap();
        }
    });
    wait_for(&format!("{count} records"), SOON, || (end(west, TOPIC, 0)? >= count).then_some(()));
    let contents = |records: Vec<Rec>| records.iter().map(Rec::content).collect::<Vec<_>>();
    let (wanted, found) = (contents(log(east, TOPIC, 0)), contents(log(west, TOPIC, 0)));
    let differs = wanted.iter().zip(&found).position(|(wanted, found)| wanted != found);
    assert_eq!(differs.map(|at| (&wanted[at], &found[at])), None);
    assert_eq!(found.len(), wanted.len());
}
