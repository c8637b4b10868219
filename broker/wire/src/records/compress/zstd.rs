//! Zstandard frames.

use std::io;

use zstd::stream::read::Decoder;

use super::{Failure, read_capped};

/// Largest window accepted, log2 bytes: what the reference decoder accepts by default (level 22 writes it). The decoder
/// reserves the window, but touches only what it writes, and that is capped.
const WINDOW_LOG_MAX: u32 = 27;

pub(super) fn compress(block: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(block, zstd::DEFAULT_COMPRESSION_LEVEL)
}

pub(super) fn decompress(block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut decoder = Decoder::with_buffer(block)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    read_capped(decoder, block.len(), cap, out)
}
