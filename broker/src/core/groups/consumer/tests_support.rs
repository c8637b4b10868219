//! A group with topics and a log beside it: every decision is also written down and replayed.

use std::collections::BTreeMap;

use causeway_wire::{ErrorCode, Uuid};

use super::*;
use crate::core::groups::Millis;

pub(super) struct FakeTopics {
    pub version: u64,
    pub topics: BTreeMap<String, (Uuid, i32)>,
}

impl FakeTopics {
    pub fn of(topics: &[(&str, i32)]) -> Self {
        let mut out = Self { version: 1, topics: BTreeMap::new() };
        for (name, partitions) in topics {
            out.set(name, *partitions);
        }
        out
    }

    /// Makes or grows a topic.
    pub fn set(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        self.topics.entry(name.to_owned()).or_insert((id(name), 0)).1 = partitions;
    }

    pub fn delete(&mut self, name: &str) {
        self.version += 1;
        self.topics.remove(name);
    }
}

/// The id that a topic of the fake has.
pub(super) fn id(name: &str) -> Uuid {
    let mut raw = [0; 16];
    raw[..name.len()].copy_from_slice(name.as_bytes());
    Uuid(raw)
}

impl Topics for FakeTopics {
    fn version(&self) -> u64 {
        self.version
    }
    fn by_name(&self, name: &str) -> Option<(Uuid, i32)> {
        self.topics.get(name).copied()
    }
    fn name_of(&self, id: Uuid) -> Option<&str> {
        self.topics.iter().find(|(_, (i, _))| *i == id).map(|(name, _)| name.as_str())
    }
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.topics.keys().map(String::as_str))
    }
}

pub(super) fn limits() -> ConsumerLimits {
    ConsumerLimits {
        members_max: 10,
        session_timeout: 45_000,
        heartbeat_interval: 5_000,
        assignment_interval: 0,
        assignors: vec![assignor::Assignor::Uniform, assignor::Assignor::Range],
        migration: Migration::Bidirectional,
        classic_members_max: 10,
    }
}

pub(super) struct Bench {
    pub group: ConsumerGroup,
    /// What a restart would make of the log.
    pub replayed: ConsumerGroup,
    pub topics: FakeTopics,
    pub limits: ConsumerLimits,
    pub now: Millis,
}

impl Bench {
    pub fn new(topics: &[(&str, i32)]) -> Self {
        Self {
            group: ConsumerGroup::new("g"),
            replayed: ConsumerGroup::new("g"),
            topics: FakeTopics::of(topics),
            limits: limits(),
            now: 0,
        }
    }

    /// The wall clock, which decides when targets are made.
    pub fn wall(&self) -> i64 {
        1_700_000_000_000 + self.now as i64
    }

    /// Puts a decision in force, and through the bytes of its records into the copy.
    pub fn commit<T>(&mut self, decision: &Decision<T>) {
        self.group.commit(decision, self.now);
        for record in &decision.records {
            let (key, value) = record.encode("g");
            let (group, read) = Record::decode(key, value).unwrap().unwrap();
            assert_eq!((group.as_str(), &read), ("g", record));
            self.replayed.apply(&read, self.now);
        }
        if decision.records.is_empty() {
            return;
        }
        assert!(self.group == self.replayed, "a replay gives the same group:\n{:?}\n{:?}", self.group, self.replayed);
    }

    pub fn beat(&mut self, request: &HeartbeatRequest) -> Result<HeartbeatReply, Refusal> {
        let decision = self.group.heartbeat(request, &self.limits, &self.topics, self.wall())?;
        self.commit(&decision);
        Ok(decision.reply)
    }

    /// Joins, subscribed to topics by name.
    pub fn join(&mut self, member: &str, topics: &[&str]) -> HeartbeatReply {
        self.beat(&joining(member, topics)).unwrap()
    }

    /// Lives on at this epoch, holding these partitions of topic `a`.
    pub fn live(&mut self, member: &str, epoch: i32, owned: &[i32]) -> HeartbeatReply {
        self.beat(&living(member, epoch, owned)).unwrap()
    }

    pub fn refused(&mut self, request: &HeartbeatRequest) -> ErrorCode {
        self.beat(request).unwrap_err().code
    }

    pub fn leave(&mut self, member: &str, instance: Option<&str>, epoch: i32) -> Result<HeartbeatReply, Refusal> {
        let request = HeartbeatRequest { instance_id: instance.map(str::to_owned), ..living(member, epoch, &[]) };
        match self.group.leave(&request)? {
            Leave::ForAWhile(decision) => {
                self.commit(&decision);
                Ok(decision.reply)
            }
            Leave::ForGood(reply) => {
                self.remove(&reply.member_id);
                Ok(reply)
            }
        }
    }

    pub fn remove(&mut self, member: &str) {
        let decision = self.group.remove(&[member.to_owned()], &self.topics);
        self.commit(&decision);
    }

    /// Lets time pass and fences whose time is up.
    pub fn pass(&mut self, time: Millis) -> Vec<String> {
        self.now += time;
        let mut out = Vec::new();
        while let Some((member, _)) = self.group.expired(self.now) {
            self.remove(&member);
            out.push(member);
        }
        out
    }
}

pub(super) fn joining(member: &str, topics: &[&str]) -> HeartbeatRequest {
    HeartbeatRequest {
        member_id: member.into(),
        rebalance_timeout: 30_000,
        topics: Some(topics.iter().map(|t| (*t).to_owned()).collect()),
        owned: Some(Partitions::new()),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        ..HeartbeatRequest::default()
    }
}

pub(super) fn living(member: &str, epoch: i32, owned: &[i32]) -> HeartbeatRequest {
    let owned = if owned.is_empty() { Partitions::new() } else { held(owned) };
    HeartbeatRequest {
        member_id: member.into(),
        epoch,
        rebalance_timeout: -1,
        owned: Some(owned),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        ..HeartbeatRequest::default()
    }
}

/// Partitions of topic `a`.
pub(super) fn held(partitions: &[i32]) -> Partitions {
    Partitions::from([(id("a"), partitions.iter().copied().collect())])
}
