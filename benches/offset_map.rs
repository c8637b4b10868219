//! How fast positions are translated, and what writing a map down costs. Aim: over 1 M look-ups per second and core, also where every
//! record is a run of its own. `limit_*` reads as much memory at the same places and does nothing with it: no look-up can be cheaper.
use causeway::core::{
    batch::SourceRange,
    ids::{FlowEpoch, LaneId, LeaderEpoch, SourceOffset, TargetOffset, TopicId, TopicName},
    offset_map::{OffsetMap, Run},
    progress::{LaneState, decode, encode},
};
use divan::{Bencher, black_box, counter::ItemsCount};

/// Look-ups per timed call: as many different places do not stay in the cache of a core, as those of real groups would not.
const LOOKUPS: usize = 200_000;
/// A regular partition, one with a marker every 1,000 records or so, and one that compaction left full of holes.
const RUNS: [usize; 3] = [1, 1_000, 1_000_000];
/// Records per run: with the hole behind each run, the source moves on one further than the target.
const RECORDS_PER_RUN: u64 = 9;

fn main() {
    divan::main();
}

fn runs(count: usize) -> Vec<Run> {
    let run = |at: u64| {
        Run::new(
            SourceOffset::ZERO.plus(at * (RECORDS_PER_RUN + 1)),
            RECORDS_PER_RUN,
            TargetOffset::ZERO.plus(at * RECORDS_PER_RUN),
        )
    };
    (0..count as u64).map(run).collect()
}

fn source_end(count: usize) -> SourceOffset {
    SourceOffset::ZERO.plus(count as u64 * (RECORDS_PER_RUN + 1))
}

fn map(count: usize) -> OffsetMap {
    let mut map = OffsetMap::new(SourceOffset::ZERO, TargetOffset::ZERO);
    map.append(SourceOffset::ZERO, source_end(count), &runs(count)).expect("ascending runs");
    map
}

/// Places all over the map, in no order: what groups of many lanes ask for.
fn places(end: i64) -> Vec<i64> {
    let mut chance = fastrand::Rng::with_seed(1);
    (0..LOOKUPS).map(|_| chance.i64(0..end)).collect()
}

#[divan::bench(args = RUNS)]
fn translate(bencher: Bencher, count: usize) {
    let (map, places) = (map(count), places(source_end(count).get()));
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        places.iter().map(|x| map.translate(SourceOffset(*black_box(x))).offset.get()).fold(0i64, i64::wrapping_add)
    });
}

#[divan::bench(args = RUNS)]
fn translate_back(bencher: Bencher, count: usize) {
    let map = map(count);
    let places = places(map.target_to().get());
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        places
            .iter()
            .map(|t| map.translate_back(TargetOffset(*black_box(t))).offset.get())
            .fold(0i64, i64::wrapping_add)
    });
}

#[divan::bench(args = RUNS)]
fn limit_one_read_per_lookup(bencher: Bencher, count: usize) {
    let (runs, places) = (runs(count), places(count as i64));
    bencher.counter(ItemsCount::new(LOOKUPS)).bench_local(|| {
        places.iter().map(|at| runs[*black_box(at) as usize].target_first.get()).fold(0i64, i64::wrapping_add)
    });
}

fn state(count: usize) -> LaneState {
    let lane = LaneId::new("orders", TopicId([1; 16]), 0);
    let target = (TopicName::new("orders"), TopicId([2; 16]));
    let mut state = LaneState::new(lane, target, FlowEpoch(1), SourceOffset::ZERO, TargetOffset::ZERO);
    let range = SourceRange::new(SourceOffset::ZERO, source_end(count));
    state.append(range, &runs(count), LeaderEpoch(1)).expect("ascending runs");
    state.take_records();
    state
}

/// One commit of a lane: a batch taken into the map and its chunk written down. With 100 runs the open chunk is nearly full.
#[divan::bench(args = [1, 100])]
fn commit(bencher: Bencher, count: usize) {
    let state = state(count);
    let end = source_end(count);
    let (to, at) = (end.plus(500), TargetOffset::ZERO.plus(count as u64 * RECORDS_PER_RUN));
    bencher.with_inputs(|| state.clone()).bench_local_values(|mut state| {
        state.append(SourceRange::new(end, to), &[Run::new(end, 500, at)], LeaderEpoch(1)).expect("the next batch");
        state.take_records().iter().map(|record| encode(record).1.map_or(0, |value| value.len())).sum::<usize>()
    });
}

/// A record of the progress topic read back: a rebuild is many of these.
#[divan::bench(args = [1, 100])]
fn read_back(bencher: Bencher, count: usize) {
    let records: Vec<_> = state(count).take_records().iter().map(encode).collect();
    bencher
        .counter(ItemsCount::new(records.len()))
        .bench_local(|| records.iter().filter(|(key, value)| decode(black_box(key), value.as_deref()).is_ok()).count());
}
