//! The protocol's APIs, one file each: *Behaviour*, *Versions*, *Skipped*.
//!
//! `ENABLED` is the table that ApiVersions shows and dispatch obeys; what is not in it is not there.

#![allow(clippy::needless_update, reason = "a message may get fields in a later version of the protocol")]

pub mod add_offsets_to_txn;
pub mod add_partitions_to_txn;
pub mod alter_client_quotas;
pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod alter_user_scram_credentials;
pub mod api_versions;
pub mod consumer_group_describe;
pub mod consumer_group_heartbeat;
pub mod create_acls;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_acls;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_acls;
pub mod describe_client_quotas;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod describe_transactions;
pub mod describe_user_scram_credentials;
pub mod elect_leaders;
pub mod end_txn;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod list_transactions;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod sync_group;
mod throttle;
pub mod txn_offset_commit;
pub mod unregister_broker;
pub mod update_features;
pub mod write_txn_markers;

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use causeway_wire::header::RequestHeader;
use causeway_wire::{ApiKey, EncodeError, Message, Request, frame};

use crate::net::Peer;
use crate::net::connection::{Answer, Fault, Pending};
use crate::node::Node;

/// What a handler knows besides the request.
pub struct Context {
    /// The broker.
    pub node: Arc<Node>,
    /// Who asks.
    pub peer: Arc<Peer>,
    /// The request's header.
    pub header: RequestHeader,
}

impl Context {
    /// The request's version.
    pub fn version(&self) -> i16 {
        self.header.api_version
    }

    /// Who the client says it is.
    pub fn client_id(&self) -> &str {
        self.header.client_id.as_deref().unwrap_or_default()
    }
}

macro_rules! apis {
    ($($key:ident => $module:ident,)*) => {
        /// Every API served, with its versions.
        pub const ENABLED: &[(ApiKey, RangeInclusive<i16>)] = &[$((ApiKey::$key, $module::VERSIONS),)*];

        async fn route(key: ApiKey, context: Context, body: Bytes) -> Answer {
            match key {
                $(ApiKey::$key => answer(context, body, async |c, r| $module::handle(c, r).await).await,)*
                _ => Err(not_enabled(&context.header)),
            }
        }
    };
}

apis! {
    Produce => produce,
    Fetch => fetch,
    ListOffsets => list_offsets,
    Metadata => metadata,
    OffsetCommit => offset_commit,
    OffsetFetch => offset_fetch,
    FindCoordinator => find_coordinator,
    JoinGroup => join_group,
    Heartbeat => heartbeat,
    LeaveGroup => leave_group,
    SyncGroup => sync_group,
    DescribeGroups => describe_groups,
    ListGroups => list_groups,
    ApiVersions => api_versions,
    CreateTopics => create_topics,
    DeleteTopics => delete_topics,
    DeleteRecords => delete_records,
    InitProducerId => init_producer_id,
    OffsetForLeaderEpoch => offset_for_leader_epoch,
    AddPartitionsToTxn => add_partitions_to_txn,
    AddOffsetsToTxn => add_offsets_to_txn,
    EndTxn => end_txn,
    WriteTxnMarkers => write_txn_markers,
    TxnOffsetCommit => txn_offset_commit,
    DescribeAcls => describe_acls,
    CreateAcls => create_acls,
    DeleteAcls => delete_acls,
    DescribeConfigs => describe_configs,
    AlterConfigs => alter_configs,
    AlterReplicaLogDirs => alter_replica_log_dirs,
    DescribeLogDirs => describe_log_dirs,
    CreatePartitions => create_partitions,
    DeleteGroups => delete_groups,
    ElectLeaders => elect_leaders,
    IncrementalAlterConfigs => incremental_alter_configs,
    AlterPartitionReassignments => alter_partition_reassignments,
    ListPartitionReassignments => list_partition_reassignments,
    OffsetDelete => offset_delete,
    DescribeClientQuotas => describe_client_quotas,
    AlterClientQuotas => alter_client_quotas,
    DescribeUserScramCredentials => describe_user_scram_credentials,
    AlterUserScramCredentials => alter_user_scram_credentials,
    DescribeQuorum => describe_quorum,
    UpdateFeatures => update_features,
    DescribeCluster => describe_cluster,
    DescribeProducers => describe_producers,
    UnregisterBroker => unregister_broker,
    DescribeTransactions => describe_transactions,
    ListTransactions => list_transactions,
    ListConfigResources => list_config_resources,
    DescribeTopicPartitions => describe_topic_partitions,
    ConsumerGroupHeartbeat => consumer_group_heartbeat,
    ConsumerGroupDescribe => consumer_group_describe,
}

