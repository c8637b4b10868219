//! `causeway demo` as a newcomer runs it: the verdict, the exit code, and that nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long the children of an ended demo may take to notice.
const GONE_MAX: Duration = Duration::from_secs(10);
/// How long a demo may take to be set up.
const SET_UP_MAX: Duration = Duration::from_secs(90);

fn causeway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    command.stdin(Stdio::null());
    command
}

/// Command lines of all processes that work in this folder.
fn processes_in(dir: &Path) -> Vec<String> {
    let dir = dir.canonicalize().unwrap().display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&dir)).collect()
}

fn assert_all_gone(dir: &Path) {
    let deadline = Instant::now() + GONE_MAX;
    loop {
        let left = processes_in(dir);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn region_loss(topology: &str, records: u64) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let records_text = records.to_string();
    let words = ["demo", "--scenario", "region-loss", "--topology", topology, "--records", &records_text, "-o", "json"];
    let output = causeway().args(words).arg("--dir").arg(dir.path()).output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{told}");
    let verdict: Value = serde_json::from_str(&said).expect("exactly one JSON document");
    assert_all_gone(dir.path());
    verdict
}

fn assert_the_laws_held(verdict: &Value, records: u64) {
    let count = |key: &str| verdict[key].as_u64().unwrap_or_else(|| panic!("{key} in {verdict:#}"));
    for zero in ["hole", "reord", "phantom", "corrupt", "misroute", "echo", "ahead", "group_skipped"] {
        assert_eq!(count(zero), 0, "{zero} in {verdict:#}");
    }
    assert_eq!(verdict["verdict"], "pass");
    assert!(count("records_acked") >= records, "{verdict:#}");
    assert!(count("records_acked_elsewhere") > 0 && count("rto_ms") > 0, "{verdict:#}");
    assert_eq!(count("records_acked"), count("records_mirrored") + count("lost_suffix"), "{verdict:#}");
    // on a cycle a group that has not seen the target's own records is sent back to the first of them, and reads all that lies between again
    let own = if verdict["topology"] == "active-active" { count("records_acked_elsewhere") } else { 0 };
    assert!(count("group_reread") < count("records_acked") + own, "{verdict:#}");
    assert!(count("dup") <= count("records_acked"), "{verdict:#}");
}

#[test]
fn region_loss_active_passive_loses_a_suffix_at_most() {
    assert_the_laws_held(&region_loss("active-passive", 3_000), 3_000);
}

#[test]
fn region_loss_active_active_loses_a_suffix_at_most() {
    assert_the_laws_held(&region_loss("active-active", 3_000), 3_000);
}

/// Starts a demo without scenario and waits until it says what to run next.
fn steady(dir: &Path) -> Child {
    let mut demo = causeway().arg("demo").arg("--dir").arg(dir).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, receiver) = std::sync::mpsc::sync_channel(1_000);
    let told = BufReader::new(demo.stderr.take().unwrap());
    std::thread::spawn(move || told.lines().map_while(Result::ok).try_for_each(|line| sender.try_send(line)));
    let deadline = Instant::now() + SET_UP_MAX;
    let mut all = Vec::new();
    while !all.iter().any(|line: &String| line.contains("next: causeway status")) {
        assert!(Instant::now() < deadline, "{all:#?}");
        match receiver.recv_timeout(Duration::from_secs(1)) {
            Ok(line) => all.push(line),
            Err(_) => assert!(demo.try_wait().unwrap().is_none(), "ended: {all:#?}"),
        }
    }
    demo
}

#[test]
fn a_demo_that_is_stopped_ends_well_and_one_that_crashes_leaves_nothing_either() {
    for (signal, code) in [(Signal::INT, Some(0)), (Signal::TERM, Some(0)), (Signal::KILL, None)] {
        let dir = tempfile::tempdir().unwrap();
        let mut demo = steady(dir.path());
        assert!(processes_in(dir.path()).len() >= 4, "the demo, two brokers and the daemon");
        kill_process(Pid::from_child(&demo), signal).unwrap();
        assert_eq!(demo.wait().unwrap().code(), code);
        assert_all_gone(dir.path());
    }
}
