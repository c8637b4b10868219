use super::*;
use crate::core::{
    batch::{Shape, Summary, TargetEnds},
    gap::{Gap, GapCause},
    ids::{LeaderEpoch, TopicId},
    progress::{Progress, Value},
};

const NOW: UnixMillis = UnixMillis(1_000);
const SOURCE_ID: TopicId = TopicId([1; 16]);
const TARGET_ID: TopicId = TopicId([2; 16]);

/// A lane with the store and the ends around it that a runner would have.
struct Rig {
    lane: Lane,
    progress: Progress,
    ends: SourceEnds,
    source_id: TopicId,
    target: TargetEnds,
    start: Start,
}

impl Rig {
    fn new(policy: Policy) -> Self {
        let id = LaneId::new("orders", SOURCE_ID, 0);
        let lane = Lane::new(id, TopicName::new("orders"), FlowEpoch(1), policy, Suppressed::default());
        let (ends, target) = (ends(0, 1000), TargetEnds::default());
        Rig { lane, progress: Progress::default(), ends, source_id: SOURCE_ID, target, start: Start::Earliest }
    }
    /// Opens, makes durable what is asked for, and answers everything that was asked for on the way.
    fn open(&mut self) -> Vec<Command<()>> {
        let opening = Opening {
            durable: self.progress.lane(self.lane.id()).cloned(),
            source_topic_id: self.source_id,
            source: self.ends,
            target_topic_id: TARGET_ID,
            target: self.target,
            start: self.start,
        };
        let commands = self.lane.on(Event::Opened(opening), NOW);
        self.write(commands)
    }
    /// Makes durable whatever the commands want durable, and what that brings up.
    fn write(&mut self, mut commands: Vec<Command<()>>) -> Vec<Command<()>> {
        let mut at = 0;
        while at < commands.len() {
            if let Command::Persist { ticket, records, .. } = &commands[at] {
                records.iter().for_each(|record| self.progress.apply(record.clone()));
                let more = self.lane.on(Event::Durable { ticket: *ticket }, NOW);
                commands.extend(more);
            }
            at += 1;
        }
        commands
    }
    fn fetch(&mut self, from: i64, to: i64) -> Vec<Command<()>> {
        let batch = batch(&self.lane, from, to, self.ends);
        self.lane.on(Event::Fetched { batch, suppressed: vec![] }, NOW)
    }
    fn ack(&mut self, from: i64, to: i64, at: i64) -> Vec<Command<()>> {
        let runs = vec![Run::new(SourceOffset(from), (to - from) as u64, TargetOffset(at))];
        let session = self.lane.session();
        self.target.log_end = self.target.log_end.max(TargetOffset(at + to - from));
        self.lane.on(Event::Acked { session, range: range(from, to), runs }, NOW)
    }
    fn durable_position(&self) -> Option<i64> {
        self.progress.lane(self.lane.id()).map(|state| state.position().get())
    }
}

fn ends(log_start: i64, end: i64) -> SourceEnds {
    SourceEnds {
        log_start: SourceOffset(log_start),
        high_watermark: SourceOffset(end),
        last_stable: SourceOffset(end),
        leader_epoch: LeaderEpoch(1),
    }
}
fn range(from: i64, to: i64) -> SourceRange {
    SourceRange::new(SourceOffset(from), SourceOffset(to))
}
fn batch(lane: &Lane, from: i64, to: i64, ends: SourceEnds) -> Batch<()> {
    let records = (to - from) as u32;
    let summary = Summary { shape: Shape::Dense, records, bytes: u64::from(records) * 100, ..Summary::default() };
    Batch { lane: lane.id().clone(), session: lane.session(), range: range(from, to), ends, summary, payload: () }
}
fn reset_to(commands: &[Command<()>]) -> Option<i64> {
    commands.iter().rev().find_map(|command| match command {
        Command::ResetSource { from, .. } => Some(from.get()),
        _ => None,
    })
}
fn gaps(commands: &[Command<()>]) -> Vec<(SourceRange, &str, bool)> {
    let gap = |command: &'_ Command<()>| match command {
        Command::ReportGap(gap) => Some((gap.range, gap.cause.name(), gap.passed)),
        _ => None,
    };
    commands.iter().filter_map(gap).collect()
}
fn record_gaps() -> Policy {
    Policy { gap: GapPolicy::Record, poison: GapPolicy::Record, ..Policy::default() }
}

