//! Kafka's codes for failures of the log.

use causeway_wire::ErrorCode;

use crate::core::producer_state::RefusalKind;
use crate::log::LogError;

/// What a client is told about a failure of the log.
pub fn log_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::OffsetOutOfRange { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        LogError::Refused(refusal) => match refusal.kind {
            RefusalKind::OutOfOrder { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            RefusalKind::StaleEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
            RefusalKind::StaleCoordinator { .. } => ErrorCode::TRANSACTION_COORDINATOR_FENCED,
            RefusalKind::OutsideTxn | RefusalKind::Unverified => ErrorCode::INVALID_TXN_STATE,
        },
        LogError::Deleted => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
        LogError::BadAppend(_) => ErrorCode::INVALID_RECORD,
        _ => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}
