//! The judge: pure code from histories, full logs, ledger lines and committed positions to one count per kind of harm.
//!
//! Words (per partition and cluster; `S` is what the source acknowledged or holds, in source order, `G` what the target
//! holds): **LOST** in `S`, not in `G`, not in the ledger. **HOLE** missing with a later one of the same partition
//! present. **DUP** extra copies. **REORD** first copies not in source order. **PHANTOM** present though it definitely
//! failed, was never sent, or is not in the source's log. **CORRUPT** other bytes. **MISROUTE** another topic or
//! partition than the payload says. **ECHO** copies the topology does not allow, also on the origin itself. **AHEAD** a
//! record at or after source position X that has no copy at or after target position T. **FAR** first copies at or
//! after T whose source offset is before X.

mod group;
mod lane;
mod log;
mod position;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::history::{Event, Line, Outcome, Place, Write, writes};
use super::payload::Uid;

/// Findings spelled out per word; all are counted, but nobody reads the thousandth.
const FINDINGS_MAX: u64 = 8;

/// One record in a log, as far as the checker needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its offset.
    pub offset: i64,
    /// Who it is; none if it could not be told.
    pub uid: Option<Uid>,
    /// CRC32C over all the application sent.
    pub digest: u32,
    /// CRC32C of the key, none for a null key; only looked at on compacted topics.
    pub key: Option<u32>,
    /// What is wrong with its bytes, if anything.
    pub damage: Option<&'static str>,
    /// The payload names another topic or partition than the one it stands in.
    pub misrouted: bool,
}

/// A partition's log, read from its start to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// First offset that still exists.
    pub start: i64,
    /// Offset the next record would get.
    pub end: i64,
    /// All records, by offset.
    pub entries: Vec<Entry>,
}

/// A topic that a flow carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPair {
    /// Its name at the source.
    pub source: String,
    /// Its name at the target.
    pub target: String,
    /// Older records of a key may be missing.
    pub compacted: bool,
}

/// One direction of the topology under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// Alias of the source.
    pub from: String,
    /// Alias of the target.
    pub to: String,
    /// Origins whose records it is to carry.
    pub carries: Vec<String>,
    /// Topics it is to carry.
    pub topics: Vec<TopicPair>,
}

/// A gap the daemon admits: source offsets it did not copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLine {
    /// The flow.
    pub flow: String,
    /// Topic at the source.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// First missing source offset.
    pub first: i64,
    /// Last missing source offset.
    pub last: i64,
}

/// A translated position: a consumer at `source` may go on at `target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The flow whose map gave it.
    pub flow: String,
    /// Who has it (a group, or what asked for it); only for findings.
    pub owner: String,
    /// Topic at the source.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Next offset at the source.
    pub source: i64,
    /// Next offset at the target.
    pub target: i64,
    /// The map had everything that `source` counts: only then is FAR judged.
    pub exact: bool,
}

/// Everything the judge may look at.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Directions and what they carry.
    pub flows: Vec<Flow>,
    /// Every partition's log on every cluster.
    pub logs: HashMap<Place, Log>,
    /// Lines of all clients' histories, each client's in order.
    pub lines: Vec<Line>,
    /// What the daemon admits it left out.
    pub ledger: Vec<LedgerLine>,
    /// Translated positions to be proven.
    pub positions: Vec<Position>,
    /// Alias of a cluster that was lost for good in mid-load: its unmirrored suffix may be missing elsewhere, and it
    /// cannot have what others wrote since.
    pub lost_region: Option<String>,
    /// Cluster the group went to in the end: there it must have read everything.
    pub final_region: Option<String>,
}

/// The counts; every word as in the module's head.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records acknowledged by any source.
    pub records_acked: u64,
    /// Missing at the target, including `lost_suffix`.
    pub lost: u64,
    /// Missing, acknowledged, with nothing later present, from a region that was lost for good.
    pub lost_suffix: u64,
    /// Of a lost region: never acknowledged to the producer, yet read by a group, and gone.
    pub lost_unacked_read: u64,
    /// Missing with a later one present.
    pub hole: u64,
    /// Extra copies on a target.
    pub dup: u64,
    /// First copies out of order.
    pub reord: u64,
    /// Present though they must not be.
    pub phantom: u64,
    /// Other bytes than sent.
    pub corrupt: u64,
    /// In another topic or partition than sent to.
    pub misroute: u64,
    /// Copies the topology does not allow.
    pub echo: u64,
    /// Records a translated position skips.
    pub ahead: u64,
    /// Records a translated position repeats without need.
    pub far: u64,
    /// Ledger lines over records that did arrive.
    pub ledger_unfounded: u64,
    /// Records on the final cluster that no member of the group ever read, anywhere.
    pub group_skipped: u64,
    /// Records read more often than once by the group.
    pub group_reread: u64,
}

