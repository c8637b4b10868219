//! Registry of broker settings: Kafka's own names, types and defaults.
//!
//! `HONOURED` keys do something here; `IGNORED` ones are known to Kafka 4.x, accepted and warned about once; any other
//! name is refused with the nearest known one.

use super::Kind;

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

/// Settings of Kafka 4.x that are accepted and have no effect here.
pub const IGNORED: &[&str] = &[
    "allow.everyone.if.no.acl.found",
    "auto.include.jmx.reporter",
    "auto.leader.rebalance.enable",
    "background.threads",
    "broker.heartbeat.interval.ms",
    "broker.id.generation.enable",
    "broker.session.timeout.ms",
    "connection.failed.authentication.delay.ms",
    "connections.max.reauth.ms",
    "controlled.shutdown.enable",
    "controlled.shutdown.max.retries",
    "controlled.shutdown.retry.backoff.ms",
    "controller.quorum.election.backoff.max.ms",
    "controller.quorum.election.timeout.ms",
    "controller.quorum.fetch.timeout.ms",
    "controller.quorum.request.timeout.ms",
    "controller.socket.timeout.ms",
    "early.start.listeners",
    "fetch.purgatory.purge.interval.requests",
    "group.consumer.assignor.offload.enable",
    "group.consumer.regex.refresh.interval.ms",
    "group.coordinator.append.linger.ms",
    "group.coordinator.new.enable",
    "group.coordinator.rebalance.protocols",
    "group.coordinator.threads",
    "initial.broker.registration.timeout.ms",
    "inter.broker.protocol.version",
    "kafka.metrics.polling.interval.secs",
    "kafka.metrics.reporters",
    "leader.imbalance.check.interval.seconds",
    "leader.imbalance.per.broker.percentage",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.dir.failure.timeout.ms",
    "log.flush.offset.checkpoint.interval.ms",
    "log.flush.start.offset.checkpoint.interval.ms",
    "log.initial.task.delay.ms",
    "log.local.retention.bytes",
    "log.local.retention.ms",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "max.incremental.fetch.session.cache.slots",
    "metadata.log.dir",
    "metadata.log.max.record.bytes.between.snapshots",
    "metadata.log.max.snapshot.interval.ms",
    "metadata.log.segment.bytes",
    "metadata.log.segment.ms",
    "metadata.max.idle.interval.ms",
    "metadata.max.retention.bytes",
    "metadata.max.retention.ms",
    "metric.reporters",
    "metrics.num.samples",
    "metrics.recording.level",
    "metrics.sample.window.ms",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.alter.log.dirs.threads",
    "num.replica.fetchers",
    "offsets.commit.required.acks",
    "offsets.commit.timeout.ms",
    "offsets.load.buffer.size",
    "offsets.topic.compression.codec",
    "principal.builder.class",
    "producer.id.expiration.check.interval.ms",
    "producer.id.expiration.ms",
    "producer.purgatory.purge.interval.requests",
    "queued.max.requests",
    "remote.log.manager.thread.pool.size",
    "remote.log.storage.system.enable",
    "replica.fetch.backoff.ms",
    "replica.fetch.max.bytes",
    "replica.fetch.min.bytes",
    "replica.fetch.response.max.bytes",
    "replica.fetch.wait.max.ms",
    "replica.high.watermark.checkpoint.interval.ms",
    "replica.lag.time.max.ms",
    "replica.selector.class",
    "replica.socket.receive.buffer.bytes",
    "replica.socket.timeout.ms",
    "replication.quota.window.num",
    "replication.quota.window.size.seconds",
    "request.timeout.ms",
    "reserved.broker.max.id",
    "security.inter.broker.protocol",
    "security.providers",
    "share.coordinator.state.topic.min.isr",
    "share.coordinator.state.topic.num.partitions",
    "share.coordinator.state.topic.replication.factor",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.listen.backlog.size",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "telemetry.max.bytes",
    "transaction.state.log.load.buffer.size",
    "transaction.state.log.min.isr",
    "transaction.two.phase.commit.enable",
    "unclean.leader.election.interval.ms",
    "unstable.api.versions.enable",
    "unstable.feature.versions.enable",
];

/// The honoured setting of that name.
pub fn find(name: &str) -> Option<&'static BrokerKey> {
    HONOURED.iter().find(|k| k.name == name)
}

/// Whether Kafka knows the setting and we pass over it. Prefixes cover per-listener and plugin settings.
pub fn is_ignored(name: &str) -> bool {
    IGNORED.contains(&name)
        || ["listener.name.", "ssl.", "sasl.", "remote.log.", "metrics.", "quorum.", "group.share.", "group.streams."]
            .iter()
            .any(|p| name.starts_with(p))
}

/// Whether Kafka lets the setting be altered at run time; such a one is stored and shown, and still has no effect here.
pub fn is_ignored_dynamic(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "background.threads",
        "follower.replication.throttled.rate",
        "leader.replication.throttled.rate",
        "replica.alter.log.dirs.io.max.bytes.per.second",
        "metric.reporters",
        "num.io.threads",
        "num.network.threads",
        "num.recovery.threads.per.data.dir",
        "num.replica.fetchers",
        "principal.builder.class",
        "producer.id.expiration.ms",
    ];
    // Nothing here needs a secret yet, and what is stored is shown: secrets are refused.
    if ["password", "jaas", "secret", ".key"].iter().any(|word| name.contains(word)) {
        return false;
    }
    NAMES.contains(&name)
        || (is_ignored(name) && ["log.cleaner.", "ssl.", "sasl.", "listener.name."].iter().any(|p| name.starts_with(p)))
}

/// Every known name, for the nearest-name hint.
pub fn names() -> impl Iterator<Item = &'static str> {
    HONOURED.iter().map(|k| k.name).chain(IGNORED.iter().copied())
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

    #[test]
    fn secrets_are_not_stored() {
        assert!(is_ignored_dynamic("sasl.kerberos.min.time.before.relogin"));
        assert!(!is_ignored_dynamic("ssl.keystore.password"));
        assert!(!is_ignored_dynamic("listener.name.x.plain.sasl.jaas.config"));
        assert!(!is_ignored_dynamic("log.cleaner.no.such"));
    }

    #[test]
    fn no_key_is_both_honoured_and_ignored() {
        for name in IGNORED {
            assert!(find(name).is_none(), "{name}");
        }
    }
}
