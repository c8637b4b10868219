//! The protocol's primitive types. Every read checks what is left before it takes or reserves anything.
//!
//! What a decoded message can cost: an array element takes at most 32 bytes of memory per byte it had on the wire (a test computes it from
//! [`crate::messages::ELEMENT_SIZES`]), a growing array up to twice that; byte fields share the message's memory. Who takes messages from strangers
//! bounds frames accordingly.

use crate::{DecodeError, EncodeError, Message, Uuid};
use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most tagged fields unknown to us that one struct may carry: Kafka itself has never defined more than four in one struct.
pub const UNKNOWN_TAGS_MAX: usize = 64;
/// Longest string of the protocol, in bytes: its classic form counts in an i16.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

pub(crate) fn check_encode<M: Message>(version: i16) -> Result<(), EncodeError> {
    if M::VERSIONS.contains(&version) { Ok(()) } else { Err(EncodeError::Version { message: M::NAME, version }) }
}

pub(crate) fn check_decode<M: Message>(version: i16) -> Result<(), DecodeError> {
    if M::VERSIONS.contains(&version) { Ok(()) } else { Err(DecodeError::Version { message: M::NAME, version }) }
}

// ---- writing ----

/// Unsigned varint (KIP-482): seven bits a byte, low bits first.
pub fn put_uvarint(buf: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        buf.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buf.put_u8(value as u8);
}

/// Length of a value that is there; compact forms count from 1, 0 is null.
pub(crate) fn put_count(buf: &mut BytesMut, flex: bool, count: usize) -> Result<(), EncodeError> {
    let count = i32::try_from(count).ok().filter(|&c| c < i32::MAX).ok_or(EncodeError::TooLong { length: count })?;
    if flex {
        put_uvarint(buf, count as u32 + 1);
    } else {
        buf.put_i32(count);
    }
    Ok(())
}

pub(crate) fn put_null_length(buf: &mut BytesMut, flex: bool) {
    if flex { buf.put_u8(0) } else { buf.put_i32(-1) }
}

pub(crate) fn put_string(buf: &mut BytesMut, flex: bool, text: &str) -> Result<(), EncodeError> {
    if text.len() > STRING_BYTES_MAX {
        return Err(EncodeError::TooLong { length: text.len() });
    }
    if flex {
        put_uvarint(buf, text.len() as u32 + 1);
    } else {
        buf.put_u16(text.len() as u16);
    }
    buf.put_slice(text.as_bytes());
    Ok(())
}

pub(crate) fn put_null_string(buf: &mut BytesMut, flex: bool) {
    if flex { buf.put_u8(0) } else { buf.put_i16(-1) }
}

pub(crate) fn put_bytes(buf: &mut BytesMut, flex: bool, bytes: &Bytes) -> Result<(), EncodeError> {
    put_count(buf, flex, bytes.len())?;
    buf.put_slice(bytes);
    Ok(())
}

/// Records shorter than this are copied: a piece of its own costs as much.
const PIECE_BYTES_MIN: usize = 4 << 10;

/// Records that a message was written around: they stay where they are instead of being copied. By default none are.
#[derive(Debug, Default)]
pub struct Around {
    keeps: bool,
    /// Where each piece belongs among the bytes that were written, in order.
    pieces: Vec<(usize, Bytes)>,
}

impl Around {
    /// One that keeps records apart.
    pub fn keeping() -> Self {
        Self { keeps: true, pieces: Vec::new() }
    }

    /// Bytes kept apart.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }

    /// What was written, and the pieces, in the order in which they make the message.
    pub fn into_parts(self, written: &Bytes) -> Vec<Bytes> {
        let (mut parts, mut done) = (Vec::with_capacity(2 * self.pieces.len() + 1), 0);
        for (at, piece) in self.pieces {
            if at > done {
                parts.push(written.slice(done..at));
            }
            parts.push(piece);
            done = at;
        }
        if done < written.len() {
            parts.push(written.slice(done..));
        }
        parts
    }
}

pub(crate) fn put_records(
    buf: &mut BytesMut,
    flex: bool,
    records: &Bytes,
    around: &mut Around,
) -> Result<(), EncodeError> {
    if !around.keeps || records.len() < PIECE_BYTES_MIN {
        return put_bytes(buf, flex, records);
    }
    put_count(buf, flex, records.len())?;
    around.pieces.push((buf.len(), records.clone()));
    Ok(())
}

/// A tagged field: its tag, its size, its value.
pub(crate) fn put_tag(
    buf: &mut BytesMut,
    tag: u32,
    write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let mut value = BytesMut::new();
    write(&mut value)?;
    put_uvarint(buf, tag);
    put_uvarint(buf, u32::try_from(value.len()).map_err(|_| EncodeError::TooLong { length: value.len() })?);
    buf.put_slice(&value);
    Ok(())
}

// ---- reading ----

pub(crate) fn take(buf: &mut Bytes, wanted: usize) -> Result<Bytes, DecodeError> {
    if buf.len() < wanted {
        return Err(DecodeError::Truncated { wanted, left: buf.len() });
    }
    Ok(buf.split_to(wanted))
}

fn have(buf: &Bytes, wanted: usize) -> Result<(), DecodeError> {
    if buf.len() < wanted { Err(DecodeError::Truncated { wanted, left: buf.len() }) } else { Ok(()) }
}

