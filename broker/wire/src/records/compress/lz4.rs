//! LZ4 frames.
//!
//! Written with independent 64 KiB blocks and a right header checksum, as Java's reader demands (KAFKA-3160). The reader
//! is ours: it decodes blocks straight into the output, under the cap, and takes linked blocks and frames in a row too.
//! It skips LZ4's own checksums, because the batch's CRC-32C covers the same bytes.

use std::io::{self, Write};

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::Failure;

const MAGIC: u32 = 0x184d_2204;
const VERSION: u8 = 1;
const HEADER_CHECKSUM_BYTES: usize = 1;
const CHECKSUM_BYTES: usize = 4;
/// High bit of a block length: the block is stored as it is.
const STORED: u32 = 1 << 31;
/// How far back a linked block may refer.
const WINDOW_BYTES: usize = 64 << 10;
/// The densest LZ4 sequence extends a match by 255 bytes per byte: memory for more than that is never needed.
const EXPANSION_MAX: usize = 255;

pub(super) fn compress(block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(block)?;
    encoder.finish().map(drop).map_err(io::Error::other)
}

pub(super) fn decompress(block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut input = Input(block);
    while !input.0.is_empty() {
        let frame = Frame::parse(&mut input)?;
        frame.read(&mut input, cap, out)?;
    }
    Ok(())
}

/// What a frame's descriptor says.
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_bytes: Option<u64>,
    block_bytes_max: usize,
}

impl Frame {
    fn parse(input: &mut Input<'_>) -> Result<Self, Failure> {
        if input.u32()? != MAGIC {
            return Err(corrupt("no frame magic"));
        }
        let [flags, sizes] = input.array()?;
        if flags >> 6 != VERSION {
            return Err(corrupt("unknown frame version"));
        }
        if flags & 0b11 != 0 {
            return Err(corrupt("reserved bit or dictionary in frame header"));
        }
        let block_bytes_max = match sizes >> 4 {
            size @ 4..=7 => 1 << (8 + 2 * size), // 64 KiB, 256 KiB, 1 MiB, 4 MiB
            _ => return Err(corrupt("unknown block size in frame header")),
        };
        let content_bytes = if flags & 0b1000 != 0 { Some(u64::from_le_bytes(input.array()?)) } else { None };
        input.take(HEADER_CHECKSUM_BYTES)?;
        Ok(Self {
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            content_bytes,
            block_bytes_max,
        })
    }

    /// Reads the blocks up to the end mark.
    fn read(&self, input: &mut Input<'_>, cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
        let start = out.len();
        loop {
            let size = input.u32()?;
            if size == 0 {
                break;
            }
            let stored = input.take((size & !STORED) as usize)?;
            if size & STORED != 0 {
                self.copy(stored, cap, out)?;
            } else {
                self.expand(stored, start, cap, out)?;
            }
            if self.block_checksums {
                input.take(CHECKSUM_BYTES)?;
            }
        }
        if self.content_checksum {
            input.take(CHECKSUM_BYTES)?;
        }
        match self.content_bytes {
            Some(bytes) if bytes != (out.len() - start) as u64 => {
                Err(corrupt("content size differs from the header's"))
            }
            _ => Ok(()),
        }
    }

    fn copy(&self, stored: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
        if stored.len() > self.block_bytes_max {
            return Err(corrupt("block larger than the frame allows"));
        }
        if stored.len() > cap - out.len() {
            return Err(Failure::Cap);
        }
        out.extend_from_slice(stored);
        Ok(())
    }

    fn expand(&self, stored: &[u8], frame_start: usize, cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
        let start = out.len();
        let wanted = self.block_bytes_max.min(stored.len().saturating_mul(EXPANSION_MAX));
        let room = wanted.min(cap - start);
        out.resize(start + room, 0);
        let (before, target) = out.split_at_mut(start);
        let outcome = if self.linked {
            let window = &before[frame_start.max(start.saturating_sub(WINDOW_BYTES))..];
            decompress_into_with_dict(stored, target, window)
        } else {
            decompress_into(stored, target)
        };
        match outcome {
            Ok(written) => {
                out.truncate(start + written);
                Ok(())
            }
            Err(DecompressError::OutputTooSmall { .. }) if room < wanted => Err(Failure::Cap),
            Err(error) => Err(corrupt(&error.to_string())),
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(|| corrupt("frame is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| corrupt("frame is cut off"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, Failure> {
        self.array().map(u32::from_le_bytes)
    }
}

fn corrupt(reason: &str) -> Failure {
    Failure::Corrupt(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_variant_is_read() {
        let content: Vec<u8> = (0..300_000u32).flat_map(|i| (i / 5).to_le_bytes()).collect();
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
                for extras in [false, true] {
                    let mut info = FrameInfo::new().block_size(size).block_mode(mode);
                    if extras {
                        let bytes = Some(content.len() as u64);
                        info = info.block_checksums(true).content_checksum(true).content_size(bytes);
                    }
                    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                    encoder.write_all(&content).unwrap();
                    let frame = encoder.finish().unwrap();
                    let mut out = Vec::new();
                    assert!(decompress(&[&frame[..], &frame].concat(), content.len() * 2, &mut out).is_ok());
                    assert!(out == content.repeat(2), "{mode:?} {size:?} {extras}");
                }
            }
        }
    }

    #[test]
    fn noise_is_stored_and_read_back() {
        let mut noise = vec![0; 150_000];
        fastrand::Rng::with_seed(7).fill(&mut noise);
        let mut out = Vec::new();
        let mut frame = Vec::new();
        compress(&noise, &mut frame).unwrap();
        assert!(decompress(&frame, noise.len(), &mut out).is_ok());
        assert!(out == noise);
    }

    #[test]
    fn mutated_linked_frames_never_panic_and_never_pass_the_cap() {
        let content: Vec<u8> = (0..40_000u32).flat_map(|i| (i / 9).to_le_bytes()).collect();
        let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Linked);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&content).unwrap();
        let frame = encoder.finish().unwrap();
        for seed in 0..2000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut mutant = frame.clone();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(..mutant.len());
                mutant[at] = rng.u8(..);
            }
            let (mut out, cap) = (Vec::new(), 100_000);
            if decompress(&mutant, cap, &mut out).is_ok() {
                assert!(out.len() <= cap, "seed {seed}");
            }
        }
    }
}
