//! `meta.properties` of a log directory and `partition.metadata` of a partition.

use std::path::Path;

use causeway_wire::Uuid;

use super::disk::{Disk, read_file, replace_file};
use super::error::LogError;
use super::names::PARTITION_METADATA;

/// File name in each log directory.
pub(crate) const META_PROPERTIES: &str = "meta.properties";
const VERSION: &str = "1";
/// Begins the first line of a file that we wrote, a comment to Kafka: the CRC-32C of the lines after it.
const CHECKSUM: &str = "#crc32c=";

/// Whose log directory it is (KIP-866: one id per directory).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: i32,
    /// `directory.id`.
    pub directory_id: Uuid,
}

impl MetaProperties {
    /// Reads the file; `None` if the directory has not been formatted.
    ///
    /// # Errors
    /// The file cannot be read, or lacks something.
    pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, LogError> {
        let path = dir.join(META_PROPERTIES);
        let Some(raw) = read_file(disk, &path)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&raw);
        if let Some((told, rest)) = text.strip_prefix(CHECKSUM).and_then(|text| text.split_once('\n'))
            && told != checksum(rest)
        {
            let what = format!(
                "it is not what was written; check cluster.id, node.id and directory.id, then remove the line {CHECKSUM}"
            );
            return Err(LogError::Corrupt { path, what });
        }
        let value = |key: &str| {
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', '!']));
            lines
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim())
        };
        let corrupt = |what: &str| LogError::Corrupt { path: path.clone(), what: what.to_owned() };
        if value("version") != Some(VERSION) {
            return Err(corrupt("version is not 1"));
        }
        let cluster_id = value("cluster.id").ok_or_else(|| corrupt("no cluster.id"))?.to_owned();
        let node_id = value("node.id").and_then(|id| id.parse().ok()).ok_or_else(|| corrupt("no node.id"))?;
        // Optional before KIP-866.
        let directory_id = value("directory.id").and_then(|id| id.parse().ok()).unwrap_or(Uuid::ZERO);
        Ok(Some(Self { cluster_id, node_id, directory_id }))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<(), LogError> {
        let Self { cluster_id, node_id, directory_id } = self;
        let text =
            format!("cluster.id={cluster_id}\ndirectory.id={directory_id}\nnode.id={node_id}\nversion={VERSION}\n");
        let text = format!("{CHECKSUM}{}\n{text}", checksum(&text));
        replace_file(disk, &dir.join(META_PROPERTIES), text.as_bytes())
    }
}

fn checksum(text: &str) -> String {
    format!("{:08x}", crc32c::crc32c(text.as_bytes()))
}

/// Writes a partition's topic id.
pub(crate) fn write_topic_id(disk: &dyn Disk, dir: &Path, topic_id: Uuid) -> Result<(), LogError> {
    replace_file(disk, &dir.join(PARTITION_METADATA), format!("version: 0\ntopic_id: {topic_id}").as_bytes())
}

/// Reads a partition's topic id; zero if there is none.
pub(crate) fn read_topic_id(disk: &dyn Disk, dir: &Path) -> Result<Uuid, LogError> {
    let raw = read_file(disk, &dir.join(PARTITION_METADATA))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&raw);
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id:"));
    Ok(id.and_then(|id| id.trim().parse().ok()).unwrap_or(Uuid::ZERO))
}

/// The topic id of a partition's directory on the real disk; zero if there is none, or it cannot be read.
pub fn topic_id_of_dir(dir: &Path) -> Uuid {
    read_topic_id(&super::RealDisk, dir).unwrap_or(Uuid::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::RealDisk;

    #[test]
    fn meta_properties_read_back_and_kafkas_own_are_understood() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(MetaProperties::read(&RealDisk, dir.path()).unwrap(), None);
        let meta = MetaProperties { cluster_id: "abc".into(), node_id: 3, directory_id: Uuid([7; 16]) };
        meta.write(&RealDisk, dir.path()).unwrap();
        assert_eq!(MetaProperties::read(&RealDisk, dir.path()).unwrap(), Some(meta));
        let kafkas = "#\n#Sat Nov 21 03:00:00 UTC 2026\ncluster.id=x=y\nnode.id=1\nversion=1\n";
        std::fs::write(dir.path().join(META_PROPERTIES), kafkas).unwrap();
        let read = MetaProperties::read(&RealDisk, dir.path()).unwrap().unwrap();
        assert_eq!((read.cluster_id.as_str(), read.node_id, read.directory_id), ("x=y", 1, Uuid::ZERO));
        std::fs::write(dir.path().join(META_PROPERTIES), "version=0\n").unwrap();
        assert!(matches!(MetaProperties::read(&RealDisk, dir.path()), Err(LogError::Corrupt { .. })));
    }

    #[test]
    fn the_topic_id_is_written_as_kafka_does() {
        let dir = tempfile::tempdir().unwrap();
        let id = Uuid([9; 16]);
        write_topic_id(&RealDisk, dir.path(), id).unwrap();
        let text = std::fs::read_to_string(dir.path().join(PARTITION_METADATA)).unwrap();
        assert_eq!(text, format!("version: 0\ntopic_id: {id}"));
        assert_eq!(read_topic_id(&RealDisk, dir.path()).unwrap(), id);
    }
}
