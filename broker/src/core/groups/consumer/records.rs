//! The records of consumer groups in `__consumer_offsets`, in Kafka's own format (key versions 3 to 8 and 16).

#![allow(clippy::needless_update, reason = "a message may get fields in a later version of the protocol")]

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use causeway_wire::Message;
use causeway_wire::messages::{
    consumer_group_current_member_assignment_key::ConsumerGroupCurrentMemberAssignmentKey,
    consumer_group_current_member_assignment_value as current_value,
    consumer_group_member_metadata_key::ConsumerGroupMemberMetadataKey,
    consumer_group_member_metadata_value as member_value, consumer_group_metadata_key::ConsumerGroupMetadataKey,
    consumer_group_metadata_value::ConsumerGroupMetadataValue,
    consumer_group_regular_expression_key::ConsumerGroupRegularExpressionKey,
    consumer_group_regular_expression_value::ConsumerGroupRegularExpressionValue,
    consumer_group_target_assignment_member_key::ConsumerGroupTargetAssignmentMemberKey,
    consumer_group_target_assignment_member_value as target_value,
    consumer_group_target_assignment_metadata_key::ConsumerGroupTargetAssignmentMetadataKey,
    consumer_group_target_assignment_metadata_value::ConsumerGroupTargetAssignmentMetadataValue,
};

use super::{Assigned, ClassicSide, Current, MemberMetadata, MemberState, Partitions};
use crate::core::groups::records::RecordFormatError;

/// Key versions, which name the kind of the record.
const GROUP: i16 = 3;
/// Written by Kafka before 4.1 only, never by us: passed over.
pub const PARTITION_METADATA: i16 = 4;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;
/// Every value has one version so far.
const VALUE: i16 = 0;

/// The epoch of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupEpoch {
    /// Counts changes.
    pub epoch: i32,
    /// Over the topics subscribed to: another hash means that a topic changed.
    pub hash: i64,
}

/// The epoch a group begins with: 0 would be that of a member that joins.
impl Default for GroupEpoch {
    fn default() -> Self {
        Self { epoch: 1, hash: 0 }
    }
}

/// The target assignment as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group epoch it was made for.
    pub epoch: i32,
    /// When it was made, in wall-clock milliseconds; 0 where that is not known (KIP-1263).
    pub made: i64,
}

impl Default for TargetEpoch {
    fn default() -> Self {
        Self { epoch: 1, made: 0 }
    }
}

/// What a regular expression matched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Topics by name.
    pub topics: BTreeSet<String>,
    /// Version of the metadata looked at.
    pub version: i64,
    /// Wall-clock milliseconds.
    pub timestamp: i64,
}

/// One change of a group; `None` is a tombstone. The first text is the member id or the regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The group's epoch.
    Group(Option<GroupEpoch>),
    /// Who a member is and what it wants.
    Member(String, Option<MemberMetadata>),
    /// The epoch of the target assignment.
    TargetEpoch(Option<TargetEpoch>),
    /// What a member should have.
    Target(String, Option<Partitions>),
    /// What a member has.
    Current(String, Option<Current>),
    /// What a regular expression matched.
    Regex(String, Option<Resolved>),
}

fn versioned<M: Message>(version: i16, message: &M) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(version);
    // The one version of these messages has every field, so nothing can be missing.
    message.encode(0, &mut out).expect("records have no field that version 0 lacks");
    out.freeze()
}

fn open<M: Message>(mut bytes: Bytes) -> Result<M, RecordFormatError> {
    let version = bytes.try_get_i16().map_err(|_| RecordFormatError::Short)?;
    if version != VALUE {
        return Err(RecordFormatError::Version { kind: M::NAME, version });
    }
    M::decode(0, &mut bytes).map_err(|_| RecordFormatError::Malformed(M::NAME))
}

