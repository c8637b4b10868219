//! DescribeLogDirs (35).
//!
//! *Behaviour*: each log directory with the sizes of its partitions (all, or those asked for) and the room on its disk.
//! *Versions*: 1-5. *Skipped*: future replicas, lag (there are no followers), cordoned directories.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=5;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let node = &context.node;
    let asked: Option<HashSet<(&str, i32)>> = request
        .topics
        .as_ref()
        .map(|topics| topics.iter().flat_map(|t| t.partitions.iter().map(|p| (t.topic.as_str(), *p))).collect());
    let wanted = |topic: &str, partition: i32| asked.as_ref().is_none_or(|asked| asked.contains(&(topic, partition)));
    let all = node.partitions.all();
    let mut results = Vec::new();
    let failed = node.logs.failed_dirs();
    for dir in &node.config.log_dirs {
        if failed.iter().any(|(failed, _)| failed == dir) {
            let path = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
            results.push(DescribeLogDirsResult {
                error_code: ErrorCode::KAFKA_STORAGE_ERROR.0,
                log_dir: path.display().to_string(),
                ..Default::default()
            });
            continue;
        }
        let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
        for p in all.iter().filter(|p| p.log.log_dir() == dir.as_path()) {
            if wanted(p.log.topic(), p.log.partition()) {
                topics.entry(p.log.topic()).or_default().push(DescribeLogDirsPartition {
                    partition_index: p.log.partition(),
                    partition_size: p.log.size() as i64,
                    ..Default::default()
                });
            }
        }
        let show = |(name, mut partitions): (&str, Vec<DescribeLogDirsPartition>)| {
            partitions.sort_by_key(|p| p.partition_index);
            DescribeLogDirsTopic { name: name.to_owned(), partitions, ..Default::default() }
        };
        let path = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        let (total_bytes, usable_bytes) = room(dir);
        results.push(DescribeLogDirsResult {
            total_bytes,
            usable_bytes,
            log_dir: path.display().to_string(),
            topics: topics.into_iter().map(show).collect(),
            ..Default::default()
        });
    }
    DescribeLogDirsResponse { results, ..Default::default() }
}

/// Bytes of a directory's file system and of the room left on it; -1 where the system does not say.
fn room(dir: &std::path::Path) -> (i64, i64) {
    let Ok(stat) = rustix::fs::statvfs(dir) else { return (-1, -1) };
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    (bytes(stat.f_blocks), bytes(stat.f_bavail))
}
