//! DescribeCluster (60).
//!
//! *Behaviour*: this node as broker and controller, at the address of the listener that was asked by.
//! *Versions*: 0-2. *Skipped*: endpoint type 2 (controllers) is refused as Kafka's brokers do.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use super::Context;
use crate::operations;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// The endpoint type of brokers (KIP-919).
const BROKERS: i8 = 1;
/// The endpoint type of controllers.
const CONTROLLERS: i8 = 2;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let node = &context.node;
    if request.endpoint_type != BROKERS {
        let (code, message) = match request.endpoint_type {
            CONTROLLERS => (ErrorCode::MISMATCHED_ENDPOINT_TYPE, "The request was sent to an endpoint of type BROKER."),
            _ => (ErrorCode::UNSUPPORTED_ENDPOINT_TYPE, "Unsupported endpoint type."),
        };
        return DescribeClusterResponse {
            error_code: code.0,
            error_message: Some(message.into()),
            ..Default::default()
        };
    }
    let (host, port) = node.advertised(&context.peer.listener);
    DescribeClusterResponse {
        cluster_id: node.cluster_id.clone(),
        controller_id: node.config.node_id,
        cluster_authorized_operations: operations::asked(
            request.include_cluster_authorized_operations,
            operations::CLUSTER,
        ),
        brokers: vec![DescribeClusterBroker {
            broker_id: node.config.node_id,
            host,
            port: port.into(),
            rack: node.config.rack.clone(),
            ..Default::default()
        }],
        ..Default::default()
    }
}
