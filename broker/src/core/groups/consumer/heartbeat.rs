//! ConsumerGroupHeartbeat.

use std::borrow::Cow;
use std::collections::BTreeMap;

use causeway_wire::ErrorCode;

use super::assignor::Assignor;
use super::group::TimerChange;
use super::reconcile::Goal;
use super::target::View;
use super::{
    ConsumerGroup, ConsumerLimits, ConsumerMember, Decision, HeartbeatReply, HeartbeatRequest, LEAVE, LEAVE_STATIC,
    MemberMetadata, Partitions, Record, Refusal, Topics, refuse,
};

/// What a request means before any group is looked at.
pub fn check_request(
    group_id: &str,
    r: &HeartbeatRequest,
    version: i16,
    limits: &ConsumerLimits,
) -> Result<(), Refusal> {
    let invalid = |why: &str| refuse(ErrorCode::INVALID_REQUEST, why);
    if group_id.trim().is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if r.instance_id.as_ref().is_some_and(|i| i.trim().is_empty()) {
        return invalid("InstanceId can't be empty.");
    }
    if r.rack_id.as_ref().is_some_and(|i| i.trim().is_empty()) {
        return invalid("RackId can't be empty.");
    }
    if r.member_id.trim().is_empty() && (version >= 1 || r.epoch != 0) {
        return invalid("MemberId can't be empty.");
    }
    match r.epoch {
        0 if r.rebalance_timeout == -1 => return invalid("RebalanceTimeoutMs must be provided in first request."),
        0 if r.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        0 if r.topics.is_none() && r.regex.is_none() => {
            return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
        }
        LEAVE_STATIC if r.instance_id.is_none() => return invalid("InstanceId can't be null."),
        LEAVE | LEAVE_STATIC | 0.. => {}
        _ => return invalid("MemberEpoch is invalid."),
    }
    if let Some(name) = &r.assignor
        && !limits.assignors.iter().any(|a| a.name() == name)
    {
        let known: Vec<&str> = limits.assignors.iter().map(|a| Assignor::name(*a)).collect();
        return refuse(
            ErrorCode::UNSUPPORTED_ASSIGNOR,
            format!("ServerAssignor {name} is not supported. Supported assignors: {}.", known.join(", ")),
        );
    }
    Ok(())
}

/// The member a request is about: as it is, and what must be written to make it so.
pub(super) struct Found {
    pub member: ConsumerMember,
    /// The static member whose place it takes.
    pub replaced: Option<String>,
    pub records: Vec<Record>,
}

impl ConsumerGroup {
    /// A member joins or says that it lives. `epoch` is 0 or greater.
    pub fn heartbeat(
        &self,
        request: &HeartbeatRequest,
        limits: &ConsumerLimits,
        topics: &dyn Topics,
        wall_ms: i64,
    ) -> Result<Decision<HeartbeatReply>, Refusal> {
        let joins = request.epoch == 0;
        let id = if request.member_id.is_empty() { &request.new_member_id } else { &request.member_id };
        self.check_room(id, limits)?;
        let Found { member, replaced, mut records } = match &request.instance_id {
            None => self.find_dynamic(id, request, joins)?,
            Some(instance) => self.find_static(id, instance, request, joins)?,
        };
        let mut updated = member.clone();
        updated.meta = metadata(&member.meta, request);
        let owned = request.owned.as_ref();
        let change = Change { member: &member, replaced: replaced.as_deref(), owned };
        let seen = self.settle(&change, &mut updated, limits, topics, wall_ms, &mut records)?;
        let changed = member.current.assigned != updated.current.assigned;
        let reply = HeartbeatReply {
            member_id: updated.id.clone(),
            epoch: updated.current.epoch,
            heartbeat_interval: limits.heartbeat_interval,
            assignment: (joins || request.is_full() || changed).then(|| updated.assigned()),
        };
        let timers = vec![
            TimerChange::Session(updated.id.clone(), limits.session_timeout),
            TimerChange::Joined(updated.id.clone()),
            TimerChange::Synced(updated.id.clone()),
        ];
        Ok(Decision { records, reply, timers, seen: Some(seen) })
    }

