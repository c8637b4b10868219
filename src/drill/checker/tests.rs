//! The judge is judged: a clean run counts nothing, and each planted defect is found under its own word.

use super::*;

const RUN: u64 = 9;

fn uid(seq: u64) -> Uid {
    Uid { run: RUN, producer: 1, partition: 0, seq }
}

fn place(cluster: &str) -> Place {
    Place { cluster: cluster.into(), topic: "orders".into(), partition: 0 }
}

fn entry(offset: i64, uid: Uid) -> Entry {
    Entry { offset, uid: Some(uid), digest: uid.seq as u32, key: None, damage: None, misrouted: false }
}

fn log(uids: impl IntoIterator<Item = Uid>) -> Log {
    let entries: Vec<Entry> = uids.into_iter().enumerate().map(|(at, uid)| entry(at as i64, uid)).collect();
    Log { start: 0, end: entries.len() as i64, entries }
}

fn line(event: Event) -> Line {
    Line { t: 0, wall: 0, event }
}

fn sent(evidence: &mut Evidence, cluster: &str, uid: Uid, offset: Option<i64>) {
    evidence.lines.push(line(Event::Invoke { uid, place: place(cluster) }));
    if let Some(offset) = offset {
        evidence.lines.push(line(Event::Ok { uid, offset }));
    }
}

fn flow(from: &str, to: &str, compacted: bool) -> Flow {
    let topics = vec![TopicPair { source: "orders".into(), target: "orders".into(), compacted }];
    Flow { name: format!("{from}-{to}"), from: from.into(), to: to.into(), carries: vec![from.into()], topics }
}

/// Ten records east, all acknowledged, all mirrored to west.
fn clean() -> Evidence {
    let mut evidence = Evidence { flows: vec![flow("east", "west", false)], ..Evidence::default() };
    (0..10).for_each(|seq| sent(&mut evidence, "east", uid(seq), Some(seq as i64)));
    evidence.logs.insert(place("east"), log((0..10).map(uid)));
    evidence.logs.insert(place("west"), log((0..10).map(uid)));
    evidence
}

fn west(evidence: &mut Evidence) -> &mut Log {
    evidence.logs.get_mut(&place("west")).unwrap()
}

fn east(evidence: &mut Evidence) -> &mut Log {
    evidence.logs.get_mut(&place("east")).unwrap()
}

fn drop_west(evidence: &mut Evidence, seqs: std::ops::Range<u64>) {
    west(evidence).entries.retain(|entry| !seqs.contains(&entry.uid.unwrap().seq));
}

fn read(cluster: &str, offset: i64, seq: u64) -> Line {
    line(Event::Read { group: "g".into(), place: place(cluster), offset, uid: Some(uid(seq)) })
}

fn position(source: i64, target: i64) -> Position {
    let (flow, owner, topic) = ("east-west".into(), "g".into(), "orders".into());
    Position { flow, owner, topic, partition: 0, source, target, exact: true }
}

fn counts(evidence: &Evidence) -> Counts {
    judge(evidence).counts
}

#[test]
fn a_clean_run_counts_nothing() {
    let mut evidence = clean();
    evidence.positions = (0..=10).map(|x| position(x, x)).collect();
    evidence.lines.extend((0..10).map(|seq| read("east", seq as i64, seq)));
    evidence.final_region = Some("west".into());
    let report = judge(&evidence);
    assert_eq!(report.counts, Counts { records_acked: 10, ..Counts::default() });
    assert_eq!(report.mirrored["east-west"], 10);
    assert!(report.broken().is_empty());
}

#[test]
fn lost_at_the_end_and_hole_in_the_middle() {
    let mut evidence = clean();
    drop_west(&mut evidence, 8..10);
    assert_eq!((counts(&evidence).lost, counts(&evidence).hole), (2, 0));
    assert_eq!(judge(&evidence).broken(), ["lost"]);
    drop_west(&mut evidence, 3..4);
    assert_eq!((counts(&evidence).lost, counts(&evidence).hole), (3, 1));
}

#[test]
fn a_lost_region_may_lose_a_suffix_but_no_hole() {
    let mut evidence = clean();
    evidence.lost_region = Some("east".into());
    drop_west(&mut evidence, 8..10);
    let report = judge(&evidence);
    assert_eq!((report.counts.lost, report.counts.lost_suffix, report.counts.hole), (2, 2, 0));
    assert_eq!(report.counts.records_acked, report.mirrored["east-west"] + report.counts.lost_suffix);
    assert_eq!(report.suffix, [uid(9), uid(8)]);
    assert!(report.broken().is_empty());
    drop_west(&mut evidence, 2..3);
    assert_eq!(judge(&evidence).broken(), ["lost", "hole"]);
}

#[test]
fn a_lost_target_need_not_have_what_came_after_but_may_have_no_hole() {
    let mut evidence = clean();
    evidence.lost_region = Some("west".into());
    drop_west(&mut evidence, 8..10);
    assert!(judge(&evidence).broken().is_empty());
    drop_west(&mut evidence, 2..3);
    assert_eq!(judge(&evidence).broken(), ["lost", "hole"]);
}

