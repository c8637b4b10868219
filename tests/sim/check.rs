//! The checker: judges a finished history from the logs alone.
use std::collections::BTreeMap;

use causeway::cluster::fake::{Fate, Shared, Written};
use causeway::core::{
    gap::GapCause,
    ids::{LaneId, SourceOffset, TopicName},
    progress::{LaneState, Progress},
};

use crate::{
    flow::Flow,
    world::{World, origin},
};

/// Transaction markers after a log's last record: at most one.
const MARKERS_MAX: i64 = 1;

/// Everything ever written to a lane's source partition.
pub fn history(source: &Shared, lane: &LaneId) -> Vec<Written> {
    log_of(source, lane).map(|(history, _, _)| history).unwrap_or_default()
}

/// History, log start and end of a lane's source partition, also of a deleted topic; a deleted one starts at its end.
fn log_of(source: &Shared, lane: &LaneId) -> Option<(Vec<Written>, i64, i64)> {
    let cluster = source.borrow();
    let at = lane.partition.0 as usize;
    if let Some(topic) = cluster.topics.get(lane.topic()).filter(|topic| topic.id == lane.generation.id) {
        let log = &topic.partitions[at];
        return Some((log.history.clone(), log.start, log.end));
    }
    let (_, topic) = cluster.deleted.iter().find(|(_, topic)| topic.id == lane.generation.id)?;
    let log = &topic.partitions[at];
    Some((log.history.clone(), log.end, log.end))
}

/// Whether a record was ever written to a target partition.
pub fn landed(target: &Shared, topic: &TopicName, partition: i32, uid: u64) -> bool {
    let mut cluster = target.borrow_mut();
    let now = cluster.log(topic, partition).is_some_and(|log| log.history.iter().any(|line| line.uid == uid));
    let before = |(name, old): &(TopicName, causeway::cluster::fake::FakeTopic)| {
        name == topic && old.partitions[partition as usize].history.iter().any(|line| line.uid == uid)
    };
    now || cluster.deleted.iter().any(before)
}

/// Every law that can be judged at the end.
pub fn all(world: &World) -> Vec<String> {
    let mut broken = Vec::new();
    for (at, flow) in world.flows.iter().enumerate() {
        let end = flow.log.fold();
        for state in end.lanes() {
            lane(world, at, (flow, &end), state, &mut broken);
        }
        for gap in end.gaps() {
            ledger(world, flow, gap, end.lane(&gap.lane), &mut broken);
        }
        routes(world, at, flow, &mut broken);
        alone(world, flow, &mut broken);
    }
    broken
}

fn lane(world: &World, at: usize, (flow, end): (&Flow, &Progress), state: &LaneState, broken: &mut Vec<String>) {
    let lane = state.lane();
    let Some((history, start, _)) = log_of(&flow.source, lane) else { return };
    // where each record lies at the target: its first and last copy
    let mut copies: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
    if let Some(log) = flow.target.borrow_mut().log(state.target_topic(), lane.partition.0) {
        for (offset, record) in &log.records {
            copies.entry(record.uid).or_insert((*offset, *offset)).1 = *offset;
        }
    }
    let in_ledger = |x: i64| end.gaps().any(|gap| gap.lane == *lane && gap.range.contains(SourceOffset(x)));
    // of a topic that was gone when nobody looked only the beginning of the gap is known
    let unseen = |x: i64| {
        end.gaps().any(|gap| gap.lane == *lane && gap.cause == GapCause::TopicRecreated && gap.range.from.get() <= x)
    };
    let first = flow.first.get(lane).copied().unwrap_or(0);
    let stopped = flow
        .daemon
        .iter()
        .flat_map(|daemon| daemon.lanes())
        .any(|l| l.id() == lane && matches!(l.state(), causeway::core::lane::State::Stopped(_)));
    let until = if stopped || flow.switched { state.position().get() } else { i64::MAX };
    let ours = |line: &&Written| line.fate == Fate::Kept && (!world.cyclic || origin(line.uid) == at);
    let mut reached = -1;
    let mut newest = None;
    for line in history.iter().filter(ours) {
        match copies.get(&line.uid) {
            Some((copy, _)) if !in_ledger(line.offset) => {
                if *copy < reached {
                    broken.push(format!("REORD {lane}: {} lies at {copy}, before {newest:?}", line.offset));
                }
                (reached, newest) = (*copy, Some(line.offset));
            }
            Some(_) => {}
            None => {
                let excused = line.offset < first
                    || line.offset >= until
                    || in_ledger(line.offset)
                    || unseen(line.offset)
                    || (world.destroyed.contains(&line.uid) && (line.offset < start || flow.switched || stopped));
                if !excused {
                    let later =
                        history.iter().any(|other| other.offset > line.offset && copies.contains_key(&other.uid));
                    let what = if later { "HOLE" } else { "LOST" };
                    broken.push(format!("{what} {lane}: source offset {} is not at the target", line.offset));
                }
            }
        }
    }
    if !flow.switched || !stopped {
        translation(world, at, (flow, end), state, &history, &copies, broken);
    }
}

