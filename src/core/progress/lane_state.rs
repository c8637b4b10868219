//! A lane's durable state: its map, and the chunks in which that map lies in the progress topic.
use super::{Chunk, Key, Record, Value};
use crate::core::{
    batch::{SourceRange, TargetEnds},
    ids::{FlowEpoch, LaneId, LeaderEpoch, SourceOffset, TargetOffset, TopicId, TopicName},
    offset_map::{AppendError, OffsetMap, Run},
};

/// Runs per chunk: at most 12 bytes each in the usual case, so a rewrite of the newest chunk stays below 2 KiB.
pub const RUNS_PER_CHUNK: usize = 128;

/// A chunk in the topic, known by what its key and its neighbours need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    first: SourceOffset,
    epoch: FlowEpoch,
    target_base: TargetOffset,
}

/// Position and map of a lane, and how they are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneState {
    lane: LaneId,
    map: OffsetMap,
    target_topic: TopicName,
    target_topic_id: TopicId,
    leader_epoch: LeaderEpoch,
    /// Live chunks, ascending; the last one is open: it is the only one that is rewritten.
    heads: Vec<Head>,
    /// The runs of the open chunk.
    open: Vec<Run>,
    /// Records owed to the topic besides the open chunk: chunks that were closed, then tombstones.
    owed: Vec<Record>,
}

