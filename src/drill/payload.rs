//! Self-describing records: every record of a drill says who wrote it, where, when and in which order, and carries
//! checksums over all of itself, so that a full read of a log is enough to judge it.
//!
//! The identity stands twice: in the header [`ID_HEADER`] (so that null and empty values are known too) and, when the
//! value has room for it, at the start of the value. The header also holds a CRC32C of the key, the value and all other
//! headers of the application; `causeway-*` headers are left out, since the mirror may add those.

use std::sync::OnceLock;

/// The header that holds the identity and the checksums.
pub const ID_HEADER: &str = "drill-id";
/// Headers with this prefix belong to the mirror and are no part of what the application wrote.
pub const OWNED_HEADER_PREFIX: &[u8] = b"causeway-";
/// Greatest filler that one record may carry, in bytes: above the default `message.max.bytes` nothing would arrive.
pub const VALUE_BYTES_MAX: usize = 960 << 10;

const HEADER_MAGIC: &[u8; 4] = b"CWDH";
const VALUE_MAGIC: &[u8; 4] = b"CWDV";
const MAGIC_AND_CRC: usize = 8;

/// Name of one write: unique in the world, since `seq` counts per (producer, partition).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(from = "(u64, u32, i32, u64)", into = "(u64, u32, i32, u64)")]
pub struct Uid {
    /// Run of the drill: two drills on the same clusters do not mix.
    pub run: u64,
    /// Producer within the run; a producer writes one topic only.
    pub producer: u32,
    /// Partition the record was sent to.
    pub partition: i32,
    /// Count of this producer's records to this partition, from 0.
    pub seq: u64,
}

impl From<(u64, u32, i32, u64)> for Uid {
    fn from((run, producer, partition, seq): (u64, u32, i32, u64)) -> Self {
        Self { run, producer, partition, seq }
    }
}

impl From<Uid> for (u64, u32, i32, u64) {
    fn from(uid: Uid) -> Self {
        (uid.run, uid.producer, uid.partition, uid.seq)
    }
}

impl std::fmt::Display for Uid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.producer, self.partition, self.seq)
    }
}

/// Everything a record says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The write's name.
    pub uid: Uid,
    /// Alias of the cluster it was sent to by its producer.
    pub origin: String,
    /// Topic it was sent to (at most 249 bytes, as Kafka allows).
    pub topic: String,
    /// Wall time of the send, also the record's timestamp, in milliseconds.
    pub send_ms: i64,
}

/// What the key of a record looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyShape {
    /// No key.
    Null,
    /// A key of this record only.
    Unique,
    /// One of a few keys of this producer, for compacted topics.
    Pool(u32),
}

/// What the value of a record looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueShape {
    /// No value: a tombstone.
    Null,
    /// A value of zero bytes.
    Empty,
    /// A value of this many bytes; it holds the identity when that fits.
    Sized(usize),
}

/// What a record looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The key.
    pub key: KeyShape,
    /// The value.
    pub value: ValueShape,
    /// Also send the same header key twice and a header without value.
    pub odd_headers: bool,
}

/// A record ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Key bytes, or none.
    pub key: Option<Vec<u8>>,
    /// Value bytes, or none.
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    pub headers: Vec<(&'static str, Option<Vec<u8>>)>,
}

/// One header as read: its key and its value, if it has one.
pub type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

/// A record as read from a log or by a consumer.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Key bytes, or none.
    pub key: Option<&'a [u8]>,
    /// Value bytes, or none.
    pub value: Option<&'a [u8]>,
    /// Headers in order.
    pub headers: &'a [HeaderRef<'a>],
    /// Timestamp in milliseconds.
    pub timestamp_ms: i64,
}

/// Why a record is not what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Damage {
    /// What is wrong, in words.
    pub what: &'static str,
    /// Who it claims to be, if that much can be read.
    pub identity: Option<Identity>,
}

