//! DR checkpoints: taking one from what is durable, reading them back, using one as a place to restore groups to.
use std::collections::BTreeMap;

use super::{Ends, GroupError, place::lane_of, position};
use crate::cluster::progress_topic::{ProgressTopic, now_ms};
use crate::core::{
    batch::SourceEnds,
    checkpoint::{Checkpoint, GroupCut, LaneCut},
    ids::{SourceOffset, TopicId, TopicName, UnixMillis},
    progress::{Progress, Record},
};

/// Takes a DR checkpoint and writes it down. The lanes are cut at one offset of the progress topic, so the cut is consistent; the groups
/// are clamped to it. With the source gone it holds what was last known, and `from_source` in the answer is false.
///
/// # Errors
/// A bad name; nothing mirrored yet; the target does not answer.
pub async fn create(ends: &Ends, progress: &mut ProgressTopic, name: &str) -> Result<(Checkpoint, bool), GroupError> {
    Checkpoint::check_name(name)?;
    progress.catch_up().await?;
    if !progress.exists() {
        let (flow, target) = (ends.flow.name.as_str().to_owned(), ends.target.alias().to_owned());
        return Err(GroupError::NothingMirrored { flow, target });
    }
    let live = match &ends.source {
        Ok(source) => position::at_source(source, &ends.flow.groups).await.ok(),
        Err(_) => None,
    };
    let from_source = live.is_some();
    let state = progress.state();
    let positions = live.unwrap_or_else(|| position::last_written(state));
    let lanes: Vec<LaneCut> = state.lanes().map(|lane| lane_cut(state, lane)).collect();
    let whole = Checkpoint {
        name: name.to_owned(),
        at: UnixMillis(now_ms()),
        epoch: state.epoch(),
        groups: positions.iter().filter_map(|position| group_cut(state, &lanes, position)).collect(),
        lanes,
    };
    whole.verify()?;
    let records: Vec<_> = whole.clone().into_parts().into_iter().map(Record::checkpoint).collect();
    progress.note(&records).await?;
    Ok((whole, from_source))
}

fn lane_cut(progress: &Progress, state: &crate::core::progress::LaneState) -> LaneCut {
    let seen = progress.source_seen(state.lane().topic());
    let end = seen.and_then(|seen| seen.end(state.lane().partition));
    let source = end.map_or_else(SourceEnds::default, |end| SourceEnds {
        log_start: SourceOffset::ZERO,
        high_watermark: end,
        last_stable: end,
        ..SourceEnds::default()
    });
    LaneCut {
        lane: state.lane().clone(),
        target_topic: state.target_topic().clone(),
        position: state.position(),
        target: state.map().target_to(),
        source,
    }
}

fn group_cut(progress: &Progress, lanes: &[LaneCut], position: &position::Position) -> Option<GroupCut> {
    let lane = lane_of(progress, &position.topic, position.partition, None)?;
    let cut = lanes.iter().find(|cut| &cut.lane == lane.lane())?;
    Some(GroupCut {
        group: position.group.clone(),
        topic: position.topic.clone(),
        target_topic: lane.target_topic().clone(),
        partition: position.partition,
        source: position.source,
        target: progress.translate(lane, position.source).offset.min(cut.target),
    })
}

/// The DR checkpoint called `name`, whole and verified.
///
/// # Errors
/// There is none of that name, or it is not whole.
pub fn find(flow: &str, progress: &Progress, name: &str) -> Result<Checkpoint, GroupError> {
    let parts = progress.checkpoint(name).unwrap_or_default();
    if parts.is_empty() {
        return Err(GroupError::NoSuchCheckpoint { flow: flow.to_owned(), name: name.to_owned() });
    }
    Ok(Checkpoint::from_parts(name, &parts)?)
}

/// Group positions as a DR checkpoint holds them, in the form that [`super::place::place`] takes.
#[must_use]
pub fn positions(checkpoint: &Checkpoint) -> (Vec<position::Position>, BTreeMap<TopicName, TopicId>) {
    let position = |cut: &GroupCut| position::Position {
        group: cut.group.clone(),
        topic: cut.topic.clone(),
        partition: cut.partition,
        source: cut.source,
        metadata: String::new(),
    };
    let ids = checkpoint.lanes.iter().map(|cut| (cut.lane.topic().clone(), cut.lane.generation.id)).collect();
    let mut positions: Vec<_> = checkpoint.groups.iter().map(position).collect();
    positions.sort();
    (positions, ids)
}
