//! Members of a consumer group that still speak the classic protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup are
//! turned into the same decisions (KIP-848, online migration). Their generation is their member epoch.

use causeway_wire::ErrorCode;

use super::group::TimerChange;
use super::heartbeat::{Change, Found};
use super::protocol::{Subscription, encode_assignment, version_of};
use super::{
    ClassicSide, ConsumerGroup, ConsumerLimits, ConsumerMember, Decision, MemberMetadata, MemberState, Refusal, Topics,
    refuse,
};
use crate::core::groups::{JoinReply, JoinRequest, SyncReply, SyncRequest};

/// The protocol type of consumers.
pub const CONSUMER: &str = "consumer";

/// How a JoinGroup of a consumer group ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// What to write and to answer.
    pub decision: Decision<JoinReply>,
    /// Every member speaks the classic protocol now: once this is in force, convert the group.
    pub downgrades: bool,
    /// The member wants other topics than the one it replaces, or the target is old: the classic group must rebalance.
    pub rebalances: bool,
}

/// How a SyncGroup of a consumer group ends.
pub type Synced = Decision<SyncReply>;

impl ConsumerGroup {
    /// JoinGroup.
    pub fn classic_join(
        &self,
        request: &JoinRequest,
        limits: &ConsumerLimits,
        topics: &dyn Topics,
        wall_ms: i64,
    ) -> Result<Joined, Refusal> {
        let unknown = request.member_id.is_empty();
        let id = if unknown { &request.new_member_id } else { &request.member_id };
        self.check_room(id, limits)?;
        self.check_protocols(id, request)?;
        if unknown && request.require_known_member_id && request.instance_id.is_none() {
            let reply = JoinReply::error(ErrorCode::MEMBER_ID_REQUIRED, id);
            let decision = Decision::of(Vec::new(), reply);
            return Ok(Joined { decision, downgrades: false, rebalances: false });
        }
        let Found { member, replaced, mut records } = self.find_classic(id, request)?;
        let (name, metadata) = request.protocols.first().expect("check_protocols wants one");
        let Some(subscription) = Subscription::decode(metadata, topics) else {
            return refuse(ErrorCode::UNKNOWN_SERVER_ERROR, "Malformed embedded consumer protocol.");
        };
        let mut updated = member.clone();
        updated.meta = classic_metadata(&member.meta, request, &subscription);
        let downgrades = self.downgrades_by(replaced.as_deref(), limits);
        let change = Change { member: &member, replaced: replaced.as_deref(), owned: Some(&subscription.owned) };
        let seen = self.settle(&change, &mut updated, limits, topics, wall_ms, &mut records)?;
        let reply = JoinReply {
            generation: updated.current.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol: Some(name.clone()),
            member_id: updated.id.clone(),
            ..JoinReply::default()
        };
        let id = &updated.id;
        let timers = vec![
            TimerChange::Joined(id.clone()),
            TimerChange::Session(id.clone(), request.session_timeout),
            TimerChange::Sync(id.clone(), request.rebalance_timeout),
        ];
        let stale = self.target_epoch < self.epoch;
        let rebalances = stale || updated.meta.topics != member.meta.topics || !member.meta.regex.is_empty();
        Ok(Joined { decision: Decision { records, reply, timers, seen: Some(seen) }, downgrades, rebalances })
    }

    fn check_protocols(&self, id: &str, request: &JoinRequest) -> Result<(), Refusal> {
        let classics: Vec<&ClassicSide> = self.members.values().filter_map(|m| m.meta.classic.as_ref()).collect();
        let shared = |name: &str| classics.iter().all(|c| c.protocols.iter().any(|(n, _)| n == name));
        if request.protocol_type == CONSUMER && request.protocols.iter().any(|(name, _)| shared(name)) {
            return Ok(());
        }
        refuse(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, format!("Member {id}'s protocols are not supported."))
    }

    fn find_classic(&self, id: &str, request: &JoinRequest) -> Result<Found, Refusal> {
        let unknown = request.member_id.is_empty();
        let fresh = |member: ConsumerMember| Found { member, replaced: None, records: Vec::new() };
        let known = || self.members.get(id).cloned().unwrap_or_else(|| ConsumerMember::new(id));
        let Some(instance) = &request.instance_id else { return Ok(fresh(known())) };
        match self.static_member(instance) {
            None if unknown => Ok(fresh(known())),
            Some(holder) if unknown => Ok(self.replace(holder, id)),
            holder => self.check_holder(holder, id, instance).map(|holder| fresh(holder.clone())),
        }
    }

    /// Whether the last member of the consumer protocol is the one that is replaced.
    fn downgrades_by(&self, replaced: Option<&str>, limits: &ConsumerLimits) -> bool {
        let Some(replaced) = replaced else { return false };
        let only = |m: &ConsumerMember| (m.id == replaced) != m.is_classic();
        limits.migration.down() && self.members.len() <= limits.classic_members_max && self.members.values().all(only)
    }

