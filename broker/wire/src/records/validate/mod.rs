//! What a broker demands of a batch that a client produces, before it is appended.
//!
//! The rules are those of Kafka's `UnifiedLog.analyzeAndValidateRecords` and `LogValidator`, with three differences, all
//! towards refusing what Kafka stores or answers with an unknown error: records must lie densely at their offsets in
//! uncompressed batches too, bytes behind the batch are an error, and an unknown codec has its own error.

use super::{BatchHeader, BatchView, Codec, RecordError, TimestampType};

mod error;
#[cfg(test)]
mod tests;
mod walk;

pub use error::{REJECTED_RECORDS_MAX, RejectReason, RejectedRecord, ValidateError};

use super::crc::compute as compute_crc;
use super::{DECOMPRESSED_BYTES_MAX, HeaderPatch, NO_SEQUENCE};

/// How far to look (`causeway.validation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Decompress and walk every record.
    #[default]
    Records,
    /// Header and CRC only: counts, offsets and times are what the header says. Keys are not looked at, and only the
    /// header's times are held against the window.
    Header,
}

/// A topic's rules for what is produced to it.
#[derive(Debug, Clone)]
pub struct ValidateOptions {
    /// `max.message.bytes`: largest batch as sent, bytes.
    pub batch_bytes_max: usize,
    /// Largest decompressed block, bytes.
    pub decompressed_bytes_max: usize,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// The broker's clock, milliseconds since the epoch.
    pub now: i64,
    /// `message.timestamp.before.max.ms`: how far a record may lie in the past.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a record may lie in the future.
    pub timestamp_after_max_ms: i64,
    /// Zstd may be used; false for Produce versions below 7 (KIP-110).
    pub zstd_allowed: bool,
    /// How far to look.
    pub depth: Depth,
}

/// Kafka's default `max.message.bytes`: 1 MiB and the overhead of a batch.
const BATCH_BYTES_MAX_DEFAULT: usize = 1_048_588;
/// Kafka's default `message.timestamp.after.max.ms` since 4.0 (KIP-1030): one hour.
const AFTER_MAX_MS_DEFAULT: i64 = 3_600_000;

impl ValidateOptions {
    /// Kafka's defaults at the given time (milliseconds).
    pub fn at(now: i64) -> Self {
        Self {
            batch_bytes_max: BATCH_BYTES_MAX_DEFAULT,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            now,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: AFTER_MAX_MS_DEFAULT,
            zstd_allowed: true,
            depth: Depth::Records,
        }
    }

    /// Whether a create time (milliseconds) lies in the topic's window; a record without a time always does.
    fn admits(&self, timestamp: i64) -> bool {
        let age = self.now.saturating_sub(timestamp);
        timestamp == super::NO_TIMESTAMP
            || (age <= self.timestamp_before_max_ms && age.saturating_neg() <= self.timestamp_after_max_ms)
    }
}

/// What is known about a batch that may be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchInfo {
    /// The header as sent.
    pub header: BatchHeader,
    /// Codec of the block.
    pub codec: Codec,
    /// Largest record time as found (or, at depth `Header`, as the header says), milliseconds; -1 for none.
    pub max_timestamp: i64,
    /// Bytes of the block, decompressed; 0 at depth `Header` if there is a codec.
    pub uncompressed_bytes: usize,
}

impl BatchInfo {
    /// The header change with which a leader appends this batch: offset, epoch, and times as the topic wants them. Only
    /// the cleaner sets a delete horizon: one from a client would let its tombstones go too early, so it is cleared, as
    /// are the bits without a meaning.
    pub fn append_patch(&self, base_offset: i64, leader_epoch: i32, topic: &ValidateOptions) -> HeaderPatch {
        let append_time = topic.timestamp_type == TimestampType::LogAppendTime;
        HeaderPatch {
            base_offset: Some(base_offset),
            partition_leader_epoch: Some(leader_epoch),
            attributes: Some(self.header.attributes.only_from_producers().with_log_append_time(append_time)),
            max_timestamp: Some(if append_time { topic.now } else { self.max_timestamp }),
            producer: None,
        }
    }
}

/// Checks the bytes a client produced for one partition: exactly one batch that may be appended under `options`.
pub fn produce_batch(bytes: &[u8], options: &ValidateOptions) -> Result<BatchInfo, ValidateError> {
    let header = BatchHeader::parse(bytes)?;
    one_whole_batch(bytes, &header)?;
    if header.base_offset != 0 {
        return Err(ValidateError::BaseOffset(header.base_offset));
    }
    if header.size() > options.batch_bytes_max {
        return Err(ValidateError::TooLarge { size: header.size(), max: options.batch_bytes_max });
    }
    let computed = compute_crc(bytes);
    if computed != header.crc {
        return Err(RecordError::Crc { stored: header.crc, computed }.into());
    }
    let codec = codec_allowed(&header, options)?;
    client_may_send(&header, options)?;
    match options.depth {
        Depth::Records => walk::records(bytes, header, codec, options),
        Depth::Header => times_in_header(header, codec, bytes.len(), options),
    }
}

/// As [`produce_batch`], for bytes that were already cut by [`BatchView::parse`].
pub fn produce_view(batch: &BatchView, options: &ValidateOptions) -> Result<BatchInfo, ValidateError> {
    produce_batch(&batch.bytes, options)
}

fn one_whole_batch(bytes: &[u8], header: &BatchHeader) -> Result<(), ValidateError> {
    let size = header.size();
    match bytes.len() {
        len if len < size => Err(RecordError::Truncated { needed: size, available: len }.into()),
        len if len == size => Ok(()),
        _ if BatchHeader::parse(&bytes[size..]).is_ok() => Err(ValidateError::MoreThanOneBatch),
        len => Err(ValidateError::TrailingBytes(len - size)),
    }
}

fn codec_allowed(header: &BatchHeader, options: &ValidateOptions) -> Result<Codec, ValidateError> {
    let codec = header.attributes.codec()?;
    if codec == Codec::Zstd && !options.zstd_allowed {
        return Err(ValidateError::ZstdBeforeV7);
    }
    Ok(codec)
}

fn client_may_send(header: &BatchHeader, options: &ValidateOptions) -> Result<(), ValidateError> {
    let (count, last_offset_delta) = (header.records_count, header.last_offset_delta);
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(ValidateError::OffsetRange { count, last_offset_delta });
    }
    if header.attributes.is_control() {
        return Err(ValidateError::Control);
    }
    if header.has_producer_id() && header.base_sequence <= NO_SEQUENCE {
        return Err(ValidateError::Sequence(header.base_sequence));
    }
    if header.attributes.is_log_append_time() && options.timestamp_type == TimestampType::LogAppendTime {
        return Err(ValidateError::LogAppendTime);
    }
    Ok(())
}

fn times_in_header(
    header: BatchHeader,
    codec: Codec,
    size: usize,
    options: &ValidateOptions,
) -> Result<BatchInfo, ValidateError> {
    if options.timestamp_type == TimestampType::CreateTime {
        for timestamp in [header.base_timestamp, header.max_timestamp] {
            if !options.admits(timestamp) {
                return Err(ValidateError::Timestamp { timestamp });
            }
        }
    }
    let block_bytes = size - super::HEADER_BYTES;
    let uncompressed_bytes = if codec == Codec::None { block_bytes } else { 0 };
    Ok(BatchInfo { header, codec, max_timestamp: header.max_timestamp, uncompressed_bytes })
}
