//! The 61-byte header of a v2 batch.

use bytes::BufMut;

use super::{Attributes, RecordError};

/// Bytes of a batch header; records follow.
pub const HEADER_BYTES: usize = 61;
/// Bytes before and including `batchLength`, which that length does not count.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// Smallest batch: a header without records. Kafka's name for [`HEADER_BYTES`] as a size.
pub const BATCH_OVERHEAD: usize = HEADER_BYTES;
/// `batchLength` of a batch without records.
const BATCH_LENGTH_MIN: i32 = (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32;
/// The only format in use since Kafka 4.0.
pub(crate) const MAGIC_V2: i8 = 2;

/// `producer_id` of a batch without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
/// `producer_epoch` of a batch without idempotence.
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// `base_sequence` of a batch without idempotence, and of control batches.
pub const NO_SEQUENCE: i32 = -1;
/// Timestamp of a record that has none.
pub const NO_TIMESTAMP: i64 = -1;

pub(crate) mod at {
    //! Byte offsets of fields that are patched in place.
    pub(crate) const BASE_OFFSET: usize = 0;
    pub(crate) const LEADER_EPOCH: usize = 12;
    pub(crate) const MAGIC: usize = 16;
    pub(crate) const CRC: usize = 17;
    pub(crate) const ATTRIBUTES: usize = 21;
}

/// Every field of a v2 batch header, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; 0 from a producer, set by the leader at append.
    pub base_offset: i64,
    /// Bytes after this field: batch size less 12.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; -1 from a producer.
    pub partition_leader_epoch: i32,
    /// Format version, always 2 after a parse.
    pub magic: i8,
    /// CRC-32C of bytes 21..end.
    pub crc: u32,
    /// Codec, timestamp type, transaction, control and delete-horizon bits.
    pub attributes: Attributes,
    /// Offset of the last record less `base_offset`; compaction keeps it, so it may exceed the records left.
    pub last_offset_delta: i32,
    /// Milliseconds that record deltas count from, or the delete horizon (both, if the bit is set: KIP-534).
    pub base_timestamp: i64,
    /// Largest record timestamp, or the append time of the whole batch; milliseconds, -1 for none.
    pub max_timestamp: i64,
    /// Producer id, -1 for none (KIP-98).
    pub producer_id: i64,
    /// Producer epoch, -1 for none.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: i32,
    /// Records in the block; 0 in a batch that the cleaner keeps only for its producer state.
    pub records_count: i32,
}

impl Default for BatchHeader {
    fn default() -> Self {
        Self {
            base_offset: 0,
            batch_length: BATCH_LENGTH_MIN,
            partition_leader_epoch: -1,
            magic: MAGIC_V2,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: 0,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            records_count: 0,
        }
    }
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the records need not be there. Checks magic and that the length is
    /// possible, nothing else. The magic is judged before the rest, so that old formats are named as such.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if let Some(&magic) = bytes.get(at::MAGIC)
            && magic as i8 != MAGIC_V2
        {
            return Err(RecordError::Magic(magic as i8));
        }
        let Some(raw) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(RecordError::Truncated { needed: HEADER_BYTES, available: bytes.len() });
        };
        let mut fields = Fields { raw, pos: 0 };
        let header = Self {
            base_offset: i64::from_be_bytes(fields.take()),
            batch_length: i32::from_be_bytes(fields.take()),
            partition_leader_epoch: i32::from_be_bytes(fields.take()),
            magic: i8::from_be_bytes(fields.take()),
            crc: u32::from_be_bytes(fields.take()),
            attributes: Attributes(i16::from_be_bytes(fields.take())),
            last_offset_delta: i32::from_be_bytes(fields.take()),
            base_timestamp: i64::from_be_bytes(fields.take()),
            max_timestamp: i64::from_be_bytes(fields.take()),
            producer_id: i64::from_be_bytes(fields.take()),
            producer_epoch: i16::from_be_bytes(fields.take()),
            base_sequence: i32::from_be_bytes(fields.take()),
            records_count: i32::from_be_bytes(fields.take()),
        };
        if header.batch_length < BATCH_LENGTH_MIN {
            return Err(RecordError::BatchLength(i64::from(header.batch_length)));
        }
        Ok(header)
    }

    /// Appends the 61 bytes as they are; length and CRC are the caller's.
    pub fn write(&self, out: &mut impl BufMut) {
        out.put_i64(self.base_offset);
        out.put_i32(self.batch_length);
        out.put_i32(self.partition_leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_i16(self.attributes.0);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.records_count);
    }

    /// Bytes of the whole batch, header included.
    pub fn size(&self) -> usize {
        LENGTH_PREFIX_BYTES + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// Offset of the last record the batch was written with, also when compaction removed that record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record, -1 without one. Sequences wrap from `i32::MAX` to 0.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            return NO_SEQUENCE;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (last.rem_euclid(1 << 31)) as i32
    }

    /// Absolute offset of a record.
    pub fn offset_at(&self, offset_delta: i32) -> i64 {
        self.base_offset.saturating_add(i64::from(offset_delta))
    }

    /// A record's time in milliseconds: the batch's append time, or its own.
    pub fn timestamp_at(&self, timestamp_delta: i64) -> i64 {
        if self.attributes.is_log_append_time() {
            self.max_timestamp
        } else {
            self.base_timestamp.wrapping_add(timestamp_delta)
        }
    }

    /// Written by an idempotent or transactional producer.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Time after which tombstones and markers of this batch may go, if the cleaner set one (KIP-534).
    pub fn delete_horizon(&self) -> Option<i64> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

struct Fields<'a> {
    raw: &'a [u8; HEADER_BYTES],
    pos: usize,
}

impl Fields<'_> {
    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.raw[self.pos..self.pos + N]);
        self.pos += N;
        field
    }
}
