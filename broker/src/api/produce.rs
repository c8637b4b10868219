//! Produce (0).
//!
//! *Behaviour*: one batch per partition, validated record by record, appended in the order of the connection, answered
//! when it is as durable as `log.flush` promises (for acks=1 as for acks=all: there is one replica). Retries of idempotent
//! producers get the first answer again. acks=0 has no answer; if it fails the connection is closed.
//! *Versions*: 3-13; 0-2 are shown (see `api_versions`) and answered with UNSUPPORTED_VERSION.
//! A client that exceeds its byte quota is answered at once and its connection left unread for the time it is told.
//! A topic whose `compression.type` names a codec gets its batches recompressed, at the topic's level for it (LZ4 has one level here).
//! A transactional batch is appended only in an ongoing transaction: the partition was added before, or, from version 12 on, is added here (KIP-890).
//! *Skipped*: nothing.

mod admission;
mod effort;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use causeway_wire::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceResponse,
};
use causeway_wire::records::validate::{Depth, ValidateError, ValidateOptions};
use causeway_wire::records::{BatchHeader, DECOMPRESSED_BYTES_MAX, RecordError, TimestampType};
use causeway_wire::{ErrorCode, Message};

use super::{Context, decode, encode, throttle};
use crate::errors::log_code;
use crate::leader::check_online;
use crate::log::{Appended, LogError};
use crate::meta::image::is_internal;
use crate::meta::quotas::PRODUCER_BYTE_RATE;
use crate::net::connection::{Answer, Fault, Pending};
use crate::partitions::Partition;
use admission::{Admission, Admitted};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 3..=13;

/// Replicas of a partition, and those in sync, while a cluster is one node.
const REPLICAS: i32 = 1;
const IN_SYNC: i32 = 1;
/// Refusals that say nothing about the log, as in Kafka; all others tell where it starts.
const WITHOUT_START: &[ErrorCode] = &[
    ErrorCode::CORRUPT_MESSAGE,
    ErrorCode::MESSAGE_TOO_LARGE,
    ErrorCode::RECORD_LIST_TOO_LARGE,
    ErrorCode::KAFKA_STORAGE_ERROR,
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
];

/// The client id that may write internal topics, as in Kafka.
const ADMIN_CLIENT: &str = "__admin_client";

/// An append to wait for: where its answer stands, the partition, the log's end after it.
struct Waiting {
    topic: usize,
    partition: usize,
    log: Arc<Partition>,
    end: i64,
}

/// Appends now; the future waits and answers.
pub async fn start(context: Context, mut body: Bytes) -> Result<Pending, Fault> {
    let version = context.version();
    if !VERSIONS.contains(&version) {
        let answer = refuse_old(&context, body);
        return Ok(Box::pin(async { answer }));
    }
    let size = body.len();
    let request: ProduceRequest = decode(&context.header, &mut body)?;
    let (acks, timeout) = (request.acks, Duration::from_millis(request.timeout_ms.max(0) as u64));
    let admitted = admission::of(&context, &request).await;
    let ((mut response, waiting), busy) = throttle::timed(append_all(&context, request, &admitted)).await;
    throttle::charge(&context, busy, &mut response);
    let image = context.node.meta.image();
    let wait = context.node.quotas.record(&image, PRODUCER_BYTE_RATE, context.client_id(), size as f64);
    response.throttle_time_ms = response.throttle_time_ms.max(throttle::mute(&context, wait));
    Ok(Box::pin(finish(context, acks, timeout, response, waiting)))
}

/// Answers in one go; only `start` is used on connections.
pub async fn handle(context: &Context, request: ProduceRequest) -> ProduceResponse {
    let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let admitted = admission::of(context, &request).await;
    let (response, waiting) = append_all(context, request, &admitted).await;
    wait(response, waiting, timeout).await
}

async fn finish(
    context: Context,
    acks: i16,
    timeout: Duration,
    response: ProduceResponse,
    waiting: Vec<Waiting>,
) -> Answer {
    if acks == 0 {
        let failed = response.responses.iter().flat_map(|t| &t.partition_responses).any(|p| p.error_code != 0);
        return if failed { Err(Fault::Unanswerable) } else { Ok(None) };
    }
    let response = wait(response, waiting, timeout).await;
    encode(&context.header, context.version(), &response).map(|whole| Some(whole.into()))
}

