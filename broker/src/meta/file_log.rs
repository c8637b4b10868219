//! The metadata log of a quorum of one: a file of checksummed lines and, once it is long, a snapshot.
//!
//! A group of records that must stand or fall together is one line. `fdatasync` before `propose` returns; a torn last
//! line is cut off at start. A snapshot is written beside, fsynced and renamed, then the log starts anew.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{MetaError, MetaImage, MetaRecord, MetadataLog};
use crate::log::{CLEAN_SHUTDOWN, Disk, DiskFile, LogError, read_file, replace_file, write_all_at};

/// Files in a log directory. No folder: Kafka, given the directory again, would refuse one whose name is not a partition's.
const LOG: &str = "causeway-meta.log";
const SNAPSHOT: &str = "causeway-meta.snapshot";
/// Where they were first: a folder with `log` and `snapshot`.
const FORMER_FOLDER: &str = "causeway-meta";
/// Lines in the log before the image is written out instead: bounds the time a start takes to read them.
const LINES_MAX: usize = 5_000;

/// See the module.
#[derive(Debug)]
pub struct FileLog {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    /// Where the next line goes.
    len: u64,
    lines: usize,
}

impl FileLog {
    /// Whether a data directory holds a metadata log.
    pub fn exists(disk: &dyn Disk, log_dir: &Path) -> bool {
        let entries = disk.list(log_dir).unwrap_or_default();
        entries.iter().any(|entry| entry.name == LOG || (entry.is_dir && entry.name == FORMER_FOLDER))
    }

    /// Opens or creates the log under a data directory and reads what it holds.
    pub fn open(disk: Arc<dyn Disk>, log_dir: &Path) -> Result<(Self, MetaImage), MetaError> {
        let folder = log_dir.to_owned();
        move_out_of_folder(&*disk, log_dir)?;
        let mut image = MetaImage::default();
        let snapshot = folder.join(SNAPSHOT);
        if let Some(content) = read_file(&*disk, &snapshot)? {
            // Written whole before it got its name: any damage is damage.
            replay(&snapshot, &content, &mut image, true, &|_| false)?;
        }
        let path = folder.join(LOG);
        let file = disk.open(&path, true).map_err(io_error(&path))?;
        let content = read_file(&*disk, &path)?.unwrap_or_default();
        let entries = disk.list(log_dir).map_err(io_error(log_dir))?;
        let clean = entries.iter().any(|entry| entry.name == CLEAN_SHUTDOWN);
        // A write that a crash tore has no end, as a rule; after a clean stop there was none.
        let torn = |line: &[u8]| match line {
            [.., b'\n'] => !clean,
            [.., _] => parse(&line[..line.len() - 1]).is_none(),
            [] => true,
        };
        let (good, lines) = replay(&path, &content, &mut image, false, &torn)?;
        if content.len() as u64 != good {
            tracing::warn!(path = %path.display(), bytes = good, "cut a torn record off the metadata log");
            file.set_len(good).map_err(io_error(&path))?;
            file.sync().map_err(io_error(&path))?;
        }
        disk.sync_dir(&folder).map_err(io_error(&folder))?;
        Ok((Self { folder, disk, file, len: good, lines }, image))
    }

    fn write_snapshot(&mut self, image: &MetaImage) -> Result<(), MetaError> {
        let target = self.folder.join(SNAPSHOT);
        match replace_file(&*self.disk, &target, &line(image.version, &image.snapshot())) {
            // The old files are as they were.
            Err(LogError::NoSpace { path }) => {
                return Err(MetaError::NotWritten { path, source: io::ErrorKind::StorageFull.into() });
            }
            written => written?,
        }
        // A crash before this leaves old lines behind the snapshot: their versions say that it holds them already.
        self.file.set_len(0).map_err(io_error(&target))?;
        self.file.sync().map_err(io_error(&target))?;
        (self.len, self.lines) = (0, 0);
        Ok(())
    }
}

impl MetadataLog for FileLog {
    fn propose(&mut self, image: &MetaImage, records: &[MetaRecord]) -> Result<(), MetaError> {
        if self.lines >= LINES_MAX {
            self.write_snapshot(image)?;
        }
        let path = self.folder.join(LOG);
        let line = line(image.version, records);
        if let Err(source) = write_all_at(&*self.file, &mut [IoSlice::new(&line)], self.len) {
            // A part of the line may be there: taken back, the log is whole again.
            self.file.set_len(self.len).map_err(io_error(&path))?;
            return Err(MetaError::NotWritten { path, source });
        }
        // Whether the line is on the disk after a flush that failed nobody knows: the caller closes the log, and the directory has failed.
        self.file.sync().map_err(io_error(&path))?;
        self.len += line.len() as u64;
        self.lines += 1;
        Ok(())
    }
}

/// Records that stand or fall together, and how many records were applied before them.
#[derive(Serialize, Deserialize)]
struct Entry {
    at: u64,
    records: Vec<MetaRecord>,
}

fn line(at: u64, records: &[MetaRecord]) -> Vec<u8> {
    let entry = Entry { at, records: records.to_vec() };
    let json = serde_json::to_string(&entry).expect("records are plain data");
    format!("{:08x} {json}\n", crc32c::crc32c(json.as_bytes())).into_bytes()
}

