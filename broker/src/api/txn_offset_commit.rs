//! TxnOffsetCommit (28).
//!
//! *Behaviour*: offsets become part of the producer's transaction: durable in `__consumer_offsets` before the answer, visible after the commit marker. The
//! transaction must be going on with the group in it, or, from version 5 on, the group is added to it (KIP-890). Member and generation are checked if given.
//! *Versions*: 0-5. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitResponse, TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

use super::Context;
use crate::coordinator::{CommitRequest, NewOffset};
use crate::core::txn::Producer;
use crate::transactions::{Admission, Wanted};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=5;

/// Answers the request.
pub async fn handle(context: &Context, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let image = context.node.meta.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    let mut offsets = Vec::new();
    // Where the answer of each offset belongs.
    let mut places = Vec::new();
    for topic in &request.topics {
        let count = image.topic(&topic.name).map_or(0, |t| t.partitions.len());
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for p in &topic.partitions {
            let exists = usize::try_from(p.partition_index).is_ok_and(|i| i < count);
            let code = if exists { ErrorCode::NONE } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
            if exists {
                places.push((topics.len(), partitions.len()));
                offsets.push(NewOffset {
                    topic: topic.name.clone(),
                    partition: p.partition_index,
                    offset: p.committed_offset,
                    leader_epoch: p.committed_leader_epoch,
                    metadata: p.committed_metadata.clone().unwrap_or_default(),
                });
            }
            let partition_index = p.partition_index;
            let partition =
                TxnOffsetCommitResponsePartition { partition_index, error_code: code.0, ..Default::default() };
            partitions.push(partition);
        }
        topics.push(TxnOffsetCommitResponseTopic { name: topic.name.clone(), partitions, ..Default::default() });
    }
    drop(image);
    let producer = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let commit = CommitRequest {
        group: request.group_id,
        member_id: request.member_id,
        instance_id: request.group_instance_id,
        generation: request.generation_id,
        // Members of consumer groups may commit with any version of this request.
        version: i16::MAX,
        offsets,
    };
    let codes = match commit.offsets.is_empty() {
        true => Vec::new(),
        false => commit_all(context, &request.transactional_id, producer, &commit).await,
    };
    for ((topic, partition), code) in places.into_iter().zip(codes) {
        topics[topic].partitions[partition].error_code = code.0;
    }
    TxnOffsetCommitResponse { topics, ..Default::default() }
}

async fn commit_all(context: &Context, id: &str, producer: Producer, commit: &CommitRequest) -> Vec<ErrorCode> {
    let node = &context.node;
    let all = |code| vec![code; commit.offsets.len()];
    if commit.group.is_empty() {
        return all(ErrorCode::INVALID_GROUP_ID);
    }
    if let Err(code) = node.ready_for_groups().await {
        return all(code);
    }
    let Some(journal) = node.coordinator.journal_of(&commit.group) else {
        return all(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    };
    let mut guard = None;
    if !journal.log.has_open_txn(producer.id, producer.epoch) {
        let how = match context.version() {
            5.. => Admission::Add,
            4 => Admission::VerifyAbortable,
            _ => Admission::Verify,
        };
        let wanted = [Wanted { partition: journal, sequence: -1 }];
        match node.transactions.admit(node, id, producer, &wanted, how).await.first() {
            Some(Ok(given)) => guard = Some(*given),
            // What a producer may retry, in the words of a coordinator.
            Some(Err(ErrorCode::NOT_ENOUGH_REPLICAS)) | None => return all(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            Some(Err(code)) => return all(*code),
        }
    }
    node.coordinator.commit_in_txn(commit, producer, guard).await
}
