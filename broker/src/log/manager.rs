//! All partitions of all log directories of a node.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use causeway_wire::Uuid;

use super::checkpoint::{self, CLEANED_TO, HIGH_WATERMARKS, LOG_STARTS, Offsets, RECOVERY_POINTS};
use super::clean::CleaningState;
use super::create::on_threads;
use super::disk::{DirLock, Disk};
use super::error::LogError;
use super::fail_stop::FailStop;
use super::flush::Flusher;
use super::handles::Handles;
use super::names::{DELETE_DIR, partition_of_dir};
use super::partition::{DirEnv, Log};
use super::recover::{OpenHints, RecoveryReport};
use super::retain::Retained;
use super::{FlushPolicy, LogConfig, MetaProperties, meta};

/// Threads that open partitions at the start (`num.recovery.threads.per.data.dir`); more would only seek more.
const OPEN_THREADS_MAX: usize = 4;

/// What a node's storage needs to know.
#[derive(Debug, Clone)]
pub struct ManagerConfig {
    /// `log.dirs`.
    pub dirs: Vec<PathBuf>,
    /// `log.flush`.
    pub flush: FlushPolicy,
    /// `node.id`.
    pub node_id: i32,
    /// The cluster id to format empty directories with and to demand of others; `None`: take that of the directories, or a random one.
    pub cluster_id: Option<String>,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Wall clock at the start, ms.
    pub now_ms: i64,
}

/// What the start found.
#[derive(Debug, Clone, Default)]
pub struct OpenReport {
    /// All directories were left by a clean stop, or were empty.
    pub clean: bool,
    /// Broker epoch at the last clean stop (KIP-966), if it was one.
    pub broker_epoch: Option<i64>,
    /// One report per partition.
    pub partitions: Vec<RecoveryReport>,
}

#[derive(Debug)]
pub(crate) struct Dir {
    pub(crate) env: Arc<DirEnv>,
    meta: MetaProperties,
    /// Partition directories to be removed, with the time from which.
    trash: Mutex<Vec<(i64, PathBuf)>>,
    _lock: DirLock,
}

/// The partitions of a node, by topic and number.
#[derive(Debug)]
pub struct LogManager {
    pub(super) dirs: Vec<Dir>,
    cluster_id: String,
    pub(super) logs: RwLock<HashMap<String, BTreeMap<i32, Arc<Log>>>>,
    /// Checkpoints are written by one thread at a time.
    checkpointing: Mutex<()>,
    pub(crate) cleaning: Mutex<CleaningState>,
}

/// Log directories that this process holds.
#[derive(Debug)]
pub struct LockedDirs {
    dirs: Vec<Dir>,
    cluster_id: String,
}

impl LockedDirs {
    /// The file system as one of the directories sees it: a flush that fails there fails the directory, whoever asked for it.
    pub fn disk_of(&self, path: &Path) -> Option<Arc<dyn Disk>> {
        self.dirs.iter().find(|dir| dir.env.path == path).map(|dir| dir.env.disk.clone())
    }

    /// Opens the logs: see [`LogManager::open`].
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn open(
        self,
        config: &ManagerConfig,
        config_of: &(dyn Fn(&str) -> LogConfig + Sync),
    ) -> Result<(LogManager, OpenReport), LogError> {
        let Self { dirs, cluster_id } = self;
        let mut report = OpenReport { clean: true, ..OpenReport::default() };
        let mut logs: HashMap<String, BTreeMap<i32, Arc<Log>>> = HashMap::new();
        for dir in &dirs {
            let clean = checkpoint::take_clean_shutdown(&*config.disk, &dir.env.path)?;
            let opened = open_partitions(&dir.env, clean.is_some(), config.now_ms, config_of).inspect_err(|_| {
                // Whoever tries again must find what this start found.
                if let Some(epoch) = clean
                    && let Err(error) = checkpoint::write_clean_shutdown(&*config.disk, &dir.env.path, epoch)
                {
                    tracing::error!(%error, "the mark of a clean stop cannot be put back");
                }
            })?;
            report.clean &= clean.is_some() || opened.is_empty();
            report.broker_epoch = report.broker_epoch.or(clean);
            for (log, found) in opened {
                found.tell();
                report.partitions.push(found);
                logs.entry(log.topic().to_owned()).or_default().insert(log.partition(), Arc::new(log));
            }
        }
        let manager = LogManager {
            dirs,
            cluster_id,
            logs: RwLock::new(logs),
            checkpointing: Mutex::new(()),
            cleaning: Mutex::default(),
        };
        manager.checkpoint()?;
        Ok((manager, report))
    }
}

