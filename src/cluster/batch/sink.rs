//! The writing end: lanes queue batches here, a steward keeps older writers out, and one courier per target broker brings them over.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_wire::client::Client;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::fence::Fence;
use super::wake::Wake;
use super::writer::{Done, Phase, Writer};
use crate::cluster::Admin;
use crate::cluster::carried::Carried;
use crate::cluster::ports::{Sink, SinkEvent};
use crate::core::batch::{Batch, Session};
use crate::core::ids::{LaneId, SourceOffset, TargetOffset, TopicId, TopicName};
use crate::core::lane::Failure;

/// Largest batch where the target does not say: Kafka's default for `max.message.bytes`.
const BATCH_BYTES_MAX: usize = 1_048_588;

/// Lanes by their leader at the target, in the order in which they have something to write.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub writers: HashMap<LaneId, Writer>,
    pub due: HashMap<i32, VecDeque<LaneId>>,
}

impl Lanes {
    /// Puts a lane that has something to write into the queue of its leader; `false`: nobody leads it as far as is known.
    pub fn put(&mut self, lane: &LaneId) -> bool {
        let Some(writer) = self.writers.get_mut(lane).filter(|writer| writer.is_due()) else { return true };
        let Some(leader) = writer.leader else { return false };
        writer.in_hand = true;
        self.due.entry(leader).or_default().push_back(lane.clone());
        true
    }
}

/// What the tasks of a sink share.
pub(super) struct Shared {
    pub admin: Admin,
    pub client: Client,
    pub fence: Fence,
    lanes: Mutex<Lanes>,
    events: Mutex<Vec<SinkEvent>>,
    /// Batches not answered, over all lanes.
    unanswered: Arc<AtomicUsize>,
    /// Something is to be written.
    pub due: Notify,
    /// A lane needs a fence or a leader.
    pub wanting: Notify,
    /// The instance was fenced or dies: nothing more is sent.
    pub abandoned: AtomicBool,
    wake: Wake,
}

impl Shared {
    pub fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, Vec<SinkEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn done(&self, lane: &LaneId, done: Done) {
        let Done { session, range, runs } = done;
        self.events().push(SinkEvent::Acked { lane: lane.clone(), session, range, runs });
        self.wake.wake();
    }

    /// Ends the session of a lane, unless it has ended already.
    pub fn fail(&self, lane: &LaneId, session: Session, failure: Failure) {
        {
            let mut lanes = self.lanes();
            let current = |writer: &&mut Writer| writer.session == session && writer.phase != Phase::Failed;
            let Some(writer) = lanes.writers.get_mut(lane).filter(current) else { return };
            writer.phase = Phase::Failed;
            writer.clear();
        }
        self.events().push(SinkEvent::Failed { lane: lane.clone(), session, failure });
        self.wake.wake();
    }
}

/// Writes whole batches of the lanes of a flow.
pub struct BatchSink {
    shared: Arc<Shared>,
    steward: JoinHandle<()>,
    /// What the target takes at most, by target topic.
    bytes_max: HashMap<String, usize>,
}

impl BatchSink {
    /// A sink on the cluster of `admin`, written through `client`; `wake` is told when there is something to poll.
    #[must_use]
    pub(super) fn new(
        admin: Admin,
        client: Client,
        fence: Fence,
        wake: Wake,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            admin,
            client,
            fence,
            lanes: Mutex::default(),
            events: Mutex::default(),
            unanswered: Arc::default(),
            due: Notify::new(),
            wanting: Notify::new(),
            abandoned: AtomicBool::new(false),
            wake,
        });
        let steward = runtime.spawn(super::steward::keep(shared.clone()));
        BatchSink { shared, steward, bytes_max: HashMap::new() }
    }
}

impl Sink for BatchSink {
    type Payload = Carried;

    fn route(&mut self, lane: &LaneId, topic: &TopicName, topic_id: TopicId) {
        let mut lanes = self.shared.lanes();
        let bytes_max = self.bytes_max.get(topic.as_str()).copied().unwrap_or(BATCH_BYTES_MAX);
        let writer = lanes.writers.entry(lane.clone());
        let writer = writer.or_insert_with(|| {
            let unanswered = self.shared.unanswered.clone();
            Writer::new(lane.clone(), topic.as_str().to_owned(), topic_id, bytes_max, unanswered)
        });
        if writer.topic != topic.as_str() || writer.topic_id != topic_id {
            (writer.topic, writer.topic_id, writer.leader) = (topic.as_str().to_owned(), topic_id, None);
        }
    }

    fn set_bytes_max(&mut self, topic: &TopicName, bytes_max: usize) {
        self.bytes_max.insert(topic.as_str().to_owned(), bytes_max);
        for writer in self.shared.lanes().writers.values_mut().filter(|writer| writer.topic == topic.as_str()) {
            writer.bytes_max = bytes_max;
        }
    }

    fn produce(&mut self, batch: Batch<Carried>, skip: Vec<SourceOffset>) {
        let (batch, payload) = batch.take();
        let Batch { lane, session, range, .. } = batch;
        let mut lanes = self.shared.lanes();
        let current = |writer: &&mut Writer| writer.session == session && writer.phase != Phase::Failed;
        let Some(writer) = lanes.writers.get_mut(&lane).filter(current) else { return };
        let Carried::Pieces(pieces) = payload else {
            drop(lanes);
            let reason = "the batch engine was handed records of the record engine".to_owned();
            return self.shared.fail(&lane, session, Failure::Bug { reason });
        };
        let done = writer.push(range, pieces, &skip);
        let wants = writer.phase == Phase::Open || !lanes.put(&lane);
        drop(lanes);
        if let Some(done) = done {
            self.shared.done(&lane, done);
        }
        if wants {
            self.shared.wanting.notify_one();
        } else {
            self.shared.due.notify_waiters();
        }
    }

    fn reset(&mut self, lane: &LaneId, session: Session, from: TargetOffset) {
        if let Some(writer) = self.shared.lanes().writers.get_mut(lane) {
            writer.reset(session, from);
        }
        let mut events = self.shared.events();
        events.retain(|event| !matches!(event, SinkEvent::Acked { lane: of, .. } | SinkEvent::Failed { lane: of, .. } if of == lane));
        // nothing older is waited for: the fence before the first batch keeps it out; at least once, it may land as a copy among what follows
        events.push(SinkEvent::ResetDone { lane: lane.clone(), session });
    }

    fn close(&mut self, lane: &LaneId) {
        self.shared.lanes().writers.remove(lane);
    }

    fn in_flight(&self) -> usize {
        self.shared.unanswered.load(Ordering::Relaxed)
    }

    fn abandon(&mut self) {
        self.shared.abandoned.store(true, Ordering::Release);
        self.shared.lanes().writers.values_mut().for_each(Writer::clear);
    }

    fn poll(&mut self, max_wait: Duration) -> Vec<SinkEvent> {
        if self.shared.events().is_empty() && !max_wait.is_zero() {
            self.shared.wake.wait(max_wait);
        }
        std::mem::take(&mut *self.shared.events())
    }
}

impl Drop for BatchSink {
    fn drop(&mut self) {
        self.steward.abort();
    }
}

impl std::fmt::Debug for BatchSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchSink").field("lanes", &self.shared.lanes().writers.len()).finish_non_exhaustive()
    }
}
