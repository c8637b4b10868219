//! What DescribeGroups and ListGroups show.

use bytes::Bytes;

use super::Coordinator;
use crate::core::groups::GroupState;
use crate::core::groups::consumer::{CONSUMER, ConsumerGroup};

/// The type of groups of the classic protocol (KIP-848 names).
const CLASSIC: &str = "classic";

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Group id.
    pub id: String,
    /// Empty for a group that only holds offsets.
    pub protocol_type: String,
    /// Name of its state.
    pub state: &'static str,
    /// `classic` or `consumer`.
    pub kind: &'static str,
}

/// A group in full.
#[derive(Debug, Clone, Default)]
pub struct GroupView {
    /// Name of its state.
    pub state: &'static str,
    /// `consumer`, `connect`, ...
    pub protocol_type: String,
    /// Chosen protocol; empty unless stable.
    pub protocol: String,
    /// Its members.
    pub members: Vec<MemberView>,
}

/// A member of a `GroupView`.
#[derive(Debug, Clone, Default)]
pub struct MemberView {
    /// Member id.
    pub id: String,
    /// Static membership.
    pub instance_id: Option<String>,
    /// From the request header.
    pub client_id: String,
    /// Peer address with a leading slash.
    pub client_host: String,
    /// Metadata for the chosen protocol; empty unless stable.
    pub metadata: Bytes,
    /// The leader's word; empty unless stable.
    pub assignment: Bytes,
}

impl Coordinator {
    /// All groups, sorted by id.
    pub fn list(&self) -> Vec<ListedGroup> {
        let state = self.lock();
        let mut out: Vec<ListedGroup> = state
            .groups
            .values()
            .map(|g| ListedGroup {
                id: g.id.clone(),
                protocol_type: g.protocol_type.clone().unwrap_or_default(),
                state: g.state.name(),
                kind: CLASSIC,
            })
            .collect();
        out.extend(state.modern.values().map(|g| ListedGroup {
            id: g.id.clone(),
            protocol_type: CONSUMER.to_owned(),
            state: g.state(),
            kind: CONSUMER,
        }));
        let only_offsets =
            state.offsets.groups().filter(|g| !state.groups.contains_key(*g) && !state.modern.contains_key(*g));
        out.extend(only_offsets.map(|g| ListedGroup {
            id: g.to_owned(),
            protocol_type: String::new(),
            state: GroupState::Empty.name(),
            kind: CLASSIC,
        }));
        out.sort_by(|a, b| a.id.cmp(&b.id));
        out
    }

    /// One classic group, if it is there.
    pub fn describe(&self, id: &str) -> Option<GroupView> {
        let state = self.lock();
        if state.modern.contains_key(id) {
            return None;
        }
        let Some(group) = state.groups.get(id) else {
            return state
                .offsets
                .has_group(id)
                .then(|| GroupView { state: GroupState::Empty.name(), ..GroupView::default() });
        };
        let stable = group.state == GroupState::Stable;
        let protocol = group.protocol.clone().filter(|_| stable).unwrap_or_default();
        let member = |m: &crate::core::groups::Member| MemberView {
            id: m.id.clone(),
            instance_id: m.instance_id.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            metadata: if stable { m.metadata(&protocol) } else { Bytes::new() },
            assignment: if stable { m.assignment.clone() } else { Bytes::new() },
        };
        Some(GroupView {
            state: group.state.name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            members: group.members.values().map(member).collect(),
            protocol,
        })
    }

    /// Whether there is a group of either kind.
    pub fn is_there(&self, id: &str) -> bool {
        let state = self.lock();
        state.groups.contains_key(id) || state.modern.contains_key(id) || state.offsets.has_group(id)
    }

    /// One consumer group, as it is now, with the assignor that it uses.
    pub fn describe_consumer(&self, id: &str) -> Option<(ConsumerGroup, &'static str)> {
        let group = self.lock().modern.get(id).cloned()?;
        let assignor = group.preferred_assignor().unwrap_or(self.consumer_limits(id).default_assignor());
        Some((group, assignor.name()))
    }
}
