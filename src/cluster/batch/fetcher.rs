//! The tasks behind a source: one finds leaders, one per leader fetches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use causeway_wire::ErrorCode;
use causeway_wire::client::Isolation;
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use tokio::task::JoinSet;

use super::budget::Hold;
use super::piece::{Cut, Pieces, cut};
use super::source::{Reader, Shared};
use crate::cluster::carried::Carried;
use crate::cluster::ports::SourceEvent;
use crate::core::batch::{Batch, Session, Shape, SourceEnds, SourceRange, Summary};
use crate::core::ids::{LaneId, LeaderEpoch, SourceOffset};
use crate::core::lane::Failure;

/// Bytes asked for in one fetch: what one round trip of 100 ms brings at 640 Mbit/s, and a quarter of what may be held.
const FETCH_BYTES: usize = 8 << 20;
/// Bytes asked for of one partition, at least: less would be mostly requests.
const PARTITION_BYTES_MIN: usize = 256 << 10;
/// How long a broker may hold a fetch back when there is nothing. A lane that comes or goes on meanwhile waits for its answer.
const FETCH_WAIT: Duration = Duration::from_millis(100);
/// A lane may hold this share of what all may hold; so one whose target stands still does not hold up the others.
const LANE_SHARE: usize = 2;
/// Source batches handed out together: with small ones an answer holds thousands, and they would become durable all at once, late.
const PIECES_MAX: usize = 128;
/// Between two tries at a partition or broker that was not there.
const RETRY_WAIT: Duration = Duration::from_millis(250);
/// Between two looks at what has no leader.
const LOOK_WAIT: Duration = Duration::from_millis(250);

/// Finds leaders, and keeps one fetching task per leader, until dropped.
pub(super) async fn keep_fetching(shared: Arc<Shared>) {
    let mut tasks: HashMap<i32, tokio::task::AbortHandle> = HashMap::new();
    let mut set = JoinSet::new();
    loop {
        let changed = shared.changed.notified();
        find_leaders(&shared).await;
        let mut leaders: Vec<i32> = shared.readers().values().filter_map(|reader| reader.leader).collect();
        leaders.sort_unstable();
        leaders.dedup();
        for leader in leaders {
            if tasks.get(&leader).is_none_or(tokio::task::AbortHandle::is_finished) {
                tasks.insert(leader, set.spawn(fetch_from(shared.clone(), leader)));
            }
        }
        while set.try_join_next().is_some() {}
        let _looked_long_enough = tokio::time::timeout(LOOK_WAIT, changed).await;
    }
}

