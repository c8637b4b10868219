//! A group member: reads, commits every few records, and writes down each record with its place.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{ORDERS_MAX, Order, POLL, Site, WorkloadError, client_config};
use crate::drill::history::{Event, History, Place};
use crate::drill::payload::{HeaderRef, Incoming, Uid, verify};

/// A quiet group commits what it has read after this long.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the group's committed positions may take to be read after an assignment.
const COMMITTED_MAX: Duration = Duration::from_secs(5);
/// Attempts to read the committed positions of one assignment.
const COMMITTED_TRIES: u32 = 5;

/// What a group member does.
#[derive(Debug, Clone)]
pub struct ReaderPlan {
    /// The group.
    pub group: String,
    /// Topics it reads.
    pub topics: Vec<String>,
    /// It commits after this many records.
    pub commit_every: u32,
    /// Its history file.
    pub history: PathBuf,
    /// Zero of the monotonic times.
    pub start: Instant,
}

/// How far a group member is, at the cluster where it is now.
#[derive(Debug, Clone, Default)]
pub struct ReaderState {
    /// Alias of the cluster.
    pub cluster: String,
    /// It has partitions assigned there.
    pub assigned: bool,
    /// Next offset by topic and partition: from its reads, or from what the group had committed before.
    pub positions: HashMap<(String, i32), i64>,
    /// Different records read, at any cluster.
    pub distinct: u64,
    /// Reads, at any cluster.
    pub reads: u64,
    /// When the first correct record never seen before was read here.
    pub first_new: Option<Instant>,
}

/// A running group member.
#[derive(Debug)]
pub struct Reader {
    name: String,
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), WorkloadError>>>,
}

#[derive(Debug)]
struct Shared {
    history: Mutex<History>,
    state: Mutex<ReaderState>,
    broken_history: AtomicBool,
}

impl Shared {
    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, event: Event) {
        if Self::lock(&self.history).append(event).is_err() {
            self.broken_history.store(true, Relaxed);
        }
    }
}

/// What the client library tells about one membership. It never tells how an asynchronous commit ended (rdkafka 0.39
/// takes events instead of callbacks, and librdkafka makes no event of it), so those stand in the history as asked for.
#[derive(Default)]
struct Context {
    assigned: AtomicBool,
}

impl rdkafka::ClientContext for Context {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Context {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.assigned.store(true, Relaxed);
        }
    }
}

impl Reader {
    /// Starts the member at a cluster.
    ///
    /// # Errors
    /// [`WorkloadError::History`] if its history file cannot be opened.
    pub fn start(plan: ReaderPlan, site: Site) -> Result<Self, WorkloadError> {
        let name = format!("group-{}", plan.group);
        let history = History::open(&plan.history, plan.start)
            .map_err(|source| WorkloadError::History { client: name.clone(), source })?;
        let shared = Arc::new(Shared {
            history: Mutex::new(history),
            state: Mutex::default(),
            broken_history: AtomicBool::new(false),
        });
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let worker =
            Worker { name: name.clone(), plan, shared: shared.clone(), site, seen: HashSet::new(), uncommitted: 0 };
        let thread = std::thread::spawn(move || worker.run(&inbox));
        Ok(Self { name, orders, shared, thread: Some(thread) })
    }

    /// How far it is.
    pub fn state(&self) -> ReaderState {
        Shared::lock(&self.shared.state).clone()
    }

    /// Tells it to leave its cluster as it is and go on at another.
    pub fn switch(&self, site: Site) {
        // A thread that ended cannot take orders; `finish` says why it did.
        let _ = self.orders.send(Order::Switch(site));
    }

