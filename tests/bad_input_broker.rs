//! Bad input for the included broker: each a clear error that names what and where, the rest goes on, nothing panics.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use support::process::{Broker, VISIBLE_MAX, both, causeway};
use support::{free_port, load, read, skip, wait_for};

#[test]
fn a_busy_port_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = dir.path().join("data").display().to_string();
    let (listeners, dirs) = (format!("listeners=PLAINTEXT://{address}"), format!("log.dirs={data}"));
    let output = causeway(&["broker", "--override", &listeners, "--override", &dirs]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains(&address), "{}", both(&output));
}

#[test]
fn a_folder_that_another_broker_holds_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Broker::start(dir.path(), "data", free_port());
    load::create_topic(&first.bootstrap, "orders", 1, &[]);
    load::fill(&first.bootstrap, "orders", 1, 10, 1);
    let data = dir.path().join("data").display().to_string();
    let listeners = format!("listeners=PLAINTEXT://127.0.0.1:{}", free_port());
    let output = causeway(&["broker", "--override", &listeners, "--override", &format!("log.dirs={data}")]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(both(&output).contains(&data), "{}", both(&output));
    assert_eq!(read::read_topic(&first.bootstrap, "orders")[0].len(), 10);
}

#[test]
fn garbage_and_half_frames_on_the_brokers_port_hurt_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), "east", free_port());
    load::create_topic(&broker.bootstrap, "orders", 1, &[]);
    let mut rng = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = (0..4096).map(|_| rng.u8(..)).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a web browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("noise", noise),
        ("a length of 2 GB", 0x7fff_ffff_u32.to_be_bytes().to_vec()),
        ("a negative length", (-5_i32).to_be_bytes().to_vec()),
        ("a frame without a header", [0, 0, 0, 1, 0].to_vec()),
        ("an unknown API", [&[0, 0, 0, 12], &[0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0, 2, b'h', b'i'][..]].concat()),
        ("a request cut off in its middle", [&[0, 0, 1, 0], &[0, 3, 0, 9, 0, 0, 0, 1][..]].concat()),
    ];
    // Held open until the end: a client that says half and waits must not hold anything that others need.
    let mut open = Vec::new();
    for (name, bytes) in &cases {
        let mut stream = TcpStream::connect(&broker.bootstrap).unwrap();
        let _ = stream.write_all(bytes);
        open.push(stream);
        assert!(broker.process.is_alive(), "{name}");
    }
    load::fill(&broker.bootstrap, "orders", 1, 100, 1);
    let seen = read::read_topic(&broker.bootstrap, "orders");
    assert_eq!(seen[0].len(), 100);
    drop(open);
    assert!(!broker.process.output().contains("panicked"), "{}", broker.process.output());
}

/// A small file system of its own, gone with the test.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(path: std::path::PathBuf, size: &str) -> Result<Self, String> {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "causeway-test"])
            .arg(&path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(path)),
            Ok(output) => Err(format!("mounting a small file system needs root: {}", both(&output).trim())),
            Err(error) => Err(format!("no mount: {error}")),
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_named_and_what_was_acknowledged_stays() {
    let dir = tempfile::tempdir().unwrap();
    let disk = match Tmpfs::mount(dir.path().join("disk"), "24m") {
        Ok(disk) => disk,
        Err(why) => return skip("a_full_disk_is_named_and_what_was_acknowledged_stays", &why),
    };
    let broker = Broker::start(&disk.0, "data", free_port());
    load::create_topic(&broker.bootstrap, "orders", 1, &[]);
    let acknowledged = load::fill_until_refused(&broker.bootstrap, "orders", 64 << 20);
    assert!(acknowledged > 0, "the disk was full before the first record");
    broker.process.says(&["orders", "o space left"]);
    assert!(broker.process.is_alive(), "{}", broker.process.output());
    let seen = read::read_topic(&broker.bootstrap, "orders");
    assert!(seen[0].len() >= acknowledged, "{} of {acknowledged} acknowledged records are left", seen[0].len());
    wait_for("no endless loop: the log stays small", VISIBLE_MAX, || {
        (broker.process.output().len() < 1 << 20).then_some(())
    });
}
