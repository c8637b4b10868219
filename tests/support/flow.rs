//! What every test of a running flow asks: has everything crossed, is it the same, do the groups stand where they should.

use std::time::Duration;

use super::process::{Daemon, both, causeway};
use super::read::{self, Seen};
use super::wait_for;

/// Until a flow has copied a test's load; generous, since the machine may be busy.
pub const CATCH_UP_MAX: Duration = Duration::from_secs(180);
/// Until a group's position has followed; the daemon looks every few seconds.
pub const FOLLOW_MAX: Duration = Duration::from_secs(60);

/// The configuration that `causeway init` prints for `from` and `to`: what is tested is what a user gets.
pub fn init(from: &str, to: &str, topology: &str) -> String {
    let output = causeway(&["init", "--from", from, "--to", to, "--topology", topology]);
    assert!(output.status.success(), "{}", both(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until the target's `topic` holds as many records as the source's, and asserts that they are the same in the same order.
///
/// Returns what both sides hold.
pub fn assert_copied(source: &str, target: &str, topic: &str) -> (Vec<Vec<Seen>>, Vec<Vec<Seen>>) {
    let wanted = read::read_topic(source, topic);
    let count: usize = wanted.iter().map(Vec::len).sum();
    assert!(count > 0, "{topic}: nothing was written, so nothing is proved");
    wait_for(&format!("{count} records of {topic} at {target}"), CATCH_UP_MAX, || {
        let ends = read::end_offsets(target, topic)?;
        (ends >= i64::try_from(count).unwrap()).then_some(())
    });
    let found = read::read_topic(target, topic);
    assert_eq!(found.len(), wanted.len(), "{topic}: partitions");
    for (partition, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
        let differs = wanted.iter().zip(found).position(|(wanted, found)| wanted.digest != found.digest);
        assert_eq!(
            differs,
            None,
            "{topic}-{partition}: the first record that differs, of {} and {}",
            wanted.len(),
            found.len()
        );
        assert_eq!(found.len(), wanted.len(), "{topic}-{partition}: records");
    }
    (wanted, found)
}

/// Where a reader that stood at `position` on the source must stand on the target: before the same record, neither earlier nor later.
pub fn translated(position: i64, source: &[Seen], target: &[Seen]) -> i64 {
    let next = source.iter().position(|record| record.offset >= position);
    match next {
        Some(index) => target[index].offset,
        None => target.last().map_or(0, |record| record.offset + 1),
    }
}

/// Waits until `group` stands at the target exactly where [`translated`] says, for every position it has on the source.
pub fn assert_followed(
    target: &str,
    group: &str,
    topic: &str,
    positions: &[(i32, i64)],
    sides: &(Vec<Vec<Seen>>, Vec<Vec<Seen>>),
) {
    let partitions = i32::try_from(sides.0.len()).unwrap();
    let mut wanted = vec![None; sides.0.len()];
    for (partition, position) in positions {
        let index = usize::try_from(*partition).unwrap();
        wanted[index] = Some(translated(*position, &sides.0[index], &sides.1[index]));
    }
    let mut last = Vec::new();
    let deadline = std::time::Instant::now() + FOLLOW_MAX;
    while std::time::Instant::now() < deadline {
        last = read::committed(target, group, topic, partitions);
        if last == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{group} on {topic}: at {last:?} after {FOLLOW_MAX:?}, expected {wanted:?}");
}

/// Fails the flow over from its file, as an operator would who has lost the source.
pub fn failover(flow: &str, daemon: &Daemon) {
    let output = daemon.causeway(&["failover", flow, "--yes"]);
    assert!(output.status.success(), "failover exits with {:?}: {}", output.status.code(), both(&output));
}
