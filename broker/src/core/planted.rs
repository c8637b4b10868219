//! Bugs planted on purpose, to check the checkers: the simulation of transactions must find every one.
//!
//! Only this crate's own unit tests have them; in every other build [`is`] is the constant `false`.

/// One planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// EndTxn with the opposite outcome of what was decided is answered as if it had been asked for (R19).
    AcceptOppositeEnd,
    /// EndTxn of an earlier transaction, by an older epoch, ends the one that is open (R17).
    EndByOldEpoch,
    /// A fenced producer may add partitions.
    AddByOldEpoch,
    /// Partitions are added while the last transaction is still being finished.
    AddWhilePrepared,
    /// A transaction remembers only the partitions added last (a marker is missing: R18).
    ForgetPartitions,
    /// The epoch stays as it is when a transaction of version 2 ends (R17).
    NoEpochBump,
    /// An aborted transaction is taken for committed once it is complete.
    CompleteAsCommitted,
    /// A marker of a coordinator that was replaced is taken (R17).
    TakeStaleMarkers,
}

impl Bug {
    /// Every bug, so that a run over all of them misses none.
    #[cfg(test)]
    pub const ALL: [Bug; 8] = [
        Bug::AcceptOppositeEnd,
        Bug::EndByOldEpoch,
        Bug::AddByOldEpoch,
        Bug::AddWhilePrepared,
        Bug::ForgetPartitions,
        Bug::NoEpochBump,
        Bug::CompleteAsCommitted,
        Bug::TakeStaleMarkers,
    ];
}

/// Whether this bug is planted. The constant `false` in every build that is not made for checking checkers.
#[cfg(not(test))]
#[inline(always)]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// Whether this bug is planted on this thread by [`plant`].
#[cfg(test)]
pub fn is(bug: Bug) -> bool {
    OF_THREAD.get() == Some(bug)
}

#[cfg(test)]
thread_local! {
    static OF_THREAD: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread while `body` runs, also if that panics.
#[cfg(test)]
pub fn plant<T>(bug: Bug, body: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            OF_THREAD.set(None);
        }
    }
    OF_THREAD.set(Some(bug));
    let _reset = Reset;
    body()
}
