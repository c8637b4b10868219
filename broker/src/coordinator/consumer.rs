//! Consumer groups (KIP-848): decisions of the core are written, put in force and answered here.

use causeway_wire::ErrorCode;

use super::journal::{JournalRecord, Written, group_record};
use super::topics::ImageTopics;
use super::{Coordinator, State};
use crate::core::groups::consumer::{
    ConsumerGroup, ConsumerLimits, Decision, HeartbeatReply, HeartbeatRequest, Leave, Record, Refusal, check_request,
    convert,
};
use crate::core::groups::{Effect, JoinReply, JoinRequest, Millis, SyncReply, SyncRequest};
use crate::meta::clients::ResourceKind;

/// An answer and the write that it waits for.
type Pending<T> = (T, Option<Written>);

fn refusal(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

fn not_written() -> Refusal {
    refusal(ErrorCode::COORDINATOR_NOT_AVAILABLE, "The group's records cannot be written.")
}

fn no_consumer_group(id: &str, is_classic: bool) -> Refusal {
    let message = match is_classic {
        true => format!("Group {id} is not a consumer group."),
        false => format!("Consumer group {id} not found."),
    };
    refusal(ErrorCode::GROUP_ID_NOT_FOUND, message)
}

fn encode(group: &str, records: &[Record]) -> Vec<JournalRecord> {
    records.iter().map(|r| r.encode(group)).collect()
}

async fn settled<T>((reply, written): Pending<T>) -> Result<T, ErrorCode> {
    if let Some(written) = written {
        written.durable().await?;
    }
    Ok(reply)
}

impl Coordinator {
    /// Limits in force for a group: its own settings stand before the broker's.
    pub(super) fn consumer_limits(&self, group: &str) -> ConsumerLimits {
        let own = self.meta.image().clients.resource(ResourceKind::Group, group);
        let number = |key: &str| own.get(key).and_then(|v| v.trim().parse().ok());
        let mut limits = self.consumer.clone();
        limits.session_timeout = number("consumer.session.timeout.ms").unwrap_or(limits.session_timeout);
        limits.heartbeat_interval = number("consumer.heartbeat.interval.ms").unwrap_or(limits.heartbeat_interval);
        limits.assignment_interval = self.assignment_interval(number("consumer.assignment.interval.ms"));
        limits
    }

    /// The only one of these settings that may be altered at run time, for all groups or for one.
    fn assignment_interval(&self, own: Option<i32>) -> i32 {
        const KEY: &str = "group.consumer.assignment.interval.ms";
        let image = self.meta.image();
        let altered = || {
            let of_node = image.node_configs(self.node_id).get(KEY).cloned();
            of_node.or_else(|| image.cluster_configs.get(KEY).cloned())?.trim().parse().ok()
        };
        own.or_else(altered).unwrap_or(self.consumer.assignment_interval)
    }

    /// ConsumerGroupHeartbeat. Returns when what it changed is durable.
    pub async fn consumer_heartbeat(
        &self,
        group: &str,
        request: &HeartbeatRequest,
        version: i16,
    ) -> Result<HeartbeatReply, Refusal> {
        let limits = self.consumer_limits(group);
        check_request(group, request, version, &limits)?;
        let pending = {
            let mut state = self.lock();
            if state.closed {
                return Err(refusal(ErrorCode::COORDINATOR_NOT_AVAILABLE, "The node stops."));
            }
            if request.epoch < 0 {
                self.consumer_leave(&mut state, group, request, &limits)?
            } else {
                self.consumer_beat(&mut state, group, request, &limits)?
            }
        };
        settled(pending).await.map_err(|_| not_written())
    }

    fn consumer_beat(
        &self,
        state: &mut State,
        id: &str,
        request: &HeartbeatRequest,
        limits: &ConsumerLimits,
    ) -> Result<Pending<HeartbeatReply>, Refusal> {
        let (image, now) = (self.meta.image(), self.now());
        let (topics, wall) = (ImageTopics(&image), crate::clock::wall_ms());
        if let Some(group) = state.modern.get(id) {
            let decision = group.heartbeat(request, limits, &topics, wall)?;
            return self.put_in_force(state, id, decision);
        }
        let (mut group, mut records) = self.become_consumer(state, id, request.epoch, limits, &topics, now)?;
        let decision = group.heartbeat(request, limits, &topics, wall)?;
        records.extend(encode(id, &decision.records));
        let written = self.write(id, &records);
        if written.base_offset().is_none() {
            return Err(not_written());
        }
        group.commit(&decision, now);
        tracing::info!(group = id, members = group.members.len(), "consumer group made");
        let effects: Vec<Effect> = state.groups.get_mut(id).map(|g| g.let_go()).unwrap_or_default();
        self.carry_out(state, id, effects);
        state.groups.remove(id);
        state.modern.insert(id.to_owned(), group);
        self.reschedule(state, id);
        Ok((decision.reply, Some(written)))
    }

    /// What stands where no consumer group is yet: nothing, an empty classic group, or one that is converted.
    fn become_consumer(
        &self,
        state: &State,
        id: &str,
        epoch: i32,
        limits: &ConsumerLimits,
        topics: &ImageTopics<'_>,
        now: Millis,
    ) -> Result<(ConsumerGroup, Vec<JournalRecord>), Refusal> {
        match state.groups.get(id) {
            group if epoch != 0 => Err(no_consumer_group(id, group.is_some())),
            None => Ok((ConsumerGroup::new(id), Vec::new())),
            Some(classic) if classic.members.is_empty() => {
                // Nothing was written about a group that only ever handed out member ids or holds offsets.
                let tombstone = (classic.generation > 0).then(|| group_record(id, None));
                Ok((ConsumerGroup::new(id), tombstone.into_iter().collect()))
            }
            Some(classic) => {
                let (group, records) = convert::upgrade(classic, limits, topics, now)?;
                tracing::info!(group = id, members = group.members.len(), "classic group becomes a consumer group");
                let mut journal = vec![group_record(id, None)];
                journal.extend(encode(id, &records));
                Ok((group, journal))
            }
        }
    }

    fn consumer_leave(
        &self,
        state: &mut State,
        id: &str,
        request: &HeartbeatRequest,
        limits: &ConsumerLimits,
    ) -> Result<Pending<HeartbeatReply>, Refusal> {
        let Some(group) = state.modern.get(id) else {
            return Err(no_consumer_group(id, state.groups.contains_key(id)));
        };
        match group.leave(request)? {
            Leave::ForAWhile(decision) => self.put_in_force(state, id, decision),
            Leave::ForGood(reply) => {
                tracing::info!(group = id, member = reply.member_id, "member left the consumer group");
                let written = self.take_out(state, id, std::slice::from_ref(&reply.member_id), limits);
                let written = written.filter(|w| w.base_offset().is_some()).ok_or_else(not_written)?;
                Ok((reply, Some(written)))
            }
        }
    }

    /// Writes a decision's records, then puts it in force.
    fn put_in_force<T: Clone>(
        &self,
        state: &mut State,
        id: &str,
        decision: Decision<T>,
    ) -> Result<Pending<T>, Refusal> {
        let written = match decision.records.is_empty() {
            true => None,
            false => Some(self.write(id, &encode(id, &decision.records))),
        };
        if written.as_ref().is_some_and(|w| w.base_offset().is_none()) {
            return Err(not_written());
        }
        let now = self.now();
        if let Some(group) = state.modern.get_mut(id) {
            let epoch = group.epoch;
            group.commit(&decision, now);
            if group.epoch != epoch {
                let (epoch, members) = (group.epoch, group.members.len());
                tracing::info!(group = id, epoch, members, "consumer group changed");
            }
        }
        self.reschedule(state, id);
        Ok((decision.reply, written))
    }

    pub(super) fn reschedule(&self, state: &mut State, id: &str) {
        let next = state.modern.get(id).and_then(ConsumerGroup::next_deadline);
        if state.schedule.set(id, next) {
            self.timer.notify_one();
        }
    }

    /// Takes members out; the last one of the consumer protocol may take the group back to the classic one.
    fn take_out(&self, state: &mut State, id: &str, members: &[String], limits: &ConsumerLimits) -> Option<Written> {
        let group = state.modern.get(id)?;
        if group.downgrades_without(members, limits) {
            return self.downgrade(state, id, members, Vec::new(), true);
        }
        let image = self.meta.image();
        let decision = group.remove(members, &ImageTopics(&image));
        self.put_in_force(state, id, decision).ok().and_then(|(_, written)| written)
    }

    fn downgrade(
        &self,
        state: &mut State,
        id: &str,
        leaving: &[String],
        mut records: Vec<JournalRecord>,
        rebalances: bool,
    ) -> Option<Written> {
        let group = state.modern.get(id)?;
        let image = self.meta.image();
        let mut classic = convert::downgrade(group, leaving, self.limits, &ImageTopics(&image), self.now());
        classic.state_since = crate::clock::wall_ms();
        records.extend(encode(id, &group.tombstones()));
        records.push(group_record(id, Some(&classic.value())));
        let written = self.write(id, &records);
        written.base_offset()?;
        tracing::info!(group = id, members = classic.members.len(), "consumer group becomes a classic group");
        state.modern.remove(id);
        state.groups.insert(id.to_owned(), classic);
        self.act(state, id, |group, now| match rebalances {
            true => group.rebalance("the group went back to the classic protocol", now),
            false => Vec::new(),
        });
        Some(written)
    }

    /// Fences every member of a consumer group whose time is up.
    pub(super) fn expire_members(&self, state: &mut State, id: &str, now: Millis) {
        let limits = self.consumer_limits(id);
        while let Some((member, why)) = state.modern.get(id).and_then(|g| g.expired(now)) {
            tracing::info!(group = id, member, why, "member fenced from the consumer group");
            if self.take_out(state, id, &[member], &limits).is_none() {
                // The log takes nothing: look again a heartbeat later.
                let later = now + limits.heartbeat_interval.max(1) as Millis;
                state.schedule.set(id, Some(later));
                return;
            }
        }
        self.reschedule(state, id);
    }

    /// JoinGroup where the group is a consumer group with members; None where it is not.
    pub(super) fn join_consumer(
        &self,
        state: &mut State,
        id: &str,
        request: &JoinRequest,
    ) -> Option<Result<Pending<JoinReply>, ErrorCode>> {
        let group = state.modern.get(id)?;
        if group.members.is_empty() {
            // It goes for good: a classic group takes its name.
            let written = self.write(id, &encode(id, &group.tombstones()));
            if written.base_offset().is_none() {
                return Some(Err(ErrorCode::COORDINATOR_NOT_AVAILABLE));
            }
            state.modern.remove(id);
            state.schedule.set(id, None);
            return None;
        }
        if !self.limits.admits_session(request.session_timeout) {
            return Some(Err(ErrorCode::INVALID_SESSION_TIMEOUT));
        }
        let image = self.meta.image();
        let limits = self.consumer_limits(id);
        let joined = group.classic_join(request, &limits, &ImageTopics(&image), crate::clock::wall_ms());
        Some(joined.map_err(|r| r.code).and_then(|joined| {
            if !joined.downgrades {
                return self.put_in_force(state, id, joined.decision).map_err(|r| r.code);
            }
            let before = state.modern.get(id).cloned();
            let records = encode(id, &joined.decision.records);
            if let Some(group) = state.modern.get_mut(id) {
                group.commit(&joined.decision, self.now());
            }
            match self.downgrade(state, id, &[], records, joined.rebalances) {
                Some(written) => Ok((joined.decision.reply, Some(written))),
                None => {
                    state.modern.extend(before.map(|group| (id.to_owned(), group)));
                    Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
                }
            }
        }))
    }

    /// Waits for the write behind an answer.
    pub(super) async fn answered(
        &self,
        pending: Result<Pending<JoinReply>, ErrorCode>,
    ) -> Result<JoinReply, ErrorCode> {
        settled(pending?).await
    }

    /// SyncGroup of a classic member of a consumer group; None where it is none.
    pub(super) fn sync_consumer(&self, state: &mut State, id: &str, request: &SyncRequest) -> Option<SyncReply> {
        let group = state.modern.get(id)?;
        let image = self.meta.image();
        let synced = group.classic_sync(request, &ImageTopics(&image));
        let now = self.now();
        let group = state.modern.get_mut(id)?;
        let reply = match synced {
            Ok(decision) => {
                group.commit(&decision, now);
                decision.reply
            }
            Err((refusal, decision)) => {
                group.commit(&decision, now);
                SyncReply { error: refusal.code, ..SyncReply::default() }
            }
        };
        self.reschedule(state, id);
        Some(reply)
    }

    /// Heartbeat of a classic member of a consumer group; None where it is none.
    pub(super) fn beat_consumer(
        &self,
        state: &mut State,
        id: &str,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Option<Result<(), ErrorCode>> {
        let now = self.now();
        let limits = self.consumer_limits(id);
        let group = state.modern.get_mut(id)?;
        let answer = match group.classic_heartbeat(member, instance, generation, &limits, crate::clock::wall_ms()) {
            Err(refusal) => Err(refusal.code),
            Ok(decision) => {
                group.commit(&decision, now);
                if decision.reply == ErrorCode::NONE { Ok(()) } else { Err(decision.reply) }
            }
        };
        self.reschedule(state, id);
        Some(answer)
    }

    /// LeaveGroup of classic members of a consumer group; None where it is none.
    pub(super) fn leave_consumer(
        &self,
        state: &mut State,
        id: &str,
        members: &[(String, Option<String>)],
    ) -> Option<Vec<Result<(), ErrorCode>>> {
        let group = state.modern.get(id)?;
        let mut found: Vec<Result<String, ErrorCode>> = Vec::with_capacity(members.len());
        for (member, instance) in members {
            let one = group.classic_leave(member, instance.as_deref());
            // Named twice, it leaves once.
            let again = one.as_ref().is_ok_and(|id| found.iter().any(|f| f.as_ref() == Ok(id)));
            found.push(if again { Err(ErrorCode::UNKNOWN_MEMBER_ID) } else { one });
        }
        let leaving: Vec<String> = found.iter().filter_map(|f| f.clone().ok()).collect();
        if !leaving.is_empty() {
            let limits = self.consumer_limits(id);
            if self.take_out(state, id, &leaving, &limits).is_none() {
                return Some(members.iter().map(|_| Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)).collect());
            }
        }
        Some(found.into_iter().map(|f| f.map(|_| ())).collect())
    }
}
