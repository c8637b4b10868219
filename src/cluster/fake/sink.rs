//! The fake's writing end: in order per lane, with acknowledgements that come late, in another order, or never.
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{FakeRecord, FakeRecords, Shared};
use crate::{
    cluster::ports::{Sink, SinkEvent},
    core::{
        batch::{Batch, Session, SourceRange},
        ids::{LaneId, SourceOffset, TargetOffset, TopicName},
        lane::Failure,
        offset_map::Run,
    },
};

/// Chances out of 100, per batch that lands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// It fails before anything of it landed.
    pub refused: u32,
    /// Some or all of it lands, and nobody is told.
    pub lost_ack: u32,
    /// The log takes an offset in the middle of it that is not ours.
    pub marker: u32,
}

#[derive(Debug, Clone)]
struct Sent {
    session: Session,
    range: SourceRange,
    records: FakeRecords,
}

#[derive(Debug, Default)]
struct Queue {
    topic: Option<TopicName>,
    sent: VecDeque<Sent>,
    session: Session,
    failed: Option<Session>,
}

/// What a dead process had sent and what the network still delivers, in order.
#[derive(Debug)]
pub struct Late {
    topic: TopicName,
    partition: i32,
    records: VecDeque<FakeRecord>,
}

impl Late {
    /// Writes the next record down. `false`: nothing is left.
    pub fn land_one(&mut self, cluster: &Shared) -> bool {
        let Some(record) = self.records.pop_front() else { return false };
        if let Some(log) = cluster.borrow_mut().log(&self.topic, self.partition) {
            log.append(record);
        }
        true
    }
}

/// Writes lanes to a cluster in memory.
#[derive(Debug)]
pub struct FakeSink {
    cluster: Shared,
    rng: fastrand::Rng,
    odds: Odds,
    queues: BTreeMap<LaneId, Queue>,
    events: Vec<SinkEvent>,
}

impl FakeSink {
    /// A sink on `cluster`.
    #[must_use]
    pub fn new(cluster: Shared, odds: Odds, rng: fastrand::Rng) -> Self {
        FakeSink { cluster, rng, odds, queues: BTreeMap::new(), events: Vec::new() }
    }
    /// Where the lane's records go.
    pub fn route(&mut self, lane: &LaneId, topic: &TopicName) {
        self.queues.entry(lane.clone()).or_default().topic = Some(topic.clone());
    }
    /// From now on nothing fails any more by chance.
    pub fn heal(&mut self) {
        self.odds = Odds::default();
    }
    /// The process dies: a part of what it had sent still lands, later.
    #[must_use]
    pub fn die(mut self) -> Vec<Late> {
        let mut late = Vec::new();
        for (lane, queue) in self.queues {
            let (Some(topic), None) = (queue.topic, queue.failed) else { continue };
            let all: Vec<FakeRecord> =
                queue.sent.into_iter().flat_map(|sent| sent.records).map(|(_, record)| record).collect();
            let refused = |record: &FakeRecord| self.cluster.borrow().refused.contains(&record.uid);
            let good = all.iter().position(refused).unwrap_or(all.len());
            let records = all.into_iter().take(self.rng.usize(0..=good)).collect();
            late.push(Late { topic, partition: lane.partition.0, records });
        }
        late
    }
    /// The target partition changed its leader: everything on its way fails.
    pub fn disconnect(&mut self, topic: &TopicName) {
        let lanes: Vec<_> = self
            .queues
            .iter()
            .filter(|(_, queue)| queue.topic.as_ref() == Some(topic))
            .map(|(l, _)| l.clone())
            .collect();
        for lane in lanes {
            self.events.retain(|event| !matches!(event, SinkEvent::Acked { lane: of, .. } if *of == lane));
            let session = self.queues.get(&lane).filter(|queue| queue.failed.is_none()).map(|queue| queue.session);
            if let Some(session) = session {
                self.fail(&lane, session, Failure::Retry { reason: "the leader changed".into() });
            }
        }
    }

