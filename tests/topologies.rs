//! Every shipped topology, run from the file as it is: only the addresses are set, through the environment's closed list.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;

use support::flow::{assert_copied, assert_followed, failover};
use support::process::{Broker, CAUSEWAY, Daemon};
use support::{free_port, load, read, wait_for};

const PARTITIONS: i32 = 3;
const RECORDS: usize = 2000;

/// A broker per cluster of a topology.
struct Regions {
    dir: tempfile::TempDir,
    brokers: Vec<(&'static str, Broker)>,
}

impl Regions {
    fn start(names: &[&'static str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let start = |name: &&'static str| (*name, Broker::start(dir.path(), name, free_port()));
        Self { brokers: names.iter().map(start).collect(), dir }
    }

    fn broker(&self, name: &str) -> &Broker {
        &self.brokers.iter().find(|(of, _)| *of == name).unwrap().1
    }

    fn at(&self, name: &str) -> &str {
        &self.broker(name).bootstrap
    }

    /// Runs `topologies/NAME.toml` itself, not a copy.
    fn run(&self, name: &str) -> Daemon {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies").join(name);
        let addresses: Vec<_> = self.brokers.iter().map(|(name, broker)| (*name, broker.bootstrap.as_str())).collect();
        Daemon::launch_file(self.dir.path(), &file, &addresses).ready()
    }

    /// Waits until a topic holds `count` records here, then long enough for an echo, and asserts that it still does.
    fn assert_holds(&self, name: &str, topic: &str, count: usize) {
        // end offsets count markers too: cheap to wait for, and never beyond
        let wanted = i64::try_from(count).unwrap();
        let held = wait_for(&format!("{count} records of {topic} on {name}"), support::flow::CATCH_UP_MAX, || {
            let may_be_full = read::end_offsets(self.at(name), topic)? >= wanted;
            let held = || read::read_topic(self.at(name), topic).iter().map(Vec::len).sum::<usize>();
            may_be_full.then(held).filter(|held| *held >= count)
        });
        assert_eq!(held, count, "{topic} on {name}");
    }
}

/// L4: an echo would need another round trip; it gets several.
const ECHO_WAIT: std::time::Duration = std::time::Duration::from_secs(5);

#[test]
fn fan_in() {
    let regions = Regions::start(&["paris", "oslo", "central"]);
    for (seed, name) in [(1, "paris"), (2, "oslo")] {
        load::create_topic(regions.at(name), "orders", PARTITIONS, &[]);
        load::fill(regions.at(name), "orders", PARTITIONS, RECORDS, seed);
    }
    let _daemon = regions.run("fan-in.toml");
    for name in ["paris", "oslo"] {
        let topic = format!("{name}.orders");
        regions.assert_holds("central", &topic, RECORDS);
        let (there, here) =
            (read::read_topic(regions.at("central"), &topic), read::read_topic(regions.at(name), "orders"));
        assert_eq!(read::digests(&there), read::digests(&here), "{topic}");
    }
}

#[test]
fn fan_out() {
    let regions = Regions::start(&["central", "paris", "oslo"]);
    load::create_topic(regions.at("central"), "orders", PARTITIONS, &[]);
    load::fill(regions.at("central"), "orders", PARTITIONS, RECORDS, 1);
    let positions = [(0, 100), (1, 200), (2, 300)];
    read::commit(regions.at("central"), "billing", "orders", &positions);
    let _daemon = regions.run("fan-out.toml");
    for name in ["paris", "oslo"] {
        let copied = assert_copied(regions.at("central"), regions.at(name), "orders");
        assert_followed(regions.at(name), "billing", "orders", &positions, &copied);
    }
}

#[test]
fn hub_and_spoke() {
    let regions = Regions::start(&["hub", "paris", "oslo"]);
    load::create_topic(regions.at("hub"), "shared.prices", PARTITIONS, &[]);
    load::fill(regions.at("hub"), "shared.prices", PARTITIONS, RECORDS, 1);
    for (seed, name) in [(2, "paris"), (3, "oslo")] {
        load::create_topic(regions.at(name), "local.sales", PARTITIONS, &[]);
        load::fill(regions.at(name), "local.sales", PARTITIONS, RECORDS, seed);
    }
    let _daemon = regions.run("hub-and-spoke.toml");
    for name in ["paris", "oslo"] {
        assert_copied(regions.at("hub"), regions.at(name), "shared.prices");
        regions.assert_holds("hub", &format!("{name}.local.sales"), RECORDS);
    }
    std::thread::sleep(ECHO_WAIT);
    for name in ["paris", "oslo"] {
        regions.assert_holds(name, "local.sales", RECORDS);
        assert_eq!(read::end_offsets(regions.at(name), &format!("{name}.local.sales")), None, "nothing comes back");
    }
    regions.assert_holds("hub", "shared.prices", RECORDS);
}

#[test]
fn chain() {
    let regions = Regions::start(&["east", "middle", "west"]);
    load::create_topic(regions.at("east"), "orders", PARTITIONS, &[]);
    load::fill(regions.at("east"), "orders", PARTITIONS, RECORDS, 1);
    let positions = [(0, 100), (1, 200), (2, 300)];
    read::commit(regions.at("east"), "billing", "orders", &positions);
    let _daemon = regions.run("chain.toml");
    let copied = assert_copied(regions.at("east"), regions.at("middle"), "orders");
    assert_followed(regions.at("middle"), "billing", "orders", &positions, &copied);
    let copied = assert_copied(regions.at("east"), regions.at("west"), "orders");
    assert_followed(regions.at("west"), "billing", "orders", &positions, &copied);
}

/// Writes on every cluster, and asserts that each then holds so many times [`RECORDS`], and that no record is there twice.
fn assert_meets(regions: &Regions, file: &str, wanted: &[(&str, usize)]) {
    for (seed, (name, _)) in (1..).zip(wanted) {
        load::create_topic(regions.at(name), "orders", PARTITIONS, &[]);
        load::fill(regions.at(name), "orders", PARTITIONS, RECORDS, seed);
    }
    let _daemon = regions.run(file);
    wanted.iter().for_each(|(name, times)| regions.assert_holds(name, "orders", times * RECORDS));
    std::thread::sleep(ECHO_WAIT);
    for (name, times) in wanted {
        regions.assert_holds(name, "orders", times * RECORDS);
        let mut all: Vec<_> =
            read::digests(&read::read_topic(regions.at(name), "orders")).into_iter().flatten().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), times * RECORDS, "different records on {name}");
    }
}

