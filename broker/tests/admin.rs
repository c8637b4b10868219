//! Administration over a real socket: settings of every kind of resource, quotas, users, quorum, elections, reassignments.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use causeway_wire::ErrorCode;
use causeway_wire::messages::alter_client_quotas::{
    self, AlterClientQuotasRequest, OpData, RequestEntityData, RequestEntryData,
};
use causeway_wire::messages::alter_configs::{self, AlterConfigsRequest};
use causeway_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use causeway_wire::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use causeway_wire::messages::alter_user_scram_credentials::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use causeway_wire::messages::create_acls::{AclCreation, CreateAclsRequest};
use causeway_wire::messages::delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use causeway_wire::messages::describe_acls::DescribeAclsRequest;
use causeway_wire::messages::describe_client_quotas::{ComponentData, DescribeClientQuotasRequest};
use causeway_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResult,
};
use causeway_wire::messages::describe_quorum::{DescribeQuorumRequest, RequestPartitionData, RequestTopicData};
use causeway_wire::messages::describe_topic_partitions::{DescribeTopicPartitionsRequest, RequestCursor, TopicRequest};
use causeway_wire::messages::describe_user_scram_credentials::{DescribeUserScramCredentialsRequest, UserName};
use causeway_wire::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use causeway_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use causeway_wire::messages::list_config_resources::ListConfigResourcesRequest;
use causeway_wire::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use causeway_wire::messages::unregister_broker::UnregisterBrokerRequest;
use support::{Raw, start};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;

async fn describe(raw: &mut Raw, kind: i8, name: &str) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: None,
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    raw.call(4, &request).await.results.remove(0)
}

fn value(described: &DescribeConfigsResult, key: &str) -> Option<(Option<String>, i8)> {
    described.configs.iter().find(|c| c.name == key).map(|c| (c.value.clone(), c.config_source))
}

