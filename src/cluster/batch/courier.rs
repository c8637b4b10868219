//! One courier per target broker: packs what its lanes have to write, one batch per lane and request, and takes the answers in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causeway_wire::client::{Answer, ClientError};
use causeway_wire::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use causeway_wire::records::{HeaderPatch, RecordError, recrc_header};
use causeway_wire::{ErrorCode, Uuid};
use tokio::sync::{Notify, mpsc};

use super::piece::Piece;
use super::rewrite::{self, room};
use super::sink::Shared;
use super::verdict;
use super::writer::{Phase, Queued, Writer};
use crate::core::batch::{Session, SourceRange};
use crate::core::ids::{LaneId, TargetOffset};
use crate::core::lane::Failure;

/// Bytes of one request: well below Kafka's `socket.request.max.bytes`, past which a broker closes the connection without a word.
const REQUEST_BYTES_MAX: usize = 8 << 20;
/// Bytes on their way to one broker.
const BYTES_ON_THE_WAY_MAX: usize = 32 << 20;
/// Requests on their way to one broker, for many small batches over a long line.
const REQUESTS_MAX: usize = 200;
/// With so many requests on their way, further ones wait until they have gathered [`GATHERED_BYTES`]: fewer, fuller requests cost both sides less.
const EAGER_REQUESTS: usize = 4;
/// See [`EAGER_REQUESTS`].
const GATHERED_BYTES: usize = 256 << 10;
/// How long a broker may wait for its replicas.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// A courier with nothing to do for so long ends; the steward sends for another one.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What was sent of a lane in one request.
struct Sent {
    lane: LaneId,
    session: Session,
    number: u64,
    piece: Piece,
}

/// A request on its way.
struct Load {
    sent: HashMap<(Uuid, String, i32), Sent>,
    bytes: usize,
}

/// What is on its way to the broker.
#[derive(Default)]
struct OnTheWay {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    answered: Notify,
}

/// Carries batches to one broker until it has led no lane for a while.
pub(super) async fn run(shared: Arc<Shared>, leader: i32) {
    let on_the_way = Arc::new(OnTheWay::default());
    let (loads, answers) = mpsc::channel(REQUESTS_MAX);
    let receiving = tokio::spawn(receive(shared.clone(), answers, on_the_way.clone()));
    send(&shared, leader, loads, &on_the_way).await;
    if let Err(error) = receiving.await {
        tracing::error!(leader, %error, "courier");
    }
}

type Carried = (Load, Answer<ProduceRequest>);

async fn send(shared: &Arc<Shared>, leader: i32, loads: mpsc::Sender<Carried>, on_the_way: &OnTheWay) {
    loop {
        let (due, answered) = (shared.due.notified(), on_the_way.answered.notified());
        let load = if may_send(shared, leader, on_the_way) { take(shared, leader) } else { None };
        let Some((load, request)) = load else {
            if may_send(shared, leader, on_the_way) && has_due(shared, leader) {
                continue; // what was looked at had landed before: the next in line may have not
            }
            let woken = async {
                tokio::select! {
                    () = due => {}
                    () = answered => {}
                }
            };
            let idle = tokio::time::timeout(IDLE_MAX, woken).await.is_err();
            if idle && !shared.lanes().writers.values().any(|writer| writer.leader == Some(leader)) {
                return;
            }
            continue;
        };
        let size = load.bytes + 1_024 + 128 * load.sent.len();
        match shared.client.begin(leader, &request, size).await {
            Ok(answer) => {
                on_the_way.requests.fetch_add(1, Ordering::AcqRel);
                on_the_way.bytes.fetch_add(load.bytes, Ordering::AcqRel);
                if loads.send((load, answer)).await.is_err() {
                    return;
                }
            }
            Err(error) => lost(shared, load, &error),
        }
    }
}

fn has_due(shared: &Shared, leader: i32) -> bool {
    shared.lanes().due.get(&leader).is_some_and(|due| !due.is_empty())
}

/// Whether another request may go: bounded by bytes and number, and not in drops when it could be gathered.
fn may_send(shared: &Shared, leader: i32, on_the_way: &OnTheWay) -> bool {
    let (requests, bytes) = (on_the_way.requests.load(Ordering::Acquire), on_the_way.bytes.load(Ordering::Acquire));
    if shared.abandoned.load(Ordering::Acquire) || requests >= REQUESTS_MAX || bytes >= BYTES_ON_THE_WAY_MAX {
        return false;
    }
    requests < EAGER_REQUESTS || {
        let lanes = shared.lanes();
        let mut due = lanes.due.get(&leader).into_iter().flatten().filter_map(|lane| lanes.writers.get(lane));
        let mut gathered = 0;
        due.any(|writer| {
            gathered += writer.queue.front().map_or(0, |queued| queued.piece.view.bytes.len());
            // what a lane has behind its first piece cannot travel with it: nothing is gained by waiting
            writer.queue.len() > 1 || gathered >= GATHERED_BYTES
        })
    }
}