#[test]
fn a_first_start_is_durable_before_anything_is_read() {
    let mut rig = Rig::new(Policy::default());
    rig.start = Start::Latest;
    let commands = rig.open();
    assert!(matches!(commands[0], Command::Persist { position: SourceOffset(1000), .. }), "{commands:?}");
    assert_eq!(reset_to(&commands), Some(1000));
    assert_eq!(rig.durable_position(), Some(1000));
}

#[test]
fn l1_the_position_waits_for_the_longest_acknowledged_prefix() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    for from in [0, 10, 20] {
        assert!(matches!(rig.fetch(from, from + 10)[..], [Command::Produce { .. }]));
    }
    assert_eq!(rig.ack(10, 20, 10), []);
    assert_eq!(rig.ack(20, 30, 20), []);
    assert_eq!((rig.durable_position(), rig.lane.position()), (Some(0), Some(SourceOffset(0))));
    let commands = rig.ack(0, 10, 0);
    assert!(matches!(commands[..], [Command::Persist { position: SourceOffset(30), .. }]), "{commands:?}");
    assert_eq!(rig.lane.position(), Some(SourceOffset(0)), "metrics move when it is durable, not when it is written");
    rig.write(commands);
    assert_eq!((rig.durable_position(), rig.lane.position()), (Some(30), Some(SourceOffset(30))));
}

#[test]
fn one_write_is_outstanding_and_the_next_one_takes_all_that_came_in_meanwhile() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    for from in [0, 10, 20] {
        rig.fetch(from, from + 10);
    }
    let first = rig.ack(0, 10, 0);
    assert_eq!(rig.ack(10, 20, 10).len() + rig.ack(20, 30, 20).len(), 0);
    let commands = rig.write(first);
    assert!(matches!(commands[..], [Command::Persist { .. }, Command::Persist { position: SourceOffset(30), .. }]));
}

#[test]
fn every_failure_goes_back_to_the_durable_position_and_what_is_late_is_ignored() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    rig.fetch(0, 10);
    rig.fetch(10, 20);
    let written = rig.ack(0, 10, 0);
    rig.write(written);
    let (old, late) = (rig.lane.session(), batch(&rig.lane, 20, 30, rig.ends));
    let commands: Vec<Command<()>> = rig.lane.on(Event::Failed(Failure::Retry { reason: "cut".into() }), NOW);
    assert!(matches!(commands[..], [Command::PauseSource, Command::Backoff { attempt: 1, .. }]));
    assert_eq!(rig.lane.on::<()>(Event::RetryNow, NOW), [Command::Reopen]);
    assert_eq!(reset_to(&rig.open()), Some(10));
    assert_eq!(rig.lane.on(Event::Fetched { batch: late, suppressed: vec![] }, NOW), []);
    let runs = vec![Run::new(SourceOffset(10), 10, TargetOffset(10))];
    assert_eq!(rig.lane.on::<()>(Event::Acked { session: old, range: range(10, 20), runs }, NOW), []);
    assert_eq!(rig.durable_position(), Some(10));
}

#[test]
fn l7_reading_pauses_at_the_bound_and_resumes_at_half_of_it() {
    let limits = Limits { records: 25, bytes: u64::MAX };
    let mut rig = Rig::new(Policy { limits, ..Policy::default() });
    rig.open();
    assert!(!rig.fetch(0, 10).contains(&Command::PauseSource));
    rig.fetch(10, 20);
    assert!(rig.fetch(20, 30).contains(&Command::PauseSource));
    assert_eq!(rig.lane.in_flight(), (30, 3000));
    assert!(!rig.ack(0, 10, 0).contains(&Command::ResumeSource));
    assert!(rig.ack(10, 20, 10).contains(&Command::ResumeSource));
}

