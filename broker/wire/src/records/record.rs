//! Records inside a (decompressed) block.

use bytes::Bytes;

use super::RecordError;
use super::varint::{read_varint, read_varlong, varint_len, varlong_len, write_varint, write_varlong};

/// Smallest record: seven one-byte fields. Bounds what a declared count can make us reserve.
pub(crate) const RECORD_BYTES_MIN: usize = 7;

/// A record header: any bytes as key, duplicates allowed, order kept, null distinct from empty (KIP-82).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordHeader {
    /// Key; UTF-8 by convention, not by the format.
    pub key: Bytes,
    /// Value, `None` for null.
    pub value: Option<Bytes>,
}

/// An owned record; its bytes share the memory of the block it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Reserved bits, kept as they came.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset less the batch's base offset.
    pub offset_delta: i32,
    /// Key, `None` for null.
    pub key: Option<Bytes>,
    /// Value, `None` for null (a tombstone).
    pub value: Option<Bytes>,
    /// Headers in order.
    pub headers: Vec<RecordHeader>,
}

/// A record borrowed from its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Reserved bits.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset less the batch's base offset.
    pub offset_delta: i32,
    /// Key, `None` for null.
    pub key: Option<&'a [u8]>,
    /// Value, `None` for null.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    headers_count: usize,
}

impl<'a> RecordRef<'a> {
    /// Headers in order, read on demand.
    pub fn headers(&self) -> HeaderIter<'a> {
        HeaderIter { bytes: self.headers, pos: 0, left: self.headers_count }
    }

    /// Number of headers.
    pub fn headers_count(&self) -> usize {
        self.headers_count
    }

    /// The owned form. `block` must be the memory this record was read from.
    pub fn to_record(&self, block: &Bytes) -> Record {
        Record {
            attributes: self.attributes,
            timestamp_delta: self.timestamp_delta,
            offset_delta: self.offset_delta,
            key: self.key.map(|key| block.slice_ref(key)),
            value: self.value.map(|value| block.slice_ref(value)),
            headers: self
                .headers()
                .map(|(key, value)| RecordHeader {
                    key: block.slice_ref(key),
                    value: value.map(|value| block.slice_ref(value)),
                })
                .collect(),
        }
    }

    fn parse(body: &'a [u8]) -> Result<Self, RecordError> {
        let Some(&attributes) = body.first() else {
            return Err(RecordError::Malformed("no attributes"));
        };
        let mut pos = 1;
        let timestamp_delta = read_varlong(body, &mut pos)?;
        let offset_delta = read_varint(body, &mut pos)?;
        let key = read_nullable(body, &mut pos)?;
        let value = read_nullable(body, &mut pos)?;
        let headers_count = usize::try_from(read_varint(body, &mut pos)?)
            .map_err(|_| RecordError::Malformed("negative number of headers"))?;
        let headers = &body[pos..];
        for _ in 0..headers_count {
            read_header(body, &mut pos)?;
        }
        if pos != body.len() {
            return Err(RecordError::Malformed("length and content disagree"));
        }
        Ok(Self { attributes: attributes as i8, timestamp_delta, offset_delta, key, value, headers, headers_count })
    }
}

/// Headers of one record, as borrowed `(key, value)` pairs.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    bytes: &'a [u8],
    pos: usize,
    left: usize,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // the record was walked when it was parsed, so its headers are known to be whole
        read_header(self.bytes, &mut self.pos).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HeaderIter<'_> {}

/// Walks the records of a decompressed block without allocating. Yields an error once and then ends; a block that holds
/// more or fewer records than declared is an error too.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    block: &'a [u8],
    pos: usize,
    declared: i32,
    left: i32,
    done: bool,
}

impl<'a> RecordIter<'a> {
    /// Walks `count` records of `block`.
    pub fn new(block: &'a [u8], count: i32) -> Self {
        Self { block, pos: 0, declared: count, left: count, done: false }
    }

    fn step(&mut self) -> Result<Option<RecordRef<'a>>, RecordError> {
        if self.left <= 0 {
            let clean = self.left == 0 && self.pos == self.block.len();
            return if clean { Ok(None) } else { Err(RecordError::Count { declared: self.declared }) };
        }
        if self.pos == self.block.len() {
            return Err(RecordError::Count { declared: self.declared });
        }
        let length = read_varint(self.block, &mut self.pos)?;
        let length = usize::try_from(length).map_err(|_| RecordError::Malformed("negative length"))?;
        let body = take(self.block, &mut self.pos, length)?;
        self.left -= 1;
        RecordRef::parse(body).map(Some)
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordRef<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step().transpose();
        self.done = !matches!(step, Some(Ok(_)));
        step
    }
}

#[inline]
fn take<'a>(buf: &'a [u8], pos: &mut usize, len: usize) -> Result<&'a [u8], RecordError> {
    let rest = &buf[*pos..];
    let Some(taken) = rest.get(..len) else {
        return Err(RecordError::Truncated { needed: len, available: rest.len() });
    };
    *pos += len;
    Ok(taken)
}

#[inline]
fn read_nullable<'a>(buf: &'a [u8], pos: &mut usize) -> Result<Option<&'a [u8]>, RecordError> {
    // any negative length is null to Kafka's reader, so it is to ours
    match usize::try_from(read_varint(buf, pos)?) {
        Ok(len) => take(buf, pos, len).map(Some),
        Err(_) => Ok(None),
    }
}

type HeaderRef<'a> = (&'a [u8], Option<&'a [u8]>);

#[inline]
fn read_header<'a>(buf: &'a [u8], pos: &mut usize) -> Result<HeaderRef<'a>, RecordError> {
    let key = read_nullable(buf, pos)?.ok_or(RecordError::Malformed("null header key"))?;
    Ok((key, read_nullable(buf, pos)?))
}

/// The parts of a record that is about to be written.
pub(crate) struct Parts<'a, H> {
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: H,
}

impl<'a, H: Iterator<Item = HeaderRef<'a>> + ExactSizeIterator + Clone> Parts<'a, H> {
    /// Appends the record in wire form. Error: longer than 2 GiB.
    pub(crate) fn write(self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let headers_count = as_len(self.headers.len())?;
        let mut body = 1 + varlong_len(self.timestamp_delta) + varint_len(self.offset_delta);
        body += nullable_len(self.key)? + nullable_len(self.value)? + varint_len(headers_count);
        for (key, value) in self.headers.clone() {
            body += nullable_len(Some(key))? + nullable_len(value)?;
        }
        let length = as_len(body)?;
        out.reserve(body + varint_len(length));
        write_varint(out, length);
        let start = out.len();
        out.push(self.attributes as u8);
        write_varlong(out, self.timestamp_delta);
        write_varint(out, self.offset_delta);
        write_nullable(out, self.key)?;
        write_nullable(out, self.value)?;
        write_varint(out, headers_count);
        for (key, value) in self.headers {
            write_nullable(out, Some(key))?;
            write_nullable(out, value)?;
        }
        debug_assert_eq!(out.len() - start, body);
        Ok(())
    }
}

fn as_len(len: usize) -> Result<i32, RecordError> {
    i32::try_from(len).map_err(|_| RecordError::Unencodable("record larger than 2 GiB"))
}

fn nullable_len(bytes: Option<&[u8]>) -> Result<usize, RecordError> {
    bytes.map_or(Ok(1), |bytes| Ok(varint_len(as_len(bytes.len())?) + bytes.len()))
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), RecordError> {
    match bytes {
        None => write_varint(out, -1),
        Some(bytes) => {
            write_varint(out, as_len(bytes.len())?);
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}