async fn alter(raw: &mut Raw, kind: i8, name: &str, key: &str, operation: i8, value: &str) -> (i16, String) {
    let config = AlterableConfig {
        name: key.into(),
        config_operation: operation,
        value: (operation != DELETE).then(|| value.into()),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = raw.call(1, &request).await.responses.remove(0);
    (answer.error_code, answer.error_message.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_metric_subscriptions_have_settings_that_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let session = "consumer.session.timeout.ms";
    assert_eq!(value(&describe(&mut raw, GROUP, "g").await, session), Some((Some("45000".into()), 5)));
    assert_eq!(alter(&mut raw, GROUP, "g", session, SET, "50000").await.0, 0);
    let (code, why) = alter(&mut raw, GROUP, "g", session, SET, "1").await;
    assert_eq!(code, ErrorCode::INVALID_CONFIG.0);
    assert!(why.contains("group.consumer.min.session.timeout.ms"), "{why}");
    let (code, why) = alter(&mut raw, GROUP, "g", "nope", SET, "1").await;
    assert_eq!((code, why.as_str()), (ErrorCode::INVALID_CONFIG.0, "Unknown group config name: nope"));
    assert_eq!(alter(&mut raw, GROUP, "", session, SET, "50000").await.0, ErrorCode::INVALID_REQUEST.0);
    assert_eq!(alter(&mut raw, CLIENT_METRICS, "m", "interval.ms", SET, "10000").await.0, 0);
    assert_eq!(alter(&mut raw, CLIENT_METRICS, "m", "interval.ms", SET, "1").await.0, ErrorCode::INVALID_REQUEST.0);
    assert_eq!(alter(&mut raw, CLIENT_METRICS, "m", "match", SET, "foo=b").await.0, ErrorCode::INVALID_CONFIG.0);
    broker.shutdown().await;

    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let described = describe(&mut raw, GROUP, "g").await;
    let entry = described.configs.iter().find(|c| c.name == session).unwrap();
    let levels: Vec<i8> = entry.synonyms.iter().map(|s| s.source).collect();
    assert_eq!((entry.value.as_deref(), entry.config_source, levels), (Some("50000"), 8, vec![8, 5]));
    assert_eq!(value(&describe(&mut raw, CLIENT_METRICS, "m").await, "interval.ms"), Some((Some("10000".into()), 7)));
    let old = raw.call(0, &ListConfigResourcesRequest::default()).await;
    assert_eq!(old.config_resources.iter().map(|r| r.resource_name.as_str()).collect::<Vec<_>>(), ["m"]);
    let all = raw.call(1, &ListConfigResourcesRequest::default()).await;
    let pair =
        |kind, name: &str| all.config_resources.iter().any(|r| r.resource_type == kind && r.resource_name == name);
    assert!(pair(GROUP, "g") && pair(CLIENT_METRICS, "m") && pair(BROKER, "1") && pair(BROKER_LOGGER, "1"));
    let unknown = ListConfigResourcesRequest { resource_types: vec![99], ..Default::default() };
    assert_eq!(raw.call(1, &unknown).await.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    assert_eq!(alter(&mut raw, CLIENT_METRICS, "m", "interval.ms", DELETE, "").await.0, 0);
    assert!(raw.call(0, &ListConfigResourcesRequest::default()).await.config_resources.is_empty());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn described_settings_are_whole_and_documented_and_bad_resources_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 1, &[("retention.ms", "5")]).await, 0);
    for (kind, name) in [(TOPIC, "t"), (BROKER, "1"), (GROUP, "g"), (CLIENT_METRICS, "m"), (BROKER_LOGGER, "1")] {
        let described = describe(&mut raw, kind, name).await;
        assert_eq!(described.error_code, 0);
        assert!(!described.configs.is_empty());
        // Loggers have nothing but a level, as in Kafka.
        for config in described.configs.iter().filter(|_| kind != BROKER_LOGGER) {
            assert!(config.documentation.as_ref().is_some_and(|d| !d.is_empty()), "{}", config.name);
            assert!(config.config_type > 0, "{}", config.name);
            let first = config.synonyms.first().map(|s| s.source);
            assert!(first.is_none_or(|source| source == config.config_source), "{}", config.name);
        }
    }
    let shown = describe(&mut raw, TOPIC, "t").await;
    assert_eq!(value(&shown, "retention.ms"), Some((Some("5".into()), 1)));
    assert_eq!(value(&shown, "segment.bytes"), Some((Some("1073741824".into()), 5)));
    for (kind, name) in
        [(BROKER, "7"), (BROKER, "x"), (GROUP, ""), (CLIENT_METRICS, ""), (BROKER_LOGGER, ""), (99, "x")]
    {
        assert_eq!(describe(&mut raw, kind, name).await.error_code, ErrorCode::INVALID_REQUEST.0, "{kind} {name:?}");
    }
    assert_eq!(describe(&mut raw, TOPIC, "no").await.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let (code, _) = alter(&mut raw, BROKER_LOGGER, "1", "root", SET, "DEBUG").await;
    assert_eq!(code, ErrorCode::INVALID_REQUEST.0, "the log is that of this test");
    let loggers = describe(&mut raw, BROKER_LOGGER, "1").await;
    assert!(loggers.configs.iter().any(|c| c.name == "root" && c.config_source == 6 && !c.read_only));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_alter_configs_takes_back_what_it_does_not_name() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 1, &[("retention.ms", "5"), ("segment.ms", "7")]).await, 0);
    let config = |name: &str, value: Option<&str>| alter_configs::AlterableConfig {
        name: name.into(),
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let request = |configs, validate_only| AlterConfigsRequest {
        resources: vec![alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "t".into(),
            configs,
            ..Default::default()
        }],
        validate_only,
        ..Default::default()
    };
    let only = raw.call(2, &request(vec![config("retention.ms", Some("9"))], true)).await;
    assert_eq!(only.responses[0].error_code, 0);
    assert_eq!(value(&describe(&mut raw, TOPIC, "t").await, "retention.ms"), Some((Some("5".into()), 1)));
    let done = raw.call(2, &request(vec![config("retention.ms", Some("9"))], false)).await;
    assert_eq!(done.responses[0].error_code, 0);
    let shown = describe(&mut raw, TOPIC, "t").await;
    assert_eq!(value(&shown, "retention.ms"), Some((Some("9".into()), 1)));
    assert_eq!(value(&shown, "segment.ms"), Some((Some("604800000".into()), 5)));
    let null = raw.call(2, &request(vec![config("retention.ms", None)], false)).await;
    assert_eq!(null.responses[0].error_code, ErrorCode::INVALID_REQUEST.0);
    broker.shutdown().await;
}

fn quota(parts: &[(&str, Option<&str>)], key: &str, value: Option<f64>) -> AlterClientQuotasRequest {
    let part = |(kind, name): &(&str, Option<&str>)| RequestEntityData {
        entity_type: (*kind).into(),
        entity_name: name.map(str::to_owned),
        ..Default::default()
    };
    let op =
        OpData { key: key.into(), value: value.unwrap_or_default(), remove: value.is_none(), ..Default::default() };
    let entry = RequestEntryData { entity: parts.iter().map(part).collect(), ops: vec![op], ..Default::default() };
    AlterClientQuotasRequest { entries: vec![entry], ..Default::default() }
}