#[test]
fn l5_a_log_start_beyond_the_position_is_ledgered_before_copying_goes_on() {
    let mut rig = Rig::new(record_gaps());
    rig.open();
    rig.fetch(0, 10);
    rig.ends = ends(50, 1000);
    let seen = Event::SourceSeen { topic_id: Some(SOURCE_ID), ends: rig.ends };
    // what is in flight lands first, so that the gap's range is exact
    assert_eq!(rig.lane.on::<()>(seen, NOW), [Command::PauseSource]);
    let commands = rig.ack(0, 10, 0);
    let commands = rig.write(commands);
    assert_eq!(gaps(&commands), [(range(10, 50), "retention_overtook", true)]);
    let reported = commands.iter().position(|command| matches!(command, Command::ReportGap(_)));
    let read_on = commands.iter().position(|command| matches!(command, Command::ResetSource { .. }));
    assert!(reported < read_on && reset_to(&commands) == Some(50));
    assert_eq!(rig.progress.gaps().count(), 1);
    assert_eq!(rig.durable_position(), Some(50));
}

#[test]
fn l5_with_the_policy_stop_a_gap_waits_for_somebody() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    rig.ends = ends(50, 1000);
    let seen = Event::SourceSeen { topic_id: Some(SOURCE_ID), ends: rig.ends };
    let commands = rig.lane.on(seen, NOW);
    let commands = rig.write(commands);
    assert_eq!(gaps(&commands), [(range(0, 50), "retention_overtook", false)]);
    assert!(matches!(rig.lane.state(), State::Stopped(StopReason::Gap(_))));
    assert_eq!(rig.durable_position(), Some(0));
    assert_eq!(rig.lane.on::<()>(Event::Resume, NOW), [Command::Reopen]);
    let commands = rig.open();
    assert_eq!(gaps(&commands), [(range(0, 50), "retention_overtook", true)]);
    assert_eq!(reset_to(&commands), Some(50));
}

#[test]
fn l5_holes_of_markers_and_compaction_are_no_gaps() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    let mut batch = batch(&rig.lane, 0, 10, rig.ends);
    (batch.summary.records, batch.summary.shape) = (0, Shape::Holes);
    let commands = rig.lane.on(Event::Fetched { batch, suppressed: vec![] }, NOW);
    assert!(matches!(commands[..], [Command::Persist { position: SourceOffset(10), .. }]), "{commands:?}");
}

#[test]
fn a_range_that_does_not_follow_is_never_taken() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    let commands = rig.fetch(5, 10);
    assert!(matches!(commands[..], [Command::PauseSource, Command::Backoff { .. }]), "{commands:?}");
}

#[test]
fn a_shrunken_source_voids_the_map_beyond_and_is_ledgered() {
    let mut rig = Rig::new(record_gaps());
    rig.open();
    rig.fetch(0, 100);
    let written = rig.ack(0, 100, 0);
    rig.write(written);
    rig.ends = ends(0, 60);
    let commands = rig.lane.on(Event::SourceSeen { topic_id: Some(SOURCE_ID), ends: rig.ends }, NOW);
    let commands = rig.write(commands);
    assert_eq!(gaps(&commands), [(range(60, 100), "source_truncated", true)]);
    assert_eq!(commands.last(), Some(&Command::Reopen));
    assert_eq!(reset_to(&rig.open()), Some(60));
}

