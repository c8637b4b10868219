//! Where the partitions of a cluster end, looked at on one beat for all lanes of a flow: two or three requests per broker, however many lanes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::offsets::Partition;
use super::{Admin, ClusterError};
use crate::core::batch::SourceEnds;
use crate::core::ids::TopicId;

/// Between two looks while few lanes are open: how stale a lag can be.
const BEAT: Duration = Duration::from_millis(250);
/// Added per lane: ten thousand lanes are looked at every 2.25 s.
const BEAT_PER_LANE: Duration = Duration::from_micros(200);

/// A topic that metadata leaves out is taken for deleted after this long: a broker that just started may not know its topics yet.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// Between two looks at topic IDs.
const TOPICS_BEAT: Duration = Duration::from_secs(1);

/// What was last seen of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenTopic {
    /// It is there, with this ID.
    Is(TopicId),
    /// It has not been there for a while.
    Gone,
}

/// What was last seen of a partition.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its ends.
    pub ends: SourceEnds,
    /// When they were asked for: they were at least this far then.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Board {
    wanted: BTreeMap<Partition, u32>,
    seen: HashMap<Partition, Seen>,
    trouble: HashMap<Partition, String>,
    topics: HashMap<String, SeenTopic>,
    missing: HashMap<String, Instant>,
    /// Why the last look failed as a whole.
    silent: Option<String>,
}

/// Shared knowledge of ends: one writer, many readers.
#[derive(Debug, Clone, Default)]
pub struct EndsBoard {
    board: Arc<Mutex<Board>>,
}

impl EndsBoard {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at this partition from now on. Counted: as often as it is watched it must be let go.
    pub fn watch(&self, partition: Partition) {
        *self.lock().wanted.entry(partition).or_default() += 1;
    }

    /// Looks at it no more.
    pub fn forget(&self, partition: &Partition) {
        let mut board = self.lock();
        if let Some(count) = board.wanted.get_mut(partition) {
            *count -= 1;
            if *count == 0 {
                board.wanted.remove(partition);
                board.seen.remove(partition);
                board.trouble.remove(partition);
            }
        }
    }

    /// What was last seen of it.
    #[must_use]
    pub fn seen(&self, partition: &Partition) -> Option<Seen> {
        self.lock().seen.get(partition).cloned()
    }

    /// Why it could not be looked at the last time.
    #[must_use]
    pub fn trouble(&self, partition: &Partition) -> Option<String> {
        let board = self.lock();
        board.trouble.get(partition).or(board.silent.as_ref()).cloned()
    }

    /// What was last seen of a topic; none before the first look.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<SeenTopic> {
        self.lock().topics.get(name).copied()
    }

    /// Notes what somebody else has seen.
    pub fn note(&self, partition: Partition, ends: SourceEnds, at: Instant) {
        let mut board = self.lock();
        // a log that shrank is believed only together with a look at its topic, which the next beat brings
        if !board.is_shrunken(&partition, &ends) {
            board.trouble.remove(&partition);
            board.seen.insert(partition, Seen { ends, at });
        }
    }

    /// Notes the topic ID that somebody else has seen.
    pub fn note_topic(&self, name: &str, id: TopicId) {
        let mut board = self.lock();
        board.missing.remove(name);
        board.topics.insert(name.to_owned(), SeenTopic::Is(id));
    }

    /// One look at everything that is watched.
    async fn look(&self, admin: &Admin) {
        let wanted: Vec<Partition> = self.lock().wanted.keys().cloned().collect();
        if wanted.is_empty() {
            return;
        }
        let at = Instant::now();
        let answer = admin.source_ends(&wanted).await;
        let shrunken = answer.as_ref().map(|answer| self.shrunken(answer)).unwrap_or_default();
        // a log that shrank may be that of another topic with the same name: that is looked at first, or it would be called truncated
        let there = if shrunken.is_empty() { BTreeSet::new() } else { self.look_at_topics(admin).await };
        let mut board = self.lock();
        match answer {
            Err(error) => board.silent = Some(error.to_string()),
            Ok(answer) => {
                board.silent = None;
                for (partition, ends) in answer {
                    // between its deletion and its creation the name says nothing: the next look will
                    if !shrunken.contains(&partition) || there.contains(&partition.0) {
                        board.take(partition, ends, at);
                    }
                }
            }
        }
    }

    /// Partitions that end before where they were known to end.
    fn shrunken(&self, answer: &BTreeMap<Partition, Result<SourceEnds, ClusterError>>) -> BTreeSet<Partition> {
        let board = self.lock();
        let shrank = |(partition, ends): &(&Partition, &Result<SourceEnds, ClusterError>)| {
            ends.as_ref().is_ok_and(|ends| board.is_shrunken(partition, ends))
        };
        answer.iter().filter(shrank).map(|(partition, _)| partition.clone()).collect()
    }

    /// One look at the topics of everything that is watched; answers those that are there.
    async fn look_at_topics(&self, admin: &Admin) -> BTreeSet<String> {
        let wanted: BTreeSet<String> = self.lock().wanted.keys().map(|(topic, _)| topic.clone()).collect();
        if wanted.is_empty() {
            return wanted;
        }
        let Ok((topics, trouble)) = admin.topics().await else { return BTreeSet::new() };
        let ids: HashMap<String, TopicId> = topics.into_iter().map(|topic| (topic.name, topic.id)).collect();
        let mut board = self.lock();
        let mut there = BTreeSet::new();
        for name in wanted {
            if let Some(id) = ids.get(&name) {
                board.missing.remove(&name);
                there.insert(name.clone());
                board.topics.insert(name, SeenTopic::Is(*id));
            } else if !trouble.iter().any(|topic| topic.name == name) {
                let since = *board.missing.entry(name.clone()).or_insert_with(Instant::now);
                if since.elapsed() > GONE_AFTER {
                    board.topics.insert(name, SeenTopic::Gone);
                }
            }
        }
        there
    }

    /// Looks on its beat until the task is dropped.
    pub async fn keep_looking(self, admin: Admin) {
        let mut next_topics = Instant::now();
        loop {
            self.look(&admin).await;
            let lanes = u32::try_from(self.lock().wanted.len()).unwrap_or(u32::MAX);
            let pause = BEAT + BEAT_PER_LANE.saturating_mul(lanes);
            if Instant::now() >= next_topics {
                let _there = self.look_at_topics(&admin).await;
                next_topics = Instant::now() + TOPICS_BEAT.max(pause * 4);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

impl Board {
    fn is_shrunken(&self, partition: &Partition, ends: &SourceEnds) -> bool {
        self.seen.get(partition).is_some_and(|seen| ends.high_watermark < seen.ends.high_watermark)
    }

    fn take(&mut self, partition: Partition, ends: Result<SourceEnds, ClusterError>, at: Instant) {
        if !self.wanted.contains_key(&partition) {
            return;
        }
        match ends {
            Ok(ends) => {
                self.trouble.remove(&partition);
                self.seen.insert(partition, Seen { ends, at });
            }
            Err(error) => {
                self.trouble.insert(partition, error.to_string());
            }
        }
    }
}