impl LogManager {
    /// Locks, formats if empty, and opens all log directories; `config_of` gives a topic's settings. Blocking: recovery after a crash reads up to a segment per
    /// partition.
    ///
    /// # Errors
    /// A directory is locked, belongs to another node or cluster, or cannot be read.
    pub fn open(
        config: &ManagerConfig,
        config_of: &(dyn Fn(&str) -> LogConfig + Sync),
    ) -> Result<(Self, OpenReport), LogError> {
        Self::lock(config)?.open(config, config_of)
    }

    /// Locks the directories, and formats empty ones; what else lies in them may then be read before the logs are opened.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn lock(config: &ManagerConfig) -> Result<LockedDirs, LogError> {
        let (dirs, cluster_id) = lock_and_format(config)?;
        Ok(LockedDirs { dirs, cluster_id })
    }

    /// The cluster id in `meta.properties`.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Log directories and their ids, in the order of `log.dirs`.
    pub fn dirs(&self) -> impl Iterator<Item = (&Path, &MetaProperties)> {
        self.dirs.iter().map(|dir| (&*dir.env.path, &dir.meta))
    }

    /// The first failure of any log directory.
    pub fn health(&self) -> Result<(), LogError> {
        self.dirs.iter().try_for_each(|dir| dir.env.flusher.health())
    }

    /// Directories that failed, each with its error; their partitions are offline, those of the others go on.
    pub fn failed_dirs(&self) -> Vec<(PathBuf, LogError)> {
        let failed = |dir: &Dir| dir.env.flusher.health().err().map(|error| (dir.env.path.clone(), error));
        self.dirs.iter().filter_map(failed).collect()
    }

    /// Flush calls made so far, all directories together.
    pub fn flushes(&self) -> u64 {
        self.dirs.iter().map(|dir| dir.env.flusher.flushes()).sum()
    }

    /// The log of a partition.
    pub fn get(&self, topic: &str, partition: i32) -> Option<Arc<Log>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).get(topic)?.get(&partition).cloned()
    }

    /// All logs, in no order.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        let logs = self.logs.read().unwrap_or_else(PoisonError::into_inner);
        logs.values().flat_map(|partitions| partitions.values().cloned()).collect()
    }

    /// Deletes a partition: its directory is renamed now and removed by a later [`sweep`](Self::sweep). Returns whether there was one.
    ///
    /// # Errors
    /// The directory cannot be renamed; the partition is no longer served all the same.
    pub fn delete(&self, topic: &str, partition: i32, now_ms: i64) -> Result<bool, LogError> {
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        let Some(log) = logs.get_mut(topic).and_then(|partitions| partitions.remove(&partition)) else {
            return Ok(false);
        };
        if logs.get(topic).is_some_and(BTreeMap::is_empty) {
            logs.remove(topic);
        }
        drop(logs);
        self.forget_cleaning(&log);
        let gone = log.retire(fastrand::u128(..))?;
        let due = now_ms.saturating_add(log.config().file_delete_delay_ms);
        if let Some(dir) = self.dirs.iter().find(|dir| Arc::ptr_eq(&dir.env, &log.env)) {
            dir.trash.lock().unwrap_or_else(PoisonError::into_inner).push((due, gone));
        }
        Ok(true)
    }

    /// Moves a partition's log start and writes that down: see [`Log::delete_records`].
    ///
    /// # Errors
    /// The offset is out of range, or the checkpoint cannot be written.
    pub fn delete_records(&self, log: &Log, offset: i64) -> Result<i64, LogError> {
        let start = log.delete_records(offset)?;
        self.checkpoint()?;
        Ok(start)
    }

    /// One round of retention over all partitions; a partition that fails does not stop the others. Also forgets expired producers.
    pub fn retain(&self, now_ms: i64) -> Retained {
        let mut done = Retained::default();
        for log in self.logs() {
            log.expire_producers(now_ms);
            match log.retain(now_ms) {
                Ok(one) => {
                    done.segments += one.segments;
                    done.bytes += one.bytes;
                }
                Err(LogError::Deleted) => {}
                Err(error) => {
                    tracing::warn!(topic = log.topic(), partition = log.partition(), %error, "retention failed");
                }
            }
        }
        done
    }

    /// Unlinks what was removed longer ago than `file.delete.delay.ms`.
    pub fn sweep(&self, now_ms: i64) {
        for log in self.logs() {
            if let Err(error) = log.sweep(now_ms) {
                tracing::warn!(topic = log.topic(), partition = log.partition(), %error, "removed segment not unlinked");
            }
        }
        for dir in &self.dirs {
            let mut trash = dir.trash.lock().unwrap_or_else(PoisonError::into_inner);
            let (due, later): (Vec<_>, Vec<_>) = trash.drain(..).partition(|(at, _)| *at <= now_ms);
            *trash = later;
            drop(trash);
            for (_, path) in due {
                if let Err(error) = dir.env.disk.remove_dir_all(&path) {
                    tracing::warn!(path = %path.display(), %error, "deleted partition not removed");
                }
            }
        }
    }

    /// Writes the checkpoints of all healthy directories: recovery points, high watermarks, log starts.
    ///
    /// # Errors
    /// A file cannot be written. The old one stays, which costs time at the next start, not data.
    pub fn checkpoint(&self) -> Result<(), LogError> {
        let _one = self.checkpointing.lock().unwrap_or_else(PoisonError::into_inner);
        let logs = self.logs();
        for dir in self.dirs.iter().filter(|dir| dir.env.flusher.health().is_ok()) {
            let here = || logs.iter().filter(|log| Arc::ptr_eq(&log.env, &dir.env));
            let offsets = |of: &dyn Fn(&Log) -> Option<i64>| -> Offsets {
                here().filter_map(|log| Some(((log.topic().to_owned(), log.partition()), of(log)?))).collect()
            };
            let write = |name: &str, offsets: &Offsets| {
                checkpoint::write_offsets(&*dir.env.disk, &dir.env.path.join(name), offsets)
            };
            write(RECOVERY_POINTS, &offsets(&|log| Some(log.mark.recovery_point())))?;
            write(HIGH_WATERMARKS, &offsets(&|log| Some(log.high_watermark())))?;
            // As Kafka: only starts that the first segment's name does not tell.
            write(LOG_STARTS, &offsets(&|log| log.start_inside_segment()))?;
            write(CLEANED_TO, &offsets(&|log| log.cleaned_to()))?;
        }
        Ok(())
    }

    /// Flushes and closes everything and leaves the mark of a clean stop in each directory where all of it worked. Blocking.
    ///
    /// # Errors
    /// The first failure; the other directories are closed all the same.
    pub fn shutdown(&self, broker_epoch: i64) -> Result<(), LogError> {
        let logs = self.logs();
        let mut outcome = Ok(());
        for dir in &self.dirs {
            let mut here = logs.iter().filter(|log| Arc::ptr_eq(&log.env, &dir.env));
            let closed = dir.env.flusher.barrier().and_then(|()| here.try_for_each(|log| log.close()));
            outcome = outcome.and(closed.clone());
            if closed.is_ok() {
                let marked = self
                    .checkpoint()
                    .and_then(|()| checkpoint::write_clean_shutdown(&*dir.env.disk, &dir.env.path, broker_epoch));
                outcome = outcome.and(marked);
            }
            dir.env.flusher.stop();
        }
        outcome
    }
}

