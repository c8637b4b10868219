//! The metadata as it stands: a pure function of the records applied.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use causeway_wire::Uuid;

use super::MetaRecord;
use super::clients::Clients;
use crate::config::effective::Settings;
use crate::core::features::Levels;

/// One partition's assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMeta {
    /// Node ids, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Counts changes of leadership.
    pub leader_epoch: i32,
}

impl PartitionMeta {
    /// The leader: with one node, the only replica.
    pub fn leader(&self) -> i32 {
        self.replicas.first().copied().unwrap_or(-1)
    }
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMeta {
    /// Name.
    pub name: String,
    /// Id; another one means another generation of the topic.
    pub id: Uuid,
    /// Partitions by number.
    pub partitions: Vec<PartitionMeta>,
    /// Settings of its own.
    pub configs: Settings,
}

impl TopicMeta {
    /// Whether clients should be told that the topic is the broker's own.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }
}

/// Topics that the brokers themselves write.
pub fn is_internal(name: &str) -> bool {
    name == "__consumer_offsets" || name == "__transaction_state"
}

/// All metadata.
#[derive(Debug, Clone, Default)]
pub struct MetaImage {
    topics: BTreeMap<String, Arc<TopicMeta>>,
    names: BTreeMap<[u8; 16], String>,
    /// Dynamic settings of all brokers.
    pub cluster_configs: Settings,
    /// Dynamic settings by node.
    pub broker_configs: BTreeMap<i32, Settings>,
    /// Quotas, users, settings of groups and of metric subscriptions.
    pub clients: Clients,
    /// Finalized feature levels.
    pub features: Levels,
    /// The next producer id block starts here.
    pub next_producer_id: i64,
    /// Counts applied records.
    pub version: u64,
    /// Ids of deleted topics, the latest last: leftovers of theirs on disk may be removed.
    gone: VecDeque<Uuid>,
}

/// Deleted topics remembered: a crash leaves directories only of deletions that were under way.
const GONE_MAX: usize = 10_000;

impl MetaImage {
    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicMeta>> {
        self.topics.get(name)
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicMeta>> {
        self.topics.get(self.names.get(&id.0)?)
    }

    /// All topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicMeta>> {
        self.topics.values()
    }

    /// Whether a topic of that id was deleted here.
    pub fn was_deleted(&self, id: Uuid) -> bool {
        self.gone.contains(&id)
    }

    /// The finalized level of a feature; 0 is "off".
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Dynamic settings of one node.
    pub fn node_configs(&self, node: i32) -> Settings {
        self.broker_configs.get(&node).cloned().unwrap_or_default()
    }

    /// Applies one record. Records about topics that are gone change nothing.
    pub fn apply(&mut self, record: &MetaRecord) {
        self.version += 1;
        match record {
            MetaRecord::Topic { name, id, partitions, configs } => {
                let id = id.parse().unwrap_or(Uuid([0; 16]));
                let partitions = partitions.iter().map(|r| PartitionMeta { replicas: r.clone(), leader_epoch: 0 });
                let topic =
                    TopicMeta { name: name.clone(), id, partitions: partitions.collect(), configs: configs.clone() };
                self.names.insert(id.0, name.clone());
                self.topics.insert(name.clone(), Arc::new(topic));
            }
            MetaRecord::TopicGone { name, id } => {
                let id = id.parse().unwrap_or(Uuid::ZERO);
                if self.topics.get(name).is_some_and(|t| t.id == id) {
                    self.topics.remove(name);
                    self.names.remove(&id.0);
                }
                if self.gone.len() >= GONE_MAX {
                    self.gone.pop_front();
                }
                self.gone.push_back(id);
            }
            MetaRecord::Partitions { name, added } => self.change(name, |topic| {
                let added = added.iter().map(|r| PartitionMeta { replicas: r.clone(), leader_epoch: 0 });
                topic.partitions.extend(added);
            }),
            MetaRecord::TopicConfig { name, key, value } => {
                self.change(name, |topic| set(&mut topic.configs, key, value.as_ref()));
            }
            MetaRecord::BrokerConfig { node: Some(node), key, value } => {
                set(self.broker_configs.entry(*node).or_default(), key, value.as_ref());
            }
            MetaRecord::BrokerConfig { node: None, key, value } => {
                set(&mut self.cluster_configs, key, value.as_ref());
            }
            MetaRecord::ClientQuota { .. } | MetaRecord::ScramUser { .. } | MetaRecord::ResourceConfig { .. } => {
                self.clients.apply(record);
            }
            MetaRecord::FeatureLevel { name, level } => {
                self.features.insert(name.clone(), *level);
            }
            MetaRecord::ProducerIds { next } => self.next_producer_id = self.next_producer_id.max(*next),
            MetaRecord::BrokerStarted { node } => {
                for topic in self.topics.values_mut() {
                    for partition in &mut Arc::make_mut(topic).partitions {
                        if partition.leader() == *node {
                            partition.leader_epoch += 1;
                        }
                    }
                }
            }
            MetaRecord::LeaderEpochs { name, epochs } => self.change(name, |topic| {
                for (partition, epoch) in topic.partitions.iter_mut().zip(epochs) {
                    partition.leader_epoch = *epoch;
                }
            }),
        }
    }

