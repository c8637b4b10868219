//! A whole node on a disk in memory that fails at the n-th operation, fills up, or loses power: with plain, idempotent and transactional producers and
//! committing groups, no answer that was given is lost or changed afterwards, and nothing wrong is ever served. A failed flush ends the node with an
//! error that names the directory; a full disk ends nothing.
//!
//! CI walks over every few operations; `CAUSEWAY_FAULT_STEP=1` walks over every one.
#![allow(clippy::unwrap_used, clippy::needless_update, clippy::print_stdout, reason = "tests")]

#[allow(dead_code, reason = "the log's own tests use more of it")]
#[path = "../src/log/tests/mem_disk.rs"]
mod mem_disk;
#[path = "disk_faults/story.rs"]
mod story;
mod support;
mod txn_support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig, BrokerError, log};
use causeway_wire::ErrorCode;
use causeway_wire::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use causeway_wire::messages::describe_log_dirs::DescribeLogDirsRequest;
use causeway_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::messages::metadata::MetadataRequest;
use causeway_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use mem_disk::{Faults, Hit, MemDisk};
use story::{Story, own};
use support::{Raw, batch, produce_request};
use txn_support::Client;

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Of so many operations one is made to fail.
fn stride(short: usize) -> usize {
    std::env::var("CAUSEWAY_FAULT_STEP").ok().map_or(short, |step| step.parse().expect("a number"))
}

async fn start(disk: &MemDisk) -> Result<Broker, BrokerError> {
    let mut properties = Properties::default();
    for (key, value) in [
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", "/causeway-on-a-disk-in-memory"),
        ("log.segment.bytes", "500"),
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.num.partitions", "1"),
        ("cluster.id", "faults"),
    ] {
        properties.set(key, value);
    }
    Broker::start_on(BrokerConfig::from_properties(&properties).unwrap(), Arc::new(disk.clone())).await
}

async fn stop(broker: Broker) {
    tokio::time::timeout(PATIENCE, broker.shutdown()).await.expect("it ends");
}

/// What was left on the disk is opened, checked, worked on and checked again, twice: after a crash and after a clean stop.
async fn afterwards(disk: &MemDisk, story: &mut Story, what: &str) {
    for round in ["after a crash", "after a clean stop"] {
        let what = format!("{what}, {round}");
        let broker = start(disk).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        if story.topics.contains("plain") {
            story.check(&broker, false, &what).await;
        }
        let mut client = Client::connect(&broker, "x").await;
        assert!(own(&mut client, disk).await, "{what}: the transactional id is not given");
        story.check(&broker, true, &what).await;
        story.tell(&broker, disk).await;
        assert!(own(&mut client, disk).await, "{what}: the transactional id is not given again");
        story.check(&broker, true, &what).await;
        stop(broker).await;
    }
}

/// One history with one fault; false once the fault would come after its end.
async fn history(faults: Faults, seed: u64, what: &str) -> Option<Option<Hit>> {
    let disk = MemDisk::default().with_atomic_renames();
    disk.set_faults(faults.clone());
    let mut story = Story::default();
    let lost_power = seed % 2 == 1;
    let image = |disk: &MemDisk| if lost_power { disk.rebooted(seed) } else { disk.copied() };
    let image = match start(&disk).await {
        Err(error) => {
            assert!(disk.hit().is_some() || faults.full_from.is_some(), "{what}: {error}");
            image(&disk)
        }
        Ok(broker) => {
            if faults.full_from.is_some() {
                full_for_a_while(&broker, &disk, &mut story).await;
            } else {
                story.tell(&broker, &disk).await;
            }
            if disk.hit() == Some(Hit::Flush) {
                let why = tokio::time::timeout(PATIENCE, broker.failed()).await.expect("it does not go on");
                assert!(why.contains("/causeway-on-a-disk-in-memory") && why.contains("injected"), "{what}: {why}");
            } else {
                story.check(&broker, false, what).await;
            }
            let image = image(&disk);
            stop(broker).await;
            image
        }
    };
    if disk.is_fault_pending() {
        return None;
    }
    afterwards(&image, &mut story, what).await;
    Some(disk.hit())
}

/// While there is no room, steps fail; none may hang. Once there is, the same node takes everything again.
async fn full_for_a_while(broker: &Broker, disk: &MemDisk, story: &mut Story) {
    let telling = async {
        let relieve = async {
            while disk.is_fault_pending() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            disk.set_faults(Faults::default());
        };
        tokio::select! {
            // Should the load be over first, the fault is still to come.
            () = story.tell(broker, disk) => {}
            () = async { relieve.await; std::future::pending().await } => {}
        }
    };
    tokio::time::timeout(PATIENCE, telling).await.expect("nothing hangs");
}

fn walk(short: usize, faults: impl Fn(u32) -> Faults, what: &str) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (mut flushes, mut others) = (0, 0);
    for n in (0..).step_by(stride(short)) {
        let what = format!("{what} at operation {n}");
        match runtime.block_on(history(faults(n), u64::from(n), &what)) {
            None => break,
            Some(Some(Hit::Flush)) => flushes += 1,
            Some(_) => others += 1,
        }
    }
    println!("{what}: {flushes} failed flushes, {others} others");
    (flushes, others)
}

#[test]
fn whatever_operation_fails_nothing_acknowledged_is_lost_and_a_failed_flush_ends_the_node() {
    let fault = |n| Faults { change: Some((n, ErrorKind::Other)), ..Faults::default() };
    let (flushes, others) = walk(5, fault, "input/output error");
    assert!(flushes > 5 && others > 5, "the walk was long enough");
}

