//! A producer: one topic, one codec, acks=all and idempotent; every delivery report goes into its history.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext, PurgeConfig};

use super::{ORDERS_MAX, Order, POLL, Site, WorkloadError, client_config};
use crate::drill::history::{Event, History, Place, wall_ms};
use crate::drill::payload::{Identity, Uid, encode};
use crate::drill::shapes::{Mix, draw};

/// How long a stopping producer waits for its last answers; what is open then is `info`.
const FLUSH_MAX: Duration = Duration::from_secs(60);
/// How long purged messages may take to report back.
const PURGE_MAX: Duration = Duration::from_secs(5);
/// A message is retried this long: longer than any fault of a drill, so that an answer is the rule.
const MESSAGE_TIMEOUT_MS: &str = "300000";
/// Records one producer may have in its queue: bounds what an outage piles up.
const QUEUE_RECORDS_MAX: &str = "2000";
/// Largest burst after a pause, in seconds' worth of the rate: a stall is not made up for at once.
const BURST_SECONDS: f64 = 0.5;

/// What a producer does.
#[derive(Debug, Clone)]
pub struct ProducerPlan {
    /// Run of the drill.
    pub run: u64,
    /// Its number in the run.
    pub id: u32,
    /// The topic it writes.
    pub topic: String,
    /// Partitions it writes to, from 0.
    pub partitions: i32,
    /// Codec by librdkafka's name.
    pub codec: &'static str,
    /// What its records look like.
    pub mix: Mix,
    /// Seed of its choices.
    pub seed: u64,
    /// Records per second.
    pub rate: u32,
    /// Its history file.
    pub history: PathBuf,
    /// Zero of the monotonic times.
    pub start: Instant,
}

/// A running producer.
#[derive(Debug)]
pub struct Producer {
    name: String,
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), WorkloadError>>>,
}

#[derive(Debug)]
struct Shared {
    history: Mutex<History>,
    acked: AtomicU64,
    acked_at: Mutex<HashMap<String, u64>>,
    failures: Mutex<Vec<String>>,
    rate: u32,
    held: AtomicBool,
    broken_history: AtomicBool,
}

/// First surprising answers kept for the report; all are in the history.
const FAILURES_KEPT: usize = 5;

impl Shared {
    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, event: Event) {
        if Self::lock(&self.history).append(event).is_err() {
            self.broken_history.store(true, Relaxed);
        }
    }

    fn note(&self, text: String) {
        let mut failures = Self::lock(&self.failures);
        if failures.len() < FAILURES_KEPT {
            failures.push(text);
        }
    }
}

struct Context {
    shared: Arc<Shared>,
    cluster: String,
}

impl rdkafka::ClientContext for Context {
    // What matters arrives as a delivery report; a broker that is away is what a drill is about.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Uid>;

    fn delivery(&self, result: &DeliveryResult<'_>, uid: Self::DeliveryOpaque) {
        let uid = *uid;
        match result {
            Ok(message) => {
                self.shared.append(Event::Ok { uid, offset: message.offset() });
                self.shared.acked.fetch_add(1, Relaxed);
                *Shared::lock(&self.shared.acked_at).entry(self.cluster.clone()).or_default() += 1;
            }
            Err((error, _)) => {
                let why = error.to_string();
                if is_refusal(error) {
                    self.shared.note(format!("{uid}: {why}"));
                    self.shared.append(Event::Fail { uid, why });
                } else {
                    self.shared.append(Event::Info { uid, why });
                }
            }
        }
    }
}

/// Answers after which the record is surely in no log.
fn is_refusal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let refusals = [
        Code::MessageSizeTooLarge,
        Code::InvalidMessageSize,
        Code::TopicAuthorizationFailed,
        Code::PolicyViolation,
        Code::InvalidTopic,
        Code::InvalidRecord,
    ];
    error.rdkafka_error_code().is_some_and(|code| refusals.contains(&code))
}

impl Producer {
    /// Starts a producer at a cluster.
    ///
    /// # Errors
    /// [`WorkloadError::History`] if its history file cannot be opened.
    pub fn start(plan: ProducerPlan, site: Site) -> Result<Self, WorkloadError> {
        let name = format!("producer-{}", plan.id);
        let history = History::open(&plan.history, plan.start)
            .map_err(|source| WorkloadError::History { client: name.clone(), source })?;
        let shared = Arc::new(Shared {
            history: Mutex::new(history),
            acked: AtomicU64::new(0),
            acked_at: Mutex::default(),
            failures: Mutex::default(),
            rate: plan.rate,
            held: AtomicBool::new(false),
            broken_history: AtomicBool::new(false),
        });
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let worker = Worker {
            random: fastrand::Rng::with_seed(plan.seed ^ u64::from(plan.id)),
            next: vec![0; usize::try_from(plan.partitions).unwrap_or(0)],
            name: name.clone(),
            plan,
            shared: shared.clone(),
            site,
        };
        let thread = std::thread::spawn(move || worker.run(&inbox));
        Ok(Self { name, orders, shared, thread: Some(thread) })
    }

