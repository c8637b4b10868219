//! The small text files of a log directory: offset checkpoints and the mark of a clean shutdown.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::{Disk, read_file, replace_file};
use super::error::LogError;

/// Offset up to which recovery need not look.
pub(crate) const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";
/// High watermarks.
pub(crate) const HIGH_WATERMARKS: &str = "replication-offset-checkpoint";
/// Log start offsets that lie inside a segment.
pub(crate) const LOG_STARTS: &str = "log-start-offset-checkpoint";
/// Offsets up to which logs were compacted.
pub(crate) const CLEANED_TO: &str = "cleaner-offset-checkpoint";
/// Present only between a clean stop and the next start.
pub(crate) const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// One offset per partition.
pub(crate) type Offsets = BTreeMap<(String, i32), i64>;

/// Replaces a checkpoint file: version 0, count, one `topic partition offset` per line.
pub(crate) fn write_offsets(disk: &dyn Disk, path: &Path, offsets: &Offsets) -> Result<(), LogError> {
    let mut text = format!("0\n{}\n", offsets.len());
    for ((topic, partition), offset) in offsets {
        text.push_str(&format!("{topic} {partition} {offset}\n"));
    }
    replace_file(disk, path, text.as_bytes())
}

/// Reads a checkpoint file. Missing or damaged: empty, which only costs time (recovery from the start of the log) or a fall-back the caller knows.
pub(crate) fn read_offsets(disk: &dyn Disk, path: &Path) -> Result<Offsets, LogError> {
    Ok(read_sound_offsets(disk, path)?.unwrap_or_default())
}

/// As [`read_offsets`]; `None` if the file is missing or damaged.
pub(crate) fn read_sound_offsets(disk: &dyn Disk, path: &Path) -> Result<Option<Offsets>, LogError> {
    let Some(raw) = read_file(disk, path)? else { return Ok(None) };
    let parsed = String::from_utf8(raw).ok().and_then(|text| parse_offsets(&text));
    if parsed.is_none() {
        tracing::warn!(path = %path.display(), "checkpoint file is damaged, going on without it");
    }
    Ok(parsed)
}

fn parse_offsets(text: &str) -> Option<Offsets> {
    let mut lines = text.lines();
    if lines.next()? != "0" {
        return None;
    }
    let count: usize = lines.next()?.parse().ok()?;
    let mut offsets = Offsets::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let key = (words.next()?.to_owned(), words.next()?.parse().ok()?);
        offsets.insert(key, words.next()?.parse().ok()?);
    }
    (offsets.len() == count).then_some(offsets)
}

/// Content of [`CLEAN_SHUTDOWN`] (KIP-966).
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct CleanShutdown {
    version: i32,
    broker_epoch: i64,
}

/// Marks a clean stop.
pub(crate) fn write_clean_shutdown(disk: &dyn Disk, dir: &Path, broker_epoch: i64) -> Result<(), LogError> {
    let content = serde_json::to_vec(&CleanShutdown { version: 0, broker_epoch }).expect("two numbers are JSON");
    replace_file(disk, &dir.join(CLEAN_SHUTDOWN), &content)
}

/// Takes the mark away, so that a crash from here on is seen as one. `None`: the last stop was not clean. Otherwise the broker epoch then (-1 if an older Kafka left
/// it out).
pub(crate) fn take_clean_shutdown(disk: &dyn Disk, dir: &Path) -> Result<Option<i64>, LogError> {
    let path = dir.join(CLEAN_SHUTDOWN);
    let Some(raw) = read_file(disk, &path)? else { return Ok(None) };
    disk.remove_file(&path).map_err(|error| LogError::io("remove", &path, &error))?;
    disk.sync_dir(dir).map_err(|error| LogError::io("flush", dir, &error))?;
    let epoch = serde_json::from_slice::<CleanShutdown>(&raw).map_or(-1, |mark| mark.broker_epoch);
    Ok(Some(epoch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::RealDisk;

    #[test]
    fn offsets_are_written_as_kafka_does_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HIGH_WATERMARKS);
        assert_eq!(read_offsets(&RealDisk, &path).unwrap(), Offsets::new(), "a missing file is an empty one");
        let offsets = Offsets::from([(("b".to_owned(), 0), 7), (("a".to_owned(), 12), 3)]);
        write_offsets(&RealDisk, &path, &offsets).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n2\na 12 3\nb 0 7\n");
        assert_eq!(read_offsets(&RealDisk, &path).unwrap(), offsets);
        assert!(!dir.path().join("replication-offset-checkpoint.tmp").exists());
    }

    #[test]
    fn a_damaged_checkpoint_is_an_empty_one() {
        for bad in ["", "x", "1\n0\n", "0\n2\na 0 1\n", "0\n1\na 0\n", "0\n1\na 0 x\n"] {
            assert_eq!(parse_offsets(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_clean_mark_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(take_clean_shutdown(&RealDisk, dir.path()).unwrap(), None);
        write_clean_shutdown(&RealDisk, dir.path(), 42).unwrap();
        let text = std::fs::read_to_string(dir.path().join(CLEAN_SHUTDOWN)).unwrap();
        assert_eq!(text, r#"{"version":0,"brokerEpoch":42}"#);
        assert_eq!(take_clean_shutdown(&RealDisk, dir.path()).unwrap(), Some(42));
        assert_eq!(take_clean_shutdown(&RealDisk, dir.path()).unwrap(), None);
    }
}
