//! `causeway demo`: two clusters, a flow, a producer and a group on this machine; on demand the loss of one region.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

use super::{Exit, Out};
use crate::drill::region_loss::{self, RegionLoss};
use crate::drill::shapes::Mix;
use crate::drill::stage::{GROUP, Stage, StagePlan, TopicPlan, Topology, end_sum};

/// Time over which the records before the cut are spread, in seconds: long enough to watch, short enough to wait for.
const LOAD_SECONDS: u64 = 20;
/// Bounds of the rate, in records per second: slow enough for two cores that also run two clusters and the daemon.
const RATE: std::ops::RangeInclusive<u64> = 500..=10_000;
/// Rate of a demo without scenario, in records per second.
const RATE_STEADY: u32 = 1_000;
/// The whole scenario must end within this time.
const SCENARIO_MAX: Duration = Duration::from_secs(230);
/// Time between two status lines.
const STATUS_INTERVAL: Duration = Duration::from_secs(2);
/// The topic of the demo.
const TOPIC: &str = "orders";
/// Its partitions.
const PARTITIONS: i32 = 4;
/// Its largest values, in bytes.
const VALUE_BYTES_MAX: usize = 256 << 10;
/// Folders tried beside one that is in use.
const DIRS_MAX: u32 = 1_000;

/// Start two clusters, a flow between them, a producer and a reading group on this machine, and watch.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// Which way records flow
    #[arg(long, value_enum, default_value_t = TopologyArg::ActivePassive)]
    pub topology: TopologyArg,
    /// What happens: region-loss kills the first region in mid-load, fails over, and judges what is left
    #[arg(long, value_enum)]
    pub scenario: Option<ScenarioArg>,
    /// Records that the first region acknowledges before it is killed
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    pub records: u64,
    /// Folder for data, logs and histories; kept afterwards (default: a temporary one, kept only if a law broke)
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `--topology`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TopologyArg {
    /// East to west
    ActivePassive,
    /// Both ways, under the same topic names
    ActiveActive,
}

/// `--scenario`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ScenarioArg {
    /// Kill the first region with -9 under load and fail over
    RegionLoss,
}

/// Runs the demo.
///
/// # Errors
/// No folder, or no runtime. What goes wrong in the demo itself is its verdict.
pub fn run(args: &DemoArgs, out: &Out) -> anyhow::Result<Exit> {
    let program = std::env::current_exe().context("find our own program")?;
    let (dir, temporary) = folder(args.dir.as_deref())?;
    let rate = match args.scenario {
        None => RATE_STEADY,
        Some(ScenarioArg::RegionLoss) => {
            u32::try_from((args.records / LOAD_SECONDS).clamp(*RATE.start(), *RATE.end()))?
        }
    };
    let topology = match args.topology {
        TopologyArg::ActivePassive => Topology::ActivePassive,
        TopologyArg::ActiveActive => Topology::ActiveActive,
    };
    let mix = Mix::Any { bytes_max: VALUE_BYTES_MAX };
    let topics = vec![TopicPlan { name: TOPIC.to_owned(), partitions: PARTITIONS, mix }];
    let (groups, seed) = (vec![GROUP.to_owned()], fastrand::u64(..));
    let plan = StagePlan {
        program,
        dir: dir.clone(),
        topology,
        topics,
        rate,
        groups,
        delivery: None,
        engine: None,
        seed,
        daemon_env: vec![],
    };
    let seen = Mutex::new(Steady { topology: topology.name(), ..Steady::default() });
    let exit = super::runtime()?.block_on(async {
        tokio::select! {
            exit = play(args, plan, &seen, out) => exit,
            signal = stop_signal() => {
                signal?;
                out.hint("stopped");
                if args.scenario.is_some() {
                    return Ok(Exit::Error);
                }
                let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                out.show(&*seen, Steady::lines).map(|()| Exit::Fine)
            }
        }
    })?;
    if temporary && exit == Exit::Fine {
        std::fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    } else {
        out.hint(&format!("data, logs and histories are in {}", dir.display()));
    }
    Ok(exit)
}

/// What a demo without scenario has seen so far.
#[derive(Debug, Clone, Default, Serialize)]
struct Steady {
    topology: &'static str,
    records_acked: u64,
    records_at_target: i64,
    group_read: u64,
}

impl Steady {
    fn lines(&self) -> Vec<String> {
        let Self { records_acked, records_at_target, group_read, .. } = self;
        vec![format!(
            "  east acknowledged {records_acked:>9}   west holds {records_at_target:>9}   {GROUP} read {group_read:>9}"
        )]
    }
}

