//! The state of one consumer group, changed by records alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use causeway_wire::Uuid;

use super::records::{GroupEpoch, Record, Resolved, TargetEpoch};
use super::{ConsumerMember, Current, Decision, MemberMetadata, MemberState, Partitions, assignor};
use crate::core::groups::Millis;

/// Deadlines of one member.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deadlines {
    /// Without a sign of life until then it is fenced.
    pub session: Option<Millis>,
    /// Revoked partitions must be given back until then.
    pub rebalance: Option<Millis>,
    /// A classic member must join again until then.
    pub join: Option<Millis>,
    /// A classic member must fetch its assignment until then.
    pub sync: Option<Millis>,
}

impl Deadlines {
    fn all(&self) -> impl Iterator<Item = Millis> {
        [self.session, self.rebalance, self.join, self.sync].into_iter().flatten()
    }
}

/// A deadline that a decision sets or lifts; times are from now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimerChange {
    /// The member was heard of.
    Session(String, i32),
    /// It must join again within so long, unless it already must.
    JoinIfAbsent(String, i32),
    /// It joined.
    Joined(String),
    /// It must sync within so long.
    Sync(String, i32),
    /// It synced.
    Synced(String),
}

/// One consumer group.
#[derive(Debug, Clone)]
pub struct ConsumerGroup {
    /// Its id.
    pub id: String,
    /// Counts changes of members, subscriptions and topics.
    pub epoch: i32,
    /// The epoch that `targets` was made for.
    pub target_epoch: i32,
    /// When `targets` was made, in wall-clock milliseconds; 0 where that is not known.
    pub target_made: i64,
    /// By member id.
    pub members: BTreeMap<String, ConsumerMember>,
    /// What each member should have.
    pub targets: BTreeMap<String, Partitions>,
    /// Regular expressions with the topics they match.
    pub regexes: BTreeMap<String, Resolved>,
    pub(super) hash: i64,
    pub(super) statics: BTreeMap<String, String>,
    /// Who holds a partition, assigned or still to be given back.
    owners: HashMap<(Uuid, i32), String>,
    deadlines: BTreeMap<String, Deadlines>,
    /// The version of the topics that was last looked at.
    pub(super) seen: Option<u64>,
}

/// What the log says about it: everything but deadlines.
impl PartialEq for ConsumerGroup {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.epoch == other.epoch
            && self.hash == other.hash
            && self.target_epoch == other.target_epoch
            && self.target_made == other.target_made
            && self.members == other.members
            && self.targets == other.targets
            && self.regexes == other.regexes
            && self.statics == other.statics
            && self.owners == other.owners
    }
}

impl ConsumerGroup {
    /// A group that is not there yet.
    pub fn new(id: &str) -> Self {
        let (GroupEpoch { epoch, hash }, target) = Default::default();
        let TargetEpoch { epoch: target_epoch, made: target_made } = target;
        Self {
            id: id.to_owned(),
            epoch,
            hash,
            target_epoch,
            target_made,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            regexes: BTreeMap::new(),
            statics: BTreeMap::new(),
            owners: HashMap::new(),
            deadlines: BTreeMap::new(),
            seen: None,
        }
    }

