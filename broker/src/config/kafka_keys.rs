//! Every broker setting that Apache Kafka 4.3.1 shows: name, type, default and whether it may be altered at run time.
//! Transcribed from what a node answers to DescribeConfigs.

use super::Kind;

/// A setting's type by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// Text.
    Str,
    /// 32-bit number.
    Int,
    /// 16-bit number.
    Short,
    /// 64-bit number.
    Long,
    /// Floating-point number.
    Double,
    /// Items with commas between.
    List,
    /// A Java class.
    Class,
    /// A secret: never shown, and never kept.
    Password,
}

use Type::{Bool, Class, Double, Int, List, Long, Password, Short, Str};

impl Type {
    /// The number that DescribeConfigs uses (ConfigEntry.ConfigType of Kafka's admin API).
    pub fn code(self) -> i8 {
        match self {
            Bool => 1,
            Str => 2,
            Int => 3,
            Short => 4,
            Long => 5,
            Double => 6,
            List => 7,
            Class => 8,
            Password => 9,
        }
    }

    /// What a value must look like; nothing is known of its bounds.
    pub fn kind(self) -> Kind {
        match self {
            Bool => Kind::Bool,
            Int => Kind::Int(i32::MIN as i64, i32::MAX as i64),
            Short => Kind::Int(i16::MIN as i64, i16::MAX as i64),
            Long => Kind::Long(i64::MIN, i64::MAX),
            Double => Kind::Double(f64::MIN, f64::MAX),
            List => Kind::List(&[]),
            Str | Class | Password => Kind::Str,
        }
    }
}

/// One broker setting of Kafka's.
#[derive(Debug, Clone, Copy)]
pub struct KafkaKey {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// Its default in text form; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Whether Kafka lets it be altered at run time.
    pub dynamic: bool,
}

impl KafkaKey {
    /// Whether its value is a secret.
    pub fn is_sensitive(&self) -> bool {
        self.kind == Password
    }
}

const fn fixed(name: &'static str, kind: Type, default: Option<&'static str>) -> KafkaKey {
    KafkaKey { name, kind, default, dynamic: false }
}

const fn live(name: &'static str, kind: Type, default: Option<&'static str>) -> KafkaKey {
    KafkaKey { name, kind, default, dynamic: true }
}

