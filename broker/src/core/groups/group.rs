//! The state of one classic group, and the rebalance that everything else leads to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_wire::ErrorCode;

use super::consumer::CONSUMER;
use super::consumer::protocol::subscribed_topics;
use super::records::GroupValue;
use super::{Effect, GroupLimits, JoinReply, Member, Millis, SyncReply};

/// States by Kafka's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupState {
    /// No members; may hold offsets.
    Empty,
    /// Waiting for members to (re)join.
    PreparingRebalance,
    /// Waiting for the leader's assignment.
    CompletingRebalance,
    /// Everyone has an assignment.
    Stable,
    /// Gone (only ever seen in answers about groups that do not exist).
    Dead,
}

impl GroupState {
    /// The name that DescribeGroups and ListGroups show.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

/// From when on the retention of a group's offsets counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpiryBasis {
    /// Not while the group is as it is.
    Never,
    /// From the time (wall-clock milliseconds) the group became empty: all offsets together.
    SinceEmpty(i64),
    /// From each commit, but for topics that are still read.
    SinceCommit(BTreeSet<String>),
}

/// A member that comes from a consumer group.
#[derive(Debug, Clone)]
pub(super) struct ClassicParts {
    pub id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: i32,
    pub rebalance_timeout: i32,
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
}

/// One classic group.
#[derive(Debug)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub state: GroupState,
    /// `consumer`, `connect`, ...; none for a group that only holds offsets.
    pub protocol_type: Option<String>,
    /// Chosen for the current generation.
    pub protocol: Option<String>,
    /// Member id of the leader.
    pub leader: Option<String>,
    /// Counts rebalances; 0 before the first.
    pub generation: i32,
    /// By member id.
    pub members: BTreeMap<String, Member>,
    /// When the state last changed, in wall-clock milliseconds given by the shell; decides when offsets may expire.
    pub state_since: i64,
    pub(super) limits: GroupLimits,
    pub(super) static_members: BTreeMap<String, String>,
    /// Ids handed out with MEMBER_ID_REQUIRED, each with its deadline.
    pub(super) pending: BTreeMap<String, Millis>,
    pub(super) pending_sync: BTreeSet<String>,
    pub(super) sync_deadline: Millis,
    pub(super) join_deadline: Millis,
    /// While set, the first rebalance of an empty group waits for more members: until (hard limit, anyone came since).
    pub(super) initial_wait: Option<(Millis, bool)>,
    pub(super) joins: u64,
}

impl Group {
    /// An empty group.
    pub fn new(id: &str, limits: GroupLimits) -> Self {
        Self {
            id: id.to_owned(),
            state: GroupState::Empty,
            protocol_type: None,
            protocol: None,
            leader: None,
            generation: 0,
            members: BTreeMap::new(),
            state_since: 0,
            limits,
            static_members: BTreeMap::new(),
            pending: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            sync_deadline: Millis::MAX,
            join_deadline: Millis::MAX,
            initial_wait: None,
            joins: 0,
        }
    }

