//! The beat of group following: read positions at the source, translate, put them at the target where nobody reads; and write down
//! where the source ends, so that a failover without the source can say what is lost.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{
    GroupError,
    place::{Holder, PlacedGroup, place},
    position,
};
use crate::cluster::{
    Admin,
    pen::SharedPen,
    progress_topic::{ProgressTopic, now_ms},
};
use crate::config::valid::Flow;
use crate::core::{
    ids::{LaneId, PartitionId, TopicId, TopicName, UnixMillis},
    lane::is_closed,
    progress::{LaneState, Progress, Record, SourceSeen},
};

/// Positions are looked at anew at least this often, whatever the configuration says.
pub const BEAT_MAX: Duration = Duration::from_secs(5);

/// Ends that did not change are written down again after this long, so that their age still says when the source was last reached.
const UNCHANGED_MS_MAX: i64 = 60_000;

/// Follows the groups of one flow.
#[derive(Debug)]
pub struct Follower {
    flow: Flow,
    source: Admin,
    target: Admin,
    progress: ProgressTopic,
    holder: Holder,
}

impl Follower {
    /// A follower with its own view of the progress topic: it translates only by what is durable there, and writes with the holder's pen.
    ///
    /// # Errors
    /// The target does not answer, or the topic cannot be read to its end (F8: no translation before that).
    pub async fn open(
        flow: Flow,
        source: Admin,
        target: Admin,
        (holder, pen): (Holder, SharedPen),
    ) -> Result<Self, GroupError> {
        let name = crate::core::ids::FlowName::new(flow.name.as_str());
        let progress = ProgressTopic::open(target.client().clone(), &name).await?.with_pen(pen);
        Ok(Follower { flow, source, target, progress, holder })
    }

    /// How long to wait between two beats.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.flow.refresh.groups.min(BEAT_MAX)
    }

    /// One beat; answers what became of every followed group.
    ///
    /// # Errors
    /// A cluster does not answer; the flow is not ours any more. The next beat starts anew: nothing is half done.
    pub async fn beat(&mut self) -> Result<Vec<PlacedGroup>, GroupError> {
        let positions = position::at_source(&self.source, &self.flow.groups).await?;
        let ids = self.note_source_ends().await?;
        place(&self.target, &mut self.progress, &self.holder, &positions, &ids).await
    }

    /// Writes down where the source's partitions end, and answers the topics' IDs there.
    async fn note_source_ends(&mut self) -> Result<BTreeMap<TopicName, TopicId>, GroupError> {
        self.progress.catch_up().await?;
        let lanes: BTreeSet<(String, i32)> = self
            .progress
            .state()
            .lanes()
            .map(|state| (state.lane().topic().as_str().to_owned(), state.lane().partition.0))
            .collect();
        let topics: BTreeSet<&str> = lanes.iter().map(|(topic, _)| topic.as_str()).collect();
        let mut ids = BTreeMap::new();
        for topic in topics {
            if let Some(info) = self.source.topic(topic).await? {
                ids.insert(TopicName::new(topic), info.id);
            }
        }
        let lanes: Vec<_> = lanes.into_iter().filter(|(topic, _)| ids.contains_key(&TopicName::new(topic))).collect();
        let mut seen: BTreeMap<TopicName, SourceSeen> = BTreeMap::new();
        for ((topic, partition), ends) in self.source.source_ends(&lanes).await? {
            let Ok(ends) = ends else { continue };
            let topic = TopicName::from(topic);
            let topic_id = ids.get(&topic).copied().unwrap_or_default();
            let seen = seen.entry(topic).or_insert_with(|| SourceSeen { topic_id, ..Default::default() });
            seen.ends.push((PartitionId(partition), ends.last_stable));
        }
        let at = UnixMillis(now_ms());
        let known = self.progress.state();
        let news = |(topic, seen): &(TopicName, SourceSeen)| {
            let same = |known: &SourceSeen| known.ends == seen.ends && known.topic_id == seen.topic_id;
            let owed = |k: &SourceSeen| !seen.topic_id.may_be(k.topic_id) && !is_ledgered(known, topic, k.topic_id);
            known.source_seen(topic).is_none_or(|k| !owed(k) && (!same(k) || at.0 - k.at.0 >= UNCHANGED_MS_MAX))
        };
        let records: Vec<_> = seen
            .into_iter()
            .filter(news)
            .map(|(topic, seen)| Record::source_seen(topic, SourceSeen { at, ..seen }))
            .collect();
        if !records.is_empty() {
            self.progress.append(self.holder.epoch, &self.holder.owner, &records).await?;
        }
        Ok(ids)
    }
}

/// Whether the ledger has what a generation that is gone still had: until then its ends, as last seen, are all that is known of that.
fn is_ledgered(progress: &Progress, topic: &TopicName, id: TopicId) -> bool {
    let of_generation = |lane: &LaneId| lane.topic() == topic && lane.generation.id == id;
    let mut lanes = progress.lanes().map(LaneState::lane).filter(|lane| of_generation(lane));
    lanes.all(|lane| is_closed(progress, lane))
}