impl Record {
    /// Key and value as they stand in the log.
    pub fn encode(&self, group: &str) -> (Bytes, Option<Bytes>) {
        let group_id = group.to_owned();
        match self {
            Record::Group(value) => {
                let encode = |v: &GroupEpoch| {
                    versioned(
                        VALUE,
                        &ConsumerGroupMetadataValue { epoch: v.epoch, metadata_hash: v.hash, ..Default::default() },
                    )
                };
                (
                    versioned(GROUP, &ConsumerGroupMetadataKey { group_id, ..Default::default() }),
                    value.as_ref().map(encode),
                )
            }
            Record::TargetEpoch(value) => {
                let encode = |target: &TargetEpoch| {
                    let value = ConsumerGroupTargetAssignmentMetadataValue {
                        assignment_epoch: target.epoch,
                        assignment_timestamp: target.made,
                        ..Default::default()
                    };
                    versioned(VALUE, &value)
                };
                let key = ConsumerGroupTargetAssignmentMetadataKey { group_id, ..Default::default() };
                (versioned(TARGET_EPOCH, &key), value.as_ref().map(encode))
            }
            Record::Member(id, value) => {
                let key = ConsumerGroupMemberMetadataKey { group_id, member_id: id.clone(), ..Default::default() };
                (versioned(MEMBER, &key), value.as_ref().map(encode_member))
            }
            Record::Target(id, value) => {
                let key =
                    ConsumerGroupTargetAssignmentMemberKey { group_id, member_id: id.clone(), ..Default::default() };
                (versioned(TARGET, &key), value.as_ref().map(encode_target))
            }
            Record::Current(id, value) => {
                let key =
                    ConsumerGroupCurrentMemberAssignmentKey { group_id, member_id: id.clone(), ..Default::default() };
                (versioned(CURRENT, &key), value.as_ref().map(encode_current))
            }
            Record::Regex(regex, value) => {
                let key = ConsumerGroupRegularExpressionKey {
                    group_id,
                    regular_expression: regex.clone(),
                    ..Default::default()
                };
                let encode = |v: &Resolved| {
                    let value = ConsumerGroupRegularExpressionValue {
                        topics: v.topics.iter().cloned().collect(),
                        version: v.version,
                        timestamp: v.timestamp,
                        ..Default::default()
                    };
                    versioned(VALUE, &value)
                };
                (versioned(REGEX, &key), value.as_ref().map(encode))
            }
        }
    }

    /// Reads a record; the group's id with it. None for kinds that carry nothing we use; an error says what is odd.
    pub fn decode(mut key: Bytes, value: Option<Bytes>) -> Result<Option<(String, Self)>, RecordFormatError> {
        let kind = key.try_get_i16().map_err(|_| RecordFormatError::Short)?;
        let bad = |_| RecordFormatError::Malformed("key");
        let key = &mut key;
        Ok(Some(match kind {
            GROUP => {
                let key = ConsumerGroupMetadataKey::decode(0, key).map_err(bad)?;
                let value = value.map(open::<ConsumerGroupMetadataValue>).transpose()?;
                (key.group_id, Record::Group(value.map(|v| GroupEpoch { epoch: v.epoch, hash: v.metadata_hash })))
            }
            MEMBER => {
                let key = ConsumerGroupMemberMetadataKey::decode(0, key).map_err(bad)?;
                (key.group_id, Record::Member(key.member_id, value.map(decode_member).transpose()?))
            }
            TARGET_EPOCH => {
                let key = ConsumerGroupTargetAssignmentMetadataKey::decode(0, key).map_err(bad)?;
                let value = value.map(open::<ConsumerGroupTargetAssignmentMetadataValue>).transpose()?;
                let read = |v: ConsumerGroupTargetAssignmentMetadataValue| TargetEpoch {
                    epoch: v.assignment_epoch,
                    made: v.assignment_timestamp,
                };
                (key.group_id, Record::TargetEpoch(value.map(read)))
            }
            TARGET => {
                let key = ConsumerGroupTargetAssignmentMemberKey::decode(0, key).map_err(bad)?;
                (key.group_id, Record::Target(key.member_id, value.map(decode_target).transpose()?))
            }
            CURRENT => {
                let key = ConsumerGroupCurrentMemberAssignmentKey::decode(0, key).map_err(bad)?;
                (key.group_id, Record::Current(key.member_id, value.map(decode_current).transpose()?))
            }
            REGEX => {
                let key = ConsumerGroupRegularExpressionKey::decode(0, key).map_err(bad)?;
                let value = value.map(open::<ConsumerGroupRegularExpressionValue>).transpose()?;
                let resolved = value.map(|v| Resolved {
                    topics: v.topics.into_iter().collect(),
                    version: v.version,
                    timestamp: v.timestamp,
                });
                (key.group_id, Record::Regex(key.regular_expression, resolved))
            }
            PARTITION_METADATA => return Ok(None),
            version => return Err(RecordFormatError::Version { kind: "key", version }),
        }))
    }
}

