//! Building batches.

use bytes::Bytes;

use super::header::{LENGTH_PREFIX_BYTES, at};
use super::record::Parts;
use super::{
    BatchHeader, BatchView, Codec, HEADER_BYTES, NO_TIMESTAMP, Record, RecordError, RecordHeader, RecordRef, compress,
    crc,
};

/// Collects records and writes them as one batch.
///
/// ```
/// use causeway_wire::records::{BatchBuilder, Codec};
/// let mut batch = BatchBuilder::new(Codec::Lz4);
/// batch.push(1_700_000_000_000, Some(b"key"), Some(b"value"), &[]).unwrap();
/// let bytes = batch.build().unwrap();
/// assert_eq!(bytes.len(), causeway_wire::records::BatchHeader::parse(&bytes).unwrap().size());
/// ```
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    /// Room for the header, then the records.
    records: Vec<u8>,
    base_timestamp: Option<i64>,
    append_time: Option<i64>,
    last_offset_delta: Option<i32>,
    next_delta: i32,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch: base offset 0, no leader epoch, no producer, as a producer without idempotence sends it.
    pub fn new(codec: Codec) -> Self {
        Self {
            header: BatchHeader::default(),
            codec,
            records: vec![0; HEADER_BYTES],
            base_timestamp: None,
            append_time: None,
            last_offset_delta: None,
            next_delta: 0,
            max_timestamp: NO_TIMESTAMP,
        }
    }

    /// Reserves memory for records of that many bytes, uncompressed.
    #[must_use]
    pub fn reserve(mut self, records_bytes: usize) -> Self {
        self.records.reserve(records_bytes);
        self
    }

    /// Offset of the first record.
    #[must_use]
    pub fn base_offset(mut self, offset: i64) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// Epoch of the leader that appends.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: i32) -> Self {
        self.header.partition_leader_epoch = epoch;
        self
    }

    /// Milliseconds that record times count from; the first pushed record's time if not set.
    #[must_use]
    pub fn base_timestamp(mut self, timestamp: i64) -> Self {
        self.base_timestamp = Some(timestamp);
        self
    }

    /// Idempotent producer: id, epoch and the first record's sequence.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Part of a transaction.
    #[must_use]
    pub fn transactional(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_transactional(on);
        self
    }

    /// Control batch; clients may not send these.
    #[must_use]
    pub fn control(mut self, on: bool) -> Self {
        self.header.attributes = self.header.attributes.with_control(on);
        self
    }

    /// One append time for all records, milliseconds: sets the LogAppendTime bit and `max_timestamp`.
    #[must_use]
    pub fn log_append_time(mut self, timestamp: i64) -> Self {
        self.append_time = Some(timestamp);
        self.header.attributes = self.header.attributes.with_log_append_time(true);
        self
    }

    /// Delete horizon, milliseconds (KIP-534): record times then count from it.
    #[must_use]
    pub fn delete_horizon(mut self, horizon: i64) -> Self {
        self.base_timestamp = Some(horizon);
        self.header.attributes = self.header.attributes.with_delete_horizon(true);
        self
    }

    /// Last offset less base offset, when it is more than the last record's (compacted batches).
    #[must_use]
    pub fn last_offset_delta(mut self, delta: i32) -> Self {
        self.last_offset_delta = Some(delta);
        self
    }

    /// Appends a record at the next offset. `timestamp` in milliseconds. Error: the batch would pass 2 GiB.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader],
    ) -> Result<(), RecordError> {
        let timestamp_delta = timestamp.wrapping_sub(*self.base_timestamp.get_or_insert(timestamp));
        let offset_delta = self.next_delta;
        self.write(Parts { attributes: 0, timestamp_delta, offset_delta, key, value, headers: pairs(headers) })
    }

    /// Appends a record with its own deltas; `offset_delta` must not go back. Set the base timestamp first.
    pub fn push_record(&mut self, record: &Record) -> Result<(), RecordError> {
        self.write(parts(record))
    }

    /// Appends a borrowed record with its own deltas; as [`push_record`](Self::push_record).
    pub fn push_ref(&mut self, record: &RecordRef<'_>) -> Result<(), RecordError> {
        self.write(Parts {
            attributes: record.attributes,
            timestamp_delta: record.timestamp_delta,
            offset_delta: record.offset_delta,
            key: record.key,
            value: record.value,
            headers: record.headers(),
        })
    }

    /// Records pushed.
    pub fn records_count(&self) -> usize {
        self.header.records_count as usize
    }

    /// Size if built without compression, bytes.
    pub fn uncompressed_size(&self) -> usize {
        self.records.len()
    }

    /// Compresses, sums and returns the batch.
    pub fn build(self) -> Result<Bytes, RecordError> {
        let mut header = self.header;
        header.attributes = header.attributes.with_codec(self.codec);
        header.base_timestamp = self.base_timestamp.unwrap_or(NO_TIMESTAMP);
        header.max_timestamp = self.append_time.unwrap_or(self.max_timestamp);
        let last_pushed = (self.next_delta - 1).max(0);
        header.last_offset_delta = self.last_offset_delta.unwrap_or(last_pushed);
        if header.last_offset_delta < last_pushed {
            return Err(RecordError::Unencodable("last offset delta before the last record"));
        }
        assemble(header, self.records)
    }

    fn write<'a, H>(&mut self, parts: Parts<'a, H>) -> Result<(), RecordError>
    where
        H: Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + ExactSizeIterator + Clone,
    {
        if parts.offset_delta < self.next_delta {
            return Err(RecordError::Unencodable("offset deltas must rise"));
        }
        let next = parts.offset_delta.checked_add(1).ok_or(RecordError::Unencodable("offset delta too large"))?;
        let base = *self.base_timestamp.get_or_insert(NO_TIMESTAMP);
        let timestamp = base.wrapping_add(parts.timestamp_delta);
        parts.write(&mut self.records)?;
        self.next_delta = next;
        self.header.records_count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }
}