    /// Kafka refuses only those that are not in yet.
    pub(super) fn check_room(&self, id: &str, limits: &ConsumerLimits) -> Result<(), Refusal> {
        if self.members.len() >= limits.members_max && !self.members.contains_key(id) {
            let max = limits.members_max;
            return refuse(
                ErrorCode::GROUP_MAX_SIZE_REACHED,
                format!("The consumer group has reached its maximum capacity of {max} members."),
            );
        }
        Ok(())
    }

    /// A member by its id, or the refusal.
    pub(super) fn known(&self, id: &str) -> Result<&ConsumerMember, Refusal> {
        match self.members.get(id) {
            Some(member) => Ok(member),
            None => refuse(ErrorCode::UNKNOWN_MEMBER_ID, format!("Member {id} is not a member of group {}.", self.id)),
        }
    }

    fn find_dynamic(&self, id: &str, request: &HeartbeatRequest, joins: bool) -> Result<Found, Refusal> {
        let member = match self.members.get(id) {
            None if joins => ConsumerMember::new(id),
            _ => self.known(id)?.clone(),
        };
        check_epoch(&member, request)?;
        Ok(Found { member, replaced: None, records: Vec::new() })
    }

    fn find_static(&self, id: &str, instance: &str, request: &HeartbeatRequest, joins: bool) -> Result<Found, Refusal> {
        let holder = self.static_member(instance);
        if !joins {
            let holder = self.check_holder(holder, id, instance)?;
            check_epoch(holder, request)?;
            return Ok(Found { member: holder.clone(), replaced: None, records: Vec::new() });
        }
        let Some(holder) = holder else { return self.find_dynamic(id, request, joins) };
        if !holder.is_classic() && holder.current.epoch != LEAVE_STATIC {
            return refuse(
                ErrorCode::UNRELEASED_INSTANCE_ID,
                format!(
                    "Static member {id} with instance id {instance} cannot join the group because the instance id is \
                     owned by {} member.",
                    holder.id
                ),
            );
        }
        Ok(self.replace(holder, id))
    }

