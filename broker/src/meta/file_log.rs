//! The metadata log of a quorum of one: a file of checksummed lines and, once it is long, a snapshot.
//!
//! A group of records that must stand or fall together is one line. `fdatasync` before `propose` returns; a torn last
//! line is cut off at start. A snapshot is written beside, fsynced and renamed, then the log starts anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MetaError, MetaImage, MetaRecord, MetadataLog};

/// Folder inside the first log directory; its name cannot be that of a partition.
const FOLDER: &str = "causeway-meta";
/// Lines in the log before the image is written out instead: bounds the time a start takes to read them.
const LINES_MAX: usize = 5_000;

/// See the module.
#[derive(Debug)]
pub struct FileLog {
    folder: PathBuf,
    file: File,
    lines: usize,
}

impl FileLog {
    /// Whether a data directory holds a metadata log.
    pub fn exists(log_dir: &Path) -> bool {
        log_dir.join(FOLDER).is_dir()
    }

    /// Opens or creates the log under a data directory and reads what it holds.
    pub fn open(log_dir: &Path) -> Result<(Self, MetaImage), MetaError> {
        let folder = log_dir.join(FOLDER);
        fs::create_dir_all(&folder).map_err(io_error(&folder))?;
        let mut image = MetaImage::default();
        let snapshot = folder.join("snapshot");
        if snapshot.exists() {
            // Written whole before it got its name: any damage is damage.
            replay(&snapshot, &mut image, true)?;
        }
        let path = folder.join("log");
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io_error(&path))?;
        let (good, lines) = replay(&path, &mut image, false)?;
        if file.metadata().map_err(io_error(&path))?.len() != good {
            tracing::warn!(path = %path.display(), bytes = good, "cut a torn record off the metadata log");
            file.set_len(good).map_err(io_error(&path))?;
            file.sync_all().map_err(io_error(&path))?;
        }
        sync_dir(&folder)?;
        Ok((Self { folder, file, lines }, image))
    }

    fn write_snapshot(&mut self, image: &MetaImage) -> Result<(), MetaError> {
        let (temporary, target) = (self.folder.join("snapshot.tmp"), self.folder.join("snapshot"));
        let mut out = File::create(&temporary).map_err(io_error(&temporary))?;
        out.write_all(&line(image.version, &image.snapshot())).map_err(io_error(&temporary))?;
        out.sync_all().map_err(io_error(&temporary))?;
        fs::rename(&temporary, &target).map_err(io_error(&target))?;
        sync_dir(&self.folder)?;
        // A crash before this leaves old lines behind the snapshot: their versions say that it holds them already.
        self.file.set_len(0).map_err(io_error(&target))?;
        self.file.sync_all().map_err(io_error(&target))?;
        self.lines = 0;
        Ok(())
    }
}

impl MetadataLog for FileLog {
    fn propose(&mut self, image: &MetaImage, records: &[MetaRecord]) -> Result<(), MetaError> {
        if self.lines >= LINES_MAX {
            self.write_snapshot(image)?;
        }
        let path = self.folder.join("log");
        let before = self.file.metadata().map_err(io_error(&path))?.len();
        if let Err(source) = self.file.write_all(&line(image.version, records)) {
            // A part of the line may be there: taken back, the log is whole again.
            self.file.set_len(before).map_err(io_error(&path))?;
            return Err(MetaError::NotWritten { path, source });
        }
        self.file.sync_data().map_err(io_error(&path))?;
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

/// Applies a file's lines; returns the length of its good part and its lines. A bad last line is tolerated unless `whole`.
fn replay(path: &Path, image: &mut MetaImage, whole: bool) -> Result<(u64, usize), MetaError> {
    let bytes = fs::read(path).map_err(io_error(path))?;
    let (mut good, mut lines) = (0, 0);
    for chunk in bytes.split_inclusive(|b| *b == b'\n') {
        let entry = chunk.strip_suffix(b"\n").and_then(parse);
        let is_last = good + chunk.len() == bytes.len();
        let Some(entry) = entry else {
            if is_last && !whole {
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

fn sync_dir(dir: &Path) -> Result<(), MetaError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(io_error(dir))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> MetaError {
    let path = path.to_owned();
    move |source| MetaError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let (mut log, image) = FileLog::open(dir.path()).unwrap();
        log.propose(&image, &[topic("a"), topic("b")]).unwrap();
        drop(log);
        let path = dir.path().join(FOLDER).join("log");
        let whole = fs::read(&path).unwrap();
        for extra in 1..40 {
            let mut torn = whole.clone();
            torn.extend_from_slice(&line(9, &[topic("torn")])[..extra]);
            fs::write(&path, &torn).unwrap();
            let (_, image) = FileLog::open(dir.path()).unwrap();
            assert_eq!(image.topics().count(), 2);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn damage_in_the_middle_is_an_error_not_a_silent_loss() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, image) = FileLog::open(dir.path()).unwrap();
        log.propose(&image, &[topic("a")]).unwrap();
        log.propose(&image, &[topic("b")]).unwrap();
        let path = dir.path().join(FOLDER).join("log");
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(FileLog::open(dir.path()), Err(MetaError::Damaged { line: 1, .. })));
    }

    #[test]
    fn a_long_log_becomes_a_snapshot() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut image) = FileLog::open(dir.path()).unwrap();
        log.lines = LINES_MAX;
        image.apply(&topic("kept"));
        log.propose(&image, &[topic("new")]).unwrap();
        assert_eq!(log.lines, 1);
        let (_, image) = FileLog::open(dir.path()).unwrap();
        assert_eq!(image.topics().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["kept", "new"]);
    }

    #[test]
    fn lines_left_behind_a_snapshot_are_not_applied_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, mut image) = FileLog::open(dir.path()).unwrap();
        let path = dir.path().join(FOLDER).join("log");
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
        let (_, again) = FileLog::open(dir.path()).unwrap();
        assert_eq!(again.topic("a").unwrap().partitions.len(), 3);
        assert_eq!(again.version, image.version);
    }
}