impl Log {
    fn start_inside_segment(&self) -> Option<i64> {
        let first = self.lock().segments.first_key_value().map(|(base, _)| *base)?;
        Some(self.start_offset()).filter(|start| *start > first)
    }
}

/// Takes and formats the directories; all must be of one cluster.
fn lock_and_format(config: &ManagerConfig) -> Result<(Vec<Dir>, String), LogError> {
    let disk = &config.disk;
    let mut taken = Vec::new();
    for path in &config.dirs {
        disk.create_dir_all(path).map_err(|error| LogError::io("create", path, &error))?;
        let lock = disk.lock_dir(path).map_err(|error| LogError::io("lock", path, &error))?;
        let lock = lock.ok_or_else(|| LogError::Locked { dir: path.clone() })?;
        taken.push((path, lock, MetaProperties::read(&**disk, path)?));
    }
    let found = taken.iter().find_map(|(_, _, meta)| meta.as_ref().map(|meta| meta.cluster_id.clone()));
    let cluster_id = config.cluster_id.clone().or(found).unwrap_or_else(|| random_uuid().to_string());
    let mut dirs = Vec::new();
    for (path, lock, meta) in taken {
        let foreign = |key, found: String, expected: String| LogError::ForeignDir {
            path: path.join(meta::META_PROPERTIES),
            key,
            found,
            expected,
        };
        let meta = match meta {
            Some(meta) if meta.cluster_id != cluster_id => {
                return Err(foreign("cluster.id", meta.cluster_id, cluster_id));
            }
            Some(meta) if meta.node_id != config.node_id => {
                return Err(foreign("node.id", meta.node_id.to_string(), config.node_id.to_string()));
            }
            Some(meta) => meta,
            None => {
                let (cluster_id, node_id) = (cluster_id.clone(), config.node_id);
                let meta = MetaProperties { cluster_id, node_id, directory_id: random_uuid() };
                meta.write(&**disk, path)?;
                meta
            }
        };
        let flusher = Flusher::start(path, disk.clone(), config.flush)?;
        let disk = Arc::new(FailStop::new(disk.clone(), flusher.failure()));
        let env = DirEnv { path: path.clone(), disk, handles: Handles::default(), flusher };
        dirs.push(Dir { env: Arc::new(env), meta, trash: Mutex::default(), _lock: lock });
    }
    Ok((dirs, cluster_id))
}

