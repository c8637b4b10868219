//! Record batches, format v2 (KIP-98): header, records, codecs, CRC-32C, building and validation.
//!
//! Reading is layered so that each caller pays only for what it needs:
//! [`Batches`] cuts a byte run into [`BatchView`]s by their headers alone, [`verify_crc`] proves the bytes,
//! [`BatchView::decompress`] opens the block under an output cap, [`RecordIter`] walks records as borrowed slices, and
//! [`decode_records`] gives owned [`Record`]s that share the block's memory. What is decoded is encoded back unchanged:
//! duplicate and non-UTF-8 header keys, null against empty, holes left by compaction, empty batches and every header bit.

mod attributes;
mod builder;
pub mod compress;
mod control;
mod crc;
mod error;
mod header;
mod record;
mod recrc;
pub mod validate;
mod varint;
mod view;

pub use attributes::{Attributes, TimestampType};
pub use builder::{BatchBuilder, encode_batch, recompress, recompress_at_level};
pub use compress::{Codec, DECOMPRESSED_BYTES_MAX};
pub use control::{ControlMarker, control_batch};
pub use crc::{patch_base_offset, patch_leader_epoch, verify_crc};
pub use error::RecordError;
pub use header::{BATCH_OVERHEAD, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES};
pub use header::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP};
pub use record::{HeaderIter, Record, RecordHeader, RecordIter, RecordRef};
pub use recrc::{HeaderPatch, recrc_header};
pub use view::{BatchView, Batches, decode_records};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod round_trip_tests;