    /// Records acknowledged so far, anywhere.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Relaxed)
    }

    /// Records acknowledged so far by one cluster.
    pub fn acked_at(&self, alias: &str) -> u64 {
        Shared::lock(&self.shared.acked_at).get(alias).copied().unwrap_or(0)
    }

    /// The first definite refusals, in words.
    pub fn failures(&self) -> Vec<String> {
        Shared::lock(&self.shared.failures).clone()
    }

    /// Lets it pause, or go on.
    pub fn hold(&self, hold: bool) {
        self.shared.held.store(hold, Relaxed);
    }

    /// Tells it to give up on its cluster and go on at another.
    pub fn switch(&self, site: Site) {
        // A thread that ended cannot take orders; `finish` says why it did.
        let _ = self.orders.send(Order::Switch(site));
    }

    /// Ends it: waits for the last answers, a minute at most.
    ///
    /// # Errors
    /// Why it gave up, if it did.
    pub fn finish(mut self) -> Result<(), WorkloadError> {
        let _ = self.orders.send(Order::Stop);
        let died = || Err(WorkloadError::Died { client: self.name.clone() });
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| died()))
    }
}

struct Worker {
    plan: ProducerPlan,
    name: String,
    shared: Arc<Shared>,
    site: Site,
    random: fastrand::Rng,
    /// Next sequence number per partition; never used again, also not at another cluster.
    next: Vec<u64>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Order>) -> Result<(), WorkloadError> {
        loop {
            let producer = self.connect()?;
            let order = self.produce(&producer, inbox);
            if matches!(order, Some(Order::Stop)) && producer.flush(FLUSH_MAX).is_ok() {
                return self.flush_history();
            }
            producer.purge(PurgeConfig::default().queue().inflight());
            // Purged messages report back as `info`; one that does not has no outcome, which is `info` too.
            let _ = producer.flush(PURGE_MAX);
            self.flush_history()?;
            match order {
                Some(Order::Stop) => return Ok(()),
                Some(Order::Switch(site)) => self.site = site,
                None => {} // the client library gave this producer up for good: begin anew at the same cluster
            }
        }
    }

    fn connect(&self) -> Result<BaseProducer<Context>, WorkloadError> {
        client_config(&self.site, &self.name)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", self.plan.codec)
            .set("linger.ms", "5")
            .set("message.timeout.ms", MESSAGE_TIMEOUT_MS)
            .set("queue.buffering.max.messages", QUEUE_RECORDS_MAX)
            .create_with_context(Context { shared: self.shared.clone(), cluster: self.site.alias.clone() })
            .map_err(|source| WorkloadError::Kafka { client: self.name.clone(), source })
    }

    /// Sends at the rate until told otherwise; none if the client library gave up.
    fn produce(&mut self, producer: &BaseProducer<Context>, inbox: &Receiver<Order>) -> Option<Order> {
        let mut allowed = 0.0;
        let mut last = Instant::now();
        loop {
            match inbox.try_recv() {
                Ok(order) => return Some(order),
                Err(TryRecvError::Disconnected) => return Some(Order::Stop),
                Err(TryRecvError::Empty) => {}
            }
            if let Some((code, why)) = producer.client().fatal_error() {
                self.shared.append(Event::Mark { what: format!("{}: fatal: {code}: {why}", self.name) });
                self.shared.note(format!("fatal: {code}: {why}"));
                return None;
            }
            let rate = if self.shared.held.load(Relaxed) { 0.0 } else { f64::from(self.shared.rate) };
            allowed = (allowed + last.elapsed().as_secs_f64() * rate).min((rate * BURST_SECONDS).max(1.0));
            last = Instant::now();
            let mut full = false;
            while allowed >= 1.0 && !full {
                full = !self.send_one(producer);
                allowed -= 1.0;
            }
            producer.poll(POLL);
        }
    }

    /// Hands one record over; false if the queue is full, and then the record does not exist.
    fn send_one(&mut self, producer: &BaseProducer<Context>) -> bool {
        let partition = self.random.i32(0..self.plan.partitions.max(1));
        let next = &mut self.next[partition as usize];
        let uid = Uid { run: self.plan.run, producer: self.plan.id, partition, seq: *next };
        let (origin, topic) = (self.site.alias.clone(), self.plan.topic.clone());
        let identity = Identity { uid, origin, topic, send_ms: wall_ms() };
        let record = encode(&identity, draw(self.plan.mix, &mut self.random));
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: value.as_ref() }));
        let mut message: BaseRecord<'_, [u8], [u8], Box<Uid>> =
            BaseRecord::with_opaque_to(&identity.topic, Box::new(uid))
                .partition(partition)
                .timestamp(identity.send_ms)
                .headers(headers);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        let cluster = identity.origin.clone();
        let place = Place { cluster, topic: identity.topic.clone(), partition };
        match producer.send(message) {
            Ok(()) => self.shared.append(Event::Invoke { uid, place }),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => return false,
            Err((error, _)) => {
                self.shared.append(Event::Invoke { uid, place });
                self.shared.note(format!("{uid}: {error}"));
                self.shared.append(Event::Fail { uid, why: error.to_string() });
            }
        }
        *next += 1;
        true
    }

    fn flush_history(&self) -> Result<(), WorkloadError> {
        let error = |source| WorkloadError::History { client: self.name.clone(), source };
        Shared::lock(&self.shared.history).flush().map_err(error)?;
        if self.shared.broken_history.load(Relaxed) {
            return Err(error(std::io::Error::other("some events were not written")));
        }
        Ok(())
    }
}
