//! Benchmarks against a peer on the same machine, ours and the peer's turn about: only ratios of one run count.

mod broker;
mod kafka;
mod nodes;
mod rows;
mod tools;
mod usage;

use std::path::Path;

use anyhow::Context as _;
use causeway::cli::{Exit, Out};
use clap::Subcommand;

use crate::Place;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// The included broker against a real Apache Kafka node: CPU, latency, memory, start
    Broker(broker::Args),
}

/// Measures, and prints the rows.
pub async fn run(bench: Bench, out: &Out) -> anyhow::Result<Exit> {
    let Bench::Broker(args) = bench;
    let place = Place::new(&args.common)?;
    let say = |line: String| out.hint(&format!("  {line}"));
    let report = broker::run(&args, &place.program, &place.dir, &say).await;
    remove(&place.dir)?;
    let report = report?;
    out.show(&report, rows::Report::lines)?;
    Ok(Exit::Fine)
}

/// Gigabytes of log: kept by nobody.
fn remove(dir: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))
}
