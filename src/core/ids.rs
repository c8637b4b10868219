//! The names and numbers that other modules pass around: never a bare `i64` across a module border.
use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! offset {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl $name {
            /// The first offset a log can have.
            pub const ZERO: $name = $name(0);
            /// The bare number, for the edge (wire, files, output).
            #[must_use]
            pub fn get(self) -> i64 {
                self.0
            }
            /// The offset right after this one.
            #[must_use]
            pub fn next(self) -> Self {
                $name(self.0.saturating_add(1))
            }
            /// This offset moved on by `count`; saturates at the end of the number range.
            #[must_use]
            pub fn plus(self, count: u64) -> Self {
                $name(self.0.saturating_add(i64::try_from(count).unwrap_or(i64::MAX)))
            }
            /// How many offsets lie in `earlier..self`; 0 when `earlier` is not earlier.
            #[must_use]
            pub fn since(self, earlier: Self) -> u64 {
                u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

offset! {
    /// An offset in a partition of a flow's source cluster.
    SourceOffset
}
offset! {
    /// An offset in a partition of a flow's target cluster.
    TargetOffset
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes any text; what may stand in it is checked where it comes in (config, metadata).
            pub fn new(text: impl AsRef<str>) -> Self {
                $name(Arc::from(text.as_ref()))
            }
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                $name(Arc::from(text))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map($name::from)
            }
        }
    };
}

name! {
    /// `cluster.id` of a cluster: what a cluster *is*. An alias is only a label.
    ClusterId
}
name! {
    /// The label a configuration gives to a cluster; two aliases may name one cluster (and then the graph check refuses).
    Alias
}
name! {
    /// The name of a flow, as the configuration gives it.
    FlowName
}
name! {
    /// A topic's name.
    TopicName
}
name! {
    /// A consumer group's name.
    GroupName
}

/// A partition's number; the same on both sides of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(pub i32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A leader epoch of one cluster (KIP-101): it means nothing on another cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaderEpoch(pub i32);

impl LeaderEpoch {
    /// "Not known": the only leader epoch that may travel to another cluster.
    pub const UNKNOWN: LeaderEpoch = LeaderEpoch(-1);
}

impl Default for LeaderEpoch {
    fn default() -> Self {
        LeaderEpoch::UNKNOWN
    }
}

/// The epoch of a flow: goes up at every takeover, promote and failover; only its holder writes (L6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FlowEpoch(pub u64);

impl FlowEpoch {
    /// The epoch a claimant after this one takes.
    #[must_use]
    pub fn next(self) -> Self {
        FlowEpoch(self.0 + 1)
    }
}

impl fmt::Display for FlowEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic ID (KIP-516); printed and parsed as Kafka does (base64url, 22 characters).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// What a cluster without topic IDs answers. Two zero IDs count as the same topic.
    pub const UNKNOWN: TopicId = TopicId([0; 16]);

    /// True unless both are known and differ: an unknown ID proves nothing.
    #[must_use]
    pub fn may_be(self, other: TopicId) -> bool {
        self == other || self == Self::UNKNOWN || other == Self::UNKNOWN
    }
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        // 128 bits make 21 whole sextets and one of 2 bits, which base64 fills up with zeros on the right
        for sextet in (0..22).map(|i| if i == 21 { (bits & 3) << 4 } else { (bits >> (122 - 6 * i)) & 63 }) {
            fmt::Write::write_char(f, char::from(BASE64URL[sextet as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a topic ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a topic ID: 22 characters of base64url expected")]
pub struct NotATopicId(pub String);

impl FromStr for TopicId {
    type Err = NotATopicId;

    fn from_str(text: &str) -> Result<Self, NotATopicId> {
        let refuse = || NotATopicId(text.to_owned());
        if text.len() != 22 {
            return Err(refuse());
        }
        let mut bits = 0u128;
        for (i, byte) in text.bytes().enumerate() {
            let sextet = BASE64URL.iter().position(|&c| c == byte).ok_or_else(refuse)? as u128;
            if i == 21 && sextet & 15 != 0 {
                return Err(refuse());
            }
            bits = if i == 21 { bits << 2 | sextet >> 4 } else { bits << 6 | sextet };
        }
        Ok(TopicId(bits.to_be_bytes()))
    }
}

impl Serialize for TopicId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A topic between its creation and its deletion: deleting and re-creating a topic starts a new generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// The topic's name on the source.
    pub topic: TopicName,
    /// Its topic ID on the source.
    pub id: TopicId,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.topic, self.id)
    }
}

/// A lane of one flow: one partition of one topic generation, the unit of order, progress, pausing and failure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneId {
    /// The source topic and its ID.
    pub generation: Generation,
    /// The partition's number, equal on both sides.
    pub partition: PartitionId,
}

impl LaneId {
    /// The lane of `partition` of the topic `topic` with the ID `id`.
    pub fn new(topic: impl Into<TopicName>, id: TopicId, partition: i32) -> Self {
        LaneId { generation: Generation { topic: topic.into(), id }, partition: PartitionId(partition) }
    }
    /// The source topic's name.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.generation.topic
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation.topic, self.partition)
    }
}

/// Milliseconds since the Unix epoch; handed in from outside, `core` reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_ids_read_and_print_as_kafka_does() {
        // a known pair: 16 bytes 0..=15
        let id = TopicId(std::array::from_fn(|i| i as u8));
        assert_eq!(id.to_string(), "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!("AAECAwQFBgcICQoLDA0ODw".parse(), Ok(id));
        let high = TopicId([0xff; 16]);
        assert_eq!(high.to_string(), "_____________________w");
        assert_eq!(high.to_string().parse(), Ok(high));
        for bad in ["", "AAECAwQFBgcICQoLDA0OD", "AAECAwQFBgcICQoLDA0OD$", "_____________________x"] {
            assert!(bad.parse::<TopicId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_topic_id_proves_no_new_generation() {
        let (a, b) = (TopicId([1; 16]), TopicId([2; 16]));
        assert!(a.may_be(a) && a.may_be(TopicId::UNKNOWN) && TopicId::UNKNOWN.may_be(b) && !a.may_be(b));
    }

    #[test]
    fn offsets_never_wrap() {
        assert_eq!(SourceOffset(i64::MAX).next(), SourceOffset(i64::MAX));
        assert_eq!(SourceOffset(3).since(SourceOffset(5)), 0);
        assert_eq!(TargetOffset(5).since(TargetOffset(3)), 2);
    }
}
