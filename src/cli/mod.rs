//! The command line: one file per verb, [`out`] the only printer.

pub mod broker;
pub mod checkpoint;
pub mod demo;
pub mod failover;
pub mod flow;
pub mod import;
pub mod init;
pub mod offsets;
pub mod out;
pub mod reach;
pub mod run;
pub mod status;
pub mod validate;

pub mod http;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use out::{Exit, Format, Out};

/// Cross-cluster replication for everything that speaks the Kafka protocol.
#[derive(Debug, Parser)]
#[command(name = "causeway", version, about)]
pub struct Cli {
    /// Form of the answer
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the daemon: copy what the configuration says, until told to stop
    Run(run::RunArgs),
    /// Print a configuration to start from
    Init(init::InitArgs),
    /// Print a configuration made from that of another replicator
    #[command(subcommand)]
    Import(import::ImportVerb),
    /// Start two clusters, a flow, a producer and a group on this machine, and watch; or lose a region
    Demo(demo::DemoArgs),
    /// Show what each flow is doing
    Status(status::StatusArgs),
    /// List, describe, pause and resume flows of a running daemon
    #[command(subcommand)]
    Flow(flow::FlowVerb),
    /// Translate offsets between the two sides of a flow
    #[command(subcommand)]
    Offsets(offsets::OffsetsVerb),
    /// Take, list and show DR checkpoints
    #[command(subcommand)]
    Checkpoint(checkpoint::CheckpointVerb),
    /// Give the source up: switch a flow's groups to its target now, and say what is lost
    Failover(failover::FailoverArgs),
    /// Switch a flow's groups to its target once everything is copied
    Promote(failover::PromoteArgs),
    /// Check a configuration without connecting to anything
    Validate(validate::ValidateArgs),
    /// Run one node of the included broker
    Broker(broker::Args),
}

/// Where the daemon is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct AdminArgs {
    /// The daemon's admin endpoint
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8088")]
    pub admin: String,
}

/// Reads the arguments, runs the verb, prints what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Out::new(cli.output);
    match dispatch(cli.verb, &out) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            out.error(&error);
            ExitCode::from(Exit::Error.code())
        }
    }
}

fn dispatch(verb: Verb, out: &Out) -> anyhow::Result<Exit> {
    match verb {
        Verb::Run(args) => run::run(&args),
        Verb::Init(args) => init::render(&args).and_then(|text| out.text(&text)).map(|()| Exit::Fine),
        Verb::Import(verb) => import::run(&verb, out).map(|()| Exit::Fine),
        Verb::Broker(args) => runtime()?.block_on(broker::run(args)).map(|()| Exit::Fine),
        Verb::Demo(args) => demo::run(&args, out),
        Verb::Status(args) => status::run(&args, out),
        Verb::Flow(verb) => flow::run(verb, out),
        Verb::Offsets(verb) => runtime()?.block_on(offsets::run(verb, out)),
        Verb::Checkpoint(verb) => runtime()?.block_on(checkpoint::run(verb, out)),
        Verb::Failover(args) => runtime()?.block_on(failover::failover(args, out)),
        Verb::Promote(args) => runtime()?.block_on(failover::promote(args, out)),
        Verb::Validate(args) => {
            let validated = validate::run(&args)?;
            out.show(&validated, validate::Validated::lines).map(|()| Exit::Fine)
        }
    }
}

/// A multi-threaded runtime for a verb that talks to clusters.
///
/// # Errors
/// The system gives no threads.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_verbs_and_their_flags_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
