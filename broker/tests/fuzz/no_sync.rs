//! The machine's file system without its flushes: the fuzzer changes metadata thousands of times a second, and no power is lost here.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use causeway_broker::log::{DirEntry, DirLock, Disk, DiskFile, RealDisk, Stat};

#[derive(Debug)]
pub struct NoSync;

#[derive(Debug)]
struct File(Arc<dyn DiskFile>);

impl DiskFile for File {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.0.read_at(buf, pos)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        self.0.write_at(bufs, pos)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for NoSync {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File(RealDisk.open(path, create)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        RealDisk.list(path)
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        RealDisk.stat(path)
    }

    fn set_modified(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        RealDisk.set_modified(path, modified_ms)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Option<DirLock>> {
        RealDisk.lock_dir(dir)
    }
}
