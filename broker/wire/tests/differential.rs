//! Every message and version that the `kafka-protocol` crate knows too: both read the same bytes as the same value, and write them back alike.

mod common;
#[path = "common/debug_tree.rs"]
mod debug_tree;

use bytes::{Bytes, BytesMut};
use causeway_wire::messages;
use common::{described, random, rounds};
use debug_tree::Tree;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use std::collections::BTreeMap;
use std::fmt::Debug;

struct Oracle {
    versions: std::ops::RangeInclusive<i16>,
    /// Decodes, answers what it holds and what it encodes to.
    recode: Recode,
}

type Recode = fn(i16, &mut Bytes) -> Result<(String, BytesMut), String>;

fn oracle<M: Message + Encodable + Decodable + Debug>() -> Oracle {
    Oracle {
        versions: M::VERSIONS.min..=M::VERSIONS.max,
        recode: |version, from| {
            let value = M::decode(from, version).map_err(|e| format!("decode: {e:#}"))?;
            let mut to = BytesMut::new();
            value.encode(&mut to, version).map_err(|e| format!("encode: {e:#}"))?;
            Ok((format!("{value:?}"), to))
        },
    }
}

macro_rules! oracles {
    ($($name:ident)*) => { BTreeMap::from([$((stringify!($name), oracle::<theirs::$name>())),*]) };
}

fn oracles() -> BTreeMap<&'static str, Oracle> {
    oracles! {
        AddOffsetsToTxnRequest AddOffsetsToTxnResponse AddPartitionsToTxnRequest AddPartitionsToTxnResponse
        AlterClientQuotasRequest AlterClientQuotasResponse AlterConfigsRequest AlterConfigsResponse
        AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse AlterReplicaLogDirsRequest
        AlterReplicaLogDirsResponse AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse
        ApiVersionsRequest ApiVersionsResponse ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse
        ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse ConsumerProtocolAssignment
        ConsumerProtocolSubscription CreateAclsRequest CreateAclsResponse CreateDelegationTokenRequest
        CreateDelegationTokenResponse CreatePartitionsRequest CreatePartitionsResponse CreateTopicsRequest
        CreateTopicsResponse DefaultPrincipalData DeleteAclsRequest DeleteAclsResponse DeleteGroupsRequest
        DeleteGroupsResponse DeleteRecordsRequest DeleteRecordsResponse DeleteTopicsRequest DeleteTopicsResponse
        DescribeAclsRequest DescribeAclsResponse DescribeClientQuotasRequest DescribeClientQuotasResponse
        DescribeClusterRequest DescribeClusterResponse DescribeConfigsRequest DescribeConfigsResponse
        DescribeDelegationTokenRequest DescribeDelegationTokenResponse DescribeGroupsRequest DescribeGroupsResponse
        DescribeLogDirsRequest DescribeLogDirsResponse DescribeProducersRequest DescribeProducersResponse
        DescribeQuorumRequest DescribeQuorumResponse DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse
        DescribeTransactionsRequest DescribeTransactionsResponse DescribeUserScramCredentialsRequest
        DescribeUserScramCredentialsResponse ElectLeadersRequest ElectLeadersResponse EndTxnMarker EndTxnRequest
        EndTxnResponse ExpireDelegationTokenRequest ExpireDelegationTokenResponse FetchRequest FetchResponse
        FindCoordinatorRequest FindCoordinatorResponse GetTelemetrySubscriptionsRequest
        GetTelemetrySubscriptionsResponse HeartbeatRequest HeartbeatResponse IncrementalAlterConfigsRequest
        IncrementalAlterConfigsResponse InitProducerIdRequest InitProducerIdResponse JoinGroupRequest
        JoinGroupResponse LeaveGroupRequest LeaveGroupResponse ListConfigResourcesRequest
        ListConfigResourcesResponse ListGroupsRequest ListGroupsResponse ListOffsetsRequest ListOffsetsResponse
        ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse ListTransactionsRequest
        ListTransactionsResponse MetadataRequest MetadataResponse OffsetCommitRequest OffsetCommitResponse
        OffsetDeleteRequest OffsetDeleteResponse OffsetFetchRequest OffsetFetchResponse OffsetForLeaderEpochRequest
        OffsetForLeaderEpochResponse ProduceRequest ProduceResponse PushTelemetryRequest PushTelemetryResponse
        RenewDelegationTokenRequest RenewDelegationTokenResponse SaslAuthenticateRequest SaslAuthenticateResponse
        SaslHandshakeRequest SaslHandshakeResponse SyncGroupRequest SyncGroupResponse TxnOffsetCommitRequest
        TxnOffsetCommitResponse UnregisterBrokerRequest UnregisterBrokerResponse UpdateFeaturesRequest
        UpdateFeaturesResponse WriteTxnMarkersRequest WriteTxnMarkersResponse
    }
}

