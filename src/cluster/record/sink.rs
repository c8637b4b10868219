//! The writing end on rdkafka's `BaseProducer`: idempotent, acks=all, same partition number, in order, retried by librdkafka without end.
//!
//! `message.timeout.ms=0` matters: were one record given up while later ones of its partition land, the target would have a hole and, after the
//! retry, another order. What can not be written at all (too large, refused) is fatal for the producer (`enable.gapless.guarantee`): nothing after
//! it lands, the lanes of this producer start again from their durable positions, and the lane that holds the record stops alone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};

use super::exact::{self, Exact, Written};
use super::landed::{judge, owned, runs};
use super::{Records, base_config};
use crate::cluster::carried::Carried;
use crate::cluster::ports::{Sink, SinkEvent};
use crate::cluster::{Admin, ClusterSpec};
use crate::core::batch::{Batch, Session, SourceRange};
use crate::core::ids::{LaneId, SourceOffset, TargetOffset, TopicId, TopicName};
use crate::core::lane::Failure;

/// Records in librdkafka's queue per producer: past it, batches wait here and the source is not read.
const QUEUE_RECORDS: &str = "200000";
/// Bytes in librdkafka's queue per producer, kB: two lanes with full windows.
const QUEUE_KB: &str = "131072";
/// How long a batch may gather, ms: records arrive in runs, so little is gained by waiting longer.
const LINGER_MS: &str = "5";
/// Uncompressed bytes per batch; below Kafka's default `max.message.bytes`, so that a batch of small records is never too large.
const BATCH_BYTES: usize = 512 << 10;
/// What a batch needs beside its records.
const BATCH_OVERHEAD_BYTES: usize = 1 << 10;
/// Longest wait for a topic's partitions, while the lanes of this producer wait too.
const METADATA_WAIT: Duration = Duration::from_secs(1);
/// The broker decides what is too large, not the client.
const MESSAGE_BYTES_MAX: &str = "1000000000";
/// The part of a delivery's token that counts records of a lane; the rest is the lane's slot.
const SEQUENCE_BITS: u32 = 40;
/// Lanes per producer that a token can tell apart.
const SLOTS_MAX: usize = 1 << (usize::BITS - SEQUENCE_BITS);

/// How a producer writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// Codec, in Kafka's name.
    pub compression: String,
    /// The smallest `max.message.bytes` among its target topics.
    pub message_bytes_max: Option<usize>,
}

type Report = (usize, Result<i64, KafkaError>);

#[derive(Default)]
struct Context {
    reports: Mutex<Vec<Report>>,
}

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let report = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push((token, report));
    }
}

/// A batch on its way: where each of its records landed.
struct Pending {
    session: Session,
    range: SourceRange,
    first_sequence: u64,
    landed: Vec<(SourceOffset, Option<TargetOffset>)>,
    left: usize,
}

struct Writer {
    id: LaneId,
    topic: String,
    session: Session,
    /// The next record's number.
    sequence: u64,
    pending: VecDeque<Pending>,
    failed: bool,
    resetting: bool,
    closed: bool,
}

struct Queued {
    slot: usize,
    batch: Batch<Records>,
    skip: Vec<SourceOffset>,
    /// The item to go on with.
    next: usize,
}

/// One rdkafka producer for the lanes of one or more topics of a flow.
pub struct RecordSink {
    producer: BaseProducer<Context>,
    config: rdkafka::ClientConfig,
    slots: Vec<Writer>,
    lanes: HashMap<LaneId, usize>,
    backlog: VecDeque<Queued>,
    events: Vec<SinkEvent>,
    exact: Exact,
}

impl RecordSink {
    /// A producer of `spec`; it connects when the first record is written. `admin` speaks to the same cluster.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(
        spec: &ClusterSpec,
        settings: &SinkSettings,
        admin: Admin,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, KafkaError> {
        let mut config = base_config(spec);
        let mut tunable = |key: &str, value: &str| {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        };
        tunable("queue.buffering.max.messages", QUEUE_RECORDS);
        tunable("queue.buffering.max.kbytes", QUEUE_KB);
        tunable("linger.ms", LINGER_MS);
        let room = settings.message_bytes_max.map_or(BATCH_BYTES, |max| max.saturating_sub(BATCH_OVERHEAD_BYTES));
        config
            .set("batch.size", BATCH_BYTES.min(room.max(1)).to_string())
            .set("compression.type", &settings.compression)
            .set("message.max.bytes", MESSAGE_BYTES_MAX)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0")
            .set("delivery.report.only.error", "false")
            .set("allow.auto.create.topics", "false");
        let producer = BaseProducer::from_config_and_context(&config, Context::default())?;
        Ok(RecordSink {
            producer,
            config,
            slots: Vec::new(),
            lanes: HashMap::new(),
            backlog: VecDeque::new(),
            events: Vec::new(),
            exact: Exact::new(admin, runtime, &settings.compression),
        })
    }

