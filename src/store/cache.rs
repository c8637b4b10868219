//! The store on disk, in sled: beta by its own words, so nothing it says is believed without a check of our own.
//!
//! Every value carries the store's generation and a CRC over key, generation, offset and content; every call runs under
//! `catch_unwind`; a folder that does not open or read is set aside and a new one begun. An append is one atomic sled batch.
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use super::{Placed, Snapshot, Stamp, StateStore, StoreError, memory::never_reset};
use crate::core::{
    ids::{ClusterId, FlowName, TopicId},
    progress,
};

/// sled's page cache: the store is read once, at a start.
const CACHE_BYTES: u64 = 16 << 20;
/// Damaged folders kept for a look; older ones are removed, so that a failing disk does not fill up.
const ASIDE_MAX: usize = 3;
/// Tells values of this layout from others.
const LAYOUT: u8 = 1;
/// layout 1, generation 8, offset 8, crc 4
const HEAD_BYTES: usize = 21;
/// The key of the stamp: progress keys start with a format version, which is never 0.
const STAMP_KEY: &[u8] = &[0];

/// A flow's store in a folder of its own.
pub struct Cache {
    folder: PathBuf,
    db: Option<sled::Db>,
    /// Drawn anew at every reset: values of an older life of the store do not count.
    generation: u64,
    stamped: bool,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("folder", &self.folder).field("open", &self.db.is_some()).finish()
    }
}

impl Cache {
    /// The store of `flow` below `dir`. Opens nothing yet: `load` does, and sets aside what does not open.
    #[must_use]
    pub fn new(dir: &Path, flow: &FlowName) -> Self {
        // flow names come from a file: whatever is not a plain name character is written as its number
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name: String =
            flow.as_str().chars().map(|c| if plain(c) { c.to_string() } else { format!("%{:x}", c as u32) }).collect();
        Cache { folder: dir.join(name), db: None, generation: 0, stamped: false }
    }

    /// The store's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn io(&self, reason: impl ToString) -> StoreError {
        StoreError::Io { path: self.folder.display().to_string(), reason: reason.to_string() }
    }

    fn damaged(&self, reason: impl ToString) -> StoreError {
        StoreError::Damaged { path: self.folder.display().to_string(), reason: reason.to_string() }
    }

    /// Runs a call into sled; a panic in there is an error like any other, and takes the store out of use.
    fn guarded<T>(&mut self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        let Some(db) = self.db.as_ref() else { return Err(self.io("not open")) };
        let result = catch_unwind(AssertUnwindSafe(|| call(db)));
        let reason = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_text(panic.as_ref()),
        };
        // an error of the disk is permanent for this handle: no later success may hide what was lost
        self.close();
        Err(self.io(reason))
    }

    fn close(&mut self) {
        if let Some(db) = self.db.take() {
            // dropping flushes, which may panic on a broken log
            let _ = catch_unwind(AssertUnwindSafe(move || drop(db)));
        }
        self.stamped = false;
    }

    fn open(&mut self) -> Result<(), StoreError> {
        if self.db.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(|e| self.io(e))?;
        let config = sled::Config::new().path(&self.folder).cache_capacity(CACHE_BYTES).flush_every_ms(None);
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => {
                self.db = Some(db);
                Ok(())
            }
            Ok(Err(error)) => Err(self.damaged(error)),
            Err(panic) => Err(self.damaged(panic_text(panic.as_ref()))),
        }
    }

    /// Renames the folder, so that it can be looked at, and forgets all but the newest few of those.
    fn set_aside(&mut self) -> Result<(), StoreError> {
        self.close();
        if !self.folder.exists() {
            return Ok(());
        }
        let parent = self.folder.parent().unwrap_or(Path::new(".")).to_path_buf();
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let prefix = format!("{name}.aside-");
        let mut asides: Vec<(u64, PathBuf)> = fs::read_dir(&parent)
            .map_err(|e| self.io(e))?
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let number = path.file_name()?.to_str()?.strip_prefix(&prefix)?.parse().ok()?;
                Some((number, path))
            })
            .collect();
        asides.sort();
        let next = asides.last().map_or(1, |(number, _)| number + 1);
        fs::rename(&self.folder, parent.join(format!("{prefix}{next}"))).map_err(|e| self.io(e))?;
        let surplus = (asides.len() + 1).saturating_sub(ASIDE_MAX);
        for (_, old) in asides.into_iter().take(surplus) {
            fs::remove_dir_all(&old).map_err(|e| self.io(e))?;
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<Option<Snapshot>, StoreError> {
        let pairs: Vec<(sled::IVec, sled::IVec)> = self.guarded(|db| db.iter().collect())?;
        let mut stamp = None;
        let mut values = Vec::with_capacity(pairs.len());
        for (key, value) in &pairs {
            let (generation, offset, content) = unseal(key, value).ok_or_else(|| self.damaged("a value's checksum"))?;
            if &key[..] == STAMP_KEY {
                let read = read_stamp(content, offset).ok_or_else(|| self.damaged("its stamp"))?;
                stamp = Some((generation, read));
            } else {
                values.push((key, generation, offset, content));
            }
        }
        let Some((generation, stamp)) = stamp else {
            return if values.is_empty() { Ok(None) } else { Err(self.damaged("values without a stamp")) };
        };
        let mut records = Vec::with_capacity(values.len());
        for (key, of, offset, content) in values {
            if of != generation || offset >= stamp.next_offset {
                return Err(self.damaged("a value of another life of this store"));
            }
            let record = progress::decode(key, Some(content)).map_err(|e| self.damaged(e))?;
            records.push(Placed { offset, record });
        }
        records.sort_by_key(|placed| placed.offset);
        self.generation = generation;
        self.stamped = true;
        Ok(Some(Snapshot { stamp, records }))
    }

    fn batch(&self, records: &[Placed], stamp: &[u8], next_offset: i64) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for Placed { offset, record } in records {
            let (key, value) = progress::encode(record);
            match value {
                Some(value) => {
                    let sealed = seal(&key, self.generation, *offset, &value);
                    batch.insert(key, sealed);
                }
                None => batch.remove(key),
            }
        }
        batch.insert(STAMP_KEY, seal(STAMP_KEY, self.generation, next_offset, stamp));
        batch
    }
}

