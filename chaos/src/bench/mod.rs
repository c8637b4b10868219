//! Benchmarks against a peer on the same machine, ours and the peer's turn about: only ratios of one run count.

mod broker;
mod kafka;
mod mm2;
mod nodes;
mod rows;
mod tools;
mod usage;

use std::path::PathBuf;

use anyhow::Context as _;
use causeway::cli::{Exit, Out};
use clap::Subcommand;

use crate::Place;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// The included broker against a real Apache Kafka node: CPU, latency, memory, start
    Broker(broker::Args),
    /// The mirror against a real MirrorMaker 2 between the same two Apache Kafka nodes
    Mm2(mm2::Args),
}

/// Measures, and prints the rows.
pub async fn run(bench: Bench, out: &Out) -> anyhow::Result<Exit> {
    let common = match &bench {
        Bench::Broker(args) => &args.common,
        Bench::Mm2(args) => &args.common,
    };
    let place = Place::new(common)?;
    // Declared before what writes there, so it goes after it, also when somebody stops us.
    let folder = Folder(place.dir.clone());
    let say = |line: String| out.hint(&format!("  {line}"));
    let report = match &bench {
        Bench::Broker(args) => broker::run(args, &place.program, &folder.0, &say).await?,
        Bench::Mm2(args) => mm2::run(args, &place.program, &folder.0, &say).await?,
    };
    out.show(&report, rows::Report::lines)?;
    Ok(Exit::Fine)
}

/// Where the tests keep Kafka's jars: `target/tmp`, two folders above this program.
fn cache() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find our own program")?;
    let target = own.ancestors().nth(2).context("find the target folder")?;
    Ok(target.join("tmp"))
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