    /// Hands what waits to librdkafka, as far as it takes it.
    fn push(&mut self) {
        while let Some(queued) = self.backlog.front_mut() {
            let writer = &mut self.slots[queued.slot];
            if writer.failed || writer.session != queued.batch.session {
                self.backlog.pop_front();
                continue;
            }
            if queued.next == 0 && queued.batch.payload.items().iter().any(exact::needs_exact) {
                // what went before lands first, and nothing overtakes it
                if writer.pending.is_empty() && self.exact.is_idle() {
                    pend(writer, queued);
                    writer.sequence +=
                        self.exact.write((queued.slot, writer.sequence), &writer.topic, &queued.batch, &queued.skip);
                    queued.next = usize::MAX;
                }
                return;
            }
            if self.exact.is_busy_with(queued.slot) {
                if queued.next == usize::MAX {
                    self.backlog.pop_front();
                    continue;
                }
                return;
            }
            match push_batch(&self.producer, writer, queued) {
                Ok(true) => {
                    let slot = queued.slot;
                    self.backlog.pop_front();
                    // a batch of which nothing was to be written is answered all the same; its lane waits for that
                    let emptied = |p: &Pending| p.landed.is_empty() && p.left == 0;
                    if let Some(at) = self.slots[slot].pending.iter().position(emptied) {
                        self.finish(slot, at);
                    }
                }
                Ok(false) => return,
                Err((offset, error)) => {
                    let slot = queued.slot;
                    let range = SourceRange::new(offset, offset.next());
                    let topic = self.slots[slot].topic.clone();
                    self.backlog.pop_front();
                    self.learn(&topic, &error);
                    self.fail(slot, judge(&error, range));
                }
            }
        }
    }

    /// librdkafka looks for partitions that were added only every few minutes: it is told to look now.
    fn learn(&self, topic: &str, error: &KafkaError) {
        let unknown = [RDKafkaErrorCode::UnknownPartition, RDKafkaErrorCode::UnknownTopic];
        if error.rdkafka_error_code().is_some_and(|code| unknown.contains(&code))
            && let Err(error) = self.producer.client().fetch_metadata(Some(topic), METADATA_WAIT)
        {
            tracing::debug!(topic, %error, "metadata");
        }
    }

    fn fail(&mut self, slot: usize, failure: Failure) {
        let writer = &mut self.slots[slot];
        if writer.failed || writer.resetting || writer.closed {
            return;
        }
        writer.failed = true;
        self.events.push(SinkEvent::Failed { lane: writer.id.clone(), session: writer.session, failure });
    }

    fn take_reports(&mut self) {
        let reports = {
            let context: &Context = self.producer.context();
            std::mem::take(&mut *context.reports.lock().unwrap_or_else(PoisonError::into_inner))
        };
        // librdkafka's batch is refused as a whole: all records refused together are the smallest range known to hold the bad one
        let mut failed: BTreeMap<usize, (SourceRange, KafkaError)> = BTreeMap::new();
        for (token, report) in reports {
            let (slot, sequence) = (token >> SEQUENCE_BITS, token as u64 & ((1 << SEQUENCE_BITS) - 1));
            let Some(writer) = self.slots.get_mut(slot) else { continue };
            // reports come mostly in order, so the front is the usual answer
            let Some(at) = writer.pending.iter().position(|p| sequence < p.first_sequence + p.landed.len() as u64)
            else {
                continue;
            };
            let pending = &mut writer.pending[at];
            let Some(index) = sequence.checked_sub(pending.first_sequence) else { continue };
            let (offset, landed) = &mut pending.landed[index as usize];
            let offset = *offset;
            pending.left -= 1;
            match report {
                Ok(target) => *landed = Some(TargetOffset(target)),
                Err(error) => {
                    let (range, first) =
                        failed.entry(slot).or_insert_with(|| (SourceRange::new(offset, offset), error.clone()));
                    if *first == error {
                        range.to = range.to.max(offset.next());
                    }
                }
            }
            self.finish(slot, at);
        }
        for (slot, (range, error)) in failed {
            self.fail(slot, judge(&error, range));
        }
    }

