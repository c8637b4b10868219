//! From the records of a progress topic to the state of a flow.
use std::collections::BTreeMap;

use super::{Key, LaneState, Record, SourceSeen, Suppressed, Value};
use crate::core::{
    checkpoint::CheckpointPart,
    failover::{ForkPoint, Switch},
    gap::Gap,
    groups::LastWritten,
    held::Held,
    ids::{FlowEpoch, GroupName, LaneId, PartitionId, SourceOffset, TopicName, UnixMillis},
    offset_map::Translation,
};

/// Who holds a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The epoch it took.
    pub epoch: FlowEpoch,
    /// The instance.
    pub owner: String,
    /// When.
    pub at: UnixMillis,
}

/// The state of a flow: the fold of its progress topic, in the topic's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    holder: Option<Claim>,
    lanes: BTreeMap<LaneId, LaneState>,
    gaps: BTreeMap<(LaneId, SourceOffset), Gap>,
    groups: BTreeMap<(GroupName, TopicName, PartitionId), LastWritten>,
    checkpoints: BTreeMap<String, BTreeMap<u32, CheckpointPart>>,
    switches: BTreeMap<String, Switch>,
    forks: BTreeMap<LaneId, ForkPoint>,
    suppressed: BTreeMap<LaneId, Suppressed>,
    held: BTreeMap<LaneId, Held>,
    seen: BTreeMap<TopicName, SourceSeen>,
    refused: u64,
}

impl Progress {
    /// Takes in the next record of the topic. What an instance wrote after it had lost the flow is counted and left out.
    pub fn apply(&mut self, record: Record) {
        match (record.key, record.value) {
            (Key::Claim { epoch, owner }, Some(Value::Claim { at })) => {
                // of two claims to one epoch the first in the topic wins
                if self.holder.as_ref().is_none_or(|holder| epoch > holder.epoch) {
                    self.holder = Some(Claim { epoch, owner, at });
                }
            }
            (Key::Claim { .. }, _) => {}
            (Key::Chunk { lane, epoch, first }, Some(Value::Chunk(chunk))) => {
                if epoch < self.epoch() && !crate::core::planted::is(crate::core::planted::Bug::IgnoreEpoch) {
                    self.refused += 1;
                    return;
                }
                let fits = match self.lanes.get_mut(&lane) {
                    Some(state) => state.apply_chunk(epoch, first, &chunk),
                    None => match LaneState::from_chunk(lane.clone(), epoch, first, &chunk) {
                        Some(state) => self.lanes.insert(lane, state).is_none(),
                        None => false,
                    },
                };
                self.refused += u64::from(!fits);
            }
            (Key::Chunk { lane, epoch, first }, None) => {
                if let Some(state) = self.lanes.get_mut(&lane) {
                    state.drop_chunk(epoch, first);
                }
            }
            (Key::Gap { lane, from }, Some(Value::Gap(gap))) => {
                // a line of an instance that had lost the flow speaks of what its successor may have copied
                if gap.epoch < self.epoch() && !crate::core::planted::is(crate::core::planted::Bug::IgnoreEpoch) {
                    self.refused += 1;
                    return;
                }
                put(&mut self.gaps, (lane, from), Some(gap));
            }
            (Key::Gap { lane, from }, None) => put(&mut self.gaps, (lane, from), None),
            (Key::Group { group, topic, partition }, Some(Value::Group(written))) => {
                put(&mut self.groups, (group, topic, partition), Some(written));
            }
            (Key::Group { group, topic, partition }, None) => put(&mut self.groups, (group, topic, partition), None),
            (Key::Checkpoint { name, part }, Some(Value::Checkpoint(content))) => {
                self.checkpoints.entry(name).or_default().insert(part, content);
            }
            (Key::Checkpoint { name, part }, None) => {
                if let Some(parts) = self.checkpoints.get_mut(&name) {
                    parts.remove(&part);
                    if parts.is_empty() {
                        self.checkpoints.remove(&name);
                    }
                }
            }
            (Key::Switch { id }, Some(Value::Switch(switch))) => put(&mut self.switches, id, Some(switch)),
            (Key::Switch { id }, None) => put(&mut self.switches, id, None),
            (Key::Fork { lane }, Some(Value::Fork(fork))) => put(&mut self.forks, lane, Some(fork)),
            (Key::Fork { lane }, None) => put(&mut self.forks, lane, None),
            (Key::Suppressed { lane }, Some(Value::Suppressed(counts))) => {
                put(&mut self.suppressed, lane, Some(counts));
            }
            (Key::Suppressed { lane }, None) => put(&mut self.suppressed, lane, None),
            (Key::Held { lane }, Some(Value::Held(held))) => put(&mut self.held, lane, Some(held)),
            (Key::Held { lane }, None) => put(&mut self.held, lane, None),
            (Key::SourceSeen { topic }, Some(Value::SourceSeen(seen))) => put(&mut self.seen, topic, Some(seen)),
            (Key::SourceSeen { topic }, None) => put(&mut self.seen, topic, None),
            // a value under a key of another kind: not ours
            _ => self.refused += 1,
        }
    }

