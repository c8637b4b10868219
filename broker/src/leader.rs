//! Whether a client's idea of who leads is still right (KIP-320, law R5).

use causeway_wire::ErrorCode;

use crate::partitions::Partition;

/// Compares the epoch a client sends (-1 for none) with ours.
pub fn check_leader_epoch(partition: &Partition, claimed: i32) -> Result<(), ErrorCode> {
    match claimed {
        -1 => Ok(()),
        older if older < partition.leader_epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
        newer if newer > partition.leader_epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
        _ => Ok(()),
    }
}
