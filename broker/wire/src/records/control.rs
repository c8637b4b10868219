//! Transaction markers (KIP-98): control batches of one record that end a transaction.

use bytes::Bytes;

use super::{BatchBuilder, Codec, NO_SEQUENCE, RecordError, RecordRef};

/// Version of marker keys and values that brokers write.
const MARKER_VERSION: i16 = 0;
/// Key: version i16, type i16.
const KEY_BYTES: usize = 4;
/// Value: version i16, coordinator epoch i32.
const VALUE_BYTES: usize = 6;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlMarker {
    /// Its records never happened.
    Abort,
    /// Its records count.
    Commit,
}

impl ControlMarker {
    /// The key of the marker's record.
    pub fn key(self) -> [u8; KEY_BYTES] {
        let kind: i16 = match self {
            Self::Abort => 0,
            Self::Commit => 1,
        };
        let mut key = [0; KEY_BYTES];
        key[..2].copy_from_slice(&MARKER_VERSION.to_be_bytes());
        key[2..].copy_from_slice(&kind.to_be_bytes());
        key
    }

    /// Reads a control record's key. `None`: not an end marker (other control types exist and are skipped by readers).
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let version = i16::from_be_bytes(*key.first_chunk()?);
        let kind = i16::from_be_bytes(*key.get(2..)?.first_chunk()?);
        match (version, kind) {
            (0.., 0) => Some(Self::Abort),
            (0.., 1) => Some(Self::Commit),
            _ => None,
        }
    }

    /// Reads the marker and the transaction coordinator's epoch from a control record. `None`: not an end marker.
    pub fn from_record(record: &RecordRef<'_>) -> Option<(Self, i32)> {
        let marker = Self::from_key(record.key?)?;
        let epoch = i32::from_be_bytes(*record.value?.get(2..)?.first_chunk()?);
        Some((marker, epoch))
    }
}

/// Builds the batch that ends a producer's transaction on one partition. Control batches carry no sequence.
pub fn control_batch(
    marker: ControlMarker,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
    timestamp: i64,
) -> Result<Bytes, RecordError> {
    let mut value = [0; VALUE_BYTES];
    value[..2].copy_from_slice(&MARKER_VERSION.to_be_bytes());
    value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
    let mut batch = BatchBuilder::new(Codec::None)
        .producer(producer_id, producer_epoch, NO_SEQUENCE)
        .transactional(true)
        .control(true);
    batch.push(timestamp, Some(&marker.key()), Some(&value), &[])?;
    batch.build()
}
