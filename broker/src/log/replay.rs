//! Producer state from the log itself.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use causeway_wire::records::BatchView;

use super::disk::Disk;
use super::error::LogError;
use super::judge::producer_batch;
use super::names::{FileKind, segment_file};
use super::scan::{Found, HEADERS_CHUNK, Scan};
use super::segment::Segment;
use crate::core::producer_state::{CompletedTxn, ProducerState};

/// Producer state after all batches from offset `from` on have been taken into `state`, and the transactions that ended in them.
pub(crate) fn replay(
    disk: &dyn Disk,
    dir: &Path,
    segments: &BTreeMap<i64, Segment>,
    mut state: ProducerState,
    from: i64,
) -> Result<(ProducerState, Vec<CompletedTxn>), LogError> {
    let mut ended = Vec::new();
    let first = segments.range(..=from).next_back().map_or(from, |(base, _)| *base);
    for segment in segments.range(first..).map(|(_, segment)| segment).filter(|segment| segment.size > 0) {
        let path = segment_file(dir, segment.base, FileKind::Log);
        let fail = |error: io::Error| LogError::io("read", &path, &error);
        let file = disk.open(&path, false).map_err(fail)?;
        let mut scan = Scan::new(&*file, 0, segment.size, HEADERS_CHUNK);
        loop {
            let (pos, header) = match scan.step().map_err(fail)? {
                Found::Batch(pos, header) => (pos, header),
                Found::End => break,
                Found::Bad(pos, why) => {
                    return Err(LogError::Corrupt { path, what: format!("at byte {pos}: {why}") });
                }
            };
            if header.base_offset < from || !header.has_producer_id() {
                continue;
            }
            let bytes = if header.attributes.is_control() { scan.bytes(pos, &header).map_err(fail)? } else { None };
            let batch = BatchView { header, bytes: bytes.unwrap_or_default() };
            if let Some(batch) = producer_batch(&batch, &header) {
                ended.extend(state.record(&batch).1);
            }
        }
    }
    Ok((state, ended))
}