async fn wait(mut response: ProduceResponse, waiting: Vec<Waiting>, timeout: Duration) -> ProduceResponse {
    let deadline = tokio::time::Instant::now() + timeout;
    for w in waiting {
        let durable = tokio::time::timeout_at(deadline, w.log.log.wait_durable(w.end)).await;
        let code = match durable {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => log_code(&error),
            Err(_) => ErrorCode::REQUEST_TIMED_OUT,
        };
        let answer = &mut response.responses[w.topic].partition_responses[w.partition];
        let index = answer.index;
        *answer = refused(index, code, None);
    }
    response
}

async fn append_all(
    context: &Context,
    request: ProduceRequest,
    admitted: &Admitted,
) -> (ProduceResponse, Vec<Waiting>) {
    let mut response = ProduceResponse::default();
    let mut waiting = Vec::new();
    let image = context.node.meta.image();
    let unowned = admission::is_unowned(&request);
    let mut turn = effort::Turn::default();
    for topic in request.topic_data {
        let by_id = context.version() >= 13;
        let name =
            if by_id { image.topic_by_id(topic.topic_id).map(|t| t.name.clone()) } else { Some(topic.name.clone()) };
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let place = (response.responses.len(), answers.len());
            let appended = match &name {
                _ if unowned => Err(refused(index, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, None)),
                None => Err(refused(index, ErrorCode::UNKNOWN_TOPIC_ID, None)),
                Some(name) => append(context, request.acks, name, data, admitted.get(&place)).await,
            };
            answers.push(match appended {
                Ok((answer, log, end)) => {
                    waiting.push(Waiting { topic: response.responses.len(), partition: answers.len(), log, end });
                    answer
                }
                Err(answer) => answer,
            });
            turn.share().await;
        }
        response.responses.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.topic_id,
            partition_responses: answers,
            ..Default::default()
        });
    }
    (response, waiting)
}

type AppendOutcome = Result<(PartitionProduceResponse, Arc<Partition>, i64), PartitionProduceResponse>;

