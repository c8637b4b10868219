//! What classic consumers put into the opaque parts of JoinGroup and SyncGroup (ConsumerProtocolSubscription and
//! -Assignment): read and written only where a group holds members of both protocols, or changes over.

#![allow(clippy::needless_update, reason = "a message may get fields in a later version of the protocol")]

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use causeway_wire::Message;
use causeway_wire::messages::consumer_protocol_assignment::{self as assignment, ConsumerProtocolAssignment};
use causeway_wire::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;

use super::{Assigned, Partitions, Topics};

/// Newer versions are read as this one: fields are only ever added.
const VERSION_MAX: i16 = 3;

/// A classic consumer's subscription.
#[derive(Debug, Clone, Default)]
pub struct Subscription {
    /// Version it was written in.
    pub version: i16,
    /// Topics by name.
    pub topics: BTreeSet<String>,
    /// What it still holds (cooperative assignors), by topic id where the topic is known.
    pub owned: Partitions,
    /// Its rack.
    pub rack_id: Option<String>,
}

fn split(mut bytes: Bytes) -> Option<(i16, Bytes)> {
    let version = bytes.try_get_i16().ok().filter(|v| *v >= 0)?;
    Some((version, bytes))
}

impl Subscription {
    /// Reads a member's metadata; none if it is not of this form.
    pub fn decode(bytes: &Bytes, topics: &dyn Topics) -> Option<Self> {
        let (version, mut bytes) = split(bytes.clone())?;
        let read = ConsumerProtocolSubscription::decode(version.min(VERSION_MAX), &mut bytes).ok()?;
        let mut owned = Partitions::new();
        for topic in read.owned_partitions {
            if let Some((id, _)) = topics.by_name(&topic.topic) {
                owned.entry(id).or_default().extend(topic.partitions);
            }
        }
        Some(Self { version, topics: read.topics.into_iter().collect(), owned, rack_id: read.rack_id })
    }
}

/// Topics in a member's metadata, without any other look at it.
pub fn subscribed_topics(bytes: &Bytes) -> Option<Vec<String>> {
    let (version, mut bytes) = split(bytes.clone())?;
    ConsumerProtocolSubscription::decode(version.min(VERSION_MAX), &mut bytes).ok().map(|s| s.topics)
}

/// Reads an assignment; empty bytes are an empty one. None if it is not of this form.
pub fn decode_assignment(bytes: &Bytes, topics: &dyn Topics) -> Option<Partitions> {
    let mut out = Partitions::new();
    if bytes.is_empty() {
        return Some(out);
    }
    let (version, mut bytes) = split(bytes.clone())?;
    let read = ConsumerProtocolAssignment::decode(version.min(VERSION_MAX), &mut bytes).ok()?;
    for topic in read.assigned_partitions {
        if let Some((id, _)) = topics.by_name(&topic.topic) {
            out.entry(id).or_default().extend(topic.partitions);
        }
    }
    Some(out)
}

/// Writes an assignment in the version that the member reads; topics that are gone are left out.
pub fn encode_assignment(assigned: &Assigned, version: i16, topics: &dyn Topics) -> Bytes {
    let version = version.clamp(0, VERSION_MAX);
    let named = assigned.iter().filter_map(|(id, partitions)| {
        let topic = topics.name_of(*id)?.to_owned();
        let partitions = partitions.keys().copied().collect();
        Some(assignment::TopicPartition { topic, partitions, ..Default::default() })
    });
    let value = ConsumerProtocolAssignment { assigned_partitions: named.collect(), ..Default::default() };
    let mut out = BytesMut::new();
    out.put_i16(version);
    value.encode(version, &mut out).expect("every version has every field that is set");
    out.freeze()
}

/// The version at the head of a member's metadata.
pub fn version_of(bytes: &Bytes) -> i16 {
    split(bytes.clone()).map_or(0, |(version, _)| version)
}