    /// By Kafka's names.
    pub fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().any(|m| !m.current.is_reconciled_to(self.target_epoch)) {
            "Reconciling"
        } else {
            "Stable"
        }
    }

    /// Puts a decision in force: after its records were written, in the order they were written.
    pub fn commit<T>(&mut self, decision: &Decision<T>, now: Millis) {
        for record in &decision.records {
            self.apply(record, now);
        }
        for change in &decision.timers {
            self.change_timer(change, now);
        }
        if decision.seen.is_some() {
            self.seen = decision.seen;
        }
    }

    /// Applies one record: the only way in which a group changes.
    pub fn apply(&mut self, record: &Record, now: Millis) {
        match record {
            Record::Group(value) => {
                let GroupEpoch { epoch, hash } = value.unwrap_or_default();
                (self.epoch, self.hash) = (epoch, hash);
            }
            Record::TargetEpoch(value) => {
                let TargetEpoch { epoch, made } = value.unwrap_or_default();
                (self.target_epoch, self.target_made) = (epoch, made);
            }
            Record::Member(id, Some(meta)) => self.set_meta(id, meta),
            Record::Member(id, None) => self.drop_member(id),
            Record::Target(id, Some(target)) => {
                self.targets.insert(id.clone(), target.clone());
            }
            Record::Target(id, None) => {
                self.targets.remove(id);
            }
            Record::Current(id, current) => {
                let gone = current.is_none();
                self.set_current(id, current.clone().unwrap_or_else(Current::gone), gone, now);
            }
            Record::Regex(regex, Some(resolved)) => {
                self.regexes.insert(regex.clone(), resolved.clone());
            }
            Record::Regex(regex, None) => {
                self.regexes.remove(regex);
            }
        }
    }

    fn set_meta(&mut self, id: &str, meta: &MemberMetadata) {
        let member = self.members.entry(id.to_owned()).or_insert_with(|| ConsumerMember::new(id));
        if let Some(old) = &member.meta.instance_id
            && meta.instance_id.as_ref() != Some(old)
        {
            self.statics.remove(old);
        }
        member.meta = meta.clone();
        if let Some(instance) = &meta.instance_id {
            self.statics.insert(instance.clone(), id.to_owned());
        }
    }

    fn drop_member(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        self.release(&member);
        self.deadlines.remove(id);
        if let Some(instance) = &member.meta.instance_id
            && self.statics.get(instance).is_some_and(|holder| holder == id)
        {
            self.statics.remove(instance);
        }
    }

    fn set_current(&mut self, id: &str, current: Current, gone: bool, now: Millis) {
        if gone && !self.members.contains_key(id) {
            return;
        }
        let mut member = self.members.remove(id).unwrap_or_else(|| ConsumerMember::new(id));
        self.release(&member);
        member.current = current;
        for (topic, partitions) in member.current.assigned.iter().chain(&member.current.revoking) {
            for partition in partitions.keys() {
                self.owners.insert((*topic, *partition), id.to_owned());
            }
        }
        // Classic members have a deadline to join instead, members that are away for a while only their session.
        let must_revoke =
            member.current.state == MemberState::Unrevoked && !member.is_classic() && member.current.epoch >= 0;
        let until = now + member.meta.rebalance_timeout.max(0) as Millis;
        self.deadlines.entry(id.to_owned()).or_default().rebalance = must_revoke.then_some(until);
        self.members.insert(id.to_owned(), member);
    }

    fn release(&mut self, member: &ConsumerMember) {
        for (topic, partitions) in member.current.assigned.iter().chain(&member.current.revoking) {
            for partition in partitions.keys() {
                if self.owners.get(&(*topic, *partition)).is_some_and(|owner| *owner == member.id) {
                    self.owners.remove(&(*topic, *partition));
                }
            }
        }
    }

    fn change_timer(&mut self, change: &TimerChange, now: Millis) {
        let after = |ms: i32| Some(now + ms.max(0) as Millis);
        let (TimerChange::Session(id, _)
        | TimerChange::JoinIfAbsent(id, _)
        | TimerChange::Joined(id)
        | TimerChange::Sync(id, _)
        | TimerChange::Synced(id)) = change;
        if !self.members.contains_key(id) {
            return;
        }
        let deadlines = self.deadlines.entry(id.clone()).or_default();
        match change {
            TimerChange::Session(_, ms) => deadlines.session = after(*ms),
            TimerChange::JoinIfAbsent(_, ms) => deadlines.join = deadlines.join.or(after(*ms)),
            TimerChange::Joined(_) => deadlines.join = None,
            TimerChange::Sync(_, ms) => deadlines.sync = after(*ms),
            TimerChange::Synced(_) => deadlines.sync = None,
        }
    }

    /// After a replay: everybody has one session from now.
    pub fn restart_sessions(&mut self, session_timeout: i32, now: Millis) {
        for (id, member) in &self.members {
            let session = member.meta.classic.as_ref().map_or(session_timeout, |c| c.session_timeout);
            self.deadlines.entry(id.clone()).or_default().session = Some(now + session.max(0) as Millis);
        }
    }

    /// The earliest time at which `expire` has something to do.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.values().flat_map(Deadlines::all).min()
    }

    /// A member whose time is up, and why.
    pub(super) fn overdue(&self, now: Millis) -> Option<(&ConsumerMember, &'static str)> {
        let due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
        self.deadlines.iter().find_map(|(id, d)| {
            let why = if due(d.session) {
                "its session ended"
            } else if due(d.rebalance) {
                "it did not give partitions back in time"
            } else if due(d.join) {
                "it did not join again in time"
            } else if due(d.sync) {
                "it did not fetch its assignment in time"
            } else {
                return None;
            };
            Some((self.members.get(id)?, why))
        })
    }

    /// Whether nothing was ever written about it that still counts.
    pub fn is_blank(&self) -> bool {
        self.members.is_empty() && self.epoch <= GroupEpoch::default().epoch
    }

    /// Whether the next target may be made yet: a storm of joins shall not become a storm of rebalances (KIP-1263). The first
    /// one does not wait, nor one after a target of an unknown age, nor one after the clock went back by more than the interval.
    pub(super) fn may_assign(&self, interval: i32, wall_ms: i64) -> bool {
        let age = wall_ms - self.target_made;
        self.target_made == 0 || interval <= 0 || age >= i64::from(interval) || age < -i64::from(interval)
    }

    /// Who holds a partition now.
    pub fn owner(&self, topic: Uuid, partition: i32) -> Option<&str> {
        self.owners.get(&(topic, partition)).map(String::as_str)
    }

    /// The member behind a static id.
    pub fn static_member(&self, instance_id: &str) -> Option<&ConsumerMember> {
        self.members.get(self.statics.get(instance_id)?)
    }

    /// Whether any member wants this topic.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        self.members.values().any(|m| m.meta.topics.contains(topic))
            || self.regexes.values().any(|r| r.topics.contains(topic))
    }

    pub(super) fn regex_subscribers(&self, regex: &str) -> usize {
        self.members.values().filter(|m| m.meta.regex == regex).count()
    }

    /// Topics by name that a member wants, its regular expression resolved by `regexes`.
    pub(super) fn topics_of(meta: &MemberMetadata, regexes: &BTreeMap<String, Resolved>) -> BTreeSet<String> {
        let mut topics = meta.topics.clone();
        if let Some(resolved) = regexes.get(&meta.regex) {
            topics.extend(resolved.topics.iter().cloned());
        }
        topics
    }

    /// The assignor that most members ask for.
    pub(super) fn assignor(&self, updated: Option<&ConsumerMember>, without: &[String]) -> Option<assignor::Assignor> {
        let others = self.members.values().filter(|m| updated.is_none_or(|u| u.id != m.id) && !without.contains(&m.id));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in others.chain(updated).filter_map(|m| m.meta.assignor.as_deref()) {
            *votes.entry(name).or_default() += 1;
        }
        let (name, _) = votes.into_iter().max_by_key(|(_, count)| *count)?;
        assignor::Assignor::named(name)
    }

    /// The assignor that most members ask for, if any asks.
    pub fn preferred_assignor(&self) -> Option<assignor::Assignor> {
        self.assignor(None, &[])
    }

    /// Records that make the group not be there.
    pub fn tombstones(&self) -> Vec<Record> {
        let ids: Vec<&String> = self.members.keys().collect();
        let mut out: Vec<Record> = ids.iter().map(|id| Record::Current((*id).clone(), None)).collect();
        out.extend(self.targets.keys().map(|id| Record::Target(id.clone(), None)));
        out.push(Record::TargetEpoch(None));
        out.extend(ids.iter().map(|id| Record::Member((*id).clone(), None)));
        out.extend(self.regexes.keys().map(|regex| Record::Regex(regex.clone(), None)));
        out.push(Record::Group(None));
        out
    }
}
