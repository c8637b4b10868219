//! AlterReplicaLogDirs (34).
//!
//! *Behaviour*: a partition that lies in the directory named already is fine; a directory that is not in `log.dirs`:
//! LOG_DIR_NOT_FOUND; a partition that is not here: REPLICA_NOT_AVAILABLE.
//! *Versions*: 1-2. *Skipped*: moving a partition to another directory (UNSUPPORTED_VERSION, nothing is touched).

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use causeway_wire::ErrorCode;
use causeway_wire::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};

use super::Context;

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 1..=2;

/// Answers the request.
pub async fn handle(context: &Context, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse {
    let absolute = |dir: &Path| std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let dirs: Vec<PathBuf> = context.node.config.log_dirs.iter().map(|d| absolute(d)).collect();
    let mut results = Vec::new();
    for asked in request.dirs {
        let target = absolute(Path::new(&asked.path));
        let known = Path::new(&asked.path).is_absolute() && dirs.contains(&target);
        for topic in asked.topics {
            let outcome = |partition: i32| match context.node.partitions.get(&topic.name, partition) {
                _ if !known => ErrorCode::LOG_DIR_NOT_FOUND,
                None => ErrorCode::REPLICA_NOT_AVAILABLE,
                Some(p) if absolute(p.log.log_dir()) == target => ErrorCode::NONE,
                Some(_) => ErrorCode::UNSUPPORTED_VERSION,
            };
            let result = |partition: &i32| AlterReplicaLogDirPartitionResult {
                partition_index: *partition,
                error_code: outcome(*partition).0,
                ..Default::default()
            };
            let partitions = topic.partitions.iter().map(result).collect();
            results.push(AlterReplicaLogDirTopicResult { partitions, topic_name: topic.name, ..Default::default() });
        }
    }
    AlterReplicaLogDirsResponse { results, ..Default::default() }
}
