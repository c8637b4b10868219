//! Registry of broker settings: Kafka's own names, types and defaults.
//!
//! `HONOURED` keys do something here; the others that Kafka knows (`kafka_keys`) are accepted and warned about once; any
//! other name is refused with the nearest known one.

use super::Kind;
use super::kafka_keys::{self, KAFKA_KEYS, KafkaKey, Type};

/// One broker setting.
#[derive(Debug, Clone, Copy)]
pub struct BrokerKey {
    /// Kafka's name.
    pub name: &'static str,
    /// Type and bounds.
    pub kind: Kind,
    /// Default in text form; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Whether it may be altered while the node runs (KIP-226).
    pub dynamic: bool,
}

/// Kafka takes these in any case of letters.
const MIGRATIONS: &[&str] =
    &["bidirectional", "upgrade", "downgrade", "disabled", "BIDIRECTIONAL", "UPGRADE", "DOWNGRADE", "DISABLED"];
const MAX: i64 = i64::MAX;
const IMAX: i64 = i32::MAX as i64;

const fn fixed(name: &'static str, kind: Kind, default: &'static str) -> BrokerKey {
    BrokerKey { name, kind, default: Some(default), dynamic: false }
}
const fn unset(name: &'static str, kind: Kind) -> BrokerKey {
    BrokerKey { name, kind, default: None, dynamic: false }
}
const fn live(name: &'static str, kind: Kind, default: &'static str) -> BrokerKey {
    BrokerKey { name, kind, default: Some(default), dynamic: true }
}
const fn live_unset(name: &'static str, kind: Kind) -> BrokerKey {
    BrokerKey { name, kind, default: None, dynamic: true }
}

