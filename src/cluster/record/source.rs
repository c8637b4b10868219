//! The reading end on rdkafka's `BaseConsumer`: partitions assigned by hand, read_committed, no group joined, never a silent jump.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{Offset, TopicPartitionList};

use super::confirm::{Confirm, Confirmed};
use super::lookup::{Found, LookedUp, look_up};
use super::probe::Probe;
use super::{GROUP_ID, Headers, Records, base_config, exact, raw};
use crate::cluster::carried::Carried;
use crate::cluster::ends::EndsBoard;
use crate::cluster::offsets::Partition;
use crate::cluster::ports::{Source, SourceEvent};
use crate::cluster::{Admin, ClusterSpec};
use crate::core::batch::{Batch, Session, Shape, SourceEnds, SourceRange, Summary};
use crate::core::ids::{LaneId, SourceOffset};
use crate::core::lane::Failure;

/// Records handed out by one `poll`: a few milliseconds of work, so that acknowledgements are seen between two of them.
const POLL_RECORDS_MAX: usize = 4_000;
/// Bytes handed out by one `poll`, past which it stops.
const POLL_BYTES_MAX: usize = 2 << 20;
/// A reader that brings nothing for this long though the log goes on is looked into: the rest may be markers only.
const SILENCE: Duration = Duration::from_millis(150);
/// Look-ups that find what the consumer does not bring, before it is set anew: some seconds, in which librdkafka may still be reconnecting.
const MISSED_MAX: u32 = 20;
/// Wait for records while batches wait for a leader's word.
const CONFIRM_WAIT: Duration = Duration::from_millis(1);
/// Results of look-ups waiting to be taken; one is out per lane at most, and a full queue only delays a look-up.
const LOOKUPS_MAX: usize = 1_024;
/// Prefetched bytes per topic flow, kB: what one round trip of 100 ms brings at 1.3 Gbit/s.
const PREFETCH_KB: &str = "16384";
/// How long a broker may hold a fetch back for more data, ms: the price is paid by quiet topics, in latency.
const FETCH_WAIT_MS: &str = "100";

struct Reader {
    id: LaneId,
    session: Session,
    /// The next offset to hand out.
    next: SourceOffset,
    /// Reading stopped (failed, out of range) until the next reset.
    stopped: bool,
    paused: bool,
    at_end: bool,
    last_news: Instant,
    looking: bool,
    /// Look-ups in a row that found records which the consumer does not bring.
    missed: u32,
}

/// One rdkafka consumer for the lanes of one or more topics of a flow.
pub struct RecordSource {
    consumer: BaseConsumer,
    admin: Admin,
    ends: EndsBoard,
    runtime: tokio::runtime::Handle,
    readers: HashMap<Partition, Reader>,
    found: (SyncSender<LookedUp>, Receiver<LookedUp>),
    events: Vec<SourceEvent<Carried>>,
    next_check: Instant,
    /// Headers are read, and claims found in them.
    provenance: bool,
    confirm: Confirm,
}

