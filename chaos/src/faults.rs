//! The faults: what they do to which process, and whether they took effect.

use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway::drill::error::DrillError;
use causeway::drill::fleet::END_MAX;
use causeway::drill::processes::Process;
use causeway::drill::stage::Stage;

use crate::damage::damage;

/// Longest time that a stopped process stays stopped: below the session and request timeouts of all clients, so that
/// some stops are noticed by nobody and some by everybody.
pub const PAUSE_MAX: Duration = Duration::from_secs(8);

/// Who is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The daemon.
    Daemon,
    /// The source's broker.
    Source,
    /// The target's broker.
    Target,
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// kill -9, later started again.
    Kill,
    /// SIGSTOP, later SIGCONT.
    Pause,
    /// SIGTERM, later started again.
    Restart,
    /// kill -9, its store removed, started again (daemon only).
    StoreWiped,
    /// kill -9, its store damaged, started again (daemon only).
    StoreDamaged,
    /// Its store removed while it runs (daemon only).
    StoreWipedLive,
    /// kill -9, its store replaced by a copy from earlier in the run, started again (daemon only).
    StoreAged,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Who.
    pub victim: Victim,
    /// What.
    pub blow: Blow,
}

/// Every fault there is; a run draws them from a shuffled deck, so that each comes up equally often.
pub static ALL: [Fault; 13] = [
    fault(Victim::Daemon, Blow::Kill),
    fault(Victim::Source, Blow::Kill),
    fault(Victim::Target, Blow::Kill),
    fault(Victim::Daemon, Blow::Pause),
    fault(Victim::Source, Blow::Pause),
    fault(Victim::Target, Blow::Pause),
    fault(Victim::Daemon, Blow::Restart),
    fault(Victim::Source, Blow::Restart),
    fault(Victim::Target, Blow::Restart),
    fault(Victim::Daemon, Blow::StoreWiped),
    fault(Victim::Daemon, Blow::StoreDamaged),
    fault(Victim::Daemon, Blow::StoreWipedLive),
    fault(Victim::Daemon, Blow::StoreAged),
];

/// What leaves a daemon not knowing which of its records arrived.
pub static KILLS: [Fault; 2] = [fault(Victim::Daemon, Blow::Kill), fault(Victim::Target, Blow::Kill)];

/// The mildest faults: for bugs that need none.
pub static MILD: [Fault; 2] = [fault(Victim::Daemon, Blow::Restart), fault(Victim::Source, Blow::Restart)];

const fn fault(victim: Victim, blow: Blow) -> Fault {
    Fault { victim, blow }
}

impl Fault {
    /// Its name in the report.
    pub fn kind(self) -> &'static str {
        match (self.blow, self.victim) {
            (Blow::Kill, Victim::Daemon) => "kill_daemon",
            (Blow::Kill, Victim::Source) => "kill_source",
            (Blow::Kill, Victim::Target) => "kill_target",
            (Blow::Pause, Victim::Daemon) => "pause_daemon",
            (Blow::Pause, Victim::Source) => "pause_source",
            (Blow::Pause, Victim::Target) => "pause_target",
            (Blow::Restart, Victim::Daemon) => "restart_daemon",
            (Blow::Restart, Victim::Source) => "restart_source",
            (Blow::Restart, Victim::Target) => "restart_target",
            (Blow::StoreWiped, _) => "wipe_store",
            (Blow::StoreDamaged, _) => "damage_store",
            (Blow::StoreWipedLive, _) => "wipe_store_live",
            (Blow::StoreAged, _) => "age_store",
        }
    }

    /// Strikes. True if it took effect: the process was running and is now dead or stopped, the store's bytes changed.
    ///
    /// # Errors
    /// A process or file that could not be handled at all.
    pub fn strike(self, stage: &mut Stage, random: &mut fastrand::Rng) -> Result<bool, DrillError> {
        Ok(match self.blow {
            Blow::Kill => process(stage, self.victim).kill()?,
            Blow::Pause => process(stage, self.victim).pause(PAUSE_MAX)?,
            Blow::Restart => process(stage, self.victim).terminate(END_MAX)?.is_some(),
            Blow::StoreWiped => process(stage, self.victim).kill()? && wipe(stage)?,
            Blow::StoreWipedLive => wipe(stage)?,
            Blow::StoreAged => process(stage, self.victim).kill()? && age(stage)?,
            Blow::StoreDamaged => {
                let killed = process(stage, self.victim).kill()?;
                let store = stage.daemon.store.clone();
                let done = match store.exists() {
                    true => damage(&store, random).map_err(DrillError::file("damage the store"))?,
                    false => Vec::new(),
                };
                for what in &done {
                    stage.mark(format!("store damaged: {what}"))?;
                }
                killed && !done.is_empty()
            }
        })
    }

    /// Lets the victim go on.
    ///
    /// # Errors
    /// It cannot be started, or is not ready in time.
    pub async fn heal(self, stage: &mut Stage) -> Result<(), DrillError> {
        if self.blow == Blow::Pause {
            return Ok(process(stage, self.victim).resume()?);
        }
        if self.victim == Victim::Daemon && self.blow != Blow::StoreAged {
            keep_a_copy(stage)?;
        }
        process(stage, self.victim).start()?;
        match self.victim {
            Victim::Daemon => stage.daemon.ready().await,
            Victim::Source => stage.east.ready().await.map(drop),
            Victim::Target => stage.west.ready().await.map(drop),
        }
    }
}