/// Settings that this broker acts on, sorted by name.
pub const HONOURED: &[BrokerKey] = &[
    unset("advertised.listeners", Kind::Str),
    fixed("auto.create.topics.enable", Kind::Bool, "true"),
    unset("broker.id", Kind::Int(-1, IMAX)),
    unset("broker.rack", Kind::Str),
    // Ours: address of /livez, /readyz and /metrics.
    unset("causeway.http.listen", Kind::Str),
    // Ours: the id written into an empty log directory; an already formatted one must match.
    unset("cluster.id", Kind::Str),
    live("compression.gzip.level", Kind::Int(-1, 9), "-1"),
    live("compression.lz4.level", Kind::Int(1, 17), "9"),
    live("compression.type", Kind::Enum(super::topic_keys::COMPRESSION_TYPES), "producer"),
    live("compression.zstd.level", Kind::Int(-131072, 22), "3"),
    fixed("connections.max.idle.ms", Kind::Long(-1, MAX), "600000"),
    unset("controller.listener.names", Kind::Str),
    unset("controller.quorum.bootstrap.servers", Kind::Str),
    unset("controller.quorum.voters", Kind::Str),
    fixed("controller.quota.window.num", Kind::Int(1, IMAX), "11"),
    fixed("controller.quota.window.size.seconds", Kind::Int(1, IMAX), "1"),
    fixed("default.replication.factor", Kind::Int(1, 32767), "1"),
    fixed("delete.topic.enable", Kind::Bool, "true"),
    fixed("fetch.max.bytes", Kind::Int(1024, IMAX), "57671680"),
    live("group.consumer.assignment.interval.ms", Kind::Int(0, IMAX), "1000"),
    fixed("group.consumer.assignors", Kind::List(&[]), "uniform,range"),
    fixed("group.consumer.heartbeat.interval.ms", Kind::Int(1, IMAX), "5000"),
    fixed("group.consumer.max.assignment.interval.ms", Kind::Int(0, IMAX), "15000"),
    fixed("group.consumer.max.heartbeat.interval.ms", Kind::Int(1, IMAX), "15000"),
    fixed("group.consumer.max.session.timeout.ms", Kind::Int(1, IMAX), "60000"),
    fixed("group.consumer.max.size", Kind::Int(1, IMAX), "2147483647"),
    fixed("group.consumer.migration.policy", Kind::Enum(MIGRATIONS), "bidirectional"),
    fixed("group.consumer.min.assignment.interval.ms", Kind::Int(0, IMAX), "0"),
    fixed("group.consumer.min.heartbeat.interval.ms", Kind::Int(1, IMAX), "5000"),
    fixed("group.consumer.min.session.timeout.ms", Kind::Int(1, IMAX), "45000"),
    fixed("group.consumer.session.timeout.ms", Kind::Int(1, IMAX), "45000"),
    fixed("group.initial.rebalance.delay.ms", Kind::Int(0, IMAX), "3000"),
    fixed("group.max.session.timeout.ms", Kind::Int(1, IMAX), "1800000"),
    fixed("group.max.size", Kind::Int(1, IMAX), "2147483647"),
    fixed("group.min.session.timeout.ms", Kind::Int(1, IMAX), "6000"),
    fixed("inter.broker.listener.name", Kind::Str, "PLAINTEXT"),
    fixed("listener.security.protocol.map", Kind::Str, "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
    fixed("listeners", Kind::Str, "PLAINTEXT://127.0.0.1:9092"),
    live("log.cleaner.backoff.ms", Kind::Long(0, MAX), "15000"),
    live("log.cleaner.dedupe.buffer.size", Kind::Long(0, MAX), "134217728"),
    live("log.cleaner.delete.retention.ms", Kind::Long(0, MAX), "86400000"),
    fixed("log.cleaner.enable", Kind::Bool, "true"),
    live("log.cleaner.io.max.bytes.per.second", Kind::Double(0.0, f64::MAX), "1.7976931348623157E308"),
    live("log.cleaner.max.compaction.lag.ms", Kind::Long(1, MAX), "9223372036854775807"),
    live("log.cleaner.min.cleanable.ratio", Kind::Double(0.0, 1.0), "0.5"),
    live("log.cleaner.min.compaction.lag.ms", Kind::Long(0, MAX), "0"),
    // Altered at run time it counts from the next start on.
    live("log.cleaner.threads", Kind::Int(0, IMAX), "1"),
    live("log.cleanup.policy", Kind::List(&["compact", "delete"]), "delete"),
    unset("log.dir", Kind::Str),
    unset("log.dirs", Kind::Str),
    // Ours: when an acknowledged write is on the disk (`ack`: before the answer).
    fixed("log.flush", Kind::Enum(&["ack", "interval", "os"]), "ack"),
    live("log.flush.interval.messages", Kind::Long(1, MAX), "9223372036854775807"),
    live_unset("log.flush.interval.ms", Kind::Long(0, MAX)),
    fixed("log.flush.scheduler.interval.ms", Kind::Long(1, MAX), "9223372036854775807"),
    live("log.index.interval.bytes", Kind::Int(0, IMAX), "4096"),
    live("log.index.size.max.bytes", Kind::Int(4, IMAX), "10485760"),
    live("log.message.timestamp.after.max.ms", Kind::Long(0, MAX), "3600000"),
    live("log.message.timestamp.before.max.ms", Kind::Long(0, MAX), "9223372036854775807"),
    live("log.message.timestamp.type", Kind::Enum(&["CreateTime", "LogAppendTime"]), "CreateTime"),
    live("log.preallocate", Kind::Bool, "false"),
    live("log.retention.bytes", Kind::Long(-1, MAX), "-1"),
    fixed("log.retention.check.interval.ms", Kind::Long(1, MAX), "300000"),
    fixed("log.retention.hours", Kind::Int(-1, IMAX), "168"),
    unset("log.retention.minutes", Kind::Int(-1, IMAX)),
    live_unset("log.retention.ms", Kind::Long(-1, MAX)),
    fixed("log.roll.hours", Kind::Int(1, IMAX), "168"),
    live_unset("log.roll.ms", Kind::Long(1, MAX)),
    fixed("log.roll.jitter.hours", Kind::Int(0, IMAX), "0"),
    live_unset("log.roll.jitter.ms", Kind::Long(0, MAX)),
    live("log.segment.bytes", Kind::Int(14, IMAX), "1073741824"),
    live("log.segment.delete.delay.ms", Kind::Long(0, MAX), "60000"),
    live("max.connection.creation.rate", Kind::Int(0, IMAX), "2147483647"),
    live("max.connections", Kind::Int(0, IMAX), "2147483647"),
    live("max.connections.per.ip", Kind::Int(0, IMAX), "2147483647"),
    live("max.connections.per.ip.overrides", Kind::AddressCounts, ""),
    fixed("max.request.partition.size.limit", Kind::Int(1, IMAX), "2000"),
    live("message.max.bytes", Kind::Int(0, IMAX), "1048588"),
    unset("metadata.log.dir", Kind::Str),
    live("min.insync.replicas", Kind::Int(1, IMAX), "1"),
    fixed("node.id", Kind::Int(0, IMAX), "1"),
    fixed("num.partitions", Kind::Int(1, IMAX), "1"),
    fixed("offset.metadata.max.bytes", Kind::Int(0, IMAX), "4096"),
    fixed("offsets.retention.check.interval.ms", Kind::Long(1, MAX), "600000"),
    fixed("offsets.retention.minutes", Kind::Int(1, IMAX), "10080"),
    fixed("offsets.topic.num.partitions", Kind::Int(1, IMAX), "50"),
    fixed("offsets.topic.replication.factor", Kind::Int(1, 32767), "3"),
    fixed("offsets.topic.segment.bytes", Kind::Int(1, IMAX), "104857600"),
    fixed("process.roles", Kind::List(&["broker", "controller"]), "broker,controller"),
    fixed("queued.max.request.bytes", Kind::Long(-1, MAX), "-1"),
    fixed("quota.window.num", Kind::Int(1, IMAX), "11"),
    fixed("quota.window.size.seconds", Kind::Int(1, IMAX), "1"),
    fixed("socket.request.max.bytes", Kind::Int(1, IMAX), "104857600"),
    fixed("transaction.abort.timed.out.transaction.cleanup.interval.ms", Kind::Int(1, IMAX), "10000"),
    fixed("transaction.max.timeout.ms", Kind::Int(1, IMAX), "900000"),
    live("transaction.partition.verification.enable", Kind::Bool, "true"),
    fixed("transaction.remove.expired.transaction.cleanup.interval.ms", Kind::Int(1, IMAX), "3600000"),
    fixed("transaction.state.log.num.partitions", Kind::Int(1, IMAX), "50"),
    fixed("transaction.state.log.replication.factor", Kind::Int(1, 32767), "3"),
    fixed("transaction.state.log.segment.bytes", Kind::Int(1, IMAX), "104857600"),
    fixed("transactional.id.expiration.ms", Kind::Int(1, IMAX), "604800000"),
    live("unclean.leader.election.enable", Kind::Bool, "false"),
];

/// Further settings of Kafka 4.x, which it does not show or no longer has: accepted, without an effect here.
pub const UNSHOWN: &[&str] = &[
    "allow.everyone.if.no.acl.found",
    "auto.include.jmx.reporter",
    "broker.id.generation.enable",
    "controlled.shutdown.max.retries",
    "controlled.shutdown.retry.backoff.ms",
    "group.consumer.assignor.offload.enable",
    "group.consumer.regex.refresh.interval.ms",
    "group.coordinator.new.enable",
    "inter.broker.protocol.version",
    "leader.imbalance.per.broker.percentage",
    "log.initial.task.delay.ms",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "offsets.commit.required.acks",
    "producer.id.expiration.check.interval.ms",
    "reserved.broker.max.id",
    "unclean.leader.election.interval.ms",
    "unstable.api.versions.enable",
    "unstable.feature.versions.enable",
];

/// The honoured setting of that name.
pub fn find(name: &str) -> Option<&'static BrokerKey> {
    HONOURED.iter().find(|k| k.name == name)
}

