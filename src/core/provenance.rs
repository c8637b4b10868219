//! Loop prevention by `cluster.id` and hop list (L4), built so that a forged or copied header never loses a record.
use serde::{Deserialize, Serialize};

use super::ids::{ClusterId, PartitionId, SourceOffset, TopicId};

/// One cluster a record was on, and where it lay there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hop {
    /// The cluster the record was read from.
    pub cluster: ClusterId,
    /// The topic's ID there.
    pub topic_id: TopicId,
    /// The partition there.
    pub partition: PartitionId,
    /// The record's offset there (an offset of *that* cluster, which is the source of that hop).
    pub offset: SourceOffset,
}

/// What a record says about where it came from: not believed until the map of that direction, or the record itself, agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The offset of the record that carries the claim, in the lane's own source.
    pub at: SourceOffset,
    /// The clusters it says to have been on, origin first.
    pub hops: Vec<Hop>,
    /// True when the digest in the header is that of this record's content.
    pub digest_agrees: bool,
}
