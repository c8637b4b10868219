//! What the client knows of the cluster: brokers, controller, leaders, coordinators. Pure bookkeeping.

use super::route::Role;
use crate::messages::metadata::MetadataResponse;
use crate::{ErrorCode, Uuid};
use std::collections::HashMap;

/// A topic as the cluster last described it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topic {
    /// Topic ID; zero before Kafka 2.8.
    pub id: Uuid,
    /// Partitions by number.
    pub partitions: HashMap<i32, Partition>,
}

/// A partition as the cluster last described it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Node that leads it; none while it has no leader.
    pub leader: Option<i32>,
    /// Leader epoch; -1 where the broker does not say.
    pub leader_epoch: i32,
}

#[derive(Debug, Default)]
pub(super) struct Cluster {
    pub cluster_id: Option<String>,
    /// `host:port` by node.
    pub nodes: HashMap<i32, String>,
    pub controller: Option<i32>,
    topics: HashMap<String, Topic>,
    /// By group and by `transactional.id`: the two may share a name.
    coordinators: HashMap<(Role, String), i32>,
}

/// Most remembered groups and topics: beyond it the memory starts anew rather than grow.
const REMEMBERED_MAX: usize = 100_000;

impl Cluster {
    /// Takes in an answer about the topics it names; `all` says that it names every topic there is.
    pub fn learn(&mut self, answer: &MetadataResponse, all: bool) {
        if answer.cluster_id.is_some() {
            self.cluster_id.clone_from(&answer.cluster_id);
        }
        if !answer.brokers.is_empty() {
            self.nodes = answer.brokers.iter().map(|b| (b.node_id, address(&b.host, b.port))).collect();
        }
        self.controller = Some(answer.controller_id).filter(|&id| id >= 0);
        if all || self.topics.len() + answer.topics.len() > REMEMBERED_MAX {
            self.topics.clear();
        }
        for topic in &answer.topics {
            let Some(name) = &topic.name else { continue };
            if topic.error_code == ErrorCode::NONE.0 {
                let partitions = topic.partitions.iter().map(|p| {
                    let leader = Some(p.leader_id).filter(|&id| id >= 0);
                    (p.partition_index, Partition { leader, leader_epoch: p.leader_epoch })
                });
                self.topics.insert(name.clone(), Topic { id: topic.topic_id, partitions: partitions.collect() });
            } else {
                self.topics.remove(name);
            }
        }
    }

    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        self.topics.get(topic)?.partitions.get(&partition)?.leader
    }

    pub fn forget_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    pub fn coordinator(&self, role: Role, id: &str) -> Option<i32> {
        self.coordinators.get(&(role, id.to_owned())).copied()
    }

    pub fn learn_coordinator(&mut self, role: Role, id: &str, node: i32, address: String) {
        if self.coordinators.len() >= REMEMBERED_MAX {
            self.coordinators.clear();
        }
        self.coordinators.insert((role, id.to_owned()), node);
        self.nodes.insert(node, address);
    }

    pub fn forget_coordinator(&mut self, role: Role, id: &str) {
        self.coordinators.remove(&(role, id.to_owned()));
    }
}

/// `host:port`, with brackets around a bare IPv6 address.
pub(super) fn address(host: &str, port: i32) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};

    fn answer(topic: &str, leader: i32, code: ErrorCode) -> MetadataResponse {
        let partition = MetadataResponsePartition { partition_index: 3, leader_id: leader, ..Default::default() };
        let topic = MetadataResponseTopic {
            name: Some(topic.to_owned()),
            error_code: code.0,
            partitions: vec![partition],
            ..Default::default()
        };
        let broker = MetadataResponseBroker { node_id: 1, host: "::1".to_owned(), port: 9092, rack: None };
        MetadataResponse { topics: vec![topic], brokers: vec![broker], ..Default::default() }
    }

    #[test]
    fn a_partition_without_leader_has_no_route() {
        let mut cluster = Cluster::default();
        cluster.learn(&answer("t", -1, ErrorCode::NONE), false);
        assert_eq!(cluster.leader("t", 3), None);
        cluster.learn(&answer("t", 1, ErrorCode::NONE), false);
        assert_eq!(cluster.leader("t", 3), Some(1));
        assert_eq!(cluster.nodes[&1], "[::1]:9092");
    }

    #[test]
    fn a_deleted_topic_is_forgotten_and_others_stay() {
        let mut cluster = Cluster::default();
        cluster.learn(&answer("a", 1, ErrorCode::NONE), false);
        cluster.learn(&answer("b", 1, ErrorCode::NONE), false);
        cluster.learn(&answer("a", 1, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), false);
        assert!(cluster.topic("a").is_none() && cluster.topic("b").is_some());
    }
}
