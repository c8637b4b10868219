//! Consumer groups of KIP-848 as a pure state machine.
//!
//! A decision (`heartbeat`, `leave`, `expire`, the classic calls) only looks at the group and gives `Record`s;
//! `ConsumerGroup::commit` alone changes it. What the log holds and what memory holds can therefore not differ: replay is the
//! same function. Deadlines are soft state, as in Kafka: after a restart everybody has one session to be heard of.

pub mod assignor;
mod classic;
pub mod convert;
mod group;
mod heartbeat;
mod leave;
mod member;
pub mod protocol;
mod reconcile;
pub mod records;
mod regexes;
#[cfg(test)]
mod sim_tests;
mod target;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_classic;
#[cfg(test)]
mod tests_support;

use std::collections::{BTreeMap, BTreeSet};

use causeway_wire::{ErrorCode, Uuid};

pub use classic::{CONSUMER, Joined, Synced};
pub use group::ConsumerGroup;
pub use heartbeat::check_request;
pub use leave::Leave;
pub use member::{ClassicSide, ConsumerMember, Current, MemberMetadata, MemberState};
pub use records::{Record, Resolved};

/// Partitions by topic id.
pub type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// Partitions by topic id, each with the epoch it was assigned in (KIP-1251).
pub type Assigned = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// Member epoch of a LeaveGroup in disguise.
pub const LEAVE: i32 = -1;
/// Member epoch of a static member that means to come back.
pub const LEAVE_STATIC: i32 = -2;

/// Topics as the group sees them.
pub trait Topics {
    /// Changes whenever topics do.
    fn version(&self) -> u64;
    /// Id and number of partitions.
    fn by_name(&self, name: &str) -> Option<(Uuid, i32)>;
    /// Name of a topic.
    fn name_of(&self, id: Uuid) -> Option<&str>;
    /// Every topic's name.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;
}

/// Which way groups may be converted while they have members (`group.consumer.migration.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// Neither way.
    Disabled,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl Migration {
    /// The policy of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "disabled" => Self::Disabled,
            "upgrade" => Self::Upgrade,
            "downgrade" => Self::Downgrade,
            "bidirectional" => Self::Bidirectional,
            _ => return None,
        })
    }

    /// Whether a classic group may become a consumer group.
    pub fn up(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    /// Whether a consumer group may become a classic one.
    pub fn down(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// Limits and delays, from the configuration.
#[derive(Debug, Clone)]
pub struct ConsumerLimits {
    /// `group.consumer.max.size`.
    pub members_max: usize,
    /// `group.consumer.session.timeout.ms` or the group's own `consumer.session.timeout.ms`.
    pub session_timeout: i32,
    /// `group.consumer.heartbeat.interval.ms` or the group's own `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: i32,
    /// `group.consumer.assignment.interval.ms` or the group's own `consumer.assignment.interval.ms`: the least time between
    /// two target assignments, in milliseconds.
    pub assignment_interval: i32,
    /// `group.consumer.assignors`, the default first.
    pub assignors: Vec<assignor::Assignor>,
    /// `group.consumer.migration.policy`.
    pub migration: Migration,
    /// `group.max.size`: a larger group cannot go back to classic.
    pub classic_members_max: usize,
}

impl ConsumerLimits {
    /// The assignor used where nobody asks for one.
    pub fn default_assignor(&self) -> assignor::Assignor {
        self.assignors.first().copied().unwrap_or(assignor::Assignor::Uniform)
    }
}

/// A request that is refused, with the words for its error message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// Why.
    pub message: String,
}

pub(crate) fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.into() })
}

/// A ConsumerGroupHeartbeat request as the core sees it; `None` is "as before".
#[derive(Debug, Clone, Default)]
pub struct HeartbeatRequest {
    /// Made by the client from version 1 on; an empty one is made here.
    pub member_id: String,
    /// 0 joins, -1 leaves, -2 leaves for a while (static members).
    pub epoch: i32,
    /// Static membership.
    pub instance_id: Option<String>,
    /// The client's rack.
    pub rack_id: Option<String>,
    /// -1 for as before.
    pub rebalance_timeout: i32,
    /// Topics subscribed to by name.
    pub topics: Option<Vec<String>>,
    /// Topics subscribed to by regular expression; empty for none.
    pub regex: Option<String>,
    /// The assignor preferred.
    pub assignor: Option<String>,
    /// What the member still holds.
    pub owned: Option<Partitions>,
    /// From the request header.
    pub client_id: String,
    /// Peer address with a leading slash.
    pub client_host: String,
    /// The id to give to a member that brings none: chance is an argument.
    pub new_member_id: String,
}

impl HeartbeatRequest {
    /// Everything is given: the member wants the whole answer (after an error, say).
    fn is_full(&self) -> bool {
        self.rebalance_timeout != -1 && (self.topics.is_some() || self.regex.is_some()) && self.owned.is_some()
    }
}

/// Answer to a ConsumerGroupHeartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// The member's id.
    pub member_id: String,
    /// Its epoch now.
    pub epoch: i32,
    /// How often to ask, in milliseconds.
    pub heartbeat_interval: i32,
    /// Given if it changed or everything was asked for.
    pub assignment: Option<Partitions>,
}

/// What was decided: records to write and then to `commit`, and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<T> {
    /// In the order in which they are written.
    pub records: Vec<Record>,
    /// The answer, once the records are durable.
    pub reply: T,
    /// Deadlines that follow.
    pub(crate) timers: Vec<group::TimerChange>,
    /// The version of the topics looked at.
    pub(crate) seen: Option<u64>,
}

impl<T> Decision<T> {
    fn of(records: Vec<Record>, reply: T) -> Self {
        Self { records, reply, timers: Vec::new(), seen: None }
    }
}
