//! One flipped bit, anywhere in what a stopped node left on its disk: after a clean stop and after `kill -9`. Opened again, the node serves exactly what
//! was acknowledged, or refuses with an error or a line in its log; it never serves anything else, leaves out anything in silence, panics or hangs.
//!
//! CI flips one bit of every n-th byte; `CAUSEWAY_FLIP_STEP=1` takes every byte, `CAUSEWAY_FLIP_BITS=8` every bit of it, `CAUSEWAY_FLIP_FILE` only the
//! files whose path has that text.
#![allow(clippy::unwrap_used, clippy::needless_update, clippy::print_stdout, reason = "tests")]

#[path = "bit_flips/judge.rs"]
mod judge;
#[path = "bit_flips/lines.rs"]
mod lines;
#[allow(dead_code, reason = "the log's own tests use more of it")]
#[path = "../src/log/tests/mem_disk.rs"]
mod mem_disk;
mod support;
mod txn_support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig, BrokerError, log};
use causeway_wire::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use causeway_wire::messages::find_coordinator::FindCoordinatorRequest;
use causeway_wire::messages::init_producer_id::InitProducerIdRequest;
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use causeway_wire::records::{BatchBuilder, Codec};
use judge::{Outcome, Truth};
use mem_disk::MemDisk;
use support::Raw;
use txn_support::Client;

const DIR: &str = "/causeway-on-a-disk-in-memory";
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes between two flips, unless `CAUSEWAY_FLIP_STEP` says otherwise; a prime, so that all fields of a format get their turn.
const STEP: usize = 131;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

async fn start(disk: &MemDisk) -> Result<Broker, BrokerError> {
    let mut properties = Properties::default();
    for (key, value) in [
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", DIR),
        ("log.segment.bytes", "900"),
        ("log.index.interval.bytes", "150"),
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.num.partitions", "1"),
    ] {
        properties.set(key, value);
    }
    Broker::start_on(BrokerConfig::from_properties(&properties).unwrap(), Arc::new(disk.clone())).await
}