    fn classic_member(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<&ConsumerMember, Refusal> {
        let member = match instance {
            None => self.known(id)?,
            Some(instance) => self.check_holder(self.static_member(instance), id, instance)?,
        };
        self.must_be_classic(&member.id)?;
        if member.current.epoch != generation {
            return refuse(
                ErrorCode::ILLEGAL_GENERATION,
                format!("Generation {generation} is not the epoch {} of member {id}.", member.current.epoch),
            );
        }
        Ok(member)
    }

    /// SyncGroup: the assignment comes from here, whatever the leader of an older time may have sent.
    pub fn classic_sync(&self, request: &SyncRequest, topics: &dyn Topics) -> Result<Synced, (Refusal, Decision<()>)> {
        let plain = |refusal| (refusal, Decision::of(Vec::new(), ()));
        let member = self
            .classic_member(&request.member_id, request.instance_id.as_deref(), request.generation)
            .map_err(plain)?;
        let classic = member.meta.classic.as_ref().expect("classic_member returns none but classic ones");
        let (name, metadata) = classic.protocols.first().cloned().unwrap_or_default();
        let differs = |given: &Option<String>, ours: &str| given.as_ref().is_some_and(|g| g != ours);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol, &name) {
            let refusal = refuse::<()>(ErrorCode::INCONSISTENT_GROUP_PROTOCOL, "The protocol is another one.");
            return Err(plain(refusal.expect_err("made above")));
        }
        if self.target_epoch > member.current.epoch && member.current.state != MemberState::Unrevoked {
            let mut must_join = Decision::of(Vec::new(), ());
            must_join.timers = vec![TimerChange::JoinIfAbsent(member.id.clone(), member.meta.rebalance_timeout)];
            let refusal = refuse::<()>(ErrorCode::REBALANCE_IN_PROGRESS, "A new rebalance is triggered: join again.");
            return Err((refusal.expect_err("made above"), must_join));
        }
        let reply = SyncReply {
            error: ErrorCode::NONE,
            protocol_type: request.protocol_type.clone(),
            protocol: request.protocol.clone(),
            assignment: encode_assignment(&member.current.assigned, version_of(&metadata), topics),
        };
        let mut decision = Decision::of(Vec::new(), reply);
        decision.timers = vec![
            TimerChange::Synced(member.id.clone()),
            TimerChange::Session(member.id.clone(), classic.session_timeout),
        ];
        Ok(decision)
    }

    /// Heartbeat: the answer's code. A member that has something to give back or to take is told to join again.
    pub fn classic_heartbeat(
        &self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        limits: &ConsumerLimits,
        wall_ms: i64,
    ) -> Result<Decision<ErrorCode>, Refusal> {
        let member = self.classic_member(id, instance, generation)?;
        let session = member.meta.classic.as_ref().map_or(0, |c| c.session_timeout);
        // Kafka 4.3 waits here for a member of the consumer protocol to have a target made; a group without one would wait
        // for ever, so whoever may have it made is called.
        let target_due = self.target_epoch < self.epoch && self.may_assign(limits.assignment_interval, wall_ms);
        let behind = member.current.epoch < self.target_epoch || target_due;
        let can_take = member.current.state == MemberState::Unreleased && !self.waits_for_others(member);
        let must_join = behind || can_take || member.current.state == MemberState::Unrevoked;
        let code = if must_join { ErrorCode::REBALANCE_IN_PROGRESS } else { ErrorCode::NONE };
        let mut decision = Decision::of(Vec::new(), code);
        decision.timers.push(TimerChange::Session(member.id.clone(), session));
        if must_join {
            decision.timers.push(TimerChange::JoinIfAbsent(member.id.clone(), member.meta.rebalance_timeout));
        }
        Ok(decision)
    }

    fn waits_for_others(&self, member: &ConsumerMember) -> bool {
        let target = self.targets.get(&member.id).into_iter().flatten();
        target.flat_map(|(topic, partitions)| partitions.iter().map(move |p| (topic, p))).any(|(topic, partition)| {
            let has = member.current.assigned.get(topic).is_some_and(|a| a.contains_key(partition));
            !has && self.owner(*topic, *partition).is_some()
        })
    }

    /// One member of a LeaveGroup, which an admin may send for members of either protocol: the id of the member to take out.
    pub fn classic_leave(&self, id: &str, instance: Option<&str>) -> Result<String, ErrorCode> {
        let member = match instance {
            None => self.known(id),
            Some(instance) if id.is_empty() => match self.static_member(instance) {
                Some(member) => Ok(member),
                None => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
            },
            Some(instance) => self.check_holder(self.static_member(instance), id, instance),
        };
        member.map(|m| m.id.clone()).map_err(|r| r.code)
    }
}

fn classic_metadata(before: &MemberMetadata, request: &JoinRequest, subscription: &Subscription) -> MemberMetadata {
    MemberMetadata {
        instance_id: request.instance_id.clone().or_else(|| before.instance_id.clone()),
        rack_id: subscription.rack_id.clone().or_else(|| before.rack_id.clone()),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topics: subscription.topics.clone(),
        regex: String::new(),
        rebalance_timeout: request.rebalance_timeout,
        assignor: before.assignor.clone(),
        classic: Some(ClassicSide { session_timeout: request.session_timeout, protocols: request.protocols.clone() }),
    }
}
