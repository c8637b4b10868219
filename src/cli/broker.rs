//! `causeway broker`: one node of the included broker.

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context;
use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig, Loggers};
use tokio::signal::unix::{SignalKind, signal};

/// Level of the log unless `RUST_LOG` says otherwise.
const LOG_LEVEL: &str = "info";

/// Runs one broker until SIGTERM or Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A server.properties file in Kafka's own key names; without one, 127.0.0.1:9092 is served.
    #[arg(long, short)]
    pub config: Option<PathBuf>,
    /// One setting, as often as needed; it stands before the file's.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Stop when standard input closes, so that a child ends with its parent.
    #[arg(long, hide = true)]
    pub exit_with_stdin: bool,
}

/// Starts the broker and waits for its end.
///
/// # Errors
/// Settings, ports and directories that cannot be used, each named; a log directory that failed while running.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| LOG_LEVEL.to_owned());
    let refilter = crate::telemetry::log::init_adjustable(&filter).context("in RUST_LOG")?;
    let mut properties = match &args.config {
        None => Properties::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Properties::parse(&text).with_context(|| format!("in {}", path.display()))?
        }
    };
    for text in &args.overrides {
        properties.set_override(text)?;
    }
    let config = BrokerConfig::from_properties(&properties)?;
    let broker = Broker::start_with(config, Loggers::new(&filter, refilter)).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        () = stdin_closed(), if args.exit_with_stdin => Ok(()),
        cause = broker.failed() => Err(anyhow::anyhow!(cause)),
    };
    broker.shutdown().await;
    outcome
}

/// Resolves when standard input ends; whatever comes before is ignored. A thread of its own, because a read of standard
/// input cannot be cancelled and must not hold up the runtime's end.
pub(super) async fn stdin_closed() {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut sink = [0; 256];
        while matches!(std::io::stdin().read(&mut sink), Ok(n) if n > 0) {}
        // Nobody listens any more if the broker ends by itself.
        let _ = sender.send(());
    });
    let _ = receiver.await;
}
