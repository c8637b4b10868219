//! Loop prevention of the simulated daemon: by the producer of a record, or by what it claims.

use std::collections::BTreeMap;

use causeway::cluster::fake::FakeRecords;
use causeway::core::{
    batch::Batch,
    ids::{ClusterId, Generation, LaneId, SourceOffset},
    planted::{self, Bug},
    progress::Progress,
    provenance::{self, Bench, Hop, Judgement},
};

use super::{Daemon, WAITS_MAX};

impl Daemon {
    /// With two clusters a copy was born on the target.
    pub(super) fn leave_out_copies(&mut self, id: &LaneId, batch: &mut Batch<FakeRecords>) {
        let before = batch.payload.len();
        batch.payload.retain(|(_, record)| !record.copy || planted::is(Bug::NoLoopCheck));
        let left_out = before - batch.payload.len();
        batch.summary.records -= u32::try_from(left_out).unwrap();
        self.slots.get_mut(id).unwrap().lane.count_left_out(left_out as u64);
    }

    pub(super) fn judge_one(
        &self,
        id: &LaneId,
        claim: &provenance::Claim,
        batch: &Batch<FakeRecords>,
        waits: u32,
        other: Option<&Progress>,
    ) -> Judgement {
        let source_id: ClusterId = self.source.borrow().id.clone();
        let target_id: ClusterId = self.target.borrow().id.clone();
        let slot = &self.slots[id];
        let brought =
            claim.hops.last().filter(|last| last.cluster == target_id && source_id != target_id).and_then(|last| {
                let generation = Generation { topic: id.topic().clone(), id: last.topic_id };
                other?.lane(&LaneId { generation, partition: last.partition })
            });
        let bench = Bench {
            target: &target_id,
            target_topic_id: slot.target_topic_id,
            partition: id.partition,
            brought_by: brought.map(|state| state.map()),
            last_hop_feeds_target: false,
            waited_out: waits > WAITS_MAX,
        };
        match provenance::judge(claim, &bench) {
            Judgement::VerifyAtTarget(hop) => {
                let Some((_, record)) = batch.payload.iter().find(|(at, _)| *at == claim.at) else {
                    return Judgement::Pass;
                };
                let mut target = self.target.borrow_mut();
                let log = target.log(slot.lane.target_topic(), hop.partition.0);
                let found = match log.and_then(|log| log.records.get(&hop.offset.get())) {
                    Some(found) => provenance::Found::Record(found.content()),
                    None => provenance::Found::Nothing,
                };
                provenance::verdict_after_reading(record.content(), found)
            }
            judgement => judgement,
        }
    }
}

pub(super) fn stamp(batch: &mut Batch<FakeRecords>, before: &BTreeMap<SourceOffset, Vec<Hop>>, cluster: &ClusterId) {
    let (topic_id, partition) = (batch.lane.generation.id, batch.lane.partition);
    for (offset, record) in &mut batch.payload {
        let own = Hop { cluster: cluster.clone(), topic_id, partition, offset: *offset };
        let hops = before.get(offset).map_or(&[][..], Vec::as_slice);
        record.hops = Some(provenance::encode(record.content(), hops, &own));
    }
}
