//! What must be on the disk, and whether a node that was started on it serves that.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use causeway_broker::Broker;
use causeway_wire::ErrorCode;
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::records::{Batches, decode_records};

use crate::lines;
use crate::mem_disk::MemDisk;
use crate::support::Raw;
use crate::txn_support::committed_offset;

pub const TOPICS: [&str; 4] = ["plain", "cut", "txn", "idem"];
/// Records of `plain` before the node was started the second time; the later ones have the next leader epoch.
pub const BEFORE_RESTART: i64 = 20;
/// A node that cannot find out in this time hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a group's offsets while they are not stable.
const PAUSE: Duration = Duration::from_millis(5);

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct Truth {
    /// Time of the first record, ms.
    pub began: i64,
    /// Records that a reader of `read_committed` must see: time (-1 if it is not checked) and value.
    pub records: BTreeMap<&'static str, BTreeMap<i64, (i64, String)>>,
    /// Where each topic begins, if not at 0.
    pub starts: BTreeMap<&'static str, i64>,
    /// Committed offsets for partition 0 of `plain`.
    pub groups: BTreeMap<&'static str, i64>,
    /// The last batch of the idempotent producer, and where it is.
    pub last_idempotent: Option<(Bytes, i64)>,
}

impl Truth {
    pub fn put(&mut self, topic: &'static str, offset: i64, time: i64, value: String) {
        assert!(self.records.entry(topic).or_default().insert(offset, (time, value)).is_none());
    }

    pub fn delete_before(&mut self, topic: &'static str, offset: i64) {
        self.starts.insert(topic, offset);
        self.records.get_mut(topic).unwrap().retain(|at, _| *at >= offset);
    }

    /// Offset of the first record not before `time`.
    fn since(&self, topic: &str, time: i64) -> i64 {
        self.records[topic].iter().find(|(_, (t, _))| *t >= time).map_or(-1, |(offset, _)| *offset)
    }
}

