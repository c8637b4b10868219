//! One log by itself: CORRUPT, MISROUTE, PHANTOM, ECHO, DUP, and the origin's own order.

use std::collections::HashMap;

use super::{Case, Log, Report};
use crate::drill::history::{Outcome, Place};
use crate::drill::payload::Uid;

pub(super) fn judge(case: &Case<'_>, place: &Place, log: &Log, report: &mut Report) {
    let name = format!("{}/{}-{}", place.cluster, place.topic, place.partition);
    let mut copies: HashMap<Uid, u64> = HashMap::with_capacity(log.entries.len());
    let mut last_seq: HashMap<u32, u64> = HashMap::new();
    for entry in &log.entries {
        let at = || format!("{name}@{}", entry.offset);
        if let Some(what) = entry.damage {
            report.add("corrupt", || format!("{}: {what}", at()));
        }
        if entry.misrouted {
            report.add("misroute", || format!("{}: the payload names another place", at()));
        }
        let Some(uid) = entry.uid else { continue };
        let Some(write) = case.writes.get(&uid) else {
            report.add("phantom", || format!("{}: {uid} was never sent", at()));
            continue;
        };
        if write.outcome == Outcome::Fail {
            report.add("phantom", || format!("{}: {uid} was refused", at()));
        }
        let earlier = copies.entry(uid).or_default();
        *earlier += 1;
        if write.place.cluster == place.cluster {
            judge_at_origin(*earlier, entry.offset, uid, write.outcome, &at, report);
            // An unanswered write of a producer that was given up may land at any later time; an answered one may not.
            let ordered = *earlier == 1 && matches!(write.outcome, Outcome::Ok(_));
            if ordered && last_seq.insert(uid.producer, uid.seq).is_some_and(|before| before > uid.seq) {
                report.add("reord", || format!("{}: {uid} after a later one of its producer", at()));
            }
        } else if !may_stand(case, &write.place.cluster, place) {
            report.add("echo", || format!("{}: {uid} has no way here from {}", at(), write.place.cluster));
        } else if *earlier > 1 {
            report.add("dup", || format!("{}: {uid}, copy {earlier}", at()));
        }
    }
}

fn judge_at_origin(copy: u64, offset: i64, uid: Uid, outcome: Outcome, at: &impl Fn() -> String, report: &mut Report) {
    if copy > 1 {
        report.add("echo", || format!("{}: {uid} came back to its origin, copy {copy}", at()));
    } else if let Outcome::Ok(acked) = outcome
        && acked >= 0 // a broker that recognises a repeated batch may answer without an offset
        && acked != offset
    {
        report.add("corrupt", || format!("{}: {uid} was acknowledged at {acked}", at()));
    }
}

/// Some flow is to carry this origin's records into this topic.
fn may_stand(case: &Case<'_>, origin: &str, place: &Place) -> bool {
    case.evidence.flows.iter().any(|flow| {
        flow.to == place.cluster
            && flow.carries.iter().any(|carried| carried == origin)
            && flow.topics.iter().any(|topic| topic.target == place.topic)
    })
}