#[test]
fn a_recreated_topic_is_another_lane_by_policy() {
    for (generation, follows) in [
        (GenerationPolicy::Fail, None),
        (GenerationPolicy::Append, Some(false)),
        (GenerationPolicy::NewTargetGeneration, Some(true)),
    ] {
        let mut rig = Rig::new(Policy { generation, ..Policy::default() });
        rig.open();
        let other = TopicId([9; 16]);
        let commands = rig.lane.on(Event::SourceSeen { topic_id: Some(other), ends: ends(0, 5) }, NOW);
        let commands = rig.write(commands);
        assert_eq!(gaps(&commands), [(range(0, 1000), "topic_recreated", follows.is_some())]);
        let next = commands.iter().find_map(|command| match command {
            Command::NextGeneration { topic_id, own_target } if *topic_id == other => Some(*own_target),
            _ => None,
        });
        assert_eq!(next, follows);
        assert!(matches!(rig.lane.state(), State::Stopped(StopReason::OtherGeneration { .. })));
        let plan = plan(&rig.progress, rig.lane.id().topic(), other, rig.lane.id().partition);
        assert_eq!(plan, Plan::Recreated(rig.lane.id().clone()));
    }
}

#[test]
fn l2_a_lane_begins_anew_only_when_everything_asked_for_is_written() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    rig.fetch(0, 100);
    let asked = rig.ack(0, 100, 0);
    let [Command::Persist { ticket, records, .. }] = &asked[..] else { panic!("one write: {asked:?}") };
    let retry = Failure::Retry { reason: "the leader changed".into() };
    rig.lane.on(Event::<()>::Failed(retry), NOW);
    // the write is still on its way: the durable state of now is about to be an old one
    assert_eq!(rig.lane.on(Event::<()>::RetryNow, NOW), []);
    records.iter().for_each(|record| rig.progress.apply(record.clone()));
    assert_eq!(rig.lane.on(Event::<()>::Durable { ticket: *ticket }, NOW), [Command::Reopen]);
    let commands = rig.open();
    assert!(commands.iter().any(|c| matches!(c, Command::ResetSource { from, .. } if *from == SourceOffset(100))));
}

#[test]
fn l5_an_older_generation_left_without_its_line_is_opened_before_the_new_one() {
    let (topic, new_id) = (TopicName::new("orders"), TopicId([9; 16]));
    let (old, new) = (LaneId::new("orders", SOURCE_ID, 0), LaneId::new("orders", new_id, 0));
    let mut progress = Progress::default();
    for lane in [&old, &new] {
        let target = (topic.clone(), TARGET_ID);
        let mut state = LaneState::new(lane.clone(), target, FlowEpoch(1), SourceOffset(0), TargetOffset(0));
        state.take_records().into_iter().for_each(|record| progress.apply(record));
    }
    let planned = |progress: &Progress| plan(progress, &topic, new_id, old.partition);
    assert_eq!(planned(&progress), Plan::Recreated(old.clone()));
    let line = Gap {
        lane: old.clone(),
        range: range(0, 4),
        cause: GapCause::TopicRecreated,
        passed: true,
        found_at: NOW,
        epoch: FlowEpoch(1),
    };
    progress.apply(Record::gap(line));
    assert_eq!(planned(&progress), Plan::Open(new));
}

#[test]
fn a_target_that_lost_its_tail_or_was_replaced_is_copied_again() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    rig.fetch(0, 100);
    let written = rig.ack(0, 100, 0);
    rig.write(written);
    rig.target.log_end = TargetOffset(70);
    let seen = Event::TargetSeen { topic_id: TARGET_ID, ends: rig.target };
    assert_eq!(rig.lane.on::<()>(seen, NOW), [Command::PauseSource, Command::Reopen]);
    assert_eq!(reset_to(&rig.open()), Some(70));
    assert_eq!(rig.durable_position(), Some(70));
    let seen = Event::TargetSeen { topic_id: TopicId([8; 16]), ends: TargetEnds::default() };
    assert_eq!(rig.lane.on::<()>(seen, NOW), [Command::PauseSource, Command::Reopen]);
}

