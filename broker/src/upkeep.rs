//! What runs beside the requests: compaction, and the logs of topics that could not be made when they were created.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::log::{CleanerConfig, LogError};
use crate::node::Node;

/// Threads that compact at once, at most: each may hold a part of the buffer and reads whole segments.
const CLEANERS_MAX: i64 = 16;

/// Compacts one log after the other, the dirtiest first, until the node stops; rests for `log.cleaner.backoff.ms` when nothing is due.
/// One of `log.cleaner.threads`.
pub async fn compact(node: Arc<Node>, stop: CancellationToken) {
    let halt = Arc::new(AtomicBool::new(false));
    loop {
        let (worker, flag) = (Arc::clone(&node), Arc::clone(&halt));
        let mut round = tokio::task::spawn_blocking(move || {
            for partition in worker.partitions.all() {
                // Moves the log's own mark along on partitions that nobody reads.
                let _ = partition.high_watermark();
            }
            worker.logs.clean_next(&settings(&worker), crate::clock::wall_ms(), &flag)
        });
        let done = tokio::select! {
            done = &mut round => done,
            () = stop.cancelled() => {
                halt.store(true, Ordering::Relaxed);
                round.await
            }
        };
        match done {
            Ok(Some(done)) => tracing::info!(
                topic = done.topic,
                partition = done.partition,
                cleaned_to = done.cleaned_to,
                bytes_before = done.bytes.0,
                bytes_after = done.bytes.1,
                records_before = done.records.0,
                records_after = done.records.1,
                took_ms = done.took.as_millis() as u64,
                "log compacted"
            ),
            Ok(None) => {
                let backoff = Duration::from_millis(node.broker_number("log.cleaner.backoff.ms").max(1) as u64);
                tokio::select! {
                    () = tokio::time::sleep(backoff) => {}
                    () = stop.cancelled() => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "compaction failed; this thread of it ends");
                node.stats.dead_cleaners.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Flushes logs by `flush.ms`, looking every `log.flush.scheduler.interval.ms` (never, unless it is set, as in Kafka).
pub async fn flush_by_age(node: Arc<Node>, stop: CancellationToken) {
    let every = node.config.number("log.flush.scheduler.interval.ms");
    if every == i64::MAX {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(every.max(1) as u64)) => {}
            () = stop.cancelled() => return,
        }
        let node = Arc::clone(&node);
        let round = tokio::task::spawn_blocking(move || {
            for log in node.logs.logs() {
                match log.flush_by_age(crate::clock::wall_ms()) {
                    // The failure of a directory was logged when it came.
                    Ok(_) | Err(LogError::DirFailed { .. }) => {}
                    Err(error) => {
                        tracing::error!(topic = log.topic(), partition = log.partition(), %error, "not flushed")
                    }
                }
            }
        });
        if let Err(error) = round.await {
            tracing::error!(%error, "flushing by age failed");
        }
    }
}

/// First wait before the logs of a topic that could not be made (a full disk, say) are tried again.
const OPEN_RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest such wait.
const OPEN_RETRY_MAX: Duration = Duration::from_secs(5);

/// Makes the logs that metadata knows and that could not be made at once, again and again until all are there: the topic's creation was recorded, so it
/// must come to life without a restart.
pub async fn open_rest(node: Arc<Node>, stop: CancellationToken) {
    let work = async {
        loop {
            node.unopened.notified().await;
            let mut delay = OPEN_RETRY_FIRST;
            loop {
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(OPEN_RETRY_MAX);
                let names: Vec<String> = node.meta.image().topics().map(|topic| topic.name.clone()).collect();
                let mut left = false;
                for name in names.iter().filter(|name| !node.is_open(name)) {
                    left |= node.open_topic(name).await.is_err();
                }
                if !left {
                    break;
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// Threads to start; none if `log.cleaner.enable` is false.
pub fn cleaners(node: &Node) -> i64 {
    let enabled = node.config.text("log.cleaner.enable").is_none_or(|value| value.trim().eq_ignore_ascii_case("true"));
    if enabled { node.config.number("log.cleaner.threads").clamp(0, CLEANERS_MAX) } else { 0 }
}

fn settings(node: &Node) -> CleanerConfig {
    let threads = cleaners(node).max(1);
    let rate = node.with_levels(|levels| levels.broker_value("log.cleaner.io.max.bytes.per.second"));
    let rate: f64 = rate.and_then(|value| value.trim().parse().ok()).unwrap_or(f64::MAX);
    CleanerConfig {
        map_bytes_max: (node.broker_number("log.cleaner.dedupe.buffer.size").max(0) / threads) as usize,
        // Kafka's default is the largest double: no bound.
        bytes_per_second_max: if rate < f64::MAX { rate / threads as f64 } else { 0.0 },
        backoff_ms: node.broker_number("log.cleaner.backoff.ms"),
    }
}