/// The judge's answer: counts, and the first findings of each word in plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// By flow: acknowledged records of its source that stand on its target.
    pub mirrored: BTreeMap<String, u64>,
    /// Up to eight findings per word.
    pub findings: BTreeMap<&'static str, Vec<String>>,
    /// The records behind `lost_suffix`.
    #[serde(skip)]
    pub suffix: Vec<Uid>,
}

impl Report {
    /// Words whose count must be zero and is not.
    pub fn broken(&self) -> Vec<&'static str> {
        let c = &self.counts;
        let laws = [
            ("lost", c.lost - c.lost_suffix.min(c.lost)),
            ("hole", c.hole),
            ("reord", c.reord),
            ("phantom", c.phantom),
            ("corrupt", c.corrupt),
            ("misroute", c.misroute),
            ("echo", c.echo),
            ("ahead", c.ahead),
            ("far", c.far),
            ("ledger_unfounded", c.ledger_unfounded),
            ("group_skipped", c.group_skipped),
        ];
        laws.into_iter().filter(|(_, count)| *count > 0).map(|(word, _)| word).collect()
    }

    /// Counts one finding and keeps its text while there are few.
    fn add(&mut self, word: &'static str, text: impl FnOnce() -> String) {
        let c = &mut self.counts;
        let count = match word {
            "lost" => &mut c.lost,
            "hole" => &mut c.hole,
            "dup" => &mut c.dup,
            "reord" => &mut c.reord,
            "phantom" => &mut c.phantom,
            "corrupt" => &mut c.corrupt,
            "misroute" => &mut c.misroute,
            "echo" => &mut c.echo,
            "ahead" => &mut c.ahead,
            "far" => &mut c.far,
            "ledger_unfounded" => &mut c.ledger_unfounded,
            "group_skipped" => &mut c.group_skipped,
            other => unreachable!("no such word: {other}"),
        };
        *count += 1;
        if *count <= FINDINGS_MAX {
            self.findings.entry(word).or_default().push(text());
        }
    }
}

/// What all parts of the judge share.
struct Case<'a> {
    evidence: &'a Evidence,
    writes: HashMap<Uid, Write>,
    /// Every record that a group read, with the clusters where it did.
    read: HashSet<Uid>,
}

impl Case<'_> {
    fn origin(&self, uid: Uid) -> Option<&str> {
        self.writes.get(&uid).map(|write| write.place.cluster.as_str())
    }

    fn acked(&self, uid: Uid) -> bool {
        self.writes.get(&uid).is_some_and(|write| matches!(write.outcome, Outcome::Ok(_)))
    }

    fn log(&self, cluster: &str, topic: &str, partition: i32) -> Option<&Log> {
        let place = Place { cluster: cluster.to_owned(), topic: topic.to_owned(), partition };
        self.evidence.logs.get(&place)
    }

    /// Partitions of a flow's topic at its source, whether read or only written to.
    fn partitions(&self, flow: &Flow, topic: &str) -> Vec<i32> {
        let here = |place: &Place| place.cluster == flow.from && place.topic == topic;
        let read = self.evidence.logs.keys().filter(|place| here(place));
        let written = self.writes.values().map(|write| &write.place).filter(|place| here(place));
        let mut all: Vec<i32> = read.chain(written).map(|place| place.partition).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Judges the evidence.
pub fn judge(evidence: &Evidence) -> Report {
    let read = evidence.lines.iter().filter_map(|line| match &line.event {
        Event::Read { uid, .. } => *uid,
        _ => None,
    });
    let case = Case { evidence, writes: writes(&evidence.lines), read: read.collect() };
    let mut report = Report::default();
    report.counts.records_acked = case.writes.keys().filter(|uid| case.acked(**uid)).count() as u64;
    let mut places: Vec<&Place> = evidence.logs.keys().collect();
    places.sort();
    for place in places {
        log::judge(&case, place, &evidence.logs[place], &mut report);
    }
    for flow in &evidence.flows {
        for topic in &flow.topics {
            for partition in case.partitions(flow, &topic.source) {
                lane::judge(&case, flow, topic, partition, &mut report);
            }
        }
    }
    position::judge(&case, &mut report);
    group::judge(&case, &mut report);
    report
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