#[test]
fn l1_a_poison_record_that_was_compacted_away_since_does_not_confuse_the_count() {
    let mut rig = Rig::new(record_gaps());
    rig.open();
    rig.fetch(0, 20);
    let commands =
        rig.lane.on(Event::Failed(Failure::Poison { range: range(13, 14), reason: "too large".into() }), NOW);
    rig.write(commands);
    rig.open();
    // compaction left one record, at 12: the poison is not among what is read now
    let mut batch = batch(&rig.lane, 0, 20, rig.ends);
    batch.summary = Summary { shape: Shape::Holes, records: 1, bytes: 10, ..Summary::default() };
    let session = batch.session;
    let commands = rig.lane.on(Event::Fetched { batch, suppressed: vec![] }, NOW);
    let commands = rig.write(commands);
    assert!(commands.iter().any(|command| matches!(command, Command::Produce { .. })), "{commands:?}");
    assert_eq!(rig.durable_position(), Some(0), "nothing is acknowledged yet");
    let runs = vec![Run::new(SourceOffset(12), 1, TargetOffset(0))];
    let commands = rig.lane.on(Event::Acked { session, range: range(0, 20), runs }, NOW);
    rig.write(commands);
    assert_eq!((rig.durable_position(), rig.lane.state()), (Some(20), &State::Running));
}

#[test]
fn l8_poison_stops_its_lane_alone_or_is_passed_with_a_line() {
    let poison = || Event::Failed(Failure::Poison { range: range(13, 14), reason: "too large".into() });
    let mut rig = Rig::new(Policy::default());
    rig.open();
    rig.fetch(0, 20);
    let commands = rig.lane.on(poison(), NOW);
    let commands = rig.write(commands);
    assert_eq!(gaps(&commands), [(range(13, 14), "poison", false)]);
    assert!(matches!(rig.lane.state(), State::Stopped(StopReason::Poison { .. })));

    let mut rig = Rig::new(record_gaps());
    rig.open();
    rig.fetch(0, 20);
    let commands = rig.lane.on(poison(), NOW);
    let commands = rig.write(commands);
    assert_eq!(gaps(&commands), [(range(13, 14), "poison", true)]);
    assert_eq!(commands.last(), Some(&Command::Reopen));
    rig.open();
    let commands = rig.fetch(0, 20);
    let [Command::Produce { skip, .. }] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(*skip, [SourceOffset(13)]);
    let runs = vec![Run::new(SourceOffset(0), 13, TargetOffset(0)), Run::new(SourceOffset(14), 6, TargetOffset(13))];
    let session = rig.lane.session();
    let commands = rig.lane.on(Event::Acked { session, range: range(0, 20), runs }, NOW);
    rig.write(commands);
    assert_eq!(rig.durable_position(), Some(20));
}

#[test]
fn l8_what_the_source_cannot_read_is_passed_after_everything_before_it_landed() {
    let mut rig = Rig::new(record_gaps());
    rig.open();
    rig.fetch(0, 20);
    let poison = Failure::Poison { range: range(20, 30), reason: "bad crc".into() };
    assert_eq!(rig.lane.on::<()>(Event::Failed(poison), NOW), [Command::PauseSource]);
    let commands = rig.ack(0, 20, 0);
    let commands = rig.write(commands);
    assert_eq!(gaps(&commands), [(range(20, 30), "poison", true)]);
    assert_eq!(reset_to(&commands), Some(30));
}

#[test]
fn l4_suppressed_records_are_not_written_but_counted_durably() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    let batch = batch(&rig.lane, 0, 10, rig.ends);
    let suppressed: Vec<SourceOffset> = (0..10).map(SourceOffset).collect();
    let commands = rig.lane.on(Event::Fetched { batch, suppressed }, NOW);
    assert!(!commands.iter().any(|command| matches!(command, Command::Produce { .. })));
    rig.write(commands);
    assert_eq!(rig.durable_position(), Some(10));
    assert_eq!(rig.progress.suppressed(rig.lane.id()).records, 10);
}

#[test]
fn l6_a_fenced_lane_writes_nothing_more_and_does_not_resume() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    rig.fetch(0, 10);
    rig.lane.on::<()>(Event::Failed(Failure::Fence { reason: "epoch 2".into() }), NOW);
    assert!(matches!(rig.lane.state(), State::Stopped(StopReason::Fenced { .. })));
    assert_eq!(rig.ack(0, 10, 0), []);
    assert_eq!(rig.lane.on::<()>(Event::Resume, NOW), []);
}

