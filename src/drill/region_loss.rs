//! The scenario `region-loss`: the first region is killed in mid-load, the flow fails over, the group and the load go on
//! at the other region; then all logs and histories are read and judged.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use causeway_wire::client::Client;
use serde::Serialize;

use super::checker::{Evidence, Position, Report, judge};
use super::error::DrillError;
use super::fleet::END_MAX;
use super::history::{Event, Line, Outcome, Write, writes};
use super::logs;
use super::positions;
use super::stage::{GROUP, LOOK_INTERVAL, Stage, Topology, end_sum};
use super::workload::Producer;

/// How long the first region may take to acknowledge the records asked for.
const LOAD_MAX: Duration = Duration::from_secs(120);
/// Least time under load between the first mirrored record and the cut: group positions are looked at anew every five
/// seconds at the latest, and the group must have committed before that.
const LOAD_MIN: Duration = Duration::from_secs(7);
/// The flow's objective (see the configuration that a drill writes): a mirror that falls further behind has stalled.
const RPO_MAX: Duration = Duration::from_secs(5);
/// The load is held back while the mirror is further behind than this share of a second's records: the drill is about
/// losing a region, not about more load than this machine can take.
const HOLD_BACK_SECONDS: f64 = 1.0;
/// How long the load after the cut may take.
const AFTER_MAX: Duration = Duration::from_secs(30);
/// How long the group may take to read the rest.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);
/// After the cut the other region takes this share of the records, within the bounds that follow.
const AFTER_SHARE: u64 = 10;
/// Fewest and most records after the cut.
const AFTER_RECORDS: std::ops::RangeInclusive<u64> = 500..=10_000;
/// Time between two lines about the progress.
const SAY_INTERVAL: Duration = Duration::from_secs(2);

/// What came of it. `verdict` is `pass` only if every law held.
#[derive(Debug, Clone, Serialize)]
pub struct RegionLoss {
    /// `region-loss`.
    pub scenario: &'static str,
    /// The topology it was done with.
    pub topology: &'static str,
    /// Records that the first region acknowledged before it was lost.
    pub records_acked: u64,
    /// Of those, records that stand at the other region.
    pub records_mirrored: u64,
    /// Records that the other region acknowledged.
    pub records_acked_elsewhere: u64,
    /// Acknowledged by the first region and gone with it: the end of each partition, without a gap before it.
    pub lost_suffix: u64,
    /// Gone although a later record of the same partition is there.
    pub hole: u64,
    /// Extra copies.
    pub dup: u64,
    /// Out of order.
    pub reord: u64,
    /// There though they must not be.
    pub phantom: u64,
    /// Other bytes than sent.
    pub corrupt: u64,
    /// In another topic or partition than sent to.
    pub misroute: u64,
    /// Copies that went in a circle.
    pub echo: u64,
    /// Records that the group's translated position skips.
    pub ahead: u64,
    /// Records that the translated position repeats without need.
    pub far: u64,
    /// Records that the group never read although they survived.
    pub group_skipped: u64,
    /// Records that the group read twice.
    pub group_reread: u64,
    /// Partitions where the group had a position at the lost region, and none at the other one when it resumed.
    pub group_untranslated: u64,
    /// From the kill to the first new correct record that the group read at the other region, in milliseconds.
    pub rto_ms: Option<u64>,
    /// From the acknowledgement of the oldest lost record to the kill, in milliseconds; 0 if none was lost.
    pub rpo_ms: u64,
    /// `pass` or `fail`.
    pub verdict: &'static str,
    /// Laws that were broken.
    pub broken: Vec<&'static str>,
    /// The first findings of each kind.
    pub findings: BTreeMap<&'static str, Vec<String>>,
    /// What the failover verb answered.
    pub failover: serde_json::Value,
}

