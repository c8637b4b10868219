//! Topics and partition logs in memory, with a history of everything that was ever written for a checker to compare with.
use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet, rc::Rc};

use crate::core::{
    batch::{SourceEnds, TargetEnds},
    ids::{ClusterId, LeaderEpoch, SourceOffset, TargetOffset, TopicId, TopicName},
    provenance,
};

/// A cluster that several clients of one thread share.
pub type Shared = Rc<RefCell<FakeCluster>>;

/// A record: its identity stands for its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeRecord {
    /// Unique over the whole simulation.
    pub uid: u64,
    /// The partition it was produced to.
    pub home: i32,
    /// The provenance header, if it has one.
    pub hops: Option<Vec<u8>>,
    /// The producer of a flow wrote it, and the list of producers says so.
    pub copy: bool,
}

impl FakeRecord {
    /// Digest of its content, without provenance.
    #[must_use]
    pub fn content(&self) -> u64 {
        provenance::digest(None, Some(&self.uid.to_be_bytes()), std::iter::empty())
    }
}

/// What became of a written record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is there, or was removed by retention.
    Kept,
    /// Its transaction was aborted: nobody may see it.
    Aborted,
    /// A newer record of its key replaced it.
    Compacted,
    /// The log lost its tail with it.
    Truncated,
}

/// A line of a log's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it was written.
    pub offset: i64,
    /// Which record.
    pub uid: u64,
    /// What became of it.
    pub fate: Fate,
}

/// A partition's log.
#[derive(Debug, Clone, Default)]
pub struct FakeLog {
    /// First offset still there.
    pub start: i64,
    /// Offset of the next record.
    pub end: i64,
    /// Leader epoch: grows with every truncation.
    pub leader_epoch: i32,
    /// Where the open transaction begins, if one is open.
    pub open_from: Option<i64>,
    /// The newest fence that was raised in it: what older writers send is refused.
    pub fence: u64,
    /// What a reader can see, and what an open transaction holds.
    pub records: BTreeMap<i64, FakeRecord>,
    /// Everything ever written.
    pub history: Vec<Written>,
}

impl FakeLog {
    /// Writes a record and answers where.
    pub fn append(&mut self, record: FakeRecord) -> i64 {
        let at = self.end;
        self.history.push(Written { offset: at, uid: record.uid, fate: Fate::Kept });
        self.records.insert(at, record);
        self.end += 1;
        at
    }
    /// Takes an offset that holds nothing a reader sees: a transaction marker.
    pub fn mark(&mut self) {
        self.end += 1;
    }
    /// Removes a record that a newer one of its key replaced.
    pub fn compact(&mut self, at: i64) {
        if self.records.remove(&at).is_some() {
            self.judge(Fate::Compacted, |offset| offset == at);
        }
    }
    /// Ends the open transaction.
    pub fn end_transaction(&mut self, commit: bool) {
        let Some(from) = self.open_from.take() else { return };
        if !commit {
            self.records.split_off(&from);
            self.judge(Fate::Aborted, |offset| offset >= from);
        }
        self.mark();
    }
    /// Moves the log start on.
    pub fn retain_from(&mut self, start: i64) {
        self.start = self.start.max(start.min(self.end));
        self.records = self.records.split_off(&self.start);
    }
    /// Loses everything from `at` on, as after an unclean election.
    pub fn truncate(&mut self, at: i64) -> Vec<FakeRecord> {
        let at = at.max(self.start);
        let gone = self.records.split_off(&at);
        self.judge(Fate::Truncated, |offset| offset >= at);
        self.end = self.end.min(at);
        self.leader_epoch += 1;
        self.open_from = None;
        gone.into_values().collect()
    }
    fn judge(&mut self, fate: Fate, of: impl Fn(i64) -> bool) {
        for line in self.history.iter_mut().filter(|line| line.fate == Fate::Kept && of(line.offset)) {
            line.fate = fate;
        }
    }
    /// The last stable offset.
    #[must_use]
    pub fn stable(&self) -> i64 {
        self.open_from.unwrap_or(self.end)
    }
    /// Its ends as a source.
    #[must_use]
    pub fn source_ends(&self) -> SourceEnds {
        SourceEnds {
            log_start: SourceOffset(self.start),
            high_watermark: SourceOffset(self.end),
            last_stable: SourceOffset(self.stable()),
            leader_epoch: LeaderEpoch(self.leader_epoch),
        }
    }
    /// Its ends as a target.
    #[must_use]
    pub fn target_ends(&self) -> TargetEnds {
        TargetEnds { log_start: TargetOffset(self.start), log_end: TargetOffset(self.end) }
    }
}

/// A topic.
#[derive(Debug, Clone)]
pub struct FakeTopic {
    /// Its ID: another one after every re-creation.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<FakeLog>,
}

/// A cluster.
#[derive(Debug)]
pub struct FakeCluster {
    /// Its `cluster.id`.
    pub id: ClusterId,
    /// What there is now.
    pub topics: BTreeMap<TopicName, FakeTopic>,
    /// What was deleted.
    pub deleted: Vec<(TopicName, FakeTopic)>,
    /// Records it refuses, whatever one does.
    pub refused: BTreeSet<u64>,
    topics_made: u8,
    fences: u64,
}

impl FakeCluster {
    /// An empty cluster.
    #[must_use]
    pub fn new(id: &str) -> Shared {
        let (topics, deleted, refused) = Default::default();
        Rc::new(RefCell::new(FakeCluster {
            id: ClusterId::new(id),
            topics,
            deleted,
            refused,
            topics_made: 0,
            fences: 0,
        }))
    }
    /// Creates a topic, or creates it anew with another ID.
    pub fn create(&mut self, name: &TopicName, partitions: usize) {
        self.topics_made += 1;
        let mut id = [self.topics_made; 16];
        let tail = self.id.as_str().as_bytes();
        id[8..8 + tail.len().min(8)].copy_from_slice(&tail[..tail.len().min(8)]);
        let topic = FakeTopic { id: TopicId(id), partitions: vec![FakeLog::default(); partitions] };
        if let Some(old) = self.topics.insert(name.clone(), topic) {
            self.deleted.push((name.clone(), old));
        }
    }
    /// Keeps older writers out of a log from now on; answers the fence, and the end of what they had written.
    pub fn raise_fence(&mut self, topic: &TopicName, partition: i32) -> Option<(u64, i64)> {
        self.fences += 1;
        let fence = self.fences;
        let log = self.log(topic, partition)?;
        let end = log.end;
        log.fence = fence;
        log.mark();
        Some((fence, end))
    }
    /// A partition's log.
    pub fn log(&mut self, topic: &TopicName, partition: i32) -> Option<&mut FakeLog> {
        self.topics.get_mut(topic)?.partitions.get_mut(usize::try_from(partition).ok()?)
    }
    /// A topic's ID now.
    #[must_use]
    pub fn topic_id(&self, topic: &TopicName) -> Option<TopicId> {
        self.topics.get(topic).map(|topic| topic.id)
    }
}
