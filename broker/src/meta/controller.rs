//! The controller's rules: which metadata records a request leads to, or why it is refused. Pure.

use causeway_wire::{ErrorCode, Uuid};

use super::{MetaImage, MetaRecord};
use crate::config::effective::Settings;
use crate::config::topic_keys;

/// Longest topic name: its directory name with a partition number must stay below 255 bytes.
const TOPIC_NAME_MAX: usize = 249;
/// Most partitions one request may make; Kafka's controller draws the same line.
pub const PARTITIONS_PER_REQUEST_MAX: i32 = 10_000;

/// Where Kafka's quorum keeps its log; no client makes it.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// A refusal: code and words for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// Words for a person.
    pub message: String,
}

/// Shorthand for a refusal.
pub fn refuse(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

/// What CreateTopics asks for one topic, -1 standing for the broker's default.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Name.
    pub name: String,
    /// Number of partitions or -1.
    pub partitions: i32,
    /// Replicas of each or -1.
    pub replication_factor: i16,
    /// Manual assignment by partition.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Settings.
    pub configs: Vec<(String, Option<String>)>,
}

/// Broker-wide facts that topic creation needs.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Live brokers.
    pub brokers: Vec<i32>,
    /// `num.partitions`.
    pub partitions: i32,
    /// `default.replication.factor`.
    pub replication_factor: i16,
}

