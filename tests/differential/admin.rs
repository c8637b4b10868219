//! The cluster: brokers, directories, quotas, users, features, quorum, elections, reassignments.

use bytes::Bytes;
use causeway_wire::messages::alter_client_quotas::{
    AlterClientQuotasRequest, OpData, RequestEntityData, RequestEntryData,
};
use causeway_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use causeway_wire::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use causeway_wire::messages::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use causeway_wire::messages::api_versions::ApiVersionsRequest;
use causeway_wire::messages::create_acls::{AclCreation, CreateAclsRequest};
use causeway_wire::messages::delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use causeway_wire::messages::describe_acls::DescribeAclsRequest;
use causeway_wire::messages::describe_client_quotas::{ComponentData, DescribeClientQuotasRequest};
use causeway_wire::messages::describe_cluster::DescribeClusterRequest;
use causeway_wire::messages::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use causeway_wire::messages::describe_quorum::{DescribeQuorumRequest, RequestPartitionData, RequestTopicData};
use causeway_wire::messages::describe_user_scram_credentials::{DescribeUserScramCredentialsRequest, UserName};
use causeway_wire::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use causeway_wire::messages::list_config_resources::ListConfigResourcesRequest;
use causeway_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use causeway_wire::messages::unregister_broker::UnregisterBrokerRequest;
use causeway_wire::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};

use crate::Case;
use crate::peer::Peer;

fn versions(p: &mut Peer, name: &str, version: &str) {
    let request = ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
        ..Default::default()
    };
    p.call(3, &request);
}

fn dirs(p: &mut Peer, topics: &[(&str, i32)]) {
    let one = |(name, partition): &(&str, i32)| DescribableLogDirTopic {
        topic: (*name).into(),
        partitions: vec![*partition],
        ..Default::default()
    };
    let request = DescribeLogDirsRequest { topics: Some(topics.iter().map(one).collect()), ..Default::default() };
    let Some(answer) = p.call(4, &request) else { return };
    let parts: usize = answer.results.iter().flat_map(|r| &r.topics).map(|t| t.partitions.len()).sum();
    p.log(format_args!("{} directories, {parts} partitions", answer.results.len()));
}

fn quota(p: &mut Peer, entity: &[(&str, Option<&str>)], ops: &[(&str, f64, bool)]) {
    let entity = entity.iter().map(|(kind, name)| RequestEntityData {
        entity_type: (*kind).into(),
        entity_name: name.map(str::to_owned),
        ..Default::default()
    });
    let ops = ops.iter().map(|(key, value, remove)| OpData {
        key: (*key).into(),
        value: *value,
        remove: *remove,
        ..Default::default()
    });
    let entry = RequestEntryData { entity: entity.collect(), ops: ops.collect(), ..Default::default() };
    p.call(1, &AlterClientQuotasRequest { entries: vec![entry], ..Default::default() });
}

fn quotas(p: &mut Peer, components: &[(&str, i8, Option<&str>)], strict: bool) {
    let components = components.iter().map(|(kind, how, name)| ComponentData {
        entity_type: (*kind).into(),
        match_type: *how,
        r#match: name.map(str::to_owned),
        ..Default::default()
    });
    let request = DescribeClientQuotasRequest { components: components.collect(), strict, ..Default::default() };
    let Some(answer) = p.call(1, &request) else { return };
    let mut found: Vec<String> = answer
        .entries
        .iter()
        .flatten()
        .map(|e| {
            let who: Vec<String> = e.entity.iter().map(|e| format!("{} {:?}", e.entity_type, e.entity_name)).collect();
            let values: Vec<String> = e.values.iter().map(|v| format!("{}={}", v.key, v.value)).collect();
            format!("{}: {}", who.join("+"), values.join(","))
        })
        .collect();
    found.sort();
    p.log(found.join("; "));
}

fn user(name: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion {
        name: name.into(),
        mechanism,
        iterations,
        salt: Bytes::from_static(b"salt"),
        salted_password: Bytes::from_static(b"salted"),
        ..Default::default()
    }
}

fn users(p: &mut Peer, upsertions: Vec<ScramCredentialUpsertion>, deletions: &[(&str, i8)]) {
    let deletions = deletions.iter().map(|(name, mechanism)| ScramCredentialDeletion {
        name: (*name).into(),
        mechanism: *mechanism,
        ..Default::default()
    });
    let request = AlterUserScramCredentialsRequest { upsertions, deletions: deletions.collect(), ..Default::default() };
    p.call(0, &request);
}

