//! From a store's snapshot (or nothing) and the progress topic to the state of a flow.
use super::{Placed, Snapshot, Stamp};
use crate::core::{
    ids::{ClusterId, TopicId},
    planted::{self, Bug},
    progress::Progress,
};

/// The progress topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicNow {
    /// The target cluster.
    pub cluster: ClusterId,
    /// The topic's ID.
    pub topic_id: TopicId,
    /// The offset the next record will get.
    pub log_end: i64,
}

/// Why a snapshot does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discarded {
    /// There was none.
    Empty,
    /// It mirrors the topic of another cluster.
    OtherCluster,
    /// The topic was deleted and created anew since.
    OtherTopic,
    /// It is ahead of the topic: the topic lost its tail, or was restored from a backup.
    AheadOfTopic,
}

impl Discarded {
    /// For logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Discarded::Empty => "empty",
            Discarded::OtherCluster => "other_cluster",
            Discarded::OtherTopic => "other_topic",
            Discarded::AheadOfTopic => "ahead_of_topic",
        }
    }
}

/// Where a start begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    state: Progress,
    read_from: i64,
    fresh: Vec<Placed>,
    discarded: Option<Discarded>,
    topic: TopicNow,
}

impl Rebuild {
    /// Takes what counts of the snapshot. However old it is, the topic is then read from [`read_from`](Self::read_from) to its end:
    /// a stale store costs time, never an answer.
    #[must_use]
    pub fn begin(snapshot: Option<Snapshot>, topic: TopicNow) -> Self {
        let mut rebuild =
            Rebuild { state: Progress::default(), read_from: 0, fresh: Vec::new(), discarded: None, topic };
        let Some(Snapshot { stamp, records }) = snapshot else {
            rebuild.discarded = Some(Discarded::Empty);
            return rebuild;
        };
        let now = &rebuild.topic;
        rebuild.discarded = match &stamp {
            stamp if stamp.cluster != now.cluster => Some(Discarded::OtherCluster),
            stamp if !stamp.topic_id.may_be(now.topic_id) => Some(Discarded::OtherTopic),
            stamp if stamp.next_offset > now.log_end => Some(Discarded::AheadOfTopic),
            _ => None,
        };
        if rebuild.discarded.is_none() {
            records.into_iter().for_each(|placed| rebuild.state.apply(placed.record));
            rebuild.read_from = if planted::is(Bug::TrustStaleStore) { now.log_end } else { stamp.next_offset };
        }
        rebuild
    }

    /// The first offset of the progress topic that has to be read.
    #[must_use]
    pub fn read_from(&self) -> i64 {
        self.read_from
    }
    /// Why the snapshot did not count, if it did not.
    #[must_use]
    pub fn discarded(&self) -> Option<Discarded> {
        self.discarded
    }

    /// Takes in the next record of the topic.
    pub fn apply(&mut self, placed: Placed) {
        self.state.apply(placed.record.clone());
        self.fresh.push(placed);
    }

    /// The state, when the topic was read up to `next_offset`; and what the store has to be told to hold the same.
    #[must_use]
    pub fn finish(self, next_offset: i64) -> (Progress, StoreUpdate) {
        let TopicNow { cluster, topic_id, .. } = self.topic;
        let update = match self.discarded {
            Some(_) => StoreUpdate::Reset { stamp: Stamp { cluster, topic_id, next_offset }, records: self.fresh },
            None => StoreUpdate::Append { records: self.fresh, next_offset },
        };
        (self.state, update)
    }
}

/// What makes a store equal to the state that was rebuilt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUpdate {
    /// Begin anew with these.
    Reset {
        /// Which topic, and how far.
        stamp: Stamp,
        /// All its records.
        records: Vec<Placed>,
    },
    /// Add these.
    Append {
        /// The records read.
        records: Vec<Placed>,
        /// Where the topic is read on.
        next_offset: i64,
    },
}

impl StoreUpdate {
    /// Does it.
    ///
    /// # Errors
    /// What the store answers.
    pub fn run(&self, store: &mut dyn super::StateStore) -> Result<(), super::StoreError> {
        match self {
            StoreUpdate::Reset { stamp, records } => store.reset(stamp, records),
            StoreUpdate::Append { records, next_offset } => store.append(records, *next_offset),
        }
    }
}
