//! Why a produced batch is refused, and with which Kafka error code.

use std::fmt;

use super::super::RecordError;

/// Rejected records listed per batch: enough for a client to see what is wrong (KIP-467), far from answering a batch of a
/// million bad records with a million reasons.
pub const REJECTED_RECORDS_MAX: usize = 100;

/// One record that makes its batch unacceptable (KIP-467).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Index in the batch, from 0.
    pub index: i32,
    /// What is wrong with it.
    pub reason: RejectReason,
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// No key, on a compacted topic.
    NoKey,
    /// Its time (milliseconds) is outside of the topic's window.
    Timestamp(i64),
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("a compacted topic cannot accept a record without key"),
            Self::Timestamp(timestamp) => write!(f, "timestamp {timestamp} is outside of the topic's window"),
        }
    }
}

/// Why a produced batch is refused. [`code`](Self::code) is what the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ValidateError {
    /// The bytes are not one readable batch.
    #[error(transparent)]
    Batch(#[from] RecordError),
    /// More than one batch for a partition in a request.
    #[error("more than one record batch for the partition")]
    MoreThanOneBatch,
    /// Bytes behind the batch that are no batch.
    #[error("{0} bytes behind the record batch")]
    TrailingBytes(usize),
    /// A client's batch must start at offset 0.
    #[error("base offset is {0}, must be 0")]
    BaseOffset(i64),
    /// Larger than `max.message.bytes`.
    #[error("record batch of {size} bytes exceeds max.message.bytes = {max}")]
    TooLarge {
        /// Size of the batch, bytes.
        size: usize,
        /// The topic's limit, bytes.
        max: usize,
    },
    /// Zstd in a Produce version below 7 (KIP-110).
    #[error("zstd needs Produce version 7 or later")]
    ZstdBeforeV7,
    /// Count, offset range and records do not agree.
    #[error("offset range 0..={last_offset_delta} does not fit {count} records")]
    OffsetRange {
        /// Records declared.
        count: i32,
        /// Last offset delta declared.
        last_offset_delta: i32,
    },
    /// A record is not at the offset of its place.
    #[error("record {index} has offset delta {offset_delta}")]
    OffsetDelta {
        /// Place of the record, from 0.
        index: i32,
        /// Offset delta it carries.
        offset_delta: i32,
    },
    /// Clients write no control batches.
    #[error("clients are not allowed to write control records")]
    Control,
    /// A producer id without a sequence.
    #[error("invalid sequence number {0} in a record batch with producer id")]
    Sequence(i32),
    /// Only the broker may set LogAppendTime.
    #[error("a producer must not set timestamp type LogAppendTime")]
    LogAppendTime,
    /// The header's times (milliseconds) are outside of the topic's window.
    #[error("timestamp {timestamp} is outside of the topic's window")]
    Timestamp {
        /// The offending time.
        timestamp: i64,
    },
    /// Records that break the topic's rules: at most [`REJECTED_RECORDS_MAX`] of them, in order.
    #[error("{} records rejected, the first (index {}): {}", .0.len(), .0[0].index, .0[0].reason)]
    Records(Vec<RejectedRecord>),
}

impl ValidateError {
    /// Kafka's error code. Only damage in transit is CORRUPT_MESSAGE, which clients retry; a batch that is wrong by
    /// itself would be retried for ever. Too much after decompression is MESSAGE_TOO_LARGE: clients split such batches.
    pub fn code(&self) -> i16 {
        const CORRUPT_MESSAGE: i16 = 2;
        const MESSAGE_TOO_LARGE: i16 = 10;
        const INVALID_TIMESTAMP: i16 = 32;
        const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
        const INVALID_RECORD: i16 = 87;
        match self {
            Self::Batch(RecordError::UnknownCodec(_)) | Self::ZstdBeforeV7 => UNSUPPORTED_COMPRESSION_TYPE,
            Self::Batch(RecordError::CapExceeded { .. }) | Self::TooLarge { .. } => MESSAGE_TOO_LARGE,
            Self::Batch(RecordError::Crc { .. } | RecordError::Magic(3..) | RecordError::BatchLength(_)) => {
                CORRUPT_MESSAGE
            }
            Self::LogAppendTime | Self::Timestamp { .. } => INVALID_TIMESTAMP,
            Self::Records(records) if records.iter().any(|r| matches!(r.reason, RejectReason::Timestamp(_))) => {
                INVALID_TIMESTAMP
            }
            _ => INVALID_RECORD,
        }
    }

    /// The records to name in the response, if single records are at fault (KIP-467).
    pub fn rejected_records(&self) -> &[RejectedRecord] {
        match self {
            Self::Records(records) => records,
            _ => &[],
        }
    }
}
