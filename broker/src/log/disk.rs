//! The only door to the file system: one small trait, so that tests can inject short writes, full disks, failing flushes and power cuts.

use std::fmt::Debug;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::error::LogError;

/// Largest small file (checkpoint, snapshot, index being checked) read whole: an index of `segment.index.bytes` = 10 MiB fits several times.
pub(crate) const SMALL_FILE_BYTES_MAX: u64 = 256 << 20;

/// Locked while a process uses the directory.
const LOCK_FILE: &str = ".lock";

/// An open file. Reads are positional; one writer at a time (the log's lock holds this).
pub trait DiskFile: Send + Sync + Debug {
    /// Reads into `buf` from `pos`; may be short, 0 at the end.
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize>;
    /// Reads into the room that `buf` has behind what it holds, from `pos`; may be short, 0 at the end.
    fn read_more(&self, buf: &mut Vec<u8>, pos: u64) -> io::Result<usize> {
        let held = buf.len();
        buf.resize(buf.capacity(), 0);
        let read = self.read_at(&mut buf[held..], pos);
        buf.truncate(held + *read.as_ref().unwrap_or(&0));
        read
    }
    /// Writes a prefix of `bufs` at `pos`; returns the bytes written.
    fn write_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;
    /// Makes the data, and the size, survive a power cut (fdatasync).
    fn sync(&self) -> io::Result<()>;
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// File name without the directory.
    pub name: String,
    /// Is itself a directory.
    pub is_dir: bool,
}

/// Size and age of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub len: u64,
    /// Last change of the content, ms since 1970.
    pub modified_ms: i64,
}

/// The file operations that the log uses.
pub trait Disk: Send + Sync + Debug {
    /// Opens for reading and writing; `create` makes the file if it is not there.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes the directory and its parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all it holds.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes names (creations, renames, removals) in the directory survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Size and age; `None` if there is no such file.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// Sets the time of a file's last change, ms since 1970.
    fn set_modified(&self, path: &Path, modified_ms: i64) -> io::Result<()>;
    /// Takes the directory for this process alone, until the lock is dropped; `None` if another one has it.
    fn lock_dir(&self, dir: &Path) -> io::Result<Option<DirLock>>;
}

/// Holds a log directory for this process; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirLock(#[expect(dead_code, reason = "held for its lock")] Option<fs::File>);

impl DirLock {
    /// A lock that holds nothing, for disks that live in memory.
    pub fn none() -> Self {
        Self(None)
    }
}

/// The real file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let file = fs::OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Names that are not UTF-8 are never ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let modified_ms = meta.modified()?.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64);
        Ok(Some(Stat { len: meta.len(), modified_ms }))
    }

    fn set_modified(&self, path: &Path, modified_ms: i64) -> io::Result<()> {
        let time = UNIX_EPOCH + std::time::Duration::from_millis(modified_ms.max(0) as u64);
        fs::OpenOptions::new().write(true).open(path)?.set_modified(time)
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Option<DirLock>> {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(dir.join(LOCK_FILE))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DirLock(Some(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.0.read_at(buf, pos)
    }

    fn read_more(&self, buf: &mut Vec<u8>, pos: u64) -> io::Result<usize> {
        // Memory that is about to be read into need not be zeroed: a tenth of a fetch's time.
        Ok(rustix::io::pread(&self.0, rustix::buffer::spare_capacity(buf), pos)?)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, bufs, pos)?)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Fills `buf` from `pos` as far as the file goes; returns the bytes read.
pub(crate) fn read_full_at(file: &dyn DiskFile, buf: &mut [u8], pos: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], pos + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// At most `want` bytes from `pos`, as far as the file goes.
pub(crate) fn read_new(file: &dyn DiskFile, want: usize, pos: u64) -> io::Result<Vec<u8>> {
    let mut buf = Vec::with_capacity(want);
    while buf.len() < want {
        let at = pos + buf.len() as u64;
        match file.read_more(&mut buf, at) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buf.truncate(want); // a vector may have more room than was asked for
    Ok(buf)
}

/// Writes all of `bufs` at `pos`, going on after short writes.
pub(crate) fn write_all_at(file: &dyn DiskFile, mut bufs: &mut [IoSlice<'_>], mut pos: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut bufs, 0);
    while !bufs.is_empty() {
        match file.write_at(bufs, pos) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                pos += n as u64;
                IoSlice::advance_slices(&mut bufs, n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The content of a small file; `None` if it is not there.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, LogError> {
    let fail = |error: io::Error| LogError::io("read", path, &error);
    let file = match disk.open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let size = file.size().map_err(fail)?;
    if size > SMALL_FILE_BYTES_MAX {
        return Err(LogError::Corrupt {
            path: path.to_owned(),
            what: format!("{size} bytes are too many for such a file"),
        });
    }
    let mut content = vec![0; size as usize];
    let read = read_full_at(&*file, &mut content, 0).map_err(fail)?;
    content.truncate(read);
    Ok(Some(content))
}

/// Replaces a file so that a crash at any point leaves the old or the new content: temporary file, flush, rename, flush of the directory.
pub(crate) fn replace_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> Result<(), LogError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let tmp = PathBuf::from(name);
    let fail = |error: io::Error| LogError::io("write", path, &error);
    let file = disk.open(&tmp, true).map_err(fail)?;
    file.set_len(0).map_err(fail)?;
    write_all_at(&*file, &mut [IoSlice::new(content)], 0).map_err(fail)?;
    file.sync().map_err(fail)?;
    disk.rename(&tmp, path).map_err(fail)?;
    let dir = path.parent().expect("a file path has a directory");
    disk.sync_dir(dir).map_err(fail)
}
