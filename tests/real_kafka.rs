//! The daemon between clusters that are not ours: real Apache Kafka on both sides, and on either side of the included broker.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rights;
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use support::flow::{assert_copied, assert_followed, failover, init};
use support::kafka::{self, Kafka};
use support::mirror::{FLOW, lanes, wait_status};
use support::process::{Broker, Daemon};
use support::{free_port, load, read, skip};

const RECORDS: usize = 100_000;
const PARTITIONS: i32 = 4;

/// Two Java nodes at a time are enough for a small machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for its turn, or says why there is none.
fn turn(test: &str) -> Option<MutexGuard<'static, ()>> {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match kafka::available() {
        Ok(()) => Some(guard),
        Err(why) => {
            skip(test, &why);
            None
        }
    }
}

#[test]
fn a_hundred_thousand_records_cross_between_real_clusters_and_a_group_fails_over_exactly() {
    let Some(_turn) = turn("real Kafka to real Kafka") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (east, west) = (Kafka::start(dir.path(), "east"), Kafka::start(dir.path(), "west"));
    load::create_topic(&east.bootstrap, "orders", PARTITIONS, &[]);
    load::create_topic(&east.bootstrap, "payments", PARTITIONS, &[]);
    load::fill(&east.bootstrap, "orders", PARTITIONS, RECORDS, 1);
    // Markers and aborted records: from the first transaction on, target offsets are not source offsets.
    load::fill_transactions(&east.bootstrap, "payments", PARTITIONS, 1000, 2);
    let orders = [(0, 0), (1, 1), (2, 12_345), (3, 25_000)];
    let payments = [(0, 17), (1, 18), (2, 200), (3, 301)];
    read::commit(&east.bootstrap, "billing", "orders", &orders);
    read::commit(&east.bootstrap, "billing", "payments", &payments);

    let daemon = Daemon::start(dir.path(), &init(&east.bootstrap, &west.bootstrap, "active-passive"));
    let copied_orders = assert_copied(&east.bootstrap, &west.bootstrap, "orders");
    let copied_payments = assert_copied(&east.bootstrap, &west.bootstrap, "payments");
    assert_ne!(
        copied_payments.0[0].last(),
        copied_payments.1[0].last(),
        "offsets must differ, or nothing is translated"
    );
    assert_followed(&west.bootstrap, "billing", "orders", &orders, &copied_orders);
    assert_followed(&west.bootstrap, "billing", "payments", &payments, &copied_payments);

    east.kill();
    failover("east-to-west", &daemon);
    assert_followed(&west.bootstrap, "billing", "orders", &orders, &copied_orders);
    assert_followed(&west.bootstrap, "billing", "payments", &payments, &copied_payments);
}

#[test]
fn f25_exactly_once_between_real_clusters_doubles_nothing_when_the_daemon_is_killed() {
    let Some(_turn) = turn("exactly once between real clusters") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (east, west) = (Kafka::start(dir.path(), "east"), Kafka::start(dir.path(), "west"));
    for topic in ["orders", "payments"] {
        load::create_topic(&east.bootstrap, topic, PARTITIONS, &[]);
    }
    load::fill_transactions(&east.bootstrap, "payments", PARTITIONS, 1000, 2);
    let text = init(&east.bootstrap, &west.bootstrap, "active-passive")
        .replace("naming = ", "delivery = \"exactly-once\"\nnaming = ");
    for round in 1..=4 {
        load::fill(&east.bootstrap, "orders", PARTITIONS, RECORDS / 10, round);
        let daemon = Daemon::start(dir.path(), &text);
        let wanted = i64::try_from(round).unwrap() * 2_000;
        support::wait_for("some records more at the target", support::flow::CATCH_UP_MAX, || {
            (read::end_offsets(&west.bootstrap, "orders")? >= wanted).then_some(())
        });
        daemon.process.kill();
    }
    let daemon = Daemon::start(dir.path(), &text);
    for topic in ["orders", "payments"] {
        // markers of the fences count in the target's offsets, so those alone do not tell when all is there
        wait_status(&daemon, FLOW, "every lane caught up", |flow| {
            let lanes = lanes(flow, topic);
            (lanes.len() == 4 && lanes.iter().all(|lane| lane["caught_up"] == true)).then_some(())
        });
        assert_copied(&east.bootstrap, &west.bootstrap, topic);
    }
}

#[test]
fn records_cross_from_the_included_broker_to_real_kafka() {
    let Some(_turn) = turn("the included broker to real Kafka") else { return };
    let dir = tempfile::tempdir().unwrap();
    let east = Broker::start(dir.path(), "east", free_port());
    let west = Kafka::start(dir.path(), "west");
    crosses(dir.path(), &east.bootstrap, &west.bootstrap);
}

#[test]
fn records_cross_from_real_kafka_to_the_included_broker() {
    let Some(_turn) = turn("real Kafka to the included broker") else { return };
    let dir = tempfile::tempdir().unwrap();
    let east = Kafka::start(dir.path(), "east");
    let west = Broker::start(dir.path(), "west", free_port());
    crosses(dir.path(), &east.bootstrap, &west.bootstrap);
}

/// An authorizer that lets everybody do everything but on what has a rule of its own.
const GUARDED: &str = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nallow.everyone.if.no.acl.found=true\n";

#[test]
fn l8_a_missing_right_stops_its_lanes_alone_and_is_named_within_30_seconds() {
    let Some(_turn) = turn("missing rights on real Kafka") else { return };
    let dir = tempfile::tempdir().unwrap();
    let east = Kafka::start_with(dir.path(), "east", GUARDED);
    let west = Kafka::start_with(dir.path(), "west", GUARDED);
    for topic in ["orders", "unreadable", "unwritable"] {
        load::create_topic(&east.bootstrap, topic, 1, &[]);
        load::fill(&east.bootstrap, topic, 1, 1000, 4);
    }
    load::create_topic(&west.bootstrap, "unwritable", 1, &[]);
    rights::allow_only(&east.bootstrap, "unreadable", &[rights::DESCRIBE, rights::DESCRIBE_CONFIGS]);
    rights::allow_only(&west.bootstrap, "unwritable", &[rights::DESCRIBE, rights::DESCRIBE_CONFIGS, rights::READ]);
    let daemon = Daemon::launch(dir.path(), &init(&east.bootstrap, &west.bootstrap, "active-passive"));
    let begun = std::time::Instant::now();
    assert_copied(&east.bootstrap, &west.bootstrap, "orders");
    for topic in ["unreadable", "unwritable"] {
        let reason =
            support::wait_for(&format!("why {topic} is not copied"), std::time::Duration::from_secs(40), || {
                rights::reason(&daemon, topic)
            });
        assert!(reason.to_uppercase().contains("AUTHORIZATION"), "{topic}: {reason}");
    }
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_secs(60), "named after {took:?}");
    assert_eq!(read::end_offsets(&west.bootstrap, "unwritable"), Some(0));
}

fn crosses(dir: &std::path::Path, east: &str, west: &str) {
    load::create_topic(east, "orders", PARTITIONS, &[]);
    load::fill(east, "orders", PARTITIONS, RECORDS / 5, 3);
    let positions = [(0, 1), (1, 77), (2, 4321), (3, 5000)];
    read::commit(east, "billing", "orders", &positions);
    let _daemon = Daemon::start(dir, &init(east, west, "active-passive"));
    let copied = assert_copied(east, west, "orders");
    assert_followed(west, "billing", "orders", &positions, &copied);
}