/// Builds the record for an identity; the filler is a function of the uid, so the same call gives the same bytes.
pub fn encode(identity: &Identity, shape: Shape) -> Outgoing {
    let uid = identity.uid;
    let key = match shape.key {
        KeyShape::Null => None,
        KeyShape::Unique => Some(format!("k-{}-{}-{}", uid.producer, uid.partition, uid.seq).into_bytes()),
        KeyShape::Pool(key) => Some(format!("p-{}-{}-{key}", uid.producer, uid.partition).into_bytes()),
    };
    let mut about = Vec::with_capacity(96);
    put_identity(&mut about, identity);
    let value = encode_value(&about, uid, shape.value);
    let mut headers = Vec::new();
    if shape.odd_headers {
        headers.push(("trace", Some(uid.seq.to_be_bytes().to_vec())));
        headers.push(("trace", Some(Vec::new())));
        headers.push(("nothing", None));
    }
    let refs: Vec<HeaderRef<'_>> = headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref())).collect();
    let mut id = HEADER_MAGIC.to_vec();
    id.extend_from_slice(&[0; 4]);
    id.extend_from_slice(&about);
    for sum in [part_crc(key.as_deref()), part_crc(value.as_deref()), headers_crc(&refs)] {
        id.extend_from_slice(&sum.to_be_bytes());
    }
    seal(&mut id);
    headers.push((ID_HEADER, Some(id)));
    Outgoing { key, value, headers }
}

/// Reads a record's identity and proves that all of it is as it was sent.
///
/// # Errors
/// [`Damage`] names the first part that differs, with the identity if it could be read from header or value.
pub fn verify(record: &Incoming<'_>) -> Result<Identity, Damage> {
    let in_value = record.value.and_then(value_identity);
    let damage = |what, identity: Option<Identity>| Err(Damage { what, identity });
    let mut ids = record.headers.iter().filter(|(key, _)| *key == ID_HEADER.as_bytes());
    let Some((_, Some(id))) = ids.next() else { return damage("identity header missing", in_value) };
    if ids.next().is_some() {
        return damage("identity header twice", in_value);
    }
    let Some(body) = unseal(id, HEADER_MAGIC) else { return damage("identity header damaged", in_value) };
    let Some((identity, sums)) = take_identity(body) else { return damage("identity header damaged", in_value) };
    let Some(sums) = sums.as_chunks::<4>().0.first_chunk::<3>() else {
        return damage("identity header damaged", in_value);
    };
    let found = [part_crc(record.key), part_crc(record.value), headers_crc(record.headers)];
    for ((found, said), what) in found.iter().zip(sums).zip(["key differs", "value differs", "headers differ"]) {
        if *found != u32::from_be_bytes(*said) {
            return damage(what, Some(identity));
        }
    }
    if in_value.is_some_and(|other| other != identity) {
        return damage("header and value disagree", Some(identity));
    }
    if record.timestamp_ms != identity.send_ms {
        return damage("timestamp differs", Some(identity));
    }
    Ok(identity)
}

/// CRC32C over everything the application sent, for comparing two copies of one record.
pub fn digest(record: &Incoming<'_>) -> u32 {
    let mut sum = crc32c::crc32c(&record.timestamp_ms.to_be_bytes());
    sum = crc32c::crc32c_append(sum, &part_crc(record.key).to_be_bytes());
    sum = crc32c::crc32c_append(sum, &part_crc(record.value).to_be_bytes());
    for (key, value) in record.headers.iter().filter(|(key, _)| !key.starts_with(OWNED_HEADER_PREFIX)) {
        sum = crc32c::crc32c_append(sum, key);
        sum = crc32c::crc32c_append(sum, &part_crc(*value).to_be_bytes());
    }
    sum
}

fn encode_value(about: &[u8], uid: Uid, shape: ValueShape) -> Option<Vec<u8>> {
    let size = match shape {
        ValueShape::Null => return None,
        ValueShape::Empty => 0,
        ValueShape::Sized(size) => size.min(VALUE_BYTES_MAX),
    };
    let mut value = Vec::with_capacity(size);
    if size >= MAGIC_AND_CRC + about.len() {
        value.extend_from_slice(VALUE_MAGIC);
        value.extend_from_slice(&[0; 4]);
        value.extend_from_slice(about);
        fill(&mut value, size, uid);
        seal(&mut value);
    } else {
        fill(&mut value, size, uid);
    }
    Some(value)
}

