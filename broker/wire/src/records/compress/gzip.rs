//! Gzip; a block may hold several members, one after the other.

use std::io::{self, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{Failure, read_capped};

pub(super) fn compress(block: &[u8], level: Option<i32>, out: &mut Vec<u8>) -> io::Result<()> {
    // Java's -1 is the default level.
    let level = level
        .and_then(|level| u32::try_from(level).ok())
        .map_or(Compression::default(), |level| Compression::new(level.min(Compression::best().level())));
    let mut encoder = GzEncoder::new(out, level);
    encoder.write_all(block)?;
    encoder.finish().map(drop)
}

pub(super) fn decompress(block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    read_capped(MultiGzDecoder::new(block), block.len(), cap, out)
}
