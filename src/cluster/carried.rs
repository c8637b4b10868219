//! What travels from a source to a sink: each engine has its own form, the lanes look into neither.

use super::batch::Pieces;
use super::record::Records;

/// The payload of a batch.
#[derive(Debug)]
pub enum Carried {
    /// Records one by one (record engine).
    Records(Records),
    /// Whole batches as they lie in the source's log (batch engine).
    Pieces(Pieces),
}
