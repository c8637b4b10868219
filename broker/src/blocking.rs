//! Blocking work inside async code: short work where it is, and long work on few threads of its own.

use std::sync::Arc;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Most long works at once; each may hold as much memory as the largest batch takes decompressed.
const HEAVY_MAX: usize = 8;

/// Runs blocking work where it is; on a multi-threaded runtime other tasks of this worker move to another thread first.
pub fn run<T>(work: impl FnOnce() -> T) -> T {
    let multi = || Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if multi() { tokio::task::block_in_place(work) } else { work() }
}

/// Long work for a processor: at most half of the machine's does it, so that the other half is there for everybody else. Who comes waits in line.
#[derive(Debug)]
pub struct Heavy(Arc<Semaphore>);

impl Default for Heavy {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Arc::new(Semaphore::new((processors / 2).clamp(1, HEAVY_MAX))))
    }
}

impl Heavy {
    /// Runs it when it is its turn. It is not cut short if nobody waits for it any more.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let turn = Arc::clone(&self.0).acquire_owned().await.expect("the semaphore is never closed");
        let done = tokio::task::spawn_blocking(move || {
            let out = work();
            drop(turn);
            out
        });
        match done.await {
            Ok(out) => out,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and this with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}
