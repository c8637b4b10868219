//! Walks the batches of a segment file without trusting a byte of it.

use std::io;

use bytes::Bytes;
use causeway_wire::records::{BatchHeader, HEADER_BYTES};

use super::disk::{DiskFile, read_full_at};

/// Read at once when only headers matter: a few index intervals.
pub(crate) const HEADERS_CHUNK: usize = 16 << 10;
/// Read at once when every byte matters (recovery).
pub(crate) const RECOVERY_CHUNK: usize = 256 << 10;
/// First byte under the CRC.
const CRC_FROM: usize = 21;

/// What comes next in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A whole batch (by its length) at this position.
    Batch(u64, BatchHeader),
    /// The end of the range, exactly after the last batch.
    End,
    /// No whole batch starts here.
    Bad(u64, String),
}

/// A walk over `pos..end` of a file.
pub(crate) struct Scan<'a> {
    file: &'a dyn DiskFile,
    pos: u64,
    end: u64,
    chunk: usize,
    buf: Vec<u8>,
    buf_pos: u64,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, pos: u64, end: u64, chunk: usize) -> Self {
        Self { file, pos, end, chunk, buf: Vec::new(), buf_pos: 0 }
    }

    /// Steps to the next batch.
    pub(crate) fn step(&mut self) -> io::Result<Found> {
        let pos = self.pos;
        if pos >= self.end {
            return Ok(Found::End);
        }
        let left = self.end - pos;
        let end = self.end;
        let Some(raw) = self.window(pos, HEADER_BYTES)? else {
            return Ok(Found::Bad(pos, format!("{left} bytes are too few for a header")));
        };
        let header = match BatchHeader::parse(raw) {
            Ok(header) => header,
            Err(error) => return Ok(Found::Bad(pos, error.to_string())),
        };
        if header.base_offset < 0 || header.last_offset_delta < 0 {
            return Ok(Found::Bad(pos, "offsets are negative".to_owned()));
        }
        let after = pos + header.size() as u64;
        if after > end {
            return Ok(Found::Bad(pos, format!("batch of {} bytes, {left} are there", header.size())));
        }
        self.pos = after;
        Ok(Found::Batch(pos, header))
    }

    /// Does the batch at `pos` have the bytes its CRC says? Reads it in pieces, so a wild length costs no memory.
    pub(crate) fn crc_holds(&mut self, pos: u64, header: &BatchHeader) -> io::Result<bool> {
        let end = pos + header.size() as u64;
        let mut at = pos + CRC_FROM as u64;
        let mut crc = 0;
        while at < end {
            let want = ((end - at) as usize).min(self.chunk);
            let Some(piece) = self.window(at, want)? else { return Ok(false) };
            crc = crc32c::crc32c_append(crc, piece);
            at += want as u64;
        }
        Ok(crc == header.crc)
    }

    /// All bytes of the batch at `pos`; `None` if the file ends before it does.
    pub(crate) fn bytes(&mut self, pos: u64, header: &BatchHeader) -> io::Result<Option<Bytes>> {
        let mut raw = vec![0; header.size()];
        let read = read_full_at(self.file, &mut raw, pos)?;
        Ok((read == raw.len()).then(|| raw.into()))
    }

    /// As [`bytes`](Self::bytes), through the buffer: for walks that need every batch.
    pub(crate) fn buffered_bytes(&mut self, pos: u64, header: &BatchHeader) -> io::Result<Option<Bytes>> {
        Ok(self.window(pos, header.size())?.map(Bytes::copy_from_slice))
    }

    /// `len` bytes at `pos`, from the buffer if they are there.
    fn window(&mut self, pos: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let buffered = pos >= self.buf_pos && pos + len as u64 <= self.buf_pos + self.buf.len() as u64;
        if !buffered {
            let room = (self.end - pos).min(self.chunk.max(len) as u64) as usize;
            self.buf.resize(room, 0);
            self.buf_pos = pos;
            let read = read_full_at(self.file, &mut self.buf, pos)?;
            self.buf.truncate(read);
        }
        let from = (pos - self.buf_pos) as usize;
        Ok(self.buf.get(from..from + len))
    }
}
