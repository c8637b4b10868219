//! Where the highest common version would change what a request means.

use crate::messages::{
    delete_topics::DeleteTopicsRequest, fetch::FetchRequest, offset_commit::OffsetCommitRequest,
    offset_fetch::OffsetFetchRequest, produce::ProduceRequest,
};
use crate::{ApiKey, Request};
use std::any::Any;

/// Highest version that keeps the meaning of this request.
///
/// - From some version on, four APIs name topics by ID alone (KIP-516, KIP-848). A request without IDs stays below it, or its topics would be lost.
/// - Transactions of the second kind (KIP-890) begin at the versions below; who wants them must ask for them by other means, since a broker without
///   `transaction.version=2` behaves differently there. AddPartitionsToTxn from 4 on is for brokers.
pub(super) fn cap<R: Request>(request: &R) -> i16 {
    let request: &dyn Any = request;
    let named = match R::KEY {
        ApiKey::Produce => request
            .downcast_ref::<ProduceRequest>()
            .filter(|r| r.topic_data.iter().any(|t| t.topic_id.is_zero()))
            .map(|_| 12),
        ApiKey::Fetch => request
            .downcast_ref::<FetchRequest>()
            .filter(|r| {
                r.topics.iter().any(|t| t.topic_id.is_zero())
                    || r.forgotten_topics_data.iter().any(|t| t.topic_id.is_zero())
            })
            .map(|_| 12),
        ApiKey::OffsetCommit => request
            .downcast_ref::<OffsetCommitRequest>()
            .filter(|r| r.topics.iter().any(|t| t.topic_id.is_zero()))
            .map(|_| 9),
        ApiKey::OffsetFetch => request
            .downcast_ref::<OffsetFetchRequest>()
            // All topics (null) come back by ID alone in version 10: the caller could not tell their names.
            .filter(|r| {
                r.groups.iter().any(|g| g.topics.as_ref().is_none_or(|t| t.iter().any(|t| t.topic_id.is_zero())))
            })
            .map(|_| 9),
        // From version 6 on the list of bare names is gone, and would be left out.
        ApiKey::DeleteTopics => {
            request.downcast_ref::<DeleteTopicsRequest>().filter(|r| !r.topic_names.is_empty()).map(|_| 5)
        }
        ApiKey::AddPartitionsToTxn => Some(3),
        ApiKey::EndTxn | ApiKey::TxnOffsetCommit => Some(4),
        _ => None,
    };
    named.unwrap_or(i16::MAX)
}

/// Whether sending the request twice does no more than sending it once: such a request is sent again when the connection is lost before its answer.
pub(super) fn repeatable(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::Fetch
            | ApiKey::ListOffsets
            | ApiKey::Metadata
            | ApiKey::OffsetFetch
            | ApiKey::FindCoordinator
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::ApiVersions
            | ApiKey::OffsetForLeaderEpoch
            | ApiKey::DescribeAcls
            | ApiKey::DescribeConfigs
            | ApiKey::DescribeLogDirs
            | ApiKey::ListPartitionReassignments
            | ApiKey::DescribeQuorum
            | ApiKey::DescribeCluster
            | ApiKey::DescribeProducers
            | ApiKey::DescribeTransactions
            | ApiKey::ListTransactions
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::DescribeTopicPartitions
            | ApiKey::ListConfigResources
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Uuid;
    use crate::messages::fetch::FetchTopic;
    use crate::messages::offset_fetch::OffsetFetchRequestGroup;

    #[test]
    fn topics_by_name_never_go_out_in_a_version_that_has_only_ids() {
        let topic = FetchTopic { topic: "t".to_owned(), ..Default::default() };
        let mut request = FetchRequest { topics: vec![topic], ..Default::default() };
        assert_eq!(cap(&request), 12);
        request.topics[0].topic_id = Uuid::from(7);
        assert_eq!(cap(&request), i16::MAX);
        assert_eq!(cap(&OffsetCommitRequest { topics: vec![Default::default()], ..Default::default() }), 9);
        assert_eq!(cap(&ProduceRequest { topic_data: vec![Default::default()], ..Default::default() }), 12);
        let named = DeleteTopicsRequest { topic_names: vec!["t".to_owned()], ..Default::default() };
        assert_eq!(cap(&named), 5);
        let everything = OffsetFetchRequestGroup { topics: None, ..Default::default() };
        assert_eq!(cap(&OffsetFetchRequest { groups: vec![everything], ..Default::default() }), 9);
    }
}
