//! One member of a classic group.

use bytes::Bytes;

use super::group::ClassicParts;
use super::records::MemberValue;
use super::{JoinRequest, Millis, Token};

/// Joining members that have not synced once may take this long before they are dropped, as in Kafka (5 minutes).
pub(super) const NEW_MEMBER_JOIN_TIMEOUT: Millis = 300_000;

/// One member of a classic group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Given by the coordinator.
    pub id: String,
    /// Given by the operator (KIP-345).
    pub instance_id: Option<String>,
    /// From the request header.
    pub client_id: String,
    /// Peer address with a leading slash.
    pub client_host: String,
    /// Milliseconds without a heartbeat until it is dropped.
    pub session_timeout: i32,
    /// Milliseconds a rebalance waits for it.
    pub rebalance_timeout: i32,
    /// Protocols with metadata, preferred first.
    pub protocols: Vec<(String, Bytes)>,
    /// What the leader gave it.
    pub assignment: Bytes,
    pub(super) joined: u64,
    pub(super) is_new: bool,
    pub(super) awaiting_join: Option<Token>,
    pub(super) awaiting_sync: Option<Token>,
    pub(super) session_deadline: Millis,
}

impl Member {
    pub(super) fn new(id: String, request: &JoinRequest, joined: u64, now: Millis) -> Self {
        Self {
            id,
            instance_id: request.instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            joined,
            is_new: true,
            awaiting_join: None,
            awaiting_sync: None,
            session_deadline: now + NEW_MEMBER_JOIN_TIMEOUT,
        }
    }

    /// A member read back from `__consumer_offsets`; only the chosen protocol's metadata was kept.
    pub(super) fn restored(value: MemberValue, protocol: &str, joined: u64, now: Millis) -> Self {
        let mut member = Self {
            id: value.member_id,
            instance_id: value.instance_id,
            client_id: value.client_id,
            client_host: value.client_host,
            session_timeout: value.session_timeout,
            rebalance_timeout: value.rebalance_timeout,
            protocols: vec![(protocol.to_owned(), value.subscription)],
            assignment: value.assignment,
            joined,
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
            session_deadline: 0,
        };
        member.heard(now);
        member
    }

    pub(super) fn from_parts(parts: ClassicParts, joined: u64, now: Millis) -> Self {
        let mut member = Self {
            id: parts.id,
            instance_id: parts.instance_id,
            client_id: parts.client_id,
            client_host: parts.client_host,
            session_timeout: parts.session_timeout,
            rebalance_timeout: parts.rebalance_timeout,
            protocols: parts.protocols,
            assignment: parts.assignment,
            joined,
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
            session_deadline: 0,
        };
        member.heard(now);
        member
    }

    pub(super) fn value(&self, protocol: &str) -> MemberValue {
        MemberValue {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout: self.rebalance_timeout,
            session_timeout: self.session_timeout,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// Metadata for one protocol, empty if the member does not offer it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, m)| m.clone()).unwrap_or_default()
    }

    pub(super) fn matches(&self, protocols: &[(String, Bytes)]) -> bool {
        self.protocols == protocols
    }

    pub(super) fn heard(&mut self, now: Millis) {
        self.session_deadline = now + self.session_timeout.max(0) as Millis;
    }

    /// A member that waits for our answer cannot heartbeat, so its silence says nothing.
    pub(super) fn expired(&self, now: Millis) -> bool {
        let waits = !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some());
        !waits && now >= self.session_deadline
    }
}