async fn play(args: &DemoArgs, plan: StagePlan, seen: &Mutex<Steady>, out: &Out) -> anyhow::Result<Exit> {
    let say = |line: String| out.hint(&format!("  {line}"));
    let config = plan.dir.join("causeway.toml");
    let Some(ScenarioArg::RegionLoss) = args.scenario else {
        let rate = plan.rate;
        let stage = Stage::start(plan, &say).await?;
        say(format!("producing {rate} records/s to `{TOPIC}`, group `{GROUP}` reading"));
        say(format!("next: causeway status -c {} --admin {}", config.display(), stage.daemon.admin));
        return watch(stage, seen, out).await;
    };
    let scenario = async { region_loss::run(Stage::start(plan, &say).await?, args.records, &say).await };
    let outcome = tokio::time::timeout(SCENARIO_MAX, scenario).await;
    let error = match outcome {
        Ok(Ok(done)) => {
            out.show(&done, lines)?;
            return Ok(if done.verdict == "pass" { Exit::Fine } else { Exit::Error });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not done within {SCENARIO_MAX:?}"),
    };
    out.show(&Failed { scenario: "region-loss", verdict: "fail", error }, |failed| {
        vec![format!("verdict    FAIL  {}", failed.error)]
    })?;
    Ok(Exit::Error)
}

/// A demo that could not be carried out.
#[derive(Debug, Serialize)]
struct Failed {
    scenario: &'static str,
    verdict: &'static str,
    error: String,
}

/// Status lines until somebody stops us.
async fn watch(mut stage: Stage, seen: &Mutex<Steady>, out: &Out) -> anyhow::Result<Exit> {
    let at_west = stage.west.ready().await?;
    loop {
        for process in [&mut stage.east.process, &mut stage.west.process, &mut stage.daemon.process] {
            process.check()?;
        }
        let now = Steady {
            topology: stage.plan.topology.name(),
            records_acked: stage.acked(),
            records_at_target: end_sum(&at_west, &stage.plan.topics).await?,
            group_read: stage.reading().distinct,
        };
        now.lines().iter().for_each(|line| out.hint(line));
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        tokio::time::sleep(STATUS_INTERVAL).await;
    }
}

fn lines(done: &RegionLoss) -> Vec<String> {
    let rto = done.rto_ms.map_or("never".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3));
    let rpo = done.rpo_ms as f64 / 1e3;
    let mut lines = vec![
        format!("acknowledged by east   {:>9}   (west: {} more)", done.records_acked, done.records_acked_elsewhere),
        format!("mirrored to west       {:>9}", done.records_mirrored),
        format!(
            "lost with east         {:>9}   the newest of each partition, the oldest {rpo:.2} s old",
            done.lost_suffix
        ),
        format!("lost before those      {:>9}   (holes)", done.hole),
        format!("extra copies           {:>9}", done.dup),
        format!("out of order           {:>9}", done.reord),
        format!("damaged or misplaced   {:>9}", done.corrupt + done.misroute + done.phantom),
        format!("copied in a circle     {:>9}", done.echo),
        format!("skipped by {GROUP}     {:>9}", done.group_skipped),
        format!("read twice by {GROUP}  {:>9}", done.group_reread),
        format!("first new record read  {rto:>9}   after the kill"),
    ];
    for (word, found) in &done.findings {
        let serious = done.broken.contains(word);
        lines.extend(found.iter().filter(|_| serious).map(|text| format!("  {word}: {text}")));
    }
    let broken = if done.broken.is_empty() { String::new() } else { format!("  {}", done.broken.join(", ")) };
    lines.push(format!("verdict    {}{broken}", done.verdict.to_uppercase()));
    lines
}

/// The folder to use, and whether it is ours to remove. One that is in use is left alone: a fresh one inside it is taken.
fn folder(wanted: Option<&Path>) -> anyhow::Result<(PathBuf, bool)> {
    let (parent, temporary) = match wanted {
        Some(dir) => (dir.to_owned(), false),
        None => (std::env::temp_dir().join(format!("causeway-demo-{}", std::process::id())), true),
    };
    std::fs::create_dir_all(&parent).with_context(|| format!("create {}", parent.display()))?;
    let parent = parent.canonicalize().with_context(|| format!("find {}", parent.display()))?;
    if std::fs::read_dir(&parent).with_context(|| format!("read {}", parent.display()))?.next().is_none() {
        return Ok((parent, temporary));
    }
    for number in 1..=DIRS_MAX {
        let dir = parent.join(format!("demo-{number}"));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok((dir, temporary)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("create {}", dir.display())),
        }
    }
    anyhow::bail!("{} holds {DIRS_MAX} demos already: remove some", parent.display())
}

async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (first, temporary) = folder(Some(dir.path())).unwrap();
        assert_eq!((first.clone(), temporary), (dir.path().canonicalize().unwrap(), false));
        std::fs::write(first.join("mine"), "").unwrap();
        let (second, _) = folder(Some(dir.path())).unwrap();
        let (third, _) = folder(Some(dir.path())).unwrap();
        assert!(second.starts_with(&first) && second != third);
    }
}
