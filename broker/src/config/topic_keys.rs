//! Registry of topic settings: Kafka's names, types, defaults, and the broker settings that stand in for them.

use super::Kind;

/// Names that `compression.type` takes.
pub const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// A broker setting that gives a topic setting its default, and the factor between their units.
#[derive(Debug, Clone, Copy)]
pub struct Synonym {
    /// The broker setting.
    pub name: &'static str,
    /// Multiply its value by this (hours to milliseconds, say).
    pub factor: i64,
}

/// One topic setting.
#[derive(Debug, Clone, Copy)]
pub struct TopicKey {
    /// Kafka's name.
    pub name: &'static str,
    /// Type and bounds.
    pub kind: Kind,
    /// Default in text form.
    pub default: &'static str,
    /// Broker settings in order of precedence.
    pub synonyms: &'static [Synonym],
}

const MAX: i64 = i64::MAX;
const IMAX: i64 = i32::MAX as i64;

macro_rules! syn {
    ($($name:literal $(* $factor:literal)?),*) => {
        &[$(Synonym { name: $name, factor: syn!(@f $($factor)?) }),*]
    };
    (@f $factor:literal) => { $factor };
    (@f) => { 1 };
}

const fn key(name: &'static str, kind: Kind, default: &'static str, synonyms: &'static [Synonym]) -> TopicKey {
    TopicKey { name, kind, default, synonyms }
}

/// All topic settings of Kafka 4.x, sorted by name. Those about remote storage and throttling are stored and shown only.
pub const TOPIC_KEYS: &[TopicKey] = &[
    key("cleanup.policy", Kind::List(&["compact", "delete"]), "delete", syn!["log.cleanup.policy"]),
    key("compression.gzip.level", Kind::Int(-1, 9), "-1", syn!["compression.gzip.level"]),
    key("compression.lz4.level", Kind::Int(1, 17), "9", syn!["compression.lz4.level"]),
    key("compression.type", Kind::Enum(COMPRESSION_TYPES), "producer", syn!["compression.type"]),
    key("compression.zstd.level", Kind::Int(-131072, 22), "3", syn!["compression.zstd.level"]),
    key("delete.retention.ms", Kind::Long(0, MAX), "86400000", syn!["log.cleaner.delete.retention.ms"]),
    key("file.delete.delay.ms", Kind::Long(0, MAX), "60000", syn!["log.segment.delete.delay.ms"]),
    key("flush.messages", Kind::Long(1, MAX), "9223372036854775807", syn!["log.flush.interval.messages"]),
    key("flush.ms", Kind::Long(0, MAX), "9223372036854775807", syn!["log.flush.interval.ms"]),
    key("follower.replication.throttled.replicas", Kind::List(&[]), "", &[]),
    key("index.interval.bytes", Kind::Int(0, IMAX), "4096", syn!["log.index.interval.bytes"]),
    key("leader.replication.throttled.replicas", Kind::List(&[]), "", &[]),
    key("local.retention.bytes", Kind::Long(-2, MAX), "-2", &[]),
    key("local.retention.ms", Kind::Long(-2, MAX), "-2", &[]),
    key("max.compaction.lag.ms", Kind::Long(1, MAX), "9223372036854775807", syn!["log.cleaner.max.compaction.lag.ms"]),
    key("max.message.bytes", Kind::Int(0, IMAX), "1048588", syn!["message.max.bytes"]),
    key("message.timestamp.after.max.ms", Kind::Long(0, MAX), "3600000", syn!["log.message.timestamp.after.max.ms"]),
    key(
        "message.timestamp.before.max.ms",
        Kind::Long(0, MAX),
        "9223372036854775807",
        syn!["log.message.timestamp.before.max.ms"],
    ),
    key(
        "message.timestamp.type",
        Kind::Enum(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        syn!["log.message.timestamp.type"],
    ),
    key("min.cleanable.dirty.ratio", Kind::Double(0.0, 1.0), "0.5", syn!["log.cleaner.min.cleanable.ratio"]),
    key("min.compaction.lag.ms", Kind::Long(0, MAX), "0", syn!["log.cleaner.min.compaction.lag.ms"]),
    key("min.insync.replicas", Kind::Int(1, IMAX), "1", syn!["min.insync.replicas"]),
    key("preallocate", Kind::Bool, "false", syn!["log.preallocate"]),
    key("remote.log.copy.disable", Kind::Bool, "false", &[]),
    key("remote.log.delete.on.disable", Kind::Bool, "false", &[]),
    key("remote.storage.enable", Kind::Bool, "false", &[]),
    key("retention.bytes", Kind::Long(-1, MAX), "-1", syn!["log.retention.bytes"]),
    key(
        "retention.ms",
        Kind::Long(-1, MAX),
        "604800000",
        syn!["log.retention.ms", "log.retention.minutes" * 60_000, "log.retention.hours" * 3_600_000],
    ),
    // Kafka 4 refuses less than 1 MiB (KIP-1030).
    key("segment.bytes", Kind::Int(1 << 20, IMAX), "1073741824", syn!["log.segment.bytes"]),
    key("segment.index.bytes", Kind::Int(4, IMAX), "10485760", syn!["log.index.size.max.bytes"]),
    key("segment.jitter.ms", Kind::Long(0, MAX), "0", syn!["log.roll.jitter.ms", "log.roll.jitter.hours" * 3_600_000]),
    key("segment.ms", Kind::Long(1, MAX), "604800000", syn!["log.roll.ms", "log.roll.hours" * 3_600_000]),
    key("unclean.leader.election.enable", Kind::Bool, "false", syn!["unclean.leader.election.enable"]),
];

/// The topic setting of that name.
pub fn find(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.iter().find(|k| k.name == name)
}

/// Checks one setting as CreateTopics and IncrementalAlterConfigs must.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    let Some(key) = find(name) else {
        return Err(format!("Unknown topic config name: {name}"));
    };
    key.kind.check(name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_of_its_own_kind_and_every_synonym_exists() {
        for key in TOPIC_KEYS {
            key.kind.check(key.name, key.default).unwrap();
            for synonym in key.synonyms {
                assert!(crate::config::keys::find(synonym.name).is_some(), "{}", synonym.name);
            }
        }
    }
}
