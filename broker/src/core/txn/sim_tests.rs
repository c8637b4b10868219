//! Seeded histories of one transactional id: clients of both versions, zombies, retries after lost answers, timeouts, crashes of coordinator and partitions
//! between any two steps.
//!
//! The world keeps the log of the coordinator and those of the partitions as lists of which a crash cuts what is not durable. Held all the time: a marker
//! is written only for a decision that is durable, none contradicts it, and none ends a transaction of its own successor (R17, R19); no record is
//! appended outside an ongoing transaction (R18). Held at the end: no transaction is open, and of every transaction each partition has either all
//! records committed or all aborted, just as its client was told.

use std::collections::{BTreeMap, BTreeSet};

use causeway_wire::ErrorCode;
use fastrand::Rng;

use super::*;
use crate::core::planted::{Bug, plant};
use crate::core::producer_state::{EndMarker, ProducerBatch, ProducerState, Verdict};
use crate::core::verification::{Guard, Verifications};

const PARTITIONS: i32 = 3;
const CLIENTS: usize = 3;
const STEPS: usize = 400;
const SEEDS: u64 = 600;
const TIMEOUT_MS: i32 = 300;

/// A batch or marker in a partition's log.
#[derive(Debug, Clone, Copy)]
struct Stored {
    batch: ProducerBatch,
    /// The transaction as its client numbers it.
    txn: u64,
}

#[derive(Default)]
struct Log {
    stored: Vec<Stored>,
    durable: usize,
    producers: ProducerState,
    guards: Verifications,
}

impl Log {
    fn append(&mut self, mut batch: ProducerBatch, txn: u64) {
        (batch.base_offset, batch.last_offset) = (self.stored.len() as i64, self.stored.len() as i64);
        self.producers.record(&batch);
        self.guards.end(batch.producer_id);
        self.stored.push(Stored { batch, txn });
    }

    /// A crash: what was not flushed may be gone, and the state is read back from the rest.
    fn crash(&mut self, rng: &mut Rng) {
        let keep = rng.usize(self.durable..=self.stored.len());
        self.stored.truncate(keep);
        self.durable = keep;
        self.producers = ProducerState::default();
        self.guards = Verifications::default();
        for stored in &self.stored {
            self.producers.record(&stored.batch);
        }
    }
}

/// What a client believes.
#[derive(Debug, Clone, Default)]
struct Client {
    producer: Option<Producer>,
    sequences: BTreeMap<i32, i32>,
    added: BTreeSet<i32>,
    /// Number of the transaction it writes; outcome it asked for and was not told yet.
    txn: u64,
    wrote: bool,
    ending: Option<bool>,
    /// A write whose admission was given and that is still on its way.
    late: Option<(i32, ProducerBatch, Option<Guard>, u64)>,
}

