//! Topic generations: what to open for a partition when the source names a topic ID.
use super::LaneId;
use crate::core::{
    gap::GapCause,
    ids::{Generation, PartitionId, TopicId, TopicName},
    progress::{LaneState, Progress},
};

/// What is known of a source partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// This generation was copied before (or nothing of the name was): open this lane.
    Open(LaneId),
    /// Another generation of the name was copied, and this one not yet: open *that* lane with the new topic ID in its `Opening`;
    /// it writes the ledger line and answers by policy.
    Recreated(LaneId),
}

/// Decides which lane to open for a partition of the topic as it is now.
#[must_use]
pub fn plan(progress: &Progress, topic: &TopicName, id: TopicId, partition: PartitionId) -> Plan {
    let now = LaneId { generation: Generation { topic: topic.clone(), id }, partition };
    let of_partition = || progress.lanes_of(topic).filter(|state| state.lane().partition == partition);
    if progress.lane(&now).is_some() {
        // one that was copied before may have been left without its line: two lanes of one partition were open for a moment, then a crash
        let owed = |state: &&LaneState| !state.lane().generation.id.may_be(id) && !is_closed(progress, state.lane());
        return match of_partition().find(owed) {
            Some(old) => Plan::Recreated(old.lane().clone()),
            None => Plan::Open(now),
        };
    }
    // an unknown ID on either side proves nothing: it goes on as the same lane
    if let Some(same) = of_partition().find(|state| state.lane().generation.id.may_be(id)) {
        return Plan::Open(same.lane().clone());
    }
    // of several older generations the newest one that was written counts
    match of_partition().max_by_key(|state| (state.epoch(), state.map().target_to())) {
        Some(state) => Plan::Recreated(state.lane().clone()),
        None => Plan::Open(now),
    }
}

/// Whether the ledger says of this lane that its topic is gone: then nothing more is known of it.
#[must_use]
pub fn is_closed(progress: &Progress, lane: &LaneId) -> bool {
    let gone = |cause: &GapCause| matches!(cause, GapCause::TopicRecreated | GapCause::TopicDeleted);
    progress.gaps().any(|gap| gap.lane == *lane && gone(&gap.cause))
}

/// The target topic of a new generation that gets one of its own: the name says which generation it is.
#[must_use]
pub fn next_generation_topic(target_topic: &TopicName, id: TopicId) -> TopicName {
    const NAME_BYTES_MAX: usize = 249; // Kafka's limit for topic names
    let id = id.to_string();
    let tail = format!(".generation-{}", &id[..8]);
    let keep = target_topic.as_str().floor_char_boundary(NAME_BYTES_MAX - tail.len());
    TopicName::new(format!("{}{tail}", &target_topic.as_str()[..keep]))
}
