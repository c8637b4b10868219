//! The coordinator's clockwork: wakes a group at its next deadline, and now and then lets old offsets go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Coordinator, State, journal};
use crate::core::groups::{ExpiryBasis, Group, Millis};

/// With nothing due the timer still looks after this long.
const IDLE: Duration = Duration::from_secs(60);

/// Groups by the time they want to be woken.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeSet<(Millis, String)>,
    by_group: HashMap<String, Millis>,
}

impl Schedule {
    /// Sets a group's next wake-up; true if it is now the earliest of all.
    pub(super) fn set(&mut self, group: &str, next: Option<Millis>) -> bool {
        if self.by_group.get(group).copied() == next {
            return false;
        }
        if let Some(old) = self.by_group.remove(group) {
            self.due.remove(&(old, group.to_owned()));
        }
        let Some(next) = next else { return false };
        self.by_group.insert(group.to_owned(), next);
        self.due.insert((next, group.to_owned()));
        self.due.first().is_some_and(|(_, first)| first == group)
    }

    fn next(&self) -> Option<Millis> {
        self.due.first().map(|(at, _)| *at)
    }

    fn pop(&mut self, now: Millis) -> Option<String> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, group) = self.due.pop_first()?;
        self.by_group.remove(&group);
        Some(group)
    }
}

impl Coordinator {
    /// Runs until `stop`.
    pub async fn keep_time(self: Arc<Self>, stop: CancellationToken) {
        let mut expiry = tokio::time::interval(self.expiry_every);
        loop {
            let next = self.lock().schedule.next();
            let wait = next.map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(self.now())));
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.timer.notified() => {}
                () = tokio::time::sleep(wait) => self.wake_due(),
                _ = expiry.tick() => self.expire(crate::clock::wall_ms()),
            }
        }
    }

    fn wake_due(&self) {
        let now = self.now();
        let mut state = self.lock();
        while let Some(id) = state.schedule.pop(now) {
            if state.modern.contains_key(&id) {
                self.expire_members(&mut state, &id, now);
            } else {
                self.act(&mut state, &id, |group, _| group.tick(now));
            }
        }
    }

    /// Drops offsets whose retention is over, and groups with nothing left (KIP-211).
    pub(super) fn expire(&self, wall_ms: i64) {
        let mut state = self.lock();
        let mut names: Vec<String> = state.groups.keys().chain(state.modern.keys()).cloned().collect();
        names.extend(state.offsets.groups().map(str::to_owned));
        names.sort();
        names.dedup();
        for name in names {
            self.expire_group(&mut state, &name, wall_ms);
        }
    }

    fn expire_group(&self, state: &mut State, name: &str, wall_ms: i64) {
        let limit = wall_ms - self.retention_ms;
        let (classic, modern) = (state.groups.get(name), state.modern.get(name));
        let old = match (classic, modern) {
            (_, Some(group)) => state.offsets.expired(name, limit, |topic| group.is_subscribed_to(topic)),
            (Some(group), None) => match group.expiry_basis() {
                ExpiryBasis::Never => Vec::new(),
                // The offsets of a group live at least for the retention after it became empty.
                ExpiryBasis::SinceEmpty(since) if since > limit => Vec::new(),
                // All have the group's age: what was committed while it had members may be far older.
                ExpiryBasis::SinceEmpty(_) => state.offsets.expired(name, i64::MAX, |_| false),
                ExpiryBasis::SinceCommit(read) => state.offsets.expired(name, limit, |topic| read.contains(topic)),
            },
            (None, None) => state.offsets.expired(name, limit, |_| false),
        };
        // An open transaction may be about to commit it anew.
        let old: Vec<_> = old.into_iter().filter(|(t, p)| !state.pending.is_pending(name, t, *p)).collect();
        let vacant = classic.is_none_or(Group::is_vacant) && modern.is_none_or(|g| g.members.is_empty());
        let all_gone = state.offsets.of_group(name).count() == old.len();
        let drop_group =
            vacant && all_gone && !state.pending.has_group(name) && (classic.is_some() || modern.is_some());
        let mut records: Vec<_> = old.iter().map(|(t, p)| journal::offset_record(name, t, *p, None)).collect();
        if drop_group {
            records.extend(self.tombstones(state, name));
        }
        if records.is_empty() && !drop_group {
            return;
        }
        if !records.is_empty() {
            let Some(at) = self.write(name, &records).base_offset() else { return };
            for (i, (topic, partition)) in old.iter().enumerate() {
                state.offsets.apply(name, topic, *partition, None, at + i as i64);
            }
        }
        if drop_group {
            state.groups.remove(name);
            state.modern.remove(name);
            state.schedule.set(name, None);
        }
        tracing::info!(group = name, offsets = old.len(), gone = drop_group, "committed offsets expired");
    }

    /// Records that take a group's state out of the log.
    pub(super) fn tombstones(&self, state: &State, name: &str) -> Vec<journal::JournalRecord> {
        let mut out = Vec::new();
        if let Some(group) = state.modern.get(name) {
            out.extend(group.tombstones().iter().map(|r| r.encode(name)));
        }
        // A group that never had a generation was never written.
        if state.groups.get(name).is_some_and(|g| g.generation > 0) {
            out.push(journal::group_record(name, None));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_up_in_the_order_of_their_deadlines() {
        let mut schedule = Schedule::default();
        assert!(schedule.set("late", Some(20)));
        assert!(schedule.set("soon", Some(10)));
        assert!(!schedule.set("soon", Some(10)), "unchanged");
        assert!(!schedule.set("soon", Some(30)), "no longer the first");
        assert_eq!(schedule.next(), Some(20));
        assert_eq!(schedule.pop(19), None);
        assert_eq!(schedule.pop(25).as_deref(), Some("late"));
        schedule.set("soon", None);
        assert_eq!(schedule.next(), None);
    }
}
