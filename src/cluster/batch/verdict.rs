//! What a target's answer to a batch means for its lane.

use causeway_wire::ErrorCode;
use causeway_wire::messages::produce::PartitionProduceResponse;

use super::piece::Piece;
use crate::core::batch::SourceRange;
use crate::core::ids::SourceOffset;
use crate::core::lane::Failure;

/// The broker is not the one to ask: its leader is looked up again.
pub(super) fn is_about_the_leader(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::REPLICA_NOT_AVAILABLE
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
    )
}

/// The batch has more bytes than the topic takes.
pub(super) fn is_too_large(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE)
}

/// What to do about a batch that was refused.
pub(super) fn failure(alias: &str, code: ErrorCode, answer: &PartitionProduceResponse, piece: &Piece) -> Failure {
    let message = answer.error_message.as_deref().filter(|message| !message.is_empty()).unwrap_or("no reason given");
    let reason = format!("cluster {alias}: {code}: {message}");
    match code {
        code if is_too_large(code) && piece.records > 1 => Failure::Retry { reason },
        // damaged on its way, or at the source already: only then will it stay so
        ErrorCode::CORRUPT_MESSAGE if piece.view.verify_crc().is_ok() => Failure::Retry { reason },
        ErrorCode::MESSAGE_TOO_LARGE
        | ErrorCode::RECORD_LIST_TOO_LARGE
        | ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => Failure::Poison { range: bad_records(answer, piece), reason },
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::POLICY_VIOLATION => Failure::Refuse { reason },
        _ => Failure::Retry { reason },
    }
}

/// The smallest range known to hold the bad records: those that the broker names, or the whole batch.
fn bad_records(answer: &PartitionProduceResponse, piece: &Piece) -> SourceRange {
    let at = |index: i32| -> Option<SourceOffset> {
        let index = usize::try_from(index).ok().filter(|index| *index < piece.records as usize)?;
        match &piece.offsets {
            Some(offsets) => offsets.get(index).copied(),
            None => Some(SourceOffset(piece.view.header.base_offset).plus(index as u64)),
        }
    };
    let named: Vec<SourceOffset> = answer.record_errors.iter().filter_map(|record| at(record.batch_index)).collect();
    match (named.iter().min(), named.iter().max()) {
        (Some(first), Some(last)) => SourceRange::new(*first, last.next()),
        _ => piece.covers(),
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
