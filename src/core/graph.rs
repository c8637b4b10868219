//! The graph of flows between clusters, by `cluster.id`: known only once every cluster has been asked, so it is checked at the start.
use std::collections::BTreeSet;

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

/// True when `from` has a flow of its own to `to` under identity names.
#[must_use]
pub fn feeds(edges: &[Edge], from: &ClusterId, to: &ClusterId) -> bool {
    edges.iter().any(|edge| edge.identity && edge.source == *from && edge.target == *to)
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
