//! LZ4 frames. Java's reader wants independent blocks and a right header checksum (v2 batches, KAFKA-3160).

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{Failure, read_capped};

pub(super) fn compress(block: &[u8]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::with_capacity(block.len() / 2));
    encoder.write_all(block)?;
    encoder.finish().map_err(io::Error::other)
}

pub(super) fn decompress(block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    read_capped(FrameDecoder::new(block), block.len(), cap, out)
}