/// Carries it out on a stage: `records` is how many the first region acknowledges before it is killed.
///
/// # Errors
/// Something could not be done. A broken law is no error but in the verdict.
pub async fn run(mut stage: Stage, records: u64, say: &(dyn Fn(String) + Sync)) -> Result<RegionLoss, DrillError> {
    load(&mut stage, records, say).await?;
    let cut = Cut::make(&mut stage, say)?;
    let failover = fail_over(&mut stage, cut.at, say).await?;
    let at_west = stage.west.ready().await?;
    let after = (records / AFTER_SHARE).clamp(*AFTER_RECORDS.start(), *AFTER_RECORDS.end());
    load_elsewhere(&stage, after).await;
    let elsewhere = acked_at_west(&stage);
    say(format!("{:>6.1} s  {elsewhere} more records acknowledged at west", cut.at.elapsed().as_secs_f64()));
    stage.finish_producers().await?;
    catch_up(&stage, &at_west).await?;
    let rto = first_new(&stage).map(|at| at.saturating_duration_since(cut.at));
    let found = gather(stage, &at_west, &failover, say).await?;
    say("judging logs and histories".to_owned());
    Ok(verdict(&found, &cut, rto, failover))
}

struct Cut {
    at: Instant,
    /// The same moment on the clock of the histories, in microseconds.
    t: u64,
    topology: Topology,
}

impl Cut {
    fn make(stage: &mut Stage, say: &(dyn Fn(String) + Sync)) -> Result<Self, DrillError> {
        let acked = stage.acked();
        stage.mark("kill -9 east")?;
        let at = Instant::now();
        stage.east.process.kill()?;
        say(format!("   0.0 s  kill -9 east in mid-load, {acked} records acknowledged"));
        let t = u64::try_from(at.duration_since(stage.start).as_micros()).unwrap_or(u64::MAX);
        Ok(Self { at, t, topology: stage.plan.topology })
    }
}