#[test]
fn unacknowledged_records_of_a_lost_region_are_no_loss_unless_somebody_read_them() {
    let mut evidence = clean();
    evidence.lost_region = Some("east".into());
    sent(&mut evidence, "east", uid(10), None);
    sent(&mut evidence, "east", uid(11), None);
    *east(&mut evidence) = log((0..12).map(uid));
    evidence.lines.push(read("east", 11, 11));
    let found = counts(&evidence);
    assert_eq!((found.lost, found.lost_suffix, found.lost_unacked_read), (0, 0, 1));
    evidence.lost_region = None;
    assert_eq!(counts(&evidence).lost, 2, "a source that lives must have all it holds mirrored");
}

#[test]
fn an_acknowledged_record_missing_from_its_own_log_is_lost_even_with_a_lost_region() {
    let mut evidence = clean();
    evidence.lost_region = Some("east".into());
    east(&mut evidence).entries.pop();
    drop_west(&mut evidence, 9..10);
    assert_eq!(judge(&evidence).broken(), ["lost"]);
}

#[test]
fn a_ledger_line_explains_a_hole_and_must_not_lie() {
    let mut evidence = clean();
    drop_west(&mut evidence, 3..5);
    let (flow, topic) = ("east-west".into(), "orders".into());
    evidence.ledger.push(LedgerLine { flow, topic, partition: 0, first: 3, last: 4 });
    assert!(judge(&evidence).broken().is_empty());
    evidence.ledger[0].last = 5;
    assert_eq!(judge(&evidence).broken(), ["ledger_unfounded"]);
}

#[test]
fn trimmed_sources_are_judged_by_what_was_acknowledged() {
    let mut evidence = clean();
    east(&mut evidence).entries.drain(0..5);
    east(&mut evidence).start = 5;
    assert!(judge(&evidence).broken().is_empty());
    drop_west(&mut evidence, 2..3);
    assert_eq!(judge(&evidence).broken(), ["lost", "hole"]);
}

#[test]
fn on_a_compacted_topic_only_the_last_record_of_a_key_must_arrive() {
    let mut evidence = clean();
    evidence.flows = vec![flow("east", "west", true)];
    for cluster in ["east", "west"] {
        let log = evidence.logs.get_mut(&place(cluster)).unwrap();
        log.entries.iter_mut().for_each(|entry| entry.key = entry.uid.map(|uid| uid.seq as u32 % 2));
    }
    drop_west(&mut evidence, 0..7);
    assert!(judge(&evidence).broken().is_empty());
    drop_west(&mut evidence, 9..10);
    assert_eq!(counts(&evidence).lost, 1, "9 is the last record of its key");
}

#[test]
fn extra_copies_are_dup_on_the_target_and_echo_on_the_origin() {
    let mut evidence = clean();
    west(&mut evidence).entries.push(entry(10, uid(8)));
    west(&mut evidence).entries.push(entry(11, uid(9)));
    assert_eq!(counts(&evidence).dup, 2);
    assert!(judge(&evidence).broken().is_empty(), "at-least-once allows them");
    east(&mut evidence).entries.push(entry(10, uid(4)));
    assert_eq!(judge(&evidence).broken(), ["echo"]);
}

#[test]
fn a_record_on_a_cluster_it_has_no_way_to_is_echo() {
    let mut evidence = clean();
    let other = Uid { producer: 2, ..uid(0) };
    sent(&mut evidence, "west", other, Some(10));
    west(&mut evidence).entries.push(entry(10, other));
    assert!(judge(&evidence).broken().is_empty());
    east(&mut evidence).entries.push(entry(10, other));
    assert_eq!(judge(&evidence).broken(), ["echo"]);
    evidence.flows.push(flow("west", "east", false));
    assert!(judge(&evidence).broken().is_empty(), "with a flow back it belongs there");
}

#[test]
fn swapped_records_are_reord() {
    let mut evidence = clean();
    let entries = &mut west(&mut evidence).entries;
    (entries[4].uid, entries[5].uid) = (entries[5].uid, entries[4].uid);
    (entries[4].digest, entries[5].digest) = (entries[5].digest, entries[4].digest);
    assert_eq!((counts(&evidence).reord, judge(&evidence).broken()), (1, vec!["reord"]));
}

#[test]
fn a_restart_that_copies_again_is_dup_and_not_reord() {
    let mut evidence = clean();
    *west(&mut evidence) = log([0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9].map(uid));
    let found = counts(&evidence);
    assert_eq!((found.dup, found.reord, found.lost), (3, 0, 0));
}

#[test]
fn a_producers_own_order_is_held_at_the_origin() {
    let mut evidence = clean();
    east(&mut evidence).entries.swap(2, 3);
    assert!(counts(&evidence).reord >= 1);
}

