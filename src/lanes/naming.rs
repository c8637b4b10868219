//! Which topics of a source are copied, and what they are called on the target.

use crate::config::valid::{Flow, Naming};

/// Where every flow writes its heartbeats, on its target.
pub const HEARTBEATS_TOPIC: &str = "__causeway.heartbeats";
/// What a mirrored heartbeats topic ends with, MirrorMaker 2's name.
const HEARTBEATS_TAIL: &str = ".heartbeats";

/// What a source topic is called on the target; heartbeats always carry their source's alias.
#[must_use]
pub fn target_topic(flow: &Flow, topic: &str) -> String {
    if topic == HEARTBEATS_TOPIC {
        return format!("{}{HEARTBEATS_TAIL}", flow.from);
    }
    match &flow.naming {
        Naming::Identity => topic.to_owned(),
        Naming::Prefixed => format!("{}.{topic}", flow.from),
        Naming::Template(template) => template.replace("{source}", flow.from.as_str()).replace("{topic}", topic),
    }
}

/// Whether a source topic is copied. Internal topics and our own never are, whatever the rules say; heartbeats always are.
/// `aliases` are all clusters of the configuration: a heartbeats topic with one of these in front is itself a mirror.
#[must_use]
pub fn is_copied(flow: &Flow, aliases: &[String], topic: &str, internal: bool) -> bool {
    if topic == HEARTBEATS_TOPIC {
        return true;
    }
    // MirrorMaker 2's hard rules (ReplicationPolicy.isInternalTopic), and our own names begin with `__`
    let reserved = internal
        || topic.starts_with("__")
        || topic.starts_with('.')
        || topic.ends_with(".internal")
        || topic.ends_with("-internal");
    let mirrored_heartbeats =
        topic.strip_suffix(HEARTBEATS_TAIL).is_some_and(|alias| aliases.iter().any(|known| known == alias));
    // under prefixed names a topic that carries the target's alias came from there
    let came_from_target = flow.naming == Naming::Prefixed
        && topic.strip_prefix(flow.to.as_str()).is_some_and(|rest| rest.starts_with('.'));
    !reserved && !mirrored_heartbeats && !came_from_target && flow.topics.matches(topic)
}

/// Settings that are not carried over, MirrorMaker 2's list: they speak of brokers of one cluster, or weaken the target.
const NOT_CARRIED: &[&str] = &[
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
    "message.timestamp.difference.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "message.timestamp.type",
    "unclean.leader.election.enable",
    "min.insync.replicas",
];

/// Whether a topic setting is kept equal at the target.
#[must_use]
pub fn is_carried(setting: &str) -> bool {
    // remote storage and the like are about the source's own machines
    !NOT_CARRIED.contains(&setting) && !setting.starts_with("confluent.") && !setting.starts_with("remote.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn flow(naming: &str) -> Flow {
        let text = format!(
            "[clusters.east]\nbootstrap = \"a:1\"\n[clusters.west]\nbootstrap = \"b:1\"\n\
             [[flows]]\nname = \"f\"\nfrom = \"east\"\nto = \"west\"\ntopics = {{ include = [\"*\"] }}\nnaming = \"{naming}\"\n"
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, text).unwrap();
        let loaded = config::load_from(&config::Sources { file, ..Default::default() }).unwrap();
        loaded.config.flows[0].clone()
    }

    #[test]
    fn internal_and_own_topics_are_never_copied_and_heartbeats_always_are() {
        let (flow, aliases) = (flow("identity"), ["east".to_owned(), "west".to_owned()]);
        for (topic, copied) in [
            ("orders", true),
            ("__consumer_offsets", false),
            ("__causeway.progress.x", false),
            ("mm2-offsets.east.internal", false),
            ("west.heartbeats", false),
            ("my.heartbeats", true),
            (HEARTBEATS_TOPIC, true),
        ] {
            assert_eq!(is_copied(&flow, &aliases, topic, false), copied, "{topic}");
        }
        assert!(!is_copied(&flow, &aliases, "orders", true));
        assert_eq!(target_topic(&flow, HEARTBEATS_TOPIC), "east.heartbeats");
    }

    #[test]
    fn l4_prefixed_names_do_not_go_back_where_they_came_from() {
        let (flow, aliases) = (flow("prefixed"), ["east".to_owned(), "west".to_owned()]);
        assert_eq!(target_topic(&flow, "orders"), "east.orders");
        assert!(is_copied(&flow, &aliases, "westward", false));
        assert!(!is_copied(&flow, &aliases, "west.orders", false));
    }
}
