//! Group positions: committed at the source at known offsets, read back at the target, to be proven against the logs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use causeway::drill::checker::{Log, Position};
use causeway::drill::error::DrillError;
use causeway::drill::history::Place;
use causeway::drill::stage::{GROUP, LOOK_INTERVAL, Stage, Topology};
use causeway::drill::{logs, positions};
use causeway_wire::client::Client;

/// The groups without members that only hold a position, by glob.
pub const PROBES: &str = "probe-*";
/// How many of them: each holds one position in every partition.
const PROBES_MAX: usize = 12;
/// How long the daemon may take to bring a group's position over.
const FOLLOW_MAX: Duration = Duration::from_secs(45);
/// Positions must have stood still this long at the target before they are believed: some rounds of the daemon.
const SETTLE: Duration = Duration::from_secs(4);
/// How long a group may take to read what is left.
const READ_MAX: Duration = Duration::from_secs(60);

type Offsets = HashMap<(String, i32), i64>;

/// Positions that came over, and how many did not.
#[derive(Debug, Default)]
pub struct Followed {
    /// Each with its source and target offset.
    pub positions: Vec<Position>,
    /// Positions that never stood at the target.
    pub missing: u64,
}

/// Commits positions all over the logs for groups without members, and waits until the target shows a position for each
/// of them and for the group that stopped in mid-load.
///
/// # Errors
/// A cluster does not answer.
pub async fn prove(
    stage: &mut Stage,
    at_east: &Client,
    at_west: &Client,
    logs: &HashMap<Place, Log>,
    random: &mut fastrand::Rng,
    say: &(dyn Fn(String) + Sync),
) -> Result<Followed, DrillError> {
    let groups: Vec<String> = (0..PROBES_MAX).map(|number| PROBES.replace('*', &number.to_string())).collect();
    for (number, group) in groups.iter().enumerate() {
        let wanted = draw(stage, logs, number, random);
        positions::commit(at_east, group, &wanted).await?;
    }
    let mut all = groups;
    all.push(GROUP.to_owned());
    let mut wanted = HashMap::new();
    for group in &all {
        wanted.insert(group.clone(), positions::committed(at_east, group).await?);
    }
    let found = settle(at_west, &wanted).await?;
    let mut followed = Followed::default();
    for (group, source) in wanted {
        for ((topic, partition), source) in source {
            match found.get(&group).and_then(|there| there.get(&(topic.clone(), partition))) {
                None => followed.missing += 1,
                Some(target) => followed.positions.push(Position {
                    flow: "east-to-west".to_owned(),
                    owner: group.clone(),
                    topic,
                    partition,
                    source,
                    target: *target,
                    // With writers on both sides a position must also go back for what the other side wrote.
                    exact: stage.plan.topology == Topology::ActivePassive,
                }),
            }
        }
    }
    say(format!("{} group positions at the target, {} missing", followed.positions.len(), followed.missing));
    Ok(followed)
}

/// Positions for one probe: the first holds the starts, the second the ends, all others are drawn.
fn draw(
    stage: &Stage,
    logs: &HashMap<Place, Log>,
    number: usize,
    random: &mut fastrand::Rng,
) -> Vec<(String, i32, i64)> {
    let mut wanted = Vec::new();
    for topic in &stage.plan.topics {
        for partition in 0..topic.partitions {
            let place = Place { cluster: "east".to_owned(), topic: topic.name.clone(), partition };
            let Some(log) = logs.get(&place) else { continue };
            let offset = match number {
                0 => log.start,
                1 => log.end,
                _ => random.i64(log.start..=log.end),
            };
            wanted.push((topic.name.clone(), partition, offset));
        }
    }
    wanted
}

/// Reads the groups' positions at the target until each wanted one is there and none moves, or time runs out.
async fn settle(at_west: &Client, wanted: &HashMap<String, Offsets>) -> Result<HashMap<String, Offsets>, DrillError> {
    let deadline = Instant::now() + FOLLOW_MAX;
    let mut found: HashMap<String, Offsets> = HashMap::new();
    let mut still_since = Instant::now();
    loop {
        let mut now = HashMap::new();
        for group in wanted.keys() {
            now.insert(group.clone(), positions::committed(at_west, group).await?);
        }
        if now != found {
            (found, still_since) = (now, Instant::now());
        }
        let there = |(group, offsets): (&String, &Offsets)| offsets.keys().all(|at| found[group].contains_key(at));
        let complete = wanted.iter().all(there);
        if (complete && still_since.elapsed() >= SETTLE) || Instant::now() > deadline {
            return Ok(found);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Lets the group go on at the target from its translated positions until it has read everything there, while the daemon
/// still follows the positions that it left at the source. Answers how many partitions the daemon then moved: what a
/// group commits itself is its own (F6).
///
/// # Errors
/// The cluster does not answer, or the group gave up.
pub async fn resume(stage: &mut Stage, at_west: &Client, say: &(dyn Fn(String) + Sync)) -> Result<u64, DrillError> {
    stage.start_reader_at_west()?;
    let deadline = Instant::now() + READ_MAX;
    while Instant::now() < deadline {
        let state = stage.reading();
        let mut behind = 0;
        for topic in &stage.plan.topics {
            for partition in 0..topic.partitions {
                let end = logs::end_offset(at_west, &topic.name, partition).await?;
                let position = state.positions.get(&(topic.name.clone(), partition)).copied().unwrap_or(0);
                behind += (end - position).max(0);
            }
        }
        if behind == 0 {
            say(format!("{GROUP} went on at the target and read {} records", state.reads));
            break;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    stage.finish_reader().await?;
    let own = positions::committed(at_west, GROUP).await?;
    tokio::time::sleep(SETTLE).await;
    let later = positions::committed(at_west, GROUP).await?;
    Ok(own.iter().filter(|(at, offset)| later.get(at) != Some(offset)).count() as u64)
}
