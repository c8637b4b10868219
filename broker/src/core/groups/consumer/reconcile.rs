//! The way of one member to its target: give back, then take.

use std::collections::BTreeSet;

use causeway_wire::{ErrorCode, Uuid};

use super::{Assigned, ConsumerGroup, ConsumerMember, Current, MemberState, Partitions, Refusal, refuse};

/// Where a member should go.
pub(super) struct Goal<'a> {
    pub epoch: i32,
    pub target: &'a Partitions,
    /// What it wants now: anything else is given back at once.
    pub subscribed: &'a BTreeSet<Uuid>,
    pub subscription_changed: bool,
    /// What it said it still holds.
    pub owned: Option<&'a Partitions>,
}

impl ConsumerGroup {
    /// The member's next state; unchanged where it has to wait.
    pub(super) fn reconcile(&self, member: &ConsumerMember, goal: &Goal<'_>) -> Result<Current, Refusal> {
        let current = &member.current;
        if !goal.subscription_changed && current.is_reconciled_to(goal.epoch) {
            return Ok(current.clone());
        }
        match current.state {
            MemberState::Stable if current.epoch == goal.epoch => Ok(trim(current, goal)),
            MemberState::Stable | MemberState::Unreleased => Ok(self.advance(member, current.epoch, goal)),
            MemberState::Unrevoked if holds(goal.owned, &current.revoking) => Ok(trim(current, goal)),
            MemberState::Unrevoked => Ok(self.advance(member, current.epoch, goal)),
            // Written by a later version that was taken back: only a member without partitions can be trusted.
            MemberState::Unknown if goal.owned.is_some_and(|owned| owned.is_empty()) => {
                Ok(self.advance(member, goal.epoch, goal))
            }
            MemberState::Unknown => refuse(
                ErrorCode::FENCED_MEMBER_EPOCH,
                "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.",
            ),
        }
    }

    fn advance(&self, member: &ConsumerMember, epoch: i32, goal: &Goal<'_>) -> Current {
        let current = &member.current;
        let wanted = |topic: &Uuid, partition: i32| {
            goal.subscribed.contains(topic) && goal.target.get(topic).is_some_and(|t| t.contains(&partition))
        };
        let (mut kept, mut revoking) = (Assigned::new(), Assigned::new());
        for (topic, partitions) in &current.assigned {
            for (partition, since) in partitions {
                let side = if wanted(topic, *partition) { &mut kept } else { &mut revoking };
                side.entry(*topic).or_default().insert(*partition, *since);
            }
        }
        let (mut gained, mut unreleased) = (Vec::new(), false);
        for (topic, partitions) in goal.target.iter().filter(|(topic, _)| goal.subscribed.contains(topic)) {
            for partition in partitions {
                let has = |set: &Assigned| set.get(topic).is_some_and(|p| p.contains_key(partition));
                if has(&kept) {
                    continue;
                }
                // What it is giving back itself is nobody else's: a partition has one holder.
                if self.owner(*topic, *partition).is_some() && !has(&current.revoking) {
                    unreleased = true;
                } else {
                    gained.push((*topic, *partition));
                }
            }
        }
        if !revoking.is_empty() && holds(goal.owned, &revoking) {
            return Current { state: MemberState::Unrevoked, assigned: kept, revoking, ..current.with_epoch(epoch) };
        }
        for (topic, partition) in gained {
            kept.entry(topic).or_default().insert(partition, goal.epoch);
        }
        let state = if unreleased { MemberState::Unreleased } else { MemberState::Stable };
        Current { state, assigned: kept, revoking: Assigned::new(), ..current.with_epoch(goal.epoch) }
    }
}

/// Whether the member may still hold any of these; without its word, yes.
fn holds(owned: Option<&Partitions>, given_back: &Assigned) -> bool {
    let Some(owned) = owned else { return true };
    given_back.iter().any(|(topic, partitions)| {
        owned.get(topic).is_some_and(|owned| partitions.keys().any(|partition| owned.contains(partition)))
    })
}

/// Takes topics away that the member no longer wants, without waiting for the next target.
fn trim(current: &Current, goal: &Goal<'_>) -> Current {
    let unwanted = |topic: &Uuid| !goal.subscribed.contains(topic);
    if !goal.subscription_changed || !current.assigned.keys().any(unwanted) {
        return current.clone();
    }
    let (mut kept, mut revoking) = (Assigned::new(), current.revoking.clone());
    for (topic, partitions) in &current.assigned {
        let side = if unwanted(topic) { &mut revoking } else { &mut kept };
        side.entry(*topic).or_default().extend(partitions);
    }
    if holds(goal.owned, &revoking) {
        return Current {
            state: MemberState::Unrevoked,
            assigned: kept,
            revoking,
            ..current.with_epoch(current.epoch)
        };
    }
    Current { assigned: kept, ..current.with_epoch(current.epoch) }
}
