//! What every store must hold to, and what the one on disk must survive.
use std::{fs, path::Path};

use super::{
    cache::Cache,
    rebuild::{Discarded, Rebuild, StoreUpdate, TopicNow},
    *,
};
use crate::core::{
    batch::SourceRange,
    ids::{FlowEpoch, FlowName, LaneId, LeaderEpoch, SourceOffset, TargetOffset, TopicName, UnixMillis},
    offset_map::Run,
    progress::{LaneState, Progress},
};

fn stamp(next_offset: i64) -> Stamp {
    Stamp { cluster: ClusterId::new("west"), topic_id: TopicId([5; 16]), next_offset }
}
fn topic(log_end: i64) -> TopicNow {
    TopicNow { cluster: ClusterId::new("west"), topic_id: TopicId([5; 16]), log_end }
}
fn lane() -> LaneId {
    LaneId::new("orders", TopicId([1; 16]), 0)
}

/// The records of a lane that copied `batches` batches, with their offsets in the progress topic.
fn history(batches: i64) -> Vec<Placed> {
    let target = (TopicName::new("orders"), TopicId([2; 16]));
    let mut state = LaneState::new(lane(), target, FlowEpoch(1), SourceOffset(0), TargetOffset(0));
    let mut records = vec![Record::claim(FlowEpoch(1), "one", UnixMillis(0))];
    for at in 0..batches {
        let range = SourceRange::new(SourceOffset(at * 12), SourceOffset(at * 12 + 12));
        state.append(range, &[Run::new(SourceOffset(at * 12), 10, TargetOffset(at * 10))], LeaderEpoch(0)).unwrap();
        records.extend(state.take_records());
    }
    state.trim_target(TargetOffset(batches * 5));
    records.extend(state.take_records());
    records.into_iter().enumerate().map(|(at, record)| Placed { offset: at as i64, record }).collect()
}

fn fold(records: &[Placed]) -> Progress {
    let mut progress = Progress::default();
    records.iter().for_each(|placed| progress.apply(placed.record.clone()));
    progress
}

fn cache(dir: &Path) -> Cache {
    Cache::new(dir, &FlowName::new("orders-dr"))
}

/// What holds for every store.
fn contract(mut open: impl FnMut() -> Box<dyn StateStore>, survives: bool) {
    let mut store = open();
    assert_eq!(store.load().unwrap(), None);
    let all = history(400);
    assert!(store.append(&all[..1], 1).is_err(), "nobody said which topic it mirrors");
    store.reset(&stamp(10), &all[..10]).unwrap();
    let mut at = 10;
    while at < all.len() {
        let to = (at + 7).min(all.len());
        store.append(&all[at..to], to as i64).unwrap();
        at = to;
    }
    store.flush().unwrap();
    if survives {
        drop(store);
        store = open();
    }
    let snapshot = store.load().unwrap().unwrap();
    assert_eq!(snapshot.stamp, stamp(all.len() as i64));
    assert!(snapshot.records.is_sorted_by_key(|placed| placed.offset));
    assert!(snapshot.records.len() < all.len(), "only the newest record of each key");
    let (state, update) = Rebuild::begin(Some(snapshot), topic(all.len() as i64)).finish(all.len() as i64);
    assert_eq!(state.lane(&lane()).unwrap().map().runs(), fold(&all).lane(&lane()).unwrap().map().runs());
    assert_eq!(update, StoreUpdate::Append { records: vec![], next_offset: all.len() as i64 });
    store.reset(&stamp(0), &[]).unwrap();
    assert_eq!(store.load().unwrap().unwrap(), Snapshot { stamp: stamp(0), records: vec![] });
}

#[test]
fn a_store_in_memory_keeps_the_contract() {
    contract(|| Box::new(MemoryStore::default()), false);
}

#[test]
fn a_store_on_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(|| Box::new(cache(dir.path())), true);
}

#[test]
fn l2_a_stale_store_is_brought_up_to_the_topic() {
    let all = history(300);
    let mut store = MemoryStore::default();
    store.reset(&stamp(40), &all[..40]).unwrap();
    let mut rebuild = Rebuild::begin(store.load().unwrap(), topic(all.len() as i64));
    assert_eq!((rebuild.read_from(), rebuild.discarded()), (40, None));
    all[40..].iter().for_each(|placed| rebuild.apply(placed.clone()));
    let (state, update) = rebuild.finish(all.len() as i64);
    assert_eq!(state, fold(&all));
    update.run(&mut store).unwrap();
    assert_eq!(store.load().unwrap().unwrap().stamp, stamp(all.len() as i64));
}

