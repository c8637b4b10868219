//! The coordinator's clockwork: wakes a group at its next deadline, and now and then lets old offsets go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Coordinator, journal};
use crate::core::groups::Millis;

/// How often expired offsets and abandoned groups are looked for; Kafka's `offsets.retention.check.interval.ms`.
const EXPIRY_EVERY: Duration = Duration::from_secs(600);
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
        let mut expiry = tokio::time::interval(EXPIRY_EVERY);
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
            self.act(&mut state, &id, |group, _| group.tick(now));
        }
    }

    /// Drops offsets older than the retention of groups without members, and groups with nothing left.
    pub(super) fn expire(&self, wall_ms: i64) {
        let mut state = self.lock();
        let mut names: Vec<String> = state.groups.keys().cloned().collect();
        names.extend(state.offsets.groups().map(str::to_owned));
        names.sort();
        names.dedup();
        for name in names {
            let group = state.groups.get(&name);
            if group.is_some_and(|g| !g.is_vacant()) {
                continue;
            }
            // Offsets live at least for the retention after the group became empty (KIP-211).
            let since = group.filter(|g| g.protocol_type.is_some()).map_or(i64::MIN, |g| g.state_since);
            let limit = wall_ms - self.retention_ms;
            let old = if since > limit { Vec::new() } else { state.offsets.expired(&name, limit) };
            let mut records: Vec<_> = old.iter().map(|(t, p)| journal::offset_record(&name, t, *p, None)).collect();
            let all_gone = state.offsets.of_group(&name).count() == old.len();
            let drop_group = all_gone && group.is_some();
            if drop_group {
                records.push(journal::group_record(&name, None));
            }
            if records.is_empty() {
                continue;
            }
            if let Some(at) = self.write(&name, &records).base_offset() {
                for (i, (topic, partition)) in old.iter().enumerate() {
                    state.offsets.apply(&name, topic, *partition, None, at + i as i64);
                }
                if drop_group {
                    state.groups.remove(&name);
                    state.schedule.set(&name, None);
                }
                tracing::info!(group = name, offsets = old.len(), gone = drop_group, "committed offsets expired");
            }
        }
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
