//! WriteTxnMarkers (27).
//!
//! *Behaviour*: ends transactions in partitions led here, for a coordinator on another node, or for an operator who aborts a hanging one
//! (`kafka-transactions --abort`). Answered when the markers are durable. Markers of an older coordinator are refused (law R17).
//! *Versions*: 1-2; with version 2 a marker says whether its transaction is one of version 2, which ends only transactions of an older epoch.
//! *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use super::Context;
use crate::core::txn::{Producer, TopicPartition};
use crate::transactions::Marker;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=2;

/// First `transaction_version` with an epoch of its own for every transaction.
const EPOCH_PER_TXN: i8 = 2;

/// Answers the request.
pub async fn handle(context: &Context, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse {
    let mut markers = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        markers.push(write(context, marker).await);
    }
    WriteTxnMarkersResponse { markers, ..Default::default() }
}

async fn write(context: &Context, asked: WritableTxnMarker) -> WritableTxnMarkerResult {
    let all = asked.topics.iter().flat_map(|t| t.partition_indexes.iter().map(|p| (t.name.clone(), *p)));
    let partitions: Vec<TopicPartition> = all.collect();
    let marker = Marker {
        producer: Producer { id: asked.producer_id, epoch: asked.producer_epoch },
        commit: asked.transaction_result,
        coordinator_epoch: asked.coordinator_epoch,
        newer_epoch: asked.transaction_version >= EPOCH_PER_TXN,
    };
    let codes = context.node.transactions.write_markers(&marker, &partitions).await;
    let mut codes = codes.into_iter();
    let topics = asked.topics.into_iter().map(|t| WritableTxnMarkerTopicResult {
        partitions: t
            .partition_indexes
            .into_iter()
            .zip(codes.by_ref())
            .map(|(partition_index, code)| WritableTxnMarkerPartitionResult {
                partition_index,
                error_code: code.0,
                ..Default::default()
            })
            .collect(),
        name: t.name,
        ..Default::default()
    });
    let topics = topics.collect();
    WritableTxnMarkerResult { producer_id: asked.producer_id, topics, ..Default::default() }
}
