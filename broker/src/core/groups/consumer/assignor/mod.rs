//! Server-side assignors: who should read what.

mod mixed;
mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use causeway_wire::Uuid;

use super::Partitions;

/// The assignors that Kafka brings (`group.consumer.assignors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignor {
    /// Everybody as much as anybody, moving as little as possible.
    Uniform,
    /// Neighbouring partitions of each topic, so that topics of one shape meet at one member.
    Range,
}

impl Assignor {
    /// Its name in requests and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The assignor of that name, or of Kafka's class of it.
    pub fn named(name: &str) -> Option<Self> {
        match name.trim() {
            "uniform" | "org.apache.kafka.coordinator.group.assignor.UniformAssignor" => Some(Self::Uniform),
            "range" | "org.apache.kafka.coordinator.group.assignor.RangeAssignor" => Some(Self::Range),
            _ => None,
        }
    }
}

/// A member as an assignor sees it.
#[derive(Debug, Clone, Default)]
pub struct MemberSpec {
    /// Its id.
    pub id: String,
    /// Static membership.
    pub instance_id: Option<String>,
    /// What it subscribes to.
    pub topics: BTreeSet<Uuid>,
    /// What it should have had so far.
    pub old: Partitions,
}

/// Makes a target for every member. `counts` has the partitions of every topic that any of them wants.
pub fn assign(
    assignor: Assignor,
    members: &[MemberSpec],
    counts: &BTreeMap<Uuid, i32>,
) -> BTreeMap<String, Partitions> {
    let alike = members.windows(2).all(|pair| pair[0].topics == pair[1].topics);
    let mut out: BTreeMap<String, Partitions> = members.iter().map(|m| (m.id.clone(), Partitions::new())).collect();
    let given: Vec<Vec<(Uuid, i32)>> = match assignor {
        Assignor::Range => range::assign(members, counts),
        Assignor::Uniform if alike => uniform::assign(members, counts),
        Assignor::Uniform => mixed::assign(members, counts),
    };
    for (member, partitions) in members.iter().zip(given) {
        let own = out.entry(member.id.clone()).or_default();
        for (topic, partition) in partitions {
            own.entry(topic).or_default().insert(partition);
        }
    }
    out
}

/// What a member may keep: still subscribed to, still there, and not claimed by one before it.
fn kept(member: &MemberSpec, counts: &BTreeMap<Uuid, i32>, taken: &mut BTreeSet<(Uuid, i32)>) -> Vec<(Uuid, i32)> {
    let mut out = Vec::new();
    for (topic, partitions) in member.old.iter().filter(|(topic, _)| member.topics.contains(topic)) {
        let count = counts.get(topic).copied().unwrap_or(0);
        out.extend(partitions.iter().filter(|p| **p < count && taken.insert((*topic, **p))).map(|p| (*topic, *p)));
    }
    out
}

fn every_partition(counts: &BTreeMap<Uuid, i32>) -> impl Iterator<Item = (Uuid, i32)> + '_ {
    counts.iter().flat_map(|(topic, count)| (0..*count).map(|p| (*topic, p)))
}
