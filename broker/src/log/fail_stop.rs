//! The disk of one log directory, on which a failed flush is final.
//!
//! After a failed fsync the kernel may have dropped the dirty pages and forgotten the failure, so a flush that works afterwards proves nothing (the
//! finding of 2018 that made PostgreSQL stop at the first one). Whoever flushes in the directory, be it a segment, a checkpoint or the metadata, goes
//! through here: none can go on by mistake.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::disk::{DirEntry, DirLock, Disk, DiskFile, Stat};
use super::flush::Failure;

/// Hands everything on and tells of flushes that failed.
#[derive(Debug)]
pub(crate) struct FailStop {
    disk: Arc<dyn Disk>,
    failure: Failure,
}

impl FailStop {
    pub(crate) fn new(disk: Arc<dyn Disk>, failure: Failure) -> Self {
        Self { disk, failure }
    }
}

#[derive(Debug)]
struct File {
    file: Arc<dyn DiskFile>,
    failure: Failure,
}

impl DiskFile for File {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.file.read_at(buf, pos)
    }

    fn read_more(&self, buf: &mut Vec<u8>, pos: u64) -> io::Result<usize> {
        self.file.read_more(buf, pos)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        self.file.write_at(bufs, pos)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync().inspect_err(|error| self.failure.report(format!("cannot flush a file: {error}")))
    }
}

impl Disk for FailStop {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, create)?;
        Ok(Arc::new(File { file, failure: self.failure.clone() }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path).inspect_err(|error| {
            // A partition that was deleted meanwhile has nothing to flush.
            if error.kind() != io::ErrorKind::NotFound {
                self.failure.report(format!("cannot flush the directory {}: {error}", path.display()));
            }
        })
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.disk.stat(path)
    }

    fn set_modified(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        self.disk.set_modified(path, modified_ms)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Option<DirLock>> {
        self.disk.lock_dir(dir)
    }
}