/// A random id as Kafka makes them: version 4, and never one that begins with a dash (it would look like an option).
fn random_uuid() -> Uuid {
    loop {
        let mut raw = fastrand::u128(..).to_be_bytes();
        raw[6] = (raw[6] & 0x0f) | 0x40;
        raw[8] = (raw[8] & 0x3f) | 0x80;
        let id = Uuid(raw);
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// Opens the partitions of one directory on a few threads.
fn open_partitions(
    env: &Arc<DirEnv>,
    clean: bool,
    now_ms: i64,
    config_of: &(dyn Fn(&str) -> LogConfig + Sync),
) -> Result<Vec<(Log, RecoveryReport)>, LogError> {
    let (disk, root) = (&*env.disk, &env.path);
    let read = |name: &str| checkpoint::read_offsets(disk, &root.join(name));
    let (points, watermarks) = (read(RECOVERY_POINTS)?, read(HIGH_WATERMARKS)?);
    let starts = checkpoint::read_sound_offsets(disk, &root.join(LOG_STARTS))?;
    let cleaned = read(CLEANED_TO)?;
    let mut found = Vec::new();
    for entry in disk.list(root).map_err(|error| LogError::io("list", root, &error))? {
        let path = root.join(&entry.name);
        if entry.is_dir && entry.name.ends_with(DELETE_DIR) {
            disk.remove_dir_all(&path).map_err(|error| LogError::io("remove", &path, &error))?;
        } else if entry.is_dir
            && let Some((topic, partition)) = partition_of_dir(&entry.name)
        {
            found.push((path, topic.to_owned(), partition));
        }
    }
    // A line for a partition that is not there may be one whose name was damaged.
    let is_here = |(topic, partition): &(String, i32)| found.iter().any(|(_, t, p)| (t, p) == (topic, partition));
    let starts_known = starts.as_ref().is_some_and(|starts| starts.keys().all(is_here));
    let starts = starts.unwrap_or_default();
    let open = |(path, topic, partition): &(PathBuf, String, i32)| {
        let key = (topic.clone(), *partition);
        let at = |offsets: &Offsets| offsets.get(&key).copied().unwrap_or(0);
        let hints = OpenHints {
            config: config_of(topic),
            clean,
            recovery_point: at(&points),
            start: starts.get(&key).copied(),
            starts_known,
            high_watermark: at(&watermarks),
            cleaned_to: cleaned.get(&key).copied().unwrap_or(-1),
            now_ms,
        };
        Log::open(env.clone(), path, topic, *partition, hints)
    };
    on_threads(&found, OPEN_THREADS_MAX, open).into_iter().collect()
}