    /// What the exact path has written: one answer for a whole batch.
    fn take_exact(&mut self) {
        let Some(Written { slot, first_sequence, outcome }) = self.exact.take() else { return };
        let Some(writer) = self.slots.get_mut(slot) else { return };
        // a batch that was given up in the meantime is not asked about any more
        let Some(pending) = writer.pending.front_mut().filter(|p| p.first_sequence == first_sequence) else { return };
        pending.left = 0;
        let range = pending.range;
        match outcome {
            Ok(base) => {
                for (index, (_, landed)) in pending.landed.iter_mut().enumerate() {
                    *landed = Some(base.plus(index as u64));
                }
                self.finish(slot, 0);
            }
            Err(error) => {
                self.finish(slot, 0);
                self.fail(slot, exact::judge(&error, range));
            }
        }
    }

    /// Reports a batch whose records are all answered.
    fn finish(&mut self, slot: usize, at: usize) {
        let writer = &mut self.slots[slot];
        if writer.pending[at].left > 0 {
            return;
        }
        let Some(done) = writer.pending.remove(at) else { return };
        let current = done.session == writer.session && !writer.resetting && !writer.closed;
        if current && done.landed.iter().all(|(_, target)| target.is_some()) {
            let (lane, session, range) = (writer.id.clone(), done.session, done.range);
            self.events.push(SinkEvent::Acked { lane, session, range, runs: runs(&done.landed) });
        }
    }

    fn finish_resets(&mut self) {
        for writer in self.slots.iter_mut().filter(|writer| writer.resetting && writer.pending.is_empty()) {
            writer.resetting = false;
            writer.failed = false;
            self.events.push(SinkEvent::ResetDone { lane: writer.id.clone(), session: writer.session });
        }
    }

    /// After a fatal error nothing more is written: everything left is dropped, and a new producer takes over.
    fn replace_if_dead(&mut self) {
        let Some((code, reason)) = self.producer.client().fatal_error() else { return };
        tracing::warn!(%code, reason, "producer ended, its lanes start again from their durable positions");
        self.abandon();
        self.producer.poll(Duration::from_millis(100)); // the purged records' reports
        self.take_reports();
        let why = format!("the producer ended: {code}: {reason}");
        for slot in 0..self.slots.len() {
            if !self.slots[slot].pending.is_empty() {
                self.slots[slot].pending.clear();
                self.fail(slot, Failure::Retry { reason: why.clone() });
            }
        }
        match BaseProducer::from_config_and_context(&self.config, Context::default()) {
            Ok(producer) => self.producer = producer,
            Err(error) => tracing::error!(%error, "no new producer"),
        }
    }
}

/// Notes what of a batch will be answered.
fn pend(writer: &mut Writer, queued: &Queued) {
    let offsets = queued.batch.payload.items().iter().map(|item| SourceOffset(item.offset));
    let landed: Vec<_> =
        offsets.filter(|offset| queued.skip.binary_search(offset).is_err()).map(|offset| (offset, None)).collect();
    let left = landed.len();
    let (session, range) = (queued.batch.session, queued.batch.range);
    writer.pending.push_back(Pending { session, range, first_sequence: writer.sequence, landed, left });
}

/// Sends what is left of a batch. `false`: the queue is full. An error names the record that cannot be sent.
fn push_batch(
    producer: &BaseProducer<Context>,
    writer: &mut Writer,
    queued: &mut Queued,
) -> Result<bool, (SourceOffset, KafkaError)> {
    let slot = queued.slot;
    let partition = queued.batch.lane.partition.0;
    let records = &queued.batch.payload;
    if queued.next == 0 {
        pend(writer, queued);
    }
    while let Some(item) = records.items().get(queued.next) {
        let offset = SourceOffset(item.offset);
        if queued.skip.binary_search(&offset).is_ok() {
            queued.next += 1;
            continue;
        }
        let token = slot << SEQUENCE_BITS | (writer.sequence & ((1 << SEQUENCE_BITS) - 1)) as usize;
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&writer.topic, token)
            .partition(super::sabotage::partition(partition))
            .timestamp(item.timestamp);
        record.key = records.key(item);
        record.payload = records.value(item);
        record.headers = owned(&item.headers);
        match producer.send(record) {
            Ok(()) => {
                writer.sequence += 1;
                queued.next += 1;
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => return Ok(false),
            Err((error, _)) => {
                // what follows of this batch is never sent, so never answered
                if let Some(pending) = writer.pending.back_mut() {
                    let sent = (writer.sequence - pending.first_sequence) as usize;
                    pending.left -= pending.landed.len() - sent;
                    pending.landed.truncate(sent);
                    if pending.left == 0 {
                        writer.pending.pop_back();
                    }
                }
                return Err((offset, error));
            }
        }
    }
    Ok(true)
}