/// Looks up the leaders of lanes that have none, one request for all their topics.
async fn find_leaders(shared: &Shared) {
    let now = Instant::now();
    let due =
        |reader: &&Reader| reader.leader.is_none() && !reader.stopped && reader.not_before.is_none_or(|at| at <= now);
    let mut topics: Vec<String> =
        shared.readers().values().filter(due).map(|reader| reader.id.topic().as_str().to_owned()).collect();
    topics.sort_unstable();
    topics.dedup();
    if topics.is_empty() {
        return;
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    if let Err(error) = shared.client.metadata(Some(&names)).await {
        tracing::debug!(%error, "leaders of the source");
    }
    let mut readers = shared.readers();
    for reader in readers.values_mut().filter(|reader| reader.leader.is_none()) {
        let topic = shared.client.topic(reader.id.topic().as_str());
        let partition = topic.as_ref().and_then(|topic| topic.partitions.get(&reader.id.partition.0));
        reader.leader = partition.and_then(|partition| partition.leader);
        reader.not_before = reader.leader.is_none().then(|| now + RETRY_WAIT);
    }
}

/// What was asked of a lane.
struct Asked {
    lane: LaneId,
    session: Session,
    from: SourceOffset,
    held: Arc<AtomicUsize>,
}

/// Fetches from one broker as long as it leads lanes.
async fn fetch_from(shared: Arc<Shared>, leader: i32) {
    loop {
        let room = shared.budget.room().await;
        let changed = shared.changed.notified();
        let (request, asked) = request(&shared, leader, room);
        if asked.is_empty() {
            if !shared.readers().values().any(|reader| reader.leader == Some(leader)) {
                return;
            }
            let _looked_long_enough = tokio::time::timeout(FETCH_WAIT, changed).await;
            continue;
        }
        let at = Instant::now();
        match shared.client.node(leader, request).await {
            Ok(answer) if answer.error_code == 0 => take_answer(&shared, answer, asked, at).await,
            Ok(answer) => {
                tracing::debug!(leader, code = %ErrorCode(answer.error_code), "fetch");
                lose_leader(&shared, asked.values());
                tokio::time::sleep(RETRY_WAIT).await;
            }
            Err(error) => {
                tracing::debug!(leader, %error, "fetch");
                lose_leader(&shared, asked.values());
                tokio::time::sleep(RETRY_WAIT).await;
            }
        }
    }
}

/// Lanes by topic (its name where the cluster has no IDs) and partition.
type AskedLanes = HashMap<(causeway_wire::Uuid, String, i32), Asked>;

/// One request for everything that the broker leads and that may be read now.
fn request(shared: &Shared, leader: i32, room: usize) -> (FetchRequest, AskedLanes) {
    let now = Instant::now();
    let lane_max = super::budget::BYTES_MAX / LANE_SHARE;
    let mut asked = HashMap::new();
    let mut topics: BTreeMap<&LaneId, ()> = BTreeMap::new();
    let readers = shared.readers();
    for reader in readers.values() {
        let readable = reader.leader == Some(leader)
            && !reader.stopped
            && !reader.paused
            && reader.not_before.is_none_or(|at| at <= now)
            && reader.held.load(Ordering::Relaxed) < lane_max;
        if readable {
            topics.insert(&reader.id, ());
        }
    }
    let max = room.min(FETCH_BYTES);
    let partition_max = (max / topics.len().max(1)).max(PARTITION_BYTES_MIN);
    let mut list: Vec<FetchTopic> = Vec::new();
    for lane in topics.into_keys() {
        let Some(reader) = readers.get(lane) else { continue };
        let topic_id = causeway_wire::Uuid(lane.generation.id.0);
        let partition = FetchPartition {
            partition: lane.partition.0,
            fetch_offset: reader.next.get(),
            log_start_offset: -1,
            partition_max_bytes: i32::try_from(partition_max).unwrap_or(i32::MAX),
            ..Default::default()
        };
        match list.last_mut() {
            Some(topic) if topic.topic == lane.topic().as_str() && topic.topic_id == topic_id => {
                topic.partitions.push(partition);
            }
            _ => {
                list.push(FetchTopic { topic: lane.topic().as_str().to_owned(), topic_id, partitions: vec![partition] })
            }
        }
        let name = if topic_id.is_zero() { lane.topic().as_str().to_owned() } else { String::new() };
        let entry = Asked { lane: lane.clone(), session: reader.session, from: reader.next, held: reader.held.clone() };
        asked.insert((topic_id, name, lane.partition.0), entry);
    }
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: i32::try_from(FETCH_WAIT.as_millis()).unwrap_or(i32::MAX),
        min_bytes: 1,
        max_bytes: i32::try_from(max).unwrap_or(i32::MAX),
        isolation_level: Isolation::ReadCommitted.code(),
        topics: list,
        ..Default::default()
    };
    (request, asked)
}

async fn take_answer(shared: &Arc<Shared>, answer: FetchResponse, mut asked: AskedLanes, at: Instant) {
    for topic in answer.responses {
        for partition in topic.partitions {
            let name = if topic.topic_id.is_zero() { topic.topic.clone() } else { String::new() };
            if let Some(asked) = asked.remove(&(topic.topic_id, name, partition.partition_index)) {
                take_partition(shared, asked, partition, at).await;
            }
        }
    }
    if answer.throttle_time_ms > 0 {
        tokio::time::sleep(Duration::from_millis(answer.throttle_time_ms.unsigned_abs().into())).await;
    }
}

async fn take_partition(shared: &Arc<Shared>, asked: Asked, data: PartitionData, at: Instant) {
    match ErrorCode(data.error_code) {
        ErrorCode::NONE => read(shared, asked, data, at).await,
        ErrorCode::OFFSET_OUT_OF_RANGE => look_into(shared, asked, true),
        ErrorCode::UNKNOWN_TOPIC_ID | ErrorCode::INCONSISTENT_TOPIC_ID | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
            look_into(shared, asked, false);
        }
        ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED => {
            let reason = format!("reading {}: {}", asked.lane, ErrorCode(data.error_code));
            stop(shared, &asked, Failure::Refuse { reason });
        }
        ErrorCode::CORRUPT_MESSAGE | ErrorCode::UNKNOWN_SERVER_ERROR | ErrorCode::UNSUPPORTED_VERSION => {
            let reason = format!("reading {}: {}", asked.lane, ErrorCode(data.error_code));
            stop(shared, &asked, Failure::Retry { reason });
        }
        code => {
            tracing::debug!(lane = %asked.lane, %code, "fetch");
            lose_leader(shared, std::iter::once(&asked));
        }
    }
}