struct World {
    rng: Rng,
    version: TxnVersion,
    now: i64,
    next_id: i64,
    next_txn: u64,
    /// The coordinator's log; the last durable record is what a crash leaves.
    journal: Vec<Txn>,
    journal_durable: usize,
    coordinator_epoch: i32,
    logs: Vec<Log>,
    clients: Vec<Client>,
    /// Outcomes that clients were told, by transaction.
    told: BTreeMap<u64, bool>,
    /// Transactions that their client asked to commit.
    asked: BTreeSet<u64>,
    /// Records acknowledged: (transaction, partition).
    acked: Vec<(u64, i32)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let version = if rng.bool() { TxnVersion::V1 } else { TxnVersion::V2 };
        let request = InitRequest { timeout_ms: TIMEOUT_MS, expected: None };
        let mut first = init(None, &request, Some(1), 0).unwrap().next.expect("a new id is recorded");
        if rng.bool() {
            // Near its last epoch, so that producer ids change in the middle.
            first.producer.epoch = EPOCH_LAST - 4;
        }
        Self {
            rng,
            version,
            now: 1_000,
            next_id: 10,
            next_txn: 0,
            journal: vec![first],
            journal_durable: 1,
            coordinator_epoch: 0,
            logs: (0..PARTITIONS).map(|_| Log::default()).collect(),
            clients: vec![Client::default(); CLIENTS],
            told: BTreeMap::new(),
            asked: BTreeSet::new(),
            acked: Vec::new(),
        }
    }

    fn txn(&self) -> Option<&Txn> {
        self.journal.last()
    }

    fn fresh(&mut self) -> Option<i64> {
        self.next_id += 1;
        Some(self.next_id)
    }

    /// Records a decision. The answer reaches its client only if that is durable and nothing crashed on the way.
    fn record<T>(&mut self, decision: Decision<T>) -> Option<T> {
        self.journal.extend(decision.next);
        if self.rng.u8(0..20) == 0 {
            self.crash();
            return None;
        }
        self.journal_durable = self.journal.len();
        // An answer may still get lost: the client will ask again.
        (self.rng.u8(0..10) != 0).then_some(decision.answer)
    }

    fn crash(&mut self) {
        let keep = self.rng.usize(self.journal_durable..=self.journal.len());
        self.journal.truncate(keep);
        self.journal_durable = keep;
        if let Some(last) = self.journal.last_mut() {
            // Not recorded, as in Kafka.
            last.last_epoch = NONE;
        }
        self.coordinator_epoch += 1;
        for log in &mut self.logs {
            log.crash(&mut self.rng);
        }
        for client in &mut self.clients {
            client.late = None;
        }
    }

    fn init(&mut self, i: usize) {
        let expected = self.clients[i].producer.filter(|_| self.rng.bool());
        let request = InitRequest { timeout_ms: TIMEOUT_MS, expected };
        let fresh = self.fresh();
        let decision = init(self.txn(), &request, fresh, self.now).unwrap();
        match self.record(decision) {
            Some(Ok(producer)) => self.begin(i, producer),
            Some(Err(ErrorCode::CONCURRENT_TRANSACTIONS)) | None => {}
            Some(Err(_)) => self.clients[i] = Client::default(),
        }
    }

    /// The client goes on with its next transaction.
    fn begin(&mut self, i: usize, producer: Producer) {
        self.next_txn += 1;
        let client = &mut self.clients[i];
        let same = client.producer == Some(producer);
        let sequences = if same { std::mem::take(&mut client.sequences) } else { BTreeMap::new() };
        *client = Client { producer: Some(producer), sequences, txn: self.next_txn, ..Client::default() };
    }

    /// Asks for admission, and appends now or only after something else happened.
    fn write(&mut self, i: usize) {
        let partition = self.rng.i32(0..PARTITIONS);
        let client = self.clients[i].clone();
        let Some(producer) = client.producer else { return self.init(i) };
        if client.ending.is_some() || client.late.is_some() {
            return;
        }
        let name = [("t".to_owned(), partition)];
        let log = &mut self.logs[partition as usize];
        let sequence = client.sequences.get(&partition).copied().unwrap_or(0);
        let open = log.producers.has_open_txn(producer.id, producer.epoch);
        let guard = (!open).then(|| log.guards.begin(producer.id, producer.epoch, sequence));
        let must_add = self.version == TxnVersion::V1 && !client.added.contains(&partition);
        if must_add || (self.version == TxnVersion::V2 && !open) {
            let decision = add_partitions(self.txn(), producer, &name, self.version, self.now);
            match self.record(decision) {
                Some(ErrorCode::NONE) => self.clients[i].added.insert(partition),
                Some(ErrorCode::CONCURRENT_TRANSACTIONS) | None => return,
                Some(_) => return self.clients[i] = Client::default(),
            };
        } else if !open && verify(self.txn(), producer, &name) != [ErrorCode::NONE] {
            return self.clients[i] = Client::default();
        }
        let batch = ProducerBatch {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: sequence,
            last_sequence: sequence,
            base_offset: 0,
            last_offset: 0,
            timestamp: self.now,
            transactional: true,
            control: false,
            marker: None,
        };
        self.clients[i].late = Some((partition, batch, guard, client.txn));
        if self.rng.u8(0..3) != 0 {
            self.arrive(i);
        }
    }

    /// A batch reaches its partition, by the rules of the log's `judge`.
    fn arrive(&mut self, i: usize) {
        let Some((partition, batch, guard, txn)) = self.clients[i].late.take() else { return };
        let log = &mut self.logs[partition as usize];
        let open = log.producers.has_open_txn(batch.producer_id, batch.producer_epoch);
        let stands = guard.is_some_and(|guard| log.guards.stands(batch.producer_id, guard));
        if log.producers.check(&batch) != Verdict::Append || (!open && !stands) {
            self.clients[i] = Client::default();
            return;
        }
        log.append(batch, txn);
        let state = self.journal.last().expect("a producer exists");
        // A fenced producer's batch may still come before the marker: it is aborted with the rest.
        assert!(state.state == TxnState::Ongoing || state.state.is_prepared(), "R18: appended outside a transaction");
        assert!(state.partitions.contains(&("t".to_owned(), partition)), "R18: appended to a partition outside it");
        self.clients[i].wrote = true;
        *self.clients[i].sequences.entry(partition).or_default() += 1;
        log.durable = log.stored.len();
        self.acked.push((txn, partition));
    }

    fn end(&mut self, i: usize) {
        let mut commit = self.clients[i].ending.unwrap_or_else(|| self.rng.bool());
        // Now and then one that got no answer changes its mind: too late, if it was decided.
        commit ^= self.clients[i].ending.is_some() && self.rng.u8(0..6) == 0;
        let client = &mut self.clients[i];
        let (Some(producer), None) = (client.producer, &client.late) else { return };
        if !client.wrote && client.ending.is_none() {
            return;
        }
        client.ending.get_or_insert(commit);
        let txn = client.txn;
        if commit {
            self.asked.insert(txn);
        }
        let fresh = self.fresh();
        let decision = end(self.txn(), &Ending { producer, commit, version: self.version }, fresh, self.now).unwrap();
        match self.record(decision) {
            Some(Ok(next)) => {
                assert_eq!(*self.told.entry(txn).or_insert(commit), commit, "two outcomes of one transaction");
                self.begin(i, next);
            }
            Some(Err(ErrorCode::CONCURRENT_TRANSACTIONS)) | None => {}
            // Fenced, or decided otherwise by time: the client gives up what it does not know.
            Some(Err(_)) => self.clients[i] = Client::default(),
        }
    }

    /// Writes some of the markers of a decided transaction, then perhaps all and the Complete record.
    fn finish(&mut self) {
        let Some(prepared) = self.txn().filter(|txn| txn.state.is_prepared()).cloned() else { return };
        // The decision is durable before the first marker.
        self.journal_durable = self.journal.len();
        let commit = prepared.state == TxnState::PrepareCommit;
        for (_, partition) in &prepared.partitions {
            match self.rng.u8(0..24) {
                0 => return,
                1 => return self.crash(),
                _ => {}
            }
            let marker = ProducerBatch {
                producer_id: prepared.producer.id,
                producer_epoch: prepared.producer.epoch,
                base_sequence: -1,
                last_sequence: -1,
                base_offset: 0,
                last_offset: 0,
                timestamp: self.now,
                transactional: true,
                control: true,
                marker: Some(EndMarker { commit, coordinator_epoch: self.coordinator_epoch }),
            };
            let log = &mut self.logs[*partition as usize];
            if log.producers.is_repeated_marker(&marker) {
                continue;
            }
            assert_eq!(log.producers.check(&marker), Verdict::Append, "R17: a marker of the current decision");
            if prepared.version == TxnVersion::V2 {
                assert!(
                    !log.producers.has_open_txn(marker.producer_id, marker.producer_epoch),
                    "R17: a later transaction"
                );
            }
            log.append(marker, u64::MAX);
            if self.rng.bool() {
                log.durable = log.stored.len();
            }
        }
        // All of them durable before the Complete record.
        self.logs.iter_mut().for_each(|log| log.durable = log.stored.len());
        let done = complete(&prepared, self.now);
        self.journal.push(done);
        if self.rng.bool() {
            self.journal_durable = self.journal.len();
        }
    }

    fn time(&mut self) {
        self.now += self.rng.i64(1..120);
        let late = self.txn().filter(|txn| txn.is_timed_out(self.now)).cloned();
        if let Some(txn) = late {
            let fresh = self.fresh();
            let next = fence(&txn, fresh, self.now).unwrap();
            self.record(Decision { answer: (), next: Some(next) });
        }
    }

    fn step(&mut self) {
        // Mostly one owner is at work; now and then another comes, or an old one wakes up.
        let i = if self.rng.u8(0..10) == 0 { self.rng.usize(0..CLIENTS) } else { 0 };
        match self.rng.u8(0..40) {
            0..=17 => self.write(i),
            18..=21 => self.arrive(i),
            22..=27 => self.end(i),
            28..=34 => self.finish(),
            35 | 36 => self.time(),
            37 => self.init(i),
            38 => self.stale_marker(),
            _ => self.crash(),
        }
    }

    /// A coordinator that was replaced writes once more: every partition that heard the new one refuses it.
    fn stale_marker(&mut self) {
        let Some(txn) = self.txn().cloned() else { return };
        for log in &self.logs {
            let Some(entry) = log.producers.get(txn.producer.id) else { continue };
            let epoch = entry.coordinator_epoch - 1;
            let marker = ProducerBatch {
                producer_id: txn.producer.id,
                producer_epoch: entry.epoch,
                base_sequence: -1,
                last_sequence: -1,
                base_offset: 0,
                last_offset: 0,
                timestamp: self.now,
                transactional: true,
                control: true,
                marker: Some(EndMarker { commit: true, coordinator_epoch: epoch }),
            };
            if entry.coordinator_epoch >= 0 {
                assert!(matches!(log.producers.check(&marker), Verdict::InvalidEpoch(_)), "R17: an older coordinator");
            }
        }
    }

    /// Everybody stops; what was decided is finished and what was not times out.
    fn settle(&mut self) {
        self.clients.iter_mut().for_each(|client| client.late = None);
        for _ in 0..100 {
            self.now += i64::from(TIMEOUT_MS) + 1;
            self.time();
            self.finish();
        }
        assert!(!self.txn().is_some_and(|txn| txn.state == TxnState::Ongoing || txn.state.is_prepared()));
    }

    /// Outcomes of each transaction by what its partitions hold.
    fn outcomes(&self) -> BTreeMap<u64, BTreeSet<bool>> {
        let mut out: BTreeMap<u64, BTreeSet<bool>> = BTreeMap::new();
        for log in &self.logs {
            assert_eq!(log.producers.first_open_txn(), None, "R18: a transaction hangs");
            let mut open: BTreeMap<i64, BTreeSet<u64>> = BTreeMap::new();
            for stored in &log.stored {
                match stored.batch.marker {
                    None => {
                        open.entry(stored.batch.producer_id).or_default().insert(stored.txn);
                    }
                    Some(marker) => {
                        for txn in open.remove(&stored.batch.producer_id).unwrap_or_default() {
                            out.entry(txn).or_default().insert(marker.commit);
                        }
                    }
                }
            }
        }
        out
    }
}