impl RecordSource {
    /// A consumer of `spec`; it connects when the first lane is reset. `admin` and `ends` speak to the same cluster.
    /// With `provenance` headers are looked at, and batches carry the claims found in them.
    ///
    /// # Errors
    /// A setting that librdkafka refuses.
    pub fn new(
        spec: &ClusterSpec,
        admin: Admin,
        ends: EndsBoard,
        runtime: tokio::runtime::Handle,
        provenance: bool,
    ) -> Result<Self, KafkaError> {
        let mut tunable = rdkafka::ClientConfig::new();
        tunable
            .set("queued.max.messages.kbytes", PREFETCH_KB)
            .set("fetch.wait.max.ms", FETCH_WAIT_MS)
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100");
        let mut config = base_config(spec);
        for (key, value) in tunable.config_map() {
            if config.get(key).is_none() {
                config.set(key, value);
            }
        }
        let consumer = config
            .set("group.id", GROUP_ID)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // a position that is gone is an event, never a jump (L5)
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "false")
            .set("check.crcs", "true")
            .set("allow.auto.create.topics", "false")
            .create()?;
        Ok(RecordSource {
            consumer,
            confirm: Confirm::new(admin.clone(), runtime.clone()),
            admin,
            ends,
            runtime,
            readers: HashMap::new(),
            found: sync_channel(LOOKUPS_MAX),
            events: Vec::new(),
            next_check: Instant::now(),
            provenance,
        })
    }

    fn unassign(&self, key: &Partition) {
        let mut list = TopicPartitionList::new();
        list.add_partition(&key.0, key.1);
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            // it was not assigned: that is what was wanted
            tracing::debug!(topic = key.0, partition = key.1, %error, "unassign");
        }
    }

    /// Takes everything at hand, up to the bounds; waits for the first record only.
    fn read(&mut self, max_wait: Duration) {
        let mut gathered: HashMap<Partition, Gathered> = HashMap::new();
        let (mut records, mut bytes) = (0, 0);
        let mut wait = max_wait;
        while records < POLL_RECORDS_MAX && bytes < POLL_BYTES_MAX {
            let Some(polled) = self.consumer.poll(wait) else { break };
            wait = Duration::ZERO;
            match polled {
                Ok(message) => {
                    records += 1;
                    bytes += take(&mut self.readers, &mut gathered, &message);
                }
                Err(error) => {
                    // What was read before the error goes out first: the error may be about what follows it.
                    if self.on_error(&error) {
                        break;
                    }
                }
            }
        }
        for (key, gathered) in gathered {
            self.hand_out(key, gathered);
        }
    }

    fn hand_out(&mut self, key: Partition, mut gathered: Gathered) {
        let Some(reader) = self.readers.get_mut(&key) else { return };
        let mut range = SourceRange::new(gathered.from, reader.next);
        let mut claims = Vec::new();
        let mut failure = None;
        if self.provenance || gathered.payload.items.iter().any(exact::needs_exact) {
            match self.runtime.block_on(raw::look(&self.admin, &key, range, &mut gathered.payload)) {
                Ok(found) => claims = found,
                Err(error) => {
                    gathered.payload.truncate(range.from.get());
                    (range.to, reader.next, reader.stopped) = (range.from, range.from, true);
                    failure = Some(Failure::Retry { reason: error.to_string() });
                }
            }
        }
        let ends = ends_of(&self.ends, &key, range.to);
        let records = u32::try_from(gathered.payload.items.len()).unwrap_or(u32::MAX);
        let timestamps = || gathered.payload.items.iter().map(|item| item.timestamp);
        let summary = Summary {
            shape: if u64::from(records) == range.offsets() { Shape::Dense } else { Shape::Holes },
            records,
            bytes: gathered.payload.bytes() as u64,
            timestamp_min: timestamps().min().unwrap_or(-1),
            timestamp_max: timestamps().max().unwrap_or(-1),
            claims,
        };
        (reader.at_end, reader.missed) = (false, 0);
        reader.last_news = Instant::now();
        let (lane, session, payload) = (reader.id.clone(), reader.session, gathered.payload);
        if !range.is_empty() {
            self.confirm.push(Batch { lane: lane.clone(), session, range, ends, summary, payload });
        }
        if let Some(failure) = failure {
            self.unassign(&key);
            self.events.push(SourceEvent::Failed { lane, session, failure });
        }
    }

    /// True when reading should stop to look into it. librdkafka tells no partition with an error, so every reader is looked into.
    fn on_error(&mut self, error: &KafkaError) -> bool {
        let code = error.rdkafka_error_code();
        tracing::debug!(%error, "consumer error");
        let transient = matches!(
            code,
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                    | RDKafkaErrorCode::AllBrokersDown
                    | RDKafkaErrorCode::Resolve
                    | RDKafkaErrorCode::OperationTimedOut
                    | RDKafkaErrorCode::MessageTimedOut
            )
        );
        if transient {
            return false; // librdkafka reconnects by itself; the ends board says what is unreachable
        }
        // A damaged batch is skipped by librdkafka after this error: nothing behind it may be handed out before it is known which lane it hit.
        let damaged = matches!(
            code,
            Some(
                RDKafkaErrorCode::BadMessage
                    | RDKafkaErrorCode::BadCompression
                    | RDKafkaErrorCode::InvalidMessage
                    | RDKafkaErrorCode::NotImplemented
                    | RDKafkaErrorCode::InvalidMessageSize
                    | RDKafkaErrorCode::Underflow
            )
        );
        let keys: Vec<Partition> = self.readers.keys().cloned().collect();
        for key in keys {
            if damaged {
                self.reread(&key);
            }
            self.look_up(&key);
        }
        true
    }

    /// Reads again from where the lane stands, so that what librdkafka skipped cannot be missed.
    fn reread(&mut self, key: &Partition) {
        let Some(reader) = self.readers.get(key).filter(|reader| !reader.stopped) else { return };
        let (id, next, session) = (reader.id.clone(), reader.next, reader.session);
        let paused = reader.paused;
        self.reset(&id, next, session);
        if paused {
            self.pause(&id);
        }
    }

    fn look_up(&mut self, key: &Partition) {
        let Some(reader) = self.readers.get_mut(key).filter(|reader| !reader.stopped && !reader.looking) else {
            return;
        };
        reader.looking = true;
        let (admin, key, session, from) = (self.admin.clone(), key.clone(), reader.session, reader.next);
        let done = self.found.0.clone();
        self.runtime.spawn(async move {
            let asked = Instant::now();
            let found = look_up(&admin, &key, from).await;
            // a full queue: the reader is asked again when it has stayed silent
            let _later = done.try_send(LookedUp { key, session, from, asked, found });
        });
    }

    fn take_lookups(&mut self) {
        while let Ok(looked) = self.found.1.try_recv() {
            let LookedUp { key, session, from, asked, found } = looked;
            if let Some(id) = found.topic_id {
                self.ends.note_topic(&key.0, id);
            }
            if let Some(ends) = found.ends {
                self.ends.note(key.clone(), ends, asked);
            }
            let Some(reader) = self.readers.get_mut(&key) else { continue };
            reader.looking = false;
            // what was read before has to go out before anything is said about what follows it
            let early = self.confirm.has(&key);
            if early || reader.session != session || reader.next != from || reader.stopped {
                continue;
            }
            reader.last_news = Instant::now();
            self.judge(&key, found);
        }
    }

    /// Acts on what a look-up found at exactly where the reader stands.
    fn judge(&mut self, key: &Partition, found: Found) {
        let Some(reader) = self.readers.get_mut(key) else { return };
        let (lane, session, next) = (reader.id.clone(), reader.session, reader.next);
        let ends = found.ends.unwrap_or_else(|| ends_of(&self.ends, key, next));
        let failure = match found.probe {
            Probe::NothingBefore(to) if to > next => {
                reader.next = to;
                let summary =
                    Summary { shape: Shape::Holes, timestamp_min: -1, timestamp_max: -1, ..Summary::default() };
                let (range, payload) = (SourceRange::new(next, to), Records::default());
                self.confirm.push(Batch { lane, session, range, ends, summary, payload });
                return;
            }
            Probe::NothingBefore(_) => {
                reader.missed += 1;
                if reader.missed < MISSED_MAX {
                    return;
                }
                Failure::Retry { reason: format!("there are records at {next}, but the consumer does not bring them") }
            }
            Probe::OutOfRange | Probe::Gone => {
                reader.stopped = true;
                self.unassign(key);
                self.events.push(SourceEvent::OutOfRange { lane, session, topic_id: found.topic_id, ends });
                return;
            }
            Probe::Unknown(_) => return, // the ends board tells why
            Probe::Damaged(range, reason) => Failure::Poison { range, reason },
            Probe::Refused(reason) => Failure::Refuse { reason },
        };
        reader.stopped = true;
        self.unassign(key);
        self.events.push(SourceEvent::Failed { lane, session, failure });
    }

    /// Batches that were confirmed go out; a lane whose topic is another one now is stopped and says so.
    fn take_confirmed(&mut self) {
        for confirmed in self.confirm.take() {
            match confirmed {
                Confirmed::Same(batch) => self.events.push(SourceEvent::Batch(batch.map(Carried::Records))),
                Confirmed::Other(batch, topic_id) => {
                    let key = key_of(&batch.lane);
                    let ours = |reader: &&mut Reader| reader.session == batch.session && !reader.stopped;
                    if let Some(reader) = self.readers.get_mut(&key).filter(ours) {
                        reader.stopped = true;
                        let Batch { lane, session, ends, .. } = batch;
                        self.unassign(&key);
                        self.events.push(SourceEvent::OutOfRange { lane, session, topic_id, ends });
                    }
                }
            }
        }
    }

    /// Lanes that reached their end say so; lanes that stay silent before it are looked into.
    fn check_ends(&mut self) {
        let now = Instant::now();
        if now < self.next_check {
            return;
        }
        self.next_check = now + SILENCE / 3;
        let mut silent = Vec::new();
        for (key, reader) in &mut self.readers {
            let Some(seen) = self.ends.seen(key).filter(|_| !reader.stopped) else { continue };
            if reader.next < seen.ends.last_stable {
                reader.at_end = false;
                if !reader.paused && now.duration_since(reader.last_news) > SILENCE {
                    silent.push(key.clone());
                }
            } else if seen.at > reader.last_news && !reader.at_end {
                // asked after the last read: an end before it would be a log that shrank, and is looked into
                if reader.next > seen.ends.high_watermark.max(seen.ends.last_stable) {
                    silent.push(key.clone());
                } else {
                    reader.at_end = true;
                    let (lane, session) = (reader.id.clone(), reader.session);
                    self.events.push(SourceEvent::CaughtUp { lane, session, ends: seen.ends });
                }
            }
        }
        silent.iter().for_each(|key| self.look_up(key));
    }
}