/// L3: AHEAD for every source offset, FAR where the answer says that it is exact.
fn translation(
    world: &World,
    at: usize,
    (flow, end): (&Flow, &Progress),
    state: &LaneState,
    history: &[Written],
    copies: &BTreeMap<u64, (i64, i64)>,
    broken: &mut Vec<String>,
) {
    let lane = state.lane();
    let in_ledger = |x: i64| end.gaps().any(|gap| gap.lane == *lane && gap.range.contains(SourceOffset(x)));
    // a generation that went away while its last copies were on their way unacknowledged: those are part of the line's gap
    let unseen = |x: i64| {
        end.gaps().any(|gap| gap.lane == *lane && gap.cause == GapCause::TopicRecreated && gap.range.from.get() <= x)
    };
    let kept: Vec<(i64, (i64, i64))> = history
        .iter()
        .filter(|line| line.fate == Fate::Kept && (!world.cyclic || origin(line.uid) == at))
        .filter_map(|line| Some((line.offset, *copies.get(&line.uid)?)))
        .filter(|(offset, _)| !in_ledger(*offset) && !unseen(*offset))
        .collect();
    let ahead = |x: i64, t: i64| kept.iter().find(|(offset, (_, last))| *offset >= x && *last < t);
    for x in 0..state.position().get() + 2 {
        let answer = state.map().translate(SourceOffset(x));
        let t = answer.offset.get();
        if let Some((offset, (_, last))) = ahead(x, t) {
            broken.push(format!("AHEAD {lane}: T({x}) = {answer:?}, but {offset} lies at {last}"));
        }
        let far = kept.iter().find(|(offset, (first, _))| *offset < x && *first >= t);
        if let Some((offset, (copy, _))) = far.filter(|_| answer.exactness.is_exact()) {
            broken.push(format!("FAR {lane}: T({x}) = {answer:?}, but {offset} lies first at {copy}"));
        }
    }
    for (_, x, t) in flow.answered.iter().filter(|(of, _, _)| of == lane) {
        if let Some((offset, (_, last))) = ahead(*x, *t) {
            broken.push(format!("AHEAD {lane}: a group at {x} was sent to {t}, but {offset} lies at {last}"));
        }
    }
}

/// L5 the other way round: every line is a real gap.
fn ledger(
    world: &World,
    flow: &Flow,
    gap: &causeway::core::gap::Gap,
    state: Option<&LaneState>,
    broken: &mut Vec<String>,
) {
    let Some((history, start, log_end)) = log_of(&flow.source, &gap.lane) else { return };
    let (from, to) = (gap.range.from.get(), gap.range.to.get());
    let real = match &gap.cause {
        GapCause::RetentionOvertook => {
            let copied = |x: i64| state.is_some_and(|state| state.map().landed(SourceOffset(x)).is_some());
            to <= start && !(from..to).any(copied)
        }
        GapCause::SourceTruncated => world
            .truncations
            .iter()
            .any(|(id, p, at)| (*id, *p, *at) == (gap.lane.generation.id, gap.lane.partition.0, from)),
        GapCause::TopicRecreated => {
            // a tail that the topic lost before it was re-created, while nobody looked, cannot be told from what it still had
            let ever = history.iter().map(|line| line.offset + 1).max().unwrap_or(0).max(log_end);
            (to <= ever + MARKERS_MAX || from == to)
                && flow.source.borrow().deleted.iter().any(|(_, old)| old.id == gap.lane.generation.id)
        }
        GapCause::Poison { .. } => {
            let refused = |line: &Written| flow.target.borrow().refused.contains(&line.uid);
            history.iter().any(|line| gap.range.contains(SourceOffset(line.offset)) && refused(line))
        }
        _ => false,
    };
    if !real {
        broken.push(format!("GAP {}: no such gap: {gap:?} (log starts at {start}, ends at {log_end})", gap.lane));
    }
}

/// L4, ECHO, MISROUTE, PHANTOM.
fn routes(world: &World, at: usize, flow: &Flow, broken: &mut Vec<String>) {
    let (source, target) = (flow.source.borrow(), flow.target.borrow());
    let topics = source.topics.values().chain(source.deleted.iter().map(|(_, topic)| topic));
    let fates: BTreeMap<u64, Fate> = topics
        .flat_map(|topic| topic.partitions.iter().flat_map(|log| &log.history))
        .map(|line| (line.uid, line.fate))
        .collect();
    for (name, topic) in &target.topics {
        for (partition, log) in topic.partitions.iter().enumerate() {
            let mut own = BTreeMap::new();
            for (offset, record) in &log.records {
                let theirs = world.cyclic && origin(record.uid) != at;
                if let Some(before) = own.insert(record.uid, offset)
                    && (theirs || world.exactly_once)
                {
                    let word = if theirs { "ECHO L4" } else { "DUP" };
                    broken.push(format!("{word} {name}-{partition}: {} at {before} and {offset}", record.uid));
                }
                if record.home != partition as i32 {
                    broken.push(format!("MISROUTE {name}: {record:?} in partition {partition}"));
                }
                if !theirs && fates.get(&record.uid).is_none_or(|fate| *fate == Fate::Aborted) {
                    broken.push(format!("PHANTOM {name}-{partition}: {record:?} at {offset}"));
                }
            }
        }
    }
}

/// L8: a lane stops for what is its own trouble, and says what.
fn alone(world: &World, flow: &Flow, broken: &mut Vec<String>) {
    use causeway::core::lane::{State, StopReason};
    for lane in flow.daemon.iter().filter(|_| !flow.switched).flat_map(|daemon| daemon.lanes()) {
        let State::Stopped(reason) = lane.state() else { continue };
        let own = match reason {
            StopReason::Poison { range, .. } => history(&flow.source, lane.id()).iter().any(|line| {
                range.contains(SourceOffset(line.offset)) && flow.target.borrow().refused.contains(&line.uid)
            }),
            StopReason::OtherGeneration { .. } => {
                flow.source.borrow().topic_id(lane.id().topic()) != Some(lane.id().generation.id)
            }
            _ => false,
        };
        if !own {
            broken.push(format!("L8 {} stands for no trouble of its own: {reason:?} ({:?})", lane.id(), world.policy));
        }
    }
}
