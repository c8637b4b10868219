//! One node: what every request can reach.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use causeway_wire::{ErrorCode, Uuid};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::blocking::Heavy;
use crate::config::effective::{Levels, Settings};
use crate::config::{BrokerConfig, Listener};
use crate::coordinator::{Coordinator, OFFSETS_TOPIC};
use crate::ids::random_uuid;
use crate::log::{LogError, LogManager};
use crate::loggers::Loggers;
use crate::meta::controller::{self, Defaults, NewTopic, Refusal, refuse};
use crate::meta::{Meta, MetaError, MetaRecord, TopicMeta};
use crate::net::doors::Doors;
use crate::net::room::Room;
use crate::partitions::{Partition, Partitions, TopicSettings};
use crate::quotas::Quotas;
use crate::stats::Stats;
use crate::transactions::TxnCoordinator;

/// Producer ids reserved at once: one durable write for a thousand producers, as Kafka does.
const PRODUCER_ID_BLOCK: i64 = 1_000;

/// A topic that was made.
#[derive(Debug, Clone, Copy)]
pub struct CreatedTopic {
    /// Its id, or one it could have had if it was only validated.
    pub id: Uuid,
    /// Partitions.
    pub partitions: usize,
    /// Replicas of each.
    pub replication_factor: usize,
}

/// See the module.
pub struct Node {
    /// As started.
    pub config: BrokerConfig,
    /// The cluster's id.
    pub cluster_id: String,
    /// Metadata.
    pub meta: Arc<Meta>,
    /// The logs on disk.
    pub logs: LogManager,
    /// Partitions by topic.
    pub partitions: Arc<Partitions>,
    /// Groups.
    pub coordinator: Arc<Coordinator>,
    /// Transactions.
    pub transactions: Arc<TxnCoordinator>,
    /// What is counted while serving.
    pub stats: Stats,
    /// Who is connected.
    pub doors: Arc<Doors>,
    /// What clients used of their quotas.
    pub quotas: Quotas,
    /// The levels of the log.
    pub loggers: Loggers,
    /// Memory for requests and answers.
    pub room: Room,
    /// Where work that takes long is done.
    pub heavy: Heavy,
    /// Handlers that run to their end whatever becomes of their connection.
    pub handlers: TaskTracker,
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `fetch.max.bytes`.
    pub fetch_bytes_max: usize,
    /// `connections.max.idle.ms`, none if negative.
    pub idle_max: Option<Duration>,
    /// What clients are told, with the ports really opened.
    advertised: Vec<Listener>,
    /// Next producer id and the end of the block it is from.
    producer_ids: Mutex<(i64, i64)>,
    /// One topic is made or grown at a time.
    topics: tokio::sync::Mutex<()>,
    /// Told when the logs of a topic could not be made.
    pub(crate) unopened: Notify,
}

impl Node {
    /// Puts a node together from its opened parts.
    pub fn new(
        config: BrokerConfig,
        meta: Arc<Meta>,
        logs: LogManager,
        partitions: Arc<Partitions>,
        coordinator: Arc<Coordinator>,
        advertised: Vec<Listener>,
    ) -> Self {
        let request_bytes_max = config.number("socket.request.max.bytes") as usize;
        let room = Room::new(config.number("queued.max.request.bytes"), request_bytes_max);
        let idle = config.number("connections.max.idle.ms");
        let transactions =
            TxnCoordinator::new(&config, Arc::clone(&meta), Arc::clone(&partitions), Arc::clone(&coordinator));
        Self {
            transactions: Arc::new(transactions),
            cluster_id: logs.cluster_id().to_owned(),
            fetch_bytes_max: config.number("fetch.max.bytes") as usize,
            stats: Stats::default(),
            doors: Arc::default(),
            quotas: Quotas::new(&config),
            idle_max: u64::try_from(idle).ok().map(Duration::from_millis),
            config,
            meta,
            logs,
            partitions,
            coordinator,
            loggers: Loggers::default(),
            room,
            heavy: Heavy::default(),
            handlers: TaskTracker::new(),
            request_bytes_max,
            advertised,
            producer_ids: Mutex::new((0, 0)),
            topics: tokio::sync::Mutex::new(()),
            unopened: Notify::new(),
        }
    }

    /// Host and port that clients of a listener are told.
    pub fn advertised(&self, listener: &str) -> (String, u16) {
        let found = self.advertised.iter().find(|l| l.name == listener).or(self.advertised.first());
        found.map_or_else(|| (String::new(), 0), |l| (l.host.clone(), l.port))
    }