#[test]
fn refused_unsent_and_unsourced_records_are_phantoms() {
    let mut evidence = clean();
    evidence.lines.push(line(Event::Invoke { uid: uid(10), place: place("east") }));
    evidence.lines.push(line(Event::Fail { uid: uid(10), why: "too large".into() }));
    assert!(judge(&evidence).broken().is_empty());
    west(&mut evidence).entries.push(entry(10, uid(10)));
    assert_eq!(judge(&evidence).broken(), ["phantom"]);
    let mut evidence = clean();
    west(&mut evidence).entries.push(entry(10, uid(77)));
    assert_eq!(counts(&evidence).phantom, 1);
    let mut evidence = clean();
    sent(&mut evidence, "east", uid(10), None);
    west(&mut evidence).entries.push(entry(10, uid(10)));
    assert_eq!(counts(&evidence).phantom, 1, "sent, but the source does not hold it");
}

#[test]
fn damaged_different_and_misplaced_records_are_corrupt() {
    let mut evidence = clean();
    west(&mut evidence).entries[3].damage = Some("value differs");
    assert_eq!(judge(&evidence).broken(), ["corrupt"]);
    let mut evidence = clean();
    west(&mut evidence).entries[3].digest ^= 1;
    assert_eq!(counts(&evidence).corrupt, 1);
    let mut evidence = clean();
    sent(&mut evidence, "east", uid(10), Some(7));
    east(&mut evidence).entries.push(entry(10, uid(10)));
    west(&mut evidence).entries.push(entry(10, uid(10)));
    assert_eq!(counts(&evidence).corrupt, 1, "acknowledged at 7, stands at 10");
}

#[test]
fn a_payload_that_names_another_partition_is_misroute() {
    let mut evidence = clean();
    west(&mut evidence).entries[3].misrouted = true;
    assert_eq!(judge(&evidence).broken(), ["misroute"]);
}

#[test]
fn l3_a_position_too_far_on_is_ahead_and_one_too_far_back_is_far() {
    let mut evidence = clean();
    evidence.positions = vec![position(4, 6)];
    assert_eq!((counts(&evidence).ahead, counts(&evidence).far), (2, 0));
    evidence.positions = vec![position(4, 1)];
    assert_eq!((counts(&evidence).ahead, counts(&evidence).far), (0, 3));
    evidence.positions[0].exact = false;
    assert_eq!(counts(&evidence).far, 0, "a position older than the map's end is no fault");
}

#[test]
fn l3_one_copy_behind_the_position_is_enough_with_doubled_records() {
    let mut evidence = clean();
    *west(&mut evidence) = log([0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8, 9].map(uid));
    evidence.positions = vec![position(3, 6), position(4, 7), position(6, 9), position(10, 13)];
    assert!(judge(&evidence).broken().is_empty());
    evidence.positions = vec![position(3, 7)];
    assert_eq!(counts(&evidence).ahead, 1, "no copy of 3 at 7 or later");
    evidence.positions = vec![position(3, 3), position(6, 6)];
    assert_eq!(counts(&evidence).far, 0, "repeats of 3..=5 there are DUP");
}

#[test]
fn l3_a_record_that_stands_twice_at_the_source_is_judged_by_its_first_copy() {
    let mut evidence = clean();
    evidence.flows.push(flow("west", "east", false));
    let other = Uid { producer: 2, ..uid(0) };
    sent(&mut evidence, "west", other, Some(0));
    *west(&mut evidence) = log(std::iter::once(other).chain((0..10).map(uid)));
    *east(&mut evidence) = log(std::iter::once(other).chain((0..5).map(uid)).chain([other]).chain((5..10).map(uid)));
    evidence.lines.retain(|line| !matches!(line.event, Event::Ok { uid, .. } if uid.producer == 1));
    evidence.positions = vec![position(6, 6)];
    assert_eq!((counts(&evidence).ahead, counts(&evidence).dup), (0, 1), "whoever stands at 6 has read it at 0");
    evidence.positions = vec![position(0, 1)];
    assert_eq!(counts(&evidence).ahead, 1);
}

#[test]
fn what_a_group_never_read_is_skipped_and_what_it_read_twice_is_reread() {
    let mut evidence = clean();
    evidence.final_region = Some("west".into());
    evidence.lines.extend((0..6).map(|seq| read("east", seq as i64, seq)));
    evidence.lines.extend((5..9).map(|seq| read("west", seq as i64, seq)));
    let report = judge(&evidence);
    assert_eq!((report.counts.group_skipped, report.counts.group_reread), (1, 1));
    assert_eq!(report.broken(), ["group_skipped"]);
    evidence.lines.push(read("west", 9, 9));
    evidence.lines.push(read("west", 9, 9));
    let found = counts(&evidence);
    assert_eq!((found.group_skipped, found.group_reread), (0, 2));
}

#[test]
fn findings_are_few_though_counts_are_exact() {
    let mut evidence = clean();
    (10..1_000).for_each(|seq| sent(&mut evidence, "east", uid(seq), Some(seq as i64)));
    *east(&mut evidence) = log((0..1_000).map(uid));
    let report = judge(&evidence);
    assert_eq!(report.counts.lost, 990);
    assert_eq!(report.findings["lost"].len() as u64, FINDINGS_MAX);
}
