//! Fault runs: real processes, real faults, and the checkers that judge what is left. And benchmarks against a peer.

mod bench;
mod damage;
mod faults;
mod follow;
mod kill;
mod planted;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use causeway::cli::{Exit, Format, Out};
use causeway::config::valid::{Delivery, Engine};
use causeway::drill::stage::Topology;
use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// Fault runs against a real daemon and real brokers, and benchmarks against a peer.
#[derive(Debug, Parser)]
#[command(name = "causeway-chaos", version, about)]
struct Cli {
    /// Form of the report
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a scenario
    Run {
        #[command(subcommand)]
        scenario: Scenario,
    },
    /// Measure against a peer on the same machine
    Bench {
        #[command(subcommand)]
        bench: bench::Bench,
    },
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Kill, stop and restart daemon and brokers under load, wipe and damage the store, then judge every record
    Kill(KillArgs),
    /// Check the checkers: run with one planted bug after the other (a binary built with `--features planted-bugs`)
    Planted(PlantedArgs),
}

#[derive(Debug, clap::Args)]
struct KillArgs {
    /// Faults that must take effect
    #[arg(long, value_name = "N", default_value_t = 20)]
    faults: u32,
    /// Records that must be acknowledged
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    records: u64,
    /// Which way records flow
    #[arg(long, value_enum, default_value_t = TopologyArg::ActivePassive)]
    topology: TopologyArg,
    /// What the flows promise about duplicates
    #[arg(long, value_enum, default_value_t = DeliveryArg::ExactlyOnce)]
    delivery: DeliveryArg,
    /// How the flows copy (default: as flows of their kind do)
    #[arg(long, value_enum)]
    engine: Option<EngineArg>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct PlantedArgs {
    /// Only bugs whose name holds this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Seed of all choices (default: drawn, and printed)
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Folder for data, logs and histories; kept afterwards (default: a temporary one, kept only on failure)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The `causeway` binary (default: CAUSEWAY_BIN, else the one beside this program)
    #[arg(long, value_name = "PATH")]
    causeway: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TopologyArg {
    /// East to west
    ActivePassive,
    /// Both ways, under the same topic names
    ActiveActive,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeliveryArg {
    /// Nothing comes twice: an extra copy fails the run
    ExactlyOnce,
    /// After a crash the last records may come twice: extra copies are counted
    AtLeastOnce,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineArg {
    /// Whole batches
    Batch,
    /// Record by record, at least once
    Record,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(cli.output);
    match run(cli.verb, &out) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            out.error(&error);
            ExitCode::from(Exit::Error.code())
        }
    }
}

fn run(verb: Verb, out: &Out) -> anyhow::Result<Exit> {
    let say = |line: String| out.hint(&format!("  {line}"));
    let runtime = causeway::cli::runtime()?;
    let scenario = match verb {
        Verb::Run { scenario } => scenario,
        Verb::Bench { bench } => return runtime.block_on(interruptible(bench::run(bench, out))),
    };
    match scenario {
        Scenario::Kill(args) => {
            let place = Place::new(&args.common)?;
            let plan = kill::KillPlan {
                program: place.program.clone(),
                dir: place.dir.clone(),
                topology: match args.topology {
                    TopologyArg::ActivePassive => Topology::ActivePassive,
                    TopologyArg::ActiveActive => Topology::ActiveActive,
                },
                delivery: match args.delivery {
                    DeliveryArg::ExactlyOnce => Delivery::ExactlyOnce,
                    DeliveryArg::AtLeastOnce => Delivery::AtLeastOnce,
                },
                engine: args.engine.map(|engine| match engine {
                    EngineArg::Batch => Engine::Batch,
                    EngineArg::Record => Engine::Record,
                }),
                faults: args.faults,
                catch_up_max: kill::CATCH_UP_MAX,
                deck: &faults::ALL,
                records: args.records,
                seed: place.seed,
                daemon_env: Vec::new(),
            };
            let report = runtime.block_on(interruptible(kill::run(&plan, &say)))?;
            place.end(out, &report, report.verdict)
        }
        Scenario::Planted(args) => {
            let place = Place::new(&args.common)?;
            let (program, dir) = (place.program.clone(), place.dir.clone());
            let hunt = planted::run(program, dir, place.seed, args.only.as_deref(), &say);
            let report = runtime.block_on(interruptible(hunt))?;
            place.end(out, &report, report.verdict)
        }
    }
}

/// Ends the work, and with it all children, when somebody stops us.
async fn interruptible<T, E: Into<anyhow::Error>>(work: impl Future<Output = Result<T, E>>) -> anyhow::Result<T> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        done = work => done.map_err(Into::into),
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

/// Where a run happens.
struct Place {
    program: PathBuf,
    dir: PathBuf,
    temporary: bool,
    seed: u64,
}

impl Place {
    fn new(common: &Common) -> anyhow::Result<Self> {
        let program = match (&common.causeway, std::env::var_os("CAUSEWAY_BIN")) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path.into(),
            (None, None) => beside()?,
        };
        anyhow::ensure!(
            program.is_file(),
            "{} is not there: build it (`cargo build --release`) or name it with --causeway PATH",
            program.display()
        );
        let parent = common.dir.clone().unwrap_or_else(std::env::temp_dir);
        let dir = parent.join(format!("causeway-chaos-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        let dir = dir.canonicalize().with_context(|| format!("find {}", dir.display()))?;
        let seed = common.seed.unwrap_or_else(|| fastrand::u64(..1 << 48)); // fits in a double, as JSON readers have it
        Ok(Self { program, dir, temporary: common.dir.is_none(), seed })
    }

    fn end<T: Serialize>(&self, out: &Out, report: &T, verdict: &str) -> anyhow::Result<Exit> {
        let passed = verdict == "pass";
        if self.temporary && passed {
            std::fs::remove_dir_all(&self.dir).with_context(|| format!("remove {}", self.dir.display()))?;
        } else {
            out.hint(&format!("data, logs and histories are in {}; seed {}", self.dir.display(), self.seed));
        }
        let text = serde_json::to_string_pretty(report)?;
        out.show(report, |_| text.lines().map(ToOwned::to_owned).collect())?;
        Ok(if passed { Exit::Fine } else { Exit::Error })
    }
}

/// The `causeway` binary in the folder of this program, or in the one above (a test's program lies in `deps`).
fn beside() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find our own program")?;
    let near = own.ancestors().skip(1).take(2).map(|dir: &Path| dir.join("causeway"));
    near.clone()
        .find(|path| path.is_file())
        .or_else(|| near.clone().next())
        .context("find a folder for our own program")
}