/// One batch of each lane that has something to write, as far as a request reaches.
fn take(shared: &Shared, leader: i32) -> Option<(Load, ProduceRequest)> {
    let mut load = Load { sent: HashMap::new(), bytes: 0 };
    let mut topics: Vec<TopicProduceData> = Vec::new();
    let count = shared.lanes().due.get(&leader).map_or(0, std::collections::VecDeque::len);
    for _ in 0..count {
        if load.bytes >= REQUEST_BYTES_MAX {
            break;
        }
        let Some((lane, session, group)) = next_in_line(shared, leader, &load) else { continue };
        let outcome = fit(shared, &lane, session, group);
        let mut lanes = shared.lanes();
        let Some(writer) = lanes.writers.get_mut(&lane) else { continue };
        writer.in_hand = false;
        if let (Ok(Some(queued)), true) = (&outcome, writer.session == session && writer.phase == Phase::Ready) {
            let signed = signed(&queued.piece, writer.sign(queued.piece.records));
            match signed {
                Ok(records) => {
                    load.bytes += records.len();
                    let place = place(writer);
                    add(&mut topics, &place, records);
                    let sent = Sent { lane: lane.clone(), session, number: queued.number, piece: queued.piece.clone() };
                    load.sent.insert(place, sent);
                }
                Err(error) => {
                    drop(lanes);
                    let reason = format!("a batch of {lane} cannot be signed: {error}");
                    shared.fail(&lane, session, Failure::Bug { reason });
                    continue;
                }
            }
        }
        lanes.put(&lane);
        drop(lanes);
        if let Err(failure) = outcome {
            shared.fail(&lane, session, failure);
        }
    }
    if load.sent.is_empty() {
        return None;
    }
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: i32::try_from(ACK_TIMEOUT.as_millis()).unwrap_or(i32::MAX),
        topic_data: topics,
        ..Default::default()
    };
    Some((load, request))
}

/// The next lane of the courier, and what it has to write: one piece, or several tiny ones of one batch, which are worth being made one.
///
/// A partition stands in a request once, whoever asks for it: of two batches for it brokers keep the last one only, and answer that all is well.
fn next_in_line(shared: &Shared, leader: i32, load: &Load) -> Option<(LaneId, Session, Vec<Queued>)> {
    let mut lanes = shared.lanes();
    let lane = lanes.due.get_mut(&leader)?.pop_front()?;
    let writer = lanes.writers.get_mut(&lane)?;
    if load.sent.contains_key(&place(writer)) {
        lanes.due.entry(leader).or_default().push_back(lane);
        return None;
    }
    let may = writer.phase == Phase::Ready && writer.turn();
    if writer.phase == Phase::Open {
        shared.wanting.notify_one(); // its next piece is of an origin that it has no producer for
    }
    let group = if may { writer.next_group() } else { Vec::new() };
    writer.in_hand = !group.is_empty();
    writer.in_hand.then_some((lane, writer.session, group))
}

/// A lane's partition, as a request names it.
fn place(writer: &Writer) -> (Uuid, String, i32) {
    (Uuid(writer.topic_id.0), writer.topic.clone(), writer.id.partition.0)
}

fn add(topics: &mut Vec<TopicProduceData>, (topic_id, name, partition): &(Uuid, String, i32), records: Bytes) {
    let data = PartitionProduceData { index: *partition, records: Some(records) };
    match topics.iter_mut().find(|known| known.name == *name && known.topic_id == *topic_id) {
        Some(known) => known.partition_data.push(data),
        None => topics.push(TopicProduceData { name: name.clone(), topic_id: *topic_id, partition_data: vec![data] }),
    }
}

/// The batch with our producer in its header. Its range and its records stay as they are.
fn signed(piece: &Piece, producer: (i64, i16, i32)) -> Result<Bytes, RecordError> {
    let mut bytes = BytesMut::with_capacity(piece.view.bytes.len());
    bytes.extend_from_slice(&piece.view.bytes);
    recrc_header(&mut bytes[..], &HeaderPatch::pass_through(&piece.view.header, producer))?;
    Ok(bytes.freeze())
}

