//! Work on batches that takes a processor's time, done so that it holds up nobody else: an ordinary batch where it came in, one that wants to be large
//! once decompressed on the few threads kept for such, and a request of many batches by turns with what else there is to do.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use causeway_wire::records::validate::{BatchInfo, ValidateError, ValidateOptions, produce_batch};
use causeway_wire::records::{
    BatchView, Codec, DECOMPRESSED_BYTES_MAX, RecordError, recompress_at_level, recrc_header,
};

use crate::node::Node;
use crate::partitions::TopicSettings;

/// Bytes of records that are looked at where they came in: some milliseconds. Nobody can tell before what a batch decompresses to; one that turns out
/// larger begins anew elsewhere, which costs it that much.
const HERE_BYTES_MAX: usize = 4 << 20;
/// Bytes of records that are compressed where they came in: tens of milliseconds at gzip's default level.
const COMPRESSED_HERE_MAX: usize = 1 << 20;
/// A request with many batches lets others go on after this.
const TURN: Duration = Duration::from_millis(5);

/// How long a request has been at it without letting others go on.
pub(super) struct Turn(Instant);

impl Default for Turn {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Turn {
    /// Lets others go on if it is their turn.
    pub(super) async fn share(&mut self) {
        if self.0.elapsed() > TURN {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
    }
}

/// Checks what a client produced for one partition.
pub(super) async fn validate(
    node: &Node,
    records: &Bytes,
    options: &ValidateOptions,
) -> Result<BatchInfo, ValidateError> {
    if records.len() <= HERE_BYTES_MAX {
        let here = ValidateOptions { decompressed_bytes_max: HERE_BYTES_MAX, ..options.clone() };
        match produce_batch(records, &here) {
            Err(ValidateError::Batch(RecordError::CapExceeded { .. })) => {}
            outcome => return outcome,
        }
    }
    let (records, options) = (records.clone(), options.clone());
    node.heavy.run(move || produce_batch(&records, &options)).await
}

/// The batch as the topic wants it on disk: its codec, its times. Mostly that is the batch as it came.
pub(super) async fn to_store(
    node: &Node,
    records: &Bytes,
    info: &BatchInfo,
    leader_epoch: i32,
    settings: &TopicSettings,
    options: &ValidateOptions,
) -> Result<Bytes, RecordError> {
    let mut patch = info.append_patch(0, leader_epoch, options);
    let mut batch = records.clone();
    if let Some(codec) = settings.codec.filter(|codec| *codec != info.codec) {
        batch = match info.uncompressed_bytes > COMPRESSED_HERE_MAX {
            true => {
                let (records, level) = (records.clone(), settings.level);
                node.heavy.run(move || recompress(&records, codec, level)).await?
            }
            false => recompress(records, codec, settings.level)?,
        };
        patch.attributes = patch.attributes.map(|a| a.with_codec(codec));
    }
    let changes_times =
        patch.attributes.is_some_and(|a| a.is_log_append_time() != info.header.attributes.is_log_append_time())
            || patch.max_timestamp.is_some_and(|t| t != info.header.max_timestamp);
    if !changes_times {
        return Ok(batch);
    }
    let mut bytes = BytesMut::from(&batch[..]);
    recrc_header(&mut bytes, &patch)?;
    Ok(bytes.freeze())
}

fn recompress(records: &Bytes, codec: Codec, level: Option<i32>) -> Result<Bytes, RecordError> {
    recompress_at_level(&BatchView::parse(records)?, codec, level, DECOMPRESSED_BYTES_MAX)
}