/// Whether a name may be a topic's: it becomes a directory's name.
pub fn check_topic_name(name: &str) -> Result<(), Refusal> {
    let bad = |why: String| Err(refuse(ErrorCode::INVALID_TOPIC_EXCEPTION, why));
    if name.is_empty() {
        return bad("Topic name is invalid: the empty string is not allowed".into());
    }
    if name == "." || name == ".." {
        return bad("Topic name is invalid: '.' or '..' is not allowed".into());
    }
    if name.len() > TOPIC_NAME_MAX {
        return bad(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length {TOPIC_NAME_MAX}"
        ));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return bad(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// Records for one new topic, and its partition count and replication factor; `room` is how many partitions the request
/// may still make. `before` is what there was when the request came.
pub fn create_topic(
    image: &MetaImage,
    before: &MetaImage,
    defaults: &Defaults,
    topic: &NewTopic,
    id: Uuid,
    room: usize,
) -> Result<(Vec<MetaRecord>, usize, usize), Refusal> {
    check_topic_name(&topic.name)?;
    if topic.name == METADATA_TOPIC {
        return Err(refuse(
            ErrorCode::INVALID_REQUEST,
            format!("Creation of internal topic {METADATA_TOPIC} is prohibited."),
        ));
    }
    // Before the costlier checks: a request may name a million topics.
    if room == 0 {
        return Err(too_many());
    }
    if image.topic(&topic.name).is_some() {
        return Err(refuse(ErrorCode::TOPIC_ALREADY_EXISTS, format!("Topic '{}' already exists.", topic.name)));
    }
    // Metrics of both would have one name: Kafka refuses the second, unless one request asks for both.
    let flat = topic.name.replace('.', "_");
    if topic.name.contains(['.', '_'])
        && let Some(other) = before.topics().find(|t| t.name.replace('.', "_") == flat)
    {
        return Err(refuse(
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            format!("Topic '{}' collides with existing topic: {}", topic.name, other.name),
        ));
    }
    let partitions = if topic.assignments.is_empty() { automatic(defaults, topic)? } else { manual(defaults, topic)? };
    if partitions.len() > room {
        return Err(too_many());
    }
    let mut configs = Settings::new();
    for (key, value) in &topic.configs {
        let Some(value) = value else {
            return Err(refuse(
                ErrorCode::INVALID_CONFIG,
                format!("Null value not supported for topic configs: {key}"),
            ));
        };
        topic_keys::check(key, value).map_err(|why| refuse(ErrorCode::INVALID_CONFIG, why))?;
        configs.insert(key.clone(), value.clone());
    }
    let (count, factor) = (partitions.len(), partitions.first().map_or(0, Vec::len));
    let record = MetaRecord::Topic { name: topic.name.clone(), id: id.to_string(), partitions, configs };
    Ok((vec![record], count, factor))
}

/// The quota of partitions made or deleted a second is used up (KIP-599).
pub fn throttled() -> Refusal {
    refuse(ErrorCode::THROTTLING_QUOTA_EXCEEDED, "The throttling quota has been exceeded.")
}

fn too_many() -> Refusal {
    refuse(ErrorCode::POLICY_VIOLATION, "Excessively large number of partitions per request.")
}

fn automatic(defaults: &Defaults, topic: &NewTopic) -> Result<Vec<Vec<i32>>, Refusal> {
    let count = if topic.partitions == -1 { defaults.partitions } else { topic.partitions };
    if count <= 0 {
        return Err(refuse(
            ErrorCode::INVALID_PARTITIONS,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    if count > PARTITIONS_PER_REQUEST_MAX {
        return Err(too_many());
    }
    let factor = if topic.replication_factor == -1 { defaults.replication_factor } else { topic.replication_factor };
    if factor <= 0 {
        return Err(refuse(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    place(defaults, count, factor)
}

fn place(defaults: &Defaults, count: i32, factor: i16) -> Result<Vec<Vec<i32>>, Refusal> {
    let (brokers, factor) = (&defaults.brokers, factor as usize);
    if factor > brokers.len() {
        return Err(refuse(
            ErrorCode::INVALID_REPLICATION_FACTOR,
            format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be \
                 reached because only {} broker(s) are registered.",
                brokers.len()
            ),
        ));
    }
    Ok((0..count as usize).map(|p| (0..factor).map(|r| brokers[(p + r) % brokers.len()]).collect()).collect())
}

fn manual(defaults: &Defaults, topic: &NewTopic) -> Result<Vec<Vec<i32>>, Refusal> {
    let bad = |why: String| Err(refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    if topic.replication_factor != -1 {
        return Err(refuse(
            ErrorCode::INVALID_REQUEST,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        ));
    }
    if topic.partitions != -1 {
        return Err(refuse(
            ErrorCode::INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        ));
    }
    let mut sorted = topic.assignments.clone();
    sorted.sort();
    let mut out: Vec<Vec<i32>> = Vec::new();
    for (expected, (index, replicas)) in sorted.into_iter().enumerate() {
        if index != expected as i32 {
            return bad("partitions should be a consecutive 0-based integer sequence".into());
        }
        check_replicas(defaults, &replicas)?;
        if out.first().is_some_and(|first| first.len() != replicas.len()) {
            return bad("all partitions need the same number of replicas".into());
        }
        out.push(replicas);
    }
    Ok(out)
}

/// Whether a list of replicas may be a partition's.
pub fn check_replicas(defaults: &Defaults, replicas: &[i32]) -> Result<(), Refusal> {
    let bad = |why: String| Err(refuse(ErrorCode::INVALID_REPLICA_ASSIGNMENT, why));
    if replicas.is_empty() {
        return bad("The manual partition assignment includes an empty replica list.".into());
    }
    for (i, replica) in replicas.iter().enumerate() {
        if replicas[..i].contains(replica) {
            return bad(format!("The manual partition assignment includes the broker {replica} more than once."));
        }
        if !defaults.brokers.contains(replica) {
            return bad(format!(
                "The manual partition assignment includes broker {replica}, but no such broker is registered."
            ));
        }
    }
    Ok(())
}

/// Records that grow a topic to `count` partitions; each of `assignments` names the replicas of one new partition.
pub fn create_partitions(
    image: &MetaImage,
    defaults: &Defaults,
    name: &str,
    count: i32,
    assignments: Option<&[Vec<i32>]>,
) -> Result<Vec<MetaRecord>, Refusal> {
    let Some(topic) = image.topic(name) else {
        return Err(refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "This server does not host this topic-partition."));
    };
    let now = topic.partitions.len() as i32;
    let invalid = |why: String| Err(refuse(ErrorCode::INVALID_PARTITIONS, why));
    if count == now {
        return invalid(format!("Topic already has {now} partition(s)."));
    }
    if count < now {
        return invalid(format!(
            "The topic {name} currently has {now} partition(s); {count} would not be an increase."
        ));
    }
    let additional = count - now;
    if additional > PARTITIONS_PER_REQUEST_MAX {
        return Err(too_many());
    }
    let factor = topic.partitions.first().map_or(1, |p| p.replicas.len()) as i16;
    let added = match assignments {
        None => place(defaults, additional, factor)?,
        Some(given) => {
            if given.len() as i32 != additional {
                return Err(refuse(
                    ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                    format!(
                        "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                        given.len()
                    ),
                ));
            }
            for replicas in given {
                check_replicas(defaults, replicas)?;
                if replicas.len() as i16 != factor {
                    return Err(refuse(
                        ErrorCode::INVALID_REPLICA_ASSIGNMENT,
                        "The manual partition assignment has a replication factor that differs from the topic's.",
                    ));
                }
            }
            given.to_vec()
        }
    };
    Ok(vec![MetaRecord::Partitions { name: name.to_owned(), added }])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid([9; 16]);

    fn defaults() -> Defaults {
        Defaults { brokers: vec![1], partitions: 3, replication_factor: 1 }
    }

    fn topic(name: &str, partitions: i32, factor: i16) -> NewTopic {
        NewTopic { name: name.into(), partitions, replication_factor: factor, ..NewTopic::default() }
    }

    fn create(image: &mut MetaImage, topic: &NewTopic) -> Result<usize, ErrorCode> {
        let (records, count, _) = create_topic(image, image, &defaults(), topic, ID, 10).map_err(|r| r.code)?;
        records.iter().for_each(|r| image.apply(r));
        Ok(count)
    }

    #[test]
    fn minus_one_means_the_brokers_default() {
        assert_eq!(create(&mut MetaImage::default(), &topic("t", -1, -1)), Ok(3));
    }

    #[test]
    fn what_kafka_refuses_is_refused_with_its_code() {
        let mut image = MetaImage::default();
        create(&mut image, &topic("a.b", 1, 1)).unwrap();
        let mut check = |t: NewTopic, code: ErrorCode| assert_eq!(create(&mut image, &t), Err(code), "{t:?}");
        check(topic("a.b", 1, 1), ErrorCode::TOPIC_ALREADY_EXISTS);
        check(topic("a_b", 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION);
        for name in ["", ".", "..", "a/b", "ä", &"x".repeat(250)] {
            check(topic(name, 1, 1), ErrorCode::INVALID_TOPIC_EXCEPTION);
        }
        check(topic("n", 0, 1), ErrorCode::INVALID_PARTITIONS);
        check(topic("n", 1, 2), ErrorCode::INVALID_REPLICATION_FACTOR);
        check(topic("n", 1, 0), ErrorCode::INVALID_REPLICATION_FACTOR);
        let with = |configs: &[(&str, Option<&str>)], assignments: &[(i32, &[i32])]| NewTopic {
            configs: configs.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect(),
            assignments: assignments.iter().map(|(p, r)| (*p, r.to_vec())).collect(),
            ..topic("n", -1, -1)
        };
        check(with(&[("no.such", Some("1"))], &[]), ErrorCode::INVALID_CONFIG);
        check(with(&[("retention.ms", None)], &[]), ErrorCode::INVALID_CONFIG);
        check(with(&[("retention.ms", Some("soon"))], &[]), ErrorCode::INVALID_CONFIG);
        check(with(&[], &[(0, &[1]), (2, &[1])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
        check(with(&[], &[(0, &[1, 1])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
        check(with(&[], &[(0, &[7])]), ErrorCode::INVALID_REPLICA_ASSIGNMENT);
        check(NewTopic { partitions: 1, ..with(&[], &[(0, &[1])]) }, ErrorCode::INVALID_REQUEST);
        assert_eq!(create(&mut image, &with(&[], &[(1, &[1]), (0, &[1])])), Ok(2));
    }

    #[test]
    fn a_request_makes_no_more_partitions_than_it_has_room_for() {
        let image = MetaImage::default();
        let make = |count, room| {
            create_topic(&image, &image, &defaults(), &topic("t", count, 1), ID, room).map_err(|r| r.code)
        };
        assert!(make(10, 10).is_ok());
        assert_eq!(make(11, 10), Err(ErrorCode::POLICY_VIOLATION));
        assert_eq!(make(1, 0), Err(ErrorCode::POLICY_VIOLATION));
    }

    #[test]
    fn partitions_only_grow() {
        let mut image = MetaImage::default();
        create(&mut image, &topic("t", 2, 1)).unwrap();
        let grow = |count, given: Option<&[Vec<i32>]>| {
            create_partitions(&image, &defaults(), "t", count, given).map_err(|r| r.code)
        };
        assert_eq!(grow(2, None), Err(ErrorCode::INVALID_PARTITIONS));
        assert_eq!(grow(1, None), Err(ErrorCode::INVALID_PARTITIONS));
        assert_eq!(grow(4, Some(&[vec![1]])), Err(ErrorCode::INVALID_REPLICA_ASSIGNMENT));
        let added = vec![vec![1], vec![1]];
        assert_eq!(grow(4, None), Ok(vec![MetaRecord::Partitions { name: "t".into(), added }]));
    }
}
