//! Where groups stand at the source: asked of the source while it is there, else what was last written down.
use crate::cluster::{Admin, ClusterError};
use crate::config::Patterns;
use crate::core::{
    ids::{GroupName, PartitionId, SourceOffset, TopicName},
    progress::Progress,
};

/// A group's position in one source partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The group.
    pub group: GroupName,
    /// The source topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The next source offset it will read.
    pub source: SourceOffset,
    /// The text it left with its commit.
    pub metadata: String,
}

/// Positions of every group of the source that the rules match, members or not.
///
/// # Errors
/// The source does not answer, or refuses a group (which is named).
pub async fn at_source(source: &Admin, rules: &Patterns) -> Result<Vec<Position>, ClusterError> {
    let mut found = Vec::new();
    for listed in source.list_groups().await? {
        if listed.reads_topics() && rules.matches(&listed.name) {
            let group = GroupName::from(listed.name.as_str());
            for at in source.group_offsets(&listed.name).await? {
                found.push(Position {
                    group: group.clone(),
                    topic: at.topic.into(),
                    partition: PartitionId(at.partition),
                    source: SourceOffset(at.offset),
                    metadata: at.metadata,
                });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Positions as this flow last wrote them down: what is known of a source that is gone.
#[must_use]
pub fn last_written(progress: &Progress) -> Vec<Position> {
    let position = |((group, topic, partition), last): (&(GroupName, TopicName, PartitionId), &_)| {
        let last: &crate::core::groups::LastWritten = last;
        let (group, topic, partition) = (group.clone(), topic.clone(), *partition);
        Position { group, topic, partition, source: last.source, metadata: String::new() }
    };
    progress.groups().map(position).collect()
}