    /// Records that, applied to nothing, give this image.
    pub fn snapshot(&self) -> Vec<MetaRecord> {
        let gone = self.gone.iter().map(|id| MetaRecord::TopicGone { name: String::new(), id: id.to_string() });
        let mut out: Vec<MetaRecord> = gone.collect();
        for topic in self.topics.values() {
            out.push(MetaRecord::Topic {
                name: topic.name.clone(),
                id: topic.id.to_string(),
                partitions: topic.partitions.iter().map(|p| p.replicas.clone()).collect(),
                configs: topic.configs.clone(),
            });
            let epochs: Vec<i32> = topic.partitions.iter().map(|p| p.leader_epoch).collect();
            if epochs.iter().any(|e| *e != 0) {
                out.push(MetaRecord::LeaderEpochs { name: topic.name.clone(), epochs });
            }
        }
        let nodes = self.broker_configs.iter().map(|(n, s)| (Some(*n), s));
        for (node, settings) in nodes.chain([(None, &self.cluster_configs)]) {
            for (key, value) in settings {
                out.push(MetaRecord::BrokerConfig { node, key: key.clone(), value: Some(value.clone()) });
            }
        }
        out.extend(self.clients.snapshot());
        let features = self.features.iter();
        out.extend(features.map(|(name, level)| MetaRecord::FeatureLevel { name: name.clone(), level: *level }));
        if self.next_producer_id > 0 {
            out.push(MetaRecord::ProducerIds { next: self.next_producer_id });
        }
        out
    }

    fn change(&mut self, name: &str, f: impl FnOnce(&mut TopicMeta)) {
        if let Some(topic) = self.topics.get_mut(name) {
            f(Arc::make_mut(topic));
        }
    }
}

fn set(settings: &mut Settings, key: &str, value: Option<&String>) {
    match value {
        Some(value) => settings.insert(key.to_owned(), value.clone()),
        None => settings.remove(key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_gives_the_same_image() {
        let mut image = MetaImage::default();
        let topic = |name: &str, byte: u8| MetaRecord::Topic {
            name: name.into(),
            id: Uuid([byte; 16]).to_string(),
            partitions: vec![vec![1], vec![1]],
            configs: Settings::from([("retention.ms".into(), "5".into())]),
        };
        let records = [
            topic("a", 1),
            topic("b", 2),
            MetaRecord::TopicGone { name: "b".into(), id: Uuid([2; 16]).to_string() },
            MetaRecord::Partitions { name: "a".into(), added: vec![vec![1]] },
            MetaRecord::BrokerStarted { node: 1 },
            MetaRecord::TopicConfig { name: "a".into(), key: "retention.ms".into(), value: None },
            MetaRecord::BrokerConfig { node: Some(1), key: "k".into(), value: Some("v".into()) },
            MetaRecord::ProducerIds { next: 1000 },
            MetaRecord::FeatureLevel { name: "on".into(), level: 2 },
            MetaRecord::FeatureLevel { name: "off".into(), level: 0 },
        ];
        for record in &records {
            image.apply(record);
        }
        assert_eq!(image.topic("a").unwrap().partitions[2], PartitionMeta { replicas: vec![1], leader_epoch: 1 });
        assert!(image.topic("b").is_none() && image.topic_by_id(Uuid([2; 16])).is_none());
        let mut copy = MetaImage::default();
        for record in image.snapshot() {
            copy.apply(&record);
        }
        assert_eq!(copy.topics, image.topics);
        assert_eq!(copy.broker_configs, image.broker_configs);
        assert_eq!(copy.next_producer_id, 1000);
        assert_eq!(copy.features, image.features);
        assert_eq!((copy.feature_level("on"), copy.feature_level("off"), copy.feature_level("never")), (2, 0, 0));
        assert!(copy.was_deleted(Uuid([2; 16])) && !copy.was_deleted(Uuid([1; 16])));
        assert_eq!(copy.topic_by_id(Uuid([1; 16])).unwrap().name, "a");
    }
}
