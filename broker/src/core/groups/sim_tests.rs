//! Seeded histories of a group: clients that join, sync, beat, vanish and come back in any order.
//!
//! Held after every step: each request is answered at most once, generations only grow, a stable generation has exactly
//! one leader and its members. Held at the end: once clients behave, every request is answered and all agree.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use causeway_wire::ErrorCode;
use fastrand::Rng;

use super::*;

const LIMITS: GroupLimits =
    GroupLimits { initial_rebalance_delay: 500, members_max: 100, session_timeout_min: 1, session_timeout_max: 60_000 };
const CLIENTS: usize = 4;
const STEPS: usize = 300;
const SEEDS: u64 = 400;

#[derive(Debug, Clone, PartialEq)]
enum Doing {
    Nothing,
    Joining(Token),
    Syncing(Token),
    Reading,
}

#[derive(Debug, Clone)]
struct Client {
    member_id: String,
    instance: Option<String>,
    generation: i32,
    leads: Vec<String>,
    doing: Doing,
}

struct World {
    group: Group,
    clients: Vec<Client>,
    now: Millis,
    next_token: Token,
    open: BTreeSet<Token>,
    rng: Rng,
    last_generation: i32,
    known: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let known = rng.bool();
        let client = |i: usize, rng: &mut Rng| Client {
            member_id: String::new(),
            instance: rng.bool().then(|| format!("static-{i}")),
            generation: -1,
            leads: Vec::new(),
            doing: Doing::Nothing,
        };
        let clients = (0..CLIENTS).map(|i| client(i, &mut rng)).collect();
        let group = Group::new("g", LIMITS);
        Self { group, clients, now: 0, next_token: 0, open: BTreeSet::new(), rng, last_generation: 0, known }
    }

    fn token(&mut self) -> Token {
        self.next_token += 1;
        self.open.insert(self.next_token);
        self.next_token
    }

    fn join(&mut self, i: usize) {
        let token = self.token();
        let client = &mut self.clients[i];
        client.doing = Doing::Joining(token);
        let request = JoinRequest {
            member_id: client.member_id.clone(),
            instance_id: client.instance.clone(),
            client_id: format!("c{i}"),
            client_host: "/h".into(),
            session_timeout: 10_000,
            rebalance_timeout: 20_000,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), Bytes::from(vec![self.rng.u8(0..3)]))],
            require_known_member_id: self.known,
            can_skip_assignment: self.rng.bool(),
            new_member_id: format!("m{token}"),
        };
        let effects = self.group.join(&request, token, self.now);
        self.apply(effects);
    }

    fn sync(&mut self, i: usize) {
        let token = self.token();
        let client = &mut self.clients[i];
        client.doing = Doing::Syncing(token);
        let generation = client.generation;
        let given = |m: &String| (m.clone(), Bytes::from(format!("{m}@{generation}")));
        let request = SyncRequest {
            member_id: client.member_id.clone(),
            instance_id: client.instance.clone(),
            generation,
            protocol_type: None,
            protocol: None,
            assignments: client.leads.iter().map(given).collect(),
        };
        let effects = self.group.sync(&request, token, self.now);
        self.apply(effects);
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Join(token, reply) => self.joined(token, &reply),
                Effect::Sync(token, reply) => self.synced(token, &reply),
                Effect::Persist | Effect::Rebalance(_) => {}
            }
        }
        self.check();
    }

    fn joined(&mut self, token: Token, reply: &JoinReply) {
        assert!(self.open.remove(&token), "answered once");
        let Some(client) = self.clients.iter_mut().find(|c| c.doing == Doing::Joining(token)) else { return };
        client.doing = Doing::Nothing;
        match reply.error {
            ErrorCode::NONE => {
                client.member_id = reply.member_id.clone();
                client.generation = reply.generation;
                client.leads = reply.members.iter().map(|(id, ..)| id.clone()).collect();
                if reply.skip_assignment {
                    client.leads.clear();
                }
            }
            ErrorCode::MEMBER_ID_REQUIRED => client.member_id = reply.member_id.clone(),
            _ => client.member_id.clear(),
        }
    }

    fn synced(&mut self, token: Token, reply: &SyncReply) {
        assert!(self.open.remove(&token), "answered once");
        let Some(client) = self.clients.iter_mut().find(|c| c.doing == Doing::Syncing(token)) else { return };
        client.doing = Doing::Nothing;
        match reply.error {
            ErrorCode::NONE => client.doing = Doing::Reading,
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => client.member_id.clear(),
            _ => {}
        }
    }

    fn check(&mut self) {
        assert!(self.group.generation >= self.last_generation, "generations grow");
        self.last_generation = self.group.generation;
        let group = &self.group;
        if group.state == GroupState::Empty {
            assert!(group.members.is_empty());
        }
        if matches!(group.state, GroupState::Stable | GroupState::CompletingRebalance) {
            let leader = group.leader.as_ref().expect("a generation has a leader");
            assert!(group.members.contains_key(leader), "the leader is a member");
        }
        for (instance, id) in &group.static_members {
            assert_eq!(group.members[id].instance_id.as_ref(), Some(instance), "static ids and members agree");
        }
        for client in self.clients.iter().filter(|c| c.doing == Doing::Reading) {
            assert!(client.generation <= group.generation);
        }
    }

    /// What a well-behaved client does next.
    fn go_on(&mut self, i: usize) {
        let client = self.clients[i].clone();
        match client.doing {
            Doing::Joining(_) | Doing::Syncing(_) => {}
            Doing::Nothing if client.generation == self.group.generation && !client.member_id.is_empty() => {
                self.sync(i)
            }
            Doing::Nothing => self.join(i),
            Doing::Reading => {
                let instance = client.instance.as_deref();
                let beat = self.group.heartbeat(&client.member_id, instance, client.generation, self.now);
                match beat {
                    Ok(()) => {}
                    Err(ErrorCode::REBALANCE_IN_PROGRESS) => self.join(i),
                    Err(ErrorCode::ILLEGAL_GENERATION) => self.join(i),
                    Err(_) => {
                        self.clients[i].member_id.clear();
                        self.join(i);
                    }
                }
            }
        }
    }

    fn pass(&mut self, time: Millis) {
        self.now += time;
        let effects = self.group.tick(self.now);
        self.apply(effects);
        if let Some(next) = self.group.next_deadline() {
            assert!(next > self.now, "a tick leaves nothing due behind: {next} at {}", self.now);
        }
    }

    fn step(&mut self) {
        let i = self.rng.usize(0..CLIENTS);
        match self.rng.u8(0..20) {
            0..=11 => self.go_on(i),
            12..=15 => {
                let time = self.rng.u64(1..4_000);
                self.pass(time);
            }
            16 => {
                let client = self.clients[i].clone();
                let mut out = Vec::new();
                if !client.member_id.is_empty() {
                    let _ = self.group.leave(&client.member_id, client.instance.as_deref(), self.now, &mut out);
                }
                self.clients[i].member_id.clear();
                self.clients[i].doing = Doing::Nothing;
                self.apply(out);
            }
            // It crashed and starts anew without its id; whatever it waited for is lost on it.
            17 => {
                self.clients[i].member_id.clear();
                self.clients[i].generation = -1;
                self.clients[i].doing = Doing::Nothing;
            }
            // It lost an answer and asks again.
            18 => self.join(i),
            _ => {
                let value = self.group.value();
                if self.rng.bool() && self.group.state == GroupState::Stable {
                    // The broker restarted: parked requests are lost with it.
                    self.group = Group::restore("g", LIMITS, value, self.now);
                    self.open.clear();
                    for client in &mut self.clients {
                        if client.doing != Doing::Reading {
                            client.doing = Doing::Nothing;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn any_history_ends_in_one_agreed_generation() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        // From here on everybody behaves.
        let mut rounds = 0;
        let settled = |w: &World| {
            w.group.state == GroupState::Stable
                && w.clients.iter().all(|c| c.doing == Doing::Reading && c.generation == w.group.generation)
                && w.group.members.len() == CLIENTS
        };
        while !settled(&world) {
            for i in 0..CLIENTS {
                world.go_on(i);
            }
            world.pass(1_000);
            rounds += 1;
            assert!(rounds < 200, "seed {seed} does not settle: {:?} {:?}", world.group, world.clients);
        }
        let assignments: BTreeMap<&String, &Bytes> =
            world.group.members.values().map(|m| (&m.id, &m.assignment)).collect();
        assert_eq!(assignments.len(), CLIENTS, "seed {seed}");
        assert!(world.open.is_empty(), "seed {seed}: {:?} wait for ever", world.open);
    }
}
