//! Requests written from the protocol's descriptions, with values that mean something to a broker: names that exist, members that joined, batches that hold.

use std::fs;

use bytes::{BufMut, Bytes, BytesMut};
use causeway_wire::records::{BatchBuilder, Codec};

use crate::schema::{self, Field, Kind, Message, Range, Struct, Type};

/// Most members, producers and topic ids remembered from answers.
const REMEMBERED_MAX: usize = 32;
/// No request may ask to wait for longer (ms): the point is to find hangs, not to have them.
const WAIT_MS_MAX: i32 = 15;

/// What answers taught: the state that a deeper request must name.
#[derive(Default)]
pub struct Known {
    pub members: Vec<(String, i32)>,
    pub producers: Vec<(i64, i16)>,
    pub topic_ids: Vec<[u8; 16]>,
    pub sessions: Vec<i32>,
}

/// Adds one, in place of a random one where there are enough.
pub fn remember<T>(all: &mut Vec<T>, one: T, rng: &mut fastrand::Rng) {
    if all.len() < REMEMBERED_MAX {
        all.push(one);
    } else {
        all[rng.usize(0..REMEMBERED_MAX)] = one;
    }
}

/// Every request described, by key.
pub fn requests() -> Vec<(i16, Message)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/wire/schema")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "api")
            && let Kind::Api { key, request, .. } = schema::parse(&fs::read_to_string(path).unwrap()).unwrap().kind
        {
            found.push((key, request));
        }
    }
    found.sort_by_key(|(key, _)| *key);
    found
}

/// Writes one request.
pub struct Writer<'a> {
    pub key: i16,
    pub message: &'a Message,
    pub version: i16,
    pub rng: &'a mut fastrand::Rng,
    pub known: &'a Known,
}

