//! Transactional batches that would begin a transaction on their partition: the coordinator is asked before any is appended.

use std::collections::HashMap;

use causeway_wire::ErrorCode;
use causeway_wire::messages::produce::{PartitionProduceData, ProduceRequest};
use causeway_wire::records::BatchHeader;

use super::super::Context;
use crate::core::txn::Producer;
use crate::core::verification::Guard;
use crate::transactions;

/// First version whose producers leave it to the broker to add partitions (transaction version 2).
const ADDS_PARTITIONS: i16 = 12;
/// First version whose producers know TRANSACTION_ABORTABLE.
const KNOWS_ABORTABLE: i16 = 11;

/// What was said of a batch that would begin a transaction.
pub(super) enum Admission {
    /// The partition is in the ongoing transaction, as long as the guard stands.
    Confirmed(Guard),
    /// Nobody was asked: `transaction.partition.verification.enable` is off.
    Unchecked,
    /// It may not be appended.
    Refused(ErrorCode),
}

/// By the places of topic and partition in the request; batches that need no admission are not in it.
pub(super) type Admitted = HashMap<(usize, usize), Admission>;

/// A batch to ask about.
struct Asked {
    place: (usize, usize),
    wanted: transactions::Wanted,
    producer: Producer,
}

/// Asks for all batches of a request at once.
pub(super) async fn of(context: &Context, request: &ProduceRequest) -> Admitted {
    if is_unowned(request) {
        return Admitted::new();
    }
    let asked = asked(context, request);
    let Some(producer) = asked.first().map(|a| a.producer) else { return Admitted::new() };
    let all = |admission: fn(&Asked) -> Admission| asked.iter().map(|a| (a.place, admission(a))).collect();
    let node = &context.node;
    let how = match context.version() {
        ADDS_PARTITIONS.. => transactions::Admission::Add,
        KNOWS_ABORTABLE => transactions::Admission::VerifyAbortable,
        _ => transactions::Admission::Verify,
    };
    let verified = || node.with_levels(|l| l.broker_value("transaction.partition.verification.enable"));
    if how != transactions::Admission::Add && verified().as_deref() == Some("false") {
        return all(|_| Admission::Unchecked);
    }
    if asked.iter().any(|a| a.producer != producer) {
        return all(|_| Admission::Refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
    }
    let id = request.transactional_id.as_deref().unwrap_or_default();
    let wanted: Vec<_> = asked.iter().map(|a| a.wanted.clone()).collect();
    let outcomes = node.transactions.admit(node, id, producer, &wanted, how).await;
    let admission = |(a, outcome): (&Asked, Result<Guard, ErrorCode>)| {
        let admission = outcome.map_or_else(Admission::Refused, Admission::Confirmed);
        (a.place, admission)
    };
    asked.iter().zip(outcomes).map(admission).collect()
}

/// The batches to ask about.
fn asked(context: &Context, request: &ProduceRequest) -> Vec<Asked> {
    let mut out = Vec::new();
    for (t, topic) in request.topic_data.iter().enumerate() {
        for (p, data) in topic.partition_data.iter().enumerate() {
            let Some(header) = transactional(data) else { continue };
            let name = match context.version() {
                13.. => context.node.meta.image().topic_by_id(topic.topic_id).map(|t| t.name.clone()),
                _ => Some(topic.name.clone()),
            };
            let found = name.and_then(|name| context.node.partitions.get(&name, data.index));
            // What does not exist is refused where it would be appended.
            let Some(partition) = found else { continue };
            let producer = Producer { id: header.producer_id, epoch: header.producer_epoch };
            if partition.log.has_open_txn(producer.id, producer.epoch) {
                continue;
            }
            let wanted = transactions::Wanted { partition, sequence: header.base_sequence };
            out.push(Asked { place: (t, p), wanted, producer });
        }
    }
    out
}

/// Whether a transactional batch comes without a `transactional.id`: then nobody may write any of the request's batches, as in Kafka.
pub(super) fn is_unowned(request: &ProduceRequest) -> bool {
    let mut batches = request.topic_data.iter().flat_map(|topic| &topic.partition_data).filter_map(header);
    request.transactional_id.is_none() && batches.any(|header| header.attributes.is_transactional())
}

fn transactional(data: &PartitionProduceData) -> Option<BatchHeader> {
    header(data).filter(|header| header.attributes.is_transactional() && header.has_producer_id())
}

fn header(data: &PartitionProduceData) -> Option<BatchHeader> {
    BatchHeader::parse(data.records.as_ref()?).ok()
}
