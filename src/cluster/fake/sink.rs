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
        ids::{LaneId, SourceOffset, TargetOffset, TopicId, TopicName},
        landed::Landed,
        lane::Failure,
        offset_map::{Run, push_run},
        planted::{self, Bug},
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
    /// What was written down ends here.
    from: TargetOffset,
    /// Exactly once: the fence behind which the lane writes, once it is raised.
    fence: Option<u64>,
    /// Exactly once: the topic that is written, as produce requests name it (version 13).
    topic_id: TopicId,
    /// Exactly once: what older writers had landed behind `from`.
    tail: Landed,
}

/// What a dead process had sent and what the network still delivers, in order.
#[derive(Debug)]
pub struct Late {
    topic: TopicName,
    partition: i32,
    records: VecDeque<FakeRecord>,
    fence: Option<u64>,
    topic_id: TopicId,
}

impl Late {
    /// Writes the next record down. `false`: nothing is left.
    pub fn land_one(&mut self, cluster: &Shared) -> bool {
        let Some(record) = self.records.pop_front() else { return false };
        let mut cluster = cluster.borrow_mut();
        let same = self.fence.is_none() || cluster.topic_id(&self.topic) == Some(self.topic_id);
        if let Some(log) = cluster.log(&self.topic, self.partition)
            && same
            && self.fence.is_none_or(|fence| fence >= log.fence)
        {
            log.append(FakeRecord { copy: self.fence.is_some(), ..record });
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
    exactly_once: bool,
    queues: BTreeMap<LaneId, Queue>,
    events: Vec<SinkEvent>,
}

impl FakeSink {
    /// A sink on `cluster`.
    #[must_use]
    pub fn new(cluster: Shared, odds: Odds, rng: fastrand::Rng) -> Self {
        FakeSink { cluster, rng, odds, exactly_once: false, queues: BTreeMap::new(), events: Vec::new() }
    }
    /// Older writers are kept out and what they had landed is not written again, as the batch engine does.
    #[must_use]
    pub fn exactly_once(mut self, yes: bool) -> Self {
        self.exactly_once = yes;
        self
    }
    /// From now on nothing fails any more by chance.
    pub fn heal(&mut self) {
        self.odds = Odds::default();
    }
    /// The process dies: a part of what it had sent still lands, later.
    #[must_use]
    pub fn die(mut self) -> Vec<Late> {
        let mut late = Vec::new();
        for (lane, mut queue) in self.queues {
            let (Some(topic), None) = (queue.topic, queue.failed) else { continue };
            if self.exactly_once && queue.fence.is_none() {
                continue; // nothing is sent before the fence is up
            }
            let mut all: Vec<(SourceOffset, FakeRecord)> =
                queue.sent.into_iter().flat_map(|sent| sent.records).collect();
            // what had landed before was not sent
            let wanted: Vec<(SourceOffset, u64)> = all.iter().map(|(offset, record)| (*offset, record.uid)).collect();
            all.drain(..queue.tail.take(&wanted).0);
            let all: Vec<FakeRecord> = all.into_iter().map(|(_, record)| record).collect();
            let refused = |record: &FakeRecord| self.cluster.borrow().refused.contains(&record.uid);
            let good = all.iter().position(refused).unwrap_or(all.len());
            let records = all.into_iter().take(self.rng.usize(0..=good)).collect();
            late.push(Late {
                topic,
                partition: lane.partition.0,
                records,
                fence: queue.fence,
                topic_id: queue.topic_id,
            });
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

    /// Exactly once: raises the fence before the first write, and takes what had landed off the records. `None`: somebody else has raised a newer
    /// fence.
    fn keep_others_out(&mut self, lane: &LaneId, topic: &TopicName, records: &mut FakeRecords) -> Option<Vec<Run>> {
        let queue = self.queues.get_mut(lane)?;
        if !self.exactly_once {
            return Some(Vec::new());
        }
        let mut cluster = self.cluster.borrow_mut();
        if cluster.topic_id(topic) != Some(queue.topic_id) {
            return None;
        }
        if queue.fence.is_none() {
            let Some((fence, end)) = cluster.raise_fence(topic, lane.partition.0) else { return Some(Vec::new()) };
            queue.fence = Some(fence);
            if planted::is(Bug::NoFence) {
                cluster.log(topic, lane.partition.0)?.fence = 0;
            }
            let log = cluster.log(topic, lane.partition.0)?;
            let from = if planted::is(Bug::ForgetTail) { end } else { queue.from.get().min(end) };
            queue.tail = Landed::behind(queue.from);
            let ours = log.records.range(from..end).filter(|(_, record)| record.copy);
            ours.for_each(|(at, record)| queue.tail.push(TargetOffset(*at), record.uid));
        }
        if cluster.log(topic, lane.partition.0)?.fence > queue.fence? {
            return None;
        }
        let wanted: Vec<(SourceOffset, u64)> = records.iter().map(|(offset, record)| (*offset, record.uid)).collect();
        let (landed, runs) = queue.tail.take(&wanted);
        records.drain(..landed);
        Some(runs)
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
            let run = Run::new(
                *offset,
                1,
                TargetOffset(log.append(FakeRecord { copy: self.exactly_once, ..record.clone() })),
            );
            push_run(&mut runs, run);
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
        let Some(mut found) = self.keep_others_out(lane, &topic, &mut sent.records) else {
            return self.fail(
                lane,
                sent.session,
                Failure::Retry { reason: "another writer has raised a fence, or the topic is another one".into() },
            );
        };
        let (runs, refused) = self.write(lane, &topic, &sent.records);
        found.extend(runs);
        let runs = found;
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

    fn route(&mut self, lane: &LaneId, topic: &TopicName, topic_id: TopicId) {
        let queue = self.queues.entry(lane.clone()).or_default();
        (queue.topic, queue.topic_id) = (Some(topic.clone()), topic_id);
    }

    fn produce(&mut self, batch: Batch<FakeRecords>, skip: Vec<SourceOffset>) {
        let queue = self.queues.entry(batch.lane).or_default();
        if queue.failed == Some(batch.session) {
            return;
        }
        let mut records = batch.payload;
        records.retain(|(offset, _)| skip.binary_search(offset).is_err());
        queue.sent.push_back(Sent { session: batch.session, range: batch.range, records });
    }

    fn reset(&mut self, lane: &LaneId, session: Session, from: TargetOffset) {
        // what is on its way is waited out: some of it lands
        while self.queues.get(lane).is_some_and(|queue| !queue.sent.is_empty()) && self.rng.bool() {
            self.land_one(lane);
        }
        let queue = self.queues.entry(lane.clone()).or_default();
        queue.sent.clear();
        (queue.session, queue.failed) = (session, None);
        (queue.from, queue.fence) = (from, None);
        queue.tail = Landed::default();
        self.events.push(SinkEvent::ResetDone { lane: lane.clone(), session });
    }

    fn close(&mut self, lane: &LaneId) {
        self.queues.remove(lane);
    }

    fn in_flight(&self) -> usize {
        self.queues.values().map(|queue| queue.sent.len()).sum()
    }

    fn abandon(&mut self) {
        self.queues.values_mut().for_each(|queue| queue.sent.clear());
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
