//! Bugs planted on purpose, to check the checkers: the simulator and the chaos runs must find every one.
//!
//! Without the cargo feature `planted-bugs` (and outside of this crate's own unit tests) [`is`] is the constant `false`, so nothing
//! of this reaches a released binary. With it, the environment variable `CAUSEWAY_PLANTED_BUG` names one bug for the whole process.

/// One planted bug; the name in `CAUSEWAY_PLANTED_BUG` is [`Bug::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Translation answers one offset too far (L3, AHEAD).
    TranslateOneAhead,
    /// Translation copies the source's number (AHEAD or FAR).
    TranslateLiterally,
    /// The position moves on when a batch was sent, not when it was acknowledged (L1, LOST).
    CommitBeforeAck,
    /// The position moves to the newest acknowledged batch, over older ones not yet acknowledged (L1, HOLE).
    CommitPastHole,
    /// A record the target refuses is dropped without a ledger line (L5, HOLE).
    SkipPoisonSilently,
    /// A log start beyond the position is followed without a ledger line (L5, GAP).
    SkipGapSilently,
    /// A re-created source topic is read on at the old position (LOST).
    IgnoreTopicId,
    /// After a failure only the sink is reset, the source reads on (LOST).
    ResumeSourceAfterFailure,
    /// The local store is believed without comparing it with the progress topic (L2).
    TrustStaleStore,
    /// A record with a hop list is delivered to a cluster of that list (L4, ECHO).
    NoLoopCheck,
    /// Any record with a hop list naming the target is suppressed, forged or not (LOST).
    TrustForgedHops,
    /// A group is written at the target though it has members there or moved on by itself (F6).
    OverwriteLiveGroup,
    /// A daemon goes on writing after another one took its epoch (L6).
    IgnoreEpoch,
    /// A target that lost its tail is not noticed (LOST).
    IgnoreTargetTruncation,
    /// Tombstones are not copied (LOST).
    DropTombstones,
    /// The batches of a window are sent in another order (REORD).
    SwapBatches,
    /// The record's partition is chosen anew instead of kept (MISROUTE).
    MoveToOtherPartition,
    /// One byte of a value is changed on the way (CORRUPT).
    FlipValueByte,
    /// Older writers of a lane are not kept out (DUP).
    NoFence,
    /// What an older writer had landed is written again (DUP).
    ForgetTail,
}

impl Bug {
    /// Every bug, so that a run over all of them misses none.
    pub const ALL: [Bug; 20] = [
        Bug::TranslateOneAhead,
        Bug::TranslateLiterally,
        Bug::CommitBeforeAck,
        Bug::CommitPastHole,
        Bug::SkipPoisonSilently,
        Bug::SkipGapSilently,
        Bug::IgnoreTopicId,
        Bug::ResumeSourceAfterFailure,
        Bug::TrustStaleStore,
        Bug::NoLoopCheck,
        Bug::TrustForgedHops,
        Bug::OverwriteLiveGroup,
        Bug::IgnoreEpoch,
        Bug::IgnoreTargetTruncation,
        Bug::DropTombstones,
        Bug::SwapBatches,
        Bug::MoveToOtherPartition,
        Bug::FlipValueByte,
        Bug::NoFence,
        Bug::ForgetTail,
    ];

    /// The bug's name in `CAUSEWAY_PLANTED_BUG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Bug::TranslateOneAhead => "translate-one-ahead",
            Bug::TranslateLiterally => "translate-literally",
            Bug::CommitBeforeAck => "commit-before-ack",
            Bug::CommitPastHole => "commit-past-hole",
            Bug::SkipPoisonSilently => "skip-poison-silently",
            Bug::SkipGapSilently => "skip-gap-silently",
            Bug::IgnoreTopicId => "ignore-topic-id",
            Bug::ResumeSourceAfterFailure => "resume-source-after-failure",
            Bug::TrustStaleStore => "trust-stale-store",
            Bug::NoLoopCheck => "no-loop-check",
            Bug::TrustForgedHops => "trust-forged-hops",
            Bug::OverwriteLiveGroup => "overwrite-live-group",
            Bug::IgnoreEpoch => "ignore-epoch",
            Bug::IgnoreTargetTruncation => "ignore-target-truncation",
            Bug::DropTombstones => "drop-tombstones",
            Bug::SwapBatches => "swap-batches",
            Bug::MoveToOtherPartition => "move-to-other-partition",
            Bug::FlipValueByte => "flip-value-byte",
            Bug::NoFence => "no-fence",
            Bug::ForgetTail => "forget-tail",
        }
    }
}

/// True when this bug is planted in this process. The constant `false` in every build that is not made for checking checkers.
#[cfg(not(any(test, feature = "planted-bugs")))]
#[inline(always)]
#[must_use]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// True when this bug is planted: by `CAUSEWAY_PLANTED_BUG`, or on this thread by [`plant`].
#[cfg(any(test, feature = "planted-bugs"))]
#[must_use]
pub fn is(bug: Bug) -> bool {
    static OF_PROCESS: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let of_process = OF_PROCESS.get_or_init(|| std::env::var("CAUSEWAY_PLANTED_BUG").ok());
    OF_THREAD.get() == Some(bug) || of_process.as_deref() == Some(bug.name())
}

#[cfg(any(test, feature = "planted-bugs"))]
thread_local! {
    static OF_THREAD: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread while `body` runs: for simulations, many in one process.
#[cfg(any(test, feature = "planted-bugs"))]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_planted_only_while_asked_for() {
        assert!(!is(Bug::CommitBeforeAck));
        assert!(plant(Bug::CommitBeforeAck, || is(Bug::CommitBeforeAck) && !is(Bug::IgnoreEpoch)));
        assert!(!is(Bug::CommitBeforeAck));
    }

    #[test]
    fn every_bug_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
        assert_eq!(names.len(), Bug::ALL.len());
    }
}
