//! Committed offsets in one list, for who watches how far groups lag.

use super::Coordinator;

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// Group id.
    pub group: String,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The next offset that the group will read.
    pub offset: i64,
}

impl Coordinator {
    /// The committed offsets of all groups, as many as asked for at most.
    pub fn committed_offsets(&self, most: usize) -> Vec<CommittedOffset> {
        let state = self.lock();
        let all = state.offsets.groups().flat_map(|group| {
            state.offsets.of_group(group).map(move |(topic, partition, value)| CommittedOffset {
                group: group.to_owned(),
                topic: topic.to_owned(),
                partition,
                offset: value.offset,
            })
        });
        all.take(most).collect()
    }
}
