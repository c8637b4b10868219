//! Kafka's names of files and directories.

use std::path::{Path, PathBuf};

/// Longest directory name that file systems take.
const NAME_BYTES_MAX: usize = 255;
/// Ending of a segment file that waits to be unlinked.
pub(crate) const DELETED: &str = ".deleted";
/// Ending of a compacted segment that is being written (Kafka's name; removed at the start).
pub(crate) const CLEANED: &str = ".cleaned";
/// Ending of a compacted segment that is whole and takes the place of those it was made from, also after a crash.
pub(crate) const SWAP: &str = ".swap";
/// Ending of a partition directory that waits to be removed.
pub(crate) const DELETE_DIR: &str = "-delete";
/// Kafka's metadata log.
const CLUSTER_METADATA: &str = "__cluster_metadata";
/// Text file with the leader epochs of a partition.
pub(crate) const EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// Text file with the topic id of a partition.
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// Files that make up one segment, and the producer snapshot taken at its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum FileKind {
    Log,
    Index,
    TimeIndex,
    TxnIndex,
    Snapshot,
}

impl FileKind {
    /// Files that go away with a segment; the log file first, so that a half-done deletion leaves only orphans that the next start removes.
    pub(crate) const OF_SEGMENT: [FileKind; 4] =
        [FileKind::Log, FileKind::Index, FileKind::TimeIndex, FileKind::TxnIndex];

    pub(crate) const fn ending(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Index => "index",
            Self::TimeIndex => "timeindex",
            Self::TxnIndex => "txnindex",
            Self::Snapshot => "snapshot",
        }
    }

    fn from_ending(ending: &str) -> Option<Self> {
        [Self::Log, Self::Index, Self::TimeIndex, Self::TxnIndex, Self::Snapshot]
            .into_iter()
            .find(|kind| kind.ending() == ending)
    }
}

/// `%020d.<ending>` in `dir`.
pub(crate) fn segment_file(dir: &Path, base: i64, kind: FileKind) -> PathBuf {
    dir.join(format!("{base:020}.{}", kind.ending()))
}

/// As [`segment_file`], with one more ending.
pub(crate) fn segment_file_as(dir: &Path, base: i64, kind: FileKind, ending: &str) -> PathBuf {
    dir.join(format!("{base:020}.{}{ending}", kind.ending()))
}

/// Base offset and kind of a segment file's name.
pub(crate) fn parse_segment_file(name: &str) -> Option<(i64, FileKind)> {
    let (base, ending) = name.split_once('.')?;
    if base.len() != 20 || !base.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((base.parse().ok()?, FileKind::from_ending(ending)?))
}

/// `<topic>-<partition>`.
pub(crate) fn partition_dir(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Topic and partition of a directory name; `None` for names that are not a partition's, and for those marked for deletion.
pub(crate) fn parse_partition_dir(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    if topic.is_empty() || partition.is_empty() || !partition.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((topic, partition.parse().ok()?))
}

/// As `parse_partition_dir`, without the metadata log that Kafka keeps beside the partitions: it is not a broker's to open.
pub fn partition_of_dir(name: &str) -> Option<(&str, i32)> {
    parse_partition_dir(name).filter(|(topic, _)| *topic != CLUSTER_METADATA)
}

/// `<topic>-<partition>.<32 hex digits>-delete`, the topic cut so that the name stays legal. `unique` tells deletions of one name apart.
pub(crate) fn delete_dir(topic: &str, partition: i32, unique: u128) -> String {
    let tail = format!("-{partition}.{unique:032x}{DELETE_DIR}");
    let room = NAME_BYTES_MAX - tail.len();
    format!("{}{tail}", &topic[..topic.len().min(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        let path = segment_file(Path::new("/d/t-0"), 4711, FileKind::TimeIndex);
        assert_eq!(path, Path::new("/d/t-0/00000000000000004711.timeindex"));
        assert_eq!(parse_segment_file("00000000000000004711.log"), Some((4711, FileKind::Log)));
        for odd in [
            "4711.log",
            "00000000000000004711.log.deleted",
            "00000000000000004711.swap",
            "-0000000000000000001.log",
            "x",
        ] {
            assert_eq!(parse_segment_file(odd), None, "{odd}");
        }
        assert_eq!(parse_partition_dir("a-b.c-12"), Some(("a-b.c", 12)));
        assert_eq!(parse_partition_dir("topic-0.0123-delete"), None);
        assert_eq!(parse_partition_dir("-1"), None);
        assert_eq!((partition_of_dir("__cluster_metadata-0"), partition_of_dir("a-0")), (None, Some(("a", 0))));
    }

    #[test]
    fn a_long_topic_is_cut_in_its_deletion_name() {
        let name = delete_dir(&"t".repeat(249), 7, 5);
        assert_eq!(name.len(), 255);
        assert!(name.ends_with("-7.00000000000000000000000000000005-delete"));
        assert_eq!(parse_partition_dir(&name), None);
    }
}
