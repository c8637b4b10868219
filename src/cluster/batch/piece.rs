//! A fetch answer cut into pieces: one source batch each, with what a lane has to know of it.

use std::sync::Arc;

use bytes::Bytes;
use causeway_wire::messages::fetch::AbortedTransaction;
use causeway_wire::records::{BatchHeader, BatchView, Batches, ControlMarker, DECOMPRESSED_BYTES_MAX, RecordError};

use super::budget::Hold;
use crate::cluster::hidden::Hidden;
use crate::core::batch::{Shape, SourceRange, Summary};
use crate::core::ids::{SourceOffset, TargetOffset};
use crate::core::offset_map::{Run, push_run};
use crate::core::origins::Born;

/// The payload of the batch engine.
#[derive(Debug)]
pub struct Pieces {
    pub(super) list: Vec<Piece>,
    pub(super) hold: Option<Hold>,
}

/// A batch on its way.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub view: BatchView,
    /// Records below it are not wanted: the reader began in the middle of the batch.
    pub from: SourceOffset,
    /// Records wanted.
    pub records: u32,
    /// The target takes it as it is: every offset of it holds a wanted record, with a time of its own.
    pub whole: bool,
    /// Where its records lie at the source, where that does not follow from its header: in a batch that was written anew.
    pub offsets: Option<Vec<SourceOffset>>,
    /// Where its records were born, if that is told and is not the source.
    pub born: Option<Arc<Born>>,
}

/// What is told of a piece to whoever decides whether it is brought on.
#[derive(Debug)]
pub struct Told<'a> {
    /// Where its records were born; `None`: on the source itself.
    pub born: Option<&'a Born>,
    /// The source offsets that it stands for.
    pub range: SourceRange,
}

impl Pieces {
    /// What is told of each piece.
    pub fn told(&self) -> impl Iterator<Item = Told<'_>> {
        self.list.iter().map(|piece| Told { born: piece.born.as_deref(), range: piece.covers() })
    }

    /// Takes off the pieces from `at` on.
    #[must_use]
    pub fn split_off(&mut self, at: SourceOffset) -> Pieces {
        let first = self.list.iter().position(|piece| piece.covers().from >= at).unwrap_or(self.list.len());
        Pieces { list: self.list.split_off(first), hold: self.hold.take() }
    }

    /// Records and bytes.
    #[must_use]
    pub fn size(&self) -> (u32, u64) {
        let size = |piece: &Piece| (piece.records, piece.view.bytes.len() as u64);
        self.list.iter().map(size).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Leaves out what is not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&Told<'_>) -> bool) {
        self.list.retain(|piece| wanted(&Told { born: piece.born.as_deref(), range: piece.covers() }));
    }
}

impl Piece {
    /// The source offsets that it stands for.
    pub fn covers(&self) -> SourceRange {
        let header = &self.view.header;
        match &self.offsets {
            Some(offsets) => SourceRange::new(self.from, offsets.last().map_or(self.from, |last| last.next())),
            None => {
                SourceRange::new(self.from.max(SourceOffset(header.base_offset)), SourceOffset(header.next_offset()))
            }
        }
    }

    /// The runs of the map when the records of a batch that is sent as it is land from `target` on.
    pub fn landed(&self, target: TargetOffset) -> Vec<Run> {
        match &self.offsets {
            Some(offsets) => {
                let mut runs = Vec::new();
                let places = offsets.iter().zip((0..).map(|index| target.plus(index)));
                places.for_each(|(source, target)| push_run(&mut runs, Run::new(*source, 1, target)));
                runs
            }
            None => vec![Run::new(SourceOffset(self.view.header.base_offset), u64::from(self.records), target)],
        }
    }
}

/// What one fetch answer holds for a lane.
#[derive(Debug)]
pub(super) struct Cut {
    pub list: Vec<Piece>,
    /// Read up to here, markers and holes included.
    pub to: SourceOffset,
    pub leader_epoch: i32,
    pub summary: Summary,
    /// What cannot be read, behind `to`.
    pub damage: Option<(SourceRange, String)>,
}