    /// The epoch of the newest claim; 0 when nobody claimed the flow yet.
    #[must_use]
    pub fn epoch(&self) -> FlowEpoch {
        self.holder.as_ref().map_or(FlowEpoch(0), |holder| holder.epoch)
    }
    /// Who holds the flow.
    #[must_use]
    pub fn holder(&self) -> Option<&Claim> {
        self.holder.as_ref()
    }
    /// True when `owner` holds the flow at `epoch`: what has to be so before each write (L6).
    #[must_use]
    pub fn is_held_by(&self, epoch: FlowEpoch, owner: &str) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.epoch == epoch && holder.owner == owner)
    }
    /// The lane's state; `None` when it was never copied.
    #[must_use]
    pub fn lane(&self, lane: &LaneId) -> Option<&LaneState> {
        self.lanes.get(lane)
    }
    /// All lanes, by topic, generation and partition.
    pub fn lanes(&self) -> impl Iterator<Item = &LaneState> {
        self.lanes.values()
    }
    /// The lanes of a topic name, whatever their generation.
    pub fn lanes_of<'a>(&'a self, topic: &'a TopicName) -> impl Iterator<Item = &'a LaneState> {
        let first = LaneId::new(topic.clone(), super::TopicId::UNKNOWN, i32::MIN);
        self.lanes.range(first..).map(|(_, state)| state).take_while(move |state| state.lane().topic() == topic)
    }
    /// The gap ledger.
    pub fn gaps(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.values()
    }
    /// What was last committed for a group's partition of a source topic.
    #[must_use]
    pub fn group(&self, group: &GroupName, topic: &TopicName, partition: PartitionId) -> Option<&LastWritten> {
        self.groups.get(&(group.clone(), topic.clone(), partition))
    }
    /// Everything last committed for groups: group, source topic, partition.
    pub fn groups(&self) -> impl Iterator<Item = (&(GroupName, TopicName, PartitionId), &LastWritten)> {
        self.groups.iter()
    }
    /// DR checkpoints by name, with the parts that are there.
    pub fn checkpoints(&self) -> impl Iterator<Item = (&str, Vec<&CheckpointPart>)> {
        self.checkpoints.iter().map(|(name, parts)| (name.as_str(), parts.values().collect()))
    }
    /// The parts of one DR checkpoint.
    #[must_use]
    pub fn checkpoint(&self, name: &str) -> Option<Vec<&CheckpointPart>> {
        self.checkpoints.get(name).map(|parts| parts.values().collect())
    }
    /// Promotes and failovers, by ID.
    pub fn switches(&self) -> impl Iterator<Item = &Switch> {
        self.switches.values()
    }
    /// A lane's fork point.
    #[must_use]
    pub fn fork(&self, lane: &LaneId) -> Option<&ForkPoint> {
        self.forks.get(lane)
    }
    /// All fork points.
    pub fn forks(&self) -> impl Iterator<Item = &ForkPoint> {
        self.forks.values()
    }
    /// Loop-prevention counters of a lane.
    #[must_use]
    pub fn suppressed(&self, lane: &LaneId) -> Suppressed {
        self.suppressed.get(lane).copied().unwrap_or_default()
    }
    /// Where a source topic ended when last seen.
    #[must_use]
    pub fn source_seen(&self, topic: &TopicName) -> Option<&SourceSeen> {
        self.seen.get(topic)
    }
    /// What a lane on a cycle held back; `None` for lanes that are on none.
    #[must_use]
    pub fn held(&self, lane: &LaneId) -> Option<&Held> {
        self.held.get(lane)
    }
    /// Where a reader of the lane's source goes on at the target: never ahead of a record it has not seen, on a cycle too (L3).
    #[must_use]
    pub fn translate(&self, lane: &LaneState, x: SourceOffset) -> Translation {
        match self.held.get(lane.lane()) {
            Some(held) => held.translate(lane.map(), x),
            None => lane.map().translate(x),
        }
    }
    /// Records left out: written by an instance that had lost the flow, or contradicting themselves.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
