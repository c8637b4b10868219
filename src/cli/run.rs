//! `causeway run`: the daemon.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use super::Exit;
use crate::config::{self, Config, valid::LogFormat};
use crate::control;
use crate::lanes::Daemon;
use crate::telemetry;

/// Run the daemon: copy what the configuration says, until told to stop.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    /// The configuration; conf.d/*.toml beside it is read too
    #[arg(short, long, value_name = "FILE", default_value = "causeway.toml")]
    pub config: PathBuf,
    /// Override one value, as the environment may (KEY=VALUE, repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Stop when stdin ends: for children that must not outlive their parent
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// Why a child stops whose parent is gone.
const ORPHANED: &str = "stdin ended";
/// How long it may take for that: what is not finished is copied again by the next daemon.
const ORPHAN_STOP_MAX: Duration = Duration::from_secs(3);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// A configuration that cannot be used, or an admin address that is taken. What concerns one flow stands in the status.
pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let config = config::load_with_flags(&args.config, &args.set)?;
    telemetry::log::init(&config.log.level, config.log.format == LogFormat::Json).context("log.level")?;
    super::runtime()?.block_on(serve(config, args.exit_with_stdin))
}

async fn serve(config: Config, exit_with_stdin: bool) -> anyhow::Result<Exit> {
    let metrics = telemetry::metrics::install()?;
    let listener = control::bind(config.admin.listen).await?;
    let address = listener.local_addr()?;
    let daemon = Daemon::start(config);
    tracing::info!(%address, "admin listening");
    tracing::info!(flows = daemon.flows().len(), version = env!("CARGO_PKG_VERSION"), "causeway started");
    let groups = control::GroupBoard::start(&daemon);
    let admin = tokio::spawn(control::serve(listener, control::Admin { daemon: daemon.clone(), groups, metrics }));
    let why = told_to_stop(exit_with_stdin).await?;
    tracing::info!(why, "stopping");
    if why == ORPHANED {
        // Clusters and daemon may all be children of what just died: there is nobody left to finish for.
        let _late = tokio::time::timeout(ORPHAN_STOP_MAX, daemon.stop()).await;
        return Ok(Exit::Fine);
    }
    daemon.stop().await;
    admin.await.context("admin endpoint")??;
    tracing::info!("stopped");
    Ok(Exit::Fine)
}

async fn told_to_stop(exit_with_stdin: bool) -> anyhow::Result<&'static str> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
        () = super::broker::stdin_closed(), if exit_with_stdin => ORPHANED,
    })
}
