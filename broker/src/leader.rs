//! Whether a client's idea of who leads is still right (KIP-320, law R5).

use causeway_wire::ErrorCode;

use crate::partitions::Partition;

/// Whether the partition's log directory works; if not, nothing of it is served any more, as in Kafka, also not what lies in memory.
pub fn check_online(partition: &Partition) -> Result<(), ErrorCode> {
    partition.log.health().map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)
}

/// Compares the epoch a client sends (-1 for none) with ours; a partition that is offline has none.
pub fn check_leader_epoch(partition: &Partition, claimed: i32) -> Result<(), ErrorCode> {
    check_online(partition)?;
    match claimed {
        -1 => Ok(()),
        older if older < partition.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
        newer if newer > partition.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}
