//! The same odd requests to the included broker and to a real Apache Kafka node: the same error codes, and the same state afterwards.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

#[path = "differential/admin.rs"]
mod admin;
mod broker_support;
#[path = "differential/configs.rs"]
mod configs;
#[path = "differential/fetch.rs"]
mod fetch;
#[path = "differential/groups.rs"]
mod groups;
#[path = "differential/offsets.rs"]
mod offsets;
#[path = "differential/peer.rs"]
mod peer;
#[path = "differential/produce.rs"]
mod produce;
#[path = "differential/raw.rs"]
mod raw;
mod support;
#[path = "differential/topics.rs"]
mod topics;
#[path = "differential/txn.rs"]
mod txn;

use std::time::{Duration, Instant};

use broker_support::BrokerProcess;
use causeway_wire::ApiKey;
use peer::Peer;
use support::kafka::{self, Kafka};
use support::skip;

/// A case: its name, and what it asks of either broker.
pub type Case = (&'static str, fn(&mut Peer));

/// Fewer would mean that a part was lost on the way.
const CASES_MIN: usize = 150;
/// Changes of metadata reach every part of a Kafka node within this.
const SETTLE_MAX: Duration = Duration::from_secs(3);
/// Settings of both brokers, where their defaults or those of the tests differ.
const SETTINGS: &[&str] = &[
    "num.partitions=4",
    // Long, so that every case of one group falls within it on both sides.
    "group.consumer.assignment.interval.ms=15000",
    "group.min.session.timeout.ms=1000",
    "log.retention.ms=-1",
    "offsets.topic.num.partitions=4",
    "transaction.state.log.num.partitions=4",
];
type Settings = &'static [(&'static str, &'static str)];
/// Topics that cases may use and must leave as they are, apart from what they write.
const TOPICS: &[(&str, i32, Settings)] = &[
    ("plain", 2, &[]),
    ("compacted", 1, &[("cleanup.policy", "compact")]),
    ("small", 1, &[("max.message.bytes", "2000")]),
    ("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]),
    (
        "strict-times",
        1,
        &[("message.timestamp.after.max.ms", "3600000"), ("message.timestamp.before.max.ms", "3600000")],
    ),
    ("two-in-sync", 1, &[("min.insync.replicas", "2")]),
];

/// Cases that are known to differ, with the reason.
fn known() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/known.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let split = |line: &str| line.split_once(" | ").map(|(case, reason)| (case.to_owned(), reason.to_owned()));
    lines.map(|line| split(line).unwrap_or_else(|| panic!("`case | reason` expected: {line}"))).collect()
}

fn cases() -> Vec<Case> {
    [
        produce::CASES,
        fetch::CASES,
        offsets::CASES,
        topics::CASES,
        configs::CASES,
        groups::CASES,
        txn::CASES,
        admin::CASES,
        raw::CASES,
    ]
    .concat()
}

/// Both transcripts of one case, and the changes of state where they differ.
struct Outcome {
    name: &'static str,
    ours: Vec<String>,
    theirs: Vec<String>,
    state: Option<String>,
}

impl Outcome {
    fn same(&self) -> bool {
        self.ours == self.theirs && self.state.is_none()
    }
}

fn run(case: &Case, ours: &mut Peer, theirs: &mut Peer) -> Outcome {
    let (name, ask) = *case;
    for peer in [&mut *ours, &mut *theirs] {
        peer.reconnect();
        peer.begin();
        ask(peer);
    }
    let state = differing_state(ours, theirs);
    Outcome { name, ours: ours.transcript.clone(), theirs: theirs.transcript.clone(), state }
}

fn differing_state(ours: &mut Peer, theirs: &mut Peer) -> Option<String> {
    let end = Instant::now() + SETTLE_MAX;
    loop {
        let (our, their) = (ours.changes(), theirs.changes());
        if our == their {
            return None;
        }
        if Instant::now() > end {
            return Some(format!("ours {our:?}, Kafka {their:?}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn show(outcome: &Outcome) -> String {
    let mut text = format!("{}\n", outcome.name);
    for at in 0..outcome.ours.len().max(outcome.theirs.len()) {
        let (our, their) = (outcome.ours.get(at), outcome.theirs.get(at));
        if our != their {
            let line = |l: Option<&String>| l.cloned().unwrap_or_else(|| "nothing".into());
            text += &format!("    ours  {}\n    Kafka {}\n", line(our), line(their));
        }
    }
    outcome.state.iter().for_each(|line| text += &format!("    state {line}\n"));
    text
}

#[test]
fn odd_requests_get_kafkas_codes_and_leave_kafkas_state() {
    let cases = cases();
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let mut names: Vec<&str> = cases.iter().map(|c| c.0).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|w| w[0] != w[1]), "two cases have one name: {names:?}");
    if let Err(why) = kafka::available() {
        return skip("odd requests against real Kafka", &why);
    }
    let dir = tempfile::tempdir().unwrap();
    let kafka = Kafka::start_with(dir.path(), "kafka", &(SETTINGS.join("\n") + "\n"));
    let data = dir.path().join("ours");
    std::fs::create_dir(&data).unwrap();
    let broker = BrokerProcess::start(&data, 0, SETTINGS);
    let (mut ours, mut theirs) = (Peer::connect(&broker.address), Peer::connect(&kafka.bootstrap));
    for peer in [&mut ours, &mut theirs] {
        TOPICS.iter().for_each(|(name, partitions, configs)| peer.create(name, *partitions, configs));
        groups::warm_up(peer);
    }
    let known = known();
    let only = std::env::var("CAUSEWAY_DIFFERENTIAL_ONLY").unwrap_or_default();
    let (mut wrong, mut stale, mut absent, mut compared) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for case in cases.iter().filter(|c| c.0.contains(&only)) {
        let outcome = run(case, &mut ours, &mut theirs);
        if let Some(what) = &ours.absent {
            absent.push(format!("{} ({what})", outcome.name));
            continue;
        }
        compared += 1;
        if !outcome.same() {
            println!("{}", show(&outcome));
        }
        match (outcome.same(), known.iter().any(|(name, _)| name == outcome.name)) {
            (false, false) => wrong.push(show(&outcome)),
            (true, true) => stale.push(outcome.name),
            _ => {}
        }
    }
    println!("{compared} cases compared, {} differ as known, absent: {absent:?}", known.len());
    assert!(ours.unsaid.is_empty(), "cases that no client could send: {:?}", ours.unsaid);
    assert!(wrong.is_empty(), "{} cases differ from Kafka:\n{}", wrong.len(), wrong.join(""));
    assert!(stale.is_empty(), "no longer different, remove from the list: {stale:?}");
    if only.is_empty() {
        assert!(compared >= CASES_MIN.min(cases.len() - absent.len()), "{compared} compared");
        every_api_was_asked(&ours);
    }
}

/// An API that we serve and no case asks for has not been compared.
fn every_api_was_asked(ours: &Peer) {
    let served = ours.offered.keys().filter_map(|key| ApiKey::try_from(*key).ok());
    let missed: Vec<ApiKey> = served.filter(|key| !ours.asked.contains(key)).collect();
    assert!(missed.is_empty(), "no case asks {missed:?}");
}

#[test]
fn every_known_difference_has_a_reason_and_a_case() {
    let cases = cases();
    for (name, reason) in known() {
        assert!(reason.len() > 10, "{name}: say why");
        assert!(cases.iter().any(|c| c.0 == name), "{name} is no case");
    }
}