/// Hands out what was read, if the lane still stands where it was asked for.
async fn read(shared: &Shared, asked: Asked, data: PartitionData, at: Instant) {
    let ends = SourceEnds {
        log_start: SourceOffset(data.log_start_offset.max(0)),
        high_watermark: SourceOffset(data.high_watermark),
        last_stable: SourceOffset(if data.last_stable_offset < 0 {
            data.high_watermark
        } else {
            data.last_stable_offset
        }),
        leader_epoch: LeaderEpoch(-1),
    };
    let aborted = data.aborted_transactions.unwrap_or_default();
    let mut cut = cut(data.records.unwrap_or_default(), &aborted, asked.from);
    if let Some(origins) = &shared.origins
        && let Err(error) = origins.tell(&mut cut.list).await
    {
        let reason = format!("asking where records of {} were born: {error}", asked.lane);
        return stop(shared, &asked, Failure::Retry { reason });
    }
    let mut readers = shared.readers();
    let Some(reader) = readers.get_mut(&asked.lane).filter(|reader| stands(reader, &asked)) else { return };
    let ends = SourceEnds { leader_epoch: LeaderEpoch(cut.leader_epoch), ..ends };
    shared.ends.note(reader.key(), ends, at);
    reader.next = cut.to;
    let became_end = cut.to >= ends.last_stable && cut.to == asked.from;
    let caught_up = became_end && !std::mem::replace(&mut reader.at_end, became_end);
    if let Some((range, reason)) = &cut.damage
        && cut.to == asked.from
    {
        reader.stopped = true;
        let failure = Failure::Poison { range: *range, reason: reason.clone() };
        drop(readers);
        return shared.say(SourceEvent::Failed { lane: asked.lane, session: asked.session, failure });
    }
    drop(readers);
    if cut.to > asked.from {
        hand_out(shared, &asked, cut, ends);
    } else if caught_up {
        shared.say(SourceEvent::CaughtUp { lane: asked.lane, session: asked.session, ends });
    }
}

/// Hands out what was read in parts of at most [`PIECES_MAX`]: a part is written down when all of it is acknowledged.
fn hand_out(shared: &Shared, asked: &Asked, cut: Cut, ends: SourceEnds) {
    // what was read is at least as far as the leader's word about its end
    let last_stable = ends.last_stable.max(cut.to);
    let ends = SourceEnds { last_stable, high_watermark: ends.high_watermark.max(last_stable), ..ends };
    let (mut from, mut rest) = (asked.from, cut.list);
    while from < cut.to {
        let next = rest.split_off(rest.len().min(PIECES_MAX));
        let to = next.first().map_or(cut.to, |piece| piece.covers().from);
        let mut pieces = Pieces { list: rest, hold: None };
        let (range, (records, bytes)) = (SourceRange::new(from, to), pieces.size());
        pieces.hold = (bytes > 0).then(|| Hold::of_lane(&shared.budget, bytes as usize, asked.held.clone()));
        let shape = if u64::from(records) == range.offsets() { Shape::Dense } else { Shape::Holes };
        shared.say(SourceEvent::Batch(Batch {
            lane: asked.lane.clone(),
            session: asked.session,
            range,
            ends,
            summary: Summary { shape, records, bytes, ..cut.summary.clone() },
            payload: Carried::Pieces(pieces),
        }));
        (from, rest) = (to, next);
    }
}

fn stands(reader: &Reader, asked: &Asked) -> bool {
    reader.session == asked.session && reader.next == asked.from && !reader.stopped
}

fn stop(shared: &Shared, asked: &Asked, failure: Failure) {
    if let Some(reader) = shared.readers().get_mut(&asked.lane).filter(|reader| stands(reader, asked)) {
        reader.stopped = true;
        shared.say(SourceEvent::Failed { lane: asked.lane.clone(), session: asked.session, failure });
    }
}

fn lose_leader<'a>(shared: &Shared, lanes: impl Iterator<Item = &'a Asked>) {
    let mut readers = shared.readers();
    for asked in lanes {
        if let Some(reader) = readers.get_mut(&asked.lane) {
            (reader.leader, reader.not_before) = (None, Some(Instant::now() + RETRY_WAIT));
        }
    }
}

/// The leader does not have the place, or does not know the topic: its ends and its ID are looked up, and told if they explain it.
fn look_into(shared: &Arc<Shared>, asked: Asked, out_of_range: bool) {
    lose_leader(shared, std::iter::once(&asked));
    let shared = shared.clone();
    tokio::spawn(async move {
        let key = super::source::key_of(&asked.lane);
        let Ok(topic) = shared.admin.topic(&key.0).await else { return };
        let topic_id = topic.map(|topic| topic.id);
        let ends = shared.admin.source_ends(std::slice::from_ref(&key)).await;
        let ends = ends.ok().and_then(|mut ends| ends.remove(&key)?.ok());
        let other = topic_id.is_some_and(|id| !id.may_be(asked.lane.generation.id));
        // a topic that is not there may be one that the broker has not heard of yet: the ends board tells when it is gone for good
        let (Some(ends), true) = (ends, other || out_of_range) else { return };
        let mut readers = shared.readers();
        let Some(reader) = readers.get_mut(&asked.lane).filter(|reader| stands(reader, &asked)) else { return };
        reader.stopped = true;
        drop(readers);
        shared.say(SourceEvent::OutOfRange { lane: asked.lane, session: asked.session, topic_id, ends });
    });
}
