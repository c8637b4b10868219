//! Leaving, by word or by silence, and what commits and fetches of offsets must show.

use causeway_wire::{ErrorCode, Uuid};

use super::heartbeat::removal;
use super::{
    ConsumerGroup, ConsumerLimits, Current, Decision, HeartbeatReply, HeartbeatRequest, LEAVE_STATIC, Record, Refusal,
    Topics, refuse,
};
use crate::core::groups::Millis;

/// How a member leaves.
#[derive(Debug, Clone, PartialEq)]
pub enum Leave {
    /// A static member that means to come back: it keeps what it has until its session ends.
    ForAWhile(Decision<HeartbeatReply>),
    /// For good: `remove` it, or convert the group.
    ForGood(HeartbeatReply),
}

impl ConsumerGroup {
    /// A heartbeat with epoch -1 or -2.
    pub fn leave(&self, request: &HeartbeatRequest) -> Result<Leave, Refusal> {
        let id = &request.member_id;
        let reply = |id: &str| HeartbeatReply {
            member_id: id.to_owned(),
            epoch: request.epoch,
            heartbeat_interval: 0,
            assignment: None,
        };
        let Some(instance) = &request.instance_id else {
            return Ok(Leave::ForGood(reply(&self.known(id)?.id)));
        };
        let holder = self.check_holder(self.static_member(instance), id, instance)?;
        if request.epoch != LEAVE_STATIC {
            return Ok(Leave::ForGood(reply(&holder.id)));
        }
        let away = Current { epoch: LEAVE_STATIC, revoking: Default::default(), ..holder.current.clone() };
        let records = vec![Record::Current(holder.id.clone(), Some(away))];
        Ok(Leave::ForAWhile(Decision::of(records, reply(&holder.id))))
    }

    /// Takes members out; the rest gets a new target at its next heartbeat.
    pub fn remove(&self, ids: &[String], topics: &dyn Topics) -> Decision<()> {
        let mut records = Vec::new();
        for id in ids {
            records.extend(removal(id));
        }
        for regex in self.regexes.keys() {
            let still = self.members.values().any(|m| m.meta.regex == *regex && !ids.contains(&m.id));
            if !still {
                records.push(Record::Regex(regex.clone(), None));
            }
        }
        let mut view = self.view(None);
        view.without = ids.to_vec();
        let hash = if view.is_empty() { 0 } else { view.hash(topics) };
        records.push(view.bump(hash).1);
        Decision::of(records, ())
    }

    /// The next member whose time is up, and why.
    pub fn expired(&self, now: Millis) -> Option<(String, &'static str)> {
        self.overdue(now).map(|(member, why)| (member.id.clone(), why))
    }

    /// Whether only members of the classic protocol would stay behind, and the group may go back to it.
    pub fn downgrades_without(&self, ids: &[String], limits: &ConsumerLimits) -> bool {
        let (gone, rest): (Vec<_>, Vec<_>) = self.members.values().partition(|m| ids.contains(&m.id));
        limits.migration.down()
            && gone.iter().any(|m| !m.is_classic())
            && !rest.is_empty()
            && rest.len() <= limits.classic_members_max
            && rest.iter().all(|m| m.is_classic())
    }

    /// Whether this member may commit these partitions with that epoch. An older epoch is good for partitions that were
    /// assigned by then and still are (KIP-1251): the answer with the newer epoch may not have reached the member.
    pub fn check_commit(
        &self,
        member_id: &str,
        epoch: i32,
        version: i16,
        partitions: impl Iterator<Item = (Option<Uuid>, i32)>,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if member.is_classic() {
            return if epoch == member.current.epoch { Ok(()) } else { Err(ErrorCode::ILLEGAL_GENERATION) };
        }
        if version < 9 {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        if epoch > member.current.epoch {
            return Err(ErrorCode::STALE_MEMBER_EPOCH);
        }
        if epoch < member.current.epoch {
            for (topic, partition) in partitions {
                let since = topic.and_then(|t| member.current.assigned.get(&t)?.get(&partition));
                if since.is_none_or(|since| *since > epoch) {
                    return Err(ErrorCode::STALE_MEMBER_EPOCH);
                }
            }
        }
        Ok(())
    }

    /// Whether this member may read the group's offsets; nobody in particular always may.
    pub fn check_fetch(&self, member_id: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let Some(id) = member_id else {
            return if epoch < 0 { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) };
        };
        let member = self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        match epoch == member.current.epoch {
            true => Ok(()),
            false if member.is_classic() => Err(ErrorCode::ILLEGAL_GENERATION),
            false => Err(ErrorCode::STALE_MEMBER_EPOCH),
        }
    }

    /// A classic member's refusal where it must speak the classic protocol.
    pub(super) fn must_be_classic(&self, id: &str) -> Result<(), Refusal> {
        match self.known(id)?.is_classic() {
            true => Ok(()),
            false => refuse(ErrorCode::UNKNOWN_MEMBER_ID, format!("Member {id} does not use the classic protocol.")),
        }
    }
}