fn versions(key: i16) -> Option<(ApiKey, RangeInclusive<i16>)> {
    ENABLED.iter().find(|(k, _)| i16::from(*k) == key).cloned()
}

fn not_enabled(header: &RequestHeader) -> Fault {
    Fault::NotEnabled { key: header.api_key, version: header.api_version }
}

/// Whether the request may start before those ahead of it are answered.
pub fn starts_early(header: &RequestHeader) -> bool {
    header.api_key == i16::from(ApiKey::Produce)
}

/// Appends what a Produce brings, in order; the future waits for it to be durable.
pub async fn start_produce(context: Context, body: Bytes) -> Result<Pending, Fault> {
    produce::start(context, body).await
}

/// Answers one request.
pub async fn handle(context: Context, body: Bytes) -> Answer {
    let header = &context.header;
    let Some((key, range)) = versions(header.api_key) else { return Err(not_enabled(header)) };
    if !range.contains(&header.api_version) {
        // Kafka closes the connection, except here: a client must be able to ask what is there (KIP-511).
        if key == ApiKey::ApiVersions {
            return encode(&context.header, 0, &api_versions::unsupported()).map(|whole| Some(whole.into()));
        }
        return Err(not_enabled(header));
    }
    if key == ApiKey::Fetch {
        return fetch::answer(context, body).await;
    }
    if DROPPABLE.contains(&key) {
        return route(key, context, body).await;
    }
    // What changes something runs to its end even if the connection does not live to see it.
    let handlers = context.node.handlers.clone();
    let task = handlers.spawn(route(key, context, body));
    task.await.unwrap_or(Err(Fault::Panicked))
}

/// APIs that only look, or only wait: they end with their connection.
const DROPPABLE: &[ApiKey] = &[
    ApiKey::ApiVersions,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::DescribeAcls,
    ApiKey::DescribeClientQuotas,
    ApiKey::DescribeCluster,
    ApiKey::DescribeConfigs,
    ApiKey::DescribeGroups,
    ApiKey::DescribeLogDirs,
    ApiKey::DescribeProducers,
    ApiKey::DescribeQuorum,
    ApiKey::DescribeTopicPartitions,
    ApiKey::DescribeTransactions,
    ApiKey::DescribeUserScramCredentials,
    ApiKey::FindCoordinator,
    ApiKey::Heartbeat,
    ApiKey::ListConfigResources,
    ApiKey::ListGroups,
    ApiKey::ListOffsets,
    ApiKey::ListPartitionReassignments,
    ApiKey::ListTransactions,
    ApiKey::OffsetFetch,
    ApiKey::OffsetForLeaderEpoch,
];

async fn answer<R: Request>(
    context: Context,
    mut body: Bytes,
    handler: impl AsyncFnOnce(&Context, R) -> R::Response,
) -> Answer {
    let request = decode::<R>(&context.header, &mut body)?;
    let (mut response, busy) = throttle::timed(handler(&context, request)).await;
    throttle::charge(&context, busy, &mut response);
    encode(&context.header, context.version(), &response).map(|whole| Some(whole.into()))
}

/// Decodes a request's body.
pub fn decode<R: Request>(header: &RequestHeader, body: &mut Bytes) -> Result<R, Fault> {
    R::decode(header.api_version, body).map_err(|error| Fault::Malformed {
        api: R::NAME.to_owned(),
        version: header.api_version,
        why: error.to_string(),
    })
}

/// Encodes a whole answer frame.
pub fn encode<M: Message>(header: &RequestHeader, version: i16, response: &M) -> Result<Bytes, Fault> {
    let mut buf = BytesMut::new();
    frame::put_response(&mut buf, header_version(header, version)?, version, header.correlation_id, response)
        .map_err(|error| cannot_encode::<M>(version, &error))?;
    Ok(buf.freeze())
}

/// Encodes an answer frame in pieces: what was read from a log is not copied once more.
pub fn encode_parts<M: Message>(header: &RequestHeader, version: i16, response: &M) -> Result<Vec<Bytes>, Fault> {
    frame::response_parts(header_version(header, version)?, version, header.correlation_id, response)
        .map_err(|error| cannot_encode::<M>(version, &error))
}

fn header_version(header: &RequestHeader, version: i16) -> Result<i16, Fault> {
    let key = ApiKey::try_from(header.api_key).map_err(|_| not_enabled(header))?;
    Ok(key.response_header_version(version))
}

fn cannot_encode<M: Message>(version: i16, error: &EncodeError) -> Fault {
    Fault::Encode { api: M::NAME.to_owned(), version, why: error.to_string() }
}
