//! Loop prevention by `cluster.id` and hop list (L4), built so that a forged or copied header never loses a record (F40).
//!
//! Only flows of the record engine on a cycle under identity names (`graph::needs_provenance`) write and read the header [`HEADER`]; all others leave
//! records byte for byte as they are (the batch engine tells by producers: [`super::origins`]). The header lists where a record has been, origin first, with a digest of its content. It is a claim, not a
//! proof: a record stays back only where the offset map of the flow that brought it agrees, or where the record it claims to be a copy
//! of was read at the target and is the same. Whatever stays back is counted; so is what was forged, and delivered.
use serde::{Deserialize, Serialize};

use super::{
    ids::{ClusterId, PartitionId, SourceOffset, TargetOffset, TopicId},
    offset_map::OffsetMap,
    planted::{self, Bug},
};

/// The header's key. A record carries it at most once; more than one was not written by us.
pub const HEADER: &str = "causeway-hops";
/// Longest hop list: no sensible topology has a longer cycle; when it is full the oldest hop goes.
pub const HOPS_MAX: usize = 16;
/// Longest `cluster.id` read from a header; Kafka's have 22 characters.
const CLUSTER_ID_BYTES_MAX: usize = 64;
const VERSION: u8 = 1;

/// One cluster a record was on, and where it lay there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hop {
    /// The cluster the record was read from.
    pub cluster: ClusterId,
    /// The topic's ID there.
    pub topic_id: TopicId,
    /// The partition there.
    pub partition: PartitionId,
    /// The record's offset there (an offset of *that* cluster, which is the source of that hop).
    pub offset: SourceOffset,
}

/// What a record says about where it came from: not believed until the map of that direction, or the record itself, agrees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The offset of the record that carries the claim, in the lane's own source.
    pub at: SourceOffset,
    /// The clusters it says to have been on, origin first.
    pub hops: Vec<Hop>,
    /// True when the digest in the header is that of this record's content.
    pub digest_agrees: bool,
}

impl Claim {
    /// The claim of the record at `at` with this header value and this content digest. A header that cannot be read, or that stands there
    /// `count` > 1 times, claims nothing that could be true: it is forged, and the record is delivered.
    #[must_use]
    pub fn read(at: SourceOffset, header: &[u8], count: usize, content: u64) -> Self {
        match decode(header) {
            Some((digest, hops)) if count == 1 => Claim { at, hops, digest_agrees: digest == content },
            _ => Claim { at, hops: Vec::new(), digest_agrees: false },
        }
    }
}

/// Digest of what must not differ between a record and its copy: key, value and all headers but [`HEADER`]. Not the timestamp: a target
/// topic with LogAppendTime sets its own. FNV-1a: it has to tell apart, not to withstand; what it decides is checked again.
#[must_use]
pub fn digest<'a>(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    // each part with its length in front, null told from empty
    let mut part = |bytes: Option<&[u8]>| {
        eat(&bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_be_bytes());
        eat(bytes.unwrap_or_default());
    };
    part(key);
    part(value);
    for (name, value) in headers.filter(|(name, _)| *name != HEADER.as_bytes()) {
        part(Some(name));
        part(value);
    }
    hash
}

/// The header's value for a record that leaves the cluster of `own`, with the hops it came with.
#[must_use]
pub fn encode(content: u64, before: &[Hop], own: &Hop) -> Vec<u8> {
    let before = &before[before.len().saturating_sub(HOPS_MAX - 1)..];
    let mut out = vec![VERSION];
    out.extend_from_slice(&content.to_be_bytes());
    out.push(before.len() as u8 + 1);
    for hop in before.iter().chain([own]) {
        let id = hop.cluster.as_str().as_bytes();
        let id = &id[..id.len().min(CLUSTER_ID_BYTES_MAX)];
        out.push(id.len() as u8);
        out.extend_from_slice(id);
        out.extend_from_slice(&hop.topic_id.0);
        out.extend_from_slice(&hop.partition.0.to_be_bytes());
        out.extend_from_slice(&hop.offset.get().to_be_bytes());
    }
    out
}

