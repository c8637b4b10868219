//! One member of a consumer group.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Assigned, LEAVE, Partitions};

/// Where a member stands on its way to the target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberState {
    /// It has what it should have at its epoch.
    #[default]
    Stable,
    /// It must give partitions back first.
    Unrevoked,
    /// Others must give partitions back first.
    Unreleased,
    /// Written by a later version.
    Unknown,
}

impl MemberState {
    /// The number that records carry.
    pub fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown => 127,
        }
    }

    /// Reads a record's number.
    pub fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Unknown,
        }
    }
}

/// What a member that speaks the classic protocol brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicSide {
    /// Milliseconds.
    pub session_timeout: i32,
    /// Protocols with metadata, preferred first.
    pub protocols: Vec<(String, Bytes)>,
}

/// Who a member is and what it wants: the subscription record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Static membership.
    pub instance_id: Option<String>,
    /// The client's rack.
    pub rack_id: Option<String>,
    /// From the request header.
    pub client_id: String,
    /// Peer address with a leading slash.
    pub client_host: String,
    /// Topics by name.
    pub topics: BTreeSet<String>,
    /// Topics by regular expression; empty for none.
    pub regex: String,
    /// Milliseconds to give partitions back.
    pub rebalance_timeout: i32,
    /// The assignor it prefers.
    pub assignor: Option<String>,
    /// Set for members that speak the classic protocol.
    pub classic: Option<ClassicSide>,
}

impl Default for MemberMetadata {
    fn default() -> Self {
        Self {
            instance_id: None,
            rack_id: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            regex: String::new(),
            rebalance_timeout: -1,
            assignor: None,
            classic: None,
        }
    }
}

/// What a member has: the current assignment record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Current {
    /// Its epoch.
    pub epoch: i32,
    /// The one before: an answer may have been lost.
    pub previous_epoch: i32,
    /// See `MemberState`.
    pub state: MemberState,
    /// What it may read.
    pub assigned: Assigned,
    /// What it must give back.
    pub revoking: Assigned,
}

impl Current {
    pub(super) fn newcomer() -> Self {
        Self { previous_epoch: -1, ..Self::default() }
    }

    /// After its tombstone: nothing is held any more.
    pub(super) fn gone() -> Self {
        Self { epoch: LEAVE, previous_epoch: LEAVE, ..Self::default() }
    }

    pub(super) fn with_epoch(&self, epoch: i32) -> Self {
        Self { epoch, previous_epoch: self.epoch, ..self.clone() }
    }

    /// Whether the member has arrived at this target.
    pub fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerMember {
    /// Its id.
    pub id: String,
    /// Who it is and what it wants.
    pub meta: MemberMetadata,
    /// What it has.
    pub current: Current,
}

impl ConsumerMember {
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), meta: MemberMetadata::default(), current: Current::newcomer() }
    }

    /// Whether it speaks the classic protocol.
    pub fn is_classic(&self) -> bool {
        self.meta.classic.is_some()
    }

    /// Partitions without their epochs.
    pub fn assigned(&self) -> Partitions {
        plain(&self.current.assigned)
    }

    /// Whether everything `owned` is assigned to it.
    pub(super) fn covers(&self, owned: Option<&Partitions>) -> bool {
        let Some(owned) = owned else { return false };
        owned.iter().all(|(topic, partitions)| {
            let have = self.current.assigned.get(topic);
            partitions.iter().all(|p| have.is_some_and(|have| have.contains_key(p)))
        })
    }
}

/// Drops the epochs.
pub fn plain(assigned: &Assigned) -> Partitions {
    assigned.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}
