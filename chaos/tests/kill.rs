//! A short fault run, as CI does it: the long ones differ only in their numbers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::{Command, Stdio};

use serde_json::Value;

/// One of every kind of fault.
const FAULTS: u64 = 13;
/// Records under them.
const RECORDS: u64 = 12_000;

fn run(words: &[&str]) -> (bool, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway-chaos"));
    let output = command.args(["run", "-o", "json"]).args(words).stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.success(), report, told)
}

#[test]
fn nothing_is_lost_under_every_kind_of_fault() {
    let (faults, records) = (FAULTS.to_string(), RECORDS.to_string());
    let (passed, report, told) = run(&["kill", "--faults", &faults, "--records", &records]);
    assert!(passed, "{report:#}\n{told}");
    assert_eq!(report["verdict"], "pass");
    assert!(report["faults"].as_u64() >= Some(FAULTS) && report["records"].as_u64() >= Some(RECORDS));
    let by_kind = report["faults_by_kind"].as_object().unwrap();
    assert_eq!(by_kind.values().filter_map(Value::as_u64).sum::<u64>(), report["faults"].as_u64().unwrap());
    for word in ["lost", "hole", "reord", "phantom", "corrupt", "misroute", "echo", "ahead", "far"] {
        assert_eq!(report[word].as_u64(), Some(0), "{word}");
    }
    assert!(report["positions"].as_u64() > Some(0), "positions were proven");
}

#[test]
fn a_missing_binary_is_named() {
    let (passed, _, told) = run(&["kill", "--causeway", "/nowhere/causeway"]);
    assert!(!passed && told.contains("/nowhere/causeway is not there"), "{told}");
}