/// The ends as last seen, at least as far as what was read.
fn ends_of(board: &EndsBoard, key: &Partition, read_to: SourceOffset) -> SourceEnds {
    let mut ends = board.seen(key).map(|seen| seen.ends).unwrap_or_default();
    ends.last_stable = ends.last_stable.max(read_to);
    ends.high_watermark = ends.high_watermark.max(ends.last_stable);
    ends
}

struct Gathered {
    from: SourceOffset,
    payload: Records,
}

/// Adds a message to its lane's batch; answers its size. What lies before the reader's position was handed out already.
fn take(
    readers: &mut HashMap<Partition, Reader>,
    gathered: &mut HashMap<Partition, Gathered>,
    message: &BorrowedMessage<'_>,
) -> usize {
    let key = (message.topic().to_owned(), message.partition());
    let offset = SourceOffset(message.offset());
    let Some(reader) = readers.get_mut(&key).filter(|reader| !reader.stopped && offset >= reader.next) else {
        return 0;
    };
    let batch = gathered.entry(key).or_insert_with(|| Gathered { from: reader.next, payload: Records::default() });
    let timestamp = message.timestamp().to_millis().unwrap_or(-1);
    let headers = message.headers().map_or(Headers::None, |headers| Headers::Detached(headers.detach()));
    let before = batch.payload.bytes();
    batch.payload.push(offset.get(), timestamp, message.key(), message.payload(), headers);
    reader.next = offset.next();
    batch.payload.bytes() - before
}

