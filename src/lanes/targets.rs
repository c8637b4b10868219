//! The target topics of a flow: made with the source's shape and settings, grown with it, kept equal; what does not fit is refused by name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::naming;
use crate::cluster::topics::{TopicConfig, TopicInfo};
use crate::cluster::{Admin, ClusterError};
use crate::config::valid::Flow;

/// Between two comparisons of topic settings.
const SETTINGS_BEAT: Duration = Duration::from_secs(30);
/// Kafka's limit for topic names.
const NAME_BYTES_MAX: usize = 249;
/// What is used where neither flow nor topic names a codec.
const DEFAULT_COMPRESSION: &str = "lz4";

/// A target topic that can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub name: String,
    pub partitions: i32,
    pub compression: String,
    pub message_bytes_max: Option<usize>,
    /// Why some of the topic's lanes are left out.
    pub refusal: Option<String>,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Targets {
    compared_at: Option<Instant>,
    made: HashMap<String, Target>,
    /// Targets that somebody else made with fewer partitions: left as they are while this process runs.
    foreign: HashSet<String>,
}

impl Targets {
    /// Makes, grows and compares the targets of these topics. A refused topic carries its reason; an error is about a whole cluster.
    /// `mirrored` says how many lanes of a topic this flow has copied so far.
    pub async fn ensure(
        &mut self,
        source: &Admin,
        target: &Admin,
        flow: &Flow,
        topics: &[TopicInfo],
        mirrored: impl Fn(&str) -> usize,
    ) -> Result<BTreeMap<String, Result<Target, String>>, ClusterError> {
        let (there, _) = target.topics().await?;
        let there: HashMap<String, TopicInfo> = there.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
        let fresh = topics.iter().any(|topic| !self.made.contains_key(&topic.name));
        let compare = fresh || self.compared_at.is_none_or(|at| at.elapsed() > SETTINGS_BEAT);
        let settings = if compare { Some(self.settings(source, target, flow, topics, &there).await?) } else { None };
        let mut ensured = BTreeMap::new();
        let mut owners: HashMap<String, &str> = HashMap::new();
        for topic in topics {
            let name = naming::target_topic(flow, &topic.name);
            if let Some(other) = owners.insert(name.clone(), &topic.name) {
                ensured.insert(topic.name.clone(), Err(format!("its target {name} is already that of {other}")));
                continue;
            }
            let known = self.made.get(&topic.name).filter(|known| there.contains_key(&known.name)).cloned();
            let outcome = match (known, &settings) {
                (Some(known), None) if known.partitions >= topic.partitions => Ok(known),
                _ => {
                    let settings =
                        settings.as_ref().map(|settings| settings.of(&topic.name, &name)).unwrap_or_default();
                    let ours = !self.foreign.contains(&name);
                    let mirrored = if ours { mirrored(&topic.name) } else { 0 };
                    let shape = Shape { topic, target: there.get(&name), mirrored };
                    ensure_one(target, &name, &shape, &settings).await
                }
            };
            if let Ok(made) = &outcome {
                if made.refusal.is_some() {
                    self.foreign.insert(made.name.clone());
                }
                self.made.insert(topic.name.clone(), made.clone());
            }
            ensured.insert(topic.name.clone(), outcome);
        }
        if compare {
            self.compared_at = Some(Instant::now());
        }
        Ok(ensured)
    }

    async fn settings(
        &self,
        source: &Admin,
        target: &Admin,
        flow: &Flow,
        topics: &[TopicInfo],
        there: &HashMap<String, TopicInfo>,
    ) -> Result<Settings, ClusterError> {
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let targets: Vec<String> = names.iter().map(|name| naming::target_topic(flow, name)).collect();
        let targets: Vec<&str> = targets.iter().map(String::as_str).filter(|name| there.contains_key(*name)).collect();
        let source = source.topic_settings(&names).await?;
        let target = target.topic_settings(&targets).await?;
        Ok(Settings { source, target })
    }
}

struct Settings {
    source: BTreeMap<String, TopicConfig>,
    target: BTreeMap<String, TopicConfig>,
}

/// What a source topic is set to (as far as it is carried over), and its target now.
#[derive(Debug, Default)]
struct Pair {
    wanted: TopicConfig,
    there: TopicConfig,
    compared: bool,
}

