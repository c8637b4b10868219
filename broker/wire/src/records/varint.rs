//! Zigzag variable-length integers, as in Protocol Buffers.

use super::RecordError;

const VARINT_BYTES_MAX: u32 = 5; // 32 bits in groups of 7
const VARLONG_BYTES_MAX: u32 = 10; // 64 bits in groups of 7

/// Reads a 32-bit varint at `pos` and moves `pos` behind it. Bits beyond the 32nd are dropped, as Kafka does.
#[inline]
pub(crate) fn read_varint(buf: &[u8], pos: &mut usize) -> Result<i32, RecordError> {
    if let Some(&byte) = buf.get(*pos)
        && byte < 0x80
    {
        *pos += 1;
        return Ok(unzigzag32(u32::from(byte)));
    }
    Ok(unzigzag32(read_unsigned(buf, pos, VARINT_BYTES_MAX)? as u32))
}

/// Reads a 64-bit varint at `pos` and moves `pos` behind it.
#[inline]
pub(crate) fn read_varlong(buf: &[u8], pos: &mut usize) -> Result<i64, RecordError> {
    let raw = read_unsigned(buf, pos, VARLONG_BYTES_MAX)?;
    Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
}

#[inline]
fn read_unsigned(buf: &[u8], pos: &mut usize, bytes_max: u32) -> Result<u64, RecordError> {
    let mut value = 0u64;
    for group in 0..bytes_max {
        let Some(&byte) = buf.get(*pos) else {
            return Err(RecordError::Truncated { needed: *pos + 1, available: buf.len() });
        };
        *pos += 1;
        value |= u64::from(byte & 0x7f) << (7 * group);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(RecordError::Varint)
}

#[inline]
fn unzigzag32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

/// Appends a 32-bit varint.
#[inline]
pub(crate) fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_unsigned(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

/// Appends a 64-bit varint.
#[inline]
pub(crate) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

#[inline]
fn write_unsigned(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// Bytes that `write_varint` appends.
#[inline]
pub(crate) fn varint_len(value: i32) -> usize {
    unsigned_len(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

/// Bytes that `write_varlong` appends.
#[inline]
pub(crate) fn varlong_len(value: i64) -> usize {
    unsigned_len(((value << 1) ^ (value >> 63)) as u64)
}

#[inline]
fn unsigned_len(raw: u64) -> usize {
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_round_trip_with_their_stated_length(int in any::<i32>(), long in any::<i64>(), shift in 0u32..63) {
            let long = long >> shift;
            let mut out = Vec::new();
            write_varint(&mut out, int);
            prop_assert_eq!(out.len(), varint_len(int));
            write_varlong(&mut out, long);
            prop_assert_eq!(out.len(), varint_len(int) + varlong_len(long));
            let mut pos = 0;
            prop_assert_eq!(read_varint(&out, &mut pos), Ok(int));
            prop_assert_eq!(read_varlong(&out, &mut pos), Ok(long));
            prop_assert_eq!(pos, out.len());
        }
    }

    #[test]
    fn extremes_and_known_encodings() {
        for (value, bytes) in [
            (0, vec![0u8]),
            (-1, vec![1]),
            (1, vec![2]),
            (63, vec![0x7e]),
            (64, vec![0x80, 1]),
            (i32::MAX, vec![0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, vec![0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            write_varint(&mut out, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn endless_and_cut_varints_are_errors() {
        assert_eq!(read_varint(&[0x80; 6], &mut 0), Err(RecordError::Varint));
        assert_eq!(read_varlong(&[0xff; 11], &mut 0), Err(RecordError::Varint));
        assert_eq!(read_varint(&[0x80], &mut 0), Err(RecordError::Truncated { needed: 2, available: 1 }));
    }
}