/// The built-in value of a setting: ours, or Kafka's where it has no effect here.
pub fn default_of(name: &str) -> Option<&'static str> {
    find(name).map_or_else(|| kafka_keys::find(name).and_then(|key| key.default), |key| key.default)
}

/// Every setting that is shown, Kafka's and ours.
pub fn shown() -> impl Iterator<Item = KafkaKey> {
    let ours = HONOURED.iter().filter(|key| kafka_keys::find(key.name).is_none());
    let as_kafkas = |key: &BrokerKey| {
        let (name, default, dynamic) = (key.name, key.default, key.dynamic);
        KafkaKey { name, kind: Type::Str, default, dynamic }
    };
    KAFKA_KEYS.iter().copied().chain(ours.map(as_kafkas))
}

/// Whether a setting can be altered here at run time.
pub fn is_alterable(name: &str) -> bool {
    find(name).map_or_else(|| ignored_dynamic(name).is_some(), |key| key.dynamic)
}

/// Whether Kafka knows the setting and we pass over it. Prefixes cover per-listener and plugin settings.
pub fn is_ignored(name: &str) -> bool {
    find(name).is_none()
        && (kafka_keys::find(name).is_some()
            || UNSHOWN.contains(&name)
            || [
                "listener.name.",
                "ssl.",
                "sasl.",
                "remote.log.",
                "metrics.",
                "quorum.",
                "group.share.",
                "group.streams.",
            ]
            .iter()
            .any(|p| name.starts_with(p)))
}