/// Cuts the batches of a read-committed fetch from `from` on. Payloads are not looked into, but for control batches, and for a first one that
/// begins before `from`.
pub(super) fn cut(batches: Bytes, aborted: &[AbortedTransaction], from: SourceOffset) -> Cut {
    let mut hidden = Hidden::new(aborted);
    let summary = Summary { timestamp_min: -1, timestamp_max: -1, ..Summary::default() };
    let mut cut = Cut { list: Vec::new(), to: from, leader_epoch: -1, summary, damage: None };
    for batch in Batches::new(batches) {
        let outcome = match batch {
            Ok(view) => {
                let end = SourceOffset(view.header.next_offset());
                take(&mut cut, view, &mut hidden, from).map_err(|error| (end, error))
            }
            Err(error) => Err((cut.to.next(), error)),
        };
        if let Err((end, error)) = outcome {
            cut.damage = Some((SourceRange::new(cut.to, end.max(cut.to.next())), error.to_string()));
            break;
        }
    }
    let dense = u64::from(cut.summary.records) == SourceRange::new(from, cut.to).offsets();
    cut.summary.shape = if dense { Shape::Dense } else { Shape::Holes };
    cut
}

fn take(cut: &mut Cut, view: BatchView, hidden: &mut Hidden, from: SourceOffset) -> Result<(), RecordError> {
    let header = view.header;
    let end = SourceOffset(header.next_offset());
    if end <= from {
        return Ok(());
    }
    header.attributes.codec()?;
    if header.attributes.is_control() {
        hidden.marker(header.producer_id, marker(&view)?);
    } else if header.records_count > 0 && !hidden.hides(&header) {
        let records = wanted(&view, from)?;
        if records > 0 {
            let whole =
                is_dense(&header) && header.base_offset >= from.get() && !header.attributes.is_log_append_time();
            let summary = &mut cut.summary;
            summary.records += records;
            summary.bytes += view.bytes.len() as u64;
            summary.timestamp_max = summary.timestamp_max.max(header.max_timestamp);
            let first =
                if header.attributes.is_log_append_time() { header.max_timestamp } else { header.base_timestamp };
            summary.timestamp_min = if summary.timestamp_min < 0 { first } else { summary.timestamp_min.min(first) };
            cut.list.push(Piece { view, from, records, whole, offsets: None, born: None });
        }
    }
    cut.to = cut.to.max(end);
    cut.leader_epoch = header.partition_leader_epoch;
    Ok(())
}

/// One record per offset: only such a batch may go on as it is. A target would refuse another one, or, uncompressed and with a range that was made
/// to fit, tear the offsets of what follows it; nothing here can write that range.
fn is_dense(header: &BatchHeader) -> bool {
    header.last_offset_delta.checked_add(1) == Some(header.records_count)
}

fn marker(view: &BatchView) -> Result<Option<ControlMarker>, RecordError> {
    let block = view.decompress(DECOMPRESSED_BYTES_MAX)?;
    let record = view.walk(&block).next().transpose()?;
    Ok(record.as_ref().and_then(ControlMarker::from_record).map(|(marker, _)| marker))
}

/// How many records of the batch lie at `from` or behind it.
fn wanted(view: &BatchView, from: SourceOffset) -> Result<u32, RecordError> {
    let header = &view.header;
    if header.base_offset >= from.get() {
        return Ok(header.records_count.unsigned_abs());
    }
    let block = view.decompress(DECOMPRESSED_BYTES_MAX)?;
    let mut records = 0;
    for record in view.walk(&block) {
        records += u32::from(header.offset_at(record?.offset_delta) >= from.get());
    }
    Ok(records)
}

#[cfg(test)]
#[path = "piece_tests.rs"]
mod tests;
