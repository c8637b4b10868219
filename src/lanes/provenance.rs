//! Loop prevention at work: what a batch claims is judged by the map of the flow that brought it here, and every record leaves with its hops.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::flow::with_progress;
use super::shared::FlowShared;
use crate::cluster::record::Records;
use crate::cluster::record::raw;
use crate::cluster::{Admin, ClusterError};
use crate::core::batch::Batch;
use crate::core::ids::{ClusterId, Generation, LaneId, PartitionId, SourceOffset, TargetOffset, TopicId, TopicName};
use crate::core::progress::Progress;
use crate::core::provenance::{self, Bench, Claim, Hop, Judgement};
use crate::telemetry::names;

/// How long a record may wait for the map of the flow that brought it: ten beats of that flow's writer and a slow disk.
const MAP_WAIT_MAX: Duration = Duration::from_secs(3);

/// Judges the claims of one flow. There is one per pipeline of a flow that lies on a cycle.
#[derive(Debug, Clone)]
pub(super) struct Hops {
    pub flow: String,
    pub source_id: ClusterId,
    pub target_id: ClusterId,
    pub target: Admin,
    pub runtime: tokio::runtime::Handle,
    /// Every flow of the daemon: one of them may have brought a record.
    pub flows: Arc<Vec<Arc<FlowShared>>>,
    /// The stretch of the target last read, by target topic and partition: one per lane at most.
    pub windows: HashMap<(TopicName, PartitionId), raw::Window>,
}

/// What became of a batch's claims.
pub(super) enum Judged {
    /// It goes on, without these; some of them lie at the target there; so many were forged, and are delivered.
    Done {
        batch: Batch<Records>,
        suppressed: Vec<SourceOffset>,
        held: Vec<(SourceOffset, Option<TargetOffset>)>,
        forged: u64,
    },
    /// The map has to move on first.
    Wait(Batch<Records>),
    /// The target could not be asked.
    Failed(ClusterError),
}

impl Hops {
    /// Judges a batch that arrived at `since`; `target_topic` and its ID are the lane's.
    pub fn judge(
        &mut self,
        mut batch: Batch<Records>,
        since: Instant,
        target_topic: &TopicName,
        target_topic_id: TopicId,
    ) -> Judged {
        let mut suppressed = Vec::new();
        let mut before: HashMap<SourceOffset, Vec<Hop>> = HashMap::new();
        let mut held = Vec::new();
        let mut forged = 0;
        let claims = std::mem::take(&mut batch.summary.claims);
        for claim in &claims {
            let waited_out = since.elapsed() > MAP_WAIT_MAX;
            let judgement = self.judge_one(claim, &batch.lane, target_topic_id, waited_out);
            let judgement = match judgement {
                Judgement::WaitForMap => {
                    batch.summary.claims = claims;
                    return Judged::Wait(batch);
                }
                Judgement::VerifyAtTarget(hop) => match self.verify(&batch, claim, &hop, target_topic) {
                    Ok(judgement) => judgement,
                    Err(error) => return Judged::Failed(error),
                },
                judgement => judgement,
            };
            match judgement {
                Judgement::Suppress => {
                    suppressed.push(claim.at);
                    let there = claim.hops.iter().rev().find(|hop| hop.cluster == self.target_id);
                    held.extend(there.map(|hop| (claim.at, Some(TargetOffset(hop.offset.get())))));
                }
                Judgement::PassForged => forged += 1,
                _ => {
                    before.insert(claim.at, claim.hops.clone());
                }
            }
        }
        self.stamp(&mut batch, &before);
        if !suppressed.is_empty() {
            metrics::counter!(names::LOOP_RECORDS_DROPPED, "flow" => self.flow.clone(), "topic" => batch.lane.topic().to_string())
                .increment(suppressed.len() as u64);
        }
        Judged::Done { batch, suppressed, held, forged }
    }

    fn judge_one(&self, claim: &Claim, lane: &LaneId, target_topic_id: TopicId, waited_out: bool) -> Judgement {
        let last = claim.hops.last();
        let brought_by = last.and_then(|last| self.progress_of(&last.cluster, &self.source_id));
        let unknown = Bench {
            target: &self.target_id,
            target_topic_id,
            partition: lane.partition,
            brought_by: None,
            last_hop_feeds_target: last.is_some_and(|last| self.feeds(&last.cluster)),
            waited_out,
        };
        let (Some(progress), Some(last)) = (brought_by, last) else { return provenance::judge(claim, &unknown) };
        with_progress(&progress, |progress| {
            let generation = Generation { topic: lane.topic().clone(), id: last.topic_id };
            let brought = progress.lane(&LaneId { generation, partition: last.partition });
            provenance::judge(claim, &Bench { brought_by: brought.map(|state| state.map()), ..unknown })
        })
    }

    /// The progress of the flow from one cluster to another, if this daemon runs it.
    fn progress_of(&self, from: &ClusterId, to: &ClusterId) -> Option<Arc<RwLock<Progress>>> {
        self.flows.iter().find_map(|flow| {
            let connected = flow.connected()?;
            let ours = connected.source.cluster_id() == from && connected.target.cluster_id() == to;
            ours.then_some(connected.progress)
        })
    }

    /// Whether a cluster has a flow of its own to our target under identity names.
    fn feeds(&self, cluster: &ClusterId) -> bool {
        self.flows.iter().any(|flow| {
            flow.flow.naming == crate::config::valid::Naming::Identity
                && flow.connected().is_some_and(|connected| {
                    connected.source.cluster_id() == cluster && connected.target.cluster_id() == &self.target_id
                })
        })
    }

    fn verify(
        &mut self,
        batch: &Batch<Records>,
        claim: &Claim,
        hop: &Hop,
        target_topic: &TopicName,
    ) -> Result<Judgement, ClusterError> {
        let records = &batch.payload;
        let Some(item) = records.items().iter().find(|item| item.offset == claim.at.get()) else {
            return Ok(Judgement::Pass);
        };
        let headers = match &item.headers {
            crate::cluster::record::Headers::Raw(headers) => headers.clone(),
            _ => Vec::new(),
        };
        let content = raw::content(records.key(item), records.value(item), &headers);
        // the hop names a place in our target: its source offset there is an offset of the target for us
        let at = TargetOffset(hop.offset.get());
        let key = (target_topic.clone(), hop.partition);
        let known = self.windows.get(&key).and_then(|window| window.find(at));
        let found = match known {
            // what was not there may be by now
            Some(found @ provenance::Found::Record(_)) => found,
            _ => {
                let read = raw::Window::read(&self.target, target_topic.as_str(), hop.partition, at);
                let window = self.runtime.block_on(read)?;
                let found = window.find(at).unwrap_or(provenance::Found::Nothing);
                self.windows.insert(key, window);
                found
            }
        };
        Ok(provenance::verdict_after_reading(content, found))
    }

    fn stamp(&self, batch: &mut Batch<Records>, before: &HashMap<SourceOffset, Vec<Hop>>) {
        for index in 0..batch.payload.items().len() {
            let offset = SourceOffset(batch.payload.items()[index].offset);
            let own = Hop {
                cluster: self.source_id.clone(),
                topic_id: batch.lane.generation.id,
                partition: batch.lane.partition,
                offset,
            };
            let hops = before.get(&offset).map_or(&[][..], Vec::as_slice);
            raw::stamp(&mut batch.payload, index, hops, &own);
        }
    }
}
