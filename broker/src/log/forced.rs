//! `flush.messages` and `flush.ms`: flushes that a topic asks for where `log.flush` leaves them to an interval or to the system. With `log.flush=ack` all is
//! flushed before it is acknowledged, so there is nothing left to force.

use super::disk::DiskFile;
use super::error::LogError;
use super::names::{FileKind, segment_file};
use super::partition::{Inner, Log};
use super::{FlushPolicy, blocking};

/// The last flush that was forced, or the opening of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forced {
    pub(crate) end: i64,
    pub(crate) at_ms: i64,
}

impl Log {
    /// Flushes what was appended up to `end`, if that is `flush.messages` or more since the last time; before it is acknowledged, as Kafka does.
    pub(crate) fn flush_by_count(&self, inner: &mut Inner, file: &dyn DiskFile, end: i64) -> Result<(), LogError> {
        if end - inner.forced.end < inner.config.flush_messages {
            return Ok(());
        }
        let base = inner.active().base;
        file.sync().map_err(|error| LogError::io("flush", &segment_file(&inner.dir, base, FileKind::Log), &error))?;
        inner.forced.end = end;
        Ok(())
    }

    /// Flushes what is not flushed, if that was `flush.ms` or longer ago. Blocking. Returns whether it did.
    ///
    /// # Errors
    /// The flush failed, and with it the directory.
    pub fn flush_by_age(&self, now_ms: i64) -> Result<bool, LogError> {
        let mut inner = self.lock();
        if self.env.flusher.policy() == FlushPolicy::Ack || inner.deleted {
            return Ok(false);
        }
        self.health()?;
        let (end, due) = (self.end_offset(), inner.forced.at_ms.saturating_add(inner.config.flush_ms));
        if end == inner.forced.end {
            inner.forced.at_ms = now_ms;
            return Ok(false);
        }
        if now_ms < due {
            return Ok(false);
        }
        let (dir, base) = (inner.dir.clone(), inner.active().base);
        let file = self.log_file(&dir, base)?;
        // Appends go on meanwhile.
        drop(inner);
        let flushed = blocking(super::HAND_OVER_BYTES, || file.sync());
        flushed.map_err(|error| LogError::io("flush", &segment_file(&dir, base, FileKind::Log), &error))?;
        self.lock().forced = Forced { end, at_ms: now_ms };
        Ok(true)
    }
}
