//! The drill's clients and its judge against a real broker process that is killed under load.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use causeway::drill::checker::{Evidence, Flow, Log, TopicPair, judge};
use causeway::drill::fleet::Region;
use causeway::drill::history::{self, Place};
use causeway::drill::logs::{self, LogSpec};
use causeway::drill::shapes::{CODECS, Mix};
use causeway::drill::workload::{Producer, ProducerPlan, Reader, ReaderPlan};

const RUN: u64 = 5;
const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;
const KILLS: u32 = 3;

/// Everything a cluster acknowledged, it holds: a flow from the cluster to itself says so.
fn to_itself() -> Flow {
    let topics = vec![TopicPair { source: TOPIC.into(), target: TOPIC.into(), compacted: false }];
    let east = || "east".to_owned();
    Flow { name: "itself".into(), from: east(), to: east(), carries: vec![east()], topics }
}

fn producers(dir: &Path, start: Instant, region: &Region) -> Vec<Producer> {
    let plan = |(id, codec)| ProducerPlan {
        run: RUN,
        id,
        topic: TOPIC.to_owned(),
        partitions: PARTITIONS,
        codec,
        mix: Mix::Any { bytes_max: 900 << 10 },
        seed: 3,
        rate: 200,
        history: dir.join(format!("producer-{id}.jsonl")),
        start,
    };
    let plans = (0..).zip(CODECS).map(plan);
    plans.map(|plan| Producer::start(plan, region.site.clone()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_acknowledged_survives_kill_9_and_a_group_reads_it_all() {
    let dir = tempfile::tempdir().unwrap();
    let histories = dir.path().join("histories");
    std::fs::create_dir(&histories).unwrap();
    let start = Instant::now();
    let mut east = Region::start(Path::new(env!("CARGO_BIN_EXE_causeway")), dir.path(), "east").unwrap();
    let client = east.ready().await.unwrap();
    logs::create_topic(&client, TOPIC, PARTITIONS, &[]).await.unwrap();
    let producers = producers(&histories, start, &east);
    let (group, topics, history) = ("billing".to_owned(), vec![TOPIC.to_owned()], histories.join("group.jsonl"));
    let reader = ReaderPlan { group, topics, commit_every: 50, history, start };
    let reader = Reader::start(reader, east.site.clone()).unwrap();
    let acked = || producers.iter().map(Producer::acked).sum::<u64>();
    for kill in 1..=KILLS {
        let (before, deadline) = (acked(), Instant::now() + Duration::from_secs(30));
        while acked() < before + 1_000 {
            assert!(Instant::now() < deadline, "kill {kill}: {} records acknowledged after {before}", acked() - before);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(east.process.kill().unwrap());
        east.process.start().unwrap();
        east.ready().await.unwrap();
    }
    let total = tokio::task::spawn_blocking(move || {
        let total: u64 = producers.iter().map(Producer::acked).sum();
        producers.into_iter().for_each(|producer| producer.finish().unwrap());
        total
    });
    assert!(total.await.unwrap() >= 3_000);
    let mut evidence = Evidence { flows: vec![to_itself()], final_region: Some("east".into()), ..Evidence::default() };
    for partition in 0..PARTITIONS {
        let place = Place { cluster: "east".into(), topic: TOPIC.into(), partition };
        let spec = LogSpec { run: RUN, topic: TOPIC, payload_topic: TOPIC, partition };
        let mut log = Log::default();
        logs::extend(&client, spec, &mut log).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while reader.state().positions.get(&(TOPIC.to_owned(), partition)).is_none_or(|at| *at < log.end) {
            assert!(Instant::now() < deadline, "the group stands at {:?}, end {}", reader.state(), log.end);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        evidence.logs.insert(place, log);
    }
    tokio::task::spawn_blocking(move || reader.finish()).await.unwrap().unwrap();
    for file in std::fs::read_dir(&histories).unwrap() {
        evidence.lines.extend(history::read(&file.unwrap().path()).unwrap());
    }
    let report = judge(&evidence);
    assert!(report.broken().is_empty(), "{report:#?}");
    assert_eq!(report.counts.echo, 0, "an idempotent producer's retry must not stand twice");
}
