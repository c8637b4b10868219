//! Zstandard frames. Contexts are kept per thread: making one costs more than a small batch does.

use std::cell::RefCell;
use std::io;

use zstd::bulk::Compressor;
use zstd::stream::raw::{DParameter, Decoder, Operation};
use zstd::stream::zio::Reader;
use zstd::zstd_safe::{self, DCtx};

use super::{Failure, read_capped};

/// Largest window accepted, log2 bytes: what the reference decoder accepts by default (level 22 writes it). The decoder
/// reserves the window, but touches only what it writes, and that is capped.
const WINDOW_LOG_MAX: u32 = 27;
/// Largest decoder that a thread keeps, bytes: that of level 3's 2 MiB window, which is every producer's default.
const DECODER_BYTES_KEPT: usize = 4 << 20;
/// A declared content size is believed up to this many times the input; honest events reach that, and a lie gains little.
const EXPANSION_BELIEVED: u64 = 64;

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECODER: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

pub(super) fn compress(block: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(Compressor::new(zstd::DEFAULT_COMPRESSION_LEVEL)?),
        };
        compressor.set_compression_level(level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))?;
        let start = out.len();
        out.resize(start + zstd_safe::compress_bound(block.len()), 0);
        let written = compressor.compress_to_buffer(block, &mut out[start..])?;
        out.truncate(start + written);
        Ok(())
    })
}

pub(super) fn decompress(block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    DECODER.with_borrow_mut(|kept| {
        let context = match kept {
            Some(context) => context,
            None => kept.insert(DCtx::try_create().ok_or_else(|| Failure::Corrupt("no memory for a decoder".into()))?),
        };
        let outcome = decode(context, block, cap, out);
        if context.sizeof() > DECODER_BYTES_KEPT {
            *kept = None;
        }
        outcome
    })
}

fn decode(context: &mut DCtx<'static>, block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut decoder = Decoder::with_context(context);
    decoder.reinit()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    if let Ok(Some(declared)) = zstd_safe::get_frame_content_size(block) {
        if declared > cap as u64 {
            // A frame either gives what it declares or is corrupt: refused without the work in both cases.
            return Err(Failure::Cap);
        }
        // with all of its output at hand the decoder needs no window of its own
        let believed = declared.min(block.len() as u64 * EXPANSION_BELIEVED).min(cap as u64);
        out.reserve(believed as usize + 1);
    }
    read_capped(Reader::new(block, decoder), block.len(), cap, out)
}
