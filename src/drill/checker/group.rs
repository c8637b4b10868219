//! What a group processed over all clusters: nothing left out, and how much twice.

use std::collections::{HashMap, HashSet};

use super::{Case, Report};
use crate::drill::history::Event;
use crate::drill::payload::Uid;

pub(super) fn judge(case: &Case<'_>, report: &mut Report) {
    let mut reads: HashMap<&str, HashMap<Uid, HashSet<&str>>> = HashMap::new();
    let mut spots: HashSet<(&str, &crate::drill::history::Place, i64)> = HashSet::new();
    let mut topics: HashMap<&str, HashSet<&str>> = HashMap::new();
    for line in &case.evidence.lines {
        let Event::Read { group, place, offset, uid } = &line.event else { continue };
        topics.entry(group).or_default().insert(&place.topic);
        let again_here = !spots.insert((group, place, *offset));
        let Some(uid) = uid else { continue };
        let clusters = reads.entry(group).or_default().entry(*uid).or_default();
        // A second copy in the same log is a DUP of the mirror; reading that is no step back of the group.
        let again_elsewhere = clusters.insert(&place.cluster) && clusters.len() > 1;
        report.counts.group_reread += u64::from(again_here || again_elsewhere);
    }
    let Some(region) = &case.evidence.final_region else { return };
    for (group, read) in &reads {
        for (place, log) in case.evidence.logs.iter().filter(|(place, _)| place.cluster == *region) {
            if !topics[group].contains(place.topic.as_str()) {
                continue;
            }
            let missed: HashSet<Uid> =
                log.entries.iter().filter_map(|entry| entry.uid).filter(|uid| !read.contains_key(uid)).collect();
            for uid in missed {
                report
                    .add("group_skipped", || format!("{group}: {uid} of {region}/{}-{}", place.topic, place.partition));
            }
        }
    }
}
