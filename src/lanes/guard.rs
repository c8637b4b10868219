//! Loop prevention (L4) in a pipeline: by the producers of batches, or by what records say of themselves, as the flow's engine is.

use std::time::Instant;

use super::provenance::{Hops, Judged};
use super::router::{Routed, Router};
use super::slot::Slot;
use crate::cluster::carried::Carried;
use crate::core::batch::Batch;
use crate::core::ids::{PartitionId, SourceOffset, TopicName};
use crate::core::lane::Failure;

/// The guard of a flow.
#[derive(Debug, Clone)]
pub(super) enum Guard {
    /// Record engine, on a cycle.
    Hops(Hops),
    /// Batch engine, where there are several ways between clusters.
    Router(Router),
}

/// What to do with a batch.
pub(super) enum Ruling {
    /// Copy it, without these records; judge the rest again, when another flow's map has moved on.
    Go { batch: Batch<Carried>, suppressed: Vec<SourceOffset>, waits: Option<Box<Batch<Carried>>> },
    /// Judge it again, when another flow's map has moved on.
    Wait(Batch<Carried>),
    /// Begin anew.
    Fail(Failure),
}

impl Guard {
    /// Judges a batch that was read at `since`; notes at its lane what stays back.
    pub fn judge(&mut self, batch: Batch<Carried>, since: Instant, slot: &mut Slot) -> Ruling {
        let (batch, payload) = batch.take();
        match (self, payload) {
            (Guard::Hops(hops), Carried::Records(records)) => {
                let (topic, topic_id) = (slot.lane.target_topic(), slot.target_topic_id);
                match hops.judge(batch.map(|()| records), since, topic, topic_id) {
                    Judged::Done { batch, suppressed, held, forged } => {
                        held.into_iter().for_each(|(source, target)| slot.lane.note_held(source, target));
                        slot.lane.count_forged(forged);
                        Ruling::Go { batch: batch.map(Carried::Records), suppressed, waits: None }
                    }
                    Judged::Wait(batch) => Ruling::Wait(batch.map(Carried::Records)),
                    Judged::Failed(error) => Ruling::Fail(Failure::Retry { reason: error.to_string() }),
                }
            }
            (Guard::Router(router), Carried::Pieces(pieces)) => match router.route(batch.map(|()| pieces), since) {
                Routed::Done { batch, left_out, held, waits } => {
                    held.into_iter().for_each(|(source, target)| slot.lane.note_held(source, target));
                    slot.lane.count_left_out(left_out);
                    let waits = waits.map(|batch| Box::new(batch.map(Carried::Pieces)));
                    Ruling::Go { batch: batch.map(Carried::Pieces), suppressed: Vec::new(), waits }
                }
                Routed::Wait(batch) => Ruling::Wait(batch.map(Carried::Pieces)),
            },
            _ => Ruling::Fail(Failure::Bug { reason: "a batch of the other engine".to_owned() }),
        }
    }

    /// A lane to this place was opened: it may be another topic now.
    pub fn opened(&mut self, target_topic: &TopicName, partition: PartitionId) {
        if let Guard::Hops(hops) = self {
            hops.windows.remove(&(target_topic.clone(), partition));
        }
    }
}