fn encode_member(m: &MemberMetadata) -> Bytes {
    let classic = |c: &ClassicSide| member_value::ClassicMemberMetadata {
        session_timeout_ms: c.session_timeout,
        supported_protocols: c
            .protocols
            .iter()
            .map(|(name, metadata)| member_value::ClassicProtocol {
                name: name.clone(),
                metadata: metadata.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let value = member_value::ConsumerGroupMemberMetadataValue {
        instance_id: m.instance_id.clone(),
        rack_id: m.rack_id.clone(),
        client_id: m.client_id.clone(),
        client_host: m.client_host.clone(),
        subscribed_topic_names: m.topics.iter().cloned().collect(),
        subscribed_topic_regex: Some(m.regex.clone()),
        rebalance_timeout_ms: m.rebalance_timeout,
        server_assignor: m.assignor.clone(),
        classic_member_metadata: m.classic.as_ref().map(classic),
        ..Default::default()
    };
    versioned(VALUE, &value)
}

fn decode_member(bytes: Bytes) -> Result<MemberMetadata, RecordFormatError> {
    let v = open::<member_value::ConsumerGroupMemberMetadataValue>(bytes)?;
    Ok(MemberMetadata {
        instance_id: v.instance_id,
        rack_id: v.rack_id,
        client_id: v.client_id,
        client_host: v.client_host,
        topics: v.subscribed_topic_names.into_iter().collect(),
        regex: v.subscribed_topic_regex.unwrap_or_default(),
        rebalance_timeout: v.rebalance_timeout_ms,
        assignor: v.server_assignor.filter(|a| !a.is_empty()),
        classic: v.classic_member_metadata.map(|c| ClassicSide {
            session_timeout: c.session_timeout_ms,
            protocols: c.supported_protocols.into_iter().map(|p| (p.name, p.metadata)).collect(),
        }),
    })
}

fn encode_target(target: &Partitions) -> Bytes {
    let topics = target.iter().map(|(topic_id, partitions)| target_value::TopicPartition {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
        ..Default::default()
    });
    let value = target_value::ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: topics.collect(),
        ..Default::default()
    };
    versioned(VALUE, &value)
}

fn decode_target(bytes: Bytes) -> Result<Partitions, RecordFormatError> {
    let v = open::<target_value::ConsumerGroupTargetAssignmentMemberValue>(bytes)?;
    Ok(v.topic_partitions.into_iter().map(|t| (t.topic_id, t.partitions.into_iter().collect())).collect())
}

fn encode_current(c: &Current) -> Bytes {
    let topics = |assigned: &Assigned| -> Vec<current_value::TopicPartitions> {
        assigned
            .iter()
            .map(|(topic_id, partitions)| current_value::TopicPartitions {
                topic_id: *topic_id,
                partitions: partitions.keys().copied().collect(),
                assignment_epochs: Some(partitions.values().copied().collect()),
                ..Default::default()
            })
            .collect()
    };
    let value = current_value::ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: c.epoch,
        previous_member_epoch: c.previous_epoch,
        state: c.state.code(),
        assigned_partitions: topics(&c.assigned),
        partitions_pending_revocation: topics(&c.revoking),
        ..Default::default()
    };
    versioned(VALUE, &value)
}

fn decode_current(bytes: Bytes) -> Result<Current, RecordFormatError> {
    let v = open::<current_value::ConsumerGroupCurrentMemberAssignmentValue>(bytes)?;
    let epoch = v.member_epoch;
    let assigned = |topics: Vec<current_value::TopicPartitions>| -> Assigned {
        let one = |t: current_value::TopicPartitions| {
            let epochs = t.assignment_epochs.unwrap_or_default();
            // Records from before KIP-1251 have no epochs: the member's own is the safe one.
            let with = |(i, p): (usize, i32)| (p, epochs.get(i).copied().unwrap_or(epoch));
            (t.topic_id, t.partitions.into_iter().enumerate().map(with).collect())
        };
        topics.into_iter().map(one).collect()
    };
    Ok(Current {
        epoch,
        previous_epoch: v.previous_member_epoch,
        state: MemberState::from_code(v.state),
        assigned: assigned(v.assigned_partitions),
        revoking: assigned(v.partitions_pending_revocation),
    })
}

#[cfg(test)]
mod tests {
    use causeway_wire::Uuid;

    use super::*;

    fn samples() -> Vec<Record> {
        let topic = Uuid([7; 16]);
        let member = MemberMetadata {
            instance_id: Some("i".into()),
            rack_id: Some("r".into()),
            topics: BTreeSet::from(["a".into(), "b".into()]),
            regex: "x.*".into(),
            rebalance_timeout: 5,
            assignor: Some("range".into()),
            classic: Some(ClassicSide {
                session_timeout: 9,
                protocols: vec![("range".into(), Bytes::from_static(b"m"))],
            }),
            ..MemberMetadata::default()
        };
        let current = Current {
            epoch: 4,
            previous_epoch: 3,
            state: MemberState::Unrevoked,
            assigned: Assigned::from([(topic, [(0, 2), (1, 4)].into())]),
            revoking: Assigned::from([(topic, [(2, 1)].into())]),
        };
        vec![
            Record::Group(Some(GroupEpoch { epoch: 2, hash: 77 })),
            Record::Member("m".into(), Some(member)),
            Record::Member("m".into(), Some(MemberMetadata::default())),
            Record::TargetEpoch(Some(TargetEpoch { epoch: 2, made: 1_700_000_000_000 })),
            Record::Target("m".into(), Some(Partitions::from([(topic, BTreeSet::from([1, 2]))]))),
            Record::Current("m".into(), Some(current)),
            Record::Regex("x.*".into(), Some(Resolved { topics: BTreeSet::new(), version: 1, timestamp: 2 })),
            Record::Group(None),
            Record::Current("m".into(), None),
        ]
    }

    #[test]
    fn every_record_comes_back_as_it_was() {
        for record in samples() {
            let (key, value) = record.encode("g");
            assert_eq!(Record::decode(key, value).unwrap(), Some(("g".to_owned(), record)));
        }
    }

    #[test]
    fn kinds_have_kafkas_numbers_and_no_prefix_panics() {
        let kinds: Vec<i16> =
            samples()[..7].iter().map(|r| i16::from_be_bytes(r.encode("g").0[..2].try_into().unwrap())).collect();
        assert_eq!(kinds, [3, 5, 5, 6, 7, 8, 16]);
        // Key of a group: kind 3, then a string with a 16-bit length; value: version 0, epoch, one tagged field of 8 bytes.
        let (key, value) = samples()[0].encode("g");
        assert_eq!(&key[..], b"\0\x03\0\x01g");
        assert_eq!(&value.unwrap()[..], b"\0\0\0\0\0\x02\x01\0\x08\0\0\0\0\0\0\0\x4d");
        // As a node of Apache Kafka 4.3.1 writes a member of the consumer protocol: its classic half is a tagged null.
        let plain = encode_member(&MemberMetadata::default());
        assert_eq!(&plain[..], b"\0\0\0\0\x01\x01\x01\x01\xff\xff\xff\xff\0\x01\0\x01\0");
        for record in samples() {
            let (key, value) = record.encode("g");
            for len in 0..key.len() {
                assert!(Record::decode(key.slice(..len), None).is_err());
            }
            for len in 0..value.as_ref().map_or(0, Bytes::len) {
                assert!(Record::decode(key.clone(), value.as_ref().map(|v| v.slice(..len))).is_err(), "{record:?}");
            }
        }
    }
}