/// How it went where nothing was wrong.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is there.
    Right,
    /// Something is answered with an error, the rest is right.
    Refused(#[expect(dead_code, reason = "shown")] String),
    /// Acknowledged records at a log's end are gone, and the node's log says so.
    Lost(#[expect(dead_code, reason = "shown")] String),
}

/// Starts a node on the disk and reads all there is, most closely the topic whose file was damaged; all of them so if it is none's.
///
/// # Errors
/// Something is wrong: what.
pub async fn open(disk: &MemDisk, truth: &Truth, path: &Path) -> Result<Outcome, String> {
    lines::take();
    let judged = tokio::time::timeout(PATIENCE, async {
        let started = tokio::spawn({
            let disk = disk.clone();
            async move { crate::start(&disk).await }
        });
        let broker = match started.await.map_err(|panic| format!("start: {panic}"))? {
            Ok(broker) => broker,
            Err(error) => return Ok(Outcome::Refused(error.to_string())),
        };
        let judged = judge(&broker, truth, path).await;
        crate::stop(broker).await;
        judged
    });
    let judged = judged.await.map_err(|_| "it hangs".to_owned())?;
    if let Some(line) = lines::take().iter().find(|line| line.contains("panicked")) {
        return Err(line.clone());
    }
    judged
}

async fn judge(broker: &Broker, truth: &Truth, path: &Path) -> Result<Outcome, String> {
    let mut raw = Raw::connect(broker).await;
    let (mut refused, mut lost, mut said) = (None, None, lines::take());
    let dir = path.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    for topic in TOPICS {
        let closely = !dir.ends_with("-0") || dir.strip_suffix("-0") == Some(topic);
        match Reading::of(&mut raw, topic, closely, truth.starts.get(topic).copied().unwrap_or(0)).await? {
            Reading { refused: Some(code), records, .. } => {
                part_of(&records, &truth.records[topic], topic)?;
                refused = Some(format!("{topic}: {}", code.name()));
                continue;
            }
            Reading { records, start, .. } => {
                part_of(&records, &truth.records[topic], topic)?;
                let whole = records.len() == truth.records[topic].len();
                if !whole {
                    said.extend(lines::take());
                    let line = said.iter().find(|line| line.contains(topic));
                    let line = line.ok_or_else(|| format!("{topic}: records are left out in silence: {said:?}"))?;
                    lost = Some(line.clone());
                    continue;
                }
                let wanted = truth.starts.get(topic).copied().unwrap_or(0);
                if start != wanted {
                    return Err(format!("{topic} begins at {start} and not at {wanted}"));
                }
            }
        }
        if closely && let Some(code) = times(&mut raw, topic, truth).await? {
            refused = Some(format!("{topic} by time: {}", code.name()));
        }
    }
    if lost.is_none() && refused.is_none() {
        retry(&mut raw, truth).await?;
    }
    for (group, offset) in &truth.groups {
        match stable(&mut raw, group).await {
            (0, found) if found == *offset => {}
            (0, found) => {
                said.extend(lines::take());
                let line = said.iter().find(|line| line.contains("__consumer_offsets"));
                lost = Some(line.ok_or_else(|| format!("{group} is at {found} and not at {offset}"))?.clone());
            }
            (code, _) => refused = Some(format!("{group}: {}", ErrorCode(code).name())),
        }
    }
    Ok(match (lost, refused) {
        (Some(lost), _) => Outcome::Lost(lost),
        (None, Some(refused)) => Outcome::Refused(refused),
        (None, None) => Outcome::Right,
    })
}

/// Every record that is served is one that was acknowledged, and they are there from the first one on without a hole.
fn part_of(
    found: &BTreeMap<i64, (i64, String)>,
    truth: &BTreeMap<i64, (i64, String)>,
    topic: &str,
) -> Result<(), String> {
    for ((offset, (time, value)), wanted) in found.iter().zip(truth) {
        let (at, (when, what)) = wanted;
        if (offset, value) != (at, what) || (*when >= 0 && time != when) {
            return Err(format!("{topic}: {offset} {time} {value:?} instead of {at} {when} {what:?}"));
        }
    }
    match found.len() > truth.len() {
        true => Err(format!("{topic}: {} records, {} were acknowledged", found.len(), truth.len())),
        false => Ok(()),
    }
}

/// The idempotent producer sends its last batch again and gets the same answer.
async fn retry(raw: &mut Raw, truth: &Truth) -> Result<(), String> {
    let (batch, offset) = truth.last_idempotent.clone().unwrap();
    let answer = raw.produce("idem", batch).await;
    match answer.error_code == 0 && answer.base_offset == offset {
        true => Ok(()),
        false => Err(format!("a retry of offset {offset} was answered {answer:?}")),
    }
}

async fn stable(raw: &mut Raw, group: &str) -> (i16, i64) {
    let mut answer = (ErrorCode::UNSTABLE_OFFSET_COMMIT.0, -1);
    for _ in 0..20 {
        answer = committed_offset(raw, group, "plain", true).await;
        if answer.0 != ErrorCode::UNSTABLE_OFFSET_COMMIT.0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    answer
}

/// Offsets by time; the error if one is told.
async fn times(raw: &mut Raw, topic: &str, truth: &Truth) -> Result<Option<ErrorCode>, String> {
    let records = &truth.records[topic];
    if records.values().any(|(time, _)| *time < 0) {
        return Ok(None);
    }
    let mut wanted: BTreeSet<i64> = records.values().step_by(2).map(|(time, _)| time + 1).collect();
    wanted.extend(records.values().skip(1).step_by(2).map(|(time, _)| *time));
    for time in wanted {
        match by_time(raw, topic, time).await {
            (0, offset) if offset == truth.since(topic, time) => {}
            (0, offset) => {
                let right = truth.since(topic, time);
                return Err(format!("{topic} at {}: {offset} and not {right}", time - truth.began));
            }
            (code, _) => return Ok(Some(ErrorCode(code))),
        }
    }
    let largest = records.values().map(|(time, _)| *time).max().unwrap();
    match by_time(raw, topic, -3).await {
        (0, offset) if offset == truth.since(topic, largest) => Ok(None),
        (0, offset) => Err(format!("{topic}: the largest time is at {offset}")),
        (code, _) => Ok(Some(ErrorCode(code))),
    }
}

async fn by_time(raw: &mut Raw, topic: &str, timestamp: i64) -> (i16, i64) {
    let partition = ListOffsetsPartition { timestamp, current_leader_epoch: -1, ..Default::default() };
    let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    let found = raw.call(7, &request).await.topics[0].partitions[0].clone();
    (found.error_code, found.offset)
}

/// All that a reader of `read_committed` gets.
#[derive(Debug, Default)]
struct Reading {
    records: BTreeMap<i64, (i64, String)>,
    start: i64,
    refused: Option<ErrorCode>,
}

impl Reading {
    /// Reads in one go, and `closely` batch by batch, too: indexes are used for the one, and not for the other.
    async fn of(raw: &mut Raw, topic: &str, closely: bool, start: i64) -> Result<Self, String> {
        let large = Self::with(raw, topic, start, 1 << 20).await?;
        if !closely {
            return Ok(large);
        }
        let mut small = Self::with(raw, topic, start, 1).await?;
        small.refused = small.refused.or(large.refused);
        match small.refused.is_some() || small.records == large.records {
            true => Ok(small),
            false => Err(format!(
                "{topic}: read in one go there are {} records, not {}",
                large.records.len(),
                small.records.len()
            )),
        }
    }

    async fn with(raw: &mut Raw, topic: &str, start: i64, bytes: i32) -> Result<Self, String> {
        let (mut out, mut next) = (Self { start, ..Self::default() }, start);
        loop {
            let data = fetch(raw, topic, next, bytes).await;
            out.start = data.log_start_offset;
            if data.error_code != 0 {
                out.refused = Some(ErrorCode(data.error_code));
                return Ok(out);
            }
            let before = next;
            let taken = std::panic::catch_unwind(AssertUnwindSafe(|| out.take(topic, data, &mut next)));
            taken.map_err(|_| format!("{topic}: what is served at {before} cannot be read"))??;
            if next == before {
                return Ok(out);
            }
        }
    }

    /// Takes an answer in as Kafka's consumer does.
    fn take(&mut self, topic: &str, data: PartitionData, next: &mut i64) -> Result<(), String> {
        let mut aborted = data.aborted_transactions.unwrap_or_default();
        aborted.sort_by_key(|txn| txn.first_offset);
        let mut dropping = BTreeSet::new();
        for found in Batches::new(data.records.unwrap_or_default()) {
            let found = found.map_err(|error| error.to_string())?;
            found.verify_crc().map_err(|error| format!("served at {}: {error}", found.header.base_offset))?;
            let header = found.header;
            *next = header.next_offset();
            aborted.retain(|txn| {
                let begun = txn.first_offset <= header.last_offset();
                begun.then(|| dropping.insert(txn.producer_id));
                !begun
            });
            // What was written before the node was started anew, and after it.
            let epoch = i32::from(topic == "plain" && header.base_offset >= BEFORE_RESTART);
            if !header.attributes.is_control() && header.partition_leader_epoch != epoch {
                return Err(format!("leader epoch {} at {}", header.partition_leader_epoch, header.base_offset));
            }
            let records = decode_records(&found, 1 << 20).map_err(|error| error.to_string())?;
            if header.attributes.is_control() {
                // Version and type, 0 for an abort.
                if records[0].key.as_deref() == Some(&[0; 4][..]) {
                    dropping.remove(&header.producer_id);
                }
            } else if !(header.attributes.is_transactional() && dropping.contains(&header.producer_id)) {
                for record in records {
                    let value = String::from_utf8_lossy(&record.value.unwrap_or_default()).into_owned();
                    let offset = header.offset_at(record.offset_delta);
                    self.records.insert(offset, (header.timestamp_at(record.timestamp_delta), value));
                }
            }
        }
        Ok(())
    }
}

async fn fetch(raw: &mut Raw, topic: &str, from: i64, bytes: i32) -> PartitionData {
    let partition = FetchPartition {
        partition_max_bytes: bytes,
        fetch_offset: from,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        ..Default::default()
    };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    let request = FetchRequest { max_bytes: bytes, isolation_level: 1, topics, ..Default::default() };
    raw.call(12, &request).await.responses[0].partitions[0].clone()
}