#[test]
fn a_full_disk_is_survived_wherever_it_comes_and_the_node_recovers_by_itself() {
    let fault = |n: u32| Faults { full_from: Some((n, n as usize * 7 % 90)), ..Faults::default() };
    let (_, others) = walk(7, fault, "full disk");
    assert!(others > 10, "the walk was long enough");
}

/// Error codes of a partition by what is asked of it.
async fn asked(raw: &mut Raw, partition: i32) -> Vec<(&'static str, i16)> {
    let mut codes = Vec::new();
    let topic = || "t".to_owned();
    let mut request = produce_request("t", -1, batch(&["x"]));
    request.topic_data[0].partition_data[0].index = partition;
    codes.push(("Produce", raw.call(9, &request).await.responses[0].partition_responses[0].error_code));
    let wanted = FetchPartition { partition, partition_max_bytes: 1 << 20, ..Default::default() };
    let topics = vec![FetchTopic { topic: topic(), partitions: vec![wanted], ..Default::default() }];
    let answer = raw.call(12, &FetchRequest { max_bytes: 1 << 20, topics, ..Default::default() }).await;
    let data = &answer.responses[0].partitions[0];
    if data.error_code != 0 {
        assert!(data.records.as_ref().is_none_or(bytes::Bytes::is_empty), "nothing is served beside the error");
    }
    codes.push(("Fetch", data.error_code));
    let wanted = ListOffsetsPartition { partition_index: partition, timestamp: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic(), partitions: vec![wanted], ..Default::default() }];
    let answer = raw.call(8, &ListOffsetsRequest { topics, ..Default::default() }).await;
    codes.push(("ListOffsets", answer.topics[0].partitions[0].error_code));
    let wanted = OffsetForLeaderPartition { partition, current_leader_epoch: -1, ..Default::default() };
    let topics = vec![OffsetForLeaderTopic { topic: topic(), partitions: vec![wanted], ..Default::default() }];
    let answer = raw.call(4, &OffsetForLeaderEpochRequest { topics, ..Default::default() }).await;
    codes.push(("OffsetForLeaderEpoch", answer.topics[0].partitions[0].error_code));
    let wanted = DeleteRecordsPartition { partition_index: partition, offset: 0, ..Default::default() };
    let topics = vec![DeleteRecordsTopic { name: topic(), partitions: vec![wanted], ..Default::default() }];
    let answer = raw.call(2, &DeleteRecordsRequest { topics, timeout_ms: 1_000, ..Default::default() }).await;
    codes.push(("DeleteRecords", answer.topics[0].partitions[0].error_code));
    let topics = vec![TopicRequest { name: topic(), partition_indexes: vec![partition], ..Default::default() }];
    let answer = raw.call(0, &DescribeProducersRequest { topics, ..Default::default() }).await;
    codes.push(("DescribeProducers", answer.topics[0].partitions[0].error_code));
    codes
}

/// Directory of each partition of the topic.
async fn homes(raw: &mut Raw) -> Vec<(i32, String)> {
    let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
    let mut homes = Vec::new();
    for dir in raw.call(4, &request).await.results {
        for topic in dir.topics.into_iter().filter(|topic| topic.name == "t") {
            homes.extend(topic.partitions.iter().map(|p| (p.partition_index, dir.log_dir.clone())));
        }
    }
    homes.sort();
    homes
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_a_failed_directory_have_no_leader_and_are_not_served_while_the_others_go_on() {
    let disk = MemDisk::default();
    let mut properties = Properties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
    properties.set("log.dirs", "/nowhere/one,/nowhere/two");
    let config = BrokerConfig::from_properties(&properties).unwrap();
    let broker = Broker::start_on(config, Arc::new(disk.clone())).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 2, &[]).await, 0);
    for partition in 0..2 {
        let codes = asked(&mut raw, partition).await;
        assert!(codes.iter().all(|(_, code)| *code == 0), "{codes:?}");
    }
    let homes = homes(&mut raw).await;
    // The metadata lies in the first one, without which the node does not go on.
    let (lost, _) = homes.iter().find(|(_, dir)| dir == "/nowhere/two").expect("one partition in each").clone();
    let kept = 1 - lost;
    disk.set_faults(Faults { sync: Some(0), ..Faults::default() });
    let mut request = produce_request("t", -1, batch(&["never acknowledged"]));
    request.topic_data[0].partition_data[0].index = lost;
    let storage = ErrorCode::KAFKA_STORAGE_ERROR.0;
    assert_eq!(raw.call(9, &request).await.responses[0].partition_responses[0].error_code, storage);
    for (what, code) in asked(&mut raw, lost).await {
        assert_eq!(code, storage, "{what}");
    }
    let codes = asked(&mut raw, kept).await;
    assert!(codes.iter().all(|(_, code)| *code == 0), "{codes:?}");
    let answer = raw.call(9, &MetadataRequest { topics: None, ..Default::default() }).await;
    let shown = |number: i32| answer.topics[0].partitions.iter().find(|p| p.partition_index == number).unwrap();
    assert_eq!(shown(lost).error_code, ErrorCode::LEADER_NOT_AVAILABLE.0);
    assert_eq!((shown(lost).leader_id, shown(lost).offline_replicas.len()), (-1, 1));
    assert_eq!((shown(kept).error_code, shown(kept).offline_replicas.len()), (0, 0));
    assert!(shown(kept).leader_id >= 0);
    // The node itself goes on.
    assert!(tokio::time::timeout(Duration::from_millis(50), broker.failed()).await.is_err());
    stop(broker).await;
}
