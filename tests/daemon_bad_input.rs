//! Bad input from outside: each a clear error that names what and where, the rest goes on, nothing panics.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use support::flow::{assert_copied, init};
use support::process::{Broker, CAUSEWAY, Daemon, both, causeway};
use support::{free_port, load, read};

/// A server that answers every connection as a web server would.
fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

#[test]
fn a_wrong_configuration_ends_run_with_the_place_and_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let good = init("127.0.0.1:1", "127.0.0.1:2", "active-passive");
    for (from, to, what) in [
        ("groups =", "gruops =", vec!["causeway.toml:", "gruops", "did you mean `groups`?"]),
        ("to = \"west\"", "to = \"wets\"", vec!["flows.east-to-west.to", "wets"]),
        ("rpo = \"5s\"", "rpo = \"soon\"", vec!["objectives.rpo", "`soon`"]),
        ("bootstrap = \"127.0.0.1:2\"", "", vec!["clusters.west.bootstrap", "missing"]),
        ("naming =", "engine = \"record\"\ndelivery = \"exactly-once\"\nnaming =", vec!["delivery", "at-least-once"]),
    ] {
        assert!(good.contains(from), "{from} in {good}");
        let file = dir.path().join("causeway.toml");
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
        for verb in ["run", "validate"] {
            let output = causeway(&[verb, "-c", &file.display().to_string()]);
            assert_eq!(output.status.code(), Some(1), "{verb}: {}", both(&output));
            for part in &what {
                assert!(both(&output).contains(part), "{verb}: expected `{part}` in: {}", both(&output));
            }
        }
    }
    let output = causeway(&["run", "-c", "/nonexistent/causeway.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(both(&output).contains("/nonexistent/causeway.toml"), "{}", both(&output));
}

#[test]
fn an_unreachable_cluster_is_named_with_its_address_and_copying_begins_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let east = Broker::start(dir.path(), "east", free_port());
    load::create_topic(&east.bootstrap, "orders", 2, &[]);
    load::fill(&east.bootstrap, "orders", 2, 100, 1);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let daemon = Daemon::launch(dir.path(), &init(&east.bootstrap, &address, "active-passive"));
    daemon.process.says(&["west", &address]);
    assert!(daemon.process.is_alive(), "{}", daemon.process.output());
    let west = Broker::start(dir.path(), "west", port);
    assert_copied(&east.bootstrap, &west.bootstrap, "orders");
}

#[test]
fn a_web_server_in_the_place_of_a_cluster_is_called_no_kafka_peer() {
    let dir = tempfile::tempdir().unwrap();
    let east = Broker::start(dir.path(), "east", free_port());
    let address = format!("127.0.0.1:{}", http_server());
    let daemon = Daemon::launch(dir.path(), &init(&east.bootstrap, &address, "active-passive"));
    daemon.process.says(&["west", &address, "HTTP"]);
}

#[test]
fn a_cluster_with_another_id_than_the_pinned_one_is_refused_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let east = Broker::start(dir.path(), "east", free_port());
    let west = Broker::start(dir.path(), "west", free_port());
    load::create_topic(&east.bootstrap, "orders", 1, &[]);
    load::fill(&east.bootstrap, "orders", 1, 10, 1);
    let text = init(&east.bootstrap, &west.bootstrap, "active-passive");
    let pinned = text.replacen("[clusters.west]\n", "[clusters.west]\ncluster_id = \"notTheRightCluster0000\"\n", 1);
    assert_ne!(pinned, text);
    let daemon = Daemon::launch(dir.path(), &pinned);
    daemon.process.says(&["west", "notTheRightCluster0000", &cluster_id(&west)]);
    assert_eq!(read::end_offsets(&west.bootstrap, "orders"), None, "nothing may be written to a foreign cluster");
}

/// The cluster.id that a broker said in its ready line.
fn cluster_id(broker: &Broker) -> String {
    let output = broker.process.output();
    let rest = output.split("cluster_id=").nth(1).unwrap();
    rest.split(|c: char| c.is_whitespace()).next().unwrap().trim_matches('"').to_owned()
}

#[test]
fn one_cluster_under_two_addresses_is_refused_as_source_and_target() {
    let dir = tempfile::tempdir().unwrap();
    let east = Broker::start(dir.path(), "east", free_port());
    load::create_topic(&east.bootstrap, "orders", 1, &[]);
    load::fill(&east.bootstrap, "orders", 1, 10, 1);
    let alias = east.bootstrap.replace("127.0.0.1", "localhost");
    let daemon = Daemon::launch(dir.path(), &init(&east.bootstrap, &alias, "active-passive"));
    daemon.process.says(&["east-to-west", &cluster_id(&east)]);
    assert_eq!(read::end_offsets(&east.bootstrap, "orders"), Some(10), "a flow into itself must not write");
}

#[test]
fn one_refused_flow_does_not_stop_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let east = Broker::start(dir.path(), "east", free_port());
    let west = Broker::start(dir.path(), "west", free_port());
    load::create_topic(&east.bootstrap, "orders", 2, &[]);
    load::fill(&east.bootstrap, "orders", 2, 500, 1);
    let text = init(&east.bootstrap, &west.bootstrap, "active-passive");
    let foreign = format!("127.0.0.1:{}", http_server());
    let more = format!(
        "\n[clusters.north]\nbootstrap = \"{foreign}\"\n\n[[flows]]\nname = \"to-north\"\nfrom = \"east\"\nto = \"north\"\n\
         topics = {{ include = [\"*\"] }}\n"
    );
    let daemon = Daemon::launch(dir.path(), &format!("{text}{more}"));
    assert_copied(&east.bootstrap, &west.bootstrap, "orders");
    daemon.process.says(&["north", &foreign]);
}

#[test]
fn a_busy_admin_port_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = dir.path().join("causeway.toml");
    std::fs::write(&file, init("127.0.0.1:1", "127.0.0.1:2", "active-passive")).unwrap();
    let mut run = Command::new(CAUSEWAY);
    run.args(["run", "-c"]).arg(&file).env("CAUSEWAY__ADMIN__LISTEN", &address);
    let output = run.env("CAUSEWAY__STORE__DIR", dir.path().join("store")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains(&address), "{}", both(&output));
}