fn process(stage: &mut Stage, victim: Victim) -> &mut Process {
    match victim {
        Victim::Daemon => &mut stage.daemon.process,
        Victim::Source => &mut stage.east.process,
        Victim::Target => &mut stage.west.process,
    }
}

/// Where the copy of the store lies that will once be put back.
fn old_store(stage: &Stage) -> PathBuf {
    stage.plan.dir.join("store-old")
}

/// Copies the store of a daemon that is down, unless there is a copy already: the older the better.
fn keep_a_copy(stage: &Stage) -> Result<(), DrillError> {
    let (store, old) = (&stage.daemon.store, old_store(stage));
    if !store.is_dir() || old.exists() || stage.daemon.process.pid().is_some() {
        return Ok(());
    }
    copy_dir(store, &old, 0).map_err(DrillError::file("copy the store"))
}

/// Puts the old copy in the store's place; false if there is none, or if it is no older.
fn age(stage: &Stage) -> Result<bool, DrillError> {
    let old = old_store(stage);
    if !old.is_dir() {
        return Ok(false);
    }
    wipe(stage)?;
    std::fs::rename(&old, &stage.daemon.store).map_err(DrillError::file("put the old store back"))?;
    Ok(true)
}

/// Deepest folder that is copied.
const DEPTH_MAX: usize = 4;

fn copy_dir(from: &Path, to: &Path, depth: usize) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), target)?;
        } else if depth < DEPTH_MAX {
            copy_dir(&entry.path(), &target, depth + 1)?;
        }
    }
    Ok(())
}

fn wipe(stage: &Stage) -> Result<bool, DrillError> {
    match std::fs::remove_dir_all(&stage.daemon.store) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        // The running daemon may put a file there meanwhile: the rest is gone, and that is what this fault is about.
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(true),
        Err(error) => Err(DrillError::file("remove the store")(error)),
    }
}

/// Draws faults from shuffled decks, without end.
#[derive(Debug)]
pub struct Deck {
    all: &'static [Fault],
    cards: Vec<Fault>,
}

impl Deck {
    /// A deck that holds each of these once.
    pub fn new(all: &'static [Fault]) -> Self {
        Self { all, cards: Vec::new() }
    }

    /// The next fault.
    pub fn draw(&mut self, random: &mut fastrand::Rng) -> Fault {
        if self.cards.is_empty() {
            self.cards = self.all.to_vec();
            random.shuffle(&mut self.cards);
        }
        self.cards.pop().unwrap_or(ALL[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deck_holds_every_fault_once_and_a_seed_gives_the_same_order() {
        let draw = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut deck = Deck::new(&ALL);
            (0..ALL.len()).map(|_| deck.draw(&mut random).kind()).collect::<Vec<_>>()
        };
        let mut kinds = draw(1);
        assert_eq!(kinds, draw(1));
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), ALL.len());
    }
}
