//! The fake's reading end.
use std::{collections::BTreeMap, time::Duration};

use super::{FakeRecords, Shared};
use crate::{
    cluster::ports::{Source, SourceEvent},
    core::{
        batch::{Batch, Session, Shape, SourceRange, Summary},
        ids::{LaneId, SourceOffset},
        planted::{self, Bug},
        provenance::Claim,
    },
};

/// Offsets per batch at most: small, so that a short history has many batches.
const BATCH_OFFSETS_MAX: i64 = 6;

#[derive(Debug, Clone)]
struct Reader {
    next: i64,
    session: Session,
    paused: bool,
    stopped: bool,
    told_end: bool,
}

/// Reads lanes from a cluster in memory, read_committed.
#[derive(Debug)]
pub struct FakeSource {
    cluster: Shared,
    rng: fastrand::Rng,
    readers: BTreeMap<LaneId, Reader>,
    /// Whether provenance headers are read.
    cyclic: bool,
}

impl FakeSource {
    /// A source on `cluster`; `cyclic`: its flow lies on a cycle, so that provenance headers count.
    #[must_use]
    pub fn new(cluster: Shared, cyclic: bool, rng: fastrand::Rng) -> Self {
        FakeSource { cluster, rng, readers: BTreeMap::new(), cyclic }
    }

    fn read(&mut self, lane: &LaneId) -> Option<SourceEvent<FakeRecords>> {
        let reader = self.readers.get_mut(lane).filter(|reader| !reader.paused && !reader.stopped)?;
        let (session, lane) = (reader.session, lane.clone());
        let mut cluster = self.cluster.borrow_mut();
        let topic_id = cluster.topic_id(lane.topic());
        let same = topic_id.is_some_and(|id| id.may_be(lane.generation.id)) || planted::is(Bug::IgnoreTopicId);
        let log = cluster.log(lane.topic(), lane.partition.0)?;
        let ends = log.source_ends();
        if !same || reader.next < log.start || reader.next > log.end {
            reader.stopped = true;
            return Some(SourceEvent::OutOfRange { lane, session, topic_id, ends });
        }
        if reader.next >= log.stable() {
            let told = std::mem::replace(&mut reader.told_end, true);
            return (!told).then_some(SourceEvent::CaughtUp { lane, session, ends });
        }
        let to = log.stable().min(reader.next + self.rng.i64(1..=BATCH_OFFSETS_MAX));
        let records = log.records.range(reader.next..to);
        let payload: FakeRecords = records.map(|(at, record)| (SourceOffset(*at), record.clone())).collect();
        let range = SourceRange::new(SourceOffset(reader.next), SourceOffset(to));
        (reader.next, reader.told_end) = (to, false);
        let shape = if payload.len() as u64 == range.offsets() { Shape::Dense } else { Shape::Holes };
        let claim = |(at, record): &(SourceOffset, super::FakeRecord)| {
            record.hops.as_deref().map(|header| Claim::read(*at, header, 1, record.content()))
        };
        let claims = if self.cyclic { payload.iter().filter_map(claim).collect() } else { Vec::new() };
        let records = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let summary = Summary { shape, records, bytes: u64::from(records) * 10, claims, ..Summary::default() };
        Some(SourceEvent::Batch(Batch { lane, session, range, ends, summary, payload }))
    }
}

impl Source for FakeSource {
    type Payload = FakeRecords;

    fn reset(&mut self, lane: &LaneId, from: SourceOffset, session: Session) {
        let reader = Reader { next: from.get(), session, paused: false, stopped: false, told_end: false };
        self.readers.insert(lane.clone(), reader);
    }
    fn pause(&mut self, lane: &LaneId) {
        if let Some(reader) = self.readers.get_mut(lane) {
            reader.paused = true;
        }
    }
    fn resume(&mut self, lane: &LaneId) {
        if let Some(reader) = self.readers.get_mut(lane) {
            reader.paused = false;
        }
    }
    fn close(&mut self, lane: &LaneId) {
        self.readers.remove(lane);
    }
    fn poll(&mut self, _max_wait: Duration) -> Vec<SourceEvent<FakeRecords>> {
        let lanes: Vec<LaneId> = self.readers.keys().cloned().collect();
        lanes.iter().filter_map(|lane| self.read(lane)).collect()
    }
}
