//! `run kill`: load, faults, heal, catch up, read everything, judge.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use causeway::config::valid::{Delivery, Engine};
use causeway::drill::checker::{Counts, Evidence, Log, judge};
use causeway::drill::error::DrillError;
use causeway::drill::fleet::END_MAX;
use causeway::drill::history::Place;
use causeway::drill::payload::Uid;
use causeway::drill::shapes::Mix;
use causeway::drill::stage::{GROUP, LOOK_INTERVAL, Stage, StagePlan, TopicPlan, Topology};
use causeway_wire::client::Client;
use serde::Serialize;

use crate::faults::{Deck, Fault, PAUSE_MAX};
use crate::follow;

/// Least and most time between two faults, in milliseconds; one gap in four is quiet and lasts three times as long.
const GAP_MS: std::ops::Range<u64> = 500..2_500;
/// Least and most time that a victim stays down or stopped, in milliseconds.
const DOWN_MS: std::ops::Range<u64> = 100..3_000;
/// One fault in this many comes together with another one on another victim.
const PAIRS: u8 = 4;
/// Seconds that one fault takes on average, with its gap and the restart: what the rate is reckoned by.
const SECONDS_PER_FAULT: u64 = 4;
/// Bounds of the rate, in records per second.
const RATE: std::ops::RangeInclusive<u64> = 300..=8_000;
/// How long the load may go on after the last fault to reach the number of records asked for.
const LOAD_MAX: Duration = Duration::from_secs(300);
/// Least load after the group stopped.
const LAG_MIN: Duration = Duration::from_secs(2);
/// Liveness: after healing, everything must have crossed within this time.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(120);
/// Partitions of the ordinary topic and of the compacted one.
const PARTITIONS: (i32, i32) = (6, 2);
/// Largest values, in bytes: just below the clients' default limit of 1,000,000.
const VALUE_BYTES_MAX: usize = 900 << 10;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct KillPlan {
    /// The `causeway` binary.
    pub program: PathBuf,
    /// Folder for everything.
    pub dir: PathBuf,
    /// Which way records flow.
    pub topology: Topology,
    /// What the flows promise about duplicates.
    pub delivery: Delivery,
    /// How the flows copy; `None`: as flows of their kind do.
    pub engine: Option<Engine>,
    /// Faults that must take effect.
    pub faults: u32,
    /// How long everything may take to cross after healing.
    pub catch_up_max: Duration,
    /// What they are drawn from.
    pub deck: &'static [Fault],
    /// Records that must be acknowledged.
    pub records: u64,
    /// Seed of all choices of the drill; the processes have their own timing.
    pub seed: u64,
    /// Extra environment of the daemon.
    pub daemon_env: Vec<(String, String)>,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct KillReport {
    /// `kill`.
    pub scenario: &'static str,
    /// The topology.
    pub topology: &'static str,
    /// What the flows promised about duplicates.
    pub delivery: &'static str,
    /// Seed of the run.
    pub seed: u64,
    /// Faults that took effect.
    pub faults: u32,
    /// The same by kind.
    pub faults_by_kind: BTreeMap<&'static str, u32>,
    /// Records acknowledged by their origin.
    pub records: u64,
    /// Translated group positions that were proven.
    pub positions: u64,
    /// Group positions that never came to the target.
    pub positions_missing: u64,
    /// Partitions where the daemon moved a group that had gone on at the target by itself.
    pub group_rewound: u64,
    /// Processes that ended without being told to.
    pub crashes: u32,
    /// Time from the last fault's end until everything had crossed, in milliseconds; none if it never did.
    pub catch_up_ms: Option<u64>,
    /// The checker's counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// What must be zero and is not.
    pub broken: Vec<&'static str>,
    /// The first findings of each kind.
    pub findings: BTreeMap<&'static str, Vec<String>>,
    /// `pass` or `fail`.
    pub verdict: &'static str,
}

/// What became of the group positions.
struct Moved {
    proven: u64,
    missing: u64,
    rewound: u64,
}

#[derive(Default)]
struct Tally {
    by_kind: BTreeMap<&'static str, u32>,
    crashes: u32,
    crash_logs: Vec<String>,
}

/// Carries it out.
///
/// # Errors
/// Something could not be done. A broken law is no error but in the verdict.
pub async fn run(plan: &KillPlan, say: &(dyn Fn(String) + Sync)) -> Result<KillReport, DrillError> {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut stage = Stage::start(stage_plan(plan), say).await?;
    let tally = strike(&mut stage, plan, &mut random, say).await?;
    let healed = Instant::now();
    stage.finish_producers().await?;
    let (at_east, at_west) = (stage.east.ready().await?, stage.west.ready().await?);
    let mut logs = HashMap::new();
    let caught_up =
        catch_up(&stage, plan.catch_up_max, &at_east, &at_west, &mut logs, say).await?.then(|| healed.elapsed());
    let followed = follow::prove(&mut stage, &at_east, &at_west, &logs, &mut random, say).await?;
    let rewound = follow::resume(&mut stage, &at_west, say).await?;
    stage.daemon.process.check()?;
    stage.daemon.process.terminate(END_MAX)?;
    stage.read_logs(&at_east, "east", &mut logs).await?;
    stage.read_logs(&at_west, "west", &mut logs).await?;
    let (flows, dir) = (stage.flows(), stage.plan.dir.clone());
    drop(stage);
    let lines = Stage::lines(&dir).await?;
    let moved = Moved { proven: followed.positions.len() as u64, missing: followed.missing, rewound };
    let positions = followed.positions;
    let final_region = Some("west".to_owned());
    let evidence = Evidence { flows, logs, lines, positions, final_region, ..Evidence::default() };
    say("judging logs and histories".to_owned());
    Ok(report(plan, tally, caught_up, &moved, &evidence))
}

fn stage_plan(plan: &KillPlan) -> StagePlan {
    let topic = |name: &str, partitions, mix| TopicPlan { name: name.to_owned(), partitions, mix };
    let seconds = u64::from(plan.faults).max(1) * SECONDS_PER_FAULT;
    StagePlan {
        program: plan.program.clone(),
        dir: plan.dir.clone(),
        topology: plan.topology,
        topics: vec![
            topic("orders", PARTITIONS.0, Mix::Any { bytes_max: VALUE_BYTES_MAX }),
            topic("accounts", PARTITIONS.1, Mix::Compacted),
        ],
        rate: u32::try_from((plan.records / seconds).clamp(*RATE.start(), *RATE.end())).unwrap_or(u32::MAX),
        groups: vec![GROUP.to_owned(), follow::PROBES.to_owned()],
        delivery: Some(plan.delivery),
        engine: plan.engine,
        seed: plan.seed,
        daemon_env: plan.daemon_env.clone(),
    }
}

/// Faults under load until as many as asked for took effect, then load until the records are there.
async fn strike(
    stage: &mut Stage,
    plan: &KillPlan,
    random: &mut fastrand::Rng,
    say: &(dyn Fn(String) + Sync),
) -> Result<Tally, DrillError> {
    let mut tally = Tally::default();
    let mut deck = Deck::new(plan.deck);
    let mut tried = 0;
    while tally.by_kind.values().sum::<u32>() < plan.faults && tried < plan.faults * 2 + 10 {
        let quiet = if random.u8(0..4) == 0 { 3 } else { 1 };
        tokio::time::sleep(Duration::from_millis(random.u64(GAP_MS) * quiet)).await;
        notice_crashes(stage, &mut tally)?;
        let mut faults = vec![deck.draw(random)];
        if random.u8(0..PAIRS) == 0 {
            faults.extend(Some(deck.draw(random)).filter(|second| second.victim != faults[0].victim));
        }
        tried += 1;
        hit(stage, &faults, random, &mut tally, say).await?;
    }
    // The group stops here and lags behind when it goes on at the target.
    stage.finish_reader().await?;
    let (lag, deadline) = (Instant::now() + LAG_MIN, Instant::now() + LOAD_MAX);
    while Instant::now() < lag || (acked(stage) < plan.records && Instant::now() < deadline) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    notice_crashes(stage, &mut tally)?;
    say(format!("healed: {} records acknowledged", acked(stage)));
    Ok(tally)
}

async fn hit(
    stage: &mut Stage,
    faults: &[Fault],
    random: &mut fastrand::Rng,
    tally: &mut Tally,
    say: &(dyn Fn(String) + Sync),
) -> Result<(), DrillError> {
    for fault in faults {
        stage.mark(fault.kind())?;
        if fault.strike(stage, random)? {
            *tally.by_kind.entry(fault.kind()).or_default() += 1;
        }
    }
    let kinds: Vec<&str> = faults.iter().map(|fault| fault.kind()).collect();
    let number: u32 = tally.by_kind.values().sum();
    say(format!("fault {number:>3}  {:<40} {:>8} records acknowledged", kinds.join(" + "), acked(stage)));
    tokio::time::sleep(Duration::from_millis(random.u64(DOWN_MS)).min(PAUSE_MAX)).await;
    for fault in faults {
        fault.heal(stage).await?;
    }
    stage.mark("healed")
}

/// A process that ended without a fault is a crash: counted, told, and started again.
fn notice_crashes(stage: &mut Stage, tally: &mut Tally) -> Result<(), DrillError> {
    for process in [&mut stage.daemon.process, &mut stage.east.process, &mut stage.west.process] {
        if let Err(error) = process.check() {
            tally.crashes += 1;
            tally.crash_logs.push(error.to_string());
            process.start()?;
        }
    }
    Ok(())
}

fn acked(stage: &Stage) -> u64 {
    let west: u64 = stage.west_producers.iter().map(|producer| producer.acked()).sum();
    stage.acked() + west
}

/// Reads the logs on and on until every record of each source stands at its target; false if time ran out.
async fn catch_up(
    stage: &Stage,
    within: Duration,
    at_east: &Client,
    at_west: &Client,
    logs: &mut HashMap<Place, Log>,
    say: &(dyn Fn(String) + Sync),
) -> Result<bool, DrillError> {
    let deadline = Instant::now() + within;
    loop {
        stage.read_logs(at_east, "east", logs).await?;
        stage.read_logs(at_west, "west", logs).await?;
        let missing = missing(stage, logs);
        if missing == 0 {
            say("everything has crossed".to_owned());
            return Ok(true);
        }
        if Instant::now() > deadline {
            say(format!("{missing} records have not crossed within {within:?}"));
            return Ok(false);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn missing(stage: &Stage, logs: &HashMap<Place, Log>) -> usize {
    let uids = |cluster: &str, topic: &str, partition: i32| -> HashSet<Uid> {
        let place = Place { cluster: cluster.to_owned(), topic: topic.to_owned(), partition };
        logs.get(&place).into_iter().flat_map(|log| &log.entries).filter_map(|entry| entry.uid).collect()
    };
    let mut missing = 0;
    for flow in stage.flows() {
        for topic in &stage.plan.topics {
            for partition in 0..topic.partitions {
                let source = uids(&flow.from, &topic.name, partition);
                missing += source.difference(&uids(&flow.to, &topic.name, partition)).count();
            }
        }
    }
    missing
}

fn report(
    plan: &KillPlan,
    tally: Tally,
    caught_up: Option<Duration>,
    moved: &Moved,
    evidence: &Evidence,
) -> KillReport {
    let judged = judge(evidence);
    let mut broken = judged.broken();
    let mut findings = judged.findings;
    let faults = tally.by_kind.values().sum();
    for (word, is_broken) in [
        ("dup", plan.delivery == Delivery::ExactlyOnce && judged.counts.dup > 0),
        ("crashes", tally.crashes > 0),
        ("catch_up", caught_up.is_none()),
        ("positions_missing", moved.missing > 0),
        ("group_rewound", moved.rewound > 0),
        ("faults", faults < plan.faults),
        ("records", judged.counts.records_acked < plan.records),
    ] {
        broken.extend(is_broken.then_some(word));
    }
    if !tally.crash_logs.is_empty() {
        findings.insert("crashes", tally.crash_logs);
    }
    KillReport {
        scenario: "kill",
        topology: plan.topology.name(),
        delivery: plan.delivery.name(),
        seed: plan.seed,
        faults,
        faults_by_kind: tally.by_kind,
        records: judged.counts.records_acked,
        positions: moved.proven,
        positions_missing: moved.missing,
        group_rewound: moved.rewound,
        crashes: tally.crashes,
        catch_up_ms: caught_up.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        counts: judged.counts,
        verdict: if broken.is_empty() { "pass" } else { "fail" },
        broken,
        findings,
    }
}