/// Digest and hops of a header value; `None` when it is not one of ours.
#[must_use]
pub fn decode(value: &[u8]) -> Option<(u64, Vec<Hop>)> {
    let (&version, rest) = value.split_first()?;
    let (content, rest) = rest.split_at_checked(8)?;
    let (&count, mut rest) = rest.split_first()?;
    if version != VERSION || !(1..=HOPS_MAX).contains(&usize::from(count)) {
        return None;
    }
    let mut hops = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (&length, tail) = rest.split_first()?;
        if usize::from(length) > CLUSTER_ID_BYTES_MAX {
            return None;
        }
        let (id, tail) = tail.split_at_checked(usize::from(length))?;
        let (fixed, tail) = tail.split_at_checked(28)?;
        hops.push(Hop {
            cluster: ClusterId::new(std::str::from_utf8(id).ok()?),
            topic_id: TopicId(fixed[..16].try_into().ok()?),
            partition: PartitionId(i32::from_be_bytes(fixed[16..20].try_into().ok()?)),
            offset: SourceOffset(i64::from_be_bytes(fixed[20..].try_into().ok()?)),
        });
        rest = tail;
    }
    rest.is_empty().then(|| (u64::from_be_bytes(content.try_into().expect("split at 8")), hops))
}

/// What is known where a claim is judged: a lane `source -> target` of one partition under one name.
#[derive(Debug, Clone, Copy)]
pub struct Bench<'a> {
    /// The lane's target cluster.
    pub target: &'a ClusterId,
    /// The topic's ID there now.
    pub target_topic_id: TopicId,
    /// The lane's partition.
    pub partition: PartitionId,
    /// The map of the flow that brought the record here by its last hop (hop.cluster -> source), for that topic generation and partition.
    pub brought_by: Option<&'a OffsetMap>,
    /// True when the cluster of the last hop also has a flow of its own to the target: it delivers its records itself (mesh).
    pub last_hop_feeds_target: bool,
    /// True when the record has waited for the map as long as a record may.
    pub waited_out: bool,
}

/// What to do with a record that carries a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Deliver it.
    Pass,
    /// Deliver it, and count it: what it claims is not so.
    PassForged,
    /// It came from the target (or reaches it on its own way): keep it back, and count it.
    Suppress,
    /// The map that would know has not got there yet: ask again when it has moved on.
    WaitForMap,
    /// Read the record at this place in the target and compare contents: see [`verdict_after_reading`].
    VerifyAtTarget(Hop),
}

/// Judges a claim.
#[must_use]
pub fn judge(claim: &Claim, bench: &Bench<'_>) -> Judgement {
    if planted::is(Bug::NoLoopCheck) {
        return Judgement::Pass;
    }
    let been_there = claim.hops.iter().rev().find(|hop| hop.cluster == *bench.target);
    if planted::is(Bug::TrustForgedHops) && been_there.is_some() {
        return Judgement::Suppress;
    }
    let Some(last) = claim.hops.last().filter(|_| claim.digest_agrees) else { return Judgement::PassForged };
    match been_there {
        Some(hop) => {
            if hop.partition != bench.partition || !hop.topic_id.may_be(bench.target_topic_id) {
                return Judgement::PassForged; // no flow of ours moves records between partitions, or into the past of a topic
            }
            // the last hop is the one that the neighbouring flow's map knows; older ones can only be looked up at the target
            if hop == last { by_map(claim, hop, bench) } else { Judgement::VerifyAtTarget(hop.clone()) }
        }
        None if bench.last_hop_feeds_target && claim.hops.len() == 1 => match by_map(claim, last, bench) {
            Judgement::VerifyAtTarget(_) => Judgement::Pass, // nothing proves that it reaches the target on its own: better twice than never
            judgement => judgement,
        },
        None => Judgement::Pass,
    }
}

fn by_map(claim: &Claim, hop: &Hop, bench: &Bench<'_>) -> Judgement {
    let Some(map) = bench.brought_by else { return Judgement::VerifyAtTarget(hop.clone()) };
    // in the map of the flow that brought it here, this lane's source is the target
    let here = TargetOffset(claim.at.get());
    match map.origin(here) {
        Some(origin) if origin == hop.offset => Judgement::Suppress,
        _ if here >= map.target_to() && !bench.waited_out => Judgement::WaitForMap,
        // another record lies there in the map, or none: a copy of before a crash, or a forgery. The record itself decides
        _ => Judgement::VerifyAtTarget(hop.clone()),
    }
}

/// What was found at the place that a claim names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A record with this content digest.
    Record(u64),
    /// No record (any more).
    Nothing,
}

/// The judgement once the claimed place was read. `content` is the digest of the record that is judged.
#[must_use]
pub fn verdict_after_reading(content: u64, found: Found) -> Judgement {
    if found == Found::Record(content) { Judgement::Suppress } else { Judgement::PassForged }
}

#[cfg(test)]
#[path = "provenance_tests.rs"]
mod tests;