/// A setting without an effect here that Kafka lets be altered at run time: it is stored and shown. Secrets are not.
pub fn ignored_dynamic(name: &str) -> Option<&'static KafkaKey> {
    kafka_keys::find(name)
        .filter(|key| key.dynamic && !key.is_sensitive() && find(name).is_none() && find(key.name).is_none())
}

/// Every known name, for the nearest-name hint.
pub fn names() -> impl Iterator<Item = &'static str> {
    HONOURED.iter().map(|k| k.name).chain(KAFKA_KEYS.iter().map(|k| k.name)).chain(UNSHOWN.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_of_its_own_kind() {
        for key in HONOURED {
            if let Some(default) = key.default {
                key.kind.check(key.name, default).unwrap();
            }
        }
    }

    /// Every file of the broker below `dir`, joined.
    fn sources(dir: &std::path::Path) -> String {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let read = |path: std::path::PathBuf| match path.is_dir() {
            true => sources(&path),
            false => std::fs::read_to_string(path).unwrap(),
        };
        entries.map(read).collect()
    }

    #[test]
    fn every_setting_that_is_read_is_honoured() {
        let text = sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let read: Vec<&str> = [".number(\"", ".flag(\"", ".text(\""]
            .iter()
            .flat_map(|call| text.split(call).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .filter(|name| name.contains('.'))
            .collect();
        assert!(read.len() > 20, "the calls are found: {read:?}");
        let strange: Vec<&&str> = read.iter().filter(|name| find(name).is_none()).collect();
        assert!(strange.is_empty(), "read and not in the registry, so the reader would panic: {strange:?}");
    }

    #[test]
    fn secrets_are_not_stored() {
        assert!(ignored_dynamic("sasl.kerberos.min.time.before.relogin").is_some());
        assert!(ignored_dynamic("ssl.keystore.password").is_none());
        assert!(ignored_dynamic("listener.name.x.plain.sasl.jaas.config").is_none());
        assert!(ignored_dynamic("log.cleaner.no.such").is_none());
        assert!(ignored_dynamic("num.io.threads").is_some());
    }

    #[test]
    fn no_key_is_both_honoured_and_ignored() {
        for name in UNSHOWN {
            assert!(find(name).is_none() && kafka_keys::find(name).is_none(), "{name}");
        }
    }
}