#[test]
fn ring() {
    let regions = Regions::start(&["east", "south", "west"]);
    assert_meets(&regions, "ring.toml", &[("east", 3), ("south", 3), ("west", 3)]);
}

#[test]
fn mesh() {
    let regions = Regions::start(&["east", "south", "west"]);
    assert_meets(&regions, "mesh.toml", &[("east", 3), ("south", 3), ("west", 3)]);
}

#[test]
fn diamond() {
    let regions = Regions::start(&["east", "north", "south", "west"]);
    assert_meets(&regions, "diamond.toml", &[("east", 1), ("north", 2), ("south", 2), ("west", 4)]);
}

#[test]
fn migration() {
    let regions = Regions::start(&["old", "new"]);
    load::create_topic(regions.at("old"), "orders", PARTITIONS, &[]);
    load::fill(regions.at("old"), "orders", PARTITIONS, RECORDS, 1);
    let daemon = regions.run("migration.toml");
    regions.assert_holds("new", "orders", RECORDS);
    // producers have moved: what they write on new is on old too, for those who may want to go back
    load::fill(regions.at("new"), "orders", PARTITIONS, RECORDS, 2);
    regions.assert_holds("old", "orders", 2 * RECORDS);
    let output = daemon.causeway(&["promote", "old-to-new", "--yes"]);
    assert!(output.status.success(), "{}", support::process::both(&output));
    regions.assert_holds("new", "orders", 2 * RECORDS);
}

#[test]
fn active_passive() {
    let regions = Regions::start(&["east", "west"]);
    let (east, west) = (regions.at("east"), regions.at("west"));
    load::create_topic(east, "orders", PARTITIONS, &[]);
    load::fill(east, "orders", PARTITIONS, RECORDS, 1);
    let positions = [(0, 100), (1, 200), (2, 300)];
    read::commit(east, "billing", "orders", &positions);
    let daemon = regions.run("active-passive.toml");
    let copied = assert_copied(east, west, "orders");
    assert_followed(west, "billing", "orders", &positions, &copied);

    regions.broker("east").process.kill();
    failover("east-to-west", &daemon);
    assert_followed(west, "billing", "orders", &positions, &copied);
}

#[test]
fn active_active() {
    let regions = Regions::start(&["east", "west"]);
    let (east, west) = (regions.at("east"), regions.at("west"));
    for side in [east, west] {
        load::create_topic(side, "orders", PARTITIONS, &[]);
    }
    load::fill(east, "orders", PARTITIONS, RECORDS, 1);
    load::fill(west, "orders", PARTITIONS, RECORDS, 2);
    let _daemon = regions.run("active-active.toml");
    for name in ["east", "west"] {
        regions.assert_holds(name, "orders", 2 * RECORDS);
    }
    std::thread::sleep(ECHO_WAIT);
    for name in ["east", "west"] {
        regions.assert_holds(name, "orders", 2 * RECORDS);
    }
}

#[test]
fn every_shipped_topology_is_valid_and_has_its_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let files: Vec<_> =
        names.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    assert!(files.len() >= 10, "{names:?}");
    for file in files {
        assert!(file.with_extension("md").is_file(), "{} has no page", file.display());
        let output = std::process::Command::new(CAUSEWAY).arg("validate").arg("-c").arg(file).output().unwrap();
        assert!(output.status.success(), "{}", support::process::both(&output));
    }
}
