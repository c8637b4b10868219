//! A bounded set of open files. Every file is reached through it, so ten thousand idle partitions hold no descriptor.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::{Disk, DiskFile};
use super::error::LogError;
use super::names::{FileKind, segment_file};
use super::partition::Log;

/// Open files kept per log directory: half of the usual soft limit of 1024 descriptors, the rest is for sockets. A file in use (being read, or waiting for its
/// flush) stays open beyond its eviction until its user drops it.
const HANDLES_MAX: usize = 512;

/// A file by log (unique number in this process), generation of its files, segment and kind: cheaper to hash than a path. The generation keeps a file that
/// was opened just before its name went to another one from being taken for that.
pub(crate) type HandleKey = (u64, u64, i64, FileKind);

#[derive(Debug, Default)]
struct Open {
    files: HashMap<HandleKey, (Arc<dyn DiskFile>, u64)>,
    clock: u64,
}

/// Least-recently-used cache of open files.
#[derive(Debug)]
pub(crate) struct Handles {
    open: Mutex<Open>,
    max: usize,
}

impl Default for Handles {
    fn default() -> Self {
        Self { open: Mutex::default(), max: HANDLES_MAX }
    }
}

impl Handles {
    /// The open file, opened now if it is not; `path` is asked only then.
    pub(crate) fn get(
        &self,
        disk: &dyn Disk,
        key: HandleKey,
        create: bool,
        path: impl FnOnce() -> PathBuf,
    ) -> io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let now = open.clock;
        if let Some((file, used)) = open.files.get_mut(&key) {
            *used = now;
            return Ok(file.clone());
        }
        drop(open);
        let file = disk.open(&path(), create)?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.files.len() >= self.max {
            // A scan of 512 entries on a miss costs less than the open itself.
            if let Some(oldest) = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key) {
                open.files.remove(&oldest);
            }
        }
        open.files.insert(key, (file.clone(), now));
        Ok(file)
    }

    /// Forgets the files of one log that `gone` names, because they were renamed or removed.
    pub(crate) fn forget(&self, log: u64, gone: impl Fn(i64) -> bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.files.retain(|(id, _, base, _), _| *id != log || !gone(*base));
    }
}

impl Log {
    /// The open log file of a segment; only under the log's lock.
    pub(crate) fn log_file(&self, dir: &Path, base: i64) -> Result<Arc<dyn DiskFile>, LogError> {
        self.open_file(self.generation(), dir, base, FileKind::Log)
    }

    /// An open file of a segment as it was in a generation of the log's files.
    pub(crate) fn open_file(
        &self,
        generation: u64,
        dir: &Path,
        base: i64,
        kind: FileKind,
    ) -> Result<Arc<dyn DiskFile>, LogError> {
        let path = || segment_file(dir, base, kind);
        let opened = self.env.handles.get(&*self.env.disk, (self.id, generation, base, kind), false, path);
        opened.map_err(|error| LogError::io("open", &path(), &error))
    }

    /// Generation of the log's files.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Names of this log's files are about to go to other files: whoever reads without the lock finds out and reads again.
    pub(crate) fn begin_generation(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.env.handles.forget(self.id, |_| true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::RealDisk;

    #[test]
    fn l7_open_files_stay_bounded_and_the_oldest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let handles = Handles { max: 2, ..Handles::default() };
        let get = |base: i64, create: bool| {
            handles.get(&RealDisk, (1, 0, base, FileKind::Log), create, || dir.path().join(base.to_string()))
        };
        get(1, true).unwrap();
        get(2, true).unwrap();
        get(1, false).unwrap();
        get(3, true).unwrap();
        let open = handles.open.lock().unwrap();
        let mut bases: Vec<i64> = open.files.keys().map(|key| key.2).collect();
        bases.sort_unstable();
        assert_eq!(bases, [1, 3], "2 was used least recently");
        drop(open);
        handles.forget(1, |base| base == 3);
        std::fs::remove_file(dir.path().join("3")).unwrap();
        assert_eq!(get(3, false).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
