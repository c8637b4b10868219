//! The records of `__consumer_offsets` in Kafka's own format, so that its tools read ours and a replica could be Kafka's.
//!
//! Keys: i16 version, then fields. Version 0 and 1 are offset commits, 2 is group metadata. Values as Kafka 2.3-4.0 write
//! them (offset 3, group 3); newer flexible versions are read too where a fallback matters.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Versions we write.
const OFFSET_KEY: i16 = 1;
/// Keys above this one are those of consumer groups.
pub const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
const GROUP_VALUE: i16 = 3;
/// No group has more members than a 100 MiB record could name; guards the allocation when reading.
const MEMBERS_MAX: i32 = 1_000_000;

/// A record that is not of a known form.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecordFormatError {
    /// The record ends within a field.
    #[error("record ends within a field")]
    Short,
    /// A length or text that makes no sense.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A version this broker does not read.
    #[error("unknown {kind} version {version}")]
    Version {
        /// Which part of the record.
        kind: &'static str,
        /// Its version.
        version: i16,
    },
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A committed offset of (group, topic, partition).
    Offset(String, String, i32),
    /// The state of a group.
    Group(String),
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: i64,
    /// Leader epoch of the last record read, or -1.
    pub leader_epoch: i32,
    /// The client's note.
    pub metadata: String,
    /// Wall-clock milliseconds.
    pub commit_timestamp: i64,
}

/// The state of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupValue {
    /// `consumer`, `connect`, ...; empty for none.
    pub protocol_type: String,
    /// Generation.
    pub generation: i32,
    /// Chosen protocol.
    pub protocol: Option<String>,
    /// Member id of the leader.
    pub leader: Option<String>,
    /// Wall-clock milliseconds of the last change of state.
    pub state_since: i64,
    /// Members of the generation.
    pub members: Vec<MemberValue>,
}

/// One member inside `GroupValue`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberValue {
    /// Member id.
    pub member_id: String,
    /// Static membership.
    pub instance_id: Option<String>,
    /// From the request header.
    pub client_id: String,
    /// Peer address with a leading slash.
    pub client_host: String,
    /// Milliseconds.
    pub rebalance_timeout: i32,
    /// Milliseconds.
    pub session_timeout: i32,
    /// Metadata for the chosen protocol.
    pub subscription: Bytes,
    /// The leader's word.
    pub assignment: Bytes,
}

/// Encodes the key of a committed offset.
pub fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let mut out = BytesMut::with_capacity(12 + group.len() + topic.len());
    out.put_i16(OFFSET_KEY);
    put_string(&mut out, group);
    put_string(&mut out, topic);
    out.put_i32(partition);
    out.freeze()
}

/// Encodes the key of a group's state.
pub fn group_key(group: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(4 + group.len());
    out.put_i16(GROUP_KEY);
    put_string(&mut out, group);
    out.freeze()
}

impl OffsetValue {
    /// Encodes as Kafka's OffsetCommitValue version 3.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(24 + self.metadata.len());
        out.put_i16(OFFSET_VALUE);
        out.put_i64(self.offset);
        out.put_i32(self.leader_epoch);
        put_string(&mut out, &self.metadata);
        out.put_i64(self.commit_timestamp);
        out.freeze()
    }

    /// Decodes versions 0 to 4.
    pub fn decode(mut buf: Bytes) -> Result<Self, RecordFormatError> {
        let version = get_i16(&mut buf)?;
        let offset = get_i64(&mut buf)?;
        let (leader_epoch, metadata) = match version {
            0..=2 => (-1, get_string(&mut buf)?),
            3 => (get_i32(&mut buf)?, get_string(&mut buf)?),
            4 => (get_i32(&mut buf)?, get_compact_string(&mut buf)?),
            _ => return Err(RecordFormatError::Version { kind: "offset value", version }),
        };
        Ok(Self { offset, leader_epoch, metadata, commit_timestamp: get_i64(&mut buf)? })
    }
}

impl GroupValue {
    /// Encodes as Kafka's GroupMetadataValue version 3.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(GROUP_VALUE);
        put_string(&mut out, &self.protocol_type);
        out.put_i32(self.generation);
        put_nullable(&mut out, self.protocol.as_deref());
        put_nullable(&mut out, self.leader.as_deref());
        out.put_i64(self.state_since);
        out.put_i32(self.members.len() as i32);
        for m in &self.members {
            put_string(&mut out, &m.member_id);
            put_nullable(&mut out, m.instance_id.as_deref());
            put_string(&mut out, &m.client_id);
            put_string(&mut out, &m.client_host);
            out.put_i32(m.rebalance_timeout);
            out.put_i32(m.session_timeout);
            put_bytes(&mut out, &m.subscription);
            put_bytes(&mut out, &m.assignment);
        }
        out.freeze()
    }

    /// Decodes versions 0 to 3.
    pub fn decode(mut buf: Bytes) -> Result<Self, RecordFormatError> {
        let version = get_i16(&mut buf)?;
        if !(0..=3).contains(&version) {
            return Err(RecordFormatError::Version { kind: "group value", version });
        }
        let buf = &mut buf;
        let protocol_type = get_string(buf)?;
        let generation = get_i32(buf)?;
        let protocol = get_nullable(buf)?;
        let leader = get_nullable(buf)?;
        let state_since = if version >= 2 { get_i64(buf)? } else { -1 };
        let count = get_i32(buf)?;
        if !(0..=MEMBERS_MAX).contains(&count) {
            return Err(RecordFormatError::Malformed("member count"));
        }
        let mut members = Vec::new();
        for _ in 0..count {
            let member_id = get_string(buf)?;
            let instance_id = if version >= 3 { get_nullable(buf)? } else { None };
            let (client_id, client_host) = (get_string(buf)?, get_string(buf)?);
            let rebalance_timeout = if version >= 1 { get_i32(buf)? } else { -1 };
            let session_timeout = get_i32(buf)?;
            members.push(MemberValue {
                member_id,
                instance_id,
                client_id,
                client_host,
                rebalance_timeout: if version >= 1 { rebalance_timeout } else { session_timeout },
                session_timeout,
                subscription: get_bytes(buf)?,
                assignment: get_bytes(buf)?,
            });
        }
        Ok(Self { protocol_type, generation, protocol, leader, state_since, members })
    }
}