macro_rules! fixed {
    ($($name:ident, $get:ident, $ty:ty;)*) => { $(
        pub(crate) fn $name(buf: &mut Bytes) -> Result<$ty, DecodeError> {
            have(buf, size_of::<$ty>())?;
            Ok(buf.$get())
        }
    )* };
}
fixed! {
    get_i8, get_i8, i8; get_i16, get_i16, i16; get_i32, get_i32, i32; get_i64, get_i64, i64;
    get_u16, get_u16, u16; get_u32, get_u32, u32; get_f64, get_f64, f64;
}

pub(crate) fn get_bool(buf: &mut Bytes) -> Result<bool, DecodeError> {
    Ok(get_i8(buf)? != 0)
}

pub(crate) fn get_uuid(buf: &mut Bytes) -> Result<Uuid, DecodeError> {
    have(buf, 16)?;
    let mut id = [0; 16];
    buf.copy_to_slice(&mut id);
    Ok(Uuid(id))
}

/// Unsigned varint of at most 32 bits.
///
/// # Errors
/// [`DecodeError::Truncated`] at the end of the buffer, [`DecodeError::Varint`] for more than 32 bits.
pub fn get_uvarint(buf: &mut Bytes) -> Result<u32, DecodeError> {
    let mut value = 0u32;
    for shift in [0u32, 7, 14, 21, 28] {
        have(buf, 1)?;
        let byte = buf.get_u8();
        if shift == 28 && byte > 0x0f {
            return Err(DecodeError::Varint);
        }
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::Varint)
}

/// Length in an i32 or a compact varint; none for null.
fn get_length(buf: &mut Bytes, flex: bool) -> Result<Option<usize>, DecodeError> {
    if flex {
        return Ok((get_uvarint(buf)? as usize).checked_sub(1));
    }
    match get_i32(buf)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| DecodeError::Length { length: i64::from(length) }),
    }
}

pub(crate) fn get_nullable_string(buf: &mut Bytes, flex: bool) -> Result<Option<String>, DecodeError> {
    let length = if flex {
        (get_uvarint(buf)? as usize).checked_sub(1)
    } else {
        match get_i16(buf)? {
            -1 => None,
            length => Some(usize::try_from(length).map_err(|_| DecodeError::Length { length: i64::from(length) })?),
        }
    };
    let Some(length) = length else { return Ok(None) };
    if length > STRING_BYTES_MAX {
        return Err(DecodeError::Length { length: length as i64 });
    }
    have(buf, length)?;
    let text = std::str::from_utf8(&buf[..length]).map_err(|_| DecodeError::Utf8)?.to_owned();
    buf.advance(length);
    Ok(Some(text))
}

pub(crate) fn get_string(buf: &mut Bytes, flex: bool, field: &'static str) -> Result<String, DecodeError> {
    not_null(get_nullable_string(buf, flex)?, field)
}

pub(crate) fn get_nullable_bytes(buf: &mut Bytes, flex: bool) -> Result<Option<Bytes>, DecodeError> {
    match get_length(buf, flex)? {
        None => Ok(None),
        Some(length) => take(buf, length).map(Some),
    }
}

pub(crate) fn get_bytes(buf: &mut Bytes, flex: bool, field: &'static str) -> Result<Bytes, DecodeError> {
    not_null(get_nullable_bytes(buf, flex)?, field)
}

/// Marker before a struct that may be null: negative for null.
pub(crate) fn get_present(buf: &mut Bytes) -> Result<bool, DecodeError> {
    Ok(get_i8(buf)? >= 0)
}

/// An array; `least` is the least size of an encoded element, so the count is known to fit before memory is reserved for it.
pub(crate) fn get_array<T>(
    buf: &mut Bytes,
    flex: bool,
    least: usize,
    mut read: impl FnMut(&mut Bytes) -> Result<T, DecodeError>,
) -> Result<Option<Vec<T>>, DecodeError> {
    let Some(count) = get_length(buf, flex)? else { return Ok(None) };
    if count.saturating_mul(least) > buf.len() {
        return Err(DecodeError::Count { count, left: buf.len() });
    }
    // Elements can be larger in memory than on the wire, and arrays nest: reserve no more bytes than are left, then grow with what really comes.
    let mut items = Vec::with_capacity(count.min(buf.len() / size_of::<T>().max(1)));
    for _ in 0..count {
        items.push(read(buf)?);
    }
    Ok(Some(items))
}

pub(crate) fn not_null<T>(value: Option<T>, field: &'static str) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Null { field })
}

pub(crate) fn null_ok<T>(value: Option<T>, legal: bool, field: &'static str) -> Result<Option<T>, DecodeError> {
    if value.is_none() && !legal { Err(DecodeError::Null { field }) } else { Ok(value) }
}

/// A tagged section; `read` answers whether it knew the tag. A known field must fill its declared size exactly.
pub(crate) fn get_tags(
    buf: &mut Bytes,
    mut read: impl FnMut(u32, &mut Bytes) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    let mut unknown = 0;
    for _ in 0..get_uvarint(buf)? {
        let tag = get_uvarint(buf)?;
        let size = get_uvarint(buf)? as usize;
        let mut value = take(buf, size)?;
        if read(tag, &mut value)? {
            if !value.is_empty() {
                return Err(DecodeError::TagSize { tag });
            }
        } else {
            unknown += 1;
            if unknown > UNKNOWN_TAGS_MAX {
                return Err(DecodeError::TooManyTags);
            }
        }
    }
    Ok(())
}

/// A tagged section in which we know no tag.
pub(crate) fn skip_tags(buf: &mut Bytes) -> Result<(), DecodeError> {
    get_tags(buf, |_, _| Ok(false))
}
