//! Topics: made, grown, deleted, described.

use causeway_wire::Uuid;
use causeway_wire::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use causeway_wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use causeway_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use causeway_wire::messages::describe_topic_partitions::{DescribeTopicPartitionsRequest, RequestCursor, TopicRequest};
use causeway_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use crate::Case;
use crate::peer::Peer;

fn topic(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic { name: name.into(), num_partitions: partitions, replication_factor: factor, ..Default::default() }
}

fn assigned(name: &str, replicas: &[(i32, &[i32])]) -> CreatableTopic {
    let one = |(partition, brokers): &(i32, &[i32])| CreatableReplicaAssignment {
        partition_index: *partition,
        broker_ids: brokers.to_vec(),
        ..Default::default()
    };
    CreatableTopic { assignments: replicas.iter().map(one).collect(), ..topic(name, -1, -1) }
}

fn with(name: &str, key: &str, value: Option<&str>) -> CreatableTopic {
    let config = CreatableTopicConfig { name: key.into(), value: value.map(str::to_owned), ..Default::default() };
    CreatableTopic { configs: vec![config], ..topic(name, 1, 1) }
}

fn make(p: &mut Peer, topics: Vec<CreatableTopic>) {
    create(p, 7, topics, false);
}

fn create(p: &mut Peer, version: i16, topics: Vec<CreatableTopic>, validate_only: bool) {
    let request = CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only, ..Default::default() };
    let Some(answer) = p.call(version, &request) else { return };
    let mut made: Vec<String> = answer
        .topics
        .iter()
        .map(|t| format!("{} {} x {}, id {}", t.name, t.num_partitions, t.replication_factor, !t.topic_id.is_zero()))
        .collect();
    made.sort();
    p.log(made.join("; "));
}

fn remove(p: &mut Peer, topics: &[(&str, Uuid)]) {
    let one = |(name, id): &(&str, Uuid)| DeleteTopicState {
        name: (!name.is_empty()).then(|| (*name).to_owned()),
        topic_id: *id,
        ..Default::default()
    };
    let request =
        DeleteTopicsRequest { topics: topics.iter().map(one).collect(), timeout_ms: 10_000, ..Default::default() };
    let Some(answer) = p.call(6, &request) else { return };
    let mut names: Vec<String> = answer.responses.iter().map(|r| format!("{:?} {}", r.name, r.error_code)).collect();
    names.sort();
    p.log(names.join("; "));
}

fn grow(p: &mut Peer, name: &str, count: i32, replicas: Option<&[&[i32]]>, validate_only: bool) {
    let one = |brokers: &&[i32]| CreatePartitionsAssignment { broker_ids: brokers.to_vec(), ..Default::default() };
    let assignments = replicas.map(|all| all.iter().map(one).collect());
    let topic = CreatePartitionsTopic { name: name.into(), count, assignments, ..Default::default() };
    let request =
        CreatePartitionsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only, ..Default::default() };
    p.call(3, &request);
}

fn metadata(p: &mut Peer, version: i16, topics: Option<Vec<MetadataRequestTopic>>, auto: bool) {
    let request = MetadataRequest { topics, allow_auto_topic_creation: auto, ..Default::default() };
    // How many topics there are is for the state to compare.
    let all = request.topics.as_ref().is_none_or(Vec::is_empty);
    let answer = if all { p.quiet(version, &request) } else { p.call(version, &request) };
    let Some(answer) = answer else { return };
    let mut lines: Vec<String> = answer
        .topics
        .iter()
        .map(|t| format!("{:?} internal {}, {} partitions", t.name, t.is_internal, t.partitions.len()))
        .filter(|line| !line.contains("internal true") && !line.contains("\"__"))
        .collect();
    lines.sort();
    p.log(format_args!("{} brokers, {}", answer.brokers.len(), lines.join("; ")));
}

fn named(name: &str) -> Option<Vec<MetadataRequestTopic>> {
    Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }])
}

fn by_id(id: Uuid) -> Option<Vec<MetadataRequestTopic>> {
    Some(vec![MetadataRequestTopic { name: None, topic_id: id, ..Default::default() }])
}

