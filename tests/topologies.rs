//! Every shipped topology, run from the file as it is: only the addresses are set, through the environment's closed list.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;

use support::flow::{assert_copied, assert_followed, failover};
use support::process::{Broker, CAUSEWAY, Daemon};
use support::{free_port, load, read, wait_for};

const PARTITIONS: i32 = 3;
const RECORDS: usize = 2000;

struct Regions {
    dir: tempfile::TempDir,
    east: Broker,
    west: Broker,
}

impl Regions {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let east = Broker::start(dir.path(), "east", free_port());
        let west = Broker::start(dir.path(), "west", free_port());
        Self { dir, east, west }
    }

    /// Runs `topologies/NAME.toml` itself, not a copy.
    fn run(&self, name: &str) -> Daemon {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies").join(name);
        let addresses = [("east", self.east.bootstrap.as_str()), ("west", self.west.bootstrap.as_str())];
        Daemon::launch_file(self.dir.path(), &file, &addresses).ready()
    }
}

#[test]
fn active_passive_copies_everything_and_west_takes_over() {
    let regions = Regions::start();
    let (east, west) = (&regions.east.bootstrap, &regions.west.bootstrap);
    load::create_topic(east, "orders", PARTITIONS, &[]);
    load::fill(east, "orders", PARTITIONS, RECORDS, 1);
    let positions = [(0, 100), (1, 200), (2, 300)];
    read::commit(east, "billing", "orders", &positions);
    let daemon = regions.run("active-passive.toml");
    let copied = assert_copied(east, west, "orders");
    assert_followed(west, "billing", "orders", &positions, &copied);

    regions.east.process.kill();
    failover("east-to-west", &daemon);
    assert_followed(west, "billing", "orders", &positions, &copied);
}

#[test]
fn active_active_brings_every_record_to_both_sides_and_none_back() {
    let regions = Regions::start();
    let (east, west) = (&regions.east.bootstrap, &regions.west.bootstrap);
    for side in [east, west] {
        load::create_topic(side, "orders", PARTITIONS, &[]);
    }
    load::fill(east, "orders", PARTITIONS, RECORDS, 1);
    load::fill(west, "orders", PARTITIONS, RECORDS, 2);
    let _daemon = regions.run("active-active.toml");
    let all = i64::try_from(2 * RECORDS).unwrap();
    let both_full =
        || (read::end_offsets(east, "orders")? >= all && read::end_offsets(west, "orders")? >= all).then_some(());
    wait_for("every record on both sides", support::flow::CATCH_UP_MAX, both_full);
    // L4: an echo would need another round trip; give it several.
    std::thread::sleep(std::time::Duration::from_secs(5));
    for side in [east, west] {
        let seen = read::read_topic(side, "orders");
        let count: usize = seen.iter().map(Vec::len).sum();
        assert_eq!(count, 2 * RECORDS, "a record came back or is missing at {side}");
    }
}

#[test]
fn every_shipped_topology_is_valid_and_has_its_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let files: Vec<_> =
        names.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    assert!(files.len() >= 2, "{names:?}");
    for file in files {
        assert!(file.with_extension("md").is_file(), "{} has no page", file.display());
        let output = std::process::Command::new(CAUSEWAY).arg("validate").arg("-c").arg(file).output().unwrap();
        assert!(output.status.success(), "{}", support::process::both(&output));
    }
}
