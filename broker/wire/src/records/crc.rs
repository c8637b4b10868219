//! CRC-32C (Castagnoli) over bytes 21..end of a batch, and header fields outside of it.

use super::header::at;
use super::{BatchHeader, RecordError};

/// CRC of a whole batch given in `batch`.
pub(crate) fn compute(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[at::ATTRIBUTES..])
}

/// Checks that the batch at the start of `batch` has the bytes its writer summed. Bytes after it are not looked at.
pub fn verify_crc(batch: &[u8]) -> Result<(), RecordError> {
    let header = BatchHeader::parse(batch)?;
    let Some(whole) = batch.get(..header.size()) else {
        return Err(RecordError::Truncated { needed: header.size(), available: batch.len() });
    };
    let computed = compute(whole);
    if computed == header.crc { Ok(()) } else { Err(RecordError::Crc { stored: header.crc, computed }) }
}

/// Sets `baseOffset`, which no CRC covers. `batch` must hold at least a header (it was parsed).
pub fn patch_base_offset(batch: &mut [u8], base_offset: i64) {
    put(batch, at::BASE_OFFSET, base_offset.to_be_bytes());
}

/// Sets `partitionLeaderEpoch`, which no CRC covers. `batch` must hold at least a header (it was parsed).
pub fn patch_leader_epoch(batch: &mut [u8], leader_epoch: i32) {
    put(batch, at::LEADER_EPOCH, leader_epoch.to_be_bytes());
}

pub(crate) fn put<const N: usize>(batch: &mut [u8], offset: usize, field: [u8; N]) {
    batch[offset..offset + N].copy_from_slice(&field);
}
