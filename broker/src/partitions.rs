//! The partitions this node holds, each a log with the settings in force.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use causeway_wire::records::{BatchView, Codec, ControlMarker, TimestampType, control_batch};

use crate::config::effective::{Levels, Settings};
use crate::config::topic_keys;
use crate::core::txn::Producer;
use crate::core::verification::Guard;
use crate::log::{Appended, Log, LogConfig, LogError, Placing};
use crate::stats::Traffic;
use crate::transactions::Marker;

/// A topic's settings, typed for the data path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// `max.message.bytes`.
    pub message_bytes_max: usize,
    /// `cleanup.policy` has `compact`.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `compression.type`; none for `producer`, which keeps batches as they come.
    pub codec: Option<Codec>,
    /// Level of that codec (`compression.gzip.level`, `compression.lz4.level`, `compression.zstd.level`).
    pub level: Option<i32>,
    /// What the log itself needs.
    pub log: LogConfig,
}

impl TopicSettings {
    /// Resolves every setting. The registry checked the values when they were stored.
    pub fn resolve(levels: &Levels<'_>, own: &Settings) -> Self {
        let text = |name: &str| {
            let key = topic_keys::find(name).expect("a registered topic key");
            levels.topic(key, own).value.unwrap_or_else(|| key.default.to_owned())
        };
        let number = |name: &str| -> i64 { text(name).trim().parse().unwrap_or(0) };
        let policy = text("cleanup.policy");
        let has = |p: &str| crate::config::items(&policy).any(|item| item == p);
        let timestamp_type = match text("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        };
        let codec: Option<Codec> = match text("compression.type").as_str() {
            "uncompressed" => Some(Codec::None),
            name => name.parse().ok(),
        };
        let level = match codec {
            Some(codec @ (Codec::Gzip | Codec::Lz4 | Codec::Zstd)) => {
                Some(number(&format!("compression.{codec}.level")) as i32)
            }
            _ => None,
        };
        Self {
            message_bytes_max: number("max.message.bytes") as usize,
            compacted: has("compact"),
            timestamp_type,
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            min_insync_replicas: number("min.insync.replicas") as i32,
            codec,
            level,
            log: LogConfig {
                segment_bytes: number("segment.bytes") as u64,
                segment_ms: number("segment.ms"),
                index_interval_bytes: number("index.interval.bytes") as u64,
                segment_index_bytes: number("segment.index.bytes") as usize,
                retention_ms: number("retention.ms"),
                retention_bytes: number("retention.bytes"),
                delete: has("delete"),
                compact: has("compact"),
                delete_retention_ms: number("delete.retention.ms"),
                min_compaction_lag_ms: number("min.compaction.lag.ms"),
                max_compaction_lag_ms: number("max.compaction.lag.ms"),
                dirty_ratio_min_ppm: (text("min.cleanable.dirty.ratio").trim().parse().unwrap_or(0.5) * 1e6) as u32,
                file_delete_delay_ms: number("file.delete.delay.ms"),
                segment_jitter_ms: number("segment.jitter.ms"),
                flush_messages: number("flush.messages"),
                flush_ms: number("flush.ms"),
                ..LogConfig::default()
            },
        }
    }
}

/// One partition led here.
#[derive(Debug)]
pub struct Partition {
    /// Its log.
    pub log: Arc<Log>,
    /// Epoch of our leadership.
    pub leader_epoch: i32,
    /// What clients sent and got.
    pub traffic: Traffic,
    settings: RwLock<Arc<TopicSettings>>,
}

impl Partition {
    /// The largest epoch up to this one with the offset at which it ends; none for one that was never given out.
    pub fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        match epoch {
            ..0 => None,
            // The current epoch ends at the log's end, also while nothing was written in it.
            now if now == self.leader_epoch => Some((now, self.high_watermark())),
            _ => self.log.end_offset_for_epoch(epoch),
        }
    }

    /// A partition over an open log.
    pub fn new(log: Arc<Log>, leader_epoch: i32, settings: Arc<TopicSettings>) -> Self {
        Self { log, leader_epoch, traffic: Traffic::default(), settings: RwLock::new(settings) }
    }

    /// Settings in force.
    pub fn settings(&self) -> Arc<TopicSettings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts new settings in force.
    pub fn set_settings(&self, settings: &Arc<TopicSettings>) {
        self.log.set_config(settings.log);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(settings);
    }

    /// Appends one validated batch as leader; durable only after `log.wait_durable`.
    pub fn append(&self, batch: &Bytes, now_ms: i64) -> Result<Appended, LogError> {
        let view = BatchView::parse(batch).map_err(|e| LogError::BadAppend(e.to_string()))?;
        self.log.append_one(&view, Placing::Leader { epoch: self.leader_epoch }, now_ms)
    }

    /// As [`append`](Self::append), for a client: a batch that would begin a transaction needs a guard that stands.
    pub fn append_from_client(&self, batch: &Bytes, guard: Option<Guard>, now_ms: i64) -> Result<Appended, LogError> {
        let view = BatchView::parse(batch).map_err(|e| LogError::BadAppend(e.to_string()))?;
        self.log.append_one(&view, Placing::Client { epoch: self.leader_epoch, guard }, now_ms)
    }

    /// Ends a producer's transaction here. A marker that only repeats what stands in the log is not written again.
    pub fn append_marker(&self, marker: &Marker, now_ms: i64) -> Result<Appended, LogError> {
        let kind = if marker.commit { ControlMarker::Commit } else { ControlMarker::Abort };
        let Producer { id, epoch } = marker.producer;
        let batch = control_batch(kind, id, epoch, marker.coordinator_epoch, now_ms);
        let batch = batch.map_err(|e| LogError::BadAppend(e.to_string()))?;
        let view = BatchView::parse(&batch).map_err(|e| LogError::BadAppend(e.to_string()))?;
        let placing = Placing::Marker { epoch: self.leader_epoch, newer_epoch: marker.newer_epoch };
        self.log.append_one(&view, placing, now_ms)
    }

    /// The offset below which consumers may read: with one replica all that is durable.
    pub fn high_watermark(&self) -> i64 {
        let durable = self.log.durable_offset();
        if durable > self.log.high_watermark() {
            self.log.set_high_watermark(durable);
        }
        durable
    }
}

/// Partitions by topic and number.
#[derive(Debug, Default)]
pub struct Partitions {
    topics: RwLock<HashMap<String, Vec<Arc<Partition>>>>,
}

impl Partitions {
    /// One partition.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<Partition>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(topic)?.get(usize::try_from(partition).ok()?).cloned()
    }

    /// Whether a partition is here whose log directory failed.
    pub fn is_offline(&self, topic: &str, partition: i32) -> bool {
        self.get(topic, partition).is_some_and(|partition| partition.log.health().is_err())
    }

    /// How many partitions of a topic are here, if the topic is.
    pub fn count(&self, topic: &str) -> Option<usize> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic).map(Vec::len)
    }

    /// All partitions of a topic, by number.
    pub fn of_topic(&self, topic: &str) -> Vec<Arc<Partition>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned().unwrap_or_default()
    }

    /// All partitions.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.values().flatten().cloned().collect()
    }

    /// Adds the next partition of a topic; they come in order.
    pub fn push(&self, topic: &str, partition: Arc<Partition>) {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.entry(topic.to_owned()).or_default().push(partition);
    }

    /// Forgets a topic, returning what it had.
    pub fn remove(&self, topic: &str) -> Vec<Arc<Partition>> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(topic).unwrap_or_default()
    }
}
