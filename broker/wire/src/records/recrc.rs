//! Changing header fields that the CRC covers, without reading the records.
//!
//! CRC-32C is linear: `new = old ^ (crc(old fields) ^ crc(new fields)) * x^(8 * bytes behind them) mod P`. Besides being
//! free of the payload's size, this keeps proof of the payload: damage that the old CRC would have shown still shows
//! under the new one, while a CRC computed afresh over damaged bytes would hide it.

use super::header::at;
use super::{Attributes, BatchHeader, HEADER_BYTES, RecordError};

/// CRC-32C polynomial, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x^0 in reflected form.
const ONE: u32 = 1 << 31;
/// x^8: one byte of zeros.
const BYTE: u32 = ONE >> 8;
/// Bytes of a length, each with a table of its own.
const LENGTH_BYTES: usize = 4;

/// `POWERS[i][n]` is x^(8 * n * 256^i) mod P: appending that many zero bytes is a multiplication by it.
static POWERS: [[u32; 256]; LENGTH_BYTES] = powers();

const fn powers() -> [[u32; 256]; LENGTH_BYTES] {
    let mut table = [[ONE; 256]; LENGTH_BYTES];
    let mut step = BYTE;
    let mut i = 0;
    while i < LENGTH_BYTES {
        let mut n = 1;
        while n < 256 {
            table[i][n] = multiply(table[i][n - 1], step);
            n += 1;
        }
        step = multiply(table[i][255], step);
        i += 1;
    }
    table
}

/// `a * b mod P` over GF(2), both reflected.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        // masks instead of branches: the bits of a CRC cannot be predicted
        product ^= b & 0u32.wrapping_sub((a >> (31 - bit)) & 1);
        b = (b >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(b & 1));
        bit += 1;
    }
    product
}

/// The CRC of data followed by `zeros` zero bytes, less the constant part: the linear shift used to combine CRCs.
fn shift(crc: u32, zeros: u32) -> u32 {
    let mut shifted = crc;
    for (table, &byte) in POWERS.iter().zip(&zeros.to_le_bytes()) {
        if byte != 0 {
            shifted = multiply(table[usize::from(byte)], shifted);
        }
    }
    shifted
}

/// Header fields to change; `None` keeps a field. `lastOffsetDelta` and the count are absent on purpose: a batch whose
/// range does not match its records makes consumers skip records of the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderPatch {
    /// Offset of the first record (outside the CRC).
    pub base_offset: Option<i64>,
    /// Leader epoch (outside the CRC).
    pub partition_leader_epoch: Option<i32>,
    /// All attribute bits. Changing the codec bits makes the block unreadable.
    pub attributes: Option<Attributes>,
    /// Largest record time, or the append time, milliseconds.
    pub max_timestamp: Option<i64>,
    /// Producer id, epoch, base sequence.
    pub producer: Option<(i64, i16, i32)>,
}

impl HeaderPatch {
    /// What a mirror sends on: base offset 0, no leader epoch, only the codec bits, its own producer fields.
    pub fn pass_through(source: &BatchHeader, producer: (i64, i16, i32)) -> Self {
        const CODEC_BITS: i16 = 0x07;
        Self {
            base_offset: Some(0),
            partition_leader_epoch: Some(-1),
            attributes: Some(Attributes(source.attributes.0 & CODEC_BITS)),
            max_timestamp: None,
            producer: Some(producer),
        }
    }
}

/// Applies `patch` to the header at the start of `batch` and brings its CRC along. Only the 61 header bytes are read and
/// written, so they may be a copy, apart from the records. Errors: those of [`BatchHeader::parse`].
pub fn recrc_header(batch: &mut [u8], patch: &HeaderPatch) -> Result<BatchHeader, RecordError> {
    let old = BatchHeader::parse(batch)?;
    let mut new = old;
    new.base_offset = patch.base_offset.unwrap_or(old.base_offset);
    new.partition_leader_epoch = patch.partition_leader_epoch.unwrap_or(old.partition_leader_epoch);
    new.attributes = patch.attributes.unwrap_or(old.attributes);
    new.max_timestamp = patch.max_timestamp.unwrap_or(old.max_timestamp);
    if let Some((id, epoch, sequence)) = patch.producer {
        (new.producer_id, new.producer_epoch, new.base_sequence) = (id, epoch, sequence);
    }
    let before = crc32c::crc32c(&batch[at::ATTRIBUTES..HEADER_BYTES]);
    new.write(&mut &mut batch[..HEADER_BYTES]);
    let after = crc32c::crc32c(&batch[at::ATTRIBUTES..HEADER_BYTES]);
    if before != after {
        let records_bytes = (old.size() - HEADER_BYTES) as u32; // a batch length is an i32: fits
        new.crc = old.crc ^ shift(before ^ after, records_bytes);
        super::crc::put(batch, at::CRC, new.crc.to_be_bytes());
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{BatchBuilder, Codec, verify_crc};
    use super::*;

    prop_compose! {
        fn any_patch()(
            base_offset in any::<Option<i64>>(),
            partition_leader_epoch in any::<Option<i32>>(),
            attributes in any::<Option<i16>>(),
            max_timestamp in any::<Option<i64>>(),
            producer in any::<Option<(i64, i16, i32)>>(),
        ) -> HeaderPatch {
            let attributes = attributes.map(Attributes);
            HeaderPatch { base_offset, partition_leader_epoch, attributes, max_timestamp, producer }
        }
    }

    fn batch(len: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None).producer(4, 2, 9);
        builder.push(1, None, Some(&vec![0xa5; len]), &[]).unwrap();
        builder.build().unwrap().to_vec()
    }

    proptest! {
        #[test]
        fn a_header_update_equals_a_full_recompute(len in 0usize..70_000, patch in any_patch()) {
            let mut batch = batch(len);
            let returned = recrc_header(&mut batch, &patch).unwrap();
            prop_assert_eq!(verify_crc(&batch), Ok(()));
            prop_assert_eq!(BatchHeader::parse(&batch), Ok(returned));
            prop_assert_eq!(returned.producer_id, patch.producer.map_or(4, |p| p.0));
            prop_assert_eq!(returned.max_timestamp, patch.max_timestamp.unwrap_or(1));
            prop_assert_eq!(returned.base_offset, patch.base_offset.unwrap_or(0));
        }

        #[test]
        fn a_damaged_payload_stays_damaged(len in 1usize..5000, at in any::<prop::sample::Index>(), patch in any_patch()) {
            let mut batch = batch(len);
            let at = HEADER_BYTES + at.index(batch.len() - HEADER_BYTES);
            batch[at] ^= 0x10;
            recrc_header(&mut batch, &patch).unwrap();
            let is_crc_error = matches!(verify_crc(&batch), Err(RecordError::Crc { .. }));
            prop_assert!(is_crc_error);
        }

        #[test]
        fn shifting_equals_the_reference_combine(a in any::<u32>(), b in any::<u32>(), len in 0u32..(1 << 31)) {
            prop_assert_eq!(shift(a, len) ^ b, crc32c::crc32c_combine(a, b, len as usize));
        }
    }

    #[test]
    fn pass_through_keeps_only_the_codec_bit_of_the_source() {
        let source = BatchHeader { attributes: Attributes(0x7ffc), base_offset: 99, ..BatchHeader::default() };
        let patch = HeaderPatch::pass_through(&source, (7, 1, 30));
        assert_eq!(patch.attributes, Some(Attributes(Codec::Zstd.id().into())));
        assert_eq!((patch.base_offset, patch.partition_leader_epoch), (Some(0), Some(-1)));
    }
}
