//! Seeded histories of a consumer group: members of both kinds of membership that join, give back, fall silent and come
//! back, topics that grow, regular expressions, restarts.
//!
//! Held after every step: nobody reads a partition that another may still read, epochs only grow, a replay of the log gives
//! the same group. Held at the end: everybody has what the target says, and the target is complete.

use std::collections::BTreeMap;

use causeway_wire::{ErrorCode, Uuid};
use fastrand::Rng;

use super::tests_support::*;
use super::*;

const CLIENTS: usize = 5;
const STEPS: usize = 250;
const SEEDS: u64 = 80;

#[derive(Debug, Clone, Default)]
struct Client {
    member_id: String,
    instance: Option<String>,
    epoch: i32,
    /// What it reads.
    holds: Partitions,
    /// What it was last told to read.
    told: Partitions,
    topics: Vec<String>,
    regex: Option<String>,
    alive: bool,
}

struct World {
    bench: Bench,
    clients: Vec<Client>,
    rng: Rng,
    next_id: u32,
    last_epoch: i32,
    epochs: BTreeMap<String, i32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let clients = (0..CLIENTS)
            .map(|i| Client { instance: rng.bool().then(|| format!("i{i}")), ..Client::default() })
            .collect();
        let mut bench = Bench::new(&[("a", 4), ("ab", 3), ("b", 2)]);
        // Those that died are members until their sessions end.
        bench.limits.members_max = 1_000;
        bench.limits.assignment_interval = [0, 1_000, 5_000][rng.usize(0..3)];
        Self { bench, clients, rng, next_id: 0, last_epoch: 0, epochs: BTreeMap::new() }
    }

    fn wish(&mut self) -> (Vec<String>, Option<String>) {
        match self.rng.u8(0..5) {
            0 => (vec!["a".into()], None),
            1 => (Vec::new(), Some("a.*".into())),
            2 => (vec!["b".into()], Some("ab".into())),
            _ => (vec!["a".into(), "ab".into(), "b".into()], None),
        }
    }

    fn request(&self, i: usize) -> HeartbeatRequest {
        let client = &self.clients[i];
        HeartbeatRequest {
            member_id: client.member_id.clone(),
            epoch: client.epoch,
            instance_id: client.instance.clone(),
            rebalance_timeout: 20_000,
            topics: Some(client.topics.clone()),
            regex: Some(client.regex.clone().unwrap_or_default()),
            owned: Some(client.holds.clone()),
            ..HeartbeatRequest::default()
        }
    }

    fn start(&mut self, i: usize) {
        self.next_id += 1;
        let (topics, regex) = self.wish();
        let client = &mut self.clients[i];
        client.member_id = format!("m{}", self.next_id);
        client.epoch = 0;
        (client.topics, client.regex) = (topics, regex);
        client.holds.clear();
        client.told.clear();
        client.alive = true;
    }

    /// A heartbeat, whose answer may get lost.
    fn beat(&mut self, i: usize, lossy: bool) {
        let request = self.request(i);
        let answer = self.bench.beat(&request);
        if lossy && self.rng.u8(0..10) == 0 {
            // It waits for the next answer before it takes up more: the protocol itself has a gap here, for the coordinator
            // takes the silence about an assignment that was not taken up yet for its return.
            self.clients[i].told = self.clients[i].holds.clone();
            return;
        }
        let client = &mut self.clients[i];
        match answer {
            Ok(reply) => {
                client.epoch = reply.epoch;
                if let Some(assignment) = reply.assignment {
                    client.told = assignment;
                }
            }
            Err(refusal) => match refusal.code {
                // It drops everything and joins again; one whose id is another's now, or not yet free, waits for its turn.
                ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::UNKNOWN_MEMBER_ID => {
                    client.holds.clear();
                    client.told.clear();
                    client.epoch = 0;
                    if client.instance.is_some() {
                        client.alive = false;
                    }
                }
                ErrorCode::UNRELEASED_INSTANCE_ID | ErrorCode::FENCED_INSTANCE_ID => {
                    client.holds.clear();
                    client.alive = false;
                }
                code => panic!("{code:?} {request:?}"),
            },
        }
    }

    /// The client takes up what it was told, giving back first: both are steps of their own.
    fn take_up(&mut self, i: usize) {
        let client = &mut self.clients[i];
        let told = client.told.clone();
        let keeps = |t: &Uuid, p: &i32| told.get(t).is_some_and(|ps| ps.contains(p));
        let before = client.holds.clone();
        for (topic, partitions) in &mut client.holds {
            partitions.retain(|p| keeps(topic, p));
        }
        client.holds.retain(|_, partitions| !partitions.is_empty());
        if client.holds == before {
            client.holds = told;
        }
    }

    fn check(&mut self, seed: u64) {
        let group = &self.bench.group;
        assert!(group.members.is_empty() || group.epoch >= self.last_epoch, "seed {seed}: epochs grow");
        self.last_epoch = group.epoch;
        let mut readers: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for client in self.clients.iter().filter(|c| c.alive) {
            // A client that the group has let go of drops what it reads before its session there ends.
            if !group.members.contains_key(&client.member_id) {
                continue;
            }
            for (topic, partitions) in &client.holds {
                for p in partitions {
                    let other = readers.insert((*topic, *p), &client.member_id);
                    assert!(other.is_none(), "seed {seed}: {other:?} and {} read {p}", client.member_id);
                }
            }
        }
        for member in group.members.values().filter(|m| m.current.epoch > 0) {
            let last = self.epochs.insert(member.id.clone(), member.current.epoch);
            assert!(last.is_none_or(|l| l <= member.current.epoch), "seed {seed}: {} goes back", member.id);
            assert!(member.current.epoch <= group.epoch, "seed {seed}");
        }
        assert!(group.target_epoch <= group.epoch, "seed {seed}");
    }

    fn step(&mut self) {
        let i = self.rng.usize(0..CLIENTS);
        let alive = self.clients[i].alive;
        match self.rng.u8(0..24) {
            0..=11 if alive => self.beat(i, true),
            12..=15 if alive => self.take_up(i),
            0..=15 => self.start(i),
            16 if alive && self.clients[i].epoch > 0 => {
                let client = self.clients[i].clone();
                let epoch = if client.instance.is_some() && self.rng.bool() { LEAVE_STATIC } else { LEAVE };
                let _ = self.bench.leave(&client.member_id, client.instance.as_deref(), epoch);
                self.clients[i].alive = false;
            }
            // It dies without a word.
            17 => self.clients[i].alive = false,
            18 if alive => {
                let (topics, regex) = self.wish();
                (self.clients[i].topics, self.clients[i].regex) = (topics, regex);
            }
            19 => {
                let name = ["a", "ab", "b", "ac"][self.rng.usize(0..4)];
                let partitions = self.bench.topics.topics.get(name).map_or(1, |(_, p)| (*p + 1).min(9));
                self.bench.topics.set(name, partitions);
            }
            20 => {
                // The broker restarts: only what the log says is left.
                self.bench.group = self.bench.replayed.clone();
                self.bench.group.restart_sessions(45_000, self.bench.now);
            }
            _ => {
                let time = self.rng.u64(1..4_000);
                self.pass(time);
            }
        }
    }

    fn pass(&mut self, time: u64) {
        let fenced = self.bench.pass(time);
        for client in self.clients.iter_mut().filter(|c| fenced.contains(&c.member_id)) {
            // Its own timers ran out before the group's did.
            client.holds.clear();
            client.told.clear();
        }
    }

    fn settled(&self) -> bool {
        let group = &self.bench.group;
        group.state() == "Stable"
            && group.members.len() == CLIENTS
            && self
                .clients
                .iter()
                .all(|c| c.alive && group.targets.get(&c.member_id) == Some(&c.holds) && c.epoch == group.target_epoch)
    }
}

#[test]
fn any_history_ends_with_everybody_at_the_target() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
            world.check(seed);
        }
        let mut rounds = 0;
        while !world.settled() {
            for i in 0..CLIENTS {
                if world.clients[i].alive {
                    world.beat(i, false);
                    world.check(seed);
                    world.take_up(i);
                } else {
                    world.start(i);
                }
                world.check(seed);
            }
            world.pass(1_000);
            rounds += 1;
            assert!(rounds < 200, "seed {seed} does not settle: {:?}\n{:?}", world.bench.group, world.clients);
        }
        let group = &world.bench.group;
        let given: usize = group.targets.values().flat_map(|t| t.values()).map(|p| p.len()).sum();
        let wanted: i32 =
            world.bench.topics.topics.iter().filter(|(n, _)| group.is_subscribed_to(n)).map(|(_, (_, p))| *p).sum();
        assert_eq!(given, wanted as usize, "seed {seed}: every partition that is read has a reader");
    }
}
