//! Writing `__transaction_state`.

use causeway_wire::ErrorCode;
use causeway_wire::records::{BatchBuilder, Codec};

use crate::core::txn::{Txn, records};
use crate::partitions::Partition;

/// The topic that holds the state of transactional ids.
pub const STATE_TOPIC: &str = "__transaction_state";

/// Appends the state of an id, or its end; the journal's end after it.
pub(super) fn append(journal: &Partition, id: &str, txn: Option<&Txn>) -> Result<i64, ErrorCode> {
    let now = crate::clock::wall_ms();
    let build = || {
        let key = records::key(id).map_err(|error| error.to_string())?;
        let value = txn.map(Txn::encode).transpose().map_err(|error| error.to_string())?;
        let mut batch = BatchBuilder::new(Codec::None).base_timestamp(now);
        batch.push(now, Some(&key), value.as_deref(), &[]).map_err(|error| error.to_string())?;
        let batch = batch.build().map_err(|error| error.to_string())?;
        journal.append(&batch, now).map_err(|error| error.to_string())
    };
    let appended = build().map_err(|error| {
        tracing::error!(transactional_id = id, error, "cannot write to {STATE_TOPIC}");
        ErrorCode::COORDINATOR_NOT_AVAILABLE
    });
    Ok(appended?.last_offset + 1)
}
