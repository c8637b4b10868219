//! New partitions.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::{Arc, PoisonError};

use causeway_wire::Uuid;

use super::disk::write_all_at;
use super::epochs::Epochs;
use super::error::LogError;
use super::manager::{Dir, LogManager};
use super::names::{EPOCH_CHECKPOINT, partition_dir};
use super::partition::{DirEnv, Log};
use super::recover::OpenHints;
use super::{LogConfig, meta};

/// Partitions made at the same time: each waits for its flushes, and the file system's journal joins those that wait together.
const CREATE_THREADS_MAX: usize = 16;

impl LogManager {
    /// Makes an empty partition: see [`create_all`](Self::create_all).
    ///
    /// # Errors
    /// It exists, or its files cannot be made.
    pub fn create(
        &self,
        topic: &str,
        partition: i32,
        topic_id: Uuid,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Arc<Log>, LogError> {
        let mut made = self.create_all(topic, &[partition], topic_id, config, now_ms)?;
        Ok(made.pop().expect("one was made"))
    }

    /// Makes empty partitions, each in the healthy directory with the fewest; they survive a power cut when this returns. Several at a time, because what
    /// takes time is flushing, and the file system joins flushes that come together.
    ///
    /// # Errors
    /// One exists, or its files cannot be made; others may have been made all the same.
    pub fn create_all(
        &self,
        topic: &str,
        partitions: &[i32],
        topic_id: Uuid,
        config: LogConfig,
        now_ms: i64,
    ) -> Result<Vec<Arc<Log>>, LogError> {
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        let exists = |partition: &&i32| logs.get(topic).is_some_and(|there| there.contains_key(*partition));
        if let Some(partition) = partitions.iter().find(exists) {
            return Err(LogError::Exists(partition_dir(topic, *partition)));
        }
        let used = |dir: &Dir| {
            let all = logs.values().flat_map(BTreeMap::values);
            all.filter(|log| Arc::ptr_eq(&log.env, &dir.env)).count()
        };
        let healthy = self.dirs.iter().filter(|dir| dir.env.flusher.health().is_ok());
        let mut room: Vec<(usize, &Dir)> = healthy.map(|dir| (used(dir), dir)).collect();
        let mut places = Vec::new();
        for &partition in partitions {
            let Some((count, dir)) = room.iter_mut().min_by_key(|(count, _)| *count) else {
                self.health()?;
                return Err(LogError::BadAppend("there is no log directory".to_owned()));
            };
            *count += 1;
            places.push((partition, &dir.env));
        }
        let made = on_threads(&places, CREATE_THREADS_MAX, |(partition, env)| {
            make(env, topic, *partition, topic_id, config, now_ms)
        });
        let touched = |dir: &&Dir| places.iter().any(|(_, env)| Arc::ptr_eq(env, &dir.env));
        for Dir { env, .. } in self.dirs.iter().filter(touched) {
            env.disk.sync_dir(&env.path).map_err(|error| LogError::io("flush", &env.path, &error))?;
        }
        let mut all = Ok(Vec::new());
        for log in made {
            match log {
                Ok(log) => {
                    let log = Arc::new(log);
                    logs.entry(topic.to_owned()).or_default().insert(log.partition(), log.clone());
                    all.iter_mut().for_each(|all: &mut Vec<_>| all.push(log.clone()));
                }
                Err(error) => all = all.and(Err(error)),
            }
        }
        all
    }
}

/// Makes one partition's directory and files; its name is flushed by the caller.
fn make(
    env: &Arc<DirEnv>,
    topic: &str,
    partition: i32,
    topic_id: Uuid,
    config: LogConfig,
    now_ms: i64,
) -> Result<Log, LogError> {
    let (disk, path) = (&*env.disk, env.path.join(partition_dir(topic, partition)));
    disk.create_dir_all(&path).map_err(|error| LogError::io("create", &path, &error))?;
    meta::write_topic_id(disk, &path, topic_id)?;
    // Not flushed: one that is lost or empty says the same.
    let epochs = path.join(EPOCH_CHECKPOINT);
    let written = disk.open(&epochs, true).and_then(|file| {
        file.set_len(0)?;
        write_all_at(&*file, &mut [IoSlice::new(Epochs::default().encode().as_bytes())], 0)
    });
    written.map_err(|error| LogError::io("write", &epochs, &error))?;
    let hints = OpenHints {
        config,
        clean: false,
        recovery_point: 0,
        start: None,
        starts_known: true,
        high_watermark: 0,
        cleaned_to: -1,
        now_ms,
    };
    Ok(Log::open(env.clone(), &path, topic, partition, hints)?.0)
}

/// Does the same to each, on so many threads at most; the outcomes in order.
pub(super) fn on_threads<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if let [only] = items {
        return vec![work(only)];
    }
    let per_thread = items.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = items
            .chunks(per_thread)
            .map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<_>>()))
            .collect();
        let joined =
            running.into_iter().flat_map(|thread| thread.join().expect("making and opening logs does not panic"));
        joined.collect()
    })
}
