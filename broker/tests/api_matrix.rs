//! The table of APIs in `docs/reference/broker-apis.md` is made from what a running node shows and from the headers of `src/api`; here it is made again
//! and compared. After a change: `CAUSEWAY_BLESS=1 cargo test -p causeway-broker --test api_matrix`.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use std::fmt::Write;
use std::path::Path;

use causeway_wire::messages::api_versions::{ApiVersion, ApiVersionsRequest};
use support::{Raw, start};

/// What a node of Apache Kafka 4.3.1 shows to clients (`kafka-broker-api-versions`; telemetry as with a receiver for it).
#[rustfmt::skip]
const KAFKA: &[(i16, &str, i16, i16)] = &[
    (0, "Produce", 0, 13),
    (1, "Fetch", 4, 18),
    (2, "ListOffsets", 1, 11),
    (3, "Metadata", 0, 13),
    (8, "OffsetCommit", 2, 10),
    (9, "OffsetFetch", 1, 10),
    (10, "FindCoordinator", 0, 6),
    (11, "JoinGroup", 0, 9),
    (12, "Heartbeat", 0, 4),
    (13, "LeaveGroup", 0, 5),
    (14, "SyncGroup", 0, 5),
    (15, "DescribeGroups", 0, 6),
    (16, "ListGroups", 0, 5),
    (17, "SaslHandshake", 0, 1),
    (18, "ApiVersions", 0, 4),
    (19, "CreateTopics", 2, 7),
    (20, "DeleteTopics", 1, 6),
    (21, "DeleteRecords", 0, 2),
    (22, "InitProducerId", 0, 5),
    (23, "OffsetForLeaderEpoch", 2, 4),
    (24, "AddPartitionsToTxn", 0, 5),
    (25, "AddOffsetsToTxn", 0, 4),
    (26, "EndTxn", 0, 5),
    (27, "WriteTxnMarkers", 1, 2),
    (28, "TxnOffsetCommit", 0, 5),
    (29, "DescribeAcls", 1, 3),
    (30, "CreateAcls", 1, 3),
    (31, "DeleteAcls", 1, 3),
    (32, "DescribeConfigs", 1, 4),
    (33, "AlterConfigs", 0, 2),
    (34, "AlterReplicaLogDirs", 1, 2),
    (35, "DescribeLogDirs", 1, 5),
    (36, "SaslAuthenticate", 0, 2),
    (37, "CreatePartitions", 0, 3),
    (38, "CreateDelegationToken", 1, 3),
    (39, "RenewDelegationToken", 1, 2),
    (40, "ExpireDelegationToken", 1, 2),
    (41, "DescribeDelegationToken", 1, 3),
    (42, "DeleteGroups", 0, 2),
    (43, "ElectLeaders", 0, 2),
    (44, "IncrementalAlterConfigs", 0, 1),
    (45, "AlterPartitionReassignments", 0, 1),
    (46, "ListPartitionReassignments", 0, 0),
    (47, "OffsetDelete", 0, 0),
    (48, "DescribeClientQuotas", 0, 1),
    (49, "AlterClientQuotas", 0, 1),
    (50, "DescribeUserScramCredentials", 0, 0),
    (51, "AlterUserScramCredentials", 0, 0),
    (55, "DescribeQuorum", 0, 2),
    (57, "UpdateFeatures", 0, 2),
    (60, "DescribeCluster", 0, 2),
    (61, "DescribeProducers", 0, 0),
    (64, "UnregisterBroker", 0, 0),
    (65, "DescribeTransactions", 0, 0),
    (66, "ListTransactions", 0, 2),
    (68, "ConsumerGroupHeartbeat", 0, 1),
    (69, "ConsumerGroupDescribe", 0, 1),
    (71, "GetTelemetrySubscriptions", 0, 0),
    (72, "PushTelemetry", 0, 0),
    (74, "ListConfigResources", 0, 1),
    (75, "DescribeTopicPartitions", 0, 0),
    (76, "ShareGroupHeartbeat", 1, 1),
    (77, "ShareGroupDescribe", 1, 1),
    (78, "ShareFetch", 1, 2),
    (79, "ShareAcknowledge", 1, 2),
    (80, "AddRaftVoter", 0, 1),
    (81, "RemoveRaftVoter", 0, 0),
    (83, "InitializeShareGroupState", 0, 0),
    (84, "ReadShareGroupState", 0, 0),
    (85, "WriteShareGroupState", 0, 1),
    (86, "DeleteShareGroupState", 0, 0),
    (87, "ReadShareGroupStateSummary", 0, 1),
    (88, "StreamsGroupHeartbeat", 0, 0),
    (89, "StreamsGroupDescribe", 0, 0),
    (90, "DescribeShareGroupOffsets", 0, 1),
    (91, "AlterShareGroupOffsets", 0, 0),
    (92, "DeleteShareGroupOffsets", 0, 0),
];

/// Shown on purpose in other ranges than Kafka's.
const OTHER_RANGES: &[&str] = &[];

const HEAD: &str = "\
# APIs of the included broker

Made by `CAUSEWAY_BLESS=1 cargo test -p causeway-broker --test api_matrix` from what a running node shows; a test compares them. What is absent is
absent from ApiVersions too, so that clients refuse it by themselves.

| Key | API | Here | Apache Kafka 4.3.1 | Left out here |
|---|---|---|---|---|
";

fn range(min: i16, max: i16) -> String {
    if min == max { format!("{min}") } else { format!("{min}-{max}") }
}

/// `DescribeLogDirs` as its file is called.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// What the header of an API's file says after *Skipped*.
fn skipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/api/{}.rs", snake(name)));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let header: Vec<&str> = text.lines().map_while(|l| l.strip_prefix("//!")).map(str::trim).collect();
    let header = header.join(" ");
    let (_, skipped) = header.split_once("*Skipped*:").unwrap_or_else(|| panic!("{name} does not say what it skips"));
    skipped.trim().trim_end_matches('.').to_owned()
}

fn table(shown: &[ApiVersion]) -> String {
    let mut out = HEAD.to_owned();
    for (key, name, min, max) in KAFKA {
        let here = shown.iter().find(|api| api.api_key == *key);
        let (here, left) = match here {
            Some(api) => (range(api.min_version, api.max_version), skipped(name)),
            None => ("absent".to_owned(), String::new()),
        };
        writeln!(out, "| {key} | {name} | {here} | {} | {left} |", range(*min, *max)).unwrap();
    }
    out
}

#[tokio::test]
async fn the_table_of_apis_is_what_a_node_shows_in_kafkas_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let shown = Raw::connect(&broker).await.call(2, &ApiVersionsRequest::default()).await.api_keys;
    broker.shutdown().await;
    for api in &shown {
        let (_, name, min, max) = KAFKA.iter().find(|(key, ..)| *key == api.api_key).expect("an API that Kafka shows");
        if !OTHER_RANGES.contains(name) {
            assert_eq!((api.min_version, api.max_version), (*min, *max), "versions of {name}");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/broker-apis.md");
    let made = table(&shown);
    if std::env::var_os("CAUSEWAY_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, made, "{} is out of date: run this test with CAUSEWAY_BLESS=1", path.display());
}