impl Key {
    /// Decodes a record's key; `Version` for kinds this broker does not keep (KIP-848 groups, say).
    pub fn decode(mut buf: Bytes) -> Result<Self, RecordFormatError> {
        let version = get_i16(&mut buf)?;
        match version {
            0 | OFFSET_KEY => Ok(Key::Offset(get_string(&mut buf)?, get_string(&mut buf)?, get_i32(&mut buf)?)),
            GROUP_KEY => Ok(Key::Group(get_string(&mut buf)?)),
            _ => Err(RecordFormatError::Version { kind: "key", version }),
        }
    }
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_i16(text.len() as i16);
    out.put_slice(text.as_bytes());
}

fn put_nullable(out: &mut BytesMut, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => out.put_i16(-1),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_i32(bytes.len() as i32);
    out.put_slice(bytes);
}

fn get_i16(buf: &mut Bytes) -> Result<i16, RecordFormatError> {
    buf.try_get_i16().map_err(|_| RecordFormatError::Short)
}
fn get_i32(buf: &mut Bytes) -> Result<i32, RecordFormatError> {
    buf.try_get_i32().map_err(|_| RecordFormatError::Short)
}
fn get_i64(buf: &mut Bytes) -> Result<i64, RecordFormatError> {
    buf.try_get_i64().map_err(|_| RecordFormatError::Short)
}

fn take(buf: &mut Bytes, len: i64) -> Result<Bytes, RecordFormatError> {
    match usize::try_from(len) {
        Ok(len) if len <= buf.len() => Ok(buf.split_to(len)),
        Ok(_) => Err(RecordFormatError::Short),
        Err(_) => Err(RecordFormatError::Malformed("length")),
    }
}

fn text(bytes: Bytes) -> Result<String, RecordFormatError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| RecordFormatError::Malformed("text"))
}

fn get_string(buf: &mut Bytes) -> Result<String, RecordFormatError> {
    let len = get_i16(buf)?;
    text(take(buf, len.into())?)
}

fn get_nullable(buf: &mut Bytes) -> Result<Option<String>, RecordFormatError> {
    match get_i16(buf)? {
        -1 => Ok(None),
        len => Ok(Some(text(take(buf, len.into())?)?)),
    }
}

fn get_bytes(buf: &mut Bytes) -> Result<Bytes, RecordFormatError> {
    let len = get_i32(buf)?;
    take(buf, len.into())
}

fn get_compact_string(buf: &mut Bytes) -> Result<String, RecordFormatError> {
    let mut len: i64 = 0;
    for shift in [0, 7, 14, 21, 28] {
        let byte = buf.try_get_u8().map_err(|_| RecordFormatError::Short)?;
        len |= i64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return text(take(buf, len - 1)?);
        }
    }
    Err(RecordFormatError::Malformed("varint"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_groups_round_trip() {
        let value = OffsetValue { offset: 42, leader_epoch: 3, metadata: "note é".into(), commit_timestamp: 99 };
        assert_eq!(OffsetValue::decode(value.encode()).unwrap(), value);
        let group = GroupValue {
            protocol_type: "consumer".into(),
            generation: 7,
            protocol: Some("range".into()),
            leader: Some("m1".into()),
            state_since: 5,
            members: vec![MemberValue {
                member_id: "m1".into(),
                instance_id: Some("i".into()),
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
                rebalance_timeout: 1,
                session_timeout: 2,
                subscription: Bytes::from_static(b"s"),
                assignment: Bytes::from_static(b"a"),
            }],
        };
        assert_eq!(GroupValue::decode(group.encode()).unwrap(), group);
        assert_eq!(Key::decode(offset_key("g", "t", 4)).unwrap(), Key::Offset("g".into(), "t".into(), 4));
        assert_eq!(Key::decode(group_key("g")).unwrap(), Key::Group("g".into()));
    }

    #[test]
    fn the_offset_record_has_kafkas_bytes() {
        // Key version 1, "g", "t", partition 1; value version 3, offset 5, epoch -1, "m", time 2.
        assert_eq!(&offset_key("g", "t", 1)[..], b"\0\x01\0\x01g\0\x01t\0\0\0\x01");
        let value = OffsetValue { offset: 5, leader_epoch: -1, metadata: "m".into(), commit_timestamp: 2 };
        assert_eq!(&value.encode()[..], b"\0\x03\0\0\0\0\0\0\0\x05\xff\xff\xff\xff\0\x01m\0\0\0\0\0\0\0\x02");
    }

    #[test]
    fn no_prefix_of_a_record_panics() {
        let group =
            GroupValue { protocol: Some("p".into()), members: vec![MemberValue::default()], ..Default::default() };
        let full = group.encode();
        for len in 0..full.len() {
            assert!(GroupValue::decode(full.slice(..len)).is_err(), "{len}");
        }
        assert!(Key::decode(Bytes::from_static(b"\0\x09")).is_err());
    }
}