fn parse(line: &[u8]) -> Option<Entry> {
    let text = std::str::from_utf8(line).ok()?;
    let (crc, json) = text.split_once(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// Applies a file's lines; returns the length of its good part and its lines. A bad last line is tolerated if it may be `torn`.
fn replay(
    path: &Path,
    bytes: &[u8],
    image: &mut MetaImage,
    whole: bool,
    torn: &dyn Fn(&[u8]) -> bool,
) -> Result<(u64, usize), MetaError> {
    let (mut good, mut lines) = (0, 0);
    for chunk in bytes.split_inclusive(|b| *b == b'\n') {
        let entry = chunk.strip_suffix(b"\n").and_then(parse);
        let is_last = good + chunk.len() == bytes.len();
        let Some(entry) = entry else {
            if is_last && torn(chunk) {
                break;
            }
            return Err(MetaError::Damaged { path: path.to_owned(), line: lines + 1 });
        };
        if whole || entry.at >= image.version {
            for record in &entry.records {
                image.apply(record);
            }
            if whole {
                image.version = entry.at;
            }
        }
        good += chunk.len();
        lines += 1;
    }
    Ok((good as u64, lines))
}

/// The snapshot first: a crash in between leaves the log where it was, to be moved again.
fn move_out_of_folder(disk: &dyn Disk, log_dir: &Path) -> Result<(), MetaError> {
    let former = log_dir.join(FORMER_FOLDER);
    let entries = disk.list(log_dir).map_err(io_error(log_dir))?;
    if !entries.iter().any(|entry| entry.is_dir && entry.name == FORMER_FOLDER) {
        return Ok(());
    }
    for (from, to) in [("snapshot", SNAPSHOT), ("log", LOG)] {
        match disk.rename(&former.join(from), &log_dir.join(to)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&former)(error)),
            _ => disk.sync_dir(log_dir).map_err(io_error(log_dir))?,
        }
    }
    disk.remove_dir_all(&former).map_err(io_error(&former))?;
    disk.sync_dir(log_dir).map_err(io_error(log_dir))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> MetaError {
    let path = path.to_owned();
    move |source| MetaError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::log::RealDisk;

    fn open(dir: &Path) -> Result<(FileLog, MetaImage), MetaError> {
        FileLog::open(Arc::new(RealDisk), dir)
    }

    fn topic(name: &str) -> MetaRecord {
        MetaRecord::Topic {
            name: name.into(),
            id: "AAAAAAAAAAAAAAAAAAAAAQ".into(),
            partitions: vec![vec![1]],
            configs: Default::default(),
        }
    }

    #[test]
    fn what_was_proposed_is_there_after_a_restart_and_a_torn_tail_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, image) = open(dir.path()).unwrap();
        log.propose(&image, &[topic("a"), topic("b")]).unwrap();
        drop(log);
        let path = dir.path().join(LOG);
        let whole = fs::read(&path).unwrap();
        for extra in 1..40 {
            let mut torn = whole.clone();
            torn.extend_from_slice(&line(9, &[topic("torn")])[..extra]);
            fs::write(&path, &torn).unwrap();
            let (_, image) = open(dir.path()).unwrap();
            assert_eq!(image.topics().count(), 2);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn metadata_in_the_former_folder_is_found_and_moved() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, image) = open(dir.path()).unwrap();
        log.propose(&image, &[topic("a")]).unwrap();
        drop(log);
        let folder = dir.path().join(FORMER_FOLDER);
        fs::create_dir(&folder).unwrap();
        fs::rename(dir.path().join(LOG), folder.join("log")).unwrap();
        assert!(FileLog::exists(&RealDisk, dir.path()));
        assert_eq!(open(dir.path()).unwrap().1.topics().count(), 1);
        assert!(!folder.exists() && dir.path().join(LOG).exists());
    }

    #[test]
    fn damage_in_the_middle_is_an_error_not_a_silent_loss() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, image) = open(dir.path()).unwrap();
        log.propose(&image, &[topic("a")]).unwrap();
        log.propose(&image, &[topic("b")]).unwrap();
        let path = dir.path().join(LOG);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(open(dir.path()), Err(MetaError::Damaged { line: 1, .. })));
    }

    #[test]
    fn a_long_log_becomes_a_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut image) = open(dir.path()).unwrap();
        log.lines = LINES_MAX;
        image.apply(&topic("kept"));
        log.propose(&image, &[topic("new")]).unwrap();
        assert_eq!(log.lines, 1);
        let (_, image) = open(dir.path()).unwrap();
        assert_eq!(image.topics().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["kept", "new"]);
    }

    #[test]
    fn lines_left_behind_a_snapshot_are_not_applied_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut image) = open(dir.path()).unwrap();
        let path = dir.path().join(LOG);
        for record in [topic("a"), MetaRecord::Partitions { name: "a".into(), added: vec![vec![1]] }] {
            log.propose(&image, std::slice::from_ref(&record)).unwrap();
            image.apply(&record);
        }
        log.write_snapshot(&image).unwrap();
        let added = MetaRecord::Partitions { name: "a".into(), added: vec![vec![1]] };
        log.propose(&image, std::slice::from_ref(&added)).unwrap();
        let newer = fs::read(&path).unwrap();
        image.apply(&added);
        log.write_snapshot(&image).unwrap();
        fs::write(&path, newer).unwrap();
        let (_, again) = open(dir.path()).unwrap();
        assert_eq!(again.topic("a").unwrap().partitions.len(), 3);
        assert_eq!(again.version, image.version);
    }
}
