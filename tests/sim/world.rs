//! A world of two clusters and one flow, or two opposite ones, that something bad happens to at every moment.
use std::collections::BTreeSet;

use causeway::cluster::fake::{FakeCluster, FakeRecord, Fate, Odds};
use causeway::core::{
    groups::{AtTarget, LastWritten, Place, Verdict, judge},
    ids::{GroupName, LaneId, PartitionId, SourceOffset, TargetOffset, TopicId, TopicName},
    lane::{GapPolicy, GenerationPolicy, Limits, Policy},
    offset_map::Exactness,
    progress::{Progress, Record},
    provenance::{self, Hop},
};

use crate::{
    daemon::{Around, Daemon, NOW},
    flow::Flow,
};

pub const TOPIC: &str = "orders";
pub const PARTITIONS: i32 = 2;
/// Steps while things go wrong.
const STEPS: u32 = 160;
/// Rounds that healing and catching up may take: some ten times what the slowest history needed.
const HEAL_ROUNDS_MAX: u32 = 6_000;

pub struct World {
    pub rng: fastrand::Rng,
    /// The one kind of upheaval of this history, besides crashes, stale instances, retention, compaction and lost answers; `None`: all kinds.
    upheaval: Option<u32>,
    /// The target may lose its tail while we write.
    refills: bool,
    pub cyclic: bool,
    /// Lanes are written exactly once: older writers are kept out, and what they had landed is not written again.
    pub exactly_once: bool,
    pub flows: Vec<Flow>,
    pub policy: Policy,
    odds: Odds,
    pub faults: Vec<String>,
    pub broken: Vec<String>,
    uid: u64,
    /// Records that the target lost.
    pub destroyed: BTreeSet<u64>,
    /// Source logs that lost their tail: topic ID, partition, where.
    pub truncations: Vec<(TopicId, i32, i64)>,
    pub forged: BTreeSet<u64>,
    calm: BTreeSet<i32>,
}

/// The cluster a record was produced on: 0 or 1.
pub fn origin(uid: u64) -> usize {
    (uid >> 32) as usize
}

/// Kinds of faults that take away or replace what was there: topics re-created, logs truncated, records refused for good.
const UPHEAVALS: std::ops::Range<u32> = 8..13;

