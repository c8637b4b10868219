//! Starting and stopping a broker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adopt;
use crate::config::effective::Levels;
use crate::config::{BrokerConfig, Listener};
use crate::coordinator::Coordinator;
use crate::core::features;
use crate::error::BrokerError;
use crate::log::{Disk, FlushPolicy, LogConfig, LogError, LogManager, ManagerConfig, RealDisk};
use crate::loggers::Loggers;
use crate::meta::file_log::FileLog;
use crate::meta::{Meta, MetaImage, MetaRecord};
use crate::node::Node;
use crate::partitions::{Partitions, TopicSettings};
use crate::{http, net, upkeep};

/// Connections get so long to answer what they were asked before a shutdown cuts them off.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How often recovery points, log starts and high watermarks are written (Kafka: every 60 s and 5 s).
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// `log.flush=interval` without `log.flush.interval.ms`.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// A running broker.
pub struct Broker {
    node: Arc<Node>,
    /// The log directory with the metadata.
    home: PathBuf,
    addresses: Vec<SocketAddr>,
    http: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Broker {
    /// Opens data and ports; clients are served when this returns.
    ///
    /// # Errors
    /// Ports or directories that cannot be used, each named.
    pub async fn start(config: BrokerConfig) -> Result<Self, BrokerError> {
        Self::launch(config, Arc::new(RealDisk), Loggers::default()).await
    }

    /// As [`start`](Self::start), with loggers whose levels clients may alter.
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub async fn start_with(config: BrokerConfig, loggers: Loggers) -> Result<Self, BrokerError> {
        Self::launch(config, Arc::new(RealDisk), loggers).await
    }

    /// As [`start`](Self::start), on another file system than the machine's: tests have one that fails, fills up and loses power.
    ///
    /// # Errors
    /// As of [`start`](Self::start).
    pub async fn start_on(config: BrokerConfig, disk: Arc<dyn Disk>) -> Result<Self, BrokerError> {
        Self::launch(config, disk, Loggers::default()).await
    }

    async fn launch(config: BrokerConfig, disk: Arc<dyn Disk>, loggers: Loggers) -> Result<Self, BrokerError> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        // Ports first: a second broker on the same port must not touch any data.
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            sockets.push((listener.name.clone(), net::bind(listener).await?));
        }
        let http = match config.http {
            Some(address) => Some(http::bind(address).await?),
            None => None,
        };
        let http_address = http.as_ref().and_then(|s| s.local_addr().ok());
        let addresses: Vec<SocketAddr> = sockets.iter().filter_map(|(_, s)| s.local_addr().ok()).collect();
        let advertised = advertised(&config, &sockets);
        let node = tokio::task::spawn_blocking(move || open(config, advertised, disk));
        let opened = node.await.map_err(|e| BrokerError::Restore { what: "the node".into(), why: e.to_string() })?;
        let (mut node, home) = opened?;
        node.loggers = loggers;
        let node = Arc::new(node);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(Arc::clone(&node.coordinator).keep_time(stop.clone()));
        node.transactions.resume();
        tasks.spawn(crate::transactions::keep_time(Arc::clone(&node), stop.clone()));
        tasks.spawn(housekeeping(Arc::clone(&node), stop.clone()));
        tasks.spawn(upkeep::flush_by_age(Arc::clone(&node), stop.clone()));
        tasks.spawn(upkeep::open_rest(Arc::clone(&node), stop.clone()));
        for _ in 0..upkeep::cleaners(&node) {
            tasks.spawn(upkeep::compact(Arc::clone(&node), stop.clone()));
        }
        for (name, socket) in sockets {
            tasks.spawn(net::serve(socket, name, Arc::clone(&node), tasks.clone(), stop.clone()));
        }
        if let Some(socket) = http {
            tasks.spawn(http::serve(socket, Arc::clone(&node), stop.clone()));
        }
        let listener = addresses.first().map(ToString::to_string).unwrap_or_default();
        let (cluster_id, node_id) = (node.cluster_id.as_str(), node.config.node_id);
        tracing::info!("broker started listener={listener} cluster_id={cluster_id} node_id={node_id}");
        Ok(Self { node, home, addresses, http: http_address, stop, tasks })
    }

    /// The address of the first listener, with the port really opened.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses.first().copied().expect("a configuration without a listener is refused")
    }

    /// The address of health and metrics, if they are served.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.node.cluster_id
    }

    /// What lies behind it, for tests of this crate.
    #[cfg(test)]
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Resolves when the node cannot go on: all log directories failed, or the one with the metadata. As long as another one works, a failed directory takes
    /// only its own partitions offline.
    pub async fn failed(&self) -> String {
        let dirs = &self.node.config.log_dirs;
        loop {
            let failed = self.node.logs.failed_dirs();
            let last = failed.iter().find(|(dir, _)| *dir == self.home || failed.len() == dirs.len());
            if let Some((_, error)) = last {
                return error.to_string();
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Stops taking requests, answers what is under way, flushes and marks the stop as clean.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.node.coordinator.close();
        self.node.transactions.close();
        self.node.handlers.close();
        let drained = async {
            self.tasks.wait().await;
            self.node.handlers.wait().await;
            self.node.transactions.closed().await;
        };
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "some connections were cut off");
        }
        let node = self.node;
        let epoch = node.meta.image().version as i64;
        let closed = tokio::task::spawn_blocking(move || node.logs.shutdown(epoch)).await;
        match closed {
            Ok(Ok(())) => tracing::info!("broker stopped"),
            Ok(Err(error)) => tracing::error!(%error, "broker stopped uncleanly"),
            Err(error) => tracing::error!(%error, "broker stopped uncleanly"),
        }
    }
}