#[test]
fn l2_a_store_of_another_topic_or_ahead_of_it_does_not_count() {
    let all = history(30);
    let mut store = MemoryStore::default();
    store.reset(&stamp(all.len() as i64), &all).unwrap();
    let cases = [
        (TopicNow { cluster: ClusterId::new("east"), ..topic(1000) }, Discarded::OtherCluster),
        (TopicNow { topic_id: TopicId([6; 16]), ..topic(1000) }, Discarded::OtherTopic),
        (topic(3), Discarded::AheadOfTopic),
    ];
    for (now, why) in cases {
        let rebuild = Rebuild::begin(store.load().unwrap(), now);
        assert_eq!((rebuild.read_from(), rebuild.discarded()), (0, Some(why)));
        assert_eq!(rebuild.finish(0).0, Progress::default());
    }
}

fn filled(dir: &Path) -> Vec<Placed> {
    let all = history(200);
    let mut store = cache(dir);
    store.load().unwrap();
    store.reset(&stamp(all.len() as i64), &all).unwrap();
    all
}

/// All files of the store, biggest first: sled keeps its log in one of them.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    found
}

#[test]
fn l2_a_damaged_store_is_noticed_or_harmless_and_never_wrong() {
    let mut chance = fastrand::Rng::with_seed(7);
    let (mut noticed, mut harmless) = (0, 0);
    for round in 0..24 {
        let dir = tempfile::tempdir().unwrap();
        let all = filled(dir.path());
        let victims = files(dir.path());
        let victim = &victims[if round % 4 == 3 { victims.len() - 1 } else { 0 }];
        let mut bytes = fs::read(victim).unwrap();
        match round % 3 {
            0 if !bytes.is_empty() => {
                let at = chance.usize(..bytes.len());
                bytes[at] ^= 1 << chance.u32(..8);
            }
            1 => bytes.truncate(bytes.len() / 2),
            _ => bytes.iter_mut().take(4096).for_each(|byte| *byte = 0),
        }
        fs::write(victim, bytes).unwrap();
        let mut store = cache(dir.path());
        let snapshot = match store.load() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                noticed += 1;
                assert!(
                    error.to_string().contains("rebuilt") || error.to_string().contains("progress topic"),
                    "{error}"
                );
                assert_eq!(store.load().unwrap(), None, "a new folder was begun");
                None
            }
        };
        harmless += usize::from(snapshot.is_some());
        // whatever is left, together with the topic it gives the right answer
        let mut rebuild = Rebuild::begin(snapshot, topic(all.len() as i64));
        let from = rebuild.read_from() as usize;
        all[from..].iter().for_each(|placed| rebuild.apply(placed.clone()));
        let (state, update) = rebuild.finish(all.len() as i64);
        let (got, wanted) = (state.lane(&lane()).unwrap().map(), fold(&all));
        assert_eq!(got.runs(), wanted.lane(&lane()).unwrap().map().runs());
        update.run(&mut store).unwrap();
        assert_eq!(store.load().unwrap().unwrap().stamp, stamp(all.len() as i64));
    }
    assert!(noticed > 0, "no damage was ever noticed ({harmless} harmless): the test damages nothing");
}

#[test]
fn folders_set_aside_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..6 {
        filled(dir.path());
        for file in files(&dir.path().join("orders-dr")) {
            fs::write(file, b"nothing of this is a database").unwrap();
        }
        assert!(cache(dir.path()).load().is_err());
    }
    let asides = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("aside"));
    assert_eq!(asides.count(), 3);
}

#[test]
fn a_store_wiped_while_it_is_open_costs_no_more_than_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let all = filled(dir.path());
    let mut store = cache(dir.path());
    store.load().unwrap();
    fs::remove_dir_all(dir.path().join("orders-dr")).unwrap();
    // appends may work on the unlinked files or fail: neither panics
    let _ = store.append(&all[..1], all.len() as i64 + 1).and_then(|()| store.flush());
    drop(store);
    let mut again = cache(dir.path());
    assert_eq!(again.load().unwrap_or(None), None);
    again.reset(&stamp(3), &all[..3]).unwrap();
    assert_eq!(again.load().unwrap().unwrap().records.len(), 2); // the claim, and the newest state of one chunk
}

#[test]
fn an_unusable_folder_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"in the way").unwrap();
    let mut store = cache(&dir.path().join("file"));
    assert!(matches!(store.load(), Err(StoreError::Io { .. })));
    assert!(store.append(&[], 0).is_err());
}

#[test]
fn flow_names_become_plain_folder_names() {
    let store = Cache::new(Path::new("/x"), &FlowName::new("../a b"));
    assert_eq!(store.folder(), Path::new("/x/%2e%2e%2fa%20b"));
}

#[test]
fn maps_are_listed_as_csv_and_json() {
    let all = history(2);
    let state = fold(&all);
    let csv = export::csv(export::rows(state.lanes()));
    assert!(csv.lines().count() >= 2 && csv.contains("orders,AQEBAQEBAQEBAQEBAQEBAQ,0,orders,"), "{csv}");
    let rows: serde_json::Value = serde_json::from_str(&export::json(export::rows(state.lanes())).unwrap()).unwrap();
    assert_eq!(rows[0]["partition"], 0);
}