impl Sink for RecordSink {
    type Payload = Carried;

    fn route(&mut self, lane: &LaneId, target_topic: &TopicName, _target_topic_id: TopicId) {
        let slot = match self.lanes.get(lane) {
            Some(slot) => *slot,
            None => {
                let reusable = self.slots.iter().position(|writer| writer.closed && writer.pending.is_empty());
                let slot = reusable.unwrap_or(self.slots.len());
                assert!(slot < SLOTS_MAX, "a producer has fewer lanes than a token can tell apart");
                // numbers of a reused slot go on, so that a late report can never be taken for a new record's
                let sequence = self.slots.get(slot).map_or(0, |writer| writer.sequence);
                let writer = Writer {
                    id: lane.clone(),
                    topic: String::new(),
                    session: Session(0),
                    sequence,
                    pending: VecDeque::new(),
                    failed: false,
                    resetting: false,
                    closed: false,
                };
                if slot == self.slots.len() {
                    self.slots.push(writer)
                } else {
                    self.slots[slot] = writer
                }
                self.lanes.insert(lane.clone(), slot);
                slot
            }
        };
        target_topic.as_str().clone_into(&mut self.slots[slot].topic);
    }

    fn produce(&mut self, batch: Batch<Carried>, skip: Vec<SourceOffset>) {
        let Some(&slot) = self.lanes.get(&batch.lane) else { return };
        let (batch, payload) = batch.take();
        let Carried::Records(records) = payload else {
            let reason = "the record engine was handed batches of the batch engine".to_owned();
            return self.fail(slot, Failure::Bug { reason });
        };
        let batch = batch.map(|()| records);
        if self.slots[slot].session == batch.session && !self.slots[slot].resetting {
            let (batch, skip) = super::sabotage::produce(batch, skip);
            self.backlog.push_back(Queued { slot, batch, skip, next: 0 });
            self.push();
        }
    }

    fn reset(&mut self, lane: &LaneId, session: Session, _from: TargetOffset) {
        let Some(&slot) = self.lanes.get(lane) else { return };
        // a batch that was handed over in part keeps what librdkafka has; the rest is never sent
        let cut = self.backlog.iter().any(|queued| queued.slot == slot && (1..usize::MAX).contains(&queued.next));
        let writer = &mut self.slots[slot];
        if cut && let Some(pending) = writer.pending.back_mut() {
            let sent = (writer.sequence - pending.first_sequence) as usize;
            pending.left -= pending.landed.len() - sent;
            pending.landed.truncate(sent);
            if pending.left == 0 {
                writer.pending.pop_back();
            }
        }
        self.backlog.retain(|queued| queued.slot != slot);
        writer.session = session;
        writer.resetting = true;
        self.finish_resets();
    }

    fn close(&mut self, lane: &LaneId) {
        if let Some(slot) = self.lanes.get(lane).copied() {
            self.reset(lane, self.slots[slot].session.next(), TargetOffset::ZERO);
            self.slots[slot].closed = true;
            self.lanes.remove(lane);
        }
    }

    fn is_full(&self) -> bool {
        !self.backlog.is_empty()
    }

    fn in_flight(&self) -> usize {
        usize::try_from(self.producer.in_flight_count()).unwrap_or(0)
    }

    fn abandon(&mut self) {
        self.backlog.clear();
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }

    fn poll(&mut self, max_wait: Duration) -> Vec<SinkEvent> {
        let wait = if self.events.is_empty() { max_wait } else { Duration::ZERO };
        self.producer.poll(wait);
        self.take_reports();
        self.take_exact();
        self.replace_if_dead();
        self.push();
        self.finish_resets();
        std::mem::take(&mut self.events)
    }
}

impl std::fmt::Debug for RecordSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordSink").field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}