/// What clients are told: hosts and ports as configured, gaps filled with what was really opened.
fn advertised(config: &BrokerConfig, sockets: &[(String, TcpListener)]) -> Vec<Listener> {
    let mut out = Vec::new();
    for (name, socket) in sockets {
        let bound = socket.local_addr().ok();
        let told = config.advertised.iter().find(|l| l.name == *name);
        let told = told.or(config.listeners.iter().find(|l| l.name == *name));
        let Some(told) = told else { continue };
        let port = if told.port == 0 { bound.map_or(0, |a| a.port()) } else { told.port };
        let host = match told.host.as_str() {
            "" | "0.0.0.0" | "::" => host_name(),
            host => host.to_owned(),
        };
        out.push(Listener { name: name.clone(), host, port });
    }
    out
}

/// This machine's name where a listener is open on every interface and nothing is advertised, as Kafka does.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// Locks and opens the data directories, reads metadata, opens partitions, restores groups. Blocking.
fn open(
    mut config: BrokerConfig,
    advertised: Vec<Listener>,
    disk: Arc<dyn Disk>,
) -> Result<(Node, PathBuf), BrokerError> {
    // What was worked out is shown as set, as Kafka does: tools look for the addresses and the node id there.
    let told: Vec<String> = advertised.iter().map(|l| format!("{}://{}:{}", l.name, l.host, l.port)).collect();
    config.statics.insert("advertised.listeners".into(), told.join(","));
    config.statics.insert("node.id".into(), config.node_id.to_string());
    let flush = match config.text("log.flush").as_deref() {
        Some("interval") => {
            let given = config.text("log.flush.interval.ms").and_then(|v| v.trim().parse().ok());
            FlushPolicy::Interval(given.map_or(FLUSH_INTERVAL, Duration::from_millis))
        }
        Some("os") => FlushPolicy::Os,
        _ => FlushPolicy::Ack,
    };
    let storage = ManagerConfig {
        dirs: config.log_dirs.clone(),
        flush,
        node_id: config.node_id,
        cluster_id: config.cluster_id.clone(),
        disk: Arc::clone(&disk),
        now_ms: crate::clock::wall_ms(),
    };
    // Metadata lies in a directory that must be locked before it is read, and says how each log is to be opened.
    let locked = LogManager::lock(&storage)?;
    // Where it was, whatever the order of log.dirs is now.
    let home = config.log_dirs.iter().find(|dir| FileLog::exists(&*disk, dir)).or(config.log_dirs.first());
    let home = home.expect("a configuration without log.dirs is refused").clone();
    let (mut file, mut image) = FileLog::open(locked.disk_of(&home).unwrap_or(disk), &home)?;
    if let Some(why) = features::beyond(&image.features) {
        return Err(BrokerError::Restore { what: "the metadata".into(), why });
    }
    // Without metadata of its own the node takes over what it finds.
    let adopting = image.version == 0;
    let mut first = if adopting { adopt::records(&config) } else { Vec::new() };
    first.push(MetaRecord::BrokerStarted { node: config.node_id });
    let levels = features::missing(&image.features).into_iter();
    first.extend(levels.map(|(name, level)| MetaRecord::FeatureLevel { name, level }));
    crate::meta::MetadataLog::propose(&mut file, &image, &first)?;
    first.iter().for_each(|record| image.apply(record));
    let config_of = |topic: &str| {
        let found = log_config(&config, &image, topic);
        LogConfig { offset_gaps: found.offset_gaps || adopting, ..found }
    };
    let (logs, report) = locked.open(&storage, &config_of)?;
    if !report.clean {
        tracing::info!(partitions = report.partitions.len(), "logs recovered after an unclean stop");
    }
    settle_strays(&logs, &image);
    let partitions = Arc::new(Partitions::default());
    let topics: Vec<_> = image.topics().cloned().collect();
    let meta = Arc::new(Meta::new(image, Box::new(file)));
    let coordinator = Arc::new(Coordinator::new(&config, Arc::clone(&partitions), Arc::clone(&meta)));
    let node = Node::new(config, meta, logs, partitions, coordinator, advertised);
    for topic in topics {
        match node.open_partitions(&topic) {
            Err(LogError::Exists(partition)) => {
                tracing::error!(partition, "its directory belongs to another topic id: not served");
            }
            outcome => outcome?,
        }
    }
    let restored = node.coordinator.replay();
    restored.map_err(|why| BrokerError::Restore { what: "committed offsets".into(), why })?;
    let restored = node.transactions.replay();
    restored.map_err(|why| BrokerError::Restore { what: "transactions".into(), why })?;
    Ok((node, home))
}

