//! The batch's attribute bits.

use super::{Codec, RecordError};

const CODEC_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

/// Who set the timestamps of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimestampType {
    /// The producer set one per record.
    #[default]
    CreateTime,
    /// The broker set one for the whole batch: its `max_timestamp`.
    LogAppendTime,
}

/// The 16 attribute bits of a batch; bits without a meaning are kept as they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Attributes(pub i16);

impl Attributes {
    /// Codec of the record block (bits 0-2). Error: the bits name none.
    pub fn codec(self) -> Result<Codec, RecordError> {
        Codec::try_from((self.0 & CODEC_MASK) as u8)
    }

    /// Times were set by the broker at append (bit 3).
    pub fn is_log_append_time(self) -> bool {
        self.0 & LOG_APPEND_TIME != 0
    }

    /// Bit 3 as a type.
    pub fn timestamp_type(self) -> TimestampType {
        if self.is_log_append_time() { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// Part of a transaction (bit 4, KIP-98).
    pub fn is_transactional(self) -> bool {
        self.0 & TRANSACTIONAL != 0
    }

    /// Holds transaction markers or quorum records, never a client's data (bit 5).
    pub fn is_control(self) -> bool {
        self.0 & CONTROL != 0
    }

    /// `base_timestamp` holds the time after which the cleaner may drop tombstones and markers (bit 6, KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & DELETE_HORIZON != 0
    }

    /// Bits 7-15, which have no meaning yet.
    pub fn unused_bits(self) -> i16 {
        self.0 & !(CODEC_MASK | LOG_APPEND_TIME | TRANSACTIONAL | CONTROL | DELETE_HORIZON)
    }

    /// Only the bits a producer may set: codec and transaction.
    #[must_use]
    pub fn only_from_producers(self) -> Self {
        Self(self.0 & (CODEC_MASK | TRANSACTIONAL))
    }

    /// The same bits with another codec.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        Self((self.0 & !CODEC_MASK) | i16::from(codec.id()))
    }

    /// The same bits with bit 3 set or cleared.
    #[must_use]
    pub fn with_log_append_time(self, on: bool) -> Self {
        self.with(LOG_APPEND_TIME, on)
    }

    /// The same bits with bit 4 set or cleared.
    #[must_use]
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(TRANSACTIONAL, on)
    }

    /// The same bits with bit 5 set or cleared.
    #[must_use]
    pub fn with_control(self, on: bool) -> Self {
        self.with(CONTROL, on)
    }

    /// The same bits with bit 6 set or cleared.
    #[must_use]
    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(DELETE_HORIZON, on)
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_read_and_written_alone() {
        let all = Attributes::default()
            .with_codec(Codec::Zstd)
            .with_log_append_time(true)
            .with_transactional(true)
            .with_control(true)
            .with_delete_horizon(true);
        assert_eq!(all.0, 0x7c);
        assert_eq!(all.with_codec(Codec::Lz4).codec(), Ok(Codec::Lz4));
        assert!(!all.with_control(false).is_control());
        assert!(all.with_control(false).is_transactional() && all.has_delete_horizon());
        assert_eq!(all.unused_bits(), 0);
    }

    #[test]
    fn bits_without_meaning_are_kept() {
        let odd = Attributes(0x4080).with_codec(Codec::Gzip).with_transactional(true);
        assert_eq!(odd.unused_bits(), 0x4080);
        assert_eq!(Attributes(5).codec(), Err(RecordError::UnknownCodec(5)));
    }
}
