//! Topics of a cluster: what there is, how it is set, creating and growing.

use std::collections::BTreeMap;

use causeway_wire::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use causeway_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use causeway_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use causeway_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use causeway_wire::messages::metadata::MetadataResponseTopic;
use causeway_wire::{ApiKey, ErrorCode};

use super::{Admin, ClusterError};
use crate::core::ids::TopicId;

/// Kafka's number for a topic among config resources.
const RESOURCE_TOPIC: i8 = 2;
/// A value set on the topic itself, not a default (KIP-226).
const SOURCE_TOPIC: i8 = 1;
/// IncrementalAlterConfigs: set.
const OP_SET: i8 = 0;
/// IncrementalAlterConfigs: back to the default.
const OP_DELETE: i8 = 1;
/// "As the cluster is set" for partition count and replication factor (KIP-464).
const CLUSTER_DEFAULT: i16 = -1;
/// How long a controller may take to create or grow a topic.
const CREATE_TIMEOUT_MS: i32 = 10_000;
/// Topics asked for in one DescribeConfigs: bounds the answer to a few MB.
const DESCRIBE_TOPICS_MAX: usize = 500;

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its ID; unknown on clusters before Kafka 2.8.
    pub id: TopicId,
    /// Partition count.
    pub partitions: i32,
    /// True for the cluster's own topics (`__consumer_offsets`).
    pub internal: bool,
    /// Replicas of the first partition.
    pub replication_factor: usize,
}

/// A topic that exists but cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTrouble {
    /// Its name.
    pub name: String,
    /// What the broker said.
    pub reason: String,
}

/// Name to value.
pub type TopicConfig = BTreeMap<String, String>;

impl Admin {
    /// Every topic the principal may see, and those it may not look into.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn topics(&self) -> Result<(Vec<TopicInfo>, Vec<TopicTrouble>), ClusterError> {
        let answer = self.client.metadata(None).await.map_err(|e| self.fail(e))?;
        let mut topics = Vec::with_capacity(answer.topics.len());
        let mut trouble = Vec::new();
        for topic in answer.topics {
            let Some(name) = topic.name.clone() else { continue };
            match ErrorCode(topic.error_code).ok() {
                Ok(()) => topics.push(info(name, &topic)),
                Err(code) => trouble.push(TopicTrouble { name, reason: code.to_string() }),
            }
        }
        Ok((topics, trouble))
    }

    /// One topic; none if there is no such topic.
    ///
    /// # Errors
    /// No broker answers, or it refuses to say.
    pub async fn topic(&self, name: &str) -> Result<Option<TopicInfo>, ClusterError> {
        let answer = self.client.metadata(Some(&[name])).await.map_err(|e| self.fail(e))?;
        let Some(topic) = answer.topics.into_iter().find(|topic| topic.name.as_deref() == Some(name)) else {
            return Ok(None);
        };
        if topic.error_code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0 {
            return Ok(None);
        }
        self.check(ApiKey::Metadata, topic.error_code, name, None)?;
        Ok(Some(info(name.to_owned(), &topic)))
    }

    /// What is set on these topics themselves, defaults left out. Topics that may not be described are left out.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn topic_settings(&self, names: &[&str]) -> Result<BTreeMap<String, TopicConfig>, ClusterError> {
        self.describe(names, true).await
    }

    /// Every setting in force on one topic.
    ///
    /// # Errors
    /// No broker answers. A topic that may not be described gives an empty map.
    pub async fn topic_settings_in_force(&self, name: &str) -> Result<TopicConfig, ClusterError> {
        Ok(self.describe(&[name], false).await?.remove(name).unwrap_or_default())
    }

    async fn describe(&self, names: &[&str], own_only: bool) -> Result<BTreeMap<String, TopicConfig>, ClusterError> {
        let mut found = BTreeMap::new();
        for names in names.chunks(DESCRIBE_TOPICS_MAX) {
            let resource = |name: &&str| DescribeConfigsResource {
                resource_type: RESOURCE_TOPIC,
                resource_name: (*name).to_owned(),
                configuration_keys: None,
            };
            let resources = names.iter().map(resource).collect();
            let answer = self.any(DescribeConfigsRequest { resources, ..Default::default() }).await?;
            for result in answer.results.into_iter().filter(|result| result.error_code == ErrorCode::NONE.0) {
                let own = result.configs.into_iter().filter(|config| !own_only || config.config_source == SOURCE_TOPIC);
                let settings = own.filter_map(|config| Some((config.name, config.value?))).collect();
                found.insert(result.resource_name, settings);
            }
        }
        Ok(found)
    }

    /// Creates a topic with the cluster's default replication factor. A topic that is there already is no error.
    ///
    /// # Errors
    /// The cluster refuses, or does not answer.
    pub async fn create_topic(&self, name: &str, partitions: i32, config: &TopicConfig) -> Result<(), ClusterError> {
        let configs = config
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: name.clone(), value: Some(value.clone()) })
            .collect();
        let topic = CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: CLUSTER_DEFAULT,
            configs,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: CREATE_TIMEOUT_MS, ..Default::default() };
        let answer = self.controller(request).await?;
        for result in answer.topics {
            if result.error_code != ErrorCode::TOPIC_ALREADY_EXISTS.0 {
                self.check(ApiKey::CreateTopics, result.error_code, name, result.error_message.as_deref())?;
            }
        }
        Ok(())
    }

    /// Grows a topic to `count` partitions. A topic that has them already is no error.
    ///
    /// # Errors
    /// The cluster refuses, or does not answer.
    pub async fn grow_topic(&self, name: &str, count: i32) -> Result<(), ClusterError> {
        let topic = CreatePartitionsTopic { name: name.to_owned(), count, assignments: None };
        let request =
            CreatePartitionsRequest { topics: vec![topic], timeout_ms: CREATE_TIMEOUT_MS, ..Default::default() };
        let answer = self.controller(request).await?;
        for result in answer.results {
            if result.error_code == ErrorCode::INVALID_PARTITIONS.0
                && self.topic(name).await?.is_some_and(|topic| topic.partitions >= count)
            {
                continue; // somebody was faster
            }
            self.check(ApiKey::CreatePartitions, result.error_code, name, result.error_message.as_deref())?;
        }
        Ok(())
    }

    /// Sets and unsets settings of a topic.
    ///
    /// # Errors
    /// The cluster refuses, or does not answer.
    pub async fn alter_topic(&self, name: &str, set: &TopicConfig, unset: &[String]) -> Result<(), ClusterError> {
        let set = set.iter().map(|(name, value)| (name.clone(), OP_SET, Some(value.clone())));
        let unset = unset.iter().map(|name| (name.clone(), OP_DELETE, None));
        let configs = set
            .chain(unset)
            .map(|(name, config_operation, value)| AlterableConfig { name, config_operation, value })
            .collect();
        let resource = AlterConfigsResource { resource_type: RESOURCE_TOPIC, resource_name: name.to_owned(), configs };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        for result in self.any(request).await?.responses {
            let message = result.error_message.as_deref();
            self.check(ApiKey::IncrementalAlterConfigs, result.error_code, name, message)?;
        }
        Ok(())
    }
}

fn info(name: String, topic: &MetadataResponseTopic) -> TopicInfo {
    TopicInfo {
        name,
        id: TopicId(topic.topic_id.0),
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        internal: topic.is_internal,
        replication_factor: topic.partitions.first().map_or(0, |partition| partition.replica_nodes.len()),
    }
}
