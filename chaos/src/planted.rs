//! `run planted`: the checkers are checked. One run per planted bug, and each must be found under its own word.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use causeway::config::valid::{Delivery, Engine};
use causeway::core::planted::Bug;
use causeway::drill::error::DrillError;
use causeway::drill::stage::Topology;
use serde::Serialize;

use crate::faults::{Fault, KILLS, MILD};
use crate::kill::{self, KillPlan};

/// A planted bug, the run in which it must show, and the words under which it may.
struct Case {
    bug: Bug,
    topology: Topology,
    how: &'static Provocation,
    words: &'static [&'static str],
}

/// How a bug is provoked: faults, what they are drawn from, and records.
struct Provocation {
    faults: u32,
    deck: &'static [Fault],
    records: u64,
}

/// For bugs that show in any run.
static QUIET: Provocation = Provocation { faults: 1, deck: &MILD, records: 3_000 };
/// For bugs that show only where records stand twice at the target, so that both sides count differently.
static DOUBLED: Provocation = Provocation { faults: 6, deck: &KILLS, records: 6_000 };
/// What has not crossed by then is lost: a planted loss is not waited for as long as a real one.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);
/// Runs that a bug gets to show in: some need a failure in the right moment.
const RUNS_MAX: u64 = 3;

static CASES: [Case; 8] = {
    use Topology::{ActiveActive as Both, ActivePassive as One};
    const fn case(bug: Bug, topology: Topology, how: &'static Provocation, words: &'static [&'static str]) -> Case {
        Case { bug, topology, how, words }
    }
    [
        case(Bug::FlipValueByte, One, &QUIET, &["corrupt"]),
        case(Bug::MoveToOtherPartition, One, &QUIET, &["misroute"]),
        case(Bug::SwapBatches, One, &QUIET, &["reord"]),
        case(Bug::DropTombstones, One, &QUIET, &["lost"]),
        case(Bug::NoLoopCheck, Both, &QUIET, &["echo"]),
        case(Bug::TranslateOneAhead, One, &QUIET, &["ahead"]),
        case(Bug::TranslateLiterally, One, &DOUBLED, &["ahead", "far"]),
        case(Bug::OverwriteLiveGroup, One, &QUIET, &["group_rewound"]),
    ]
};

/// What became of one bug.
#[derive(Debug, Serialize)]
pub struct Hunt {
    /// The bug's name.
    pub bug: &'static str,
    /// It was found under one of its words.
    pub found: bool,
    /// What was broken in the last run.
    pub broken: Vec<&'static str>,
    /// Runs it took.
    pub runs: u64,
    /// Time it took, in seconds.
    pub seconds: f64,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct PlantedReport {
    /// `planted`.
    pub scenario: &'static str,
    /// First seed.
    pub seed: u64,
    /// Bugs planted.
    pub planted: usize,
    /// Bugs found.
    pub found: usize,
    /// Each of them.
    pub hunts: Vec<Hunt>,
    /// `pass` if all were found.
    pub verdict: &'static str,
}

/// Hunts all bugs whose name holds `only` (all, if it is none).
///
/// # Errors
/// A run could not be carried out.
pub async fn run(
    program: PathBuf,
    dir: PathBuf,
    seed: u64,
    only: Option<&str>,
    say: &(dyn Fn(String) + Sync),
) -> Result<PlantedReport, DrillError> {
    let mut hunts = Vec::new();
    for case in CASES.iter().filter(|case| only.is_none_or(|only| case.bug.name().contains(only))) {
        let hunt = hunt(case, &program, &dir, seed, say).await?;
        say(format!("{:<28} {}", hunt.bug, if hunt.found { "found" } else { "NOT FOUND" }));
        hunts.push(hunt);
    }
    let found = hunts.iter().filter(|hunt| hunt.found).count();
    let verdict = if !hunts.is_empty() && found == hunts.len() { "pass" } else { "fail" };
    Ok(PlantedReport { scenario: "planted", seed, planted: hunts.len(), found, hunts, verdict })
}

async fn hunt(
    case: &Case,
    program: &std::path::Path,
    dir: &std::path::Path,
    seed: u64,
    say: &(dyn Fn(String) + Sync),
) -> Result<Hunt, DrillError> {
    let begun = Instant::now();
    let bug = case.bug.name();
    let mut hunt = Hunt { bug, found: false, broken: Vec::new(), runs: 0, seconds: 0.0 };
    while !hunt.found && hunt.runs < RUNS_MAX {
        let seed = seed.wrapping_add(hunt.runs);
        hunt.runs += 1;
        let dir = dir.join(format!("{bug}-{}", hunt.runs));
        std::fs::create_dir_all(&dir).map_err(DrillError::file(format!("create {}", dir.display())))?;
        let plan = KillPlan {
            program: program.to_owned(),
            dir,
            topology: case.topology,
            delivery: Delivery::AtLeastOnce,
            // where what the bugs spoil is done record by record
            engine: Some(Engine::Record),
            faults: case.how.faults,
            catch_up_max: CATCH_UP_MAX,
            deck: case.how.deck,
            records: case.how.records,
            seed,
            daemon_env: vec![("CAUSEWAY_PLANTED_BUG".to_owned(), bug.to_owned())],
        };
        let report = kill::run(&plan, &|line| say(format!("{bug}: {line}"))).await?;
        hunt.found = report.broken.iter().any(|word| case.words.contains(word));
        hunt.broken = report.broken;
    }
    hunt.seconds = begun.elapsed().as_secs_f64();
    Ok(hunt)
}
