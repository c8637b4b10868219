//! Other people's tests against our broker: what fits into minutes. `tests/conformance/run all` runs the whole.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::process::Command;

use support::process::CAUSEWAY;
use support::skip;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance");
/// Sources and builds stay between runs.
const WORK: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/conformance");
/// The runner's exit code where nothing could run (no Python, no Maven, no network).
const NOTHING_RAN: i32 = 3;

/// Suites with a list.
const SUITES_MIN: usize = 4;
/// Tests of other people that the quick run must have passed where it ran at all: an empty run is a failure.
const QUICK_PASSED_MIN: usize = 80;

fn passed(output: &str) -> usize {
    // `kafka-python: 54 passed, 0 failed, 10 skipped`
    let counts = output.lines().filter_map(|line| line.split_once(" passed, ").map(|(before, _)| before));
    counts.filter_map(|before| before.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

#[test]
fn a_quick_part_of_other_peoples_tests_passes() {
    let mut command = Command::new(format!("{HERE}/run"));
    let output = command.arg("quick").env("CAUSEWAY_BIN", CAUSEWAY).env("CONFORMANCE_DIR", WORK).output().unwrap();
    let text = support::process::both(&output);
    for line in text.lines().filter_map(|line| line.strip_prefix("SKIPPED ")) {
        let (suite, why) = line.split_once(": ").unwrap_or((line, "see above"));
        skip(&format!("conformance of {suite}"), why);
    }
    if output.status.code() == Some(NOTHING_RAN) {
        return;
    }
    assert!(output.status.success(), "{text}");
    let count = passed(&text);
    assert!(count >= QUICK_PASSED_MIN, "only {count} tests ran and passed:\n{text}");
}

/// `least` says how many tests each suite's list had when it was last added to: raise it with the list.
#[test]
fn the_lists_of_passing_tests_only_grow() {
    let least = std::fs::read_to_string(Path::new(HERE).join("least")).unwrap();
    let bounds: Vec<(&str, usize)> =
        least.lines().map(|line| line.split_once(' ').unwrap()).map(|(suite, n)| (suite, n.parse().unwrap())).collect();
    for (suite, least) in &bounds {
        let listed = std::fs::read_to_string(Path::new(HERE).join("pass").join(suite)).unwrap();
        let mut names: Vec<&str> = listed.lines().collect();
        names.sort_unstable();
        names.dedup();
        assert!(*least > 0 && names.len() >= *least, "{suite}: {} tests are listed, {least} were", names.len());
    }
    assert!(bounds.len() >= SUITES_MIN, "{} suites", bounds.len());
    let lists = std::fs::read_dir(Path::new(HERE).join("pass")).unwrap().count();
    assert_eq!(lists, bounds.len(), "every list has its bound");
}
