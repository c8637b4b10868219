//! A stage: two regions, the daemon between them, producers, and a group that reads; set up the same way for every
//! scenario.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use causeway_wire::client::Client;

use super::checker::{Flow, Log, TopicPair};
use super::error::DrillError;
use super::fleet::{Daemon, FlowSpec, Region};
use super::history::{Event, History, Line, Place};
use super::logs::{self, LogSpec};
use super::shapes::{CODECS, Mix};
use super::workload::{Producer, ProducerPlan, Reader, ReaderPlan, ReaderState, Site, WorkloadError};
use crate::config::valid::{Delivery, Engine};

/// The group that reads in every drill.
pub const GROUP: &str = "billing";
/// How long the mirror may take to bring over its first record.
const FIRST_RECORD_MAX: Duration = Duration::from_secs(45);
/// How often a drill looks how far things are.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(200);
/// The group commits after this many records.
const COMMIT_EVERY: u32 = 100;

/// Which way records flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// East to west.
    ActivePassive,
    /// Both ways, under the same names.
    ActiveActive,
}

impl Topology {
    /// Its name, as in `topologies/`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ActivePassive => "active-passive",
            Self::ActiveActive => "active-active",
        }
    }
}

/// A topic of the drill.
#[derive(Debug, Clone)]
pub struct TopicPlan {
    /// Its name, on both sides.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// What its records look like; decides whether it is a compacted topic.
    pub mix: Mix,
}

/// What is to be set up.
#[derive(Debug, Clone)]
pub struct StagePlan {
    /// The `causeway` binary.
    pub program: PathBuf,
    /// Folder for everything: data, logs, histories, configuration.
    pub dir: PathBuf,
    /// Which way records flow.
    pub topology: Topology,
    /// The topics.
    pub topics: Vec<TopicPlan>,
    /// Records per second that the clients of one region write, over all topics.
    pub rate: u32,
    /// Groups that the flows follow, by glob.
    pub groups: Vec<String>,
    /// What the flows promise about duplicates; `None`: what flows of their kind do.
    pub delivery: Option<Delivery>,
    /// How the flows copy; `None`: as flows of their kind do.
    pub engine: Option<Engine>,
    /// Seed of all choices.
    pub seed: u64,
    /// Extra environment of the daemon.
    pub daemon_env: Vec<(String, String)>,
}

/// What is running.
#[derive(Debug)]
pub struct Stage {
    /// How it was set up.
    pub plan: StagePlan,
    /// Zero of all monotonic times.
    pub start: Instant,
    /// Number of this run, in every record.
    pub run: u64,
    /// The first region.
    pub east: Region,
    /// The second region.
    pub west: Region,
    /// The daemon.
    pub daemon: Daemon,
    /// Producers that began in the first region.
    pub producers: Vec<Producer>,
    /// Producers that began in the second region.
    pub west_producers: Vec<Producer>,
    /// The member of the group, until it is told to stop.
    pub reader: Option<Reader>,
    /// What the drill itself does.
    pub marks: History,
}

impl Stage {
    /// Sets everything up and waits until the first record has crossed.
    ///
    /// # Errors
    /// Something does not start, or no record crosses.
    pub async fn start(plan: StagePlan, say: &(dyn Fn(String) + Sync)) -> Result<Self, DrillError> {
        let histories = plan.dir.join("histories");
        std::fs::create_dir_all(&histories).map_err(DrillError::file(format!("create {}", histories.display())))?;
        let start = Instant::now();
        let mut east = Region::start(&plan.program, &plan.dir, "east")?;
        let mut west = Region::start(&plan.program, &plan.dir, "west")?;
        let (at_east, at_west) = (east.ready().await?, west.ready().await?);
        for region in [&east, &west] {
            say(format!("cluster {}   {}", region.site.alias, region.site.bootstrap));
        }
        for topic in &plan.topics {
            create(&at_east, topic).await?;
            if plan.topology == Topology::ActiveActive {
                create(&at_west, topic).await?;
            }
        }
        let mut daemon =
            Daemon::start(&plan.program, &plan.dir, &[&east.site, &west.site], &flow_specs(&plan), &plan.daemon_env)?;
        daemon.ready().await?;
        for flow in flow_specs(&plan) {
            say(format!("flow {}   admin {}", flow.name, daemon.admin));
        }
        let run = plan.seed ^ u64::try_from(super::history::wall_ms()).unwrap_or(0);
        let producers = producers(&plan, run, start, &east.site, 0)?;
        let west_producers = match plan.topology {
            Topology::ActivePassive => Vec::new(),
            Topology::ActiveActive => producers_west(&plan, run, start, &west.site)?,
        };
        let reader = reader_plan(&plan, histories.join("group.jsonl"), start);
        let reader = Some(Reader::start(reader, east.site.clone())?);
        let marks = History::open(&histories.join("drill.jsonl"), start).map_err(DrillError::file("open a history"))?;
        let stage = Self { plan, start, run, east, west, daemon, producers, west_producers, reader, marks };
        stage.first_record(&at_west).await?;
        Ok(stage)
    }