/// Writes `records` under `header` exactly as given; only `batch_length`, `records_count` and `crc` are computed. The
/// inverse of parsing: nothing of a decoded batch is lost.
pub fn encode_batch(header: &BatchHeader, records: &[Record]) -> Result<Bytes, RecordError> {
    let mut header = *header;
    header.records_count =
        i32::try_from(records.len()).map_err(|_| RecordError::Unencodable("too many records for one batch"))?;
    let mut block = vec![0; HEADER_BYTES];
    for record in records {
        parts(record).write(&mut block)?;
    }
    assemble(header, block)
}

/// The same batch under another codec, as a leader stores it when the topic's `compression.type` names one. `cap` bounds
/// the decompressed block, bytes.
pub fn recompress(batch: &BatchView, codec: Codec, cap: usize) -> Result<Bytes, RecordError> {
    recompress_at_level(batch, codec, None, cap)
}

/// As [`recompress`], at a level of the codec (`compression.gzip.level` and its like, KIP-390); `None` for its default.
pub fn recompress_at_level(
    batch: &BatchView,
    codec: Codec,
    level: Option<i32>,
    cap: usize,
) -> Result<Bytes, RecordError> {
    let mut header = batch.header;
    header.attributes = header.attributes.with_codec(codec);
    let mut records = vec![0; HEADER_BYTES];
    records.extend_from_slice(&batch.decompress(cap)?);
    assemble_at_level(header, records, level)
}

/// Writes `header` with its length and CRC, and `records` under its codec. `records` begins with room for the header, so
/// that a batch without compression is finished in place.
fn assemble(header: BatchHeader, records: Vec<u8>) -> Result<Bytes, RecordError> {
    assemble_at_level(header, records, None)
}

fn assemble_at_level(mut header: BatchHeader, mut records: Vec<u8>, level: Option<i32>) -> Result<Bytes, RecordError> {
    let codec = header.attributes.codec()?;
    // an empty batch has no block at all, whatever its codec bits say
    if codec != Codec::None && records.len() > HEADER_BYTES {
        let mut stored = Vec::with_capacity(HEADER_BYTES + records.len() / 2);
        stored.resize(HEADER_BYTES, 0);
        compress::compress_at_level(codec, level, &records[HEADER_BYTES..], &mut stored)?;
        records = stored;
    }
    let batch_length = i32::try_from(records.len() - LENGTH_PREFIX_BYTES);
    header.batch_length = batch_length.map_err(|_| RecordError::Unencodable("batch larger than 2 GiB"))?;
    header.write(&mut &mut records[..HEADER_BYTES]);
    let sum = crc::compute(&records);
    crc::put(&mut records, at::CRC, sum.to_be_bytes());
    Ok(records.into())
}

type Pair<'a> = (&'a [u8], Option<&'a [u8]>);

fn pairs(headers: &[RecordHeader]) -> impl ExactSizeIterator<Item = Pair<'_>> + Clone {
    headers.iter().map(|header| (&header.key[..], header.value.as_deref()))
}

fn parts(record: &Record) -> Parts<'_, impl ExactSizeIterator<Item = Pair<'_>> + Clone> {
    Parts {
        attributes: record.attributes,
        timestamp_delta: record.timestamp_delta,
        offset_delta: record.offset_delta,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: pairs(&record.headers),
    }
}