async fn append(
    context: &Context,
    acks: i16,
    topic: &str,
    data: PartitionProduceData,
    admitted: Option<&Admission>,
) -> AppendOutcome {
    let index = data.index;
    let refuse = |code: ErrorCode| refused(index, code, None);
    if !(-1..=1).contains(&acks) {
        return Err(refuse(ErrorCode::INVALID_REQUIRED_ACKS));
    }
    if is_internal(topic) && context.header.client_id.as_deref() != Some(ADMIN_CLIENT) {
        return Err(refuse(ErrorCode::INVALID_TOPIC_EXCEPTION));
    }
    let Some(partition) = context.node.partitions.get(topic, index) else {
        return Err(refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
    };
    check_online(&partition).map_err(refuse)?;
    let settings = partition.settings();
    // No more are asked for than there are: with one replica every value is met, as in Kafka 4.3.
    if acks == -1 && settings.min_insync_replicas.min(REPLICAS) > IN_SYNC {
        return Err(refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    }
    let Some(records) = data.records.filter(|r| !r.is_empty()) else {
        return Err(refuse(ErrorCode::INVALID_RECORD));
    };
    let now = crate::clock::wall_ms();
    let options = ValidateOptions {
        batch_bytes_max: settings.message_bytes_max,
        decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        compacted: settings.compacted,
        timestamp_type: settings.timestamp_type,
        now,
        timestamp_before_max_ms: settings.timestamp_before_max_ms,
        timestamp_after_max_ms: settings.timestamp_after_max_ms,
        zstd_allowed: context.version() >= 7,
        depth: Depth::Records,
    };
    let info =
        effort::validate(&context.node, &records, &options).await.map_err(|error| match of_the_request(&error) {
            true => invalid(index, &error),
            false => told(&partition, invalid(index, &error)),
        })?;
    if info.header.attributes.is_transactional() && !info.header.has_producer_id() {
        return Err(refuse(ErrorCode::INVALID_RECORD)); // nobody could ever end its transaction
    }
    let append_time = settings.timestamp_type == TimestampType::LogAppendTime;
    let stored = effort::to_store(&context.node, &records, &info, partition.leader_epoch, &settings, &options).await;
    let batch = stored.map_err(|e| refused(index, ErrorCode::INVALID_RECORD, Some(e.to_string())))?;
    let appended = match admitted {
        Some(Admission::Refused(code)) => return Err(refuse(*code)),
        Some(Admission::Unchecked) => partition.append(&batch, now),
        Some(Admission::Confirmed(guard)) => partition.append_from_client(&batch, Some(*guard), now),
        None => partition.append_from_client(&batch, None, now),
    };
    match appended {
        Ok(appended) => {
            if appended.duplicate.is_none() {
                partition.traffic.came(u64::try_from(info.header.records_count).unwrap_or(0), records.len());
            }
            // A retry is told the time that is in the log.
            let time = appended.duplicate.or(append_time.then_some(now));
            let answer = accepted(index, &partition, &info.header, appended, time);
            Ok((answer, partition, appended.last_offset + 1))
        }
        Err(error) => Err(told(&partition, failed(topic, index, &error))),
    }
}

fn accepted(
    index: i32,
    partition: &Partition,
    header: &BatchHeader,
    appended: Appended,
    append_time: Option<i64>,
) -> PartitionProduceResponse {
    debug_assert!(
        appended.duplicate.is_some()
            || appended.last_offset - appended.base_offset == i64::from(header.last_offset_delta)
    );
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset,
        log_append_time_ms: append_time.unwrap_or(-1),
        log_start_offset: partition.log.start_offset(),
        ..Default::default()
    }
}

fn failed(topic: &str, index: i32, error: &LogError) -> PartitionProduceResponse {
    let code = log_code(error);
    match error {
        LogError::Refused(_) => tracing::info!(topic, partition = index, %error, "produce refused"),
        _ => tracing::error!(topic, partition = index, %error, "append failed"),
    }
    refused(index, code, Some(error.to_string()))
}

fn invalid(index: i32, error: &ValidateError) -> PartitionProduceResponse {
    let rejected = error.rejected_records().iter().map(|r| BatchIndexAndErrorMessage {
        batch_index: r.index,
        batch_index_error_message: Some(r.reason.to_string()),
        ..Default::default()
    });
    let answer = refused(index, ErrorCode(error.code()), Some(error.to_string()));
    PartitionProduceResponse { record_errors: rejected.collect(), ..answer }
}

/// Whether Kafka finds this when it reads the request, before it looks at the log.
fn of_the_request(error: &ValidateError) -> bool {
    use ValidateError::{Batch, MoreThanOneBatch, ZstdBeforeV7};
    let of_the_batch = |error: &RecordError| matches!(error, RecordError::Truncated { .. } | RecordError::Magic(..=1));
    matches!(error, MoreThanOneBatch | ZstdBeforeV7) || matches!(error, Batch(error) if of_the_batch(error))
}

/// A refusal with the start of the log, where Kafka tells it.
fn told(partition: &Partition, answer: PartitionProduceResponse) -> PartitionProduceResponse {
    if WITHOUT_START.contains(&ErrorCode(answer.error_code)) {
        return answer;
    }
    PartitionProduceResponse { log_start_offset: partition.log.start_offset(), ..answer }
}

fn refused(index: i32, code: ErrorCode, error_message: Option<String>) -> PartitionProduceResponse {
    PartitionProduceResponse { index, error_code: code.0, base_offset: -1, error_message, ..Default::default() }
}

/// Versions 0-2: the request of version 3 without its first field; the answer is short enough to write by hand.
fn refuse_old(context: &Context, body: Bytes) -> Answer {
    let version = context.version();
    let not_enabled = Fault::NotEnabled { key: context.header.api_key, version };
    if !(0..3).contains(&version) {
        return Err(not_enabled);
    }
    let mut as_three = BytesMut::with_capacity(body.len() + 2);
    as_three.put_i16(-1);
    as_three.put_slice(&body);
    let request = ProduceRequest::decode(3, &mut as_three.freeze()).map_err(|_| not_enabled)?;
    if request.acks == 0 {
        return Err(Fault::Unanswerable);
    }
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i32(context.header.correlation_id);
    out.put_i32(request.topic_data.len() as i32);
    for topic in &request.topic_data {
        out.put_i16(topic.name.len() as i16);
        out.put_slice(topic.name.as_bytes());
        out.put_i32(topic.partition_data.len() as i32);
        for partition in &topic.partition_data {
            out.put_i32(partition.index);
            out.put_i16(ErrorCode::UNSUPPORTED_VERSION.0);
            out.put_i64(-1);
            if version >= 2 {
                out.put_i64(-1);
            }
        }
    }
    if version >= 1 {
        out.put_i32(0);
    }
    let length = (out.len() - 4) as u32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(Some(out.freeze().into()))
}