impl Settings {
    fn of(&self, topic: &str, target: &str) -> Pair {
        let carried = |config: &TopicConfig| {
            config.iter().filter(|(name, _)| naming::is_carried(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        Pair {
            wanted: self.source.get(topic).map(carried).unwrap_or_default(),
            there: self.target.get(target).map(carried).unwrap_or_default(),
            compared: self.source.contains_key(topic),
        }
    }
}

struct Shape<'a> {
    topic: &'a TopicInfo,
    target: Option<&'a TopicInfo>,
    mirrored: usize,
}

async fn ensure_one(admin: &Admin, name: &str, shape: &Shape<'_>, settings: &Pair) -> Result<Target, String> {
    let wanted = shape.topic.partitions;
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("its target name {name} is longer than Kafka's {NAME_BYTES_MAX} characters"));
    }
    let partitions = match shape.target {
        None => {
            create(admin, name, wanted, &settings.wanted).await?;
            wanted
        }
        Some(target) => {
            let grown = grow(admin, name, shape, target.partitions).await?;
            if settings.compared {
                keep_equal(admin, name, settings).await;
            }
            grown
        }
    };
    // what the target takes in one batch; a topic that may not be described is taken to have the default
    let in_force = admin.topic_settings_in_force(name).await.unwrap_or_default();
    let number = |text: &String| text.parse::<usize>().ok();
    let compression =
        settings.wanted.get("compression.type").filter(|codec| *codec != "producer" && *codec != "uncompressed");
    Ok(Target {
        name: name.to_owned(),
        partitions,
        compression: compression.cloned().unwrap_or_else(|| DEFAULT_COMPRESSION.to_owned()),
        message_bytes_max: in_force.get("max.message.bytes").and_then(number),
        refusal: refusal(name, wanted, partitions),
    })
}

fn refusal(name: &str, wanted: i32, partitions: i32) -> Option<String> {
    (partitions < wanted).then(|| {
        format!(
            "{name} has {partitions} partitions on the target and {wanted} on the source: partitions {partitions}..{wanted} are not copied \
             (never modulo); add partitions to {name}, or give the flow another naming"
        )
    })
}

async fn create(admin: &Admin, name: &str, partitions: i32, config: &TopicConfig) -> Result<(), String> {
    tracing::info!(topic = name, partitions, "creating target topic");
    match admin.create_topic(name, partitions, config).await {
        Err(error) if !config.is_empty() && !error.is_retriable() => {
            // one setting that the target does not know must not keep the records away
            tracing::warn!(topic = name, %error, "target refuses the source's settings, creating it without");
            admin.create_topic(name, partitions, &TopicConfig::new()).await.map_err(|error| error.to_string())
        }
        outcome => outcome.map_err(|error| error.to_string()),
    }
}

/// Grows a target that this flow has been filling, whole. One that somebody else made with fewer partitions is left as it is.
async fn grow(admin: &Admin, name: &str, shape: &Shape<'_>, partitions: i32) -> Result<i32, String> {
    let wanted = shape.topic.partitions;
    let ours = usize::try_from(partitions).is_ok_and(|partitions| shape.mirrored >= partitions);
    if partitions >= wanted || !ours {
        if partitions > wanted {
            tracing::debug!(topic = name, partitions, wanted, "target has more partitions than the source");
        }
        return Ok(partitions);
    }
    tracing::info!(topic = name, from = partitions, to = wanted, "growing target topic");
    admin.grow_topic(name, wanted).await.map(|()| wanted).map_err(|error| error.to_string())
}

async fn keep_equal(admin: &Admin, name: &str, settings: &Pair) {
    let differs = |(name, value): &(&String, &String)| settings.there.get(*name) != Some(value);
    let set: TopicConfig =
        settings.wanted.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect();
    let unset: Vec<String> =
        settings.there.keys().filter(|name| !settings.wanted.contains_key(*name)).cloned().collect();
    if set.is_empty() && unset.is_empty() {
        return;
    }
    match admin.alter_topic(name, &set, &unset).await {
        Ok(()) => tracing::info!(topic = name, ?set, ?unset, "target settings made equal"),
        // drift is reported, not fatal: the records matter more
        Err(error) => tracing::warn!(topic = name, ?set, ?unset, %error, "target settings differ"),
    }
}
