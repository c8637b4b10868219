//! SyncGroup.

use causeway_wire::ErrorCode;

use super::{Effect, Group, GroupState, Millis, SyncReply, SyncRequest, Token};

impl Group {
    /// A member asks for its assignment; the leader brings all of them. The answer comes as an effect now or later.
    pub fn sync(&mut self, request: &SyncRequest, token: Token, now: Millis) -> Vec<Effect> {
        let mut out = Vec::new();
        if let Err(error) = self.try_sync(request, token, now, &mut out) {
            out.push(Effect::Sync(token, SyncReply::error(error)));
        }
        out
    }

    fn try_sync(
        &mut self,
        request: &SyncRequest,
        token: Token,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |given: &Option<String>, ours: &Option<String>| given.is_some() && given != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            GroupState::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            GroupState::CompletingRebalance => {
                self.await_assignment(request, token, now, out);
                Ok(())
            }
            GroupState::Stable => {
                let reply = self.sync_reply(&request.member_id);
                if let Some(member) = self.members.get_mut(&request.member_id) {
                    member.heard(now);
                }
                out.push(Effect::Sync(token, reply));
                Ok(())
            }
        }
    }

    fn await_assignment(&mut self, request: &SyncRequest, token: Token, now: Millis, out: &mut Vec<Effect>) {
        self.pending_sync.remove(&request.member_id);
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.heard(now);
            if let Some(old) = member.awaiting_sync.replace(token) {
                out.push(Effect::Sync(old, SyncReply::error(ErrorCode::REBALANCE_IN_PROGRESS)));
            }
        }
        if self.leader.as_deref() != Some(&request.member_id) {
            return;
        }
        for member in self.members.values_mut() {
            let given = request.assignments.iter().find(|(id, _)| *id == member.id);
            member.assignment = given.map(|(_, a)| a.clone()).unwrap_or_default();
        }
        let missing = std::mem::take(&mut self.pending_sync);
        let deadline = self.sync_deadline;
        self.set_state(GroupState::Stable);
        // Members that have not asked yet keep the deadline they had (KAFKA-13749): without a sync they hold partitions idle.
        if !missing.is_empty() {
            self.pending_sync = missing;
            self.sync_deadline = deadline;
        }
        out.push(Effect::Persist);
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let reply = self.sync_reply(&id);
            let member = self.members.get_mut(&id).expect("taken from the map's own keys");
            if let Some(token) = member.awaiting_sync.take() {
                member.heard(now);
                out.push(Effect::Sync(token, reply));
            }
        }
    }

    fn sync_reply(&mut self, member_id: &str) -> SyncReply {
        if self.state == GroupState::Stable && self.pending_sync.remove(member_id) && self.pending_sync.is_empty() {
            self.sync_deadline = Millis::MAX;
        }
        SyncReply {
            error: ErrorCode::NONE,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(member_id).map(|m| m.assignment.clone()).unwrap_or_default(),
        }
    }
}