/// What of these pieces of one batch is to be written next: a single one goes as it is where the target takes it so; else they are read and
/// written anew, the first of the batches that they become is answered and the others go back in front of what waits. `None`: nothing is left.
fn fit(shared: &Shared, lane: &LaneId, session: Session, mut group: Vec<Queued>) -> Result<Option<Queued>, Failure> {
    let (bytes_max, tailed) = {
        let lanes = shared.lanes();
        let Some(writer) = lanes.writers.get(lane) else { return Ok(None) };
        (writer.bytes_max, !writer.tail.is_empty())
    };
    let as_it_is = |group: &[Queued]| match group {
        [Queued { piece, skip, .. }] => {
            piece.whole && skip.is_empty() && (piece.view.bytes.len() <= bytes_max || piece.records == 1)
        }
        _ => false,
    };
    if as_it_is(&group) && !tailed {
        return Ok(group.pop());
    }
    let Some(first) = group.first() else { return Ok(None) };
    let (number, codec) = (first.number, first.piece.view.header.attributes.codec());
    let born = first.piece.born.clone();
    let mut placed = Vec::new();
    for Queued { piece, skip, .. } in &group {
        let poison = |error: RecordError| Failure::Poison { range: piece.covers(), reason: error.to_string() };
        placed.extend(rewrite::read(piece, skip).map_err(poison)?);
    }
    let range = SourceRange::new(first.piece.covers().from, group[group.len() - 1].piece.covers().to);
    let poison = |error: RecordError| Failure::Poison { range, reason: error.to_string() };
    let mut found = Vec::new();
    if tailed {
        let mut lanes = shared.lanes();
        let current = |writer: &&mut Writer| writer.session == session;
        let Some(writer) = lanes.writers.get_mut(lane).filter(current) else { return Ok(None) };
        let before = placed.len();
        found = writer.tail.take(&mut placed);
        if placed.len() == before && as_it_is(&group) {
            return Ok(group.pop());
        }
    }
    let codec = codec.map_err(poison)?;
    let mut written = rewrite::write(&placed, codec, room(bytes_max)).map_err(poison)?.into_iter();
    let mut lanes = shared.lanes();
    let current = |writer: &&mut Writer| writer.session == session && writer.phase == Phase::Ready;
    let Some(writer) = lanes.writers.get_mut(lane).filter(current) else { return Ok(None) };
    writer.became(number, group.len(), written.len());
    writer.found(number, found);
    let done = writer.done(number);
    // what follows in the queue is looked at in its own turn
    let queued = |piece| Queued { number, piece: Piece { born: born.clone(), ..piece }, skip: Vec::new() };
    let first = written.next().map(queued);
    written.rev().for_each(|piece| writer.queue.push_front(queued(piece)));
    drop(lanes);
    if let Some(done) = done {
        shared.done(lane, done);
    }
    Ok(first)
}

/// Takes the answers, in the order of the requests.
async fn receive(shared: Arc<Shared>, mut answers: mpsc::Receiver<Carried>, on_the_way: Arc<OnTheWay>) {
    while let Some((load, answer)) = answers.recv().await {
        let bytes = load.bytes;
        match answer.take().await {
            Ok(answer) => answered(&shared, load, answer).await,
            Err(error) => lost(&shared, load, &error),
        }
        on_the_way.requests.fetch_sub(1, Ordering::AcqRel);
        on_the_way.bytes.fetch_sub(bytes, Ordering::AcqRel);
        on_the_way.answered.notify_waiters();
    }
}

/// Nobody knows whether it landed: the lanes begin anew, behind a fence.
fn lost(shared: &Shared, load: Load, error: &ClientError) {
    for sent in load.sent.into_values() {
        forget_leader(shared, &sent.lane);
        let reason = shared.admin.fail(error.clone()).to_string();
        let failure = if error.is_retriable() { Failure::Retry { reason } } else { Failure::Refuse { reason } };
        shared.fail(&sent.lane, sent.session, failure);
    }
}

async fn answered(shared: &Shared, mut load: Load, answer: ProduceResponse) {
    for topic in answer.responses {
        for partition in topic.partition_responses {
            let key = |sent: &&(Uuid, String, i32)| {
                sent.2 == partition.index
                    && if topic.name.is_empty() { sent.0 == topic.topic_id } else { sent.1 == topic.name }
            };
            let key = load.sent.keys().find(key).cloned();
            if let Some(sent) = key.and_then(|key| load.sent.remove(&key)) {
                take_partition(shared, sent, partition);
            }
        }
    }
    for sent in load.sent.into_values() {
        let reason = format!("the answer leaves {} out", sent.lane);
        shared.fail(&sent.lane, sent.session, Failure::Retry { reason });
    }
    if answer.throttle_time_ms > 0 {
        tokio::time::sleep(Duration::from_millis(answer.throttle_time_ms.unsigned_abs().into())).await;
    }
}

fn take_partition(shared: &Shared, sent: Sent, answer: PartitionProduceResponse) {
    let Sent { lane, session, number, piece } = sent;
    let code = ErrorCode(answer.error_code);
    if code == ErrorCode::NONE {
        let runs = piece.landed(TargetOffset(answer.base_offset));
        let mut lanes = shared.lanes();
        let current = |writer: &&mut Writer| writer.session == session && writer.phase != Phase::Failed;
        let done = lanes.writers.get_mut(&lane).filter(current).and_then(|writer| writer.landed(number, runs));
        lanes.put(&lane); // what waits for another producer's turn
        drop(lanes);
        if let Some(done) = done {
            shared.done(&lane, done);
        }
        return;
    }
    if verdict::is_about_the_leader(code) {
        forget_leader(shared, &lane);
    }
    if verdict::is_too_large(code) && piece.records > 1 {
        // what it takes is less than what its topic said: the next try sends halves
        if let Some(writer) = shared.lanes().writers.get_mut(&lane) {
            writer.bytes_max = writer.bytes_max.min(piece.view.bytes.len() / 2).max(1);
        }
    }
    let failure = verdict::failure(shared.admin.alias(), code, &answer, &piece);
    shared.fail(&lane, session, failure);
}

fn forget_leader(shared: &Shared, lane: &LaneId) {
    if let Some(writer) = shared.lanes().writers.get_mut(lane) {
        writer.leader = None;
    }
}
