//! Fetch (1).
//!
//! *Behaviour*: waits until `min_bytes` are there, an error is, or `max_wait_ms` is over. Whole batches, also the one that
//! holds an offset within it; the first batch of a response is sent whatever its size. Sessions are declined by answering
//! session id 0. Readers see what is below the high watermark, which is what is durable.
//! A client that used up its byte quota gets an empty answer and is told how long to wait.
//! *Versions*: 4-18. *Skipped*: followers, fetch sessions, rack-aware reads; diverging epochs of followers only.

use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use causeway_wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse,
    LeaderIdAndEpoch, PartitionData,
};
use causeway_wire::records::BatchHeader;
use causeway_wire::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::{Context, decode, encode, encode_parts, throttle};
use crate::errors::log_code;
use crate::leader::check_leader_epoch;
use crate::log::AbortedTxn;
use crate::meta::quotas::CONSUMER_BYTE_RATE;
use crate::net::connection::{Answer, Frame};
use crate::partitions::Partition;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 4..=18;

/// Longest wait a client may ask for; longer ones are answered empty.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// One partition asked for, resolved once.
struct Asked {
    topic: usize,
    request: FetchPartition,
    found: Result<Arc<Partition>, ErrorCode>,
}

/// Most records of an answer, bytes, whatever `fetch.max.bytes` is: an answer is held in memory until it is written. Over 100 ms one connection still gets
/// 240 MB a second.
const ANSWER_BYTES_MAX: usize = 24 << 20;
/// Room in an answer for each partition besides its records.
const PARTITION_BYTES: usize = 80;

/// Reads, waits and encodes around what was read.
pub async fn answer(context: Context, mut body: Bytes) -> Answer {
    let mut request: FetchRequest = decode(&context.header, &mut body)?;
    let image = context.node.meta.image();
    if let Some(burst) = context.node.quotas.burst(&image, CONSUMER_BYTE_RATE, context.client_id()) {
        // An answer larger than what the quota lets through at once would be refused again and again.
        request.max_bytes = request.max_bytes.min(burst as i32);
        request.min_bytes = request.min_bytes.min(request.max_bytes);
    }
    drop(image);
    let (mut response, busy) = throttle::timed(handle(&context, request)).await;
    throttle::charge(&context, busy, &mut response);
    let mut bytes = size(&response);
    let mut room = context.node.room.answer(bytes);
    if room.is_none() {
        shorten(&mut response);
        bytes = size(&response);
        room = context.node.room.answer(bytes);
    }
    let image = context.node.meta.image();
    let wait = context.node.quotas.record_or_refuse(&image, CONSUMER_BYTE_RATE, context.client_id(), bytes as f64);
    if !wait.is_zero() {
        // Nothing now, and the client is told when to come again; what it asked for is unchanged (KIP-13).
        let throttle_time_ms = throttle::mute(&context, wait).max(response.throttle_time_ms);
        let empty = FetchResponse { throttle_time_ms, ..Default::default() };
        return encode(&context.header, context.version(), &empty).map(|whole| Some(whole.into()));
    }
    let parts = encode_parts(&context.header, context.version(), &response)?;
    Ok(Some(Frame { parts, room }))
}

/// About the bytes of an answer.
fn size(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|t| &t.partitions);
    partitions.map(|p| PARTITION_BYTES + p.records.as_ref().map_or(0, Bytes::len)).sum()
}

/// Leaves one batch of one partition: enough for a reader to go on, and no more memory than that.
fn shorten(response: &mut FetchResponse) {
    let mut kept = false;
    for data in response.responses.iter_mut().flat_map(|t| &mut t.partitions) {
        let Some(records) = data.records.take() else { continue };
        let first = match kept {
            true => 0,
            false => BatchHeader::parse(&records).map_or(0, |header| header.size().min(records.len())),
        };
        kept |= first > 0;
        // A copy: a slice would keep the whole in memory.
        data.records = Some(Bytes::copy_from_slice(&records[..first]));
    }
}

