//! Heartbeat, LeaveGroup, commits and the passing of time.

use causeway_wire::ErrorCode;

use super::{Effect, Group, GroupState, Millis};

impl Group {
    /// Whether `member_id` (with `instance_id`, if static) is a member.
    pub fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            return match self.static_members.get(instance) {
                None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
                Some(id) if id != member_id => Err(ErrorCode::FENCED_INSTANCE_ID),
                Some(_) => Ok(()),
            };
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    /// A sign of life; the answer's error code.
    pub fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Millis,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard(now);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            GroupState::PreparingRebalance => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    /// Whether a commit by this member, or by nobody (`generation` -1, empty id), may go on.
    pub fn check_commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        now: Millis,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            let free = self.members.is_empty();
            return if free { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) };
        }
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        if self.state == GroupState::CompletingRebalance {
            // The assignment is about to change hands; the client must sync first.
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        if let Some(member) = self.members.get_mut(member_id) {
            member.heard(now);
        }
        Ok(())
    }

    /// One member of a LeaveGroup request; an admin removes a static one by its instance id alone.
    pub fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        if self.pending.remove(member_id).is_some() {
            self.maybe_complete_join(now, out);
            return Ok(());
        }
        let id = match instance_id {
            Some(instance) if member_id.is_empty() => {
                self.static_members.get(instance).cloned().ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?
            }
            _ => {
                self.check_member(member_id, instance_id)?;
                member_id.to_owned()
            }
        };
        self.remove(&id, "a member left", now, out);
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str, why: &'static str, now: Millis, out: &mut Vec<Effect>) {
        self.forget(id, ErrorCode::UNKNOWN_MEMBER_ID, out);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => {
                self.prepare_rebalance(why, now, out);
                self.maybe_complete_join(now, out);
            }
            GroupState::PreparingRebalance => self.maybe_complete_join(now, out),
            GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// Acts on every deadline that has passed.
    pub fn tick(&mut self, now: Millis) -> Vec<Effect> {
        let mut out = Vec::new();
        let before = self.pending.len();
        self.pending.retain(|_, deadline| *deadline > now);
        if self.pending.len() != before {
            self.maybe_complete_join(now, &mut out);
        }
        let silent: Vec<String> = self.members.values().filter(|m| m.expired(now)).map(|m| m.id.clone()).collect();
        for id in silent {
            self.remove(&id, "a member's session ended", now, &mut out);
        }
        if now >= self.sync_deadline {
            self.sync_deadline = Millis::MAX;
            let missing = std::mem::take(&mut self.pending_sync);
            for id in missing {
                self.remove(&id, "a member did not fetch its assignment", now, &mut out);
            }
        }
        if now >= self.join_deadline {
            self.join_timeout(now, &mut out);
        }
        // A member that waits for an answer is not silent: look at it again a session later.
        for member in self.members.values_mut() {
            if member.session_deadline <= now {
                member.heard(now);
            }
        }
        out
    }

    fn join_timeout(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if let Some((limit, came)) = self.initial_wait {
            if came && now < limit {
                self.initial_wait = Some((limit, false));
                self.join_deadline = (now + self.limits.initial_rebalance_delay).min(limit);
                return;
            }
            self.initial_wait = None;
        }
        self.complete_join(now, out);
    }
}
