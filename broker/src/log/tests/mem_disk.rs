//! A disk in memory that can lose power at any operation, fill up, and fail.
//!
//! After a power cut, whatever was not flushed may be there or not, sector by sector and name by name, in any order: harsher than real disks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::log::{DirEntry, DirLock, Disk, DiskFile, Stat};

const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Inode {
    now: Vec<u8>,
    flushed: Vec<u8>,
}

type Names = BTreeMap<PathBuf, Arc<Mutex<Inode>>>;

#[derive(Debug, Default)]
struct World {
    dirs: BTreeSet<PathBuf>,
    names: Names,
    flushed_names: Names,
    /// Changing operations so far.
    ops: u64,
    /// Cut the power before this operation, with this seed for what is lost.
    cut: Option<(u64, u64)>,
    image: Option<Box<World>>,
    faults: Faults,
    hit: Option<Hit>,
    /// A rename takes both names along or neither, as file systems with a journal do; without, a power cut may also lose both.
    atomic_renames: bool,
    /// Changes of names since their directory was flushed.
    pending: Vec<NameChange>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Made(PathBuf, Arc<Mutex<Inode>>),
    Removed(PathBuf),
    Renamed(PathBuf, PathBuf),
}

impl NameChange {
    fn parent(&self) -> Option<&Path> {
        match self {
            Self::Made(path, _) | Self::Removed(path) | Self::Renamed(_, path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Self::Made(path, inode) => {
                names.insert(path.clone(), inode.clone());
            }
            Self::Removed(path) => {
                names.remove(path);
            }
            Self::Renamed(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

/// What to do wrong; counters count down to the failing call.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    /// Bytes that can still be written.
    pub space: Option<usize>,
    /// The n-th write from now on fails like this, after half of its bytes.
    pub write: Option<(u32, io::ErrorKind)>,
    /// The n-th read from now on fails.
    pub read: Option<u32>,
    /// The n-th flush of a file fails.
    pub sync: Option<u32>,
    /// Every flush takes this long.
    pub slow_sync: std::time::Duration,
    /// Every write stops after so many bytes.
    pub short: Option<usize>,
    /// The n-th shrinking of a file fails.
    pub shrink: Option<u32>,
    /// The n-th changing operation of any sort fails like this; a write only after half of its bytes.
    pub change: Option<(u32, io::ErrorKind)>,
    /// From the n-th changing operation on there is room for so many bytes, and for no new file once they are used up.
    pub full_from: Option<(u32, usize)>,
}

/// Which operation a fault of [`Faults::change`] hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    /// A flush of a file or of a directory.
    Flush,
    /// Anything else.
    Other,
}

fn due(counter: &mut Option<u32>) -> bool {
    match counter {
        Some(0) => {
            *counter = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct MemDisk(Arc<Mutex<World>>);

impl MemDisk {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Counts a changing operation; takes the image if the power is to be cut before it.
    fn step(&self) -> MutexGuard<'_, World> {
        let mut world = self.world();
        world.ops += 1;
        if let Some((at, seed)) = world.cut
            && world.ops >= at
        {
            world.cut = None;
            world.image = Some(Box::new(world.after_power_cut(seed)));
        }
        let mut full_from = world.faults.full_from.map(|(n, _)| n);
        if due(&mut full_from) {
            world.faults.space = world.faults.full_from.take().map(|(_, room)| room);
        } else if let (Some(n), Some(full)) = (full_from, &mut world.faults.full_from) {
            full.0 = n;
        }
        world
    }

    /// As [`step`](Self::step), of an operation that is done or not done.
    fn try_step(&self, what: Hit) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.step();
        world.change(what).map_or(Ok(()), |kind| Err(io::Error::new(kind, "injected")))?;
        Ok(world)
    }

    /// What the fault of [`Faults::change`] hit, if it has come.
    pub fn hit(&self) -> Option<Hit> {
        self.world().hit
    }

    /// Whether a fault that was set has not come yet.
    pub fn is_fault_pending(&self) -> bool {
        let world = self.world();
        world.faults.change.is_some() || world.faults.full_from.is_some()
    }

    /// From now on renames are atomic.
    pub fn with_atomic_renames(self) -> Self {
        self.world().atomic_renames = true;
        self
    }

    pub fn ops(&self) -> u64 {
        self.world().ops
    }

    /// Cut the power `ops` operations from now.
    pub fn cut_power_in(&self, ops: u64, seed: u64) {
        let mut world = self.world();
        world.cut = Some((world.ops + ops, seed));
    }

    /// The power is gone: nothing that comes now counts.
    pub fn is_off(&self) -> bool {
        self.world().image.is_some()
    }

    /// The disk as it is found after the power cut (which comes now if it has not come yet).
    pub fn rebooted(&self, seed: u64) -> Self {
        let mut world = self.world();
        let image = world.image.take().map_or_else(|| world.after_power_cut(seed), |image| *image);
        Self(Arc::new(Mutex::new(image)))
    }

    /// An exact copy, as after a killed process: nothing is lost.
    pub fn copied(&self) -> Self {
        let world = self.world();
        let names = world.names.iter().map(|(path, inode)| {
            let now = inode.lock().unwrap().now.clone();
            (path.clone(), Arc::new(Mutex::new(Inode { flushed: now.clone(), now })))
        });
        let names: Names = names.collect();
        let (dirs, atomic_renames) = (world.dirs.clone(), world.atomic_renames);
        let copy = World { dirs, flushed_names: names.clone(), names, atomic_renames, ..World::default() };
        Self(Arc::new(Mutex::new(copy)))
    }

    /// A copy that still knows what is not flushed, to try more than one power cut on.
    pub fn copied_with_its_cache(&self) -> Self {
        let world = self.world();
        let names = world.names.iter().map(|(path, inode)| {
            let inode = inode.lock().unwrap();
            (path.clone(), Arc::new(Mutex::new(Inode { now: inode.now.clone(), flushed: inode.flushed.clone() })))
        });
        let names: Names = names.collect();
        // A name that is not flushed is one that may be lost.
        let flushed_names =
            world.flushed_names.keys().filter_map(|path| Some((path.clone(), names.get(path)?.clone())));
        let copy = World {
            dirs: world.dirs.clone(),
            flushed_names: flushed_names.collect(),
            atomic_renames: world.atomic_renames,
            names: names.clone(),
            ..World::default()
        };
        Self(Arc::new(Mutex::new(copy)))
    }

    pub fn set_faults(&self, faults: Faults) {
        self.world().faults = faults;
    }

    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.world().names.get(path).map(|inode| inode.lock().unwrap().now.clone())
    }

    pub fn put(&self, path: &Path, content: &[u8]) {
        let inode = Arc::new(Mutex::new(Inode { now: content.to_owned(), flushed: content.to_owned() }));
        let mut world = self.world();
        world.names.insert(path.to_owned(), inode.clone());
        world.flushed_names.insert(path.to_owned(), inode);
    }

    pub fn files(&self, dir: &Path) -> Vec<PathBuf> {
        self.world().names.keys().filter(|path| path.parent() == Some(dir)).cloned().collect()
    }
}

impl World {
    /// Whether this changing operation is the one that is to fail.
    fn change(&mut self, what: Hit) -> Option<io::ErrorKind> {
        let (n, kind) = self.faults.change?;
        if n > 0 {
            self.faults.change = Some((n - 1, kind));
            return None;
        }
        (self.faults.change, self.hit) = (None, Some(what));
        Some(kind)
    }

    fn after_power_cut(&self, seed: u64) -> World {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut names = Names::new();
        if self.atomic_renames {
            let mut found = self.flushed_names.clone();
            self.pending.iter().filter(|_| rng.bool()).for_each(|change| change.apply(&mut found));
            for (path, inode) in found {
                let content = torn(&inode.lock().unwrap(), &mut rng);
                names.insert(path, Arc::new(Mutex::new(Inode { now: content.clone(), flushed: content })));
            }
            let dirs = self.dirs.clone();
            return World { dirs, flushed_names: names.clone(), names, atomic_renames: true, ..World::default() };
        }
        let all: BTreeSet<&PathBuf> = self.names.keys().chain(self.flushed_names.keys()).collect();
        for path in all {
            let either = [self.names.get(path), self.flushed_names.get(path)];
            if let Some(inode) = either[rng.usize(..2)] {
                let content = torn(&inode.lock().unwrap(), &mut rng);
                names.insert(path.clone(), Arc::new(Mutex::new(Inode { now: content.clone(), flushed: content })));
            }
        }
        World { dirs: self.dirs.clone(), flushed_names: names.clone(), names, ..World::default() }
    }
}

/// Flushed content, with any mixture of the sectors written since.
fn torn(inode: &Inode, rng: &mut fastrand::Rng) -> Vec<u8> {
    let (old, new) = (&inode.flushed, &inode.now);
    let lengths = [old.len(), new.len(), rng.usize(old.len().min(new.len())..=old.len().max(new.len()))];
    let mut content = vec![0; lengths[rng.usize(..3)]];
    for (at, sector) in content.chunks_mut(SECTOR).enumerate() {
        let source = if rng.bool() { new } else { old };
        let from = source.get(at * SECTOR..).unwrap_or_default();
        let len = from.len().min(sector.len());
        sector[..len].copy_from_slice(&from[..len]);
    }
    content
}

#[derive(Debug)]
struct MemFile {
    disk: MemDisk,
    inode: Arc<Mutex<Inode>>,
}

impl DiskFile for MemFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        if due(&mut self.disk.world().faults.read) {
            return Err(io::Error::other("injected: read failed"));
        }
        let inode = self.inode.lock().unwrap();
        let from = inode.now.get(pos as usize..).unwrap_or_default();
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        let mut world = self.disk.step();
        let mut bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        let mut inode = self.inode.lock().unwrap();
        let mut failure = world.change(Hit::Other);
        if failure.is_some() {
            bytes.truncate(bytes.len() / 2);
        }
        let faults = &mut world.faults;
        if let Some((n, kind)) = &mut faults.write {
            let mut left = Some(*n);
            if due(&mut left) {
                failure = Some(*kind);
                faults.write = None;
                bytes.truncate(bytes.len() / 2);
            } else {
                *n -= 1;
            }
        }
        bytes.truncate(faults.short.unwrap_or(usize::MAX).max(1));
        if let Some(space) = &mut faults.space {
            if *space == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.truncate(*space);
            *space -= bytes.len();
        }
        let end = pos as usize + bytes.len();
        if inode.now.len() < end {
            inode.now.resize(end, 0);
        }
        inode.now[pos as usize..end].copy_from_slice(&bytes);
        failure.map_or(Ok(bytes.len()), |kind| Err(kind.into()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.try_step(Hit::Other)?;
        let mut inode = self.inode.lock().unwrap();
        if (len as usize) < inode.now.len() && due(&mut world.faults.shrink) {
            return Err(io::Error::other("injected: cannot shrink"));
        }
        inode.now.resize(len as usize, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.inode.lock().unwrap().now.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        let slow = self.disk.world().faults.slow_sync;
        if !slow.is_zero() {
            std::thread::sleep(slow);
        }
        let mut world = self.disk.try_step(Hit::Flush)?;
        if due(&mut world.faults.sync) {
            return Err(io::Error::other("injected: flush failed"));
        }
        let mut inode = self.inode.lock().unwrap();
        inode.flushed = inode.now.clone();
        Ok(())
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let found = self.world().names.get(path).cloned();
        let inode = match found {
            Some(inode) => inode,
            None if create => {
                let mut world = self.try_step(Hit::Other)?;
                if world.faults.space == Some(0) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
                if !world.dirs.contains(&parent) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let inode = world.names.entry(path.to_owned()).or_default().clone();
                world.pending.push(NameChange::Made(path.to_owned(), inode.clone()));
                inode
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(MemFile { disk: self.clone(), inode }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.try_step(Hit::Other)?;
        world.dirs.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.try_step(Hit::Other)?;
        if world.dirs.contains(from) {
            // Directories move at once and for good; what matters here is their files.
            let moved = |path: &Path| path.strip_prefix(from).map_or(path.to_owned(), |rest| to.join(rest));
            world.dirs = world.dirs.iter().map(|path| moved(path)).collect();
            world.names =
                std::mem::take(&mut world.names).into_iter().map(|(path, inode)| (moved(&path), inode)).collect();
            world.flushed_names = std::mem::take(&mut world.flushed_names)
                .into_iter()
                .map(|(path, inode)| (moved(&path), inode))
                .collect();
            return Ok(());
        }
        let inode = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), inode);
        world.pending.push(NameChange::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.try_step(Hit::Other)?;
        world.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        world.pending.push(NameChange::Removed(path.to_owned()));
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut world = self.try_step(Hit::Other)?;
        world.dirs.retain(|dir| !dir.starts_with(path));
        world.names.retain(|name, _| !name.starts_with(path));
        world.flushed_names.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let world = self.world();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let inside = |entry: &&PathBuf| entry.parent() == Some(path);
        let dirs = world.dirs.iter().filter(inside).map(|path| DirEntry { name: name(path), is_dir: true });
        let files = world.names.keys().filter(inside).map(|path| DirEntry { name: name(path), is_dir: false });
        Ok(dirs.chain(files).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.try_step(Hit::Flush)?;
        world.flushed_names.retain(|name, _| name.parent() != Some(path));
        let here: Vec<_> = world.names.iter().filter(|(name, _)| name.parent() == Some(path)).collect();
        let here: Vec<_> = here.into_iter().map(|(name, inode)| (name.clone(), inode.clone())).collect();
        world.flushed_names.extend(here);
        world.pending.retain(|change| change.parent() != Some(path));
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let found = self.world().names.get(path).cloned();
        Ok(found.map(|inode| Stat { len: inode.lock().unwrap().now.len() as u64, modified_ms: 0 }))
    }

    fn set_modified(&self, _path: &Path, _modified_ms: i64) -> io::Result<()> {
        Ok(())
    }

    fn lock_dir(&self, _dir: &Path) -> io::Result<Option<DirLock>> {
        Ok(Some(DirLock::none()))
    }
}
