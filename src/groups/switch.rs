//! Promote and failover: the steps of [`Switch`], done against real clusters. Each step is durable in the target's progress topic before
//! the next begins; an interrupted switch goes on where it stood, and one that was overtaken by another claim refuses.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{
    Ends, GroupError, checkpoint,
    place::{Holder, PlacedGroup, place},
    position::{self, Position},
};
use crate::cluster::{
    Admin,
    progress_topic::{ProgressTopic, now_ms},
};
use crate::core::{
    failover::{Exposure, ForkPoint, Switch, SwitchKind, SwitchStep, exposure, resumable},
    ids::{FlowEpoch, LaneId, SourceOffset, TargetOffset, TopicId, TopicName, UnixMillis},
    progress::{Progress, Record},
};

/// Between two looks at what is left to drain.
const DRAIN_LOOK: Duration = Duration::from_millis(200);
/// Looks in a row that must find nothing left: the source's producers are given that long to show themselves.
const DRAINED_LOOKS: u32 = 3;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// Planned or forced.
    pub kind: SwitchKind,
    /// Set the groups to this DR checkpoint instead of their newest positions.
    pub to_checkpoint: Option<String>,
    /// Promote: how long draining may take.
    pub drain_max: Duration,
    /// Unique for this run of the program: part of the owner that claims the flow.
    pub instance: String,
}

/// What a switch did, or what one would cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The flow.
    pub flow: String,
    /// The switch as it stands; none in a preview.
    pub switch: Option<Switch>,
    /// True when the source could be asked; false: its figures are as old as `source_age_ms`.
    pub source_reached: bool,
    /// Age of the oldest of the source figures used, milliseconds; 0 when it was asked just now, none when it was never seen.
    pub source_age_ms: Option<i64>,
    /// What each lane loses (or lost).
    pub lanes: Vec<Exposure>,
    /// Source offsets that were not copied, over all lanes, as far as is known: records lost at most.
    pub exposed_offsets: u64,
    /// Fork points, once written.
    pub forks: Vec<ForkPoint>,
    /// What became of each group.
    pub groups: Vec<PlacedGroup>,
    /// Milliseconds from the order until everything was done.
    pub took_ms: u64,
}

impl Report {
    /// True when the switch came to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.switch.as_ref().is_some_and(|switch| switch.step == SwitchStep::Done)
    }
}

/// What the source ends at, and how old that knowledge is.
struct SourceView {
    ends: BTreeMap<LaneId, SourceOffset>,
    ids: BTreeMap<TopicName, TopicId>,
    reached: bool,
    age_ms: Option<i64>,
}

/// What a failover would cost now; changes nothing.
///
/// # Errors
/// The target does not answer; nothing was mirrored yet.
pub async fn preview(ends: &Ends, progress: &mut ProgressTopic) -> Result<Report, GroupError> {
    let started = Instant::now();
    progress.catch_up().await?;
    mirrored(ends, progress)?;
    let view = look(ends, progress.state()).await;
    Ok(report(ends, progress.state(), &view, None, Vec::new(), started))
}

/// Carries an order out, from its beginning or from where an interrupted one stood.
///
/// # Errors
/// The target does not answer (order it again: it goes on where it stood); the flow was taken by somebody else; a promote without a source.
pub async fn run(ends: &Ends, progress: &mut ProgressTopic, order: &Order) -> Result<Report, GroupError> {
    let started = Instant::now();
    progress.catch_up().await?;
    mirrored(ends, progress)?;
    if let Some(name) = &order.to_checkpoint {
        checkpoint::find(ends.flow.name.as_str(), progress.state(), name)?;
    }
    let mut switch = match resumable(progress.state(), order.kind) {
        Some(open) => open.clone(),
        None => begin(progress, order).await?,
    };
    let mut placed = Vec::new();
    while !switch.step.is_final() {
        if !switch.may_act(progress.state()) {
            return Err(overtaken(ends, progress.state(), &switch));
        }
        tracing::info!(flow = %ends.flow.name, switch = %switch.id, step = switch.step.name(), "switch step");
        let mut claimed = switch.epoch;
        match switch.step {
            SwitchStep::Draining => {
                if let Some(reason) = drain(ends, progress, order.drain_max).await? {
                    switch.step = SwitchStep::Refused { reason };
                    progress.note(&[Record::switch(switch.clone())]).await?;
                    break;
                }
            }
            SwitchStep::Claiming => claimed = progress.claim(&switch.owner, UnixMillis(now_ms())).await?,
            SwitchStep::Forking => fork(ends, progress, &switch).await?,
            SwitchStep::Groups => placed = set_groups(ends, progress, &switch).await?,
            SwitchStep::Done | SwitchStep::Refused { .. } => break,
        }
        switch = switch.advanced(claimed);
        progress.note(&[Record::switch(switch.clone())]).await?;
        progress.catch_up().await?;
    }
    let view = look(ends, progress.state()).await;
    Ok(report(ends, progress.state(), &view, Some(switch), placed, started))
}