impl StateStore for Cache {
    fn load(&mut self) -> Result<Option<Snapshot>, StoreError> {
        let result = self.open().and_then(|()| self.read_all());
        if result.is_err() {
            // whatever it was, the topic has the truth: begin a new folder, and say why
            self.set_aside()?;
            self.open()?;
        }
        result
    }

    fn reset(&mut self, stamp: &Stamp, records: &[Placed]) -> Result<(), StoreError> {
        if self.open().is_err() || self.guarded(|db| db.clear()).is_err() {
            self.set_aside()?;
            self.open()?;
        }
        self.generation = self.guarded(|db| db.generate_id())? ^ std::process::id() as u64 ^ entropy();
        let batch = self.batch(records, &write_stamp(stamp), stamp.next_offset);
        self.guarded(|db| db.apply_batch(batch))?;
        self.stamped = true;
        self.flush()
    }

    fn append(&mut self, records: &[Placed], next_offset: i64) -> Result<(), StoreError> {
        if !self.stamped {
            return Err(match self.db {
                Some(_) => never_reset(&self.folder.display().to_string()),
                None => self.io("not open"),
            });
        }
        let sealed = self.guarded(|db| db.get(STAMP_KEY))?.ok_or_else(|| self.damaged("its stamp is gone"))?;
        let (_, _, stamp) = unseal(STAMP_KEY, &sealed).ok_or_else(|| self.damaged("its stamp"))?;
        let batch = self.batch(records, stamp, next_offset);
        self.guarded(|db| db.apply_batch(batch))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.guarded(|db| db.flush()).map(|_| ())
    }

    fn size_bytes(&self) -> u64 {
        let read = self.db.as_ref().map(|db| catch_unwind(AssertUnwindSafe(|| db.size_on_disk().unwrap_or(0))));
        read.and_then(Result::ok).unwrap_or(0)
    }
}

/// Differs from process to process and from call to call, which is all a generation needs.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a text").to_owned()
}

fn seal(key: &[u8], generation: u64, offset: i64, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + content.len());
    out.push(LAYOUT);
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes());
    let crc = checksum(key, &out, content);
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(content);
    out
}

fn checksum(key: &[u8], head: &[u8], content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), head), content)
}

fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Option<(u64, i64, &'a [u8])> {
    let (head, content) = value.split_at_checked(HEAD_BYTES)?;
    let (fields, crc) = head.split_at(HEAD_BYTES - 4);
    let expected = u32::from_be_bytes(crc.try_into().ok()?);
    if fields[0] != LAYOUT || checksum(key, fields, content) != expected {
        return None;
    }
    let generation = u64::from_be_bytes(fields[1..9].try_into().ok()?);
    let offset = i64::from_be_bytes(fields[9..17].try_into().ok()?);
    Some((generation, offset, content))
}

fn write_stamp(stamp: &Stamp) -> Vec<u8> {
    [&stamp.topic_id.0[..], stamp.cluster.as_str().as_bytes()].concat()
}

fn read_stamp(content: &[u8], next_offset: i64) -> Option<Stamp> {
    let (id, cluster) = content.split_at_checked(16)?;
    let cluster = ClusterId::new(std::str::from_utf8(cluster).ok()?);
    Some(Stamp { cluster, topic_id: TopicId(id.try_into().ok()?), next_offset })
}
