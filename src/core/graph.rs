//! The graph of flows between clusters, by `cluster.id`: known only once every cluster has been asked, so it is checked at the start.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::ids::{Alias, ClusterId, FlowName};

/// A flow as an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The flow.
    pub flow: FlowName,
    /// Its source.
    pub source: ClusterId,
    /// Its target.
    pub target: ClusterId,
    /// True under identity names: only there does a record come back to a topic of its own name.
    pub identity: bool,
}

/// What is wrong with a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Two labels, one cluster.
    #[error("clusters `{first}` and `{second}` are one cluster (cluster.id {id}): give it one name")]
    SameCluster {
        /// One alias.
        first: Alias,
        /// The other one.
        second: Alias,
        /// The `cluster.id` of both.
        id: ClusterId,
    },
    /// A flow onto itself.
    #[error("flow `{flow}` reads and writes the same cluster (cluster.id {id})")]
    SourceIsTarget {
        /// The flow.
        flow: FlowName,
        /// The cluster.
        id: ClusterId,
    },
    /// Two flows write the same names onto the same cluster from the same cluster.
    #[error(
        "flows `{first}` and `{second}` both copy {source_id} to {target_id} under the same names: records would come twice"
    )]
    Parallel {
        /// One flow.
        first: FlowName,
        /// The other one.
        second: FlowName,
        /// Source of both.
        source_id: ClusterId,
        /// Target of both.
        target_id: ClusterId,
    },
}

/// Checks what only the clusters themselves can say. `overlap` answers whether two flows may copy the same topic.
#[must_use]
pub fn check(
    clusters: &[(Alias, ClusterId)],
    edges: &[Edge],
    overlap: impl Fn(&FlowName, &FlowName) -> bool,
) -> Vec<GraphError> {
    let mut wrong = Vec::new();
    for (index, (second, id)) in clusters.iter().enumerate() {
        if let Some((first, _)) = clusters[..index].iter().find(|(_, other)| other == id) {
            wrong.push(GraphError::SameCluster { first: first.clone(), second: second.clone(), id: id.clone() });
        }
    }
    for (index, edge) in edges.iter().enumerate() {
        if edge.source == edge.target {
            wrong.push(GraphError::SourceIsTarget { flow: edge.flow.clone(), id: edge.source.clone() });
        }
        let parallel = |other: &&Edge| {
            let ends = (&other.source, &other.target) == (&edge.source, &edge.target);
            ends && other.identity && edge.identity && overlap(&other.flow, &edge.flow)
        };
        if let Some(other) = edges[..index].iter().find(parallel) {
            wrong.push(GraphError::Parallel {
                first: other.flow.clone(),
                second: edge.flow.clone(),
                source_id: edge.source.clone(),
                target_id: edge.target.clone(),
            });
        }
    }
    wrong
}

/// True when the flow lies on a cycle of identity flows: its records then carry provenance. Without one nothing is added to a record.
#[must_use]
pub fn needs_provenance(edges: &[Edge], flow: &FlowName) -> bool {
    let Some(edge) = edges.iter().find(|edge| edge.flow == *flow && edge.identity) else { return false };
    reaches(edges, &edge.target, &edge.source)
}

/// True when both flows lie on a cycle of identity flows, and on the same one.
#[must_use]
pub fn share_a_cycle(edges: &[Edge], one: &FlowName, other: &FlowName) -> bool {
    let find = |flow: &FlowName| edges.iter().find(|edge| edge.flow == *flow && edge.identity);
    let (Some(one), Some(other)) = (find(one), find(other)) else { return false };
    reaches(edges, &one.target, &other.source) && reaches(edges, &other.target, &one.source)
}

/// True when `from` has a flow of its own to `to` under identity names.
#[must_use]
pub fn feeds(edges: &[Edge], from: &ClusterId, to: &ClusterId) -> bool {
    edges.iter().any(|edge| edge.identity && edge.source == *from && edge.target == *to)
}

/// Whether a flow brings what was born on `origin` to its target. Of several ways from there one is taken, so that nothing arrives twice: the shortest,
/// and of those that are equally short the one whose last flow comes first by name. What is born on a cluster that no flow comes from is brought on.
#[must_use]
pub fn carries(edges: &[Edge], flow: &FlowName, origin: &ClusterId) -> bool {
    let Some(edge) = edges.iter().find(|edge| edge.flow == *flow) else { return true };
    if *origin == edge.target {
        return false;
    }
    let steps = steps_from(edges, origin);
    let Some(here) = steps.get(&edge.source) else { return true };
    if steps.get(&edge.target) != Some(&(here + 1)) {
        return false;
    }
    let last = edges.iter().filter(|other| other.identity && other.target == edge.target);
    let ways = last.filter(|other| steps.get(&other.source) == Some(here));
    ways.map(|other| &other.flow).min() == Some(flow)
}

/// True when something born on some cluster could come to another one by two ways, or back: then flows have to tell where records were born.
#[must_use]
pub fn is_ambiguous(edges: &[Edge]) -> bool {
    let identity = || edges.iter().filter(|edge| edge.identity);
    identity().any(|from| {
        let steps = steps_from(edges, &from.source);
        let reached = identity().filter(|edge| steps.contains_key(&edge.source));
        reached.into_iter().any(|edge| !carries(edges, &edge.flow, &from.source))
    })
}