fn user_list(p: &mut Peer, names: &[&str]) {
    let users = names.iter().map(|n| UserName { name: (*n).into(), ..Default::default() }).collect();
    let Some(answer) = p.call(0, &DescribeUserScramCredentialsRequest { users: Some(users), ..Default::default() })
    else {
        return;
    };
    let mut found: Vec<String> =
        answer.results.iter().map(|r| format!("{} {}", r.user, r.credential_infos.len())).collect();
    found.sort();
    p.log(found.join(", "));
}

fn elect(p: &mut Peer, kind: i8, topic: &str, partition: i32) {
    let topic = TopicPartitions { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = ElectLeadersRequest {
        election_type: kind,
        topic_partitions: Some(vec![topic]),
        timeout_ms: 5_000,
        ..Default::default()
    };
    p.call(2, &request);
}

fn reassign(p: &mut Peer, topic: &str, partition: i32, replicas: Option<Vec<i32>>) {
    let partition = ReassignablePartition { partition_index: partition, replicas, ..Default::default() };
    let topic = ReassignableTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    p.call(0, &AlterPartitionReassignmentsRequest { timeout_ms: 5_000, topics: vec![topic], ..Default::default() });
}

fn reassignments(p: &mut Peer, topics: Option<&str>) {
    let topics = topics.map(|name| {
        vec![ListPartitionReassignmentsTopics {
            name: name.into(),
            partition_indexes: vec![0, 9],
            ..Default::default()
        }]
    });
    let Some(answer) = p.call(0, &ListPartitionReassignmentsRequest { topics, ..Default::default() }) else { return };
    p.log(format_args!("{} topics", answer.topics.len()));
}

fn quorum(p: &mut Peer, topic: &str, partition: i32) {
    let partition = RequestPartitionData { partition_index: partition, ..Default::default() };
    let topic = RequestTopicData { topic_name: topic.into(), partitions: vec![partition], ..Default::default() };
    let Some(answer) = p.call(2, &DescribeQuorumRequest { topics: vec![topic], ..Default::default() }) else { return };
    p.log(format_args!("{} topics, {} nodes", answer.topics.len(), answer.nodes.len()));
}

fn feature(p: &mut Peer, name: &str, level: i16, kind: i8, validate_only: bool) {
    let update =
        FeatureUpdateKey { feature: name.into(), max_version_level: level, upgrade_type: kind, ..Default::default() };
    let request =
        UpdateFeaturesRequest { timeout_ms: 5_000, feature_updates: vec![update], validate_only, ..Default::default() };
    p.call(1, &request);
}

fn cluster(p: &mut Peer, version: i16, kind: i8) {
    let request = DescribeClusterRequest { endpoint_type: kind, ..Default::default() };
    let Some(answer) = p.call(version, &request) else { return };
    p.log(format_args!("{} brokers, kind {}", answer.brokers.len(), answer.endpoint_type));
}

fn resources(p: &mut Peer, kinds: &[i8]) {
    let Some(answer) = p.call(1, &ListConfigResourcesRequest { resource_types: kinds.to_vec(), ..Default::default() })
    else {
        return;
    };
    let mut found: Vec<String> = answer
        .config_resources
        .iter()
        .filter(|r| !r.resource_name.starts_with("__"))
        .map(|r| {
            format!(
                "{} {}",
                r.resource_type,
                if [4, 8].contains(&r.resource_type) { "" } else { r.resource_name.as_str() }
            )
        })
        .collect();
    found.sort();
    p.log(found.join(", "));
}

fn move_dir(p: &mut Peer, path: &str, topic: &str, partition: i32) {
    let topic = AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    let dir = AlterReplicaLogDir { path: path.into(), topics: vec![topic], ..Default::default() };
    p.call(2, &AlterReplicaLogDirsRequest { dirs: vec![dir], ..Default::default() });
}

pub const CASES: &[Case] = &[
    ("api versions: a client without a name", |p| versions(p, "", "1")),
    ("api versions: a client without a version", |p| versions(p, "odd", "")),
    ("api versions: a client's name with a space", |p| versions(p, "o d d", "1")),
    ("api versions: a client's name that begins with a dash", |p| versions(p, "-odd", "1")),
    ("api versions: version 0", |p| {
        p.call(0, &ApiVersionsRequest::default());
    }),
    ("log dirs: an unknown topic", |p| dirs(p, &[("nowhere", 0)])),
    ("log dirs: an unknown partition", |p| dirs(p, &[("plain", 9)])),
    ("log dirs: good and bad together", |p| dirs(p, &[("plain", 0), ("nowhere", 0)])),
    ("log dirs: none", |p| dirs(p, &[])),
    ("log dirs: moved to nowhere", |p| move_dir(p, "/no/such/dir", "plain", 0)),
    ("log dirs: moved to a relative place", |p| move_dir(p, "here", "plain", 0)),
    ("cluster: brokers", |p| cluster(p, 1, 1)),
    ("cluster: controllers from a broker", |p| cluster(p, 1, 2)),
    ("cluster: a kind nobody knows", |p| cluster(p, 1, 9)),
    ("cluster: version 0", |p| cluster(p, 0, 1)),
    ("cluster: version 2", |p| cluster(p, 2, 1)),
    ("quotas: set", |p| {
        quota(p, &[("client-id", Some("odd-client"))], &[("producer_byte_rate", 5e6, false)]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        quotas(p, &[("client-id", 0, Some("odd-client"))], false);
    }),
    ("quotas: a key nobody knows", |p| quota(p, &[("client-id", Some("odd-client"))], &[("speed", 5.0, false)])),
    ("quotas: a negative value", |p| {
        quota(p, &[("client-id", Some("odd-client"))], &[("producer_byte_rate", -5.0, false)])
    }),
    ("quotas: zero", |p| quota(p, &[("client-id", Some("odd-client"))], &[("producer_byte_rate", 0.0, false)])),
    ("quotas: half a byte", |p| quota(p, &[("client-id", Some("odd-client"))], &[("producer_byte_rate", 0.5, false)])),
    ("quotas: not a number", |p| {
        quota(p, &[("client-id", Some("odd-client"))], &[("producer_byte_rate", f64::NAN, false)])
    }),
    ("quotas: an entity nobody knows", |p| quota(p, &[("planet", Some("x"))], &[("producer_byte_rate", 5.0, false)])),
    ("quotas: no entity", |p| quota(p, &[], &[("producer_byte_rate", 5.0, false)])),
    ("quotas: an empty name", |p| quota(p, &[("client-id", Some(""))], &[("producer_byte_rate", 5.0, false)])),
    ("quotas: an address that is none", |p| {
        quota(p, &[("ip", Some("not an ip"))], &[("connection_creation_rate", 5.0, false)])
    }),
    ("quotas: a key of another kind", |p| {
        quota(p, &[("ip", Some("127.0.0.9"))], &[("producer_byte_rate", 5.0, false)])
    }),
    ("quotas: an address and a user", |p| {
        quota(p, &[("ip", Some("127.0.0.9")), ("user", Some("u"))], &[("connection_creation_rate", 5.0, false)])
    }),
    ("quotas: one kind twice", |p| {
        quota(p, &[("user", Some("a")), ("user", Some("b"))], &[("producer_byte_rate", 5.0, false)])
    }),
    ("quotas: one key twice", |p| {
        quota(p, &[("user", Some("dup"))], &[("producer_byte_rate", 5.0, false), ("producer_byte_rate", 6.0, true)]);
    }),
    ("quotas: removed that is not", |p| quota(p, &[("user", Some("absent"))], &[("producer_byte_rate", 0.0, true)])),
    ("quotas: removed", |p| {
        quota(p, &[("client-id", Some("odd-client"))], &[("producer_byte_rate", 0.0, true)]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        quotas(p, &[("client-id", 0, Some("odd-client"))], false);
    }),
    ("quotas described: a kind nobody knows", |p| quotas(p, &[("planet", 0, Some("x"))], false)),
    ("quotas described: an empty kind", |p| quotas(p, &[("", 0, Some("x"))], false)),
    ("quotas described: a match nobody knows", |p| quotas(p, &[("user", 9, Some("x"))], false)),
    ("quotas described: exactly, but what", |p| quotas(p, &[("user", 0, None)], false)),
    ("quotas described: the default, with a name", |p| quotas(p, &[("user", 1, Some("x"))], false)),
    ("quotas described: one kind twice", |p| quotas(p, &[("user", 2, None), ("user", 2, None)], false)),
    ("quotas described: all", |p| quotas(p, &[], false)),
    ("users: an unknown one", |p| user_list(p, &["nobody"])),
    ("users: one twice", |p| user_list(p, &["nobody", "nobody"])),
    ("users: an empty name", |p| user_list(p, &[""])),
    ("users: deleted that is not", |p| users(p, Vec::new(), &[("nobody", 1)])),
    ("users: a mechanism nobody knows", |p| users(p, vec![user("u1", 9, 8192)], &[])),
    ("users: too few iterations", |p| users(p, vec![user("u1", 1, 100)], &[])),
    ("users: too many iterations", |p| users(p, vec![user("u1", 1, 1_000_000)], &[])),
    ("users: a name that is empty", |p| users(p, vec![user("", 1, 8192)], &[])),
    ("users: one twice in a request", |p| users(p, vec![user("u1", 1, 8192), user("u1", 1, 8192)], &[])),
    ("users: made and deleted in one", |p| users(p, vec![user("u1", 1, 8192)], &[("u1", 1)])),
    ("users: made, then deleted", |p| {
        users(p, vec![user("u2", 1, 8192), user("u2", 2, 8192)], &[]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        user_list(p, &["u2"]);
        users(p, Vec::new(), &[("u2", 1), ("u2", 2)]);
    }),
    ("elect: an unknown topic", |p| elect(p, 0, "nowhere", 0)),
    ("elect: an unknown partition", |p| elect(p, 0, "plain", 9)),
    ("elect: who leads already", |p| elect(p, 0, "plain", 0)),
    ("elect: unclean where nothing is unclean", |p| elect(p, 1, "plain", 0)),
    ("elect: a kind nobody knows", |p| elect(p, 7, "plain", 0)),
    ("reassign: an unknown topic", |p| reassign(p, "nowhere", 0, Some(vec![1]))),
    ("reassign: an unknown partition", |p| {
        let node = p.node;
        reassign(p, "plain", 9, Some(vec![node]));
    }),
    ("reassign: to a stranger", |p| reassign(p, "plain", 0, Some(vec![99]))),
    ("reassign: to nobody", |p| reassign(p, "plain", 0, Some(Vec::new()))),
    ("reassign: to one twice", |p| {
        let node = p.node;
        reassign(p, "plain", 0, Some(vec![node, node]));
    }),
    ("reassign: to a negative broker", |p| reassign(p, "plain", 0, Some(vec![-1]))),
    ("reassign: as it is", |p| {
        let node = p.node;
        reassign(p, "plain", 0, Some(vec![node]));
    }),
    ("reassign: nothing to cancel", |p| reassign(p, "plain", 0, None)),
    ("reassignments: all", |p| reassignments(p, None)),
    ("reassignments: of one topic", |p| reassignments(p, Some("plain"))),
    ("reassignments: of an unknown topic", |p| reassignments(p, Some("nowhere"))),
    ("quorum: the metadata partition", |p| quorum(p, "__cluster_metadata", 0)),
    ("quorum: another topic", |p| quorum(p, "plain", 0)),
    ("quorum: another partition", |p| quorum(p, "__cluster_metadata", 3)),
    ("features: one nobody knows", |p| feature(p, "no.such.feature", 1, 1, false)),
    ("features: an empty name", |p| feature(p, "", 1, 1, false)),
    ("features: a level too high", |p| feature(p, "transaction.version", 99, 1, false)),
    ("features: a negative level", |p| feature(p, "transaction.version", -2, 1, false)),
    ("features: a kind nobody knows", |p| feature(p, "transaction.version", 2, 9, false)),
    ("features: none", |p| {
        p.call(1, &UpdateFeaturesRequest { timeout_ms: 1_000, ..Default::default() });
    }),
    ("unregister: an unknown broker", |p| {
        p.call(0, &UnregisterBrokerRequest { broker_id: 99, ..Default::default() });
    }),
    ("unregister: a negative broker", |p| {
        p.call(0, &UnregisterBrokerRequest { broker_id: -5, ..Default::default() });
    }),
    ("config resources: client metrics", |p| resources(p, &[16])),
    ("config resources: groups", |p| resources(p, &[32])),
    ("config resources: brokers", |p| resources(p, &[4])),
    ("config resources: a kind nobody knows", |p| resources(p, &[99])),
    ("acls: described", |p| {
        let request = DescribeAclsRequest {
            resource_type_filter: 1,
            pattern_type_filter: 1,
            operation: 1,
            permission_type: 1,
            ..Default::default()
        };
        p.call(3, &request);
    }),
    ("acls: made", |p| {
        let acl = AclCreation {
            resource_type: 2,
            resource_name: "x".into(),
            resource_pattern_type: 3,
            principal: "User:a".into(),
            host: "*".into(),
            operation: 3,
            permission_type: 3,
            ..Default::default()
        };
        p.call(3, &CreateAclsRequest { creations: vec![acl], ..Default::default() });
    }),
    ("acls: deleted", |p| {
        let filter = DeleteAclsFilter {
            resource_type_filter: 2,
            pattern_type_filter: 3,
            operation: 3,
            permission_type: 3,
            ..Default::default()
        };
        p.call(3, &DeleteAclsRequest { filters: vec![filter], ..Default::default() });
    }),
];
