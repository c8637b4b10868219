//! How progress records lie in the topic: `[version u8][kind u8][crc32c u32 over kind and body][body]`, keys `[version][kind][body]`.
//!
//! Chunks, written with every commit, have a compact body of variable-length integers; everything else is JSON, which takes new
//! fields without a new version. Nothing that can be read from a topic panics; a newer version is refused by its number.
use super::{Chunk, Key, Record, Value};
use crate::core::ids::{LeaderEpoch, SourceOffset, TargetOffset, TopicId, TopicName};
use crate::core::offset_map::Run;

/// The version written; readers refuse a higher one.
pub const FORMAT_VERSION: u8 = 1;

/// Most runs a chunk may claim to hold when read: writers stay far below it.
const RUNS_READ_MAX: u64 = 1 << 16;
/// Longest topic name read; Kafka allows 249 bytes.
const NAME_BYTES_MAX: u64 = 1024;

const KIND_JSON: u8 = b'j';
const KIND_CHUNK: u8 = b'c';

/// Why a record was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer Causeway.
    #[error(
        "progress record has format version {found}, this build reads up to {FORMAT_VERSION}: run the newer build that wrote it"
    )]
    NewerVersion {
        /// The version found.
        found: u8,
    },
    /// The record ends too early or has an impossible number in it.
    #[error("progress record is damaged: {0}")]
    Damaged(&'static str),
    /// The checksum differs.
    #[error("progress record is damaged: checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The JSON part cannot be read.
    #[error("progress record is damaged: {0}")]
    Json(String),
}

/// Key and value as they are written; no value for a tombstone.
#[must_use]
pub fn encode(record: &Record) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut key = vec![FORMAT_VERSION, KIND_JSON];
    serde_json::to_writer(&mut key, &record.key).expect("a key holds only strings and numbers");
    let value = record.value.as_ref().map(|value| {
        let mut body = Vec::with_capacity(64);
        match value {
            Value::Chunk(chunk) => {
                body.push(KIND_CHUNK);
                write_chunk(&mut body, chunk);
            }
            other => {
                body.push(KIND_JSON);
                serde_json::to_writer(&mut body, other).expect("values hold only strings, numbers and lists");
            }
        }
        let mut out = Vec::with_capacity(body.len() + 5);
        out.push(FORMAT_VERSION);
        out.push(body[0]);
        out.extend_from_slice(&crc32c::crc32c(&body).to_be_bytes());
        out.extend_from_slice(&body[1..]);
        out
    });
    (key, value)
}

/// Reads a record of the topic.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Record, DecodeError> {
    let key = decode_key(key)?;
    Ok(Record { key, value: value.map(decode_value).transpose()? })
}

fn version(bytes: &[u8]) -> Result<(), DecodeError> {
    match bytes.first() {
        None => Err(DecodeError::Damaged("empty")),
        Some(0) => Err(DecodeError::Damaged("version 0")),
        Some(&found) if found > FORMAT_VERSION => Err(DecodeError::NewerVersion { found }),
        Some(_) => Ok(()),
    }
}

fn decode_key(bytes: &[u8]) -> Result<Key, DecodeError> {
    version(bytes)?;
    match bytes.get(1) {
        Some(&KIND_JSON) => serde_json::from_slice(&bytes[2..]).map_err(|e| DecodeError::Json(e.to_string())),
        _ => Err(DecodeError::Damaged("unknown kind of key")),
    }
}

fn decode_value(bytes: &[u8]) -> Result<Value, DecodeError> {
    version(bytes)?;
    let [_, kind, c0, c1, c2, c3, body @ ..] = bytes else { return Err(DecodeError::Damaged("shorter than its head")) };
    let expected = u32::from_be_bytes([*c0, *c1, *c2, *c3]);
    let found = crc32c::crc32c_append(crc32c::crc32c(&[*kind]), body);
    if found != expected {
        return Err(DecodeError::Checksum { expected, found });
    }
    match *kind {
        KIND_CHUNK => read_chunk(&mut Reader(body)).map(Value::Chunk),
        KIND_JSON => serde_json::from_slice(body).map_err(|e| DecodeError::Json(e.to_string())),
        _ => Err(DecodeError::Damaged("unknown kind of value")),
    }
}

