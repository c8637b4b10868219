//! JoinGroup.

use causeway_wire::ErrorCode;

use super::{Effect, Group, GroupState, JoinReply, JoinRequest, Member, Millis, Token};

impl Group {
    /// A member joins or rejoins. The answer to `token` comes as an effect now or later.
    pub fn join(&mut self, request: &JoinRequest, token: Token, now: Millis) -> Vec<Effect> {
        let mut out = Vec::new();
        if let Err(error) = self.try_join(request, token, now, &mut out) {
            out.push(Effect::Join(token, JoinReply::error(error, &request.member_id)));
        }
        out
    }

    fn try_join(
        &mut self,
        request: &JoinRequest,
        token: Token,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        if !self.limits.admits_session(request.session_timeout) {
            return Err(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        if !self.has_room(&request.member_id) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if request.member_id.is_empty() {
            self.join_unknown(request, token, now, out);
            Ok(())
        } else {
            self.join_known(request, token, now, out)
        }
    }

    /// As Kafka: members that are already in may come back, newcomers only while there is room.
    fn has_room(&self, member_id: &str) -> bool {
        let max = self.limits.members_max;
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                let waiting = self.members.values().filter(|m| m.awaiting_join.is_some()).count();
                self.members.get(member_id).is_some_and(|m| m.awaiting_join.is_some()) || waiting < max
            }
            _ => self.members.contains_key(member_id) || self.members.len() < max,
        }
    }

    fn join_unknown(&mut self, request: &JoinRequest, token: Token, now: Millis, out: &mut Vec<Effect>) {
        let id = request.new_member_id.clone();
        if let Some(instance) = &request.instance_id {
            match self.static_members.get(instance).cloned() {
                Some(old) => self.replace_static(&old, request, token, now, out),
                None => self.add_member(id, request, token, now, out),
            }
        } else if request.require_known_member_id {
            self.pending.insert(id.clone(), now + request.session_timeout as Millis);
            out.push(Effect::Join(token, JoinReply::error(ErrorCode::MEMBER_ID_REQUIRED, &id)));
        } else {
            self.add_member(id, request, token, now, out);
        }
    }

    fn join_known(
        &mut self,
        request: &JoinRequest,
        token: Token,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let id = &request.member_id;
        if self.pending.contains_key(id) && request.instance_id.is_none() {
            self.add_member(id.clone(), request, token, now, out);
            return Ok(());
        }
        self.check_member(id, request.instance_id.as_deref())?;
        let member = &self.members[id];
        let same = member.matches(&request.protocols);
        let is_leader = self.leader.as_deref() == Some(id);
        match self.state {
            GroupState::PreparingRebalance => self.rejoin(request, token, now, "a member rejoined", out),
            // The member did not see our answer and asks again: give it again.
            GroupState::CompletingRebalance if same => out.push(Effect::Join(token, self.join_reply(id))),
            GroupState::CompletingRebalance => self.rejoin(request, token, now, "a member changed its metadata", out),
            GroupState::Stable if is_leader => self.rejoin(request, token, now, "the leader rejoined", out),
            GroupState::Stable if !same => self.rejoin(request, token, now, "a member changed its metadata", out),
            GroupState::Stable => out.push(Effect::Join(token, self.join_reply(id))),
            GroupState::Empty | GroupState::Dead => return Err(ErrorCode::UNKNOWN_MEMBER_ID),
        }
        Ok(())
    }

    fn rejoin(&mut self, request: &JoinRequest, token: Token, now: Millis, why: &'static str, out: &mut Vec<Effect>) {
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.protocols = request.protocols.clone();
            member.session_timeout = request.session_timeout;
            member.rebalance_timeout = request.rebalance_timeout;
            member.client_id = request.client_id.clone();
            member.client_host = request.client_host.clone();
            if let Some(old) = member.awaiting_join.replace(token) {
                // The same member on a new connection: the old request must not stay parked.
                out.push(Effect::Join(old, JoinReply::error(ErrorCode::REBALANCE_IN_PROGRESS, &request.member_id)));
            }
        }
        self.prepare_rebalance(why, now, out);
        self.maybe_complete_join(now, out);
    }

    fn add_member(&mut self, id: String, request: &JoinRequest, token: Token, now: Millis, out: &mut Vec<Effect>) {
        self.pending.remove(&id);
        let mut member = Member::new(id.clone(), request, self.joins, now);
        self.joins += 1;
        member.awaiting_join = Some(token);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &request.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.members.insert(id, member);
        if let Some((_, came)) = &mut self.initial_wait {
            *came = true;
        }
        self.prepare_rebalance("a member joined", now, out);
        self.maybe_complete_join(now, out);
    }

    /// A static member came back without its id: it takes the old one's place, if possible without a rebalance.
    fn replace_static(&mut self, old: &str, request: &JoinRequest, token: Token, now: Millis, out: &mut Vec<Effect>) {
        let id = request.new_member_id.clone();
        let Some(mut member) = self.members.remove(old) else { return };
        let leader_before = self.leader.clone();
        if let Some(parked) = member.awaiting_join.take() {
            out.push(Effect::Join(parked, JoinReply::error(ErrorCode::FENCED_INSTANCE_ID, old)));
        }
        if let Some(parked) = member.awaiting_sync.take() {
            out.push(Effect::Sync(parked, super::SyncReply::error(ErrorCode::FENCED_INSTANCE_ID)));
        }
        member.id = id.clone();
        let before = std::mem::replace(&mut member.protocols, request.protocols.clone());
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.client_id = request.client_id.clone();
        member.client_host = request.client_host.clone();
        member.heard(now);
        if let Some(instance) = &request.instance_id {
            self.static_members.insert(instance.clone(), id.clone());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(id.clone());
        }
        if self.leader.as_deref() == Some(old) {
            self.leader = Some(id.clone());
        }
        let is_leader = self.leader.as_deref() == Some(&id);
        self.members.insert(id.clone(), member);
        // A leader with other topics must assign anew, even if the protocol stays (KAFKA-10284 family).
        let unchanged = self.protocol == self.select_protocol() && (!is_leader || before == request.protocols);
        if self.state == GroupState::Stable && unchanged {
            out.push(Effect::Persist);
            let mut reply = self.join_reply(&id);
            if request.can_skip_assignment {
                reply.skip_assignment = is_leader;
            } else {
                // Told the old leader's id, an old client that led will not compute a new assignment.
                reply.leader = leader_before.unwrap_or_default();
                reply.members = Vec::new();
            }
            out.push(Effect::Join(token, reply));
            return;
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.awaiting_join = Some(token);
        }
        self.prepare_rebalance("a static member was replaced", now, out);
        self.maybe_complete_join(now, out);
    }
}