    async fn first_record(&self, at_west: &Client) -> Result<(), DrillError> {
        let deadline = Instant::now() + FIRST_RECORD_MAX;
        let topic = &self.plan.topics[0];
        while Instant::now() < deadline {
            // The topic may not be there yet: that is what we wait for.
            let ends = end_sum(at_west, std::slice::from_ref(topic)).await.unwrap_or(0);
            if ends > 0 && self.reading().reads > 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let state = format!(": {} records acknowledged, {} read", self.acked(), self.reading().reads);
        Err(DrillError::Deadline { what: "the first mirrored record".into(), within: FIRST_RECORD_MAX, state })
    }

    /// Records acknowledged to the producers that began in the first region.
    pub fn acked(&self) -> u64 {
        self.producers.iter().map(Producer::acked).sum()
    }

    /// How far the group is; nothing if it was stopped.
    pub fn reading(&self) -> ReaderState {
        self.reader.as_ref().map(Reader::state).unwrap_or_default()
    }

    /// Stops the group: it commits what it has read and leaves.
    ///
    /// # Errors
    /// Why it had given up before, if it had.
    pub async fn finish_reader(&mut self) -> Result<(), DrillError> {
        let Some(reader) = self.reader.take() else { return Ok(()) };
        blocking(move || reader.finish()).await
    }

    /// Starts the group's member at the second region, where it goes on from what is committed there.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_reader_at_west(&mut self) -> Result<(), DrillError> {
        let file = self.plan.dir.join("histories").join("group-west.jsonl");
        self.reader = Some(Reader::start(reader_plan(&self.plan, file, self.start), self.west.site.clone())?);
        Ok(())
    }

    /// The flows as the checker knows them.
    pub fn flows(&self) -> Vec<Flow> {
        let pair = |topic: &TopicPlan| TopicPair {
            source: topic.name.clone(),
            target: topic.name.clone(),
            compacted: topic.mix == Mix::Compacted,
        };
        let topics: Vec<TopicPair> = self.plan.topics.iter().map(pair).collect();
        let flow = |spec: FlowSpec| Flow {
            name: spec.name,
            carries: vec![spec.from.clone()],
            from: spec.from,
            to: spec.to,
            topics: topics.clone(),
        };
        flow_specs(&self.plan).into_iter().map(flow).collect()
    }

    /// Writes down what the drill does, on the clock of all histories.
    ///
    /// # Errors
    /// The history cannot be written.
    pub fn mark(&mut self, what: impl Into<String>) -> Result<(), DrillError> {
        let event = Event::Mark { what: what.into() };
        self.marks.append(event).and_then(|()| self.marks.flush()).map_err(DrillError::file("write a history"))
    }

    /// Ends the producers and waits for their last answers.
    ///
    /// # Errors
    /// Why one of them gave up.
    pub async fn finish_producers(&mut self) -> Result<(), DrillError> {
        let mut all = std::mem::take(&mut self.producers);
        all.append(&mut self.west_producers);
        blocking(move || {
            // All get the order first, then each is waited for.
            let threads: Vec<_> = all.into_iter().map(|p| std::thread::spawn(move || p.finish())).collect();
            let died = || Err(WorkloadError::Died { client: "producer".into() });
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| died()))
        })
        .await
    }

    /// Reads every history of this run.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub async fn lines(dir: &Path) -> Result<Vec<Line>, DrillError> {
        let dir = dir.join("histories");
        let read = move || {
            let mut lines = Vec::new();
            for file in std::fs::read_dir(&dir)? {
                lines.extend(super::history::read(&file?.path())?);
            }
            Ok(lines)
        };
        let failed = || Err(std::io::Error::other("the reading thread died"));
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|_| failed())
            .map_err(DrillError::file("read the histories"))
    }

    /// Reads every log of a region, or what it gained since the last time.
    ///
    /// # Errors
    /// The region does not serve what it has.
    pub async fn read_logs(
        &self,
        client: &Client,
        alias: &str,
        logs: &mut HashMap<Place, Log>,
    ) -> Result<(), DrillError> {
        for topic in &self.plan.topics {
            for partition in 0..topic.partitions {
                let place = Place { cluster: alias.to_owned(), topic: topic.name.clone(), partition };
                let spec = LogSpec { run: self.run, topic: &topic.name, payload_topic: &topic.name, partition };
                logs::extend(client, spec, logs.entry(place).or_default()).await?;
            }
        }
        Ok(())
    }
}