/// Reads and waits.
pub async fn handle(context: &Context, request: FetchRequest) -> FetchResponse {
    // A client that keeps a session we never gave was talking to another incarnation of this address.
    if request.session_id != 0 && request.session_epoch > 0 {
        return FetchResponse { error_code: ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0, ..Default::default() };
    }
    let image = context.node.meta.image();
    let by_id = context.version() >= 13;
    let mut topics: Vec<(String, Uuid)> = Vec::new();
    let mut asked: Vec<Asked> = Vec::new();
    for topic in request.topics {
        let name = match by_id {
            true => image.topic_by_id(topic.topic_id).map(|t| t.name.clone()),
            false => Some(topic.topic.clone()),
        };
        for partition in topic.partitions {
            let found = match &name {
                None => Err(ErrorCode::UNKNOWN_TOPIC_ID),
                Some(name) => {
                    let found = context.node.partitions.get(name, partition.partition);
                    found.ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
                }
            };
            asked.push(Asked { topic: topics.len(), request: partition, found });
        }
        topics.push((topic.topic, topic.topic_id));
    }
    drop(image);
    let limit = (request.max_bytes.max(0) as usize).min(context.node.fetch_bytes_max).min(ANSWER_BYTES_MAX);
    // Who waits for more than an answer holds would wait in vain.
    let min_bytes = (request.min_bytes.max(0) as usize).min(ANSWER_BYTES_MAX / 2);
    let committed = request.isolation_level == 1;
    let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64).min(WAIT_MAX);
    let deadline = Instant::now() + wait;
    let node_id = context.node.config.node_id;
    let replica = if context.version() >= 15 { request.replica_state.replica_id } else { request.replica_id };
    if replica >= 0 {
        // There are no followers: whoever takes itself for one has another cluster in mind.
        asked.iter_mut().for_each(|a| a.found = a.found.clone().and(Err(ErrorCode::NOT_LEADER_OR_FOLLOWER)));
    }
    // A reader that lags has its data at the first look: only who waits pays for a subscription, and looks again after it, lest a change is missed.
    let mut changed = None;
    loop {
        let (answers, bytes, settled) = read_all(&asked, limit, committed, context.version(), node_id);
        let done = settled || bytes >= min_bytes || asked.is_empty() || Instant::now() >= deadline;
        match changed.take() {
            _ if done => return respond(topics, &asked, answers),
            None => changed = Some(Changed::subscribe(&asked)),
            Some(change) => {
                if tokio::time::timeout_at(deadline, change).await.is_err() {
                    // At the deadline whatever is there by now is sent.
                    return respond(topics, &asked, answers);
                }
            }
        }
    }
}

/// Reads every partition once; also says how many bytes there are and whether an error must be told at once.
fn read_all(
    asked: &[Asked],
    limit: usize,
    committed: bool,
    version: i16,
    node_id: i32,
) -> (Vec<PartitionData>, usize, bool) {
    let (mut out, mut bytes, mut settled) = (Vec::with_capacity(asked.len()), 0, false);
    for a in asked {
        let data = match &a.found {
            Err(code) => error(a.request.partition, *code),
            Ok(partition) => {
                let room = limit.saturating_sub(bytes).min(a.request.partition_max_bytes.max(0) as usize);
                let mut data = read_one(partition, &a.request, room, bytes == 0, committed);
                let fenced = [ErrorCode::FENCED_LEADER_EPOCH.0, ErrorCode::UNKNOWN_LEADER_EPOCH.0];
                if version >= 12 && fenced.contains(&data.error_code) {
                    let epoch = partition.leader_epoch;
                    data.current_leader =
                        LeaderIdAndEpoch { leader_id: node_id, leader_epoch: epoch, ..Default::default() };
                }
                data
            }
        };
        settled |= data.error_code != 0;
        bytes += data.records.as_ref().map_or(0, Bytes::len);
        out.push(data);
    }
    (out, bytes, settled)
}

