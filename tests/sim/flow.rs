//! One direction of a world, with everything that lives on it.
use std::collections::BTreeMap;

use causeway::cluster::fake::{Late, ProgressLog, Shared};
use causeway::core::{
    ids::{LaneId, TargetOffset},
    progress::Progress,
};

use crate::daemon::Daemon;

/// One direction.
pub struct Flow {
    pub source: Shared,
    pub target: Shared,
    pub log: ProgressLog,
    pub daemon: Option<Daemon>,
    pub zombies: Vec<Daemon>,
    pub late: Vec<Late>,
    /// Local caches that were once right.
    pub caches: Vec<(Progress, u64)>,
    /// What a reader of the progress log knows, and how far it read.
    pub truth: Progress,
    pub next: u64,
    /// Where each lane stood when first seen, and when last seen.
    pub first: BTreeMap<LaneId, i64>,
    pub seen: BTreeMap<LaneId, i64>,
    /// The group's commits at the target: who wrote last, and what.
    pub committed: BTreeMap<i32, TargetOffset>,
    pub live: bool,
    /// What the flow answered for groups: lane, source offset, target offset.
    pub answered: Vec<(LaneId, i64, i64)>,
    /// The epoch of a switch that took the flow.
    pub switched: bool,
}

impl Flow {
    pub fn new(source: &Shared, target: &Shared) -> Self {
        Flow {
            source: source.clone(),
            target: target.clone(),
            log: ProgressLog::default(),
            daemon: None,
            zombies: Vec::new(),
            late: Vec::new(),
            caches: Vec::new(),
            truth: Progress::default(),
            next: 0,
            first: BTreeMap::new(),
            seen: BTreeMap::new(),
            committed: BTreeMap::new(),
            live: false,
            answered: Vec::new(),
            switched: false,
        }
    }
}
