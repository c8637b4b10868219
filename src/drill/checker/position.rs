//! Translated positions: AHEAD (a consumer would skip) and FAR (a consumer would repeat without need).

use std::collections::{HashMap, HashSet};

use super::{Case, Flow, Log, Position, Report, TopicPair};
use crate::drill::payload::Uid;

pub(super) fn judge(case: &Case<'_>, report: &mut Report) {
    for position in &case.evidence.positions {
        let flow = case.evidence.flows.iter().find(|flow| flow.name == position.flow);
        let Some(flow) = flow else { continue };
        let Some(topic) = flow.topics.iter().find(|topic| topic.source == position.topic) else { continue };
        judge_one(case, flow, topic, position, report);
    }
}

/// Any record counts for AHEAD, whatever its origin: a consumer that hops reads them all. With copies made twice
/// (at-least-once) one copy at or after T is enough.
fn judge_one(case: &Case<'_>, flow: &Flow, topic: &TopicPair, position: &Position, report: &mut Report) {
    let empty = Log::default();
    let source = case.log(&flow.from, &topic.source, position.partition).unwrap_or(&empty);
    let target = case.log(&flow.to, &topic.target, position.partition).unwrap_or(&empty);
    let mut copies: HashMap<Uid, (i64, i64)> = HashMap::with_capacity(target.entries.len());
    for entry in &target.entries {
        if let Some(uid) = entry.uid {
            copies.entry(uid).or_insert((entry.offset, entry.offset)).1 = entry.offset;
        }
    }
    let Position { owner, source: x, target: t, partition, .. } = position;
    let at = |offset: i64| format!("{owner} {}-{partition}: X={x} T={t}, record at source {offset}", topic.source);
    let mut seen: HashSet<Uid> = HashSet::with_capacity(source.entries.len());
    for entry in &source.entries {
        // A second copy at the source (of a record that came from elsewhere) tells nothing: whoever read the first has it.
        let Some(uid) = entry.uid.filter(|uid| seen.insert(*uid)) else { continue };
        let Some((first, last)) = copies.get(&uid) else { continue };
        if entry.offset >= *x && last < t {
            report.add("ahead", || format!("{}, last copy at target {last}", at(entry.offset)));
        }
        let carried = case.origin(uid).is_some_and(|o| flow.carries.iter().any(|c| c == o));
        if position.exact && carried && entry.offset < *x && first >= t {
            report.add("far", || format!("{}, first copy at target {first}", at(entry.offset)));
        }
    }
}