fn reader_plan(plan: &StagePlan, history: PathBuf, start: Instant) -> ReaderPlan {
    let topics = plan.topics.iter().map(|topic| topic.name.clone()).collect();
    ReaderPlan { group: GROUP.to_owned(), topics, commit_every: COMMIT_EVERY, history, start }
}

async fn blocking(work: impl FnOnce() -> Result<(), WorkloadError> + Send + 'static) -> Result<(), DrillError> {
    let died = || Err(WorkloadError::Died { client: "a finishing thread".into() });
    Ok(tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| died())?)
}

/// Sum of the end offsets of all partitions of these topics.
///
/// # Errors
/// The cluster does not answer, or has no such topic.
pub async fn end_sum(client: &Client, topics: &[TopicPlan]) -> Result<i64, DrillError> {
    let mut sum = 0;
    for topic in topics {
        for partition in 0..topic.partitions {
            sum += logs::end_offset(client, &topic.name, partition).await?;
        }
    }
    Ok(sum)
}

async fn create(client: &Client, topic: &TopicPlan) -> Result<(), DrillError> {
    let settings: &[(&str, &str)] = match topic.mix {
        Mix::Compacted => &[("cleanup.policy", "compact")],
        Mix::Any { .. } => &[],
    };
    logs::create_topic(client, &topic.name, topic.partitions, settings).await
}

/// The flows of a plan.
pub fn flow_specs(plan: &StagePlan) -> Vec<FlowSpec> {
    let flow = |from: &str, to: &str| FlowSpec {
        name: format!("{from}-to-{to}"),
        from: from.to_owned(),
        to: to.to_owned(),
        topics: plan.topics.iter().map(|topic| topic.name.clone()).collect(),
        groups: plan.groups.clone(),
        delivery: plan.delivery,
        engine: plan.engine,
    };
    match plan.topology {
        Topology::ActivePassive => vec![flow("east", "west")],
        Topology::ActiveActive => vec![flow("east", "west"), flow("west", "east")],
    }
}

/// One producer per codec and ordinary topic, one for each compacted topic; they share the rate.
fn producers(
    plan: &StagePlan,
    run: u64,
    start: Instant,
    site: &Site,
    first_id: u32,
) -> Result<Vec<Producer>, DrillError> {
    let mut wanted: Vec<(&TopicPlan, &'static str)> = Vec::new();
    for topic in &plan.topics {
        match topic.mix {
            Mix::Compacted => wanted.push((topic, "lz4")),
            Mix::Any { .. } => wanted.extend(CODECS.map(|codec| (topic, codec))),
        }
    }
    let share = plan.rate / u32::try_from(wanted.len()).unwrap_or(1).max(1);
    let mut all = Vec::new();
    for (id, (topic, codec)) in (first_id..).zip(wanted) {
        let plan = ProducerPlan {
            run,
            id,
            topic: topic.name.clone(),
            partitions: topic.partitions,
            codec,
            mix: topic.mix,
            seed: plan.seed,
            rate: share.max(1),
            history: plan.dir.join("histories").join(format!("producer-{id}.jsonl")),
            start,
        };
        all.push(Producer::start(plan, site.clone())?);
    }
    Ok(all)
}

/// First number of a producer that begins in the second region.
const WEST_PRODUCERS: u32 = 1_000;

fn producers_west(plan: &StagePlan, run: u64, start: Instant, site: &Site) -> Result<Vec<Producer>, DrillError> {
    producers(plan, run, start, site, WEST_PRODUCERS)
}
