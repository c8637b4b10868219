//! What settings are for, in a line each, as DescribeConfigs tells it.

use super::keys;
use super::topic_keys::TOPIC_KEYS;

/// Lines by name, sorted.
const DOCS: &[(&str, &str)] = &[
    ("advertised.listeners", "Addresses that clients are told to connect to, if they differ from `listeners`."),
    ("auto.create.topics.enable", "Whether asking for a topic that does not exist creates it."),
    ("broker.id", "Older name of `node.id`."),
    ("broker.rack", "Rack of this node, as clients are told."),
    ("causeway.http.listen", "Address of health and metrics over HTTP, on this machine only; none unless given."),
    (
        "cleanup.policy",
        "What becomes of old data: `delete` by age and size, `compact` to the newest value of each key, or both.",
    ),
    ("cluster.id", "Id given to an empty log directory; one that has an id already must have this one."),
    ("compression.gzip.level", "Level of gzip where `compression.type` is gzip."),
    ("compression.lz4.level", "Level of lz4 where `compression.type` is lz4."),
    ("compression.type", "Codec that batches are stored with; `producer` keeps what the producer chose."),
    ("compression.zstd.level", "Level of zstd where `compression.type` is zstd."),
    ("connections.max.idle.ms", "A connection on which nothing happens for so long is closed."),
    ("consumer.assignment.interval.ms", "Shortest time between two target assignments of this group."),
    ("consumer.heartbeat.interval.ms", "How often members of this group are asked to send heartbeats."),
    ("consumer.session.timeout.ms", "A member of this group that is silent for so long is removed."),
    ("controller.listener.names", "Listeners for controllers; a node alone does not open them."),
    ("controller.quorum.bootstrap.servers", "Addresses of the controllers; a node alone needs none."),
    ("controller.quorum.voters", "Ids and addresses of the controllers; a node alone needs none."),
    ("controller.quota.window.num", "Windows over which making and deleting partitions is measured."),
    (
        "controller.quota.window.size.seconds",
        "Length of a window over which making and deleting partitions is measured.",
    ),
    ("default.replication.factor", "Replicas of topics whose creation names no number."),
    ("delete.retention.ms", "How long a compacted topic keeps tombstones."),
    ("delete.topic.enable", "Whether topics may be deleted."),
    ("fetch.max.bytes", "Most bytes in the answer to one fetch."),
    ("file.delete.delay.ms", "How long a removed segment's files stay on the disk."),
    ("flush.messages", "Records after which a flush is forced."),
    ("flush.ms", "Time after which a flush is forced."),
    ("follower.replication.throttled.replicas", "Replicas whose fetching is throttled, as partition:node, or `*`."),
    ("group.consumer.assignment.interval.ms", "Shortest time between two target assignments of a consumer group."),
    (
        "group.consumer.assignors",
        "Assignors of consumer groups (KIP-848): `uniform`, `range`; the first is the default.",
    ),
    ("group.consumer.heartbeat.interval.ms", "How often members of consumer groups are asked to send heartbeats."),
    ("group.consumer.max.assignment.interval.ms", "Longest assignment interval that a consumer group may have."),
    ("group.consumer.max.heartbeat.interval.ms", "Longest heartbeat interval that a consumer group may have."),
    ("group.consumer.max.session.timeout.ms", "Longest session timeout that a consumer group may have."),
    ("group.consumer.max.size", "Most members of a consumer group."),
    (
        "group.consumer.migration.policy",
        "Whether groups with members may change from the classic to the consumer protocol (`upgrade`), back, or both.",
    ),
    ("group.consumer.min.assignment.interval.ms", "Shortest assignment interval that a consumer group may have."),
    ("group.consumer.min.heartbeat.interval.ms", "Shortest heartbeat interval that a consumer group may have."),
    ("group.consumer.min.session.timeout.ms", "Shortest session timeout that a consumer group may have."),
    ("group.consumer.session.timeout.ms", "A member of a consumer group that is silent for so long is removed."),
    ("group.initial.rebalance.delay.ms", "How long the first rebalance of a new group waits for more members."),
    ("group.max.session.timeout.ms", "Longest session timeout that a member may ask for."),
    ("group.max.size", "Most members of a group."),
    ("group.min.session.timeout.ms", "Shortest session timeout that a member may ask for."),
    ("index.interval.bytes", "Bytes between two entries of an offset index."),
    ("inter.broker.listener.name", "Listener that the brokers of a cluster use among themselves."),
    ("interval.ms", "How often clients push the metrics."),
    ("leader.replication.throttled.replicas", "Replicas whose serving is throttled, as partition:node, or `*`."),
    ("listener.security.protocol.map", "Security protocol of each listener name."),
    ("listeners", "Names and addresses to listen on."),
    ("local.retention.bytes", "Bytes kept on the local disk where segments are also stored remotely."),
    ("local.retention.ms", "Time kept on the local disk where segments are also stored remotely."),
    ("log.cleaner.backoff.ms", "How long a thread of compaction rests when nothing is due."),
    ("log.cleaner.dedupe.buffer.size", "Most memory for the offset maps of compaction, all threads together."),
    ("log.cleaner.enable", "Whether topics are compacted at all."),
    ("log.cleaner.io.max.bytes.per.second", "Most bytes that compaction reads and writes per second."),
    ("log.cleaner.threads", "Threads that compact, each one log at a time; counts from the next start on."),
    ("log.dir", "One directory for data; `log.dirs` stands before it."),
    ("log.dirs", "Directories for data."),
    (
        "log.flush",
        "When an acknowledged write is on the disk: before its answer (`ack`), at intervals, or when the system likes (`os`).",
    ),
    ("log.flush.scheduler.interval.ms", "How often logs are looked at for `flush.ms`, where `log.flush` is not `ack`."),
    ("log.retention.check.interval.ms", "How often segments are looked at for removal."),
    ("match", "Which clients the subscription is for, as selector=regex."),
    ("max.compaction.lag.ms", "Longest time a record may stay uncompacted."),
    ("max.connection.creation.rate", "New connections a second, all together; more have to wait."),
    ("max.connections", "Connections open at once on a listener."),
    ("max.connections.per.ip", "Connections open at once from one address."),
    ("max.connections.per.ip.overrides", "Other numbers of connections for some addresses, as address:count."),
    ("max.message.bytes", "Largest batch that the topic takes."),
    ("max.request.partition.size.limit", "Most partitions in one answer to DescribeTopicPartitions."),
    ("message.max.bytes", "Largest batch that a topic takes, unless the topic says otherwise."),
    ("message.timestamp.after.max.ms", "How far a record's timestamp may lie in the future."),
    ("message.timestamp.before.max.ms", "How far a record's timestamp may lie in the past."),
    ("message.timestamp.type", "Whose clock counts: the producer's (CreateTime) or the broker's (LogAppendTime)."),
    (
        "metadata.log.dir",
        "Where the metadata of a directory that Apache Kafka wrote is looked for first, when it is taken over.",
    ),
    ("metrics", "Prefixes of the names of the metrics wanted."),
    ("min.cleanable.dirty.ratio", "Share of a log that must be uncompacted before it is compacted."),
    ("min.compaction.lag.ms", "Shortest time a record stays uncompacted."),
    ("min.insync.replicas", "Replicas that must have a write before a producer with acks=all is answered."),
    ("node.id", "Number of this node in its cluster."),
    ("num.partitions", "Partitions of topics whose creation names no number."),
    ("offset.metadata.max.bytes", "Longest text that may be committed with an offset."),
    ("offsets.retention.check.interval.ms", "How often committed offsets past their retention are looked for."),
    ("offsets.retention.minutes", "How long offsets of a group without members are kept."),
    ("offsets.topic.num.partitions", "Partitions of the topic of committed offsets."),
    ("offsets.topic.replication.factor", "Replicas of the topic of committed offsets."),
    ("offsets.topic.segment.bytes", "Segment size of the topic of committed offsets."),
    ("preallocate", "Whether a new segment's file gets its full size at once."),
    ("process.roles", "Roles of this process: broker, controller or both."),
    (
        "queued.max.request.bytes",
        "Bytes of requests read and not yet answered, all connections together; -1 for the built-in limit.",
    ),
    ("quota.window.num", "Windows over which the use of a quota is measured."),
    ("quota.window.size.seconds", "Length of a window over which the use of a quota is measured."),
    ("remote.log.copy.disable", "Whether copying to remote storage is off."),
    ("remote.log.delete.on.disable", "Whether remote data is deleted when remote storage is switched off."),
    ("remote.storage.enable", "Whether segments are stored remotely too."),
    ("retention.bytes", "Bytes of a partition beyond which its oldest segments are removed; -1 for no limit."),
    ("retention.ms", "Age beyond which segments are removed; -1 for no limit."),
    ("root", "Level of this program's log."),
    ("segment.bytes", "Size at which a new segment begins."),
    ("segment.index.bytes", "Most bytes of one index file."),
    ("segment.jitter.ms", "Random time by which segments begin earlier than `segment.ms`."),
    ("segment.ms", "Age at which a new segment begins though the old one is not full."),
    ("socket.request.max.bytes", "Longest request taken."),
    (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "How often transactions that take longer than their timeout are looked for and aborted.",
    ),
    ("transaction.max.timeout.ms", "Longest timeout that a transactional producer may ask for."),
    (
        "transaction.partition.verification.enable",
        "Whether a partition must have been added to a producer's transaction before records of it are taken.",
    ),
    (
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        "How often transactional ids that nobody uses any more are looked for.",
    ),
    ("transaction.state.log.num.partitions", "Partitions of `__transaction_state`; counts when it is made."),
    ("transaction.state.log.replication.factor", "Replicas of `__transaction_state`; at most one per broker."),
    ("transaction.state.log.segment.bytes", "`segment.bytes` of `__transaction_state`; counts when it is made."),
    ("transactional.id.expiration.ms", "A transactional id that is not used for so long is forgotten."),
    (
        "unclean.leader.election.enable",
        "Whether a replica that may lack records can become leader when no other is left.",
    ),
];

/// What a setting is for; a broker setting that only gives a topic setting its default has that one's line. Empty if there is
/// none.
pub fn of(name: &str) -> &'static str {
    if let Ok(at) = DOCS.binary_search_by_key(&name, |(n, _)| n) {
        return DOCS[at].1;
    }
    let gives = TOPIC_KEYS.iter().find(|key| key.synonyms.iter().any(|s| s.name == name));
    match gives {
        Some(key) => of(key.name),
        None if keys::is_ignored(name) => "Known to Kafka, without an effect here.",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::HONOURED;

    #[test]
    fn every_setting_has_its_line() {
        assert!(DOCS.is_sorted_by_key(|(name, _)| name));
        let names = HONOURED.iter().map(|k| k.name).chain(TOPIC_KEYS.iter().map(|k| k.name));
        for name in names {
            assert!(!of(name).is_empty(), "config/docs.rs has no line for {name}");
        }
        assert_eq!(of("log.retention.hours"), of("retention.ms"));
        assert_eq!(of("no.such"), "");
    }
}