/// Messages that only we know: later than the other crate (Streams groups), or payloads of internal topics. LeaderChangeMessage it knows, but takes the
/// field `version` for the version to decode.
const OURS_ALONE: &[&str] = &[
    "ConsumerGroupCurrentMemberAssignmentKey",
    "ConsumerGroupCurrentMemberAssignmentValue",
    "ConsumerGroupMemberMetadataKey",
    "ConsumerGroupMemberMetadataValue",
    "ConsumerGroupMetadataKey",
    "ConsumerGroupMetadataValue",
    "ConsumerGroupRegularExpressionKey",
    "ConsumerGroupRegularExpressionValue",
    "ConsumerGroupTargetAssignmentMemberKey",
    "ConsumerGroupTargetAssignmentMemberValue",
    "ConsumerGroupTargetAssignmentMetadataKey",
    "ConsumerGroupTargetAssignmentMetadataValue",
    "GroupMetadataKey",
    "GroupMetadataValue",
    "LeaderChangeMessage",
    "OffsetCommitKey",
    "OffsetCommitValue",
    "ProducerSnapshot",
    "StreamsGroupDescribeRequest",
    "StreamsGroupDescribeResponse",
    "StreamsGroupHeartbeatRequest",
    "StreamsGroupHeartbeatResponse",
    "TransactionLogKey",
    "TransactionLogValue",
];

#[test]
fn both_codecs_agree_on_every_message_and_version() {
    let oracles = oracles();
    let (mut pairs, mut alone) = (0, Vec::new());
    for (name, description) in described() {
        let Some(oracle) = oracles.get(name.as_str()) else {
            alone.push(name);
            continue;
        };
        let ours = messages::ALL.iter().find(|m| m.name == name).unwrap();
        for version in description.versions.versions().filter(|v| oracle.versions.contains(v)) {
            pairs += 1;
            for seed in 0..rounds("CAUSEWAY_DIFFERENTIAL_ROUNDS", 25) {
                let at = format!("{name} v{version} seed {seed}");
                let written = Bytes::from(random(&description, version, seed));
                let (mut from, mut to) = (written.clone(), BytesMut::new());
                let (their_value, theirs) = (oracle.recode)(version, &mut from).unwrap_or_else(|e| panic!("{at}: {e}"));
                assert!(from.is_empty(), "{at}: the other codec leaves {} bytes", from.len());
                (ours.recode)(version, &mut written.clone(), &mut to).unwrap();
                assert_eq!(to, theirs, "{at}");
                let our_value = (ours.show)(version, &mut written.clone()).unwrap();
                Tree::parse(&our_value).includes(&Tree::parse(&their_value)).unwrap_or_else(|e| panic!("{at}: {e}"));
            }
        }
    }
    alone.sort();
    assert_eq!(alone, OURS_ALONE, "messages without an oracle");
    assert!(pairs > 380, "only {pairs} message versions were compared");
}