    /// A group read back from `__consumer_offsets`: its members have one session from now to be heard of.
    pub fn restore(id: &str, limits: GroupLimits, value: GroupValue, now: Millis) -> Self {
        let mut group = Self::new(id, limits);
        group.protocol_type = Some(value.protocol_type).filter(|t| !t.is_empty());
        group.generation = value.generation;
        group.leader = value.leader;
        group.state_since = value.state_since;
        group.state = if value.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        let protocol = value.protocol.clone().unwrap_or_default();
        group.protocol = value.protocol;
        for member in value.members {
            let member = Member::restored(member, &protocol, group.joins, now);
            group.joins += 1;
            if let Some(instance) = &member.instance_id {
                group.static_members.insert(instance.clone(), member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        group
    }

    /// A stable group of these members, made from a consumer group (KIP-848, online migration).
    pub(super) fn from_parts(
        id: &str,
        limits: GroupLimits,
        protocol_type: &str,
        generation: i32,
        members: Vec<ClassicParts>,
        now: Millis,
    ) -> Self {
        let mut group = Self::new(id, limits);
        group.protocol_type = Some(protocol_type.to_owned());
        group.generation = generation;
        for parts in members {
            let member = Member::from_parts(parts, group.joins, now);
            group.joins += 1;
            if let Some(instance) = &member.instance_id {
                group.static_members.insert(instance.clone(), member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        group.leader = group.members.keys().next().cloned();
        group.protocol = group.select_protocol();
        group.state = if group.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        group
    }

    /// Starts a rebalance from outside: the group was converted, say.
    pub fn rebalance(&mut self, why: &'static str, now: Millis) -> Vec<Effect> {
        let mut out = Vec::new();
        if !self.members.is_empty() {
            self.prepare_rebalance(why, now, &mut out);
            self.maybe_complete_join(now, &mut out);
        }
        out
    }

    /// After a restart with a smaller `group.max.size`: whoever is too many is refused when it joins again.
    pub fn shrink(&mut self, now: Millis) -> Vec<Effect> {
        match self.members.len() > self.limits.members_max {
            true => self.rebalance("the group was loaded with too many members", now),
            false => Vec::new(),
        }
    }

    /// Lets go of everyone who waits: the group is converted, and they must ask again.
    pub fn let_go(&mut self) -> Vec<Effect> {
        let mut out = Vec::new();
        for member in self.members.values_mut() {
            if let Some(token) = member.awaiting_join.take() {
                out.push(Effect::Join(token, JoinReply::error(ErrorCode::REBALANCE_IN_PROGRESS, &member.id)));
            }
            if let Some(token) = member.awaiting_sync.take() {
                out.push(Effect::Sync(token, SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS)));
            }
        }
        out
    }

    /// What is written to `__consumer_offsets` for this group now.
    pub fn value(&self) -> GroupValue {
        let protocol = self.protocol.as_deref().unwrap_or("");
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_since: self.state_since,
            members: self.members.values().map(|m| m.value(protocol)).collect(),
        }
    }

    /// Whether nothing would be lost by forgetting the group (its offsets aside).
    pub fn is_vacant(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// From when on the retention of this group's offsets counts (KIP-211).
    pub fn expiry_basis(&self) -> ExpiryBasis {
        // Records of old versions do not say since when the group is empty.
        let unknown = self.state == GroupState::Empty && self.state_since < 0;
        if self.protocol_type.is_none() || unknown {
            return ExpiryBasis::SinceCommit(BTreeSet::new());
        }
        if self.state == GroupState::Empty {
            return ExpiryBasis::SinceEmpty(self.state_since);
        }
        match self.subscribed_topics() {
            Some(topics) if self.state == GroupState::Stable => ExpiryBasis::SinceCommit(topics),
            _ => ExpiryBasis::Never,
        }
    }

    /// Topics that members read, where the group is one of consumers and every member says so.
    pub fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let protocol = self.protocol.as_deref()?;
        let mut out = BTreeSet::new();
        for member in self.members.values() {
            out.extend(subscribed_topics(&member.metadata(protocol))?);
        }
        Some(out)
    }

    /// The earliest time at which `tick` has something to do.
    pub fn next_deadline(&self) -> Option<Millis> {
        let sessions = self.members.values().map(|m| m.session_deadline);
        let all = sessions.chain(self.pending.values().copied());
        all.chain([self.join_deadline, self.sync_deadline]).filter(|d| *d != Millis::MAX).min()
    }

    pub(super) fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|m| m.awaiting_join.is_some())
    }

    pub(super) fn rebalance_timeout(&self) -> Millis {
        self.members.values().map(|m| m.rebalance_timeout.max(0) as Millis).max().unwrap_or(0)
    }

    /// Protocols that every member offers.
    fn candidates(&self) -> Vec<String> {
        let mut members = self.members.values();
        let Some(first) = members.next() else { return Vec::new() };
        let mut names: Vec<String> = first.protocols.iter().map(|(n, _)| n.clone()).collect();
        for member in members {
            names.retain(|n| member.protocols.iter().any(|(m, _)| m == n));
        }
        names
    }

    /// Each member votes for its first choice among those that all offer; the most votes win, the first voted breaks ties.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let candidates = self.candidates();
        let mut votes: Vec<(String, usize)> = Vec::new();
        let mut members: Vec<&Member> = self.members.values().collect();
        members.sort_by_key(|m| m.joined);
        for member in members {
            let Some((choice, _)) = member.protocols.iter().find(|(n, _)| candidates.contains(n)) else { continue };
            match votes.iter_mut().find(|(n, _)| n == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice.clone(), 1)),
            }
        }
        let most = votes.iter().map(|(_, c)| *c).max()?;
        votes.into_iter().find(|(_, c)| *c == most).map(|(n, _)| n)
    }

    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.members.is_empty() {
            return true;
        }
        let candidates = self.candidates();
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(|(n, _)| candidates.contains(n))
    }

    pub(super) fn set_state(&mut self, state: GroupState) {
        self.state = state;
        if state != GroupState::PreparingRebalance {
            self.join_deadline = Millis::MAX;
            self.initial_wait = None;
        }
        if state != GroupState::CompletingRebalance {
            // A member that has not yet fetched its assignment of a stable generation is still watched by its session.
            self.sync_deadline = Millis::MAX;
            self.pending_sync.clear();
        }
    }

    pub(super) fn prepare_rebalance(&mut self, why: &'static str, now: Millis, out: &mut Vec<Effect>) {
        if self.state == GroupState::PreparingRebalance {
            return;
        }
        if self.state == GroupState::CompletingRebalance {
            self.drop_assignments(out);
        }
        let from_empty = self.state == GroupState::Empty;
        self.set_state(GroupState::PreparingRebalance);
        out.push(Effect::Rebalance(why));
        let timeout = self.rebalance_timeout();
        let delay = self.limits.initial_rebalance_delay;
        if from_empty && delay > 0 {
            self.initial_wait = Some((now + timeout, false));
            self.join_deadline = now + delay.min(timeout);
        } else {
            self.join_deadline = now + timeout;
        }
    }

    pub(super) fn drop_assignments(&mut self, out: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(token) = member.awaiting_sync.take() {
                out.push(Effect::Sync(token, SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS)));
            }
        }
    }

    /// Ends the join phase if everyone is here.
    pub(super) fn maybe_complete_join(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.state == GroupState::PreparingRebalance && self.initial_wait.is_none() && self.all_joined() {
            self.complete_join(now, out);
        }
    }

    /// Starts the next generation with whoever has joined.
    pub(super) fn complete_join(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let late: Vec<String> = self
            .members
            .values()
            .filter(|m| m.awaiting_join.is_none() && m.instance_id.is_none())
            .map(|m| m.id.clone())
            .collect();
        for id in late {
            self.forget(&id, ErrorCode::UNKNOWN_MEMBER_ID, out);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members that have not come back: wait for one of them, or for their sessions to end.
            self.join_deadline = now + self.rebalance_timeout();
            return;
        }
        self.generation += 1;
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.set_state(GroupState::Empty);
            out.push(Effect::Persist);
            return;
        }
        self.protocol = self.select_protocol();
        self.set_state(GroupState::CompletingRebalance);
        self.pending_sync = self.members.keys().cloned().collect();
        self.sync_deadline = now + self.rebalance_timeout();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.join_reply(&id);
            let member = self.members.get_mut(&id).expect("taken from the map's own keys");
            member.is_new = false;
            member.heard(now);
            if let Some(token) = member.awaiting_join.take() {
                out.push(Effect::Join(token, reply));
            }
        }
    }

    fn elect_joined_leader(&mut self) -> bool {
        let joined = |m: &&Member| m.awaiting_join.is_some();
        let keeps = self.leader.as_ref().and_then(|l| self.members.get(l)).filter(joined).is_some();
        if !keeps {
            let next = self.members.values().filter(joined).min_by_key(|m| m.joined).map(|m| m.id.clone());
            if next.is_none() {
                return false;
            }
            self.leader = next;
        }
        true
    }

    /// What a member of the current generation is told.
    pub(super) fn join_reply(&self, member_id: &str) -> JoinReply {
        let leader = self.leader.clone().unwrap_or_default();
        let members = if leader == member_id { self.member_metadata() } else { Vec::new() };
        JoinReply {
            error: ErrorCode::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader,
            member_id: member_id.to_owned(),
            skip_assignment: false,
            members,
        }
    }

    pub(super) fn member_metadata(&self) -> Vec<(String, Option<String>, Bytes)> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        self.members.values().map(|m| (m.id.clone(), m.instance_id.clone(), m.metadata(protocol))).collect()
    }

    /// Removes a member, answering whatever it waits for.
    pub(super) fn forget(&mut self, id: &str, error: ErrorCode, out: &mut Vec<Effect>) {
        let Some(mut member) = self.members.remove(id) else { return };
        if let Some(token) = member.awaiting_join.take() {
            out.push(Effect::Join(token, JoinReply::error(error, id)));
        }
        if let Some(token) = member.awaiting_sync.take() {
            out.push(Effect::Sync(token, SyncReply::error(error)));
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.remove(instance);
        }
        self.pending_sync.remove(id);
        if self.leader.as_deref() == Some(id) {
            let next = self.members.values().min_by_key(|m| (m.awaiting_join.is_none(), m.joined));
            self.leader = next.map(|m| m.id.clone());
        }
    }
}