fn describe(p: &mut Peer, names: &[&str], limit: i32, cursor: Option<(&str, i32)>) {
    let request = DescribeTopicPartitionsRequest {
        topics: names.iter().map(|n| TopicRequest { name: (*n).into(), ..Default::default() }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, index)| RequestCursor {
            topic_name: name.into(),
            partition_index: index,
            ..Default::default()
        }),
        ..Default::default()
    };
    let Some(answer) = p.call(0, &request) else { return };
    let topics: Vec<String> = answer.topics.iter().map(|t| format!("{:?} {}", t.name, t.partitions.len())).collect();
    let next = answer.next_cursor.as_ref().map(|c| (c.topic_name.clone(), c.partition_index));
    p.log(format_args!("{}, next {next:?}", topics.join("; ")));
}

const NO_ID: Uuid = Uuid::ZERO;

pub const CASES: &[Case] = &[
    ("create topics: none", |p| make(p, Vec::new())),
    ("create topics: one that exists", |p| make(p, vec![topic("plain", 1, 1)])),
    ("create topics: an empty name", |p| make(p, vec![topic("", 1, 1)])),
    ("create topics: a name with a space", |p| make(p, vec![topic("a b", 1, 1)])),
    ("create topics: a name with a slash", |p| make(p, vec![topic("a/b", 1, 1)])),
    ("create topics: dot", |p| make(p, vec![topic(".", 1, 1)])),
    ("create topics: two dots", |p| make(p, vec![topic("..", 1, 1)])),
    ("create topics: a name too long", |p| make(p, vec![topic(&"x".repeat(250), 1, 1)])),
    ("create topics: the longest name", |p| create(p, 7, vec![topic(&"x".repeat(249), 1, 1)], true)),
    ("create topics: a name not in ASCII", |p| make(p, vec![topic("größe", 1, 1)])),
    ("create topics: names that collide", |p| {
        make(p, vec![topic("append.time", 1, 1), topic("col_lide", 1, 1), topic("col.lide", 1, 1)])
    }),
    ("create topics: an internal name", |p| make(p, vec![topic("__consumer_offsets", 1, 1)])),
    ("create topics: the metadata topic", |p| create(p, 7, vec![topic("__cluster_metadata", 1, 1)], true)),
    ("create topics: no partitions", |p| make(p, vec![topic("zero", 0, 1)])),
    ("create topics: negative partitions", |p| make(p, vec![topic("negative", -5, 1)])),
    ("create topics: far too many partitions", |p| make(p, vec![topic("many", 1_000_000, 1)])),
    ("create topics: no replicas", |p| make(p, vec![topic("none", 1, 0)])),
    ("create topics: negative replicas", |p| make(p, vec![topic("less", 1, -5)])),
    ("create topics: more replicas than brokers", |p| make(p, vec![topic("copies", 1, 3)])),
    ("create topics: the broker's defaults", |p| make(p, vec![topic("defaults", -1, -1)])),
    ("create topics: the defaults in an old version", |p| create(p, 3, vec![topic("old-defaults", -1, -1)], false)),
    ("create topics: one name twice", |p| make(p, vec![topic("twice", 1, 1), topic("twice", 2, 1)])),
    ("create topics: good and bad together", |p| make(p, vec![topic("good", 1, 1), topic("bad name", 1, 1)])),
    ("create topics: only validated", |p| create(p, 7, vec![topic("tried", 2, 1)], true)),
    ("create topics: only validated and wrong", |p| create(p, 7, vec![topic("tried", 2, 9)], true)),
    ("create topics: version 2", |p| create(p, 2, vec![topic("two", 2, 1)], false)),
    ("create topics: assigned", |p| {
        let node = p.node;
        make(p, vec![assigned("assigned", &[(0, &[node]), (1, &[node])])]);
    }),
    ("create topics: assigned with counts", |p| {
        let node = p.node;
        make(p, vec![CreatableTopic { num_partitions: 1, ..assigned("counted", &[(0, &[node])]) }]);
    }),
    ("create topics: assigned with a factor", |p| {
        let node = p.node;
        make(p, vec![CreatableTopic { replication_factor: 1, ..assigned("factored", &[(0, &[node])]) }]);
    }),
    ("create topics: assigned to nobody", |p| make(p, vec![assigned("nobody", &[(0, &[])])])),
    ("create topics: assigned to a stranger", |p| make(p, vec![assigned("stranger", &[(0, &[99])])])),
    ("create topics: assigned to a negative broker", |p| make(p, vec![assigned("minus", &[(0, &[-1])])])),
    ("create topics: assigned to one twice", |p| {
        let node = p.node;
        make(p, vec![assigned("double", &[(0, &[node, node])])]);
    }),
    ("create topics: assigned from the second partition", |p| {
        let node = p.node;
        make(p, vec![assigned("second", &[(1, &[node])])]);
    }),
    ("create topics: assigned with a hole", |p| {
        let node = p.node;
        make(p, vec![assigned("hole", &[(0, &[node]), (2, &[node])])]);
    }),
    ("create topics: one partition assigned twice", |p| {
        let node = p.node;
        make(p, vec![assigned("same", &[(0, &[node]), (0, &[node])])]);
    }),
    ("create topics: assigned unevenly", |p| {
        let node = p.node;
        make(p, vec![assigned("uneven", &[(0, &[node]), (1, &[node, 99])])]);
    }),
    ("create topics: a setting nobody knows", |p| make(p, vec![with("c1", "no.such.setting", Some("1"))])),
    ("create topics: a setting that is no number", |p| make(p, vec![with("c2", "retention.ms", Some("soon"))])),
    ("create topics: a setting below its least", |p| make(p, vec![with("c3", "retention.ms", Some("-2"))])),
    ("create topics: a setting beyond 64 bits", |p| {
        make(p, vec![with("c4", "retention.ms", Some("99999999999999999999"))])
    }),
    ("create topics: a setting without a value", |p| make(p, vec![with("c5", "retention.ms", None)])),
    ("create topics: an empty value", |p| make(p, vec![with("c6", "retention.ms", Some(""))])),
    ("create topics: a policy nobody knows", |p| make(p, vec![with("c7", "cleanup.policy", Some("shred"))])),
    ("create topics: two policies", |p| make(p, vec![with("c8", "cleanup.policy", Some("compact, delete"))])),
    ("create topics: a codec nobody knows", |p| make(p, vec![with("c9", "compression.type", Some("rar"))])),
    ("create topics: segments too small", |p| make(p, vec![with("c10", "segment.bytes", Some("1000"))])),
    ("create topics: no replica in sync", |p| make(p, vec![with("c11", "min.insync.replicas", Some("0"))])),
    ("create topics: a ratio above one", |p| make(p, vec![with("c12", "min.cleanable.dirty.ratio", Some("1.5"))])),
    ("create topics: a word for a flag", |p| make(p, vec![with("c13", "preallocate", Some("maybe"))])),
    ("create topics: a flag in capitals", |p| make(p, vec![with("c14", "preallocate", Some("TRUE"))])),
    ("create topics: spaces around a number", |p| make(p, vec![with("c15", "retention.ms", Some(" 1000 "))])),
    ("create topics: a timestamp type nobody knows", |p| {
        make(p, vec![with("c16", "message.timestamp.type", Some("Never"))])
    }),
    ("delete topics: one that is not", |p| remove(p, &[("nowhere", NO_ID)])),
    ("delete topics: an illegal name", |p| remove(p, &[("a b", NO_ID)])),
    ("delete topics: an unknown id", |p| remove(p, &[("", Uuid([5; 16]))])),
    ("delete topics: neither name nor id", |p| remove(p, &[("", NO_ID)])),
    ("delete topics: name and id", |p| {
        let id = p.topic_id("plain");
        remove(p, &[("plain", id)]);
    }),
    ("delete topics: none", |p| remove(p, &[])),
    ("delete topics: one twice", |p| {
        p.create("gone-twice", 1, &[]);
        remove(p, &[("gone-twice", NO_ID), ("gone-twice", NO_ID)]);
    }),
    ("delete topics: by name and by id at once", |p| {
        p.create("gone-both", 1, &[]);
        let id = p.topic_id("gone-both");
        remove(p, &[("gone-both", NO_ID), ("", id)]);
    }),
    ("delete topics: by id", |p| {
        p.create("gone", 1, &[]);
        let id = p.topic_id("gone");
        remove(p, &[("", id)]);
    }),
    ("delete topics: good and bad together", |p| {
        p.create("gone-too", 1, &[]);
        remove(p, &[("gone-too", NO_ID), ("nowhere", NO_ID)]);
    }),
    ("create partitions: of no topic", |p| grow(p, "nowhere", 5, None, false)),
    ("create partitions: of an empty name", |p| grow(p, "", 5, None, false)),
    ("create partitions: fewer", |p| grow(p, "plain", 1, None, false)),
    ("create partitions: as many", |p| grow(p, "plain", 2, None, false)),
    ("create partitions: none", |p| grow(p, "plain", 0, None, false)),
    ("create partitions: negative", |p| grow(p, "plain", -3, None, false)),
    ("create partitions: far too many", |p| grow(p, "plain", 20_000, None, true)),
    ("create partitions: only validated", |p| grow(p, "plain", 5, None, true)),
    ("create partitions: assigned to a stranger", |p| grow(p, "plain", 3, Some(&[&[99]]), false)),
    ("create partitions: assigned to nobody", |p| grow(p, "plain", 3, Some(&[&[]]), false)),
    ("create partitions: too few assignments", |p| {
        let node = [p.node];
        grow(p, "plain", 5, Some(&[&node]), false);
    }),
    ("create partitions: too many assignments", |p| {
        let node = [p.node];
        grow(p, "plain", 3, Some(&[&node, &node]), false);
    }),
    ("create partitions: one broker twice", |p| {
        let node = [p.node, p.node];
        grow(p, "plain", 3, Some(&[&node]), false);
    }),
    ("create partitions: another factor", |p| {
        let node = [p.node, 99];
        grow(p, "plain", 3, Some(&[&node]), false);
    }),
    ("create partitions: one topic twice", |p| {
        let topic =
            |count| CreatePartitionsTopic { name: "plain".into(), count, assignments: None, ..Default::default() };
        let request =
            CreatePartitionsRequest { topics: vec![topic(3), topic(4)], timeout_ms: 5_000, ..Default::default() };
        p.call(3, &request);
    }),
    ("create partitions: more", |p| {
        p.create("growing", 1, &[]);
        grow(p, "growing", 3, None, false);
    }),
    ("metadata: of no topic", |p| metadata(p, 12, Some(Vec::new()), false)),
    ("metadata: of all", |p| metadata(p, 12, None, false)),
    ("metadata: an empty list in version 0 is all", |p| metadata(p, 0, Some(Vec::new()), true)),
    ("metadata: an unknown topic", |p| metadata(p, 12, named("nowhere"), false)),
    ("metadata: an illegal name", |p| metadata(p, 12, named("a b"), false)),
    ("metadata: an illegal name to be made", |p| metadata(p, 12, named("a b"), true)),
    ("metadata: an empty name", |p| metadata(p, 12, named(""), true)),
    ("metadata: an unknown id", |p| metadata(p, 12, by_id(Uuid([3; 16])), false)),
    ("metadata: a zero id", |p| metadata(p, 12, by_id(NO_ID), false)),
    ("metadata: by id", |p| {
        let id = p.topic_id("plain");
        metadata(p, 12, by_id(id), false);
    }),
    ("metadata: an id in version 11", |p| metadata(p, 11, by_id(Uuid([3; 16])), false)),
    ("metadata: one topic twice", |p| {
        let twice = [named("plain").unwrap(), named("plain").unwrap()].concat();
        metadata(p, 12, Some(twice), false);
    }),
    ("metadata: version 13", |p| metadata(p, 13, named("plain"), false)),
    ("describe partitions: an unknown topic", |p| describe(p, &["nowhere"], 100, None)),
    ("describe partitions: an illegal name", |p| describe(p, &["a b"], 100, None)),
    ("describe partitions: a limit", |p| describe(p, &["plain", "small"], 1, None)),
    ("describe partitions: no limit at all", |p| describe(p, &["plain"], 0, None)),
    ("describe partitions: a negative limit", |p| describe(p, &["plain"], -4, None)),
    ("describe partitions: from a cursor", |p| describe(p, &["plain", "small"], 100, Some(("plain", 1)))),
    ("describe partitions: a cursor beyond the end", |p| describe(p, &["plain"], 100, Some(("plain", 9)))),
    ("describe partitions: a cursor at another topic", |p| describe(p, &["plain"], 100, Some(("zzz", 0)))),
    ("describe partitions: a negative cursor", |p| describe(p, &["plain"], 100, Some(("plain", -2)))),
];