    /// Lets `f` resolve settings through all levels in force.
    pub fn with_levels<T>(&self, f: impl FnOnce(&Levels<'_>) -> T) -> T {
        let image = self.meta.image();
        let own = image.node_configs(self.config.node_id);
        f(&Levels { broker: &own, cluster: &image.cluster_configs, statics: &self.config.statics })
    }

    /// A broker setting's number as in force now.
    pub fn broker_number(&self, name: &str) -> i64 {
        let value = self.with_levels(|levels| levels.broker_value(name));
        value.and_then(|v| v.trim().parse().ok()).unwrap_or(0)
    }

    /// A broker setting's text as in force now.
    pub fn broker_text(&self, name: &str) -> String {
        self.with_levels(|levels| levels.broker_value(name)).unwrap_or_default()
    }

    /// What topic creation takes where a request says nothing.
    pub fn topic_defaults(&self) -> Defaults {
        Defaults {
            brokers: vec![self.config.node_id],
            partitions: self.broker_number("num.partitions") as i32,
            replication_factor: self.broker_number("default.replication.factor") as i16,
        }
    }

    /// Creates topics whatever any quota says; see [`Node::create_topics_within`].
    pub async fn create_topics(
        &self,
        wanted: Vec<NewTopic>,
        validate_only: bool,
    ) -> Vec<Result<CreatedTopic, Refusal>> {
        self.create_topics_within(wanted, validate_only, &mut |_| true).await
    }

    /// Creates topics, each alone; an outcome for each, in order. Ready for clients when this returns. `allow` is asked
    /// whether so many partitions may be made now.
    pub async fn create_topics_within(
        &self,
        wanted: Vec<NewTopic>,
        validate_only: bool,
        allow: &mut (dyn FnMut(usize) -> bool + Send),
    ) -> Vec<Result<CreatedTopic, Refusal>> {
        let defaults = self.topic_defaults();
        let names: Vec<String> = wanted.iter().map(|t| t.name.clone()).collect();
        let decided = self.meta.update(move |image| {
            let before = image;
            let (mut image, mut all, mut out) = (before.clone(), Vec::new(), Vec::new());
            let mut room = controller::PARTITIONS_PER_REQUEST_MAX as usize;
            for topic in &wanted {
                let id = random_uuid();
                out.push(controller::create_topic(&image, before, &defaults, topic, id, room).and_then(
                    |(records, partitions, factor)| {
                        if !validate_only && !allow(partitions) {
                            return Err(controller::throttled());
                        }
                        room -= partitions;
                        records.iter().for_each(|r| image.apply(r));
                        all.extend(records);
                        Ok(CreatedTopic { id, partitions, replication_factor: factor })
                    },
                ));
            }
            (if validate_only { Vec::new() } else { all }, out)
        });
        let mut outcomes = match decided.await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::error!(%error, "cannot create topics");
                return names.iter().map(|_| Err(refuse(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()))).collect();
            }
        };
        if !validate_only {
            for (name, outcome) in names.iter().zip(&mut outcomes) {
                if let Ok(made) = outcome {
                    let (id, partitions) = (made.id, made.partitions);
                    match self.open_topic(name).await {
                        Ok(()) => tracing::info!(topic = name, %id, partitions, "topic created"),
                        Err(refusal) => *outcome = Err(refusal),
                    }
                }
            }
        }
        outcomes
    }

    /// Makes the logs of every partition that metadata has and this node has not yet.
    pub async fn open_topic(&self, name: &str) -> Result<(), Refusal> {
        let _one = self.topics.lock().await;
        let image = self.meta.image();
        let Some(topic) = image.topic(name).cloned() else { return Ok(()) };
        crate::blocking::run(|| self.open_partitions(&topic)).map_err(|error| {
            tracing::error!(topic = name, %error, "cannot make the logs of a topic");
            if !matches!(error, LogError::Exists(_)) {
                self.unopened.notify_one();
            }
            refuse(crate::errors::log_code(&error), error.to_string())
        })
    }

    /// Opens or makes every partition of a topic that is not served yet. Blocking.
    pub fn open_partitions(&self, topic: &TopicMeta) -> Result<(), LogError> {
        let settings = Arc::new(self.topic_settings(&topic.configs));
        let have = self.partitions.count(&topic.name).unwrap_or(0);
        let wanted = have as i32..topic.partitions.len() as i32;
        let missing: Vec<i32> = wanted.filter(|number| self.logs.get(&topic.name, *number).is_none()).collect();
        self.logs.create_all(&topic.name, &missing, topic.id, settings.log, crate::clock::wall_ms())?;
        for (index, meta) in topic.partitions.iter().enumerate().skip(have) {
            let number = index as i32;
            let found = self.logs.get(&topic.name, number);
            // What a crash left of making the partition has no id yet, and nothing else; data without an id is somebody's, and is not taken.
            if let Some(log) = found.as_ref().filter(|log| log.topic_id().is_zero() && log.end_offset() == 0) {
                log.assign_topic_id(topic.id)?;
            }
            let log = found.filter(|log| log.topic_id() == topic.id);
            let log = log.ok_or_else(|| LogError::Exists(format!("{}-{number}", topic.name)))?;
            // After a restart of metadata behind the log (a restored copy, say) the log's own epoch must not be passed.
            let epoch = meta.leader_epoch.max(log.latest_epoch().unwrap_or(0));
            let partition = Partition::new(log, epoch, Arc::clone(&settings));
            partition.set_settings(&settings);
            self.partitions.push(&topic.name, Arc::new(partition));
        }
        Ok(())
    }

    /// Takes a deleted topic's partitions away.
    pub async fn drop_topic(&self, name: &str, id: Uuid) {
        let _one = self.topics.lock().await;
        tracing::info!(topic = name, %id, "topic deleted");
        let gone = self.partitions.remove(name);
        gone.iter().for_each(|partition| self.stats.gone.add(partition.traffic.read()));
        crate::blocking::run(|| {
            for partition in &gone {
                let deleted = self.logs.delete(name, partition.log.partition(), crate::clock::wall_ms());
                if let Err(error) = deleted {
                    tracing::error!(topic = name, %error, "cannot delete a partition's directory");
                }
            }
        });
        self.coordinator.topic_deleted(name).await;
    }

    /// Resolves a topic's settings now.
    pub fn topic_settings(&self, own: &Settings) -> TopicSettings {
        self.with_levels(|levels| TopicSettings::resolve(levels, own))
    }

    /// Puts changed settings in force: of one topic, or after a broker setting changed of all.
    pub fn refresh_settings(&self, topic: Option<&str>) {
        let image = self.meta.image();
        for meta in image.topics().filter(|t| topic.is_none_or(|name| name == t.name)) {
            let settings = Arc::new(self.topic_settings(&meta.configs));
            for partition in self.partitions.of_topic(&meta.name) {
                partition.set_settings(&settings);
            }
        }
    }

    /// Whether every partition that metadata knows of a topic is open here.
    pub fn is_open(&self, topic: &str) -> bool {
        let image = self.meta.image();
        image.topic(topic).is_some_and(|t| self.partitions.count(topic) == Some(t.partitions.len()))
    }

    /// Whether what groups committed can be told: not while a partition of `__consumer_offsets` is not served.
    pub fn groups_readable(&self) -> Result<(), ErrorCode> {
        match self.is_open(OFFSETS_TOPIC) || self.meta.image().topic(OFFSETS_TOPIC).is_none() {
            true => Ok(()),
            false => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
        }
    }

    /// Makes sure that `__consumer_offsets` is there, with all its partitions.
    pub async fn ready_for_groups(&self) -> Result<(), ErrorCode> {
        if self.is_open(OFFSETS_TOPIC) {
            return Ok(());
        }
        let config = |key: &str, value: String| (key.to_owned(), Some(value));
        // With fewer brokers than offsets.topic.replication.factor asks for, it is made with the brokers there are.
        let topic = NewTopic {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: self.config.number("offsets.topic.num.partitions") as i32,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: vec![
                config("cleanup.policy", "compact".into()),
                config("segment.bytes", self.config.number("offsets.topic.segment.bytes").max(1 << 20).to_string()),
                config("compression.type", "producer".into()),
            ],
        };
        let outcome = self.create_topics(vec![topic], false).await.pop();
        match outcome {
            Some(Err(refusal)) if refusal.code != ErrorCode::TOPIC_ALREADY_EXISTS => {
                Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
            }
            // Somebody else may be making it: this waits for them.
            _ => match self.open_topic(OFFSETS_TOPIC).await {
                Ok(()) if self.is_open(OFFSETS_TOPIC) => Ok(()),
                _ => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            },
        }
    }

    /// A producer id that was never given out before.
    pub async fn next_producer_id(&self) -> Result<i64, MetaError> {
        loop {
            {
                let mut block = self.producer_ids.lock().unwrap_or_else(PoisonError::into_inner);
                if block.0 < block.1 {
                    block.0 += 1;
                    return Ok(block.0 - 1);
                }
            }
            let reserved = self.meta.update(|image| {
                let start = image.next_producer_id;
                (vec![MetaRecord::ProducerIds { next: start + PRODUCER_ID_BLOCK }], start)
            });
            let start = reserved.await?;
            let mut block = self.producer_ids.lock().unwrap_or_else(PoisonError::into_inner);
            if block.0 >= block.1 {
                *block = (start, start + PRODUCER_ID_BLOCK);
            }
        }
    }
}
