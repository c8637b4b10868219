//! What the clusters and flows say together: ends that are one cluster, flows that would feed on each other.

use std::collections::BTreeMap;

use super::check::Checker;
use super::valid::{Alias, Cluster, Flow, Naming};

/// Checks what can be seen without asking a cluster; the daemon compares real cluster.ids when it connects.
pub(super) fn check(clusters: &BTreeMap<Alias, Cluster>, flows: &[Flow], checker: &mut Checker<'_>) {
    same_cluster(clusters, checker);
    for flow in flows {
        if flow.from == flow.to {
            let why = "a flow needs two clusters: this one would read what it writes";
            checker.fail(&format!("flows.{}.to", flow.name), format!("`{}` is also the source; {why}", flow.to));
        }
    }
    unguarded_cycles(flows, checker);
}

fn same_cluster(clusters: &BTreeMap<Alias, Cluster>, checker: &mut Checker<'_>) {
    let all: Vec<&Cluster> = clusters.values().collect();
    for (index, second) in all.iter().enumerate() {
        for first in &all[..index] {
            let (key, other) = (format!("clusters.{}", second.alias), &first.alias);
            if let Some(address) = second.bootstrap.iter().find(|address| first.bootstrap.contains(address)) {
                checker.fail(
                    &format!("{key}.bootstrap"),
                    format!("{address} also belongs to `{other}`: one cluster, two names"),
                );
            } else if second.cluster_id.is_some() && second.cluster_id == first.cluster_id {
                checker.fail(
                    &format!("{key}.cluster_id"),
                    format!("`{other}` has the same cluster.id: one cluster, two names"),
                );
            }
        }
    }
}

/// Under identity names a cycle is guarded by provenance. Names that grow with every hop have no such end: what comes back is a new topic,
/// which is copied again. Such a cycle is legal only where some flow on it leaves out the names that the others make.
fn unguarded_cycles(flows: &[Flow], checker: &mut Checker<'_>) {
    for flow in flows {
        if flow.naming == Naming::Identity {
            continue;
        }
        if let Some(path) = way_back(flow, flows) {
            let names: Vec<&str> = path.iter().map(|flow| flow.name.as_str()).collect();
            let message = format!(
                "closes the cycle {} -> {}: a topic would come back under a longer name and be copied again without end; \
                 use naming = \"identity\" or exclude the names that the other flow makes",
                flow.name,
                names.join(" -> ")
            );
            checker.fail(&format!("flows.{}.naming", flow.name), message);
        }
    }
}

/// The flows that carry what `flow` wrote back to its source and into it again, if there are such.
fn way_back<'a>(flow: &'a Flow, flows: &'a [Flow]) -> Option<Vec<&'a Flow>> {
    let probe = renamed(flow, PROBE);
    let mut open: Vec<(Vec<&Flow>, &Alias, String)> = vec![(Vec::new(), &flow.to, probe)];
    // Each flow at most once on a way: the walk ends.
    while let Some((path, at, topic)) = open.pop() {
        if *at == flow.from && flow.topics.matches(&topic) {
            return Some(path);
        }
        for next in flows.iter().filter(|next| next.from == *at && next.topics.matches(&topic)) {
            if path.iter().any(|seen| seen.name == next.name) || next.name == flow.name {
                continue;
            }
            let mut longer = path.clone();
            longer.push(next);
            open.push((longer, &next.to, renamed(next, &topic)));
        }
    }
    None
}

/// Stands for any topic of the source.
const PROBE: &str = "a-topic";

fn renamed(flow: &Flow, topic: &str) -> String {
    match &flow.naming {
        Naming::Identity => topic.to_owned(),
        Naming::Prefixed => format!("{}.{topic}", flow.from),
        Naming::Template(template) => template.replace("{source}", flow.from.as_str()).replace("{topic}", topic),
    }
}