fn read_one(
    partition: &Partition,
    request: &FetchPartition,
    room: usize,
    first: bool,
    committed: bool,
) -> PartitionData {
    let log = &partition.log;
    if let Err(code) = check_leader_epoch(partition, request.current_leader_epoch) {
        return error(request.partition, code);
    }
    let high_watermark = partition.high_watermark();
    let last_stable_offset = log.last_stable_offset();
    let upper = if committed { last_stable_offset } else { high_watermark };
    let mut data = PartitionData {
        partition_index: request.partition,
        high_watermark,
        last_stable_offset,
        log_start_offset: log.start_offset(),
        aborted_transactions: None,
        records: Some(Bytes::new()),
        ..Default::default()
    };
    match diverging(partition, request) {
        Ok(None) => {}
        Ok(Some(end)) => data.diverging_epoch = end,
        Err(code) => return error(request.partition, code),
    }
    if request.fetch_offset < log.start_offset() || request.fetch_offset > log.end_offset() {
        return error(request.partition, ErrorCode::OFFSET_OUT_OF_RANGE);
    }
    if committed {
        data.aborted_transactions = Some(Vec::<AbortedTransaction>::new());
    }
    if (room == 0 && !first) || request.fetch_offset >= upper {
        return data;
    }
    let found = match committed {
        true => log.read_committed(request.fetch_offset, room, upper),
        false => log.read(request.fetch_offset, room, upper).map(|fetched| (fetched, Vec::new())),
    };
    match found {
        // A batch larger than the room left goes out only if it would be the first: else the reader could never pass it.
        Ok((fetched, aborted)) if fetched.bytes.len() <= room || first => {
            if committed {
                data.aborted_transactions = Some(aborted.iter().map(shown).collect());
            }
            data.records = Some(fetched.bytes);
        }
        Ok(_) => {}
        Err(failure) => return error(request.partition, log_code(&failure)),
    }
    data
}

/// Where the log of one who asks by the epoch of its last record parted from ours, if it did (KIP-595).
fn diverging(partition: &Partition, request: &FetchPartition) -> Result<Option<EpochEndOffset>, ErrorCode> {
    let last = request.last_fetched_epoch;
    if last < 0 {
        return Ok(None);
    }
    let (epoch, end_offset) = partition.end_of_epoch(last).ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
    let parted = epoch < last || end_offset < request.fetch_offset;
    Ok(parted.then_some(EpochEndOffset { epoch, end_offset, ..Default::default() }))
}

/// What a reader of `read_committed` has to leave out (law R16).
fn shown(txn: &AbortedTxn) -> AbortedTransaction {
    AbortedTransaction { producer_id: txn.producer_id, first_offset: txn.first_offset, ..Default::default() }
}

fn error(partition_index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: code.0,
        high_watermark: -1,
        aborted_transactions: None,
        records: Some(Bytes::new()),
        ..Default::default()
    }
}

fn respond(topics: Vec<(String, Uuid)>, asked: &[Asked], answers: Vec<PartitionData>) -> FetchResponse {
    let empty = |(topic, topic_id)| FetchableTopicResponse { topic, topic_id, ..Default::default() };
    let mut responses: Vec<FetchableTopicResponse> = topics.into_iter().map(empty).collect();
    for (a, data) in asked.iter().zip(answers) {
        if let (Ok(partition), Some(records)) = (&a.found, &data.records) {
            partition.traffic.went(records.len());
        }
        responses[a.topic].partitions.push(data);
    }
    responses.retain(|topic| !topic.partitions.is_empty());
    FetchResponse { responses, ..Default::default() }
}

/// Resolves when the durable end of any partition moves after this was made.
struct Changed {
    waits: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Changed {
    fn subscribe(asked: &[Asked]) -> Self {
        let wait = |partition: &Arc<Partition>| -> Pin<Box<dyn Future<Output = ()> + Send>> {
            let mut durable = partition.log.subscribe();
            durable.mark_unchanged();
            Box::pin(async move {
                // A closed channel means a deleted log: the next look tells.
                let _ = durable.changed().await;
            })
        };
        Self { waits: asked.iter().filter_map(|a| a.found.as_ref().ok()).map(wait).collect() }
    }
}

impl Future for Changed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let ready = self.waits.iter_mut().any(|wait| wait.as_mut().poll(cx).is_ready());
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }
}
