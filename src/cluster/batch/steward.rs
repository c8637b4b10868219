//! The task behind a sink that makes lanes ready to write: finds their leaders, raises fences, and keeps a courier per broker.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_wire::client::ProducerId;
use tokio::task::{AbortHandle, JoinSet};

use super::fence::{Place, Raised};
use super::sink::{Lanes, Shared};
use super::writer::{Origin, Phase, Writer};
use crate::core::batch::Session;
use crate::core::ids::{LaneId, TopicId};
use crate::core::lane::Failure;

/// Gathers lanes that open together, so that they share a fence.
const GATHER: Duration = Duration::from_millis(5);
/// Between two looks at lanes without a leader.
const LOOK_WAIT: Duration = Duration::from_millis(250);
/// Lanes behind one fence: each gets a marker, and has its tail read.
const LANES_PER_FENCE: usize = 1_000;

/// Serves lanes until dropped.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut couriers: HashMap<i32, AbortHandle> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let _looked_long_enough = tokio::time::timeout(LOOK_WAIT, shared.wanting.notified()).await;
        tokio::time::sleep(GATHER).await;
        for (lane, session) in find_leaders(&shared).await {
            let reason = "the target topic is another one of the same name".to_owned();
            shared.fail(&lane, session, Failure::Retry { reason });
        }
        raise_fences(&shared, &mut tasks).await;
        for leader in leaders(&shared) {
            if couriers.get(&leader).is_none_or(AbortHandle::is_finished) {
                couriers.insert(leader, tasks.spawn(super::courier::run(shared.clone(), leader)));
            }
        }
        put_all(&shared);
        while tasks.try_join_next().is_some() {}
    }
}

fn leaders(shared: &Shared) -> Vec<i32> {
    let mut leaders: Vec<i32> = shared.lanes().writers.values().filter_map(|writer| writer.leader).collect();
    leaders.sort_unstable();
    leaders.dedup();
    leaders
}

/// Lanes that got a leader by now go into the queue of their courier.
fn put_all(shared: &Shared) {
    let mut lanes = shared.lanes();
    let due: Vec<LaneId> =
        lanes.writers.values().filter(|writer| writer.is_due()).map(|writer| writer.id.clone()).collect();
    if !due.is_empty() {
        due.iter().for_each(|lane| {
            lanes.put(lane);
        });
        drop(lanes);
        shared.due.notify_waiters();
    }
}

/// Looks up the leaders of lanes that have none; answers lanes whose topic is another one by now.
async fn find_leaders(shared: &Shared) -> Vec<(LaneId, Session)> {
    let wants = |writer: &&Writer| writer.leader.is_none() && !writer.queue.is_empty();
    let mut topics: Vec<String> =
        shared.lanes().writers.values().filter(wants).map(|writer| writer.topic.clone()).collect();
    topics.sort_unstable();
    topics.dedup();
    if topics.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    if let Err(error) = shared.client.metadata(Some(&names)).await {
        tracing::debug!(%error, "leaders of the target");
    }
    let mut replaced = Vec::new();
    let Lanes { writers, .. } = &mut *shared.lanes();
    for writer in writers.values_mut().filter(|writer| writer.leader.is_none()) {
        let Some(topic) = shared.client.topic(&writer.topic) else { continue };
        if writer.topic_id.may_be(TopicId(topic.id.0)) {
            writer.leader = topic.partitions.get(&writer.id.partition.0).and_then(|partition| partition.leader);
        } else {
            replaced.push((writer.id.clone(), writer.session));
        }
    }
    replaced
}

/// One fence for every lane that has something to write and none yet; each is ready once its own tail is read. A partition without a leader would hold
/// up the end of the fence's transaction, and with it every later fence: its lane waits for a leader first (L8).
async fn raise_fences(shared: &Arc<Shared>, tasks: &mut JoinSet<()>) {
    let wanting: Vec<Wanting> = {
        let mut lanes = shared.lanes();
        let open = |w: &&mut Writer| w.phase == Phase::Open && w.leader.is_some() && !w.queue.is_empty();
        let open = lanes.writers.values_mut().filter(open).take(LANES_PER_FENCE);
        open.map(|writer| {
            writer.phase = Phase::Fencing;
            let (lane, session, place, origins) = (writer.id.clone(), writer.session, writer.place(), writer.origins());
            Wanting { lane, session, place, origins }
        })
        .collect()
    };
    if wanting.is_empty() {
        return;
    }
    let mut raised: HashMap<Origin, Result<Raised, Failure>> = HashMap::new();
    for origin in wanting.iter().flat_map(|wanting| wanting.origins.clone()).collect::<HashSet<_>>() {
        let places = wanting.iter().filter(|wanting| wanting.origins.contains(&origin));
        let places: Vec<Place> = places.map(|wanting| wanting.place.clone()).collect();
        let began = Instant::now();
        let outcome = shared.fence.raise(origin.as_deref(), &places).await;
        tracing::debug!(lanes = places.len(), elapsed = ?began.elapsed(), raised = outcome.is_ok(), "fence");
        raised.insert(origin, outcome);
    }
    for wanting in wanting {
        match wanting.producers(&raised) {
            Ok(producers) => drop(tasks.spawn(make_ready(shared.clone(), wanting, producers))),
            Err(failure) => shared.fail(&wanting.lane, wanting.session, failure),
        }
    }
}

/// A lane that wants to write.
struct Wanting {
    lane: LaneId,
    session: Session,
    place: Place,
    origins: Vec<Origin>,
}

impl Wanting {
    /// A producer per origin, if the fences of all of them are up at its place.
    fn producers(&self, raised: &HashMap<Origin, Result<Raised, Failure>>) -> Result<Vec<ProducerId>, Failure> {
        let at = (self.place.topic.clone(), self.place.partition);
        let one = |origin: &Origin| match raised.get(origin) {
            Some(Ok(raised)) => raised.refused.get(&at).map_or(Ok(raised.producer), |failure| Err(failure.clone())),
            Some(Err(failure)) => Err(failure.clone()),
            None => Err(Failure::Bug { reason: format!("no fence was raised for {}", self.lane) }),
        };
        self.origins.iter().map(one).collect()
    }
}

/// Reads a lane's tail; then it writes.
async fn make_ready(shared: Arc<Shared>, wanting: Wanting, producers: Vec<ProducerId>) {
    let Wanting { lane, session, place, .. } = wanting;
    let tail = match shared.fence.tail(&place, &producers).await {
        Ok(tail) => tail,
        Err(failure) => return shared.fail(&lane, session, failure),
    };
    let mut lanes = shared.lanes();
    let waits = |writer: &&mut Writer| writer.session == session && writer.phase == Phase::Fencing;
    let Some(writer) = lanes.writers.get_mut(&lane).filter(waits) else { return };
    writer.fenced(&producers, tail);
    let led = lanes.put(&lane);
    drop(lanes);
    if led {
        shared.due.notify_waiters();
    } else {
        shared.wanting.notify_one();
    }
}
