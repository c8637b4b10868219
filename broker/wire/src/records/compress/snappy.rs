//! Snappy: raw blocks, and the framing of snappy-java ("xerial") that Java clients write and expect.
//!
//! Framing: magic, version i32, lowest compatible version i32, then per block its length i32 and a raw snappy block.

use std::io;

use snap::raw::{Decoder, Encoder, decompress_len};

use super::Failure;

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const VERSION: i32 = 1;
const FRAME_HEADER_BYTES: usize = MAGIC.len() + 8;
/// Uncompressed bytes per block: snappy-java's default, which readers may rely on for their buffers.
const BLOCK_BYTES: usize = 32 << 10;
/// The densest snappy element is a 3-byte copy of 64 bytes: a length that claims more than this per input byte is a lie,
/// and is refused before memory is reserved for it.
const EXPANSION_MAX: usize = 22;

pub(super) fn compress(block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = Encoder::new();
    let mut scratch = vec![0; snap::raw::max_compress_len(BLOCK_BYTES.min(block.len()))];
    for chunk in block.chunks(BLOCK_BYTES) {
        let len = encoder.compress(chunk, &mut scratch).map_err(io::Error::other)?;
        out.extend_from_slice(&(len as i32).to_be_bytes());
        out.extend_from_slice(&scratch[..len]);
    }
    Ok(())
}

pub(super) fn decompress(block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut decoder = Decoder::new();
    if !block.starts_with(&MAGIC) {
        return raw_block(&mut decoder, block, cap, out);
    }
    let mut rest = block;
    while !rest.is_empty() {
        if rest.starts_with(&MAGIC) {
            // a block length cannot begin like the magic (it would be negative): streams may follow one another
            rest = rest.get(FRAME_HEADER_BYTES..).ok_or_else(|| corrupt("framing header is cut off"))?;
            continue;
        }
        let (len, tail) = rest.split_first_chunk().ok_or_else(|| corrupt("block length is cut off"))?;
        let len = usize::try_from(i32::from_be_bytes(*len)).map_err(|_| corrupt("negative block length"))?;
        let chunk = tail.get(..len).ok_or_else(|| corrupt("block is cut off"))?;
        raw_block(&mut decoder, chunk, cap, out)?;
        rest = &tail[len..];
    }
    Ok(())
}

fn raw_block(decoder: &mut Decoder, block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let len = decompress_len(block).map_err(|error| corrupt(&error.to_string()))?;
    if len > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(corrupt("declared length is impossible for the input"));
    }
    let start = out.len();
    if len > cap - start {
        return Err(Failure::Cap);
    }
    out.resize(start + len, 0);
    let written = decoder.decompress(block, &mut out[start..]).map_err(|error| corrupt(&error.to_string()))?;
    if written == len { Ok(()) } else { Err(corrupt("block is shorter than declared")) }
}

fn corrupt(reason: &str) -> Failure {
    Failure::Corrupt(reason.to_owned())
}