fn one(builder: BatchBuilder, time: i64, value: &str) -> Bytes {
    let mut builder = builder;
    builder.push(time, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    builder.build().unwrap()
}

/// Plain records, some later ones with earlier times, and some with the same.
async fn plain(raw: &mut Raw, truth: &mut Truth, topic: &'static str, from: usize, to: usize) {
    for n in from..to {
        let time = truth.began + [0, 4_000, 1_000, 1_000, 9_000][n % 5] + n as i64 / 5 * 5_000;
        let value = format!("{topic}-{n} {}", "x".repeat(20 + n % 60));
        let answer = raw.produce(topic, one(BatchBuilder::new(Codec::None), time, &value)).await;
        assert_eq!(answer.error_code, 0);
        truth.put(topic, answer.base_offset, time, value);
    }
}

async fn idempotent(raw: &mut Raw, truth: &mut Truth) {
    let request =
        InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
    let given = raw.call(4, &InitProducerIdRequest { producer_id: -1, producer_epoch: -1, ..request }).await;
    assert_eq!(given.error_code, 0);
    for sequence in 0..11 {
        let time = truth.began + i64::from(sequence);
        let builder = BatchBuilder::new(Codec::None).producer(given.producer_id, given.producer_epoch, sequence);
        let value = format!("idem-{sequence}");
        let batch = one(builder, time, &value);
        let answer = raw.produce("idem", batch.clone()).await;
        assert_eq!(answer.error_code, 0);
        truth.put("idem", answer.base_offset, time, value);
        truth.last_idempotent = Some((batch, answer.base_offset));
    }
}

async fn commit(raw: &mut Raw, truth: &mut Truth, group: &'static str, offset: i64) {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: "plain".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    assert_eq!(raw.call(8, &request).await.topics[0].partitions[0].error_code, 0);
    truth.groups.insert(group, offset);
}

async fn transactions(broker: &Broker, truth: &mut Truth) {
    let mut client = Client::new(broker, "x").await;
    for n in 0..7 {
        let keep = n % 3 == 0;
        for part in 0..2 {
            let value = format!("txn-{n}-{part} {}", "y".repeat(40));
            let answer = client.write(12, "txn", &[&value]).await;
            assert_eq!(answer.error_code, 0);
            if keep {
                truth.put("txn", answer.base_offset, -1, value);
            }
        }
        let committed = client.commit_offset(5, "txn-places", "plain", n).await;
        assert_eq!(committed, 0);
        client.end(5, keep).await;
        client.wait_state(if keep { "CompleteCommit" } else { "CompleteAbort" }).await;
        if keep {
            truth.groups.insert("txn-places", n);
        }
    }
}

/// Fills a disk; returns it as a clean stop and as `kill -9` left it.
async fn filled() -> (Truth, Vec<(&'static str, MemDisk)>) {
    let disk = MemDisk::default().with_atomic_renames();
    let mut truth = Truth { began: support::now() - 3_600_000, ..Truth::default() };
    let broker = start(&disk).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    for topic in judge::TOPICS {
        assert_eq!(raw.create(topic, 1, &[]).await, 0);
    }
    for key_type in [0, 1] {
        let keys = vec!["x".to_owned()];
        raw.call(4, &FindCoordinatorRequest { key_type, coordinator_keys: keys, ..Default::default() }).await;
    }
    plain(&mut raw, &mut truth, "plain", 0, judge::BEFORE_RESTART as usize).await;
    plain(&mut raw, &mut truth, "cut", 0, 11).await;
    for offset in 1..6 {
        commit(&mut raw, &mut truth, "places", offset).await;
    }
    transactions(&broker, &mut truth).await;
    idempotent(&mut raw, &mut truth).await;
    let partition = DeleteRecordsPartition { partition_index: 0, offset: 5, ..Default::default() };
    let topics = vec![DeleteRecordsTopic { name: "cut".into(), partitions: vec![partition], ..Default::default() }];
    let request = DeleteRecordsRequest { topics, timeout_ms: 10_000, ..Default::default() };
    assert_eq!(raw.call(2, &request).await.topics[0].partitions[0].error_code, 0);
    truth.delete_before("cut", 5);
    stop(broker).await;

    // Once more, so that there are files which survived a stop, and a tail behind them.
    let broker = start(&disk).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    plain(&mut raw, &mut truth, "plain", judge::BEFORE_RESTART as usize, judge::BEFORE_RESTART as usize + 4).await;
    commit(&mut raw, &mut truth, "places", 7).await;
    let killed = disk.copied();
    stop(broker).await;
    (truth, vec![("clean", disk.copied()), ("killed", killed)])
}

async fn stop(broker: Broker) {
    tokio::time::timeout(PATIENCE, broker.shutdown()).await.expect("it ends");
}

/// All files, in the directory and in those of its partitions.
fn files(disk: &MemDisk) -> Vec<PathBuf> {
    let root = Path::new(DIR);
    let mut dirs = vec![root.to_owned()];
    let entries = log::Disk::list(disk, root).unwrap();
    dirs.extend(entries.iter().filter(|entry| entry.is_dir).map(|entry| root.join(&entry.name)));
    dirs.iter().flat_map(|dir| disk.files(dir)).collect()
}

/// What a file is, for the count of outcomes.
fn kind(path: &Path) -> String {
    let ending = path.extension().filter(|_| path.parent() != Some(Path::new(DIR)));
    let ending = ending.map(|ending| format!("*.{}", ending.display()));
    ending.unwrap_or_else(|| path.file_name().unwrap().display().to_string())
}

#[test]
fn a_flipped_bit_is_harmless_or_refused_and_never_wrong_data() {
    lines::keep();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (step, bits) = (setting("CAUSEWAY_FLIP_STEP", STEP), setting("CAUSEWAY_FLIP_BITS", 1));
    let only = std::env::var("CAUSEWAY_FLIP_FILE").unwrap_or_default();
    let keep_on = std::env::var("CAUSEWAY_FLIP_KEEP_ON").is_ok();
    let (truth, disks) = runtime.block_on(filled());
    let (mut counts, mut wrong) = (BTreeMap::<(&str, String), [usize; 3]>::new(), 0);
    let mut at_all = 0;
    for (how, disk) in &disks {
        // Undamaged it is right.
        let whole = runtime.block_on(judge::open(&disk.copied(), &truth, Path::new(DIR)));
        assert!(matches!(whole, Ok(Outcome::Right)), "{how}: {whole:?}");
        for path in files(disk).iter().filter(|path| path.to_str().unwrap().contains(&only)) {
            let content = disk.content(path).unwrap();
            // Short files are walked over in shorter steps.
            let step = step.min(content.len() / 3 + 1);
            for at in (at_all % step..content.len()).step_by(step) {
                at_all += 1;
                for bit in 0..bits {
                    let bit = if bits == 1 { (at / step + at) % 8 } else { bit };
                    let disk = disk.copied();
                    let mut damaged = content.clone();
                    damaged[at] ^= 1 << bit;
                    disk.put(path, &damaged);
                    let what = format!("{how}: {} byte {at} of {} bit {bit}", path.display(), content.len());
                    let outcome = runtime.block_on(judge::open(&disk, &truth, path));
                    let count = counts.entry((how, kind(path))).or_default();
                    match outcome {
                        Ok(Outcome::Right) => count[0] += 1,
                        Ok(Outcome::Refused(_)) => count[1] += 1,
                        Ok(Outcome::Lost(_)) => count[2] += 1,
                        Err(why) => {
                            wrong += 1;
                            println!("WRONG {what}: {why}");
                            assert!(keep_on, "{what}: {why}");
                        }
                    }
                }
            }
        }
    }
    for ((how, kind), [right, refused, lost]) in counts {
        println!("{how:6} {kind:36} right {right:5}, refused {refused:5}, lost and said so {lost:5}");
    }
    assert_eq!(wrong, 0);
}
