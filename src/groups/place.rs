//! Putting groups at the target: look, judge, write down, commit.
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{GroupError, position::Position};
use crate::cluster::{
    Admin,
    groups::{Committed, GroupOffset},
    progress_topic::{ProgressTopic, now_ms},
};
use crate::core::{
    batch::TargetEnds,
    groups::{AtTarget, GroupState, LastWritten, Place, Verdict, judge, state_of},
    ids::{FlowEpoch, GroupName, LaneId, PartitionId, SourceOffset, TargetOffset, TopicId, TopicName, UnixMillis},
    offset_map::Translation,
    progress::{LaneState, Progress, Record},
};

/// Who writes: the holder of the flow.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Its epoch.
    pub epoch: FlowEpoch,
    /// Its name in the claim.
    pub owner: String,
}

/// What became of a group in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedPartition {
    /// The source topic.
    pub topic: TopicName,
    /// The target topic.
    pub target_topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// Its position at the source.
    pub source: SourceOffset,
    /// Where it stands at the target now, if it stands anywhere.
    pub target: Option<TargetOffset>,
    /// How exact that is.
    pub translation: Option<Translation>,
    /// `committed`, `kept`, `waiting`, `foreign`, `live`, or the broker's error.
    pub outcome: String,
}

/// What became of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedGroup {
    /// The group.
    pub group: GroupName,
    /// Its state.
    pub state: GroupState,
    /// By partition.
    pub partitions: Vec<PlacedPartition>,
}

/// The lane that a position of a group on a topic speaks of: the generation the source has now, or had when it was last seen.
#[must_use]
pub fn lane_of<'a>(
    progress: &'a Progress,
    topic: &TopicName,
    partition: PartitionId,
    source_id: Option<TopicId>,
) -> Option<&'a LaneState> {
    let id = source_id.or_else(|| progress.source_seen(topic).map(|seen| seen.topic_id));
    match id {
        Some(id) => progress.lane(&LaneId::new(topic.clone(), id, partition.0)),
        None => {
            let mine = |state: &&LaneState| state.lane().topic() == topic && state.lane().partition == partition;
            progress.lanes().filter(mine).max_by_key(|state| state.epoch())
        }
    }
}

/// Sets the groups of `positions` at the target by the rules of [`judge`]: only idle groups, only over our own last write.
/// `source_ids` are the topic IDs at the source, where it could be asked.
///
/// # Errors
/// The target does not answer, or the flow is not `holder`'s any more. A group that the target refuses is an outcome, not an error.
pub async fn place(
    target: &Admin,
    progress: &mut ProgressTopic,
    holder: &Holder,
    positions: &[Position],
    source_ids: &BTreeMap<TopicName, TopicId>,
) -> Result<Vec<PlacedGroup>, GroupError> {
    progress.catch_up().await?;
    let ends = target_ends(target, progress.state(), positions, source_ids).await?;
    let mut placed = Vec::new();
    for group in positions.chunk_by(|a, b| a.group == b.group) {
        placed.push(place_group(target, progress, holder, group, source_ids, &ends).await?);
    }
    Ok(placed)
}

type TargetEndsBy = BTreeMap<(TopicName, PartitionId), TargetEnds>;

async fn target_ends(
    target: &Admin,
    progress: &Progress,
    positions: &[Position],
    source_ids: &BTreeMap<TopicName, TopicId>,
) -> Result<TargetEndsBy, GroupError> {
    let lane = |p: &Position| lane_of(progress, &p.topic, p.partition, source_ids.get(&p.topic).copied());
    let wanted: BTreeSet<_> = positions
        .iter()
        .filter_map(|p| lane(p).map(|lane| (lane.target_topic().as_str().to_owned(), p.partition.0)))
        .collect();
    let wanted: Vec<_> = wanted.into_iter().collect();
    let mut found = TargetEndsBy::new();
    for ((topic, partition), ends) in target.target_ends(&wanted).await? {
        if let Ok(ends) = ends {
            found.insert((topic.into(), PartitionId(partition)), ends);
        }
    }
    Ok(found)
}

async fn place_group(
    target: &Admin,
    progress: &mut ProgressTopic,
    holder: &Holder,
    positions: &[Position],
    source_ids: &BTreeMap<TopicName, TopicId>,
    ends: &TargetEndsBy,
) -> Result<PlacedGroup, GroupError> {
    let group = positions[0].group.clone();
    let here = if target.group_members(group.as_str()).await? > 0 { AtTarget::Live } else { AtTarget::Idle };
    let committed: BTreeMap<(TopicName, PartitionId), TargetOffset> = target
        .group_offsets(group.as_str())
        .await?
        .into_iter()
        .map(|at| ((at.topic.into(), PartitionId(at.partition)), TargetOffset(at.offset)))
        .collect();
    let (mut verdicts, mut partitions, mut lines, mut commits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for position in positions {
        let id = source_ids.get(&position.topic).copied();
        let Some(lane) = lane_of(progress.state(), &position.topic, position.partition, id) else { continue };
        let target_topic = lane.target_topic().clone();
        let key = (target_topic.clone(), position.partition);
        let Some(ends) = ends.get(&key).copied() else { continue };
        let translation = progress.state().translate(lane, position.source);
        let last = progress.state().group(&group, &position.topic, position.partition).copied();
        let committed = committed.get(&key).copied();
        let place = Place { source: position.source, translation: Some(translation), ends, committed, last };
        let verdict = judge(here, &place);
        if let Verdict::Commit(wanted) = verdict {
            let (at, epoch) = (UnixMillis(now_ms()), holder.epoch);
            let written = LastWritten { source: position.source, target: wanted, at, epoch, before: committed };
            lines.push(Record::group(group.clone(), position.topic.clone(), position.partition, written));
            commits.push(GroupOffset {
                topic: target_topic.as_str().to_owned(),
                partition: position.partition.0,
                offset: wanted.get(),
                metadata: position.metadata.clone(),
            });
        }
        verdicts.push(verdict);
        partitions.push(PlacedPartition {
            topic: position.topic.clone(),
            target_topic,
            partition: position.partition,
            source: position.source,
            target: if let Verdict::Commit(wanted) = verdict { Some(wanted) } else { committed },
            translation: Some(translation),
            outcome: outcome(verdict).to_owned(),
        });
    }
    if !commits.is_empty() {
        // the line first: after a crash between the two, whichever offset stands at the target is known to be ours
        progress.append(holder.epoch, &holder.owner, &lines).await?;
        for done in target.commit_offsets(group.as_str(), &commits).await? {
            if !done.ok {
                refuse(&mut partitions, &done);
            }
        }
    }
    Ok(PlacedGroup { group, state: state_of(here, &verdicts), partitions })
}

fn outcome(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Commit(_) => "committed",
        Verdict::Keep => "kept",
        Verdict::Wait => "waiting",
        Verdict::Foreign { .. } => "foreign",
        Verdict::HandsOff => "live",
    }
}

/// A partition that the target refused, for example because the group got members since we looked.
fn refuse(partitions: &mut [PlacedPartition], done: &Committed) {
    let mine = |p: &&mut PlacedPartition| p.target_topic.as_str() == done.topic && p.partition.0 == done.partition;
    if let Some(partition) = partitions.iter_mut().find(mine) {
        partition.outcome = done.code.to_owned();
        partition.target = None;
    }
}
