//! The walk over a produced batch's records.

use std::cell::RefCell;

use super::super::{BatchHeader, Codec, HEADER_BYTES, NO_TIMESTAMP, RecordError, RecordIter, TimestampType, compress};
use super::{BatchInfo, REJECTED_RECORDS_MAX, RejectReason, RejectedRecord, ValidateError, ValidateOptions};

/// Buffer a thread keeps between batches, bytes: an ordinary batch decompressed. Larger ones are given back.
const SCRATCH_BYTES_KEPT: usize = 4 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn records(
    bytes: &[u8],
    header: BatchHeader,
    codec: Codec,
    options: &ValidateOptions,
) -> Result<BatchInfo, ValidateError> {
    let stored = &bytes[HEADER_BYTES..];
    if codec == Codec::None {
        return block(stored, header, codec, options);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let outcome = compress::decompress_into(codec, stored, options.decompressed_bytes_max, scratch)
            .map_err(ValidateError::from)
            .and_then(|()| block(scratch, header, codec, options));
        if scratch.capacity() > SCRATCH_BYTES_KEPT {
            *scratch = Vec::new();
        }
        outcome
    })
}

fn block(
    block: &[u8],
    header: BatchHeader,
    codec: Codec,
    options: &ValidateOptions,
) -> Result<BatchInfo, ValidateError> {
    let mut rejected = Vec::new();
    let mut max_timestamp = NO_TIMESTAMP;
    for (index, record) in (0..).zip(RecordIter::new(block, header.records_count)) {
        let record = record?;
        if record.offset_delta != index {
            return Err(ValidateError::OffsetDelta { index, offset_delta: record.offset_delta });
        }
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        if let Some(reason) = reject(record.key.is_some(), timestamp, options) {
            rejected.push(RejectedRecord { index, reason });
            if rejected.len() == REJECTED_RECORDS_MAX {
                break;
            }
        }
    }
    if !rejected.is_empty() {
        return Err(ValidateError::Records(rejected));
    }
    Ok(BatchInfo { header, codec, max_timestamp, uncompressed_bytes: block.len() })
}

fn reject(has_key: bool, timestamp: i64, options: &ValidateOptions) -> Option<RejectReason> {
    if options.compacted && !has_key {
        return Some(RejectReason::NoKey);
    }
    let judged = options.timestamp_type == TimestampType::CreateTime;
    (judged && !options.admits(timestamp)).then_some(RejectReason::Timestamp(timestamp))
}

impl ValidateError {
    /// Whether this is a contradiction between the header's count and the block.
    pub fn is_count_mismatch(&self) -> bool {
        matches!(self, Self::OffsetRange { .. } | Self::Batch(RecordError::Count { .. }))
    }
}