/// Half text, half noise, so that codecs have something to do and something they cannot do.
fn filler() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut random = fastrand::Rng::with_seed(0x000C_A05E);
        let mut table = Vec::with_capacity(1 << 16);
        while table.len() < 1 << 16 {
            table.extend_from_slice(b"{\"order\":\"confirmed\",\"items\":");
            let noise: [u8; 24] = std::array::from_fn(|_| random.u8(..));
            table.extend_from_slice(&noise);
        }
        table
    })
}

fn fill(value: &mut Vec<u8>, size: usize, uid: Uid) {
    let table = filler();
    let mut from = (uid.seq.wrapping_mul(977).wrapping_add(u64::from(uid.producer) * 31) % 60_000) as usize;
    while value.len() < size {
        let take = (size - value.len()).min(table.len() - from);
        value.extend_from_slice(&table[from..from + take]);
        from = 0;
    }
}

fn seal(bytes: &mut [u8]) {
    let sum = crc32c::crc32c(&bytes[MAGIC_AND_CRC..]);
    bytes[4..MAGIC_AND_CRC].copy_from_slice(&sum.to_be_bytes());
}

fn unseal<'a>(bytes: &'a [u8], magic: &[u8; 4]) -> Option<&'a [u8]> {
    let (head, body) = bytes.split_at_checked(MAGIC_AND_CRC)?;
    (head[..4] == magic[..] && head[4..] == crc32c::crc32c(body).to_be_bytes()).then_some(body)
}

fn value_identity(value: &[u8]) -> Option<Identity> {
    Some(take_identity(unseal(value, VALUE_MAGIC)?)?.0)
}

/// CRC32C of a nullable part; null and empty differ.
fn part_crc(part: Option<&[u8]>) -> u32 {
    part.map_or(u32::MAX, |bytes| crc32c::crc32c_append(1, bytes))
}

fn headers_crc(headers: &[HeaderRef<'_>]) -> u32 {
    let ours = |key: &[u8]| key != ID_HEADER.as_bytes() && !key.starts_with(OWNED_HEADER_PREFIX);
    headers.iter().filter(|(key, _)| ours(key)).fold(0, |sum, (key, value)| {
        let sum = crc32c::crc32c_append(sum, key);
        crc32c::crc32c_append(sum, &part_crc(*value).to_be_bytes())
    })
}

fn put_identity(buf: &mut Vec<u8>, identity: &Identity) {
    let Uid { run, producer, partition, seq } = identity.uid;
    buf.extend_from_slice(&run.to_be_bytes());
    buf.extend_from_slice(&producer.to_be_bytes());
    buf.extend_from_slice(&partition.to_be_bytes());
    buf.extend_from_slice(&seq.to_be_bytes());
    buf.extend_from_slice(&identity.send_ms.to_be_bytes());
    for name in [&identity.origin, &identity.topic] {
        let length = u8::try_from(name.len()).expect("Kafka names have at most 249 bytes");
        buf.push(length);
        buf.extend_from_slice(name.as_bytes());
    }
}

fn take_identity(bytes: &[u8]) -> Option<(Identity, &[u8])> {
    let (run, rest) = bytes.split_first_chunk::<8>()?;
    let (producer, rest) = rest.split_first_chunk::<4>()?;
    let (partition, rest) = rest.split_first_chunk::<4>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (send_ms, rest) = rest.split_first_chunk::<8>()?;
    let (origin, rest) = take_name(rest)?;
    let (topic, rest) = take_name(rest)?;
    let uid = Uid {
        run: u64::from_be_bytes(*run),
        producer: u32::from_be_bytes(*producer),
        partition: i32::from_be_bytes(*partition),
        seq: u64::from_be_bytes(*seq),
    };
    Some((Identity { uid, origin, topic, send_ms: i64::from_be_bytes(*send_ms) }, rest))
}

fn take_name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?.to_owned(), rest))
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
