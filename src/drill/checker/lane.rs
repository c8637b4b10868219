//! One partition of one flow, source against target: LOST, HOLE, REORD, PHANTOM, CORRUPT, and the ledger both ways.

use std::collections::{HashMap, HashSet};

use super::{Case, Entry, Flow, LedgerLine, Log, Report, TopicPair};
use crate::drill::history::Outcome;
use crate::drill::payload::Uid;

/// A record the target should have, in source order.
struct Expected {
    offset: i64,
    uid: Uid,
    key: Option<u32>,
}

pub(super) fn judge(case: &Case<'_>, flow: &Flow, topic: &TopicPair, partition: i32, report: &mut Report) {
    let empty = Log::default();
    let source = case.log(&flow.from, &topic.source, partition).unwrap_or(&empty);
    let target = case.log(&flow.to, &topic.target, partition).unwrap_or(&empty);
    let name = format!("{} {}-{partition}", flow.name, topic.source);
    let carried = |uid: Uid| case.origin(uid).is_some_and(|origin| flow.carries.iter().any(|c| c == origin));
    let at_source: HashMap<Uid, &Entry> =
        source.entries.iter().rev().filter_map(|entry| Some((entry.uid?, entry))).collect();
    let mut firsts: Vec<(Uid, &Entry)> = Vec::new();
    let mut at_target: HashSet<Uid> = HashSet::new();
    for entry in &target.entries {
        if let Some(uid) = entry.uid.filter(|uid| carried(*uid))
            && at_target.insert(uid)
        {
            firsts.push((uid, entry));
        }
    }
    let mirrored = judge_firsts(case, &name, topic, &at_source, source, &firsts, report);
    *report.mirrored.entry(flow.name.clone()).or_default() += mirrored;
    let expected = expected(case, flow, topic, partition, source, &at_source, &name, report);
    let ledger: Vec<&LedgerLine> = (case.evidence.ledger.iter())
        .filter(|line| line.flow == flow.name && line.topic == topic.source && line.partition == partition)
        .collect();
    judge_missing(case, flow, topic, &name, &expected, &at_target, &ledger, report);
    judge_ledger(&name, &ledger, &expected, &at_target, report);
}

/// REORD, PHANTOM and CORRUPT by the first copies at the target, in target order. Counts the acknowledged ones.
fn judge_firsts(
    case: &Case<'_>,
    name: &str,
    topic: &TopicPair,
    at_source: &HashMap<Uid, &Entry>,
    source: &Log,
    firsts: &[(Uid, &Entry)],
    report: &mut Report,
) -> u64 {
    let mut greatest = -1;
    let mut mirrored = 0;
    for (uid, entry) in firsts {
        let Some(original) = at_source.get(uid) else {
            let trimmed = matches!(case.writes[uid].outcome, Outcome::Ok(acked) if acked < source.start);
            if !trimmed && !topic.compacted {
                report.add("phantom", || format!("{name}: {uid} at target {} is not at the source", entry.offset));
            }
            continue;
        };
        if original.offset < greatest {
            report.add("reord", || {
                format!("{name}: source {} comes after source {greatest} at target {}", original.offset, entry.offset)
            });
        }
        greatest = greatest.max(original.offset);
        if original.digest != entry.digest {
            report.add("corrupt", || {
                format!("{name}: {uid} differs, source {} target {}", original.offset, entry.offset)
            });
        }
        mirrored += u64::from(case.acked(*uid));
    }
    mirrored
}

/// What the source holds or acknowledged, in source order. An acknowledged record that its own cluster no longer has
/// is LOST at once: no mirror can make up for that.
#[expect(clippy::too_many_arguments)]
fn expected(
    case: &Case<'_>,
    flow: &Flow,
    topic: &TopicPair,
    partition: i32,
    source: &Log,
    at_source: &HashMap<Uid, &Entry>,
    name: &str,
    report: &mut Report,
) -> Vec<Expected> {
    let carried = |uid: Uid| case.origin(uid).is_some_and(|origin| flow.carries.iter().any(|c| c == origin));
    let held = source.entries.iter().filter_map(|entry| {
        let uid = entry.uid.filter(|uid| carried(*uid) && at_source[uid].offset == entry.offset)?;
        Some(Expected { offset: entry.offset, uid, key: entry.key })
    });
    let mut all: Vec<Expected> = held.collect();
    for (uid, write) in &case.writes {
        let place = &write.place;
        let Outcome::Ok(acked) = write.outcome else { continue };
        let here = place.cluster == flow.from && place.topic == topic.source && place.partition == partition;
        if !here || at_source.contains_key(uid) || topic.compacted {
            continue;
        }
        if acked >= source.start || acked < 0 {
            report.add("lost", || format!("{name}: {uid}, acknowledged at {acked}, is not in the source's own log"));
        } else {
            all.push(Expected { offset: acked, uid: *uid, key: None });
        }
    }
    all.sort_by_key(|record| record.offset);
    all
}

#[expect(clippy::too_many_arguments)]
fn judge_missing(
    case: &Case<'_>,
    flow: &Flow,
    topic: &TopicPair,
    name: &str,
    expected: &[Expected],
    at_target: &HashSet<Uid>,
    ledger: &[&LedgerLine],
    report: &mut Report,
) {
    let region_lost = case.evidence.lost_region.as_ref() == Some(&flow.from);
    let target_lost = case.evidence.lost_region.as_ref() == Some(&flow.to);
    let mut later_present = false;
    let mut later_keys: HashSet<u32> = HashSet::new();
    for record in expected.iter().rev() {
        let present = at_target.contains(&record.uid);
        let superseded = topic.compacted && record.key.is_some_and(|key| !later_keys.insert(key));
        let admitted = ledger.iter().any(|line| (line.first..=line.last).contains(&record.offset));
        if !present && !superseded && !admitted {
            let text = || format!("{name}: {} at source {}", record.uid, record.offset);
            if later_present {
                report.add("hole", text);
                report.add("lost", text);
            } else if target_lost {
                // what came after the loss has nowhere to go
            } else if !region_lost {
                report.add("lost", text);
            } else if case.acked(record.uid) {
                report.add("lost", text);
                report.counts.lost_suffix += 1;
                report.suffix.push(record.uid);
            } else if case.read.contains(&record.uid) {
                report.counts.lost_unacked_read += 1;
            }
        }
        later_present |= present;
    }
}

/// Every line of the ledger must be a real hole.
fn judge_ledger(
    name: &str,
    ledger: &[&LedgerLine],
    expected: &[Expected],
    at_target: &HashSet<Uid>,
    report: &mut Report,
) {
    for line in ledger {
        let mut inside = expected.iter().filter(|record| (line.first..=line.last).contains(&record.offset));
        if let Some(record) = inside.find(|record| at_target.contains(&record.uid)) {
            let (first, last) = (line.first, line.last);
            report.add("ledger_unfounded", || format!("{name}: {first}..={last} is listed, but {} came", record.uid));
        }
    }
}