#[test]
fn a_paused_lane_lands_what_is_on_its_way_and_goes_on_from_there() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    rig.fetch(0, 10);
    rig.lane.on::<()>(Event::Pause, NOW);
    assert!(rig.fetch(10, 20).is_empty());
    let commands = rig.ack(0, 10, 0);
    rig.write(commands);
    assert_eq!(rig.durable_position(), Some(10));
    assert_eq!(rig.lane.on::<()>(Event::Resume, NOW), [Command::Reopen]);
    assert_eq!(reset_to(&rig.open()), Some(10));
    assert!(matches!(*rig.lane.state(), State::Running));
}

#[test]
fn a_ledger_line_that_was_not_durable_is_written_again() {
    let mut rig = Rig::new(record_gaps());
    rig.open();
    rig.ends = ends(50, 1000);
    let commands: Vec<Command<()>> = rig.lane.on(Event::SourceSeen { topic_id: Some(SOURCE_ID), ends: rig.ends }, NOW);
    assert_eq!(gaps(&commands).len(), 1);
    // the progress topic does not answer
    rig.lane.on::<()>(Event::Failed(Failure::Retry { reason: "timeout".into() }), NOW);
    rig.lane.on::<()>(Event::RetryNow, NOW);
    let commands = rig.open();
    assert_eq!(gaps(&commands), [(range(0, 50), "retention_overtook", true)]);
    let Some(Value::Gap(gap)) = commands.iter().find_map(|command| match command {
        Command::Persist { records, .. } => records[0].value.clone(),
        _ => None,
    }) else {
        panic!("{commands:?}")
    };
    assert_eq!(gap.cause, GapCause::RetentionOvertook);
}

#[test]
fn l5_the_line_of_a_topic_re_created_unseen_ends_where_the_old_one_was_last_seen_to_end() {
    let mut rig = Rig::new(Policy { generation: GenerationPolicy::Append, ..Policy::default() });
    rig.open();
    rig.fetch(0, 10);
    let commands = rig.ack(0, 10, 0);
    rig.write(commands);
    rig.lane = Rig::new(Policy::default()).lane; // a new process, which never saw the old topic
    // as the contract of `Opening` says: the ends are those of the lane's own generation, as last written down
    (rig.source_id, rig.ends) = (TopicId([9; 16]), ends(0, 40));
    (rig.target.log_end, rig.start) = (TargetOffset(10), Start::Earliest);
    let commands = rig.open();
    let ranges: Vec<_> = rig.progress.gaps().map(|gap| (gap.range, gap.cause.name())).collect();
    assert_eq!(ranges, [(range(10, 40), "topic_recreated")]);
    assert_eq!(reset_to(&commands), None, "nothing of the new topic is read under the old one's name");
}

#[test]
fn an_answer_that_comes_after_poison_was_found_stops_nothing() {
    let mut rig = Rig::new(Policy { poison: GapPolicy::Record, ..Policy::default() });
    rig.open();
    rig.fetch(0, 10);
    rig.fetch(10, 20);
    let bad = Failure::Poison { range: range(10, 11), reason: "refused".into() };
    rig.lane.on::<()>(Event::Failed(bad), NOW);
    rig.ack(0, 10, 0);
    assert_eq!(*rig.lane.state(), State::Ledgering);
}

#[test]
fn a_copy_that_lands_below_the_map_voids_what_lay_there_and_looks_again() {
    let mut rig = Rig::new(Policy::default());
    rig.open();
    rig.fetch(0, 10);
    let commands = rig.ack(0, 10, 0);
    rig.write(commands);
    rig.fetch(10, 20);
    let commands = rig.ack(10, 20, 4);
    let commands = rig.write(commands);
    assert!(commands.contains(&Command::Reopen), "{commands:?}");
    let durable = rig.progress.lane(rig.lane.id()).map(|state| state.position());
    assert_eq!(durable, Some(SourceOffset(4)), "source offsets 4 to 9 lay where others lie now");
}