/// Steps from `origin` to each cluster that it reaches.
fn steps_from(edges: &[Edge], origin: &ClusterId) -> BTreeMap<ClusterId, usize> {
    let mut steps = BTreeMap::from([(origin.clone(), 0)]);
    let mut open = VecDeque::from([origin.clone()]);
    while let Some(at) = open.pop_front() {
        let next = steps[&at] + 1;
        for edge in edges.iter().filter(|edge| edge.identity && edge.source == at) {
            if !steps.contains_key(&edge.target) {
                steps.insert(edge.target.clone(), next);
                open.push_back(edge.target.clone());
            }
        }
    }
    steps
}

fn reaches(edges: &[Edge], from: &ClusterId, to: &ClusterId) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        let next = edges.iter().filter(|edge| edge.identity && edge.source == *at).map(|edge| &edge.target);
        open.extend(next.filter(|cluster| seen.insert(*cluster)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(flows: &[(&str, &str)]) -> Vec<Edge> {
        let edge = |(source, target): &(&str, &str)| Edge {
            flow: FlowName::new(format!("{source}{target}")),
            source: ClusterId::new(source),
            target: ClusterId::new(target),
            identity: true,
        };
        flows.iter().map(edge).collect()
    }

    #[test]
    fn only_flows_on_a_cycle_of_identity_names_need_provenance() {
        let mut graph = edges(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]);
        let need = |graph: &[Edge], flow: &str| needs_provenance(graph, &FlowName::new(flow));
        assert!(need(&graph, "ab") && need(&graph, "bc") && need(&graph, "ca") && !need(&graph, "cd"));
        graph[2].identity = false;
        assert!(!need(&graph, "ab") && !need(&graph, "ca"));
        assert!(feeds(&graph, &ClusterId::new("a"), &ClusterId::new("b")));
        assert!(!feeds(&graph, &ClusterId::new("a"), &ClusterId::new("c")));
    }

    /// What is born on each cluster, brought on by flows as `carries` says until nothing moves any more: how often it comes where.
    fn arrivals(graph: &[Edge], clusters: &[&str]) -> BTreeMap<(ClusterId, ClusterId), usize> {
        let mut times = BTreeMap::new();
        for origin in clusters {
            let origin = ClusterId::new(origin);
            let mut open = vec![origin.clone()];
            while let Some(at) = open.pop() {
                for edge in graph.iter().filter(|edge| edge.source == at && carries(graph, &edge.flow, &origin)) {
                    let count = times.entry((origin.clone(), edge.target.clone())).or_insert(0);
                    *count += 1;
                    assert!(*count < 3, "it goes round for ever");
                    open.push(edge.target.clone());
                }
            }
        }
        times
    }

    #[test]
    fn l4_in_every_graph_of_up_to_four_clusters_everything_comes_once_to_where_there_is_a_way() {
        let clusters = ["a", "b", "c", "d"];
        let pairs: Vec<(&str, &str)> =
            clusters.iter().flat_map(|a| clusters.iter().filter(move |b| a != *b).map(move |b| (*a, *b))).collect();
        assert_eq!(pairs.len(), 12);
        for drawn in 0..1_u32 << pairs.len() {
            let flows: Vec<_> =
                pairs.iter().enumerate().filter(|(bit, _)| drawn >> bit & 1 == 1).map(|(_, pair)| *pair).collect();
            let graph = edges(&flows);
            let times = arrivals(&graph, &clusters);
            for (origin, target) in pairs.iter().map(|(a, b)| (ClusterId::new(a), ClusterId::new(b))) {
                let wanted = usize::from(reaches(&graph, &origin, &target));
                let came = times.get(&(origin.clone(), target.clone())).copied().unwrap_or(0);
                assert_eq!(came, wanted, "{origin} to {target} in {flows:?}");
                assert_eq!(times.get(&(origin.clone(), origin.clone())), None, "back to {origin} in {flows:?}");
            }
            let all_carry = graph.iter().all(|edge| {
                let comes = |origin: &&&str| {
                    reaches(&graph, &ClusterId::new(origin), &edge.source) || **origin == edge.source.as_str()
                };
                clusters.iter().filter(comes).all(|origin| carries(&graph, &edge.flow, &ClusterId::new(origin)))
            });
            assert_eq!(is_ambiguous(&graph), !all_carry, "{flows:?}");
        }
    }

    #[test]
    fn l4_one_cluster_under_two_names_is_refused_by_its_cluster_id() {
        let clusters =
            [("east", "a"), ("west", "b"), ("again", "a")].map(|(n, id)| (Alias::new(n), ClusterId::new(id)));
        let wrong = check(&clusters, &edges(&[("a", "b"), ("a", "a")]), |_, _| true);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].to_string().contains("`east` and `again`") && wrong[1].to_string().contains("`aa`"));
    }

    #[test]
    fn two_flows_over_the_same_topics_and_clusters_are_refused() {
        let mut graph = edges(&[("a", "b"), ("a", "b")]);
        graph[1].flow = FlowName::new("other");
        assert!(matches!(check(&[], &graph, |_, _| true)[..], [GraphError::Parallel { .. }]));
        assert!(check(&[], &graph, |_, _| false).is_empty());
    }
}
