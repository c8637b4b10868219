//! The decode path: a batch that cannot go on as it is is read, and what is wanted of it is written anew under the same codec.

use causeway_wire::records::{BatchBuilder, BatchView, Codec, DECOMPRESSED_BYTES_MAX, Record, RecordError};

use super::piece::Piece;
use crate::core::ids::SourceOffset;

/// What is left of a batch's bytes for its records when a limit says how large it may be: header, and what a codec adds to what it cannot shrink.
const OVERHEAD_BYTES: usize = 512;

/// A record with its place and time at the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub offset: SourceOffset,
    pub timestamp: i64,
    pub record: Record,
}

/// The wanted records of a piece, in order. The CRC is checked: what was damaged must not be written anew with a good one.
pub(super) fn read(piece: &Piece, skip: &[SourceOffset]) -> Result<Vec<Placed>, RecordError> {
    piece.view.verify_crc()?;
    let header = &piece.view.header;
    let at = |index: usize, record: &Record| match &piece.offsets {
        Some(offsets) => offsets.get(index).copied(),
        None => Some(SourceOffset(header.offset_at(record.offset_delta))),
    };
    let records = piece.view.records(DECOMPRESSED_BYTES_MAX)?;
    let placed = records.into_iter().enumerate().filter_map(|(index, record)| {
        let offset = at(index, &record)?;
        let wanted = offset >= piece.from && skip.binary_search(&offset).is_err();
        wanted.then(|| Placed { offset, timestamp: header.timestamp_at(record.timestamp_delta), record })
    });
    Ok(placed.collect())
}

/// The records as batches that a target takes: one offset per record, no bits but the codec's, none larger than `bytes_max` unless a single record is.
pub(super) fn write(placed: &[Placed], codec: Codec, bytes_max: usize) -> Result<Vec<Piece>, RecordError> {
    let mut pieces = Vec::new();
    write_into(&mut pieces, placed, codec, bytes_max)?;
    Ok(pieces)
}

fn write_into(out: &mut Vec<Piece>, placed: &[Placed], codec: Codec, bytes_max: usize) -> Result<(), RecordError> {
    let Some(first) = placed.first() else { return Ok(()) };
    let mut builder = BatchBuilder::new(codec);
    for Placed { timestamp, record, .. } in placed {
        builder.push(*timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers)?;
    }
    let bytes = builder.build()?;
    if bytes.len() > bytes_max && placed.len() > 1 {
        // halves, until they fit: how much a codec saves is only known afterwards
        let (front, back) = placed.split_at(placed.len() / 2);
        write_into(out, front, codec, bytes_max)?;
        return write_into(out, back, codec, bytes_max);
    }
    let offsets = placed.iter().map(|placed| placed.offset).collect();
    out.push(Piece {
        view: BatchView::parse(&bytes)?,
        from: first.offset,
        records: u32::try_from(placed.len()).unwrap_or(u32::MAX),
        whole: true,
        offsets: Some(offsets),
        born: None,
    });
    Ok(())
}

/// Bytes of records that fit a batch of at most `max`.
pub(super) fn room(max: usize) -> usize {
    max.saturating_sub(OVERHEAD_BYTES).max(1)
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
