//! Looking into a partition from beside the consumer: when it stays silent, or says that something is wrong without saying where.

use std::time::Instant;

use super::probe::{Probe, probe};
use crate::cluster::Admin;
use crate::cluster::offsets::Partition;
use crate::core::batch::{Session, SourceEnds};
use crate::core::ids::{SourceOffset, TopicId};

/// The answer to a look-up, and what it was asked about.
pub(super) struct LookedUp {
    pub key: Partition,
    pub session: Session,
    pub from: SourceOffset,
    pub asked: Instant,
    pub found: Found,
}

/// What a partition looks like from one offset on.
pub(super) struct Found {
    pub probe: Probe,
    pub topic_id: Option<TopicId>,
    pub ends: Option<SourceEnds>,
}

/// Raw batches at `from`, the partition's ends, the topic's ID.
pub(super) async fn look_up(admin: &Admin, key: &Partition, from: SourceOffset) -> Found {
    let probe = probe(admin, &key.0, key.1, from).await;
    let mut found = Found { probe, topic_id: None, ends: None };
    if let Ok(mut ends) = admin.source_ends(std::slice::from_ref(key)).await {
        found.ends = ends.remove(key).and_then(Result::ok);
    }
    match admin.topic(&key.0).await {
        Ok(topic) => found.topic_id = topic.map(|topic| topic.id),
        Err(error) => found.probe = Probe::Unknown(error.to_string()),
    }
    found
}
