//! The local cache of a flow's progress topic: loaded at a start, completed from the topic, fed by a thread of its own. Whatever is wrong with it
//! costs a rebuild and nothing else (L2): it is believed only as far as the topic itself confirms it, and never waited for.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::cluster::Admin;
use crate::cluster::progress_topic::{ProgressError, ProgressTopic};
use crate::core::ids::{FlowName, TopicId};
use crate::core::progress::{Progress, Record, topic_of};
use crate::store::cache::Cache;
use crate::store::rebuild::{Rebuild, StoreUpdate, TopicNow};
use crate::store::{Placed, Snapshot, StateStore as _, StoreError};
use crate::telemetry::names;

/// Writes that may wait for the disk; past it the cache is given up until the next start, for the records must not wait.
const WRITES_MAX: usize = 256;
/// Writes between two flushes: what a crash of the machine costs is read again from the topic.
const WRITES_PER_FLUSH: u32 = 64;

type Write = (Vec<Placed>, i64);

/// Where the writer leaves what it has read back.
#[derive(Debug)]
pub(super) struct CacheHandle {
    flow: String,
    writes: Option<SyncSender<Write>>,
}

impl CacheHandle {
    /// Notes records and where the topic is read on.
    pub fn note(&mut self, records: Vec<(i64, Record)>, next_offset: i64) {
        let Some(writes) = self.writes.as_ref().filter(|_| !records.is_empty()) else { return };
        let placed = records.into_iter().map(|(offset, record)| Placed { offset, record }).collect();
        match writes.try_send((placed, next_offset)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.give_up("the disk does not keep up"),
            Err(TrySendError::Disconnected(_)) => self.give_up("its thread ended"),
        }
    }

    fn give_up(&mut self, reason: &str) {
        tracing::warn!(flow = self.flow, reason, "cache given up, the next start reads the progress topic instead");
        self.writes = None;
    }
}

/// Opens the progress topic by way of the cache below `dir`.
///
/// # Errors
/// What the topic answers; a cache that cannot be used is none.
pub(super) async fn open(
    dir: &Path,
    target: &Admin,
    flow: &FlowName,
) -> Result<(ProgressTopic, CacheHandle), ProgressError> {
    let (mut cache, snapshot) = load(Cache::new(dir, flow), flow.clone()).await;
    let now = topic_now(target, flow).await?;
    let rebuild = Rebuild::begin(snapshot, now);
    if let Some(why) = rebuild.discarded() {
        tracing::info!(%flow, why = why.name(), "progress is rebuilt from the target");
    }
    let mut topic = ProgressTopic::open_at(target.client().clone(), flow, rebuild.read_from()).await?;
    let (state, update) = complete(rebuild, topic.take_journal(), topic.next_offset(), target, flow).await?;
    let records = match &update {
        StoreUpdate::Reset { records, .. } | StoreUpdate::Append { records, .. } => records.len(),
    };
    tracing::info!(%flow, lanes = state.lanes().count(), records, epoch = %state.epoch(), "progress loaded");
    topic.adopt(state);
    let applied = tokio::task::spawn_blocking(move || {
        let applied = update.run(&mut cache);
        (cache, applied)
    });
    let handle = match applied.await {
        Ok((cache, Ok(()))) => start(cache, flow),
        Ok((_, Err(error))) => unusable(flow, &error.to_string()),
        Err(error) => unusable(flow, &error.to_string()),
    };
    Ok((topic, handle))
}

async fn load(mut cache: Cache, flow: FlowName) -> (Cache, Option<Snapshot>) {
    let folder = cache.folder().to_owned();
    let loaded = tokio::task::spawn_blocking(move || {
        let loaded = cache.load();
        (cache, loaded)
    });
    match loaded.await {
        Ok((cache, Ok(snapshot))) => (cache, snapshot),
        Ok((cache, Err(error))) => {
            let damaged = matches!(error, StoreError::Damaged { .. });
            tracing::warn!(%flow, %error, damaged, "cache not used");
            (cache, None)
        }
        Err(error) => {
            tracing::warn!(%flow, %error, "cache not used");
            (Cache::new(folder.parent().unwrap_or(Path::new(".")), &flow), None)
        }
    }
}

/// The progress topic as it is now; one that is not there yet has nothing to confirm.
async fn topic_now(target: &Admin, flow: &FlowName) -> Result<TopicNow, ProgressError> {
    let name = topic_of(flow);
    let fail = |error: crate::cluster::ClusterError| ProgressError::from_cluster(name.clone(), error);
    let cluster = target.cluster_id().clone();
    let Some(topic) = target.topic(name.as_str()).await.map_err(fail)? else {
        return Ok(TopicNow { cluster, topic_id: TopicId::UNKNOWN, log_end: 0 });
    };
    let key = (name.as_str().to_owned(), 0);
    let ends = target.target_ends(std::slice::from_ref(&key)).await.map_err(fail)?;
    let ends = ends.into_values().next().transpose().map_err(fail)?;
    Ok(TopicNow { cluster, topic_id: topic.id, log_end: ends.map_or(0, |ends| ends.log_end.get()) })
}

/// The whole state: what the cache had, and what the topic had beyond it. A topic that had to be created has an ID only now.
async fn complete(
    mut rebuild: Rebuild,
    journal: Vec<(i64, Record)>,
    next_offset: i64,
    target: &Admin,
    flow: &FlowName,
) -> Result<(Progress, StoreUpdate), ProgressError> {
    for (offset, record) in journal {
        rebuild.apply(Placed { offset, record });
    }
    let (state, mut update) = rebuild.finish(next_offset);
    if let StoreUpdate::Reset { stamp, .. } = &mut update
        && stamp.topic_id == TopicId::UNKNOWN
    {
        stamp.topic_id = topic_now(target, flow).await?.topic_id;
    }
    Ok((state, update))
}

fn unusable(flow: &FlowName, reason: &str) -> CacheHandle {
    tracing::warn!(%flow, reason, "no cache, the next start reads the progress topic instead");
    CacheHandle { flow: flow.to_string(), writes: None }
}

fn start(cache: Cache, flow: &FlowName) -> CacheHandle {
    let (writes, waiting) = sync_channel(WRITES_MAX);
    let name = flow.to_string();
    let thread = std::thread::Builder::new().name("cache".to_owned()).spawn(move || keep(cache, &waiting, &name));
    match thread {
        Ok(_) => CacheHandle { flow: flow.to_string(), writes: Some(writes) },
        Err(error) => unusable(flow, &error.to_string()),
    }
}

/// Writes until the flow ends or the disk fails.
fn keep(mut cache: Cache, waiting: &Receiver<Write>, flow: &str) {
    let mut since_flush = 0;
    while let Ok((records, next_offset)) = waiting.recv() {
        since_flush += 1;
        let written = cache.append(&records, next_offset).and_then(|()| {
            if since_flush < WRITES_PER_FLUSH {
                return Ok(());
            }
            since_flush = 0;
            metrics::gauge!(names::STORE_BYTES, "flow" => flow.to_owned()).set(cache.size_bytes() as f64);
            cache.flush()
        });
        if let Err(error) = written {
            tracing::warn!(flow, %error, "cache failed");
            return;
        }
    }
    if let Err(error) = cache.flush() {
        tracing::warn!(flow, %error, "cache failed");
    }
}
