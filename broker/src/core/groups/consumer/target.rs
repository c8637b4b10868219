//! The group as it will be with one member changed, and what everybody should have then.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use causeway_wire::Uuid;

use super::assignor::{MemberSpec, assign};
use super::records::{GroupEpoch, Record, Resolved, TargetEpoch};
use super::{ConsumerGroup, ConsumerLimits, ConsumerMember, Partitions, Topics};

/// FNV-1a: the hash is only compared with itself, across restarts too, so it must not depend on a seed.
const HASH_SEED: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A group with changes that are decided but not yet in force.
pub(super) struct View<'a> {
    pub group: &'a ConsumerGroup,
    /// The member as it will be.
    pub updated: Option<&'a ConsumerMember>,
    /// Members that will be gone.
    pub without: Vec<String>,
    /// The static member whose place `updated` takes.
    pub replaced: Option<&'a str>,
    /// Regular expressions as they will be resolved.
    pub regexes: Cow<'a, BTreeMap<String, Resolved>>,
}

impl View<'_> {
    fn members(&self) -> impl Iterator<Item = &ConsumerMember> {
        let stays = |m: &&ConsumerMember| {
            self.updated.is_none_or(|u| u.id != m.id)
                && !self.without.contains(&m.id)
                && self.replaced.is_none_or(|r| r != m.id)
        };
        self.group.members.values().filter(stays).chain(self.updated)
    }

    /// Whether it will have no member.
    pub fn is_empty(&self) -> bool {
        self.members().next().is_none()
    }

    /// Over every topic that anybody wants: id and number of partitions.
    pub fn hash(&self, topics: &dyn Topics) -> i64 {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for member in self.members() {
            names.extend(member.meta.topics.iter().map(String::as_str));
            if let Some(resolved) = self.regexes.get(&member.meta.regex) {
                names.extend(resolved.topics.iter().map(String::as_str));
            }
        }
        let mut hash = HASH_SEED;
        let mut known = false;
        for name in names {
            let Some((id, partitions)) = topics.by_name(name) else { continue };
            known = true;
            for byte in name.bytes().chain(id.0).chain(partitions.to_be_bytes()) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(HASH_PRIME);
            }
        }
        if known { hash as i64 } else { 0 }
    }

    /// The next epoch, with the record for it.
    pub fn bump(&self, hash: i64) -> (i32, Record) {
        let epoch = self.group.epoch + 1;
        (epoch, Record::Group(Some(GroupEpoch { epoch, hash })))
    }

    /// Topic ids that a member wants.
    pub fn wanted(&self, member: &ConsumerMember, topics: &dyn Topics) -> BTreeSet<Uuid> {
        let names = ConsumerGroup::topics_of(&member.meta, &self.regexes);
        names.iter().filter_map(|name| topics.by_name(name)).map(|(id, _)| id).collect()
    }

    /// A new target assignment for `epoch`: the records that change it, and what each member should have.
    pub fn target(
        &self,
        epoch: i32,
        limits: &ConsumerLimits,
        topics: &dyn Topics,
        wall_ms: i64,
    ) -> (Vec<Record>, BTreeMap<String, Partitions>) {
        let mut gone = self.without.clone();
        gone.extend(self.replaced.map(str::to_owned));
        let assignor = self.group.assignor(self.updated, &gone).unwrap_or(limits.default_assignor());
        let old = |member: &ConsumerMember| {
            let own = self.group.targets.get(&member.id);
            let stands_in = self.updated.is_some_and(|u| u.id == member.id);
            let before = self.replaced.filter(|_| stands_in).and_then(|id| self.group.targets.get(id));
            before.or(own).cloned().unwrap_or_default()
        };
        let specs: Vec<MemberSpec> = self
            .members()
            .map(|m| MemberSpec {
                id: m.id.clone(),
                instance_id: m.meta.instance_id.clone(),
                topics: self.wanted(m, topics),
                old: old(m),
            })
            .collect();
        let mut counts = BTreeMap::new();
        for member in self.members() {
            let names = ConsumerGroup::topics_of(&member.meta, &self.regexes);
            counts.extend(names.iter().filter_map(|name| topics.by_name(name)));
        }
        let targets = assign(assignor, &specs, &counts);
        let mut records = Vec::new();
        for (id, target) in &targets {
            if self.replaced.is_some_and(|old| old == id) || self.group.targets.get(id) != Some(target) {
                records.push(Record::Target(id.clone(), Some(target.clone())));
            }
        }
        records.push(Record::TargetEpoch(Some(TargetEpoch { epoch, made: wall_ms })));
        (records, targets)
    }
}

impl ConsumerGroup {
    /// The group as it is, to be seen through a change.
    pub(super) fn view<'a>(&'a self, updated: Option<&'a ConsumerMember>) -> View<'a> {
        View { group: self, updated, without: Vec::new(), replaced: None, regexes: Cow::Borrowed(&self.regexes) }
    }
}