fn mirrored(ends: &Ends, progress: &ProgressTopic) -> Result<(), GroupError> {
    if progress.exists() {
        return Ok(());
    }
    let (flow, target) = (ends.flow.name.as_str().to_owned(), ends.target.alias().to_owned());
    Err(GroupError::NothingMirrored { flow, target })
}

async fn begin(progress: &mut ProgressTopic, order: &Order) -> Result<Switch, GroupError> {
    let at = UnixMillis(now_ms());
    let id = format!("{}-{}", at.0, order.instance);
    let mut switch = Switch::begin(id.clone(), order.kind, format!("switch-{id}"), at);
    switch.to_checkpoint.clone_from(&order.to_checkpoint);
    progress.note(&[Record::switch(switch.clone())]).await?;
    progress.catch_up().await?;
    Ok(switch)
}

fn overtaken(ends: &Ends, now: &Progress, switch: &Switch) -> GroupError {
    GroupError::Overtaken {
        flow: ends.flow.name.as_str().to_owned(),
        epoch: now.epoch().0,
        id: switch.id.clone(),
        step: switch.step.name(),
    }
}

/// Waits until nothing is left to copy. `Some` says what was left when the time was over.
async fn drain(ends: &Ends, progress: &mut ProgressTopic, max: Duration) -> Result<Option<String>, GroupError> {
    if let Err(cause) = &ends.source {
        return Err(GroupError::SourceNeeded { flow: ends.flow.name.as_str().to_owned(), cause: cause.clone() });
    }
    let deadline = Instant::now() + max;
    let mut empty = 0;
    loop {
        progress.catch_up().await?;
        let view = look(ends, progress.state()).await;
        let lanes = exposure(progress.state(), |lane| view.ends.get(lane).copied());
        let left: u64 = lanes.iter().filter_map(|lane| lane.offsets).sum();
        empty = if view.reached && left == 0 { empty + 1 } else { 0 };
        if empty >= DRAINED_LOOKS {
            return Ok(None);
        }
        if Instant::now() >= deadline {
            let reach = if view.reached { "" } else { ", and the source stopped answering" };
            return Ok(Some(format!(
                "{left} offsets were left to copy after {} s{reach}: stop the source's producers and see that the daemon runs",
                max.as_secs()
            )));
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}

/// Writes down where each lane's source and target part.
async fn fork(ends: &Ends, progress: &mut ProgressTopic, switch: &Switch) -> Result<(), GroupError> {
    let view = look(ends, progress.state()).await;
    let lanes: Vec<_> =
        progress.state().lanes().map(|s| (s.target_topic().as_str().to_owned(), s.lane().partition.0)).collect();
    let target = ends.target.target_ends(&lanes).await?;
    let at = UnixMillis(now_ms());
    let forks: Vec<_> = progress
        .state()
        .lanes()
        .map(|state| {
            let key = (state.target_topic().as_str().to_owned(), state.lane().partition.0);
            let end = target.get(&key).and_then(|ends| ends.as_ref().ok()).map(|ends| ends.log_end);
            Record::fork(ForkPoint {
                lane: state.lane().clone(),
                source: state.position(),
                target: end.unwrap_or(TargetOffset::ZERO).max(state.map().target_to()),
                source_end: view.ends.get(state.lane()).copied().unwrap_or(state.position()).max(state.position()),
                epoch: switch.epoch,
                at,
            })
        })
        .collect();
    progress.append(switch.epoch, &switch.owner, &forks).await?;
    Ok(())
}

async fn set_groups(
    ends: &Ends,
    progress: &mut ProgressTopic,
    switch: &Switch,
) -> Result<Vec<PlacedGroup>, GroupError> {
    let holder = Holder { epoch: switch.epoch, owner: switch.owner.clone() };
    let (positions, ids) = match &switch.to_checkpoint {
        Some(name) => {
            let whole = checkpoint::find(ends.flow.name.as_str(), progress.state(), name)?;
            checkpoint::positions(&whole)
        }
        None => {
            let view = look(ends, progress.state()).await;
            (newest_positions(ends, progress.state()).await, view.ids)
        }
    };
    place(&ends.target, progress, &holder, &positions, &ids).await
}

/// Positions from the source while it answers, and what was last written down for groups that it does not tell of.
async fn newest_positions(ends: &Ends, progress: &Progress) -> Vec<Position> {
    let live = match &ends.source {
        Ok(source) => position::at_source(source, &ends.flow.groups).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let known: BTreeSet<_> = live.iter().map(|p| (p.group.clone(), p.topic.clone(), p.partition)).collect();
    let mut all = live;
    let missing = |p: &Position| !known.contains(&(p.group.clone(), p.topic.clone(), p.partition));
    all.extend(position::last_written(progress).into_iter().filter(missing));
    all.sort();
    all
}

/// The source's ends: asked of it if it answers, else as last written down.
async fn look(ends: &Ends, progress: &Progress) -> SourceView {
    if let Ok(source) = &ends.source {
        match live_view(source, progress).await {
            Ok(view) => return view,
            Err(error) => {
                tracing::warn!(flow = %ends.flow.name, %error, "source does not answer, using what was last seen")
            }
        }
    }
    let mut view = SourceView { ends: BTreeMap::new(), ids: BTreeMap::new(), reached: false, age_ms: None };
    for state in progress.lanes() {
        let Some(seen) = progress.source_seen(state.lane().topic()) else { continue };
        view.ids.insert(state.lane().topic().clone(), seen.topic_id);
        view.age_ms = view.age_ms.max(Some(now_ms() - seen.at.0));
        if seen.topic_id.may_be(state.lane().generation.id)
            && let Some(end) = seen.end(state.lane().partition)
        {
            view.ends.insert(state.lane().clone(), end);
        }
    }
    view
}

async fn live_view(source: &Admin, progress: &Progress) -> Result<SourceView, crate::cluster::ClusterError> {
    let mut view = SourceView { ends: BTreeMap::new(), ids: BTreeMap::new(), reached: true, age_ms: Some(0) };
    let topics: BTreeSet<_> = progress.lanes().map(|state| state.lane().topic().clone()).collect();
    for topic in topics {
        if let Some(info) = source.topic(topic.as_str()).await? {
            view.ids.insert(topic, info.id);
        }
    }
    let current = |lane: &&LaneId| view.ids.get(lane.topic()).is_some_and(|id| id.may_be(lane.generation.id));
    let lanes: Vec<_> = progress.lanes().map(crate::core::progress::LaneState::lane).filter(current).cloned().collect();
    let asked: Vec<_> = lanes.iter().map(|lane| (lane.topic().as_str().to_owned(), lane.partition.0)).collect();
    let mut found = source.source_ends(&asked).await?;
    for lane in lanes {
        if let Some(ends) = found.remove(&(lane.topic().as_str().to_owned(), lane.partition.0)) {
            view.ends.insert(lane, ends?.last_stable);
        }
    }
    Ok(view)
}

fn report(
    ends: &Ends,
    progress: &Progress,
    view: &SourceView,
    switch: Option<Switch>,
    groups: Vec<PlacedGroup>,
    started: Instant,
) -> Report {
    let lanes = exposure(progress, |lane| view.ends.get(lane).copied());
    let epoch = switch.as_ref().map_or(FlowEpoch(0), |switch| switch.epoch);
    Report {
        flow: ends.flow.name.as_str().to_owned(),
        exposed_offsets: lanes.iter().filter_map(|lane| lane.offsets).sum(),
        lanes,
        forks: progress.forks().filter(|fork| fork.epoch == epoch).cloned().collect(),
        switch,
        source_reached: view.reached,
        source_age_ms: view.age_ms,
        groups,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