    /// The holder of a static id, if it is the one who asks.
    pub(super) fn check_holder<'a>(
        &self,
        holder: Option<&'a ConsumerMember>,
        id: &str,
        instance: &str,
    ) -> Result<&'a ConsumerMember, Refusal> {
        match holder {
            None => refuse(ErrorCode::UNKNOWN_MEMBER_ID, format!("Instance id {instance} is unknown.")),
            Some(holder) if holder.id != id => refuse(
                ErrorCode::FENCED_INSTANCE_ID,
                format!("Static member {id} with instance id {instance} was fenced by member {}.", holder.id),
            ),
            Some(holder) => Ok(holder),
        }
    }

    /// A static member came back under another id: it takes over what the old one had.
    pub(super) fn replace(&self, old: &ConsumerMember, id: &str) -> Found {
        let mut member = ConsumerMember { id: id.to_owned(), ..old.clone() };
        (member.current.epoch, member.current.previous_epoch) = (0, 0);
        let target = self.targets.get(&old.id).cloned().unwrap_or_default();
        let mut records = removal(&old.id);
        records.push(Record::Member(id.to_owned(), Some(member.meta.clone())));
        records.push(Record::Target(id.to_owned(), Some(target)));
        records.push(Record::Current(id.to_owned(), Some(member.current.clone())));
        Found { member, replaced: Some(old.id.clone()), records }
    }

    /// Everything that follows from a member's new metadata: epoch, target and the member's own next step. Returns the
    /// version of the topics looked at.
    pub(super) fn settle(
        &self,
        change: &Change<'_>,
        updated: &mut ConsumerMember,
        limits: &ConsumerLimits,
        topics: &dyn Topics,
        wall_ms: i64,
        records: &mut Vec<Record>,
    ) -> Result<u64, Refusal> {
        let before = &change.member.meta;
        if updated.meta != *before || !(self.members.contains_key(&updated.id) || change.replaced.is_some()) {
            records.push(Record::Member(updated.id.clone(), Some(updated.meta.clone())));
        }
        let snapshot = updated.clone();
        let mut view = View {
            group: self,
            updated: Some(&snapshot),
            without: Vec::new(),
            replaced: change.replaced,
            regexes: Cow::Borrowed(&self.regexes),
        };
        let by_regex = view.update_regexes(&before.regex, topics, wall_ms, records)?;
        let subscription_changed = by_regex || updated.meta.topics != before.topics;
        let mut bump = subscription_changed;
        let mut epoch = self.epoch;
        if bump || self.seen != Some(topics.version()) {
            let hash = view.hash(topics);
            bump |= hash != self.hash;
            if bump {
                let (next, record) = view.bump(hash);
                epoch = next;
                records.push(record);
            }
        }
        let (target_epoch, target): (i32, Partitions) = if epoch > self.target_epoch
            && self.may_assign(limits.assignment_interval, wall_ms)
        {
            let (changes, mut targets): (_, BTreeMap<String, Partitions>) = view.target(epoch, limits, topics, wall_ms);
            records.extend(changes);
            (epoch, targets.remove(&updated.id).unwrap_or_default())
        } else {
            let id = change.replaced.unwrap_or(&updated.id);
            (self.target_epoch, self.targets.get(id).cloned().unwrap_or_default())
        };
        let subscribed = view.wanted(updated, topics);
        let goal = Goal {
            epoch: target_epoch,
            target: &target,
            subscribed: &subscribed,
            subscription_changed,
            owned: change.owned,
        };
        let next = self.reconcile(updated, &goal)?;
        if next != updated.current {
            records.push(Record::Current(updated.id.clone(), Some(next.clone())));
            updated.current = next;
        }
        Ok(topics.version())
    }
}

/// The member that `settle` is about, before its change.
pub(super) struct Change<'a> {
    pub member: &'a ConsumerMember,
    pub replaced: Option<&'a str>,
    pub owned: Option<&'a Partitions>,
}

fn metadata(before: &MemberMetadata, r: &HeartbeatRequest) -> MemberMetadata {
    MemberMetadata {
        instance_id: r.instance_id.clone().or_else(|| before.instance_id.clone()),
        rack_id: r.rack_id.clone().or_else(|| before.rack_id.clone()),
        client_id: r.client_id.clone(),
        client_host: r.client_host.clone(),
        topics: r.topics.as_ref().map_or_else(|| before.topics.clone(), |t| t.iter().cloned().collect()),
        regex: r.regex.clone().unwrap_or_else(|| before.regex.clone()),
        rebalance_timeout: if r.rebalance_timeout == -1 { before.rebalance_timeout } else { r.rebalance_timeout },
        assignor: r.assignor.clone().or_else(|| before.assignor.clone()),
        classic: None,
    }
}

/// Epoch 0 always may rejoin; the previous one only while its answer may have been lost.
fn check_epoch(member: &ConsumerMember, request: &HeartbeatRequest) -> Result<(), Refusal> {
    let (received, known) = (request.epoch, member.current.epoch);
    let lost_answer = received == member.current.previous_epoch && member.covers(request.owned.as_ref());
    let than = match received {
        0 => return Ok(()),
        _ if received == known => return Ok(()),
        _ if received < known && lost_answer => return Ok(()),
        _ if received > known => "greater",
        _ => "smaller",
    };
    refuse(
        ErrorCode::FENCED_MEMBER_EPOCH,
        format!(
            "The consumer group member has a {than} member epoch ({received}) than the one known by the group \
             coordinator ({known}). The member must abandon all its partitions and rejoin."
        ),
    )
}

/// Records that make a member not be there.
pub(super) fn removal(id: &str) -> Vec<Record> {
    vec![Record::Current(id.to_owned(), None), Record::Target(id.to_owned(), None), Record::Member(id.to_owned(), None)]
}
