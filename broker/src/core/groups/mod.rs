//! Classic consumer groups as a pure state machine (the coordinator's half of KIP-62, 134, 345, 394, 429, 814).
//!
//! Events come in as calls with the time in milliseconds; what must happen goes out as `Effect`s in order. A reply that
//! follows a `Persist` may be sent only once that write is durable.

pub mod consumer;
mod group;
mod join;
mod member;
mod membership;
pub mod offsets;
pub mod pending;
pub mod records;
#[cfg(test)]
mod sim_tests;
mod sync;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use causeway_wire::ErrorCode;

pub use group::{ExpiryBasis, Group, GroupState};
pub use member::Member;

/// Names a request that waits for its answer; the caller makes them unique.
pub type Token = u64;

/// Milliseconds on the caller's monotone clock.
pub type Millis = u64;

/// Limits and delays of the coordinator, from the configuration.
#[derive(Debug, Clone, Copy)]
pub struct GroupLimits {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay: Millis,
    /// `group.max.size`.
    pub members_max: usize,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: i32,
}

impl GroupLimits {
    /// Whether a member may ask for this session timeout (milliseconds).
    pub fn admits_session(&self, timeout: i32) -> bool {
        (self.session_timeout_min..=self.session_timeout_max).contains(&timeout)
    }
}

/// A JoinGroup request as the core sees it.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// Empty for a newcomer.
    pub member_id: String,
    /// Static membership (KIP-345).
    pub instance_id: Option<String>,
    /// From the request header.
    pub client_id: String,
    /// Peer address as Kafka shows it, with a leading slash.
    pub client_host: String,
    /// Without a heartbeat for so long the member is dropped.
    pub session_timeout: i32,
    /// How long a rebalance waits for this member.
    pub rebalance_timeout: i32,
    /// `consumer`, `connect`, ...
    pub protocol_type: String,
    /// Protocol names with their metadata, preferred first.
    pub protocols: Vec<(String, Bytes)>,
    /// Newcomers are first given an id and must come back with it (KIP-394, version 4 and later).
    pub require_known_member_id: bool,
    /// The client understands `skip_assignment` (KIP-814, version 9).
    pub can_skip_assignment: bool,
    /// The id to give to a newcomer: chance is an argument.
    pub new_member_id: String,
}

/// Answer to a JoinGroup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinReply {
    /// Outcome.
    pub error: ErrorCode,
    /// Generation joined, or -1.
    pub generation: i32,
    /// Protocol type of the group.
    pub protocol_type: Option<String>,
    /// Protocol chosen for this generation.
    pub protocol: Option<String>,
    /// Member id of the leader.
    pub leader: String,
    /// The member's own id.
    pub member_id: String,
    /// The leader need not compute an assignment (KIP-814).
    pub skip_assignment: bool,
    /// For the leader only: id, instance id and metadata of each member.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

impl JoinReply {
    fn error(error: ErrorCode, member_id: &str) -> Self {
        Self { error, generation: -1, member_id: member_id.to_owned(), ..Self::default() }
    }
}

/// Answer to a SyncGroup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncReply {
    /// Outcome.
    pub error: ErrorCode,
    /// Protocol type of the group.
    pub protocol_type: Option<String>,
    /// Protocol of this generation.
    pub protocol: Option<String>,
    /// The member's assignment, opaque to the broker.
    pub assignment: Bytes,
}

impl SyncReply {
    fn error(error: ErrorCode) -> Self {
        Self { error, ..Self::default() }
    }
}

/// A SyncGroup request as the core sees it.
#[derive(Debug, Clone)]
pub struct SyncRequest {
    /// The caller.
    pub member_id: String,
    /// Static membership.
    pub instance_id: Option<String>,
    /// The generation the caller believes in.
    pub generation: i32,
    /// Given from version 5 on; must match the group's.
    pub protocol_type: Option<String>,
    /// Given from version 5 on; must match the group's.
    pub protocol: Option<String>,
    /// From the leader: assignment by member id.
    pub assignments: Vec<(String, Bytes)>,
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer a waiting JoinGroup.
    Join(Token, JoinReply),
    /// Answer a waiting SyncGroup.
    Sync(Token, SyncReply),
    /// Write the group's metadata to `__consumer_offsets` before any later reply of this list.
    Persist,
    /// One log line about a rebalance, with its cause.
    Rebalance(&'static str),
}