impl World {
    pub fn new(seed: u64, refills: bool) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let cyclic = rng.u32(0..4) == 0;
        let exactly_once = rng.bool();
        let (a, b) = (FakeCluster::new("cluster-a"), FakeCluster::new("cluster-b"));
        for cluster in [&a, &b] {
            cluster.borrow_mut().create(&TopicName::new(TOPIC), PARTITIONS as usize);
        }
        let either = |rng: &mut fastrand::Rng| if rng.bool() { GapPolicy::Record } else { GapPolicy::Stop };
        let generation =
            [GenerationPolicy::Fail, GenerationPolicy::Append, GenerationPolicy::NewTargetGeneration][rng.usize(0..3)];
        let limits = Limits { records: rng.u64(4..40), bytes: 1 << 20 };
        let policy = Policy { gap: either(&mut rng), generation, poison: either(&mut rng), limits };
        let odds = Odds { refused: rng.u32(0..8), lost_ack: rng.u32(0..10), marker: rng.u32(0..12) };
        let mut flows = vec![Flow::new(&a, &b)];
        if cyclic {
            flows.push(Flow::new(&b, &a));
        }
        let upheaval = [Some(8), Some(9), Some(11), Some(12), None, None, None, None][(seed % 8) as usize];
        World {
            rng,
            upheaval,
            refills,
            cyclic,
            exactly_once,
            flows,
            policy,
            odds,
            faults: Vec::new(),
            broken: Vec::new(),
            uid: 0,
            destroyed: BTreeSet::new(),
            truncations: Vec::new(),
            forged: BTreeSet::new(),
            calm: BTreeSet::new(),
        }
    }

    /// Load and faults, then healing and catching up.
    pub fn run(&mut self) {
        for _ in 0..STEPS {
            self.produce();
            if self.rng.u32(0..10) == 0 {
                self.fault();
            }
            for flow in 0..self.flows.len() {
                self.ensure_daemon(flow);
                self.step(flow);
                if !self.cyclic && self.rng.u32(0..6) == 0 {
                    self.follow(flow);
                }
            }
            if !self.broken.is_empty() {
                return;
            }
        }
        if !self.cyclic && self.rng.u32(0..6) == 0 {
            return crate::switch::run(self);
        }
        self.heal();
    }

    fn produce(&mut self) {
        for flow in 0..self.flows.len() {
            for _ in 0..self.rng.usize(0..3) {
                let partition = self.rng.i32(0..PARTITIONS);
                if self.calm.contains(&partition) {
                    continue;
                }
                self.uid += 1;
                let uid = (flow as u64) << 32 | self.uid;
                let cluster = self.flows[flow].source.clone();
                let hops = (self.cyclic && !self.exactly_once && self.rng.u32(0..8) == 0)
                    .then(|| self.forge(flow, uid, partition));
                if let Some(log) = cluster.borrow_mut().log(&TOPIC.into(), partition) {
                    if !self.cyclic && self.rng.u32(0..12) == 0 && log.open_from.is_none() {
                        log.open_from = Some(log.end);
                    }
                    log.append(FakeRecord { uid, home: partition, hops, copy: false });
                    if self.rng.u32(0..4) == 0 {
                        let commit = self.rng.bool();
                        log.end_transaction(commit);
                    }
                }
            }
        }
    }

    /// An application copies a header of ours onto a record of its own: the record must be delivered all the same.
    fn forge(&mut self, flow: usize, uid: u64, partition: i32) -> Vec<u8> {
        self.forged.insert(uid);
        let other = self.flows[flow].target.borrow();
        let topic_id = other.topic_id(&TOPIC.into()).unwrap();
        let offset = SourceOffset(10_000); // a place that no copy of it can come to lie at
        let hop = Hop { cluster: other.id.clone(), topic_id, partition: PartitionId(partition), offset };
        let content = FakeRecord { uid, home: partition, hops: None, copy: false }.content();
        provenance::encode(if self.rng.bool() { content } else { 7 }, &[], &hop)
    }

    fn ensure_daemon(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        if flow.daemon.as_ref().is_some_and(|daemon| !daemon.fenced) || flow.switched {
            return;
        }
        let caches = std::mem::take(&mut flow.caches);
        let cache = match self.rng.u32(0..3) {
            0 => (Progress::default(), 0),
            _ => caches.into_iter().next_back().unwrap_or_default(),
        };
        let ends = (flow.source.clone(), flow.target.clone());
        let setup = (self.policy, self.odds, self.cyclic, self.exactly_once);
        flow.daemon = Some(Daemon::start(ends, cache, &mut flow.log, setup, self.rng.fork()));
    }

    /// Some steps of everyone on this flow, then what must hold at every moment.
    pub fn step(&mut self, at: usize) {
        let other = self.cyclic.then(|| std::mem::take(&mut self.flows[1 - at].truth));
        let flow = &mut self.flows[at];
        let before = flow.log.end();
        for daemon in flow.zombies.iter_mut().chain(&mut flow.daemon) {
            for _ in 0..self.rng.usize(1..5) {
                let mut around = Around { log: &mut flow.log, other: other.as_ref(), broken: &mut self.broken };
                daemon.step(&mut around);
            }
        }
        if self.rng.u32(0..3) == 0 {
            let target = flow.target.clone();
            flow.late.retain_mut(|late| late.land_one(&target));
        }
        let written = flow.log.end() != before;
        if let Some(other) = other {
            self.flows[1 - at].truth = other;
        }
        let flow = &mut self.flows[at];
        if written {
            flow.next = flow.log.catch_up(&mut flow.truth, flow.next);
            self.check_positions(at);
        }
    }

    /// L1 and L5: what a durable position has passed is at the target, or in the ledger.
    fn check_positions(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        let mut missing = Vec::new();
        for state in flow.truth.lanes() {
            let (lane, position) = (state.lane(), state.position().get());
            flow.first.entry(lane.clone()).or_insert(position);
            let from = flow.seen.insert(lane.clone(), position).unwrap_or(position);
            if from >= position {
                continue;
            }
            for line in crate::check::history(&flow.source, lane) {
                let passed = line.fate == Fate::Kept && (from..position).contains(&line.offset);
                if !passed || (self.cyclic && origin(line.uid) != at) || self.destroyed.contains(&line.uid) {
                    continue;
                }
                let ledgered =
                    flow.truth.gaps().any(|gap| gap.lane == *lane && gap.range.contains(SourceOffset(line.offset)));
                if !ledgered && !crate::check::landed(&flow.target, state.target_topic(), lane.partition.0, line.uid) {
                    missing.push(format!("L1/L5 {lane}: durable position {position} passed {}", line.offset));
                }
            }
        }
        self.broken.append(&mut missing);
    }

    fn fault(&mut self) {
        let at = self.rng.usize(0..self.flows.len());
        let kind = self.rng.u32(0..if self.cyclic { 4 } else { 13 });
        if UPHEAVALS.contains(&kind) && self.upheaval.is_some_and(|only| only != kind) {
            return;
        }
        let partition = self.rng.i32(0..PARTITIONS);
        let topic = TopicName::new(TOPIC);
        let source = self.flows[at].source.clone();
        let alone = self.flows[at].zombies.is_empty();
        let name = match kind {
            0 => self.crash(at),
            1 if self.flows[at].zombies.len() < 2 => self.abandon(at),
            2 => self.compact_progress(at),
            3 | 4 => self.keep_cache(at),
            5 | 6 => {
                let log = &mut source.borrow_mut();
                let log = log.log(&topic, partition).unwrap();
                let start = log.start + self.rng.i64(0..12);
                log.retain_from(start);
                format!("retention of {partition} to {}", log.start)
            }
            7 => {
                let mut cluster = source.borrow_mut();
                let log = cluster.log(&topic, partition).unwrap();
                let stable = log.stable();
                for at in log.records.keys().copied().filter(|at| *at < stable).collect::<Vec<_>>() {
                    if self.rng.u32(0..4) == 0 {
                        log.compact(at);
                    }
                }
                format!("compaction of {partition}")
            }
            // once only: with two lost generations it is not told which one was copied last (`plan`)
            8 if self.rng.u32(0..3) == 0 && source.borrow().deleted.is_empty() => {
                source.borrow_mut().create(&topic, PARTITIONS as usize);
                self.calm.clear();
                "source topic re-created".to_owned()
            }
            9 if self.calm.is_empty() && alone => self.truncate_source(at, partition),
            10 if alone && self.refills => self.hurt_target(at, partition, false),
            11 if alone => self.hurt_target(at, partition, true),
            12 if self.rng.u32(0..3) == 0 => {
                let refused = self.uid + self.rng.u64(1..4);
                self.flows[at].target.borrow_mut().refused.insert(refused);
                format!("record {refused} will be refused")
            }
            _ => return,
        };
        self.faults.push(format!("flow {at}: {name}"));
    }

    fn crash(&mut self, at: usize) -> String {
        // on a cycle one process runs both flows, but a crash of one of them tells no less
        let flow = &mut self.flows[at];
        if let Some(daemon) = flow.daemon.take() {
            flow.late.extend(daemon.die());
        }
        "crash".to_owned()
    }

    /// The instance is taken for dead and replaced, and lives on.
    fn abandon(&mut self, at: usize) -> String {
        let flow = &mut self.flows[at];
        if let Some(mut daemon) = flow.daemon.take() {
            daemon.looks = self.rng.bool();
            flow.zombies.push(daemon);
        }
        "zombie".to_owned()
    }

    fn keep_cache(&mut self, at: usize) -> String {
        let flow = &mut self.flows[at];
        flow.caches.extend(flow.daemon.as_ref().map(Daemon::cache));
        "cache kept".to_owned()
    }

    /// L2: compaction takes nothing away that is live.
    fn compact_progress(&mut self, at: usize) -> String {
        let flow = &mut self.flows[at];
        let before = flow.log.fold();
        let to = self.rng.u64(0..=flow.log.end());
        flow.log.compact(to, false);
        let after = flow.log.fold();
        for state in before.lanes() {
            let lane = state.lane();
            let Some(now) = after.lane(lane) else {
                self.broken.push(format!("L2 {lane}: compaction removed it"));
                continue;
            };
            if now.position() != state.position() {
                self.broken.push(format!("L2 {lane}: compaction moved it {} -> {}", state.position(), now.position()));
            }
            for x in 0..now.position().get() + 2 {
                let (was, is) = (state.map().translate(SourceOffset(x)), now.map().translate(SourceOffset(x)));
                if is.offset > was.offset {
                    self.broken.push(format!("L2 {lane}: compaction moved T({x}) ahead: {was:?} -> {is:?}"));
                }
            }
        }
        if before.gaps().ne(after.gaps()) || before.holder() != after.holder() {
            self.broken.push("L2 compaction changed the ledger or the holder".into());
        }
        format!("progress compacted to {to}")
    }

    fn truncate_source(&mut self, at: usize, partition: i32) -> String {
        let source = self.flows[at].source.clone();
        let mut cluster = source.borrow_mut();
        let id = cluster.topic_id(&TOPIC.into()).unwrap();
        let log = cluster.log(&TOPIC.into(), partition).unwrap();
        let to = (log.end - self.rng.i64(1..8)).max(log.start);
        if to >= log.end {
            return "nothing to truncate".to_owned();
        }
        log.truncate(to);
        self.truncations.push((id, partition, to));
        self.flows[at].answered.retain(|(lane, x, _)| lane.partition.0 != partition || *x <= to);
        // a log that grows back before anyone looked is beyond what ends can show: nothing is written until the mirror saw it
        self.calm.insert(partition);
        format!("source {partition} truncated to {to}")
    }

    fn hurt_target(&mut self, at: usize, partition: i32, whole: bool) -> String {
        let flow = &mut self.flows[at];
        let topic = TopicName::new(TOPIC);
        flow.late.clear();
        let mut target = flow.target.borrow_mut();
        let (name, lost) = if whole {
            let old = &target.topics[&topic].partitions;
            let lost: Vec<u64> = old.iter().flat_map(|log| log.records.values()).map(|r| r.uid).collect();
            target.create(&topic, PARTITIONS as usize);
            ("target re-created".to_owned(), lost)
        } else {
            let log = target.log(&topic, partition).unwrap();
            let to = (log.end - self.rng.i64(1..10)).max(log.start);
            let lost = log.truncate(to).into_iter().map(|record| record.uid).collect();
            (format!("target {partition} truncated to {to}"), lost)
        };
        drop(target);
        self.destroyed.extend(lost);
        flow.answered.clear();
        flow.committed.clear();
        if let Some(daemon) = &mut flow.daemon {
            daemon.disconnect(&topic);
        }
        name
    }

    /// Keeps a group translated at the target, as the runtime does.
    fn follow(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        let Some(daemon) = flow.daemon.as_ref().filter(|d| flow.truth.is_held_by(d.epoch, &d.owner)) else { return };
        let partition = self.rng.i32(0..PARTITIONS);
        let (group, topic, key) = (GroupName::from("g"), TopicName::new(TOPIC), PartitionId(partition));
        if self.rng.u32(0..8) == 0 {
            // the group moves to the target, or leaves it; while it lives there it commits for itself
            flow.live = !flow.live;
            if flow.live {
                flow.committed.insert(partition, TargetOffset(self.rng.i64(0..9)));
            }
            return;
        }
        let Some(id) = flow.source.borrow().topic_id(&topic) else { return };
        let lane = LaneId::new(topic.clone(), id, partition);
        let (x, ends) = match (flow.source.borrow_mut().log(&topic, partition), flow.truth.lane(&lane)) {
            (Some(log), Some(state)) => {
                let x = self.rng.i64(log.start..=log.end);
                let target = flow.target.borrow_mut().log(state.target_topic(), partition).map(|log| log.target_ends());
                (x, target)
            }
            _ => return,
        };
        let Some(ends) = ends else { return };
        let translation = flow.truth.lane(&lane).map(|state| flow.truth.translate(state, SourceOffset(x)));
        let last = flow.truth.group(&group, &topic, key).copied();
        let committed = flow.committed.get(&partition).copied();
        let here = if flow.live { AtTarget::Live } else { AtTarget::Idle };
        let place = Place { source: SourceOffset(x), translation, ends, committed, last };
        let Verdict::Commit(target) = judge(here, &place) else { return };
        let foreign = committed.is_some_and(|found| !last.is_some_and(|last| last.explains(found)));
        if flow.live || foreign {
            self.broken.push(format!("F6 {lane}: the group was overwritten (live {}, foreign {foreign})", flow.live));
        }
        let written = LastWritten { source: SourceOffset(x), target, at: NOW, epoch: daemon.epoch, before: committed };
        let Some(pen) = daemon.pen else { return };
        if !flow.log.append_with(pen, &[Record::group(group, topic, key, written)]) {
            return;
        }
        if self.rng.u32(0..5) > 0 {
            flow.committed.insert(partition, target);
        }
        if translation.is_some_and(|t| !matches!(t.exactness, Exactness::ClampedBelow)) {
            flow.answered.push((lane, x, target.get()));
        }
    }

    /// No more faults: everyone who should catch up does, or it is a breach of liveness.
    fn heal(&mut self) {
        for flow in &mut self.flows {
            for zombie in &mut flow.zombies {
                zombie.heal();
            }
        }
        self.commit_all();
        self.odds = Odds::default();
        let mut more = true;
        for round in 0..HEAL_ROUNDS_MAX {
            for at in 0..self.flows.len() {
                self.ensure_daemon(at);
                let flow = &mut self.flows[at];
                if let Some(daemon) = &mut flow.daemon {
                    daemon.heal();
                    if round % 50 == 49 {
                        let mut around = Around { log: &mut flow.log, other: None, broken: &mut self.broken };
                        daemon.resume(&mut around);
                    }
                }
                self.step(at);
            }
            if !self.broken.is_empty() {
                return;
            }
            if round % 50 == 40 && round > 60 && self.is_quiet() {
                if !more {
                    return;
                }
                // a log that lost its tail grows back only now: everyone has seen its end
                (more, _) = (false, self.calm.clear());
                (0..8).for_each(|_| self.produce());
                self.commit_all();
            }
        }
        let states: Vec<String> = self
            .flows
            .iter()
            .flat_map(|flow| flow.daemon.iter().flat_map(Daemon::lanes))
            .map(|lane| format!("{} {:?}", lane.id(), lane.state()))
            .collect();
        self.broken.push(format!("STUCK after {HEAL_ROUNDS_MAX} rounds: {states:?}"));
    }

    fn commit_all(&mut self) {
        for flow in &mut self.flows {
            for partition in 0..PARTITIONS {
                if let Some(log) = flow.source.borrow_mut().log(&TOPIC.into(), partition) {
                    log.end_transaction(true);
                }
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.flows.iter().all(|flow| {
            let done = |daemon: &Daemon| daemon.fenced || daemon.is_done();
            flow.late.is_empty() && flow.zombies.iter().all(done) && flow.daemon.as_ref().is_some_and(Daemon::is_done)
        })
    }
}