impl Writer<'_> {
    pub fn body(&mut self) -> BytesMut {
        let mut out = BytesMut::new();
        let outermost = &self.message.structs[0];
        self.structure(&mut out, outermost);
        out
    }

    fn flexible(&self) -> bool {
        self.message.flexible.is_some_and(|from| self.version >= from)
    }

    fn within(&self, range: Option<Range>) -> bool {
        range.is_some_and(|range| range.contains(self.version))
    }

    fn structure(&mut self, out: &mut BytesMut, item: &Struct) {
        let version = self.version;
        for field in item.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version)) {
            self.value(out, field);
        }
        if !self.flexible() {
            return;
        }
        let mut tagged: Vec<&Field> =
            item.fields.iter().filter(|f| f.tag.is_some() && f.versions.contains(version)).collect();
        tagged.sort_by_key(|f| f.tag);
        tagged.retain(|_| self.rng.u8(0..4) == 0);
        uvarint(out, tagged.len() as u32);
        for field in tagged {
            let mut value = BytesMut::new();
            self.value(&mut value, field);
            uvarint(out, field.tag.unwrap());
            uvarint(out, value.len() as u32);
            out.extend_from_slice(&value);
        }
    }

    fn value(&mut self, out: &mut BytesMut, field: &Field) {
        // Without a name a quota holds for everybody, the fuzzer too.
        let named = field.name == "entity_name";
        if self.within(field.nullable) && !named && self.rng.u8(0..6) == 0 {
            match field.ty {
                Type::Struct(_) => out.put_u8(0xff),
                Type::String if !self.flexible() => out.put_i16(-1),
                _ if !self.flexible() => out.put_i32(-1),
                _ => out.put_u8(0),
            }
            return;
        }
        if self.within(field.nullable) && matches!(field.ty, Type::Struct(_)) {
            out.put_u8(1);
        }
        self.plain(out, &field.name, &field.ty);
    }

    fn plain(&mut self, out: &mut BytesMut, name: &str, ty: &Type) {
        match ty {
            Type::Bool => out.put_u8(u8::from(self.rng.bool())),
            Type::I8 => out.put_i8(self.rng.i8(-1..40)),
            Type::I16 | Type::U16 => {
                let value = self.small(name);
                out.put_i16(value);
            }
            Type::I32 | Type::U32 => {
                let value = self.number(name);
                out.put_i32(value);
            }
            Type::I64 => {
                let value = self.long(name);
                out.put_i64(value);
            }
            Type::F64 => out.put_f64(*self.pick(&[0.0, 1e9, -1.0, f64::NAN, f64::INFINITY, 5e8])),
            Type::Uuid => {
                let id = if self.rng.u8(0..8) == 0 { [7; 16] } else { self.one_of(&self.known.topic_ids.clone()) };
                out.extend_from_slice(&id);
            }
            Type::String => {
                let text = self.text(name);
                self.string(out, &text);
            }
            Type::Bytes => {
                let bytes: Vec<u8> = (0..self.rng.usize(0..60)).map(|_| self.rng.u8(..)).collect();
                self.count(out, bytes.len());
                out.extend_from_slice(&bytes);
            }
            Type::Records => {
                let batch = self.records();
                self.count(out, batch.len());
                out.extend_from_slice(&batch);
            }
            Type::Struct(of) => {
                let message = self.message;
                let item = message.structs.iter().find(|s| s.name == *of).unwrap();
                self.structure(out, item);
            }
            Type::Array(inner) => {
                let many = if self.rng.u8(0..100) == 0 { 60 } else { 3 };
                let length = self.rng.usize(0..many);
                self.count(out, length);
                (0..length).for_each(|_| self.plain(out, name, inner));
            }
        }
    }

    fn pick<'b, T>(&mut self, all: &'b [T]) -> &'b T {
        &all[self.rng.usize(0..all.len())]
    }

    fn one_of<T: Clone + Default>(&mut self, all: &[T]) -> T {
        if all.is_empty() { T::default() } else { self.pick(all).clone() }
    }

    fn small(&mut self, name: &str) -> i16 {
        match name {
            "producer_epoch" => self.one_of(&self.known.producers.clone()).1 + self.rng.i16(-1..2),
            "replication_factor" => *self.pick(&[1, -1, 0, 3]),
            "acks" => *self.pick(&[-1, 1, -1, 1, 0, 2]),
            _ => self.rng.i16(-2..9),
        }
    }

    fn number(&mut self, name: &str) -> i32 {
        if self.rng.u8(0..60) == 0 {
            return *self.pick(&[i32::MIN, i32::MAX, -1, 1 << 20, -2]);
        }
        match name {
            _ if name.ends_with("_ms") => self.rng.i32(-1..WAIT_MS_MAX),
            "num_partitions" | "count" => self.rng.i32(-1..4),
            "generation_id" | "member_epoch" | "generation_id_or_member_epoch" => {
                self.one_of(&self.known.members.clone()).1 + self.rng.i32(-1..2)
            }
            "session_id" => self.one_of(&self.known.sessions.clone()),
            "max_bytes" | "partition_max_bytes" => *self.pick(&[0, 1, 1_000, 1 << 20]),
            "broker_ids" | "replicas" | "broker_id" => *self.pick(&[0, 0, 1, -1]),
            _ => self.rng.i32(-1..4),
        }
    }

    fn long(&mut self, name: &str) -> i64 {
        match name {
            "producer_id" | "producer_id_filters" | "v3_and_below_producer_id" => {
                self.one_of(&self.known.producers.clone()).0
            }
            _ if self.rng.u8(0..20) == 0 => *self.pick(&[i64::MIN, i64::MAX, -1, -17, 1 << 40]),
            _ => self.rng.i64(-7..50),
        }
    }

    fn text(&mut self, name: &str) -> String {
        const TOPICS: &[&str] = &[
            "t0",
            "t1",
            "t2",
            "t3",
            "compacted",
            "tiny",
            "",
            "a b",
            "__consumer_offsets",
            "__transaction_state",
            "nowhere",
        ];
        const GROUPS: &[&str] = &["g0", "g1", "g2", "g3", "", "none"];
        const KEYS: &[&str] = &[
            "retention.ms",
            "cleanup.policy",
            "segment.bytes",
            "max.message.bytes",
            "compression.type",
            "no.such.key",
            "min.insync.replicas",
            "consumer.session.timeout.ms",
            "interval.ms",
            "producer_byte_rate",
            "log.retention.ms",
            "connection_creation_rate",
            "request_percentage",
            "message.timestamp.type",
            "retention.bytes",
            "metrics",
        ];
        const VALUES: &[&str] = &[
            "1000",
            "-1",
            "compact",
            "delete",
            "compact,delete",
            "1048576",
            "lz4",
            "x",
            "",
            "0",
            "9999999999",
            "zstd",
        ];
        const KINDS: &[&str] = &["user", "client-id", "ip", "planet", "consumer", "connect", "range", "uniform", "x"];
        let text = match name {
            "member_id" => return self.one_of(&self.known.members.clone()).0,
            "transactional_id" | "v3_and_below_transactional_id" | "transactional_ids" => {
                *self.pick(&["x0", "x1", "x2", ""])
            }
            "key" if matches!(self.key, 10) => *self.pick(GROUPS),
            "value" => *self.pick(VALUES),
            "group_id" | "groups" | "group_ids" | "groups_names" | "coordinator_keys" => *self.pick(GROUPS),
            "key" | "configuration_keys" => *self.pick(KEYS),
            // The one that resource APIs call by the same word as topics.
            "name" if matches!(self.key, 33 | 44) => *self.pick(KEYS),
            "resource_name" => *self.pick(&["t0", "t1", "0", "", "g0", "m", "9"]),
            "entity_name" | "match" => *self.pick(&["somebody", "else", "127.0.0.77", ""]),
            "server_assignor" => *self.pick(&["uniform", "range", "best", ""]),
            "subscribed_topic_regex" => *self.pick(&["t.*", "a(", "", ".*"]),
            "entity_type" | "protocol_type" | "protocol_name" => *self.pick(KINDS),
            "name" if self.key == 11 => *self.pick(KINDS),
            _ => *self.pick(TOPICS),
        };
        text.to_owned()
    }

    fn string(&self, out: &mut BytesMut, text: &str) {
        if self.flexible() {
            uvarint(out, text.len() as u32 + 1);
        } else {
            out.put_i16(text.len() as i16);
        }
        out.extend_from_slice(text.as_bytes());
    }

    fn count(&self, out: &mut BytesMut, count: usize) {
        if self.flexible() {
            uvarint(out, count as u32 + 1);
        } else {
            out.put_i32(count as i32);
        }
    }

    /// A batch: mostly one that holds, of a producer or of none, transactional or not; sometimes damaged.
    fn records(&mut self) -> Vec<u8> {
        let codec = *self.pick(&[Codec::None, Codec::None, Codec::Lz4, Codec::Zstd, Codec::Gzip, Codec::Snappy]);
        let mut builder = BatchBuilder::new(codec);
        if self.rng.bool() {
            let (id, epoch) = self.one_of(&self.known.producers.clone());
            builder = builder.producer(id, epoch, self.rng.i32(0..6)).transactional(self.rng.bool());
        }
        for _ in 0..self.rng.usize(1..4) {
            let key = (self.rng.u8(0..8) > 0).then_some(&b"key"[..]);
            builder.push(self.rng.i64(-1..2_000_000_000_000), key, Some(b"value"), &[]).unwrap();
        }
        let mut bytes = builder.build().unwrap().to_vec();
        if self.rng.u8(0..4) == 0 {
            damage(&mut bytes, self.rng);
            if self.rng.bool() && bytes.len() > 21 {
                let crc = crc32c::crc32c(&bytes[21..]);
                bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            }
        }
        bytes
    }
}

/// Flips, cuts and pastes.
pub fn damage(bytes: &mut Vec<u8>, rng: &mut fastrand::Rng) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..=bytes.len());
        match rng.u8(0..5) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => bytes.truncate(at),
            3 => {
                let end = (at + 4).min(bytes.len());
                bytes.splice(at..end, [0x7f, 0xff, 0xff, 0xff]);
            }
            _ => {
                let piece: Vec<u8> = bytes[..at.min(40)].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

fn uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// A whole frame with this body.
pub fn framed(key: i16, version: i16, header: i16, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(0);
    let head = causeway_wire::header::RequestHeader {
        api_key: key,
        api_version: version,
        correlation_id: i32::from(version) << 16 | i32::from(key),
        client_id: Some("fuzz".into()),
    };
    head.encode(header, &mut out).unwrap();
    out.extend_from_slice(body);
    let length = (out.len() - 4) as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}