async fn quotas_of_client(raw: &mut Raw, name: &str) -> Vec<(String, f64)> {
    let component = ComponentData {
        entity_type: "client-id".into(),
        match_type: 0,
        r#match: Some(name.into()),
        ..Default::default()
    };
    let request = DescribeClientQuotasRequest { components: vec![component], strict: false, ..Default::default() };
    let answer = raw.call(1, &request).await;
    assert_eq!(answer.error_code, 0);
    let entries = answer.entries.unwrap();
    entries.iter().flat_map(|e| &e.values).map(|v| (v.key.clone(), v.value)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_are_set_found_kept_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let set = quota(&[("client-id", Some("c"))], "producer_byte_rate", Some(4096.0));
    let only = AlterClientQuotasRequest { validate_only: true, ..set.clone() };
    assert_eq!(raw.call(1, &only).await.entries[0].error_code, 0);
    assert!(quotas_of_client(&mut raw, "c").await.is_empty());
    let done: alter_client_quotas::AlterClientQuotasResponse = raw.call(1, &set).await;
    assert_eq!((done.entries[0].error_code, done.entries[0].entity[0].entity_name.as_deref()), (0, Some("c")));
    let bad = raw.call(0, &quota(&[("client-id", Some("c"))], "nope", Some(1.0))).await;
    assert_eq!(bad.entries[0].error_code, ErrorCode::INVALID_REQUEST.0);
    broker.shutdown().await;
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(quotas_of_client(&mut raw, "c").await, [("producer_byte_rate".to_owned(), 4096.0)]);
    assert_eq!(
        raw.call(1, &quota(&[("client-id", Some("c"))], "producer_byte_rate", None)).await.entries[0].error_code,
        0
    );
    assert!(quotas_of_client(&mut raw, "c").await.is_empty());
    let odd = ComponentData { entity_type: "planet".into(), match_type: 2, r#match: None, ..Default::default() };
    let odd = DescribeClientQuotasRequest { components: vec![odd], ..Default::default() };
    assert_eq!(raw.call(1, &odd).await.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_stored_without_anything_to_log_in_with() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let salted = b"a salted password to find".to_vec();
    let upsertion = ScramCredentialUpsertion {
        name: "u".into(),
        mechanism: 1,
        iterations: 8192,
        salt: b"salt".to_vec().into(),
        salted_password: salted.clone().into(),
        ..Default::default()
    };
    let upsert = AlterUserScramCredentialsRequest { upsertions: vec![upsertion], ..Default::default() };
    assert_eq!(raw.call(0, &upsert).await.results[0].error_code, 0);
    broker.shutdown().await;
    let stored = std::fs::read(dir.path().join("causeway-meta.log")).unwrap();
    let hex: String = salted.iter().map(|b| format!("{b:02x}")).collect();
    let text = String::from_utf8_lossy(&stored);
    assert!(text.contains("stored_key") && !text.contains(&hex) && !text.contains("salted password"));

    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let all = raw.call(0, &DescribeUserScramCredentialsRequest { users: None, ..Default::default() }).await;
    let info = &all.results[0].credential_infos[0];
    assert_eq!((all.results[0].user.as_str(), info.mechanism, info.iterations), ("u", 1, 8192));
    let named = |names: &[&str]| DescribeUserScramCredentialsRequest {
        users: Some(names.iter().map(|n| UserName { name: (*n).into(), ..Default::default() }).collect()),
        ..Default::default()
    };
    let unknown = raw.call(0, &named(&["nobody"])).await;
    assert_eq!(unknown.results[0].error_code, ErrorCode::RESOURCE_NOT_FOUND.0);
    let twice = raw.call(0, &named(&["u", "u"])).await;
    assert_eq!(twice.results[0].error_code, ErrorCode::DUPLICATE_RESOURCE.0);
    let deletion = ScramCredentialDeletion { name: "u".into(), mechanism: 1, ..Default::default() };
    let delete = AlterUserScramCredentialsRequest { deletions: vec![deletion], ..Default::default() };
    assert_eq!(raw.call(0, &delete).await.results[0].error_code, 0);
    assert_eq!(raw.call(0, &delete).await.results[0].error_code, ErrorCode::RESOURCE_NOT_FOUND.0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_more_than_one_node_is_answered_as_a_cluster_of_one_would() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 2, &[]).await, 0);

    let of = |topic: &str, partitions: &[i32]| {
        vec![TopicPartitions { topic: topic.into(), partitions: partitions.to_vec(), ..Default::default() }]
    };
    let asked = ElectLeadersRequest { topic_partitions: Some(of("t", &[0, 5])), ..Default::default() };
    let elected = raw.call(2, &asked).await;
    let codes: Vec<i16> = elected.replica_election_results[0].partition_result.iter().map(|p| p.error_code).collect();
    assert_eq!(codes, [ErrorCode::ELECTION_NOT_NEEDED.0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0]);
    let all = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
    assert!(raw.call(2, &all).await.replica_election_results.is_empty());

    let reassign = |partition: i32, replicas: Option<Vec<i32>>| AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: "t".into(),
            partitions: vec![ReassignablePartition { partition_index: partition, replicas, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    for (partition, replicas, code) in [
        (0, Some(vec![1]), ErrorCode::NONE),
        (0, Some(vec![9999]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (0, Some(vec![]), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
        (0, None, ErrorCode::NO_REASSIGNMENT_IN_PROGRESS),
        (7, Some(vec![1]), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        let answer = raw.call(1, &reassign(partition, replicas.clone())).await;
        assert_eq!(answer.responses[0].partitions[0].error_code, code.0, "{partition} {replicas:?}");
    }
    assert!(raw.call(0, &ListPartitionReassignmentsRequest::default()).await.topics.is_empty());

    let quorum = |topic: &str| DescribeQuorumRequest {
        topics: vec![RequestTopicData {
            topic_name: topic.into(),
            partitions: vec![RequestPartitionData::default()],
            ..Default::default()
        }],
        ..Default::default()
    };
    let shown = raw.call(2, &quorum("__cluster_metadata")).await;
    let partition = &shown.topics[0].partitions[0];
    assert_eq!((partition.leader_id, partition.current_voters[0].replica_id, shown.nodes[0].node_id), (1, 1, 1));
    assert!(partition.high_watermark > 0);
    let other = raw.call(0, &quorum("t")).await;
    assert_eq!(other.topics[0].partitions[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    let gone = raw.call(0, &UnregisterBrokerRequest { broker_id: 9, ..Default::default() }).await;
    assert_eq!(gone.error_code, ErrorCode::BROKER_ID_NOT_REGISTERED.0);

    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acls_are_disabled_and_partitions_lie_where_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 2, &[]).await, 0);
    let acls = raw.call(3, &DescribeAclsRequest::default()).await;
    assert_eq!(acls.error_code, ErrorCode::SECURITY_DISABLED.0);
    let create = CreateAclsRequest { creations: vec![AclCreation::default()], ..Default::default() };
    assert_eq!(raw.call(3, &create).await.results[0].error_code, ErrorCode::SECURITY_DISABLED.0);
    let delete = DeleteAclsRequest { filters: vec![DeleteAclsFilter::default()], ..Default::default() };
    assert_eq!(raw.call(3, &delete).await.filter_results[0].error_code, ErrorCode::SECURITY_DISABLED.0);

    let home = std::path::absolute(dir.path()).unwrap().display().to_string();
    let to = |path: &str, partition: i32| AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: path.into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: "t".into(),
                partitions: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    for (path, partition, code) in [
        (home.as_str(), 0, ErrorCode::NONE),
        (home.as_str(), 9, ErrorCode::REPLICA_NOT_AVAILABLE),
        ("/no/such/dir", 0, ErrorCode::LOG_DIR_NOT_FOUND),
    ] {
        let answer = raw.call(2, &to(path, partition)).await;
        assert_eq!(answer.results[0].partitions[0].error_code, code.0, "{path} {partition}");
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_described_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    for (name, partitions) in [("a", 3), ("b", 2), ("c", 1)] {
        assert_eq!(raw.create(name, partitions, &[]).await, 0);
    }
    let mut request = DescribeTopicPartitionsRequest { response_partition_limit: 2, ..Default::default() };
    let mut seen = Vec::new();
    for _ in 0..10 {
        let page = raw.call(0, &request).await;
        let count: usize = page.topics.iter().map(|t| t.partitions.len()).sum();
        assert!((1..=2).contains(&count), "{count}");
        for topic in &page.topics {
            let name = topic.name.clone().unwrap();
            seen.extend(topic.partitions.iter().map(|p| format!("{name}{}", p.partition_index)));
        }
        let Some(next) = page.next_cursor else { break };
        request.cursor = Some(RequestCursor {
            topic_name: next.topic_name,
            partition_index: next.partition_index,
            ..Default::default()
        });
    }
    assert_eq!(seen, ["a0", "a1", "a2", "b0", "b1", "c0"]);
    let name = |name: &str| TopicRequest { name: name.into(), ..Default::default() };
    let some = DescribeTopicPartitionsRequest { topics: vec![name("c"), name("no")], ..Default::default() };
    let codes: Vec<i16> = raw.call(0, &some).await.topics.iter().map(|t| t.error_code).collect();
    assert_eq!(codes, [0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0]);
    let cursor = RequestCursor { topic_name: "c".into(), partition_index: -1, ..Default::default() };
    let bad = DescribeTopicPartitionsRequest { cursor: Some(cursor), ..some };
    assert!(raw.call(0, &bad).await.topics.iter().all(|t| t.error_code == ErrorCode::INVALID_REQUEST.0));
    broker.shutdown().await;
}