fn write_chunk(out: &mut Vec<u8>, chunk: &Chunk) {
    put_i64(out, chunk.covered_to.get());
    put_i64(out, chunk.target_base.get());
    put_i64(out, chunk.target_from.get());
    put_i64(out, i64::from(chunk.leader_epoch.0));
    out.extend_from_slice(&chunk.target_topic_id.0);
    put_u64(out, chunk.target_topic.as_str().len() as u64);
    out.extend_from_slice(chunk.target_topic.as_str().as_bytes());
    put_u64(out, chunk.runs.len() as u64);
    // each run relative to the end of the one before: small numbers, one or two bytes each
    let (mut source, mut target) = (0i64, chunk.target_base.get());
    for run in &chunk.runs {
        put_i64(out, run.source_first.get().wrapping_sub(source));
        put_u64(out, run.count() - 1);
        put_i64(out, run.target_first.get().wrapping_sub(target));
        source = run.source_last.get();
        target = run.target_last().get();
    }
}

fn read_chunk(reader: &mut Reader<'_>) -> Result<Chunk, DecodeError> {
    let covered_to = SourceOffset(reader.i64()?);
    let target_base = TargetOffset(reader.i64()?);
    let target_from = TargetOffset(reader.i64()?);
    let leader_epoch = i32::try_from(reader.i64()?).map_err(|_| DecodeError::Damaged("leader epoch"))?;
    let id = reader.take(16)?;
    let target_topic_id = TopicId(id.try_into().map_err(|_| DecodeError::Damaged("topic id"))?);
    let name_len = reader.u64()?;
    if name_len > NAME_BYTES_MAX {
        return Err(DecodeError::Damaged("topic name too long"));
    }
    let name = std::str::from_utf8(reader.take(name_len as usize)?).map_err(|_| DecodeError::Damaged("topic name"))?;
    let target_topic = TopicName::new(name);
    let count = reader.u64()?;
    if count > RUNS_READ_MAX {
        return Err(DecodeError::Damaged("too many runs"));
    }
    let mut runs = Vec::with_capacity((count as usize).min(reader.0.len() / 3 + 1));
    let (mut source, mut target) = (0i64, target_base.get());
    for _ in 0..count {
        let first = source.checked_add(reader.i64()?).ok_or(DecodeError::Damaged("source offset"))?;
        let more = i64::try_from(reader.u64()?).map_err(|_| DecodeError::Damaged("run length"))?;
        let target_first = target.checked_add(reader.i64()?).ok_or(DecodeError::Damaged("target offset"))?;
        source = first.checked_add(more).ok_or(DecodeError::Damaged("run length"))?;
        target = target_first.checked_add(more).ok_or(DecodeError::Damaged("run length"))?;
        runs.push(Run {
            source_first: SourceOffset(first),
            source_last: SourceOffset(source),
            target_first: TargetOffset(target_first),
        });
    }
    if !reader.0.is_empty() {
        return Err(DecodeError::Damaged("bytes after the last run"));
    }
    Ok(Chunk {
        covered_to,
        target_base,
        target_from,
        target_topic_id,
        target_topic,
        leader_epoch: LeaderEpoch(leader_epoch),
        runs,
    })
}

fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, (value << 1 ^ value >> 63) as u64); // zigzag: small negative numbers stay short
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(DecodeError::Damaged("ends too early"))?;
        self.0 = tail;
        Ok(head)
    }
    fn u64(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Damaged("number too long"))
    }
    fn i64(&mut self) -> Result<i64, DecodeError> {
        self.u64().map(|raw| (raw >> 1) as i64 ^ -((raw & 1) as i64))
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
