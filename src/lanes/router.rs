//! Loop prevention in the batch engine: a batch whose records were born elsewhere is brought on by one flow only, and never back (L4).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::flow::with_progress;
use super::shared::FlowShared;
use super::view::Phase;
use crate::cluster::batch::Pieces;
use crate::config::valid::Naming;
use crate::core::batch::{Batch, Shape, SourceRange, Summary};
use crate::core::graph::{self, Edge};
use crate::core::ids::{ClusterId, FlowName, PartitionId, SourceOffset, TargetOffset, TopicName};
use crate::core::origins::Born;
use crate::core::planted::{self, Bug};
use crate::core::progress::LaneState;
use crate::telemetry::names;

/// How long a record of the target's own may wait for the maps of the flows that brought it here: ten beats of their writers and a slow disk.
const MAP_WAIT_MAX: Duration = Duration::from_secs(20);
/// The same while such a flow has only begun to connect and to read its map.
const BEGIN_WAIT_MAX: Duration = Duration::from_secs(30);

/// Decides for one flow. Clusters are meant by their aliases, as the configuration's flows name them.
#[derive(Debug, Clone)]
pub(super) struct Router {
    flow: FlowName,
    target: ClusterId,
    target_id: ClusterId,
    /// Every flow of the configuration.
    flows: Arc<Vec<Arc<FlowShared>>>,
    /// The flows that copy a topic, by topic: as many as the flow has.
    edges: HashMap<TopicName, Arc<Vec<Edge>>>,
}

/// What becomes of a batch.
pub(super) enum Routed {
    /// It goes on without so many records; those of the target's own lie there where it says, as far as anybody knows. Of what follows the map of the flow
    /// that brought it here does not tell yet.
    Done {
        batch: Batch<Pieces>,
        left_out: u64,
        held: Vec<(SourceOffset, Option<TargetOffset>)>,
        waits: Option<Box<Batch<Pieces>>>,
    },
    /// The map of a flow that brought its beginning here has to move on first.
    Wait(Batch<Pieces>),
}

/// A map does not reach far enough yet.
struct NotYet;

impl Router {
    pub fn new(flow: &FlowShared, target_id: ClusterId, flows: Arc<Vec<Arc<FlowShared>>>) -> Self {
        let (flow, target) = (FlowName::new(flow.flow.name.as_str()), ClusterId::new(flow.flow.to.as_str()));
        Router { flow, target, target_id, flows, edges: HashMap::new() }
    }

    /// Sorts out what another flow brings to the target, or what comes from there. `since`: when the batch was read.
    pub fn route(&mut self, mut batch: Batch<Pieces>, since: Instant) -> Routed {
        let foreign = batch.payload.told().any(|told| told.born.is_some());
        if !foreign || planted::is(Bug::NoLoopCheck) {
            return Routed::Done { batch, left_out: 0, held: Vec::new(), waits: None };
        }
        let topic = batch.lane.topic().clone();
        let edges = self.edges_of(&topic);
        let (mut held, mut waits) = (Vec::new(), None);
        for told in batch.payload.told().filter(|told| told.born.is_some_and(|born| born.cluster == self.target_id)) {
            let here = (told.range.from.get()..told.range.to.get()).map(SourceOffset);
            match self.places(&edges, &topic, batch.lane.partition, here.collect(), since.elapsed()) {
                Ok(places) => held.extend(places),
                Err(NotYet) => {
                    waits = Some(told.range.from);
                    break;
                }
            }
        }
        // what lies before it must not wait with it: the other flow may wait for that in turn
        let waits = match waits {
            Some(at) if at <= batch.range.from => return Routed::Wait(batch),
            at => at.map(|at| Box::new(split_off(&mut batch, at))),
        };
        let mut brought: HashMap<ClusterId, bool> = HashMap::new();
        for born in batch.payload.told().filter_map(|told| told.born) {
            brought.entry(born.cluster.clone()).or_insert_with(|| self.brings(&edges, born));
        }
        let before = batch.payload.size().0;
        batch.payload.retain(|told| told.born.is_none_or(|born| brought[&born.cluster]));
        (batch.summary.records, batch.summary.bytes) = batch.payload.size();
        let left_out = u64::from(before - batch.summary.records);
        if left_out > 0 {
            batch.summary.shape = Shape::Holes;
            let (flow, topic) = (self.flow.to_string(), topic.to_string());
            metrics::counter!(names::LOOP_RECORDS_DROPPED, "flow" => flow, "topic" => topic).increment(left_out);
        }
        Routed::Done { batch, left_out, held, waits }
    }

    /// Whether it is this flow that brings what was born there to the target.
    fn brings(&self, edges: &[Edge], born: &Born) -> bool {
        born.cluster != self.target_id
            && self.node(edges, born).is_none_or(|origin| graph::carries(edges, &self.flow, &origin))
    }

