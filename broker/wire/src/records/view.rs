//! Whole batches in a run of bytes, and their records.

use bytes::Bytes;

use super::record::RECORD_BYTES_MIN;
use super::{BatchHeader, HEADER_BYTES, Record, RecordError, RecordHeader, RecordIter, compress, verify_crc};

/// One whole batch: its parsed header and all its bytes (shared, not copied).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchView {
    /// The header's fields.
    pub header: BatchHeader,
    /// The whole batch, header included.
    pub bytes: Bytes,
}

impl BatchView {
    /// The batch at the start of `bytes`; what follows it is left out. The CRC is not checked.
    pub fn parse(bytes: &Bytes) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(bytes)?;
        let size = header.size();
        if bytes.len() < size {
            return Err(RecordError::Truncated { needed: size, available: bytes.len() });
        }
        Ok(Self { header, bytes: bytes.slice(..size) })
    }

    /// The record block as stored, compressed or not.
    pub fn block(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Checks the CRC over the batch's bytes.
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        verify_crc(&self.bytes)
    }

    /// The record block, decompressed to at most `cap` bytes; shared memory if there is no codec.
    pub fn decompress(&self, cap: usize) -> Result<Bytes, RecordError> {
        let block = self.block();
        if block.is_empty() {
            // batches that the cleaner emptied keep their codec bits but have no block
            return Ok(block);
        }
        compress::decompress(self.header.attributes.codec()?, &block, cap)
    }

    /// Walks the records of `block`, which is what [`decompress`](Self::decompress) gave.
    pub fn walk<'a>(&self, block: &'a [u8]) -> RecordIter<'a> {
        RecordIter::new(block, self.header.records_count)
    }

    /// All records, owned: see [`decode_records`].
    pub fn records(&self, cap: usize) -> Result<Vec<Record>, RecordError> {
        decode_records(self, cap)
    }
}

/// Decompresses and decodes all records of a batch. `cap` (bytes; see
/// [`DECOMPRESSED_BYTES_MAX`](super::DECOMPRESSED_BYTES_MAX)) bounds the block and the structs built from it together,
/// because a 7-byte record costs more as a struct than on the wire. The CRC is not checked.
pub fn decode_records(batch: &BatchView, cap: usize) -> Result<Vec<Record>, RecordError> {
    let block = batch.decompress(cap)?;
    let exceeded = RecordError::CapExceeded { cap };
    let mut budget = cap.checked_sub(block.len()).ok_or_else(|| exceeded.clone())?;
    let declared = usize::try_from(batch.header.records_count)
        .map_err(|_| RecordError::Count { declared: batch.header.records_count })?;
    let reserve = declared.min(block.len() / RECORD_BYTES_MIN).min(budget / size_of::<Record>());
    let mut records = Vec::with_capacity(reserve);
    for record in batch.walk(&block) {
        let record = record?;
        let cost = size_of::<Record>() + record.headers_count() * size_of::<RecordHeader>();
        budget = budget.checked_sub(cost).ok_or_else(|| exceeded.clone())?;
        records.push(record.to_record(&block));
    }
    Ok(records)
}

/// Cuts a run of concatenated batches, as in a Fetch response or a log segment, into [`BatchView`]s without copying.
///
/// A last batch that is not whole (a Fetch response may end with one) ends the iteration and is reported by
/// [`partial_bytes`](Self::partial_bytes). A header that cannot be read is yielded as an error, once.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
    failed: bool,
}

impl Batches {
    /// Iterates over the batches in `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, failed: false }
    }

    /// Bytes not yet yielded; after the end, those of the trailing partial batch (0 if there is none).
    pub fn partial_bytes(&self) -> usize {
        self.rest.len()
    }

    /// What is not yet yielded.
    pub fn rest(&self) -> &Bytes {
        &self.rest
    }
}

impl Iterator for Batches {
    type Item = Result<BatchView, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match BatchView::parse(&self.rest) {
            Ok(batch) => {
                self.rest = self.rest.slice(batch.bytes.len()..);
                Some(Ok(batch))
            }
            Err(RecordError::Truncated { .. }) => None,
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}
