//! What each client of a drill saw, written down as it happens: one append-only file of JSON lines per client.
//!
//! A write has one of three outcomes, as in Jepsen: `ok` with its offset, `fail` (it surely did not happen) or `info`
//! (nobody knows). A write without outcome is `info`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::payload::Uid;

/// Longest line accepted when a history is read back, in bytes: an event is a few hundred.
const LINE_BYTES_MAX: usize = 64 << 10;

/// One partition of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Alias of the cluster.
    pub cluster: String,
    /// Topic as it is called there.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
}

/// Something a client did or saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A record is handed to the producer.
    Invoke {
        /// The write.
        uid: Uid,
        /// Where it goes.
        place: Place,
    },
    /// The cluster acknowledged the record at this offset.
    Ok {
        /// The write.
        uid: Uid,
        /// Its offset.
        offset: i64,
    },
    /// The record was definitely refused.
    Fail {
        /// The write.
        uid: Uid,
        /// The refusal.
        why: String,
    },
    /// The outcome is unknown.
    Info {
        /// The write.
        uid: Uid,
        /// What was seen instead of an answer.
        why: String,
    },
    /// A member of a group processed this record.
    Read {
        /// The group.
        group: String,
        /// Where it stood.
        place: Place,
        /// Its offset.
        offset: i64,
        /// Who it was; none if it could not be told.
        uid: Option<Uid>,
    },
    /// The group's committed position is now this offset (the next one to read).
    Committed {
        /// The group.
        group: String,
        /// The partition.
        place: Place,
        /// The next offset to read.
        offset: i64,
    },
    /// The group asked for this position to be committed; whether it was, nobody said.
    CommitAsked {
        /// The group.
        group: String,
        /// The partition.
        place: Place,
        /// The next offset to read.
        offset: i64,
    },
    /// The group takes up its work at this cluster from this offset.
    Resumed {
        /// The group.
        group: String,
        /// The partition.
        place: Place,
        /// First offset to be read; none if nothing was committed.
        offset: Option<i64>,
    },
    /// Something the drill itself did: a kill, a failover order.
    Mark {
        /// What it did.
        what: String,
    },
}

/// One line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Microseconds since the drill began, on a clock that never goes back.
    pub t: u64,
    /// Wall time in milliseconds since 1970.
    pub wall: i64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// Milliseconds since 1970 by the wall clock.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// An open history file; only ever appended to.
#[derive(Debug)]
pub struct History {
    file: BufWriter<File>,
    start: Instant,
}

impl History {
    /// Opens a file for appending; `start` is the common zero of the drill's monotonic times.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn open(path: &Path, start: Instant) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file: BufWriter::with_capacity(64 << 10, file), start })
    }

    /// Appends an event with the present times.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn append(&mut self, event: Event) -> std::io::Result<()> {
        let t = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        serde_json::to_writer(&mut self.file, &Line { t, wall: wall_ms(), event })?;
        self.file.write_all(b"\n")
    }

    /// Hands everything appended so far to the operating system.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Reads a history back; a torn last line (the client died) is left out.
///
/// # Errors
/// An unreadable file, or a broken line that is not the last one.
pub fn read(path: &Path) -> std::io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut broken: Option<String> = None;
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        if let Some(earlier) = broken {
            return Err(std::io::Error::other(format!("{}: broken line: {earlier}", path.display())));
        }
        match (line.len() <= LINE_BYTES_MAX).then(|| serde_json::from_str(&line)) {
            Some(Ok(line)) => lines.push(line),
            _ => broken = Some(line.chars().take(200).collect()),
        }
    }
    Ok(lines)
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged at this offset.
    Ok(i64),
    /// Definitely refused.
    Fail,
    /// Unknown.
    Info,
}

/// One write as the histories tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where it was sent.
    pub place: Place,
    /// How it ended.
    pub outcome: Outcome,
}

/// All writes in the lines of all clients, each with its last known outcome; `ok` outranks the other two.
pub fn writes<'a>(lines: impl IntoIterator<Item = &'a Line>) -> HashMap<Uid, Write> {
    let mut writes: HashMap<Uid, Write> = HashMap::new();
    for line in lines {
        let (uid, outcome) = match &line.event {
            Event::Invoke { uid, place } => {
                writes.insert(*uid, Write { place: place.clone(), outcome: Outcome::Info });
                continue;
            }
            Event::Ok { uid, offset } => (uid, Outcome::Ok(*offset)),
            Event::Fail { uid, .. } => (uid, Outcome::Fail),
            Event::Info { uid, .. } => (uid, Outcome::Info),
            _ => continue,
        };
        if let Some(write) = writes.get_mut(uid)
            && !matches!(write.outcome, Outcome::Ok(_))
        {
            write.outcome = outcome;
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(seq: u64) -> Uid {
        Uid { run: 1, producer: 2, partition: 0, seq }
    }

    fn place() -> Place {
        Place { cluster: "east".into(), topic: "orders".into(), partition: 0 }
    }

    #[test]
    fn a_history_reads_back_as_written_but_for_a_torn_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.jsonl");
        let events = vec![
            Event::Invoke { uid: uid(0), place: place() },
            Event::Ok { uid: uid(0), offset: 5 },
            Event::Read { group: "g".into(), place: place(), offset: 5, uid: None },
            Event::Mark { what: "kill east".into() },
        ];
        let mut history = History::open(&path, Instant::now()).unwrap();
        events.iter().for_each(|event| history.append(event.clone()).unwrap());
        history.flush().unwrap();
        history.file.get_mut().write_all(b"{\"t\":1,\"wall\":2,\"ok\":{\"ui").unwrap();
        let lines = read(&path).unwrap();
        assert_eq!(lines.iter().map(|line| line.event.clone()).collect::<Vec<_>>(), events);
        assert!(lines.is_sorted_by_key(|line| line.t));
        history.file.get_mut().write_all(b"\n{}\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("broken line"));
    }

    #[test]
    fn a_write_without_answer_is_info_and_an_answer_counts_once() {
        let line = |event| Line { t: 0, wall: 0, event };
        let lines = [
            line(Event::Invoke { uid: uid(0), place: place() }),
            line(Event::Invoke { uid: uid(1), place: place() }),
            line(Event::Invoke { uid: uid(2), place: place() }),
            line(Event::Ok { uid: uid(1), offset: 9 }),
            line(Event::Info { uid: uid(1), why: "purged".into() }),
            line(Event::Fail { uid: uid(2), why: "too large".into() }),
        ];
        let writes = writes(&lines);
        assert_eq!(writes[&uid(0)].outcome, Outcome::Info);
        assert_eq!(writes[&uid(1)].outcome, Outcome::Ok(9));
        assert_eq!(writes[&uid(2)].outcome, Outcome::Fail);
    }
}
