//! Taking over log directories that Apache Kafka wrote: topics, ids and partitions from the directories and their `partition.metadata`, settings from Kafka's own
//! metadata log where it can be read. Nothing of Kafka's is changed by it, so Kafka can take them back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use causeway_wire::Uuid;

use crate::config::effective::Settings;
use crate::config::{BrokerConfig, keys, topic_keys};
use crate::log::{partition_of_dir, topic_id_of_dir};
use crate::meta::MetaRecord;
use crate::meta::kraft::{self, KraftImage};

/// A topic as its directories tell of it.
struct Found {
    id: Uuid,
    partitions: usize,
    present: usize,
}

/// Records that make the topics found in the log directories known here; for a node that has no metadata of its own yet.
pub fn records(config: &BrokerConfig) -> Vec<MetaRecord> {
    let found = topics_on_disk(&config.log_dirs);
    if found.is_empty() {
        return Vec::new();
    }
    let kraft = metadata(config);
    let mut records = Vec::new();
    let mut adopted = Vec::new();
    for (name, topic) in found {
        if let Some(kraft) = &kraft
            && kraft.topics.get(&name) != Some(&topic.id)
        {
            tracing::warn!(topic = name, id = %topic.id, "not in Kafka's metadata, where it was deleted: left alone");
            continue;
        }
        if topic.present < topic.partitions {
            let (present, partitions) = (topic.present, topic.partitions);
            tracing::warn!(topic = name, present, partitions, "some partitions are not on this node: they begin empty");
        }
        let own = kraft.as_ref().and_then(|kraft| kraft.topic_configs.get(&name)).cloned().unwrap_or_default();
        let configs = known(own, topic_keys::check, &name);
        let partitions = vec![vec![config.node_id]; topic.partitions];
        records.push(MetaRecord::Topic { name: name.clone(), id: topic.id.to_string(), partitions, configs });
        adopted.push(name);
    }
    let count = adopted.len();
    match &kraft {
        Some(kraft) => {
            tracing::info!(
                topics = count,
                "took over log directories of Apache Kafka with the settings in its metadata"
            );
            records.extend(brokers(config, kraft));
        }
        None => tracing::warn!(
            topics = adopted.join(","),
            "took over log directories without readable metadata: these topics have default settings now"
        ),
    }
    records
}

/// Whether a directory holds partitions of anybody.
fn topics_on_disk(dirs: &[PathBuf]) -> BTreeMap<String, Found> {
    let mut topics: BTreeMap<String, Found> = BTreeMap::new();
    for dir in dirs {
        let Ok(entries) = std::fs::read_dir(dir) else { continue };
        for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some((topic, partition)) = partition_of_dir(&name) else { continue };
            let id = topic_id_of_dir(&entry.path());
            if id.is_zero() {
                tracing::warn!(partition = name, "has no readable partition.metadata: left alone");
                continue;
            }
            let found = topics.entry(topic.to_owned()).or_insert(Found { id, partitions: 0, present: 0 });
            if found.id != id {
                tracing::warn!(partition = name, %id, topic_id = %found.id, "of another topic of that name: left alone");
                continue;
            }
            found.partitions = found.partitions.max(partition as usize + 1);
            found.present += 1;
        }
    }
    topics
}

/// Kafka's metadata, in `metadata.log.dir` or else the first log directory that has it.
fn metadata(config: &BrokerConfig) -> Option<KraftImage> {
    let own = config.text("metadata.log.dir").map(PathBuf::from);
    let folders = own.iter().chain(&config.log_dirs).map(|dir| dir.join(kraft::FOLDER));
    let folder = folders.into_iter().find(|folder| folder.is_dir())?;
    read(&folder)
}

fn read(folder: &Path) -> Option<KraftImage> {
    match kraft::read(folder) {
        Ok(image) => image,
        Err(why) => {
            tracing::warn!(folder = %folder.display(), why, "Kafka's metadata cannot be read");
            None
        }
    }
}

/// Settings of brokers, and producer ids that were given out.
fn brokers(config: &BrokerConfig, kraft: &KraftImage) -> Vec<MetaRecord> {
    let mut records = Vec::new();
    for (name, settings) in &kraft.broker_configs {
        let node = match name.parse() {
            _ if name.is_empty() => None,
            Ok(node) if node == config.node_id => Some(node),
            _ => continue,
        };
        let check = |key: &str, value: &str| match keys::find(key) {
            Some(known) if known.dynamic => known.kind.check(key, value),
            _ => Err(format!("{key} has no effect here")),
        };
        for (key, value) in known(settings.clone(), check, "brokers") {
            records.push(MetaRecord::BrokerConfig { node, key, value: Some(value) });
        }
    }
    if kraft.next_producer_id > 0 {
        records.push(MetaRecord::ProducerIds { next: kraft.next_producer_id });
    }
    records
}

/// The settings that are taken; the others are named.
fn known(settings: Settings, check: impl Fn(&str, &str) -> Result<(), String>, of: &str) -> Settings {
    let taken = |(key, value): &(String, String)| match check(key, value) {
        Ok(()) => true,
        Err(why) => {
            tracing::warn!(of, key, value, why, "a setting from Kafka's metadata is not taken over");
            false
        }
    };
    settings.into_iter().filter(taken).collect()
}
