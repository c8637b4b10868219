//! The five codecs of a record block, each behind an absolute output cap.
//!
//! A cap on bytes, not on the ratio: honest data compresses a hundredfold. Output grows as it is produced, so a small
//! hostile block never makes us hold more than `cap` bytes, and never reserves memory on the word of a length field.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use bytes::Bytes;

use super::RecordError;

mod gzip;
mod lz4;
mod snappy;
mod zstd;

/// Default cap for one decompressed block: far above any batch a producer builds (`max.message.bytes` is 1 MiB by
/// default, compressed), far below what would hurt a broker.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// First guess for the output of a block; a guess too small costs a copy, one too large costs memory.
const EXPANSION_GUESS: usize = 3;

/// Compression codec of a record block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy blocks in snappy-java ("xerial") framing; raw blocks are read too.
    Snappy,
    /// LZ4 frame format with independent 64 KiB blocks.
    Lz4,
    /// RFC 8878 (KIP-110).
    Zstd,
}

impl Codec {
    /// All codecs, in the order of their ids.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The value in the batch's attribute bits.
    pub const fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name used in Kafka's configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl TryFrom<u8> for Codec {
    type Error = RecordError;

    fn try_from(id: u8) -> Result<Self, RecordError> {
        Self::ALL.get(usize::from(id)).copied().ok_or(RecordError::UnknownCodec(id))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression codec {0:?} (one of none, gzip, snappy, lz4, zstd)")]
pub struct UnknownCodecName(pub String);

impl FromStr for Codec {
    type Err = UnknownCodecName;

    fn from_str(name: &str) -> Result<Self, UnknownCodecName> {
        Self::ALL.into_iter().find(|codec| codec.name() == name).ok_or_else(|| UnknownCodecName(name.into()))
    }
}

/// Compresses a block at the codec's default level.
pub fn compress(codec: Codec, block: &[u8]) -> Result<Vec<u8>, RecordError> {
    let mut out = Vec::with_capacity(block.len() / 2);
    compress_into(codec, block, &mut out)?;
    Ok(out)
}

/// Compresses a block at the codec's default level, behind what `out` already holds.
pub fn compress_into(codec: Codec, block: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    compress_at_level(codec, None, block, out)
}

/// As [`compress_into`], at a level of the codec (KIP-390): gzip 1 to 9, zstd -131072 to 22. Codecs without levels, and LZ4, which is always written at its
/// fast one, pass over it; so does everybody who reads the block.
pub fn compress_at_level(codec: Codec, level: Option<i32>, block: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
    match codec {
        Codec::None => {
            out.extend_from_slice(block);
            Ok(())
        }
        Codec::Gzip => gzip::compress(block, level, out),
        Codec::Snappy => snappy::compress(block, out),
        Codec::Lz4 => lz4::compress(block, out),
        Codec::Zstd => zstd::compress(block, level, out),
    }
    .map_err(|error| RecordError::Compress { codec, reason: error.to_string() })
}

/// Decompresses a block to at most `cap` bytes; without a codec the block itself is returned, if it fits.
pub fn decompress(codec: Codec, block: &Bytes, cap: usize) -> Result<Bytes, RecordError> {
    if codec == Codec::None {
        return if block.len() <= cap { Ok(block.clone()) } else { Err(RecordError::CapExceeded { cap }) };
    }
    let mut out = Vec::new();
    decompress_into(codec, block, cap, &mut out)?;
    Ok(out.into())
}

/// Decompresses into `out`, which is cleared first and keeps its capacity between calls.
pub fn decompress_into(codec: Codec, block: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), RecordError> {
    out.clear();
    let outcome = match codec {
        Codec::None if block.len() > cap => Err(Failure::Cap),
        Codec::None => {
            out.extend_from_slice(block);
            Ok(())
        }
        // not every decoder misses the header of a stream without one
        _ if block.is_empty() => Err(Failure::Corrupt("empty input".into())),
        Codec::Gzip => gzip::decompress(block, cap, out),
        Codec::Snappy => snappy::decompress(block, cap, out),
        Codec::Lz4 => lz4::decompress(block, cap, out),
        Codec::Zstd => zstd::decompress(block, cap, out),
    };
    outcome.map_err(|failure| match failure {
        Failure::Cap => RecordError::CapExceeded { cap },
        Failure::Corrupt(reason) => RecordError::Decompress { codec, reason },
    })
}

/// Why a codec gave up.
enum Failure {
    Cap,
    Corrupt(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// Reads all of `reader` into `out`, failing as soon as it gives more than `cap` bytes.
fn read_capped(reader: impl Read, input_len: usize, cap: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    out.reserve(input_len.saturating_mul(EXPANSION_GUESS).min(cap));
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(out)?;
    if out.len() > cap { Err(Failure::Cap) } else { Ok(()) }
}