/// Sorted by name.
pub const KAFKA_KEYS: &[KafkaKey] = &[
    fixed("add.partitions.to.txn.retry.backoff.max.ms", Int, Some("100")),
    fixed("add.partitions.to.txn.retry.backoff.ms", Int, Some("20")),
    fixed("advertised.listeners", List, None),
    fixed("alter.config.policy.class.name", Class, None),
    fixed("alter.log.dirs.replication.quota.window.num", Int, Some("11")),
    fixed("alter.log.dirs.replication.quota.window.size.seconds", Int, Some("1")),
    fixed("authorizer.class.name", Str, Some("")),
    fixed("auto.create.topics.enable", Bool, Some("true")),
    fixed("auto.leader.rebalance.enable", Bool, Some("true")),
    live("background.threads", Int, Some("10")),
    fixed("broker.heartbeat.interval.ms", Int, Some("2000")),
    fixed("broker.id", Int, Some("-1")),
    fixed("broker.rack", Str, None),
    fixed("broker.session.timeout.ms", Int, Some("9000")),
    fixed("client.quota.callback.class", Class, None),
    live("compression.gzip.level", Int, Some("-1")),
    live("compression.lz4.level", Int, Some("9")),
    live("compression.type", Str, Some("producer")),
    live("compression.zstd.level", Int, Some("3")),
    live("config.providers", List, Some("")),
    fixed("connection.failed.authentication.delay.ms", Int, Some("100")),
    fixed("connections.max.idle.ms", Long, Some("600000")),
    fixed("connections.max.reauth.ms", Long, Some("0")),
    fixed("controlled.shutdown.enable", Bool, Some("true")),
    fixed("controller.listener.names", List, None),
    fixed("controller.quorum.append.linger.ms", Int, Some("25")),
    fixed("controller.quorum.auto.join.enable", Bool, Some("false")),
    fixed("controller.quorum.bootstrap.servers", List, Some("")),
    fixed("controller.quorum.election.backoff.max.ms", Int, Some("1000")),
    fixed("controller.quorum.election.timeout.ms", Int, Some("1000")),
    fixed("controller.quorum.fetch.max.bytes", Int, Some("1048576")),
    fixed("controller.quorum.fetch.snapshot.max.bytes", Int, Some("1048576")),
    fixed("controller.quorum.fetch.timeout.ms", Int, Some("2000")),
    fixed("controller.quorum.request.timeout.ms", Int, Some("2000")),
    fixed("controller.quorum.retry.backoff.ms", Int, Some("20")),
    fixed("controller.quorum.voters", List, Some("")),
    fixed("controller.quota.window.num", Int, Some("11")),
    fixed("controller.quota.window.size.seconds", Int, Some("1")),
    fixed("controller.socket.timeout.ms", Int, Some("30000")),
    live("cordoned.log.dirs", List, Some("")),
    fixed("create.topic.policy.class.name", Class, None),
    fixed("default.replication.factor", Int, Some("1")),
    fixed("delegation.token.expiry.check.interval.ms", Long, Some("3600000")),
    fixed("delegation.token.expiry.time.ms", Long, Some("86400000")),
    fixed("delegation.token.max.lifetime.ms", Long, Some("604800000")),
    fixed("delegation.token.secret.key", Password, None),
    fixed("delete.records.purgatory.purge.interval.requests", Int, Some("1")),
    fixed("delete.topic.enable", Bool, Some("true")),
    fixed("early.start.listeners", List, None),
    fixed("fetch.max.bytes", Int, Some("57671680")),
    fixed("fetch.purgatory.purge.interval.requests", Int, Some("1000")),
    live("follower.fetch.last.tiered.offset.enable", Bool, Some("false")),
    live("group.consumer.assignment.interval.ms", Int, Some("1000")),
    fixed("group.consumer.assignors", List, Some("uniform,range")),
    fixed("group.consumer.heartbeat.interval.ms", Int, Some("5000")),
    fixed("group.consumer.max.assignment.interval.ms", Int, Some("15000")),
    fixed("group.consumer.max.heartbeat.interval.ms", Int, Some("15000")),
    fixed("group.consumer.max.session.timeout.ms", Int, Some("60000")),
    fixed("group.consumer.max.size", Int, Some("2147483647")),
    fixed("group.consumer.migration.policy", Str, Some("bidirectional")),
    fixed("group.consumer.min.assignment.interval.ms", Int, Some("0")),
    fixed("group.consumer.min.heartbeat.interval.ms", Int, Some("5000")),
    fixed("group.consumer.min.session.timeout.ms", Int, Some("45000")),
    fixed("group.consumer.session.timeout.ms", Int, Some("45000")),
    fixed("group.coordinator.append.linger.ms", Int, Some("-1")),
    fixed("group.coordinator.background.threads", Int, Some("2")),
    live("group.coordinator.cached.buffer.max.bytes", Int, Some("1048588")),
    fixed("group.coordinator.rebalance.protocols", List, Some("classic,consumer,streams")),
    fixed("group.coordinator.threads", Int, Some("4")),
    fixed("group.initial.rebalance.delay.ms", Int, Some("3000")),
    fixed("group.max.session.timeout.ms", Int, Some("1800000")),
    fixed("group.max.size", Int, Some("2147483647")),
    fixed("group.min.session.timeout.ms", Int, Some("6000")),
    live("group.share.assignment.interval.ms", Int, Some("1000")),
    fixed("group.share.assignors", List, Some("simple")),
    fixed("group.share.delivery.count.limit", Int, Some("5")),
    fixed("group.share.heartbeat.interval.ms", Int, Some("5000")),
    fixed("group.share.max.assignment.interval.ms", Int, Some("15000")),
    fixed("group.share.max.delivery.count.limit", Int, Some("10")),
    fixed("group.share.max.heartbeat.interval.ms", Int, Some("15000")),
    fixed("group.share.max.partition.max.record.locks", Int, Some("4000")),
    fixed("group.share.max.record.lock.duration.ms", Int, Some("60000")),
    fixed("group.share.max.session.timeout.ms", Int, Some("60000")),
    fixed("group.share.max.share.sessions", Int, Some("2000")),
    fixed("group.share.max.size", Int, Some("200")),
    fixed("group.share.min.assignment.interval.ms", Int, Some("0")),
    fixed("group.share.min.delivery.count.limit", Int, Some("2")),
    fixed("group.share.min.heartbeat.interval.ms", Int, Some("5000")),
    fixed("group.share.min.partition.max.record.locks", Int, Some("100")),
    fixed("group.share.min.record.lock.duration.ms", Int, Some("15000")),
    fixed("group.share.min.session.timeout.ms", Int, Some("45000")),
    fixed("group.share.partition.max.record.locks", Int, Some("2000")),
    fixed("group.share.record.lock.duration.ms", Int, Some("30000")),
    fixed("group.share.session.timeout.ms", Int, Some("45000")),
    live("group.streams.assignment.interval.ms", Int, Some("1000")),
    fixed("group.streams.heartbeat.interval.ms", Int, Some("5000")),
    fixed("group.streams.initial.rebalance.delay.ms", Int, Some("3000")),
    fixed("group.streams.max.assignment.interval.ms", Int, Some("15000")),
    fixed("group.streams.max.heartbeat.interval.ms", Int, Some("15000")),
    fixed("group.streams.max.session.timeout.ms", Int, Some("60000")),
    fixed("group.streams.max.size", Int, Some("2147483647")),
    fixed("group.streams.max.standby.replicas", Int, Some("2")),
    fixed("group.streams.min.assignment.interval.ms", Int, Some("0")),
    fixed("group.streams.min.heartbeat.interval.ms", Int, Some("5000")),
    fixed("group.streams.min.session.timeout.ms", Int, Some("45000")),
    fixed("group.streams.num.standby.replicas", Int, Some("0")),
    fixed("group.streams.session.timeout.ms", Int, Some("45000")),
    fixed("initial.broker.registration.timeout.ms", Int, Some("60000")),
    fixed("inter.broker.listener.name", Str, None),
    fixed("kafka.metrics.polling.interval.secs", Int, Some("10")),
    fixed("kafka.metrics.reporters", List, Some("")),
    fixed("leader.imbalance.check.interval.seconds", Long, Some("300")),
    live(
        "listener.security.protocol.map",
        Str,
        Some("SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"),
    ),
    live("listeners", List, Some("PLAINTEXT://:9092")),
    live("log.cleaner.backoff.ms", Long, Some("15000")),
    live("log.cleaner.dedupe.buffer.size", Long, Some("134217728")),
    live("log.cleaner.delete.retention.ms", Long, Some("86400000")),
    fixed("log.cleaner.enable", Bool, Some("true")),
    live("log.cleaner.io.buffer.load.factor", Double, Some("0.9")),
    live("log.cleaner.io.buffer.size", Int, Some("524288")),
    live("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308")),
    live("log.cleaner.max.compaction.lag.ms", Long, Some("9223372036854775807")),
    live("log.cleaner.min.cleanable.ratio", Double, Some("0.5")),
    live("log.cleaner.min.compaction.lag.ms", Long, Some("0")),
    live("log.cleaner.threads", Int, Some("1")),
    live("log.cleanup.policy", List, Some("delete")),
    fixed("log.dir", List, Some("/tmp/kafka-logs")),
    fixed("log.dir.failure.timeout.ms", Long, Some("30000")),
    fixed("log.dirs", List, None),
    live("log.flush.interval.messages", Long, Some("9223372036854775807")),
    live("log.flush.interval.ms", Long, None),
    fixed("log.flush.offset.checkpoint.interval.ms", Int, Some("60000")),
    fixed("log.flush.scheduler.interval.ms", Long, Some("9223372036854775807")),
    fixed("log.flush.start.offset.checkpoint.interval.ms", Int, Some("60000")),
    live("log.index.interval.bytes", Int, Some("4096")),
    live("log.index.size.max.bytes", Int, Some("10485760")),
    live("log.local.retention.bytes", Long, Some("-2")),
    live("log.local.retention.ms", Long, Some("-2")),
    live("log.message.timestamp.after.max.ms", Long, Some("3600000")),
    live("log.message.timestamp.before.max.ms", Long, Some("9223372036854775807")),
    live("log.message.timestamp.type", Str, Some("CreateTime")),
    live("log.preallocate", Bool, Some("false")),
    live("log.retention.bytes", Long, Some("-1")),
    fixed("log.retention.check.interval.ms", Long, Some("300000")),
    fixed("log.retention.hours", Int, Some("168")),
    fixed("log.retention.minutes", Int, None),
    live("log.retention.ms", Long, None),
    fixed("log.roll.hours", Int, Some("168")),
    fixed("log.roll.jitter.hours", Int, Some("0")),
    live("log.roll.jitter.ms", Long, None),
    live("log.roll.ms", Long, None),
    live("log.segment.bytes", Int, Some("1073741824")),
    live("log.segment.delete.delay.ms", Long, Some("60000")),
    live("max.connection.creation.rate", Int, Some("2147483647")),
    live("max.connections", Int, Some("2147483647")),
    live("max.connections.per.ip", Int, Some("2147483647")),
    live("max.connections.per.ip.overrides", Str, Some("")),
    fixed("max.incremental.fetch.session.cache.slots", Int, Some("1000")),
    fixed("max.request.partition.size.limit", Int, Some("2000")),
    live("message.max.bytes", Int, Some("1048588")),
    fixed("metadata.log.dir", Str, None),
    fixed("metadata.log.max.record.bytes.between.snapshots", Long, Some("20971520")),
    fixed("metadata.log.max.snapshot.interval.ms", Long, Some("3600000")),
    fixed("metadata.log.segment.bytes", Int, Some("1073741824")),
    fixed("metadata.log.segment.ms", Long, Some("604800000")),
    fixed("metadata.max.idle.interval.ms", Int, Some("500")),
    fixed("metadata.max.retention.bytes", Long, Some("104857600")),
    fixed("metadata.max.retention.ms", Long, Some("604800000")),
    live("metric.reporters", List, Some("org.apache.kafka.common.metrics.JmxReporter")),
    fixed("metrics.num.samples", Int, Some("2")),
    fixed("metrics.recording.level", Str, Some("INFO")),
    fixed("metrics.sample.window.ms", Long, Some("30000")),
    live("min.insync.replicas", Int, Some("1")),
    fixed("node.id", Int, None),
    live("num.io.threads", Int, Some("8")),
    live("num.network.threads", Int, Some("3")),
    fixed("num.partitions", Int, Some("1")),
    live("num.recovery.threads.per.data.dir", Int, Some("2")),
    fixed("num.replica.alter.log.dirs.threads", Int, None),
    live("num.replica.fetchers", Int, Some("1")),
    fixed("offset.metadata.max.bytes", Int, Some("4096")),
    fixed("offsets.commit.timeout.ms", Int, Some("5000")),
    fixed("offsets.load.buffer.size", Int, Some("5242880")),
    fixed("offsets.retention.check.interval.ms", Long, Some("600000")),
    fixed("offsets.retention.minutes", Int, Some("10080")),
    fixed("offsets.topic.compression.codec", Int, Some("0")),
    fixed("offsets.topic.num.partitions", Int, Some("50")),
    fixed("offsets.topic.replication.factor", Short, Some("3")),
    fixed("offsets.topic.segment.bytes", Int, Some("104857600")),
    live(
        "principal.builder.class",
        Class,
        Some("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"),
    ),
    fixed("process.roles", List, None),
    live("producer.id.expiration.ms", Int, Some("86400000")),
    fixed("producer.purgatory.purge.interval.requests", Int, Some("1000")),
    fixed("queued.max.request.bytes", Long, Some("-1")),
    fixed("queued.max.requests", Int, Some("500")),
    fixed("quota.window.num", Int, Some("11")),
    fixed("quota.window.size.seconds", Int, Some("1")),
    live("remote.fetch.max.wait.ms", Int, Some("500")),
    live("remote.list.offsets.request.timeout.ms", Long, Some("30000")),
    live("remote.log.index.file.cache.total.size.bytes", Long, Some("1073741824")),
    live("remote.log.manager.copier.thread.pool.size", Int, Some("10")),
    live("remote.log.manager.copy.max.bytes.per.second", Long, Some("9223372036854775807")),
    fixed("remote.log.manager.copy.quota.window.num", Int, Some("11")),
    fixed("remote.log.manager.copy.quota.window.size.seconds", Int, Some("1")),
    live("remote.log.manager.expiration.thread.pool.size", Int, Some("10")),
    live("remote.log.manager.fetch.max.bytes.per.second", Long, Some("9223372036854775807")),
    fixed("remote.log.manager.fetch.quota.window.num", Int, Some("11")),
    fixed("remote.log.manager.fetch.quota.window.size.seconds", Int, Some("1")),
    live("remote.log.manager.follower.thread.pool.size", Int, Some("2")),
    fixed("remote.log.manager.task.interval.ms", Long, Some("30000")),
    fixed("remote.log.manager.thread.pool.size", Int, Some("2")),
    fixed("remote.log.metadata.custom.metadata.max.bytes", Int, Some("128")),
    fixed(
        "remote.log.metadata.manager.class.name",
        Str,
        Some("org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"),
    ),
    fixed("remote.log.metadata.manager.class.path", Str, None),
    fixed("remote.log.metadata.manager.impl.prefix", Str, Some("rlmm.config.")),
    fixed("remote.log.metadata.manager.listener.name", Str, None),
    fixed("remote.log.reader.max.pending.tasks", Int, Some("100")),
    live("remote.log.reader.threads", Int, Some("10")),
    fixed("remote.log.storage.manager.class.name", Str, None),
    fixed("remote.log.storage.manager.class.path", Str, None),
    fixed("remote.log.storage.manager.impl.prefix", Str, Some("rsm.config.")),
    fixed("remote.log.storage.system.enable", Bool, Some("false")),
    fixed("replica.fetch.backoff.ms", Int, Some("1000")),
    fixed("replica.fetch.max.bytes", Int, Some("1048576")),
    fixed("replica.fetch.min.bytes", Int, Some("1")),
    fixed("replica.fetch.response.max.bytes", Int, Some("10485760")),
    fixed("replica.fetch.wait.max.ms", Int, Some("500")),
    fixed("replica.high.watermark.checkpoint.interval.ms", Long, Some("5000")),
    fixed("replica.lag.time.max.ms", Long, Some("30000")),
    fixed("replica.selector.class", Str, None),
    fixed("replica.socket.receive.buffer.bytes", Int, Some("65536")),
    fixed("replica.socket.timeout.ms", Int, Some("30000")),
    fixed("replication.quota.window.num", Int, Some("11")),
    fixed("replication.quota.window.size.seconds", Int, Some("1")),
    fixed("request.timeout.ms", Int, Some("30000")),
    fixed("sasl.client.callback.handler.class", Class, None),
    live("sasl.enabled.mechanisms", List, Some("GSSAPI")),
    live("sasl.jaas.config", Password, None),
    live("sasl.kerberos.kinit.cmd", Str, Some("/usr/bin/kinit")),
    live("sasl.kerberos.min.time.before.relogin", Long, Some("60000")),
    live("sasl.kerberos.principal.to.local.rules", List, Some("DEFAULT")),
    live("sasl.kerberos.service.name", Str, None),
    live("sasl.kerberos.ticket.renew.jitter", Double, Some("0.05")),
    live("sasl.kerberos.ticket.renew.window.factor", Double, Some("0.8")),
    fixed("sasl.login.callback.handler.class", Class, None),
    fixed("sasl.login.class", Class, None),
    fixed("sasl.login.connect.timeout.ms", Int, None),
    fixed("sasl.login.read.timeout.ms", Int, None),
    live("sasl.login.refresh.buffer.seconds", Short, Some("300")),
    live("sasl.login.refresh.min.period.seconds", Short, Some("60")),
    live("sasl.login.refresh.window.factor", Double, Some("0.8")),
    live("sasl.login.refresh.window.jitter", Double, Some("0.05")),
    fixed("sasl.login.retry.backoff.max.ms", Long, Some("10000")),
    fixed("sasl.login.retry.backoff.ms", Long, Some("100")),
    fixed("sasl.mechanism.controller.protocol", Str, Some("GSSAPI")),
    live("sasl.mechanism.inter.broker.protocol", Str, Some("GSSAPI")),
    fixed("sasl.oauthbearer.assertion.algorithm", Str, Some("RS256")),
    fixed("sasl.oauthbearer.assertion.claim.aud", Str, None),
    fixed("sasl.oauthbearer.assertion.claim.exp.seconds", Int, Some("300")),
    fixed("sasl.oauthbearer.assertion.claim.iss", Str, None),
    fixed("sasl.oauthbearer.assertion.claim.jti.include", Bool, Some("false")),
    fixed("sasl.oauthbearer.assertion.claim.nbf.seconds", Int, Some("60")),
    fixed("sasl.oauthbearer.assertion.claim.sub", Str, None),
    fixed("sasl.oauthbearer.assertion.file", Str, None),
    fixed("sasl.oauthbearer.assertion.private.key.file", Str, None),
    fixed("sasl.oauthbearer.assertion.private.key.passphrase", Password, None),
    fixed("sasl.oauthbearer.assertion.template.file", Str, None),
    fixed("sasl.oauthbearer.client.credentials.client.id", Str, None),
    fixed("sasl.oauthbearer.client.credentials.client.secret", Password, None),
    fixed("sasl.oauthbearer.clock.skew.seconds", Int, Some("30")),
    fixed("sasl.oauthbearer.expected.audience", List, Some("")),
    fixed("sasl.oauthbearer.expected.issuer", Str, None),
    fixed("sasl.oauthbearer.jwks.endpoint.refresh.ms", Long, Some("3600000")),
    fixed("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", Long, Some("10000")),
    fixed("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", Long, Some("100")),
    fixed("sasl.oauthbearer.jwks.endpoint.url", Str, None),
    fixed(
        "sasl.oauthbearer.jwt.retriever.class",
        Class,
        Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever"),
    ),
    fixed(
        "sasl.oauthbearer.jwt.validator.class",
        Class,
        Some("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"),
    ),
    fixed("sasl.oauthbearer.scope", Str, None),
    fixed("sasl.oauthbearer.scope.claim.name", Str, Some("scope")),
    fixed("sasl.oauthbearer.sub.claim.name", Str, Some("sub")),
    fixed("sasl.oauthbearer.token.endpoint.url", Str, None),
    fixed("sasl.server.callback.handler.class", Class, None),
    fixed("sasl.server.max.receive.size", Int, Some("524288")),
    fixed("security.inter.broker.protocol", Str, Some("PLAINTEXT")),
    fixed("security.providers", Str, None),
    fixed("share.coordinator.append.linger.ms", Int, Some("-1")),
    live("share.coordinator.cached.buffer.max.bytes", Int, Some("1048588")),
    fixed("share.coordinator.load.buffer.size", Int, Some("5242880")),
    fixed("share.coordinator.snapshot.update.records.per.snapshot", Int, Some("500")),
    fixed("share.coordinator.state.topic.compression.codec", Int, Some("0")),
    fixed("share.coordinator.state.topic.min.isr", Short, Some("2")),
    fixed("share.coordinator.state.topic.num.partitions", Int, Some("50")),
    fixed("share.coordinator.state.topic.replication.factor", Short, Some("3")),
    fixed("share.coordinator.state.topic.segment.bytes", Int, Some("104857600")),
    fixed("share.coordinator.threads", Int, Some("1")),
    fixed("share.coordinator.write.timeout.ms", Int, Some("5000")),
    fixed("share.fetch.purgatory.purge.interval.requests", Int, Some("1000")),
    fixed("socket.connection.setup.timeout.max.ms", Long, Some("30000")),
    fixed("socket.connection.setup.timeout.ms", Long, Some("10000")),
    fixed("socket.listen.backlog.size", Int, Some("50")),
    fixed("socket.receive.buffer.bytes", Int, Some("102400")),
    fixed("socket.request.max.bytes", Int, Some("104857600")),
    fixed("socket.send.buffer.bytes", Int, Some("102400")),
    fixed("ssl.allow.dn.changes", Bool, Some("false")),
    fixed("ssl.allow.san.changes", Bool, Some("false")),
    live("ssl.cipher.suites", List, Some("")),
    live("ssl.client.auth", Str, Some("none")),
    live("ssl.enabled.protocols", List, Some("TLSv1.2,TLSv1.3")),
    live("ssl.endpoint.identification.algorithm", Str, Some("https")),
    live("ssl.engine.factory.class", Class, None),
    live("ssl.key.password", Password, None),
    live("ssl.keymanager.algorithm", Str, Some("SunX509")),
    live("ssl.keystore.certificate.chain", Password, None),
    live("ssl.keystore.key", Password, None),
    live("ssl.keystore.location", Str, None),
    live("ssl.keystore.password", Password, None),
    live("ssl.keystore.type", Str, Some("JKS")),
    fixed("ssl.principal.mapping.rules", Str, Some("DEFAULT")),
    live("ssl.protocol", Str, Some("TLSv1.3")),
    live("ssl.provider", Str, None),
    live("ssl.secure.random.implementation", Str, None),
    live("ssl.trustmanager.algorithm", Str, Some("PKIX")),
    live("ssl.truststore.certificates", Password, None),
    live("ssl.truststore.location", Str, None),
    live("ssl.truststore.password", Password, None),
    live("ssl.truststore.type", Str, Some("JKS")),
    fixed("telemetry.max.bytes", Int, Some("1048576")),
    fixed("transaction.abort.timed.out.transaction.cleanup.interval.ms", Int, Some("10000")),
    fixed("transaction.max.timeout.ms", Int, Some("900000")),
    live("transaction.partition.verification.enable", Bool, Some("true")),
    fixed("transaction.remove.expired.transaction.cleanup.interval.ms", Int, Some("3600000")),
    fixed("transaction.state.log.load.buffer.size", Int, Some("5242880")),
    fixed("transaction.state.log.min.isr", Int, Some("2")),
    fixed("transaction.state.log.num.partitions", Int, Some("50")),
    fixed("transaction.state.log.replication.factor", Short, Some("3")),
    fixed("transaction.state.log.segment.bytes", Int, Some("104857600")),
    fixed("transaction.two.phase.commit.enable", Bool, Some("false")),
    fixed("transactional.id.expiration.ms", Int, Some("604800000")),
    live("unclean.leader.election.enable", Bool, Some("false")),
];

/// Settings that stand in for each other, the one that counts first.
const STAND_INS: &[&[&str]] = &[
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
];

/// The setting of that name; one for a listener alone is that of all listeners.
pub fn find(name: &str) -> Option<&'static KafkaKey> {
    let exact = |name: &str| KAFKA_KEYS.binary_search_by_key(&name, |key| key.name).ok().map(|at| &KAFKA_KEYS[at]);
    let of_listener = || {
        let (_, mut rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
        // A SASL mechanism may stand between: `listener.name.internal.plain.sasl.jaas.config`.
        loop {
            if let Some(key) = exact(rest) {
                return Some(key);
            }
            rest = rest.split_once('.')?.1;
        }
    };
    exact(name).or_else(of_listener)
}

/// The names whose levels are shown with this setting's own, in order.
pub fn stand_ins(name: &'static str) -> &'static [&'static str] {
    if name == "log.flush.interval.ms" {
        return &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];
    }
    STAND_INS.iter().copied().find(|names| names.contains(&name)).unwrap_or_default()
}

#[cfg(test)]
#[path = "kafka_keys_tests.rs"]
mod tests;
