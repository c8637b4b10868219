//! Benchmarks against a peer on the same machine, ours and the peer's turn about: only ratios of one run count.

mod broker;
mod kafka;
mod nodes;
mod rows;
mod tools;
mod usage;

use std::path::PathBuf;

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
    // Declared before what writes there, so it goes after it, also when somebody stops us.
    let folder = Folder(place.dir.clone());
    let say = |line: String| out.hint(&format!("  {line}"));
    let report = broker::run(&args, &place.program, &folder.0, &say).await?;
    out.show(&report, rows::Report::lines)?;
    Ok(Exit::Fine)
}

/// A folder with gigabytes of log, kept by nobody.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "cannot remove");
        }
    }
}
