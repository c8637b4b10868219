//! What can be wrong with a batch, apart from a broker's rules for it (those are in `validate`).

use super::Codec;

/// A record batch that cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes end before the batch or record does.
    #[error("record batch is cut off: {needed} bytes needed, {available} there")]
    Truncated {
        /// Bytes the structure needs.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// Not format v2; formats v0 and v1 left Kafka with 4.0 (KIP-724).
    #[error("record batch has magic {0}, only 2 is supported")]
    Magic(i8),
    /// `batchLength` is smaller than a header or does not fit the bytes given.
    #[error("record batch declares an impossible length of {0}")]
    BatchLength(i64),
    /// The bytes are not those the writer summed.
    #[error("record batch has CRC {stored:#010x} in its header, its bytes give {computed:#010x}")]
    Crc {
        /// CRC-32C in the header.
        stored: u32,
        /// CRC-32C of bytes 21..end.
        computed: u32,
    },
    /// Codec bits that name no codec.
    #[error("record batch has unknown compression codec {0}")]
    UnknownCodec(u8),
    /// The compressed block is not what its codec says.
    #[error("cannot decompress {codec} block: {reason}")]
    Decompress {
        /// Codec of the block.
        codec: Codec,
        /// What the codec found.
        reason: String,
    },
    /// The codec refused to compress.
    #[error("cannot compress with {codec}: {reason}")]
    Compress {
        /// Codec that was asked.
        codec: Codec,
        /// What the codec said.
        reason: String,
    },
    /// More output than the caller allows; raised before that much memory is held.
    #[error("records take more than the allowed {cap} bytes")]
    CapExceeded {
        /// The cap given by the caller, bytes.
        cap: usize,
    },
    /// A variable-length integer that does not end.
    #[error("variable-length integer is longer than its type")]
    Varint,
    /// A record that contradicts itself.
    #[error("malformed record: {0}")]
    Malformed(&'static str),
    /// The header's count and the block disagree.
    #[error("record batch declares {declared} records, its block does not hold exactly that many")]
    Count {
        /// `recordsCount` of the header.
        declared: i32,
    },
    /// A value that the format cannot carry.
    #[error("cannot encode record batch: {0}")]
    Unencodable(&'static str),
}