    fn edges_of(&mut self, topic: &TopicName) -> Arc<Vec<Edge>> {
        let flows = &self.flows;
        let copies =
            |flow: &&Arc<FlowShared>| flow.flow.naming == Naming::Identity && flow.flow.topics.matches(topic.as_str());
        let edges = || Arc::new(flows.iter().filter(copies).map(edge).collect());
        self.edges.entry(topic.clone()).or_insert_with(edges).clone()
    }

    /// The cluster of the graph on which records were born: by its `cluster.id`, or, as long as that one was not reached, by what it is called. `None`: some
    /// other cluster, which no flow of ours knows.
    fn node(&self, edges: &[Edge], born: &Born) -> Option<ClusterId> {
        let ends = self.flows.iter().flat_map(|flow| <[_; 2]>::from(flow.ends()));
        let mut unmet = true;
        for end in ends {
            match end.cluster_id {
                Some(id) if id == born.cluster.as_str() => return Some(ClusterId::new(end.alias)),
                Some(_) if end.alias == born.alias.as_str() => unmet = false,
                _ => {}
            }
        }
        let alias = ClusterId::new(born.alias.as_str());
        (unmet && edges.iter().any(|edge| edge.source == alias || edge.target == alias)).then_some(alias)
    }

    /// Where records of the target's own, which lie at these offsets of the source, lie at the target: back along the way that they came.
    fn places(
        &self,
        edges: &[Edge],
        topic: &TopicName,
        partition: PartitionId,
        offsets: Vec<SourceOffset>,
        waited: Duration,
    ) -> Result<Vec<(SourceOffset, Option<TargetOffset>)>, NotYet> {
        let mut places: Vec<(SourceOffset, Option<TargetOffset>)> =
            offsets.into_iter().map(|offset| (offset, Some(TargetOffset(offset.get())))).collect();
        let mut at = edges.iter().find(|edge| edge.flow == self.flow).map(|edge| edge.source.clone());
        for _ in 0..edges.len() {
            let Some(here) = at.filter(|here| *here != self.target) else { break };
            let brings = |edge: &&Edge| edge.target == here && graph::carries(edges, &edge.flow, &self.target);
            let Some(edge) = edges.iter().find(brings) else {
                places.iter_mut().for_each(|place| place.1 = None);
                break;
            };
            self.one_back(&edge.flow, topic, partition, &mut places, waited)?;
            at = Some(edge.source.clone());
        }
        Ok(places)
    }

    /// From places at the target of `flow` to those at its source.
    fn one_back(
        &self,
        flow: &FlowName,
        topic: &TopicName,
        partition: PartitionId,
        places: &mut [(SourceOffset, Option<TargetOffset>)],
        waited: Duration,
    ) -> Result<(), NotYet> {
        let flow = self.flows.iter().find(|shared| shared.flow.name.as_str() == flow.as_str());
        let Some(connected) = flow.and_then(|flow| flow.connected()) else {
            let begins = flow.is_some_and(|flow| matches!(flow.phase(), Phase::Connecting | Phase::Loading));
            let patience = if begins { BEGIN_WAIT_MAX } else { MAP_WAIT_MAX };
            return if waited > patience { forget(places) } else { Err(NotYet) };
        };
        with_progress(&connected.progress, |progress| {
            let ours = |state: &&LaneState| state.lane().partition == partition && state.target_topic() == topic;
            let states: Vec<&LaneState> = progress.lanes_of(topic).filter(ours).collect();
            let known_to = states.iter().map(|state| state.map().target_to()).max().unwrap_or(TargetOffset::ZERO);
            for (_, place) in places {
                let Some(here) = *place else { continue };
                let origin = states.iter().find_map(|state| state.map().origin(here));
                if origin.is_none() && here >= known_to && waited <= MAP_WAIT_MAX {
                    return Err(NotYet);
                }
                *place = origin.map(|origin| TargetOffset(origin.get()));
            }
            Ok(())
        })
    }
}

/// Takes off what was read from `at` on.
fn split_off(batch: &mut Batch<Pieces>, at: SourceOffset) -> Batch<Pieces> {
    let payload = batch.payload.split_off(at);
    let (records, bytes) = payload.size();
    batch.summary.shape = Shape::Holes;
    let summary = Summary { records, bytes, ..batch.summary.clone() };
    let range = SourceRange::new(at, batch.range.to);
    batch.range.to = at;
    Batch { lane: batch.lane.clone(), range, summary, payload, ..*batch }
}

fn forget(places: &mut [(SourceOffset, Option<TargetOffset>)]) -> Result<(), NotYet> {
    places.iter_mut().for_each(|place| place.1 = None);
    Ok(())
}

fn edge(flow: &Arc<FlowShared>) -> Edge {
    Edge {
        flow: FlowName::new(flow.flow.name.as_str()),
        source: ClusterId::new(flow.flow.from.as_str()),
        target: ClusterId::new(flow.flow.to.as_str()),
        identity: flow.flow.naming == Naming::Identity,
    }
}
