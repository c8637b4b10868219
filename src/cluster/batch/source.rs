//! The reading end: one task per source broker fetches for all lanes that it leads, at read_committed, with no membership in any group.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use causeway_wire::client::Client;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::budget::Budget;
use super::origins::Origins;
use super::wake::Wake;
use crate::cluster::Admin;
use crate::cluster::carried::Carried;
use crate::cluster::ends::EndsBoard;
use crate::cluster::offsets::Partition;
use crate::cluster::ports::{Source, SourceEvent};
use crate::core::batch::Session;
use crate::core::ids::{LaneId, SourceOffset};

/// What is known of a lane's reader.
#[derive(Debug)]
pub(super) struct Reader {
    pub id: LaneId,
    pub session: Session,
    /// The next offset to hand out.
    pub next: SourceOffset,
    pub paused: bool,
    /// Reading stopped (failed, out of range) until the next reset.
    pub stopped: bool,
    pub at_end: bool,
    pub leader: Option<i32>,
    /// Not asked for before this: its leader just said that it is not, or was not reached.
    pub not_before: Option<Instant>,
    /// Bytes of the lane that are held between source and target.
    pub held: Arc<AtomicUsize>,
}

impl Reader {
    pub fn key(&self) -> Partition {
        key_of(&self.id)
    }
}

/// What the tasks of a source share.
pub(super) struct Shared {
    pub admin: Admin,
    pub client: Client,
    pub ends: EndsBoard,
    pub budget: Budget,
    /// Tells where records were born; `None`: nobody asks.
    pub origins: Option<Origins>,
    readers: Mutex<HashMap<LaneId, Reader>>,
    events: Mutex<Vec<SourceEvent<Carried>>>,
    /// Lanes came, went on, or lost their leader.
    pub changed: Notify,
    wake: Wake,
}

impl Shared {
    pub fn readers(&self) -> MutexGuard<'_, HashMap<LaneId, Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn say(&self, event: SourceEvent<Carried>) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.wake.wake();
    }

    fn events(&self) -> MutexGuard<'_, Vec<SourceEvent<Carried>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads whole batches of the lanes of a flow.
pub struct BatchSource {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl BatchSource {
    /// A source on the cluster of `admin`, read through `client`; `wake` is told when there is something to poll.
    #[must_use]
    pub(super) fn new(
        admin: Admin,
        client: Client,
        ends: EndsBoard,
        budget: Budget,
        origins: Option<Origins>,
        wake: Wake,
        runtime: &tokio::runtime::Handle,
    ) -> Self {
        let shared = Arc::new(Shared {
            admin,
            client,
            ends,
            budget,
            origins,
            readers: Mutex::default(),
            events: Mutex::default(),
            changed: Notify::new(),
            wake,
        });
        let task = runtime.spawn(super::fetcher::keep_fetching(shared.clone()));
        BatchSource { shared, task }
    }

    fn set_paused(&self, lane: &LaneId, paused: bool) {
        if let Some(reader) = self.shared.readers().get_mut(lane) {
            reader.paused = paused;
        }
        if !paused {
            self.shared.changed.notify_waiters();
        }
    }
}

impl Source for BatchSource {
    type Payload = Carried;

    fn reset(&mut self, lane: &LaneId, from: SourceOffset, session: Session) {
        let mut readers = self.shared.readers();
        if !readers.contains_key(lane) {
            self.shared.ends.watch(key_of(lane));
        }
        let leader = readers.get(lane).and_then(|reader| reader.leader);
        let reader = Reader {
            id: lane.clone(),
            session,
            next: from,
            paused: false,
            stopped: false,
            at_end: false,
            leader,
            not_before: None,
            held: Arc::default(),
        };
        readers.insert(lane.clone(), reader);
        drop(readers);
        self.shared.events().retain(|event| event_lane(event) != lane);
        self.shared.changed.notify_waiters();
    }

    fn pause(&mut self, lane: &LaneId) {
        self.set_paused(lane, true);
    }

    fn resume(&mut self, lane: &LaneId) {
        self.set_paused(lane, false);
    }

    fn close(&mut self, lane: &LaneId) {
        if self.shared.readers().remove(lane).is_some() {
            self.shared.ends.forget(&key_of(lane));
        }
    }

    fn poll(&mut self, max_wait: Duration) -> Vec<SourceEvent<Carried>> {
        if self.shared.events().is_empty() {
            self.shared.wake.wait(max_wait);
        }
        std::mem::take(&mut *self.shared.events())
    }
}

impl Drop for BatchSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for BatchSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchSource").field("readers", &self.shared.readers().len()).finish_non_exhaustive()
    }
}

fn event_lane<P>(event: &SourceEvent<P>) -> &LaneId {
    match event {
        SourceEvent::Batch(batch) => &batch.lane,
        SourceEvent::CaughtUp { lane, .. }
        | SourceEvent::OutOfRange { lane, .. }
        | SourceEvent::Failed { lane, .. } => lane,
    }
}

pub(super) fn key_of(lane: &LaneId) -> Partition {
    (lane.topic().as_str().to_owned(), lane.partition.0)
}