async fn load(stage: &mut Stage, records: u64, say: &(dyn Fn(String) + Sync)) -> Result<(), DrillError> {
    let at_west = stage.west.ready().await?;
    let begun = Instant::now();
    let mut said = begun;
    while stage.acked() < records || begun.elapsed() < LOAD_MIN {
        stage.east.process.check()?;
        stage.west.process.check()?;
        stage.daemon.process.check()?;
        if begun.elapsed() > LOAD_MAX {
            let state = format!(": {} of {records}", stage.acked());
            return Err(DrillError::Deadline { what: "the load before the cut".into(), within: LOAD_MAX, state });
        }
        let behind = hold_back(stage, &at_west).await?;
        if said.elapsed() >= SAY_INTERVAL {
            said = Instant::now();
            let (acked, read) = (stage.acked(), stage.reading().distinct);
            say(format!(
                "baseline   east {acked} of {records} records acknowledged, west {behind} behind, {GROUP} read {read}"
            ));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    // In mid-load means in mid-load.
    stage.producers.iter().for_each(|producer| producer.hold(false));
    Ok(())
}

/// Holds the producers back while the mirror is too far behind; answers how far it is.
async fn hold_back(stage: &Stage, at_west: &Client) -> Result<u64, DrillError> {
    let west: u64 = stage.west_producers.iter().map(Producer::acked).sum();
    let there = u64::try_from(end_sum(at_west, &stage.plan.topics).await?).unwrap_or(0);
    let behind = (stage.acked() + west).saturating_sub(there);
    let hold = behind as f64 > f64::from(stage.plan.rate) * HOLD_BACK_SECONDS;
    stage.producers.iter().for_each(|producer| producer.hold(hold));
    Ok(behind)
}

/// The order to fail over, then clients and group go on at the other region.
async fn fail_over(
    stage: &mut Stage,
    cut: Instant,
    say: &(dyn Fn(String) + Sync),
) -> Result<serde_json::Value, DrillError> {
    stage.mark("failover east-to-west")?;
    let output = stage.daemon.verb(&["failover", "east-to-west", "--yes"]).await?;
    say(format!("{:>6.1} s  failover done: west is promoted", cut.elapsed().as_secs_f64()));
    if let Some(reader) = &stage.reader {
        reader.switch(stage.west.site.clone());
    }
    for producer in &stage.producers {
        producer.switch(stage.west.site.clone());
    }
    Ok(output.json())
}

/// Records of the producers that came over from the first region.
fn acked_at_west(stage: &Stage) -> u64 {
    stage.producers.iter().map(|producer| producer.acked_at(&stage.west.site.alias)).sum()
}

/// When the group read something new and correct at the other region.
fn first_new(stage: &Stage) -> Option<Instant> {
    let state = stage.reading();
    state.first_new.filter(|_| state.cluster == stage.west.site.alias)
}

/// Lets the producers that came over from the first region write on, and the group read something new.
async fn load_elsewhere(stage: &Stage, records: u64) {
    let deadline = Instant::now() + AFTER_MAX;
    while Instant::now() < deadline {
        if acked_at_west(stage) >= records && first_new(stage).is_some() {
            return;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    // Not enough: the verdict says so, by what is missing.
}

/// Waits until the group has read the other region's logs to their ends; if it does not, the judge will see.
async fn catch_up(stage: &Stage, at_west: &Client) -> Result<(), DrillError> {
    let mut ends = HashMap::new();
    for topic in &stage.plan.topics {
        for partition in 0..topic.partitions {
            let end = logs::end_offset(at_west, &topic.name, partition).await?;
            ends.insert((topic.name.clone(), partition), end);
        }
    }
    let deadline = Instant::now() + CATCH_UP_MAX;
    while Instant::now() < deadline {
        let state = stage.reading();
        let position = |at: &(String, i32)| state.positions.get(at).copied().unwrap_or(0);
        if state.cluster == stage.west.site.alias && ends.iter().all(|(at, end)| position(at) >= *end) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// What the judge gets, and what is judged here.
struct Found {
    evidence: Evidence,
    untranslated: u64,
}

/// Ends all clients and the daemon, brings the killed region back to read what it had, and reads everything.
async fn gather(
    mut stage: Stage,
    at_west: &Client,
    failover: &serde_json::Value,
    say: &(dyn Fn(String) + Sync),
) -> Result<Found, DrillError> {
    stage.mark("end")?;
    stage.daemon.process.terminate(END_MAX)?;
    stage.east.process.start()?;
    let at_east = stage.east.ready().await?;
    say("daemon stopped, east started again: only to read what it had acknowledged".to_owned());
    let mut found = HashMap::new();
    stage.read_logs(&at_east, "east", &mut found).await?;
    stage.read_logs(at_west, "west", &mut found).await?;
    let committed = positions::committed(&at_east, GROUP).await?;
    let (flows, dir, topology) = (stage.flows(), stage.plan.dir.clone(), stage.plan.topology);
    stage.finish_reader().await?;
    let lines = Stage::lines(&dir).await?;
    let begun = resumed(&lines);
    let untranslated = committed.keys().filter(|at| !begun.contains_key(at)).count() as u64;
    let mut positions = last_committed(&begun, &committed);
    positions.extend(ordered(failover, topology));
    let evidence = Evidence {
        flows,
        logs: found,
        lines,
        ledger: Vec::new(), // nothing is deleted here, so nothing may be missing with an excuse
        positions,
        lost_region: Some("east".into()),
        final_region: Some("west".into()),
    };
    Ok(Found { evidence, untranslated })
}

/// Where the group began at the other region.
fn resumed(lines: &[Line]) -> BTreeMap<(String, i32), i64> {
    let mut begun = BTreeMap::new();
    for line in lines {
        if let Event::Resumed { place, offset: Some(offset), .. } = &line.event
            && place.cluster == "west"
        {
            begun.entry((place.topic.clone(), place.partition)).or_insert(*offset);
        }
    }
    begun
}

fn position(owner: &str, topic: String, partition: i32, source: i64, target: i64, exact: bool) -> Position {
    let flow = "east-to-west".to_owned();
    Position { flow, owner: owner.to_owned(), topic, partition, source, target, exact }
}

/// Where the group stood at the lost region, against where it began at the other one. The last commit there may never
/// have been seen by the daemon, so the group may begin further back than that, but never ahead of it.
fn last_committed(begun: &BTreeMap<(String, i32), i64>, committed: &HashMap<(String, i32), i64>) -> Vec<Position> {
    let both = begun.iter().filter_map(|(at, target)| Some((at, *target, *committed.get(at)?)));
    both.map(|((topic, partition), target, source)| position(GROUP, topic.clone(), *partition, source, target, false))
        .collect()
}

/// The positions that the failover says it used: exact both ways, but for writers on both sides.
fn ordered(failover: &serde_json::Value, topology: Topology) -> Vec<Position> {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let partitions = list(&failover["groups"]).into_iter().flat_map(|group| list(&group["partitions"]));
    let one = |at: serde_json::Value| {
        let topic = at["topic"].as_str()?.to_owned();
        let partition = i32::try_from(at["partition"].as_i64()?).ok()?;
        let (source, target) = (at["source"].as_i64()?, at["target"].as_i64()?);
        Some(position("failover", topic, partition, source, target, topology == Topology::ActivePassive))
    };
    partitions.filter_map(one).collect()
}

fn verdict(found: &Found, cut: &Cut, rto: Option<Duration>, failover: serde_json::Value) -> RegionLoss {
    let lines = &found.evidence.lines;
    let report: Report = judge(&found.evidence);
    let writes = writes(lines);
    let acked = |write: &&Write| matches!(write.outcome, Outcome::Ok(_));
    let at_east = writes.values().filter(acked).filter(|write| write.place.cluster == "east").count() as u64;
    let counts = &report.counts;
    let rpo_ms = rpo_ms(&report, lines, cut.t);
    let mut broken = report.broken();
    for (word, is_broken) in [
        ("rto", rto.is_none()), // a group that reads nothing new has not been moved
        ("rpo", u128::from(rpo_ms) > RPO_MAX.as_millis()),
        ("group_untranslated", found.untranslated > 0),
    ] {
        broken.extend(is_broken.then_some(word));
    }
    RegionLoss {
        scenario: "region-loss",
        topology: cut.topology.name(),
        records_acked: at_east,
        records_mirrored: report.mirrored.get("east-to-west").copied().unwrap_or(0),
        records_acked_elsewhere: counts.records_acked - at_east,
        lost_suffix: counts.lost_suffix,
        hole: counts.hole,
        dup: counts.dup,
        reord: counts.reord,
        phantom: counts.phantom,
        corrupt: counts.corrupt,
        misroute: counts.misroute,
        echo: counts.echo,
        ahead: counts.ahead,
        far: counts.far,
        group_skipped: counts.group_skipped,
        group_reread: counts.group_reread,
        group_untranslated: found.untranslated,
        rto_ms: rto.map(|rto| u64::try_from(rto.as_millis()).unwrap_or(u64::MAX)),
        rpo_ms,
        verdict: if broken.is_empty() { "pass" } else { "fail" },
        broken,
        findings: report.findings,
        failover,
    }
}

/// Age of the oldest lost record at the cut, by the time its acknowledgement came.
fn rpo_ms(report: &Report, lines: &[Line], cut: u64) -> u64 {
    let lost: std::collections::HashSet<_> = report.suffix.iter().collect();
    let oldest = lines.iter().filter_map(|line| match &line.event {
        Event::Ok { uid, .. } if lost.contains(uid) => Some(line.t),
        _ => None,
    });
    oldest.min().map_or(0, |oldest| cut.saturating_sub(oldest).div_ceil(1_000))
}