impl Source for RecordSource {
    type Payload = Carried;

    fn reset(&mut self, lane: &LaneId, from: SourceOffset, session: Session) {
        let key = key_of(lane);
        if self.readers.contains_key(&key) {
            // The assignment's version moves on, so librdkafka drops what it had read before.
            self.unassign(&key);
        } else {
            self.ends.watch(key.clone());
        }
        let reader = Reader {
            id: lane.clone(),
            session,
            next: from,
            stopped: false,
            paused: false,
            at_end: false,
            last_news: Instant::now(),
            looking: false,
            missed: 0,
        };
        self.readers.insert(key.clone(), reader);
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(&key.0, key.1, Offset::Offset(from.get()))
            .and_then(|()| self.consumer.incremental_assign(&list))
            // a pause outlives the assignment in which it was asked for
            .and_then(|()| self.consumer.resume(&list));
        if let Err(error) = assigned {
            let failure = Failure::Retry { reason: format!("assigning {lane}: {error}") };
            self.events.push(SourceEvent::Failed { lane: lane.clone(), session, failure });
        }
    }

    fn pause(&mut self, lane: &LaneId) {
        self.set_paused(lane, true);
    }

    fn resume(&mut self, lane: &LaneId) {
        self.set_paused(lane, false);
    }

    fn close(&mut self, lane: &LaneId) {
        let key = key_of(lane);
        if self.readers.get(&key).is_some_and(|reader| reader.id == *lane) {
            self.readers.remove(&key);
            self.unassign(&key);
            self.ends.forget(&key);
        }
    }

    fn poll(&mut self, max_wait: Duration) -> Vec<SourceEvent<Carried>> {
        self.take_lookups();
        self.take_confirmed();
        let wait = match self.events.is_empty() {
            true if self.confirm.is_empty() => max_wait,
            // an answer is on its way
            true => max_wait.min(CONFIRM_WAIT),
            false => Duration::ZERO,
        };
        if self.confirm.is_full() {
            std::thread::sleep(wait);
        } else {
            self.read(wait);
        }
        self.take_confirmed();
        self.check_ends();
        std::mem::take(&mut self.events)
    }
}

impl RecordSource {
    fn set_paused(&mut self, lane: &LaneId, paused: bool) {
        let key = key_of(lane);
        let Some(reader) = self.readers.get_mut(&key).filter(|reader| reader.id == *lane) else { return };
        if reader.paused == paused || reader.stopped {
            reader.paused = paused;
            return;
        }
        reader.paused = paused;
        reader.last_news = Instant::now();
        let mut list = TopicPartitionList::new();
        list.add_partition(&key.0, key.1);
        let done = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = done {
            tracing::debug!(lane = %lane, paused, %error, "pause");
        }
    }
}

impl std::fmt::Debug for RecordSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordSource").field("readers", &self.readers.len()).finish_non_exhaustive()
    }
}

fn key_of(lane: &LaneId) -> Partition {
    (lane.topic().as_str().to_owned(), lane.partition.0)
}
