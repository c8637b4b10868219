//! What a core of this machine can do at all, taken in the same run: bytes from a socket to a file, and from a cached file to a socket.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use anyhow::Context as _;

use crate::bench::rows::{Better, Row, Samples};
use crate::bench::usage::thread_cpu_seconds;

use super::Stage;
use super::throughput::UNIT;

const TO_FILE: &str = "limit/socket-to-file";
const TO_SOCKET: &str = "limit/file-to-socket";
/// Bytes of one call: large enough that calls cost nothing.
const BLOCK: usize = 1 << 20;

/// Measures both limits if any row needs them.
pub fn run(stage: &mut Stage<'_>) -> anyhow::Result<()> {
    let share = stage.args.wants("share") || stage.args.rows.iter().any(|prefix| prefix.starts_with("share"));
    if !share && !stage.args.wants("limit") {
        return Ok(());
    }
    let (mut to_file, mut to_socket) = (Samples::default(), Samples::default());
    let path = stage.dir.join("limit");
    for _ in 0..stage.args.rounds {
        let blocks = (stage.args.megabytes as usize * 1_000_000).div_ceil(BLOCK);
        let gigabytes = (blocks * BLOCK) as f64 / 1e9;
        to_file.ours.push(socket_to_file(&path, blocks)? / gigabytes);
        to_socket.ours.push(file_to_socket(&path, blocks)? / gigabytes);
        std::fs::remove_file(&path)?;
    }
    stage.keep(Row::new(TO_FILE.into(), UNIT, Better::Lower, &to_file, None));
    stage.keep(Row::new(TO_SOCKET.into(), UNIT, Better::Lower, &to_socket, None));
    Ok(())
}

/// For every row of CPU by flushing to the system's taste: which share of its time is unavoidable.
pub fn shares(stage: &mut Stage<'_>) {
    let limit = |name: &str| stage.rows.iter().find(|row| row.row == name).and_then(|row| row.ours);
    let (to_file, to_socket) = (limit(TO_FILE), limit(TO_SOCKET));
    let share = |row: &Row| {
        let limit = match row.row.split('/').next()? {
            "produce-cpu" if row.row.ends_with("flush-os") && row.row.contains("/none/") => to_file?,
            "fetch-cpu" if row.row.contains("/none/") => to_socket?,
            _ => return None,
        };
        let of = |cost: Option<f64>| cost.filter(|cost| *cost > 0.0).map(|cost| limit / cost).into_iter().collect();
        let samples = Samples { ours: of(row.ours), peer: of(row.peer) };
        Some(Row::new(format!("share/{}", row.row), "of limit", Better::Higher, &samples, None))
    };
    let shares: Vec<Row> = stage.rows.iter().filter_map(share).collect();
    shares.into_iter().for_each(|row| stage.keep(row));
}

/// CPU seconds of the thread that reads blocks from a socket and writes them to a file.
fn socket_to_file(path: &Path, blocks: usize) -> anyhow::Result<f64> {
    let (mut near, mut far) = connected()?;
    let sender = std::thread::spawn(move || {
        let block = vec![7; BLOCK];
        (0..blocks).try_for_each(|_| far.write_all(&block))
    });
    let mut file = File::create(path)?;
    let mut block = vec![0; BLOCK];
    let before = thread_cpu_seconds()?;
    for _ in 0..blocks {
        near.read_exact(&mut block)?;
        file.write_all(&block)?;
    }
    let spent = thread_cpu_seconds()? - before;
    sender.join().ok().context("the sender panicked")??;
    Ok(spent)
}

/// CPU seconds of the thread that reads blocks of a file in memory and writes them to a socket.
fn file_to_socket(path: &Path, blocks: usize) -> anyhow::Result<f64> {
    let (mut near, mut far) = connected()?;
    let receiver = std::thread::spawn(move || {
        let mut block = vec![0; BLOCK];
        (0..blocks).try_for_each(|_| far.read_exact(&mut block))
    });
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(0))?;
    let mut block = vec![0; BLOCK];
    let before = thread_cpu_seconds()?;
    for _ in 0..blocks {
        file.read_exact(&mut block)?;
        near.write_all(&block)?;
    }
    let spent = thread_cpu_seconds()? - before;
    receiver.join().ok().context("the receiver panicked")??;
    Ok(spent)
}

fn connected() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    Ok((near, listener.accept()?.0))
}