impl LaneState {
    /// The state of a lane that starts to copy at `position` onto a partition whose log end is `target_end`.
    #[must_use]
    pub fn new(
        lane: LaneId,
        target: (TopicName, TopicId),
        epoch: FlowEpoch,
        position: SourceOffset,
        target_end: TargetOffset,
    ) -> Self {
        LaneState {
            lane,
            map: OffsetMap::new(position, target_end),
            target_topic: target.0,
            target_topic_id: target.1,
            leader_epoch: LeaderEpoch::UNKNOWN,
            heads: vec![Head { first: position, epoch, target_base: target_end }],
            open: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// The lane.
    #[must_use]
    pub fn lane(&self) -> &LaneId {
        &self.lane
    }
    /// The offset map.
    #[must_use]
    pub fn map(&self) -> &OffsetMap {
        &self.map
    }
    /// The next source offset to copy.
    #[must_use]
    pub fn position(&self) -> SourceOffset {
        self.map.position()
    }
    /// The target topic's name.
    #[must_use]
    pub fn target_topic(&self) -> &TopicName {
        &self.target_topic
    }
    /// The target topic's ID when this was written.
    #[must_use]
    pub fn target_topic_id(&self) -> TopicId {
        self.target_topic_id
    }
    /// The source's leader epoch at the position.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }
    /// The flow epoch that wrote the newest chunk.
    #[must_use]
    pub fn epoch(&self) -> FlowEpoch {
        self.head().epoch
    }

    fn head(&self) -> Head {
        *self.heads.last().expect("there is always an open chunk: `new` and `from_chunk` make one, none takes the last")
    }

    /// Goes on as `epoch`: the open chunk is written again under the new epoch's key, and the old key is removed after that.
    pub fn adopt(&mut self, epoch: FlowEpoch) {
        let lane = &self.lane;
        let head = self.heads.last_mut().expect("there is always an open chunk");
        if head.epoch != epoch {
            let key = Key::Chunk { lane: lane.clone(), epoch: head.epoch, first: head.first };
            self.owed.push(Record::tombstone(key));
            head.epoch = epoch;
        }
    }

    /// Takes in that `range` is done and where its records landed. Nothing changes on an error.
    pub fn append(&mut self, range: SourceRange, runs: &[Run], leader_epoch: LeaderEpoch) -> Result<(), AppendError> {
        if range.from < self.position() {
            // a repeat: check on a copy, so that an error leaves no half-cut state behind
            let mut map = self.map.clone();
            map.append(range.from, range.to, runs)?;
            self.restart_at(range.from, self.map.target_to());
            self.map.void_source_from(range.from);
        }
        self.map.append(range.from, range.to, runs)?;
        self.leader_epoch = leader_epoch;
        for &run in runs {
            if let Some(last) = self.open.last_mut().filter(|last| last.continued_by(&run)) {
                last.source_last = run.source_last;
                continue;
            }
            if self.open.len() == RUNS_PER_CHUNK {
                self.close(run.source_first, run.target_first);
            }
            self.open.push(run);
        }
        Ok(())
    }

    /// Ends the open chunk at `at` and opens the next one there.
    fn close(&mut self, at: SourceOffset, target_base: TargetOffset) {
        let closed = self.open_chunk(at);
        self.owed.push(closed);
        let epoch = self.head().epoch;
        self.heads.push(Head { first: at, epoch, target_base });
        self.open.clear();
    }

    fn open_chunk(&self, covered_to: SourceOffset) -> Record {
        let head = self.head();
        Record {
            key: Key::Chunk { lane: self.lane.clone(), epoch: head.epoch, first: head.first },
            value: Some(Value::Chunk(Chunk {
                covered_to,
                target_base: head.target_base,
                target_from: self.map.target_from(),
                target_topic_id: self.target_topic_id,
                target_topic: self.target_topic.clone(),
                leader_epoch: self.leader_epoch,
                runs: self.open.clone(),
            })),
        }
    }

    /// Drops every chunk from `at` on and opens a new one there. The chunk before may still hold runs beyond `at`: whoever folds cuts them.
    fn restart_at(&mut self, at: SourceOffset, target_base: TargetOffset) {
        let epoch = self.head().epoch;
        let keep = self.heads.partition_point(|head| head.first < at);
        if keep == self.heads.len() {
            // the open chunk stays, up to here: it may hold runs that were never written yet
            self.open.retain(|run| run.source_first < at);
            if let Some(last) = self.open.last_mut() {
                last.source_last = last.source_last.min(SourceOffset(at.get() - 1));
            }
            let closed = self.open_chunk(at);
            self.owed.push(closed);
        }
        for head in self.heads.drain(keep..) {
            if (head.first, head.epoch) != (at, epoch) {
                let key = Key::Chunk { lane: self.lane.clone(), epoch: head.epoch, first: head.first };
                self.owed.push(Record::tombstone(key));
            }
        }
        self.heads.push(Head { first: at, epoch, target_base });
        self.open.clear();
    }

    /// The target lost its tail: voids what landed there and answers the new, earlier position.
    pub fn void_target_from(&mut self, log_end: TargetOffset) -> SourceOffset {
        if log_end < self.map.target_to() {
            let position = self.map.void_target_from(log_end);
            self.restart_at(position, log_end);
        }
        self.position()
    }

    /// The source lost its tail: voids what was copied from there.
    pub fn void_source_from(&mut self, log_end: SourceOffset) {
        if log_end < self.position() {
            self.map.void_source_from(log_end);
            self.restart_at(log_end, self.map.target_to());
        }
    }

    /// The target topic is another one now: the whole map is void, copying starts at `position`. What was on its way to the old topic by name may
    /// lie in the new one already: readers of earlier records are sent to its start (L3).
    pub fn start_anew(&mut self, target_topic_id: TopicId, position: SourceOffset, target: TargetEnds) {
        let target_end = target.log_end;
        self.map = OffsetMap::new(position, target_end);
        self.map.lower_target_from(target.log_start);
        let epoch = self.head().epoch;
        for head in std::mem::take(&mut self.heads) {
            if (head.first, head.epoch) != (position, epoch) {
                let key = Key::Chunk { lane: self.lane.clone(), epoch: head.epoch, first: head.first };
                self.owed.push(Record::tombstone(key));
            }
        }
        self.target_topic_id = target_topic_id;
        self.heads.push(Head { first: position, epoch, target_base: target_end });
        self.open.clear();
    }

    /// Learns a target topic ID that was not known so far.
    pub fn learn_target_topic_id(&mut self, id: TopicId) {
        if self.target_topic_id == TopicId::UNKNOWN {
            self.target_topic_id = id;
        }
    }

    /// Forgets what lies below the target's log start; chunks that hold nothing else are removed from the topic with the next write.
    pub fn trim_target(&mut self, log_start: TargetOffset) {
        self.map.trim_target(log_start);
        // all of a chunk lies below the next one's base
        let gone = self.heads.windows(2).take_while(|pair| pair[1].target_base <= log_start).count();
        for head in self.heads.drain(..gone) {
            let key = Key::Chunk { lane: self.lane.clone(), epoch: head.epoch, first: head.first };
            self.owed.push(Record::tombstone(key));
        }
    }

    /// What has to be written to make this state durable, in this order: closed chunks, the open chunk, tombstones.
    pub fn take_records(&mut self) -> Vec<Record> {
        let owed = std::mem::take(&mut self.owed);
        let (mut tombstones, mut records): (Vec<_>, Vec<_>) =
            owed.into_iter().partition(|record| record.value.is_none());
        records.push(self.open_chunk(self.position()));
        // a chunk that was given up and begun again under the same key is live: its old tombstone must not follow it
        tombstones.retain(|record| match &record.key {
            Key::Chunk { epoch, first, .. } => {
                !self.heads.iter().any(|head| (head.epoch, head.first) == (*epoch, *first))
            }
            _ => true,
        });
        records.extend(tombstones);
        records
    }

    /// The state that a first chunk of a lane gives.
    pub(super) fn from_chunk(lane: LaneId, epoch: FlowEpoch, first: SourceOffset, chunk: &Chunk) -> Option<Self> {
        let target = (chunk.target_topic.clone(), chunk.target_topic_id);
        let mut state = LaneState::new(lane, target, epoch, first, chunk.target_base);
        state.fill(first, chunk).ok()?;
        state.map.lower_target_from(chunk.target_from);
        Some(state)
    }

    /// Takes in a chunk read from the topic. `false`: it contradicts itself and was left out.
    pub(super) fn apply_chunk(&mut self, epoch: FlowEpoch, first: SourceOffset, chunk: &Chunk) -> bool {
        let other_target = !self.target_topic_id.may_be(chunk.target_topic_id);
        if other_target || first > self.position() {
            // another target topic, or what lay between was trimmed: nothing before this chunk counts
            let Some(state) = LaneState::from_chunk(self.lane.clone(), epoch, first, chunk) else { return false };
            *self = state;
            return true;
        }
        // tried on a map of its own first, so that a chunk which contradicts itself changes nothing
        if OffsetMap::new(first, chunk.target_base).append(first, chunk.covered_to, &chunk.runs).is_err() {
            return false;
        }
        self.heads.retain(|head| head.first < first);
        self.heads.push(Head { first, epoch, target_base: chunk.target_base });
        self.map.void_source_from(first);
        self.map.set_target_to(chunk.target_base);
        self.fill(first, chunk).is_ok()
    }

    fn fill(&mut self, first: SourceOffset, chunk: &Chunk) -> Result<(), AppendError> {
        self.map.append(first, chunk.covered_to, &chunk.runs)?;
        self.open.clone_from(&chunk.runs);
        self.leader_epoch = chunk.leader_epoch;
        self.target_topic_id = chunk.target_topic_id;
        self.target_topic = chunk.target_topic.clone();
        Ok(())
    }

    /// Takes in the removal of a chunk. Only a trimmed chunk at the front changes what is known.
    pub(super) fn drop_chunk(&mut self, epoch: FlowEpoch, first: SourceOffset) {
        let Some(at) = self.heads.iter().position(|head| (head.first, head.epoch) == (first, epoch)) else { return };
        if at + 1 < self.heads.len() {
            self.heads.remove(at);
            if at == 0 {
                self.trim_below_first_chunk();
            }
        }
    }

    /// Forgets what lies before the first chunk there is. Where its copies ended is read from the runs: the base of the chunk after them may have
    /// moved on since they were removed (a lost tail), and would trim more than the state that removed them did.
    fn trim_below_first_chunk(&mut self) {
        let head = self.heads[0];
        let last = self.map.runs().iter().take_while(|run| run.source_first < head.first).last();
        if let Some(run) = last {
            let end = run.target_first.plus(run.count().min(head.first.since(run.source_first)));
            self.map.trim_target(end);
        }
    }
}

#[cfg(test)]
#[path = "lane_state_tests.rs"]
mod tests;