    /// Ends it: commits what it has read and leaves the group.
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
    plan: ReaderPlan,
    name: String,
    shared: Arc<Shared>,
    site: Site,
    seen: HashSet<Uid>,
    uncommitted: u32,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Order>) -> Result<(), WorkloadError> {
        loop {
            self.uncommitted = 0;
            self.arrive();
            let consumer = self.join()?;
            let order = self.read(&consumer, inbox);
            self.flush_history()?;
            match order {
                Order::Stop => {
                    self.commit(&consumer, CommitMode::Sync);
                    drop(consumer);
                    return self.flush_history();
                }
                Order::Switch(site) => {
                    // Leaving a dead cluster may take the client library long: nobody waits for it.
                    std::thread::spawn(move || drop(consumer));
                    self.site = site;
                }
            }
        }
    }

    /// Begins anew at the present site; only the sums go on.
    fn arrive(&self) {
        let mut state = Shared::lock(&self.shared.state);
        let (distinct, reads) = (state.distinct, state.reads);
        *state = ReaderState { cluster: self.site.alias.clone(), distinct, reads, ..ReaderState::default() };
    }

    fn join(&self) -> Result<BaseConsumer<Context>, WorkloadError> {
        let error = |source| WorkloadError::Kafka { client: self.name.clone(), source };
        let consumer: BaseConsumer<Context> = client_config(&self.site, &self.name)
            .set("group.id", &self.plan.group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "1000")
            .set("fetch.wait.max.ms", "50")
            .create_with_context(Context::default())
            .map_err(error)?;
        let topics: Vec<&str> = self.plan.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(error)?;
        Ok(consumer)
    }

    fn read(&mut self, consumer: &BaseConsumer<Context>, inbox: &Receiver<Order>) -> Order {
        let mut last_commit = Instant::now();
        loop {
            match inbox.try_recv() {
                Ok(order) => return order,
                Err(TryRecvError::Disconnected) => return Order::Stop,
                Err(TryRecvError::Empty) => {}
            }
            let polled = consumer.poll(POLL);
            if consumer.context().assigned.swap(false, Relaxed) {
                self.note_assignment(consumer);
            }
            // An error here is a broker that is away; the client library goes on by itself.
            if let Some(Ok(message)) = polled {
                self.take(&message);
            }
            let due = self.uncommitted > 0 && last_commit.elapsed() >= COMMIT_INTERVAL;
            if due || self.uncommitted >= self.plan.commit_every {
                self.commit(consumer, CommitMode::Async);
                last_commit = Instant::now();
            }
        }
    }

    /// Writes down where the group begins: what it had committed at this cluster, or nothing.
    fn note_assignment(&self, consumer: &BaseConsumer<Context>) {
        let committed = (0..COMMITTED_TRIES).find_map(|_| consumer.committed(COMMITTED_MAX).ok());
        let Some(committed) = committed else {
            let what = format!("{}: committed positions at {} could not be read", self.plan.group, self.site.alias);
            return self.shared.append(Event::Mark { what });
        };
        let mut state = Shared::lock(&self.shared.state);
        state.assigned = true;
        for element in committed.elements() {
            let place = self.place(element.topic(), element.partition());
            let offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            if let Some(offset) = offset {
                state.positions.entry((place.topic.clone(), place.partition)).or_insert(offset);
            }
            self.shared.append(Event::Resumed { group: self.plan.group.clone(), place, offset });
        }
    }

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let headers: Vec<HeaderRef<'_>> = (message.headers().into_iter())
            .flat_map(|headers| headers.iter())
            .map(|header| (header.key.as_bytes(), header.value))
            .collect();
        let timestamp_ms = message.timestamp().to_millis().unwrap_or(-1);
        let record = Incoming { key: message.key(), value: message.payload(), headers: &headers, timestamp_ms };
        let (uid, correct) = match verify(&record) {
            Ok(identity) => (Some(identity.uid), true),
            Err(damage) => (damage.identity.map(|identity| identity.uid), false),
        };
        let is_new = uid.is_some_and(|uid| self.seen.insert(uid));
        let place = self.place(message.topic(), message.partition());
        let mut state = Shared::lock(&self.shared.state);
        state.reads += 1;
        state.distinct += u64::from(is_new);
        state.positions.insert((place.topic.clone(), place.partition), message.offset() + 1);
        if is_new && correct && state.first_new.is_none() {
            state.first_new = Some(Instant::now());
        }
        drop(state);
        self.uncommitted += 1;
        self.shared.append(Event::Read { group: self.plan.group.clone(), place, offset: message.offset(), uid });
    }

    /// Asks for a commit of all positions, and waits for the answer only if told to: at a cluster that died it may
    /// take long. A refusal is tried again with the next commit.
    fn commit(&mut self, consumer: &BaseConsumer<Context>, mode: CommitMode) {
        let Ok(positions) = consumer.position() else { return };
        let mut list = TopicPartitionList::new();
        let mut offsets = Vec::new();
        for element in positions.elements() {
            if let Offset::Offset(offset) = element.offset() {
                // A position is a valid offset by its type; the list refuses nothing else.
                let _ = list.add_partition_offset(element.topic(), element.partition(), Offset::Offset(offset));
                offsets.push((self.place(element.topic(), element.partition()), offset));
            }
        }
        if list.count() == 0 {
            return;
        }
        let group = &self.plan.group;
        if let Err(error) = consumer.commit(&list, mode) {
            let what = format!("{group}: commit at {}: {error}", self.site.alias);
            return self.shared.append(Event::Mark { what });
        }
        self.uncommitted = 0;
        for (place, offset) in offsets {
            let group = group.clone();
            self.shared.append(match mode {
                CommitMode::Sync => Event::Committed { group, place, offset },
                CommitMode::Async => Event::CommitAsked { group, place, offset },
            });
        }
    }

    fn place(&self, topic: &str, partition: i32) -> Place {
        Place { cluster: self.site.alias.clone(), topic: topic.to_owned(), partition }
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
