use super::*;
use crate::core::{
    batch::SourceRange,
    gap::GapCause,
    ids::{TargetOffset, TopicId},
};

#[test]
fn l6_of_two_claims_to_one_epoch_the_first_wins() {
    let mut progress = Progress::default();
    assert_eq!(progress.epoch(), FlowEpoch(0));
    progress.apply(Record::claim(FlowEpoch(1), "one", UnixMillis(5)));
    progress.apply(Record::claim(FlowEpoch(1), "two", UnixMillis(4)));
    assert!(progress.is_held_by(FlowEpoch(1), "one") && !progress.is_held_by(FlowEpoch(1), "two"));
    progress.apply(Record::claim(FlowEpoch(2), "two", UnixMillis(6)));
    progress.apply(Record::claim(FlowEpoch(1), "one", UnixMillis(7)));
    assert!(progress.is_held_by(FlowEpoch(2), "two"));
}

#[test]
fn l6_what_a_stale_instance_writes_after_a_newer_claim_is_left_out() {
    let lane = LaneId::new("orders", TopicId([1; 16]), 0);
    let target = (TopicName::new("orders"), TopicId([2; 16]));
    let mut stale = LaneState::new(lane.clone(), target, FlowEpoch(1), SourceOffset(0), TargetOffset(0));
    let mut progress = Progress::default();
    progress.apply(Record::claim(FlowEpoch(1), "one", UnixMillis(0)));
    stale.take_records().into_iter().for_each(|record| progress.apply(record));
    let before = progress.lane(&lane).cloned();
    progress.apply(Record::claim(FlowEpoch(2), "two", UnixMillis(0)));
    let range = SourceRange::new(SourceOffset(0), SourceOffset(9));
    stale.append(range, &[], crate::core::ids::LeaderEpoch(0)).unwrap();
    stale.take_records().into_iter().for_each(|record| progress.apply(record));
    assert_eq!(progress.lane(&lane).cloned(), before);
    assert_eq!(progress.refused(), 1);
}

#[test]
fn the_ledger_keeps_one_line_per_gap_and_its_last_word() {
    let lane = LaneId::new("orders", TopicId([1; 16]), 0);
    let mut gap = Gap {
        lane,
        range: SourceRange::new(SourceOffset(3), SourceOffset(9)),
        cause: GapCause::RetentionOvertook,
        passed: false,
        found_at: UnixMillis(1),
        epoch: FlowEpoch(1),
    };
    let mut progress = Progress::default();
    progress.apply(Record::gap(gap.clone()));
    gap.passed = true;
    progress.apply(Record::gap(gap.clone()));
    assert_eq!(progress.gaps().collect::<Vec<_>>(), [&gap]);
}

#[test]
fn l5_l6_a_line_of_an_instance_that_had_lost_the_flow_is_left_out() {
    let gap = Gap {
        lane: LaneId::new("orders", TopicId([1; 16]), 0),
        range: SourceRange::new(SourceOffset(3), SourceOffset(9)),
        cause: GapCause::RetentionOvertook,
        passed: true,
        found_at: UnixMillis(1),
        epoch: FlowEpoch(1),
    };
    let mut progress = Progress::default();
    progress.apply(Record::claim(FlowEpoch(1), "one", UnixMillis(0)));
    progress.apply(Record::gap(gap.clone()));
    assert_eq!(progress.gaps().count(), 1, "written while it held the flow");
    progress.apply(Record::claim(FlowEpoch(2), "two", UnixMillis(0)));
    let late = Gap { range: SourceRange::new(SourceOffset(20), SourceOffset(30)), ..gap };
    progress.apply(Record::gap(late));
    assert_eq!((progress.gaps().count(), progress.refused()), (1, 1));
}