/// Runs one history to its end; how many transactions were told, and how many of them committed.
fn history(seed: u64) -> (usize, usize) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    let outcomes = world.outcomes();
    for (txn, outcome) in &outcomes {
        assert_eq!(outcome.len(), 1, "seed {seed}: transaction {txn} is torn");
        assert!(!outcome.contains(&true) || world.asked.contains(txn), "seed {seed}: nobody asked to commit {txn}");
    }
    for (txn, commit) in &world.told {
        if let Some(outcome) = outcomes.get(txn) {
            assert!(outcome.contains(commit), "seed {seed}: transaction {txn} was told {commit}");
        }
    }
    for (txn, partition) in &world.acked {
        assert!(outcomes.contains_key(txn), "seed {seed}: record of {txn} on {partition} was lost");
    }
    (world.told.len(), world.told.values().filter(|commit| **commit).count())
}

#[test]
fn r17_r18_r19_any_history_with_crashes_ends_every_transaction_once_and_as_told() {
    let (mut told, mut committed) = (0, 0);
    for seed in 0..SEEDS {
        let found = history(seed);
        told += found.0;
        committed += found.1;
    }
    assert!(told > 2_000 && committed > 800, "the histories are worth something: {told}, {committed}");
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let caught = |seed: &u64| plant(bug, || std::panic::catch_unwind(|| history(*seed))).is_err();
        match (0..SEEDS).find(caught) {
            Some(seed) => println!("{bug:?}: found by history {seed}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found in {SEEDS} histories: {missed:?}");
}
