//! Short blocking work inside async code.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs blocking work where it is; on a multi-threaded runtime other tasks of this worker move to another thread first.
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let multi = || Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if multi() { tokio::task::block_in_place(work) } else { work() }
}