    fn fail(&mut self, lane: &LaneId, session: Session, failure: Failure) {
        if let Some(queue) = self.queues.get_mut(lane) {
            queue.failed = Some(session);
            queue.sent.clear();
        }
        self.events.push(SinkEvent::Failed { lane: lane.clone(), session, failure });
    }

    /// Writes records one by one, up to the first that the cluster refuses, which is answered.
    fn write(&mut self, lane: &LaneId, topic: &TopicName, records: &FakeRecords) -> (Vec<Run>, Option<SourceOffset>) {
        let mut runs: Vec<Run> = Vec::new();
        let mut cluster = self.cluster.borrow_mut();
        for (offset, record) in records {
            if cluster.refused.contains(&record.uid) {
                return (runs, Some(*offset));
            }
            let marker = self.rng.u32(0..100) < self.odds.marker;
            let Some(log) = cluster.log(topic, lane.partition.0) else { return (runs, None) };
            if marker {
                log.mark();
            }
            let run = Run::new(*offset, 1, TargetOffset(log.append(record.clone())));
            match runs.last_mut() {
                Some(last) if last.continued_by(&run) => last.source_last = run.source_last,
                _ => runs.push(run),
            }
        }
        (runs, None)
    }

    /// The oldest batch of a lane reaches the cluster.
    pub fn land_one(&mut self, lane: &LaneId) {
        let Some(queue) = self.queues.get_mut(lane) else { return };
        let (Some(topic), Some(mut sent)) = (queue.topic.clone(), queue.sent.pop_front()) else { return };
        let chance = self.rng.u32(0..100);
        if chance < self.odds.refused {
            return self.fail(lane, sent.session, Failure::Retry { reason: "not enough replicas".into() });
        }
        let lost = chance < self.odds.refused + self.odds.lost_ack;
        if lost {
            sent.records.truncate(self.rng.usize(0..=sent.records.len()));
        }
        let (runs, refused) = self.write(lane, &topic, &sent.records);
        let (lane_id, session, range) = (lane.clone(), sent.session, sent.range);
        if lost {
            self.fail(lane, session, Failure::Retry { reason: "no answer".into() });
        } else if let Some(at) = refused {
            let range = SourceRange::new(at, at.next());
            self.fail(lane, session, Failure::Poison { range, reason: "refused".into() });
        } else {
            self.events.push(SinkEvent::Acked { lane: lane_id, session, range, runs });
        }
    }

    /// Lanes with something on its way.
    #[must_use]
    pub fn busy(&self) -> Vec<LaneId> {
        self.queues.iter().filter(|(_, queue)| !queue.sent.is_empty()).map(|(lane, _)| lane.clone()).collect()
    }
}

impl Sink for FakeSink {
    type Payload = FakeRecords;

    fn produce(&mut self, batch: Batch<FakeRecords>, skip: Vec<SourceOffset>) {
        let queue = self.queues.entry(batch.lane).or_default();
        if queue.failed == Some(batch.session) {
            return;
        }
        let mut records = batch.payload;
        records.retain(|(offset, _)| skip.binary_search(offset).is_err());
        queue.sent.push_back(Sent { session: batch.session, range: batch.range, records });
    }

    fn reset(&mut self, lane: &LaneId, session: Session) {
        // what is on its way is waited out: some of it lands
        while self.queues.get(lane).is_some_and(|queue| !queue.sent.is_empty()) && self.rng.bool() {
            self.land_one(lane);
        }
        let queue = self.queues.entry(lane.clone()).or_default();
        queue.sent.clear();
        (queue.session, queue.failed) = (session, None);
        self.events.push(SinkEvent::ResetDone { lane: lane.clone(), session });
    }

    fn close(&mut self, lane: &LaneId) {
        self.queues.remove(lane);
    }

    /// Some of what happened, acknowledgements in any order; what failed comes before what was acknowledged or after it.
    fn poll(&mut self, _max_wait: Duration) -> Vec<SinkEvent> {
        let mut out = Vec::new();
        let count = self.rng.usize(0..=self.events.len().min(4));
        for _ in 0..count {
            let at = self.rng.usize(0..self.events.len());
            out.push(self.events.swap_remove(at));
        }
        out
    }
}