/// The settings a topic's logs are opened with. One that metadata does not know may have been compacted by whoever wrote it.
fn log_config(config: &BrokerConfig, image: &MetaImage, topic: &str) -> LogConfig {
    let Some(topic) = image.topic(topic) else { return LogConfig { offset_gaps: true, ..LogConfig::default() } };
    let own = image.node_configs(config.node_id);
    let levels = Levels { broker: &own, cluster: &image.cluster_configs, statics: &config.statics };
    TopicSettings::resolve(&levels, &topic.configs).log
}

/// Partitions on disk that metadata does not have: the rest of a deletion that a crash cut short is removed, anything
/// else is somebody's data and stays untouched.
fn settle_strays(logs: &LogManager, image: &MetaImage) {
    for log in logs.logs() {
        let (topic, partition) = (log.topic().to_owned(), log.partition());
        let meta = image.topic(&topic).filter(|t| t.id == log.topic_id() && (partition as usize) < t.partitions.len());
        if meta.is_some() {
            continue;
        }
        if !image.was_deleted(log.topic_id()) {
            tracing::warn!(topic, partition, "a partition that this node's metadata does not know is left alone");
            continue;
        }
        drop(log);
        match logs.delete(&topic, partition, crate::clock::wall_ms()) {
            Ok(_) => tracing::info!(topic, partition, "finished the deletion of a partition"),
            Err(error) => tracing::error!(topic, partition, %error, "cannot finish the deletion of a partition"),
        }
    }
}

/// Retention, removal of deleted files, checkpoints.
async fn housekeeping(node: Arc<Node>, stop: CancellationToken) {
    let every = Duration::from_millis(node.config.number("log.retention.check.interval.ms").max(1) as u64);
    let mut retention = tokio::time::interval(every);
    let mut checkpoint = tokio::time::interval(CHECKPOINT_EVERY);
    retention.tick().await;
    checkpoint.tick().await;
    loop {
        let retain = tokio::select! {
            () = stop.cancelled() => return,
            _ = retention.tick() => true,
            _ = checkpoint.tick() => false,
        };
        let node = Arc::clone(&node);
        let round = tokio::task::spawn_blocking(move || {
            let now = crate::clock::wall_ms();
            for partition in node.partitions.all() {
                // Moves the checkpointed mark along on partitions that nobody reads.
                let _ = partition.high_watermark();
            }
            if retain {
                let done = node.logs.retain(now);
                if done.segments > 0 {
                    tracing::info!(segments = done.segments, bytes = done.bytes, "retention removed segments");
                }
            }
            node.logs.sweep(now);
            node.logs.checkpoint()
        });
        match round.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "checkpoints not written"),
            Err(error) => tracing::error!(%error, "housekeeping failed"),
        }
    }
}
