//! Groups, DR checkpoints and switches against two real nodes of the included broker, with a progress topic written as the daemon writes it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use causeway::cluster::groups::GroupOffset;
use causeway::cluster::pen::{Pen, SharedPen};
use causeway::cluster::progress_topic::{ProgressError, ProgressTopic};
use causeway::cluster::{Admin, ClusterSpec};
use causeway::config::{self, valid};
use causeway::core::batch::SourceRange;
use causeway::core::failover::{SwitchKind, SwitchStep, switched};
use causeway::core::groups::GroupState;
use causeway::core::ids::{
    FlowEpoch, FlowName, LaneId, LeaderEpoch, SourceOffset, TargetOffset, TopicId, TopicName, UnixMillis,
};
use causeway::core::offset_map::Run;
use causeway::core::progress::{LaneState, Record, SourceSeen, encode};
use causeway::groups::follow::Follower;
use causeway::groups::place::Holder;
use causeway::groups::switch::{self, Order};
use causeway::groups::{Ends, GroupError, checkpoint};
use causeway_broker::{Broker, BrokerConfig, properties::Properties};
use causeway_wire::ErrorCode;
use causeway_wire::records::{BatchBuilder, Codec};

const FLOW: &str = "dr";
const OWNER: &str = "daemon-1";

async fn node(dir: &std::path::Path) -> Broker {
    let mut properties = Properties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
    properties.set("log.dirs", dir.to_str().unwrap());
    Broker::start(BrokerConfig::from_properties(&properties).unwrap()).await.unwrap()
}

async fn admin(alias: &str, broker: &Broker) -> Admin {
    let bootstrap = vec![broker.local_addr().to_string()];
    Admin::connect(&ClusterSpec { alias: alias.into(), bootstrap, cluster_id: None, client: Vec::new() }).await.unwrap()
}

fn flow(dir: &std::path::Path, east: &Broker, west: &Broker) -> valid::Flow {
    let file = dir.join("causeway.toml");
    let text = format!(
        "[clusters.east]\nbootstrap = \"{}\"\n[clusters.west]\nbootstrap = \"{}\"\n[[flows]]\nname = \"{FLOW}\"\nfrom = \"east\"\nto = \"west\"\ntopics = {{ include = [\"*\"] }}\ngroups = [\"*\"]\n",
        east.local_addr(),
        west.local_addr()
    );
    std::fs::write(&file, text).unwrap();
    config::load(&file).unwrap().flow(FLOW).unwrap().clone()
}

/// Two nodes; `orders` on both, 100 records at the source, 60 of them mirrored with a hole: source 0..40 -> 0.., 50..60 -> 40...
struct Stage {
    _dir: tempfile::TempDir,
    east: Broker,
    west: Broker,
    source: Admin,
    target: Admin,
    flow: valid::Flow,
    progress: ProgressTopic,
    epoch: FlowEpoch,
}

async fn fill(admin: &Admin, count: i64) {
    let mut batch = BatchBuilder::new(Codec::None);
    for n in 0..count {
        batch.push(1_700_000_000_000 + n, None, Some(n.to_string().as_bytes()), &[]).unwrap();
    }
    admin.client().produce_batch("orders", 0, batch.build().unwrap()).await.unwrap();
}

async fn stage() -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let (east, west) = (node(&dir.path().join("east")).await, node(&dir.path().join("west")).await);
    let (source, target) = (admin("east", &east).await, admin("west", &west).await);
    for admin in [&source, &target] {
        admin.create_topic("orders", 1, &BTreeMap::new()).await.unwrap();
    }
    fill(&source, 100).await;
    fill(&target, 50).await;
    let flow = flow(dir.path(), &east, &west);
    let name = FlowName::new(FLOW);
    let mut progress = ProgressTopic::open_or_create(target.client().clone(), &name).await.unwrap();
    let epoch = progress.claim(OWNER, UnixMillis(1)).await.unwrap();
    let id = source.topic("orders").await.unwrap().unwrap().id;
    let target_id = target.topic("orders").await.unwrap().unwrap().id;
    let mut lane = lane_state(id, target_id, epoch);
    progress.append(epoch, OWNER, &lane.take_records()).await.unwrap();
    progress.catch_up().await.unwrap();
    Stage { _dir: dir, east, west, source, target, flow, progress, epoch }
}

fn lane_state(id: TopicId, target_id: TopicId, epoch: FlowEpoch) -> LaneState {
    let lane = LaneId::new("orders", id, 0);
    let mut state = LaneState::new(lane, ("orders".into(), target_id), epoch, SourceOffset(0), TargetOffset(0));
    let runs = [Run::new(SourceOffset(0), 40, TargetOffset(0)), Run::new(SourceOffset(50), 10, TargetOffset(40))];
    state.append(SourceRange::new(SourceOffset(0), SourceOffset(60)), &runs, LeaderEpoch(0)).unwrap();
    state
}

impl Stage {
    fn ends(&self, source: Result<Admin, String>) -> Ends {
        Ends { flow: self.flow.clone(), source, target: self.target.clone() }
    }
    async fn commit(&self, admin: &Admin, group: &str, offset: i64) {
        let at = GroupOffset { topic: "orders".into(), partition: 0, offset, metadata: "m".into() };
        let done = admin.commit_offsets(group, &[at]).await.unwrap();
        assert!(done.iter().all(|done| done.ok), "{done:?}");
    }
    async fn committed(&self, group: &str) -> Option<i64> {
        self.target.group_offsets(group).await.unwrap().first().map(|at| at.offset)
    }
    async fn follower(&self) -> Follower {
        let holder = Holder { epoch: self.epoch, owner: OWNER.to_owned() };
        let (source, target) = (self.source.clone(), self.target.clone());
        Follower::open(self.flow.clone(), source, target, (holder, SharedPen::default())).await.unwrap()
    }
    fn order(kind: SwitchKind, to_checkpoint: Option<&str>) -> Order {
        let to_checkpoint = to_checkpoint.map(str::to_owned);
        Order { kind, to_checkpoint, drain_max: Duration::from_millis(500), instance: "test".into() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_members_is_followed_exactly_and_a_foreign_commit_is_left_alone() {
    let stage = stage().await;
    stage.commit(&stage.source, "billing", 52).await;
    let mut follower = stage.follower().await;
    let placed = follower.beat().await.unwrap();
    assert_eq!(placed[0].state, GroupState::Following, "{placed:?}");
    assert_eq!(stage.committed("billing").await, Some(42));
    // in the hole: the next kept record; and back again: a rewind propagates
    for (at, want) in [(45, 40), (7, 7)] {
        stage.commit(&stage.source, "billing", at).await;
        follower.beat().await.unwrap();
        assert_eq!(stage.committed("billing").await, Some(want));
    }
    stage.commit(&stage.target, "billing", 33).await;
    stage.commit(&stage.source, "billing", 55).await;
    let placed = follower.beat().await.unwrap();
    assert_eq!((placed[0].state, stage.committed("billing").await), (GroupState::Conflict, Some(33)));
}

#[tokio::test(flavor = "multi_thread")]
async fn l3_failover_without_source_or_daemon_sets_groups_from_the_target_alone_and_writes_the_fork_down() {
    let mut stage = stage().await;
    stage.commit(&stage.source, "billing", 52).await;
    stage.commit(&stage.source, "ahead", 90).await;
    stage.follower().await.beat().await.unwrap();
    let ends = stage.ends(Err("burned".into()));
    stage.east.shutdown().await;
    let preview = switch::preview(&ends, &mut stage.progress).await.unwrap();
    assert_eq!(
        (preview.exposed_offsets, preview.source_reached, preview.switch.is_none()),
        (40, false, true),
        "{preview:?}"
    );
    assert!(preview.source_age_ms.is_some_and(|age| (0..60_000).contains(&age)), "{preview:?}");
    let report = switch::run(&ends, &mut stage.progress, &Stage::order(SwitchKind::Failover, None)).await.unwrap();
    assert!(report.is_done());
    let fork = &report.forks[0];
    assert_eq!((fork.source, fork.source_end, fork.target), (SourceOffset(60), SourceOffset(100), TargetOffset(50)));
    let at = |group: &str| report.groups.iter().find(|g| g.group.as_str() == group).unwrap().partitions[0].target;
    assert_eq!((at("billing"), at("ahead")), (Some(TargetOffset(42)), Some(TargetOffset(50))));
    let report = switch::run(&ends, &mut stage.progress, &Stage::order(SwitchKind::Failover, None)).await.unwrap();
    assert!(report.is_done(), "safe to repeat");
    stage.west.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_after_a_failover_the_old_instance_is_refused_by_the_target() {
    let mut stage = stage().await;
    let mut old = ProgressTopic::open(stage.target.client().clone(), &FlowName::new(FLOW)).await.unwrap();
    let ends = stage.ends(Ok(stage.source.clone()));
    switch::run(&ends, &mut stage.progress, &Stage::order(SwitchKind::Failover, None)).await.unwrap();
    assert!(switched(stage.progress.state()).is_some());
    let gap_free = old.state().lanes().next().unwrap().clone();
    let mut more = gap_free.clone();
    let runs = [Run::new(SourceOffset(60), 5, TargetOffset(50))];
    more.append(SourceRange::new(SourceOffset(60), SourceOffset(65)), &runs, LeaderEpoch(0)).unwrap();
    let refused = old.append(stage.epoch, OWNER, &more.take_records()).await;
    assert!(matches!(refused, Err(ProgressError::Fenced { .. })), "{refused:?}");
    // and a write that slipped in between look and append is left out by whoever reads
    let late: Vec<Record> = {
        more.append(SourceRange::new(SourceOffset(65), SourceOffset(66)), &[], LeaderEpoch(0)).unwrap();
        more.take_records()
    };
    old.note(&late).await.unwrap();
    let state = stage.progress.catch_up().await.unwrap();
    assert_eq!(state.lanes().next().unwrap().position(), SourceOffset(60));
}

#[tokio::test(flavor = "multi_thread")]
async fn promote_refuses_while_something_is_left_to_copy_and_leaves_the_flow_as_it_was() {
    let mut stage = stage().await;
    let ends = stage.ends(Ok(stage.source.clone()));
    let report = switch::run(&ends, &mut stage.progress, &Stage::order(SwitchKind::Promote, None)).await.unwrap();
    let step = &report.switch.as_ref().unwrap().step;
    assert!(matches!(step, SwitchStep::Refused { reason } if reason.contains("40 offsets")), "{step:?}");
    assert!(stage.progress.state().is_held_by(stage.epoch, OWNER));
    let ends = stage.ends(Err("burned".into()));
    let error = switch::run(&ends, &mut stage.progress, &Stage::order(SwitchKind::Promote, None)).await.unwrap_err();
    assert!(matches!(error, GroupError::SourceNeeded { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_can_go_back_to_a_named_checkpoint() {
    let mut stage = stage().await;
    stage.commit(&stage.source, "billing", 10).await;
    stage.follower().await.beat().await.unwrap();
    let ends = stage.ends(Ok(stage.source.clone()));
    let (taken, from_source) = checkpoint::create(&ends, &mut stage.progress, "before").await.unwrap();
    assert!(from_source && taken.groups.len() == 1 && taken.lanes.len() == 1, "{taken:?}");
    stage.commit(&stage.source, "billing", 55).await;
    stage.follower().await.beat().await.unwrap();
    assert_eq!(stage.committed("billing").await, Some(45));
    let unknown = Stage::order(SwitchKind::Failover, Some("nope"));
    let error = switch::run(&ends, &mut stage.progress, &unknown).await.unwrap_err();
    assert!(matches!(error, GroupError::NoSuchCheckpoint { .. }), "{error}");
    let order = Stage::order(SwitchKind::Failover, Some("before"));
    assert!(switch::run(&ends, &mut stage.progress, &order).await.unwrap().is_done());
    assert_eq!(stage.committed("billing").await, Some(10));
}

/// The progress topic as `owner` sees it, with the flow claimed.
async fn claimed(target: &Admin, owner: &str) -> (ProgressTopic, FlowEpoch) {
    let mut progress = ProgressTopic::open_or_create(target.client().clone(), &FlowName::new(FLOW)).await.unwrap();
    let epoch = progress.claim(owner, UnixMillis(1)).await.unwrap();
    (progress, epoch)
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_what_a_stale_instance_has_on_its_way_is_refused_by_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let west = node(dir.path()).await;
    let target = admin("west", &west).await;
    let (progress, _) = claimed(&target, "first").await;
    let (client, topic) = (target.client(), progress.topic().clone());
    // what the first holder looked at, judged to be its own and sent, arrives after the second one's claim
    let mut pen = Pen::take(client, &topic).await.unwrap();
    let nothing = encode(&Record::fence("first")).0;
    let mut write = || {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(1_700_000_000_000, Some(&nothing), None, &[]).unwrap();
        pen.sign(batch).unwrap()
    };
    let (early, late) = (write(), write());
    client.produce_batch(topic.as_str(), 0, early).await.unwrap();
    let (mut second, epoch) = claimed(&target, "second").await;
    let refused = client.produce_batch(topic.as_str(), 0, late).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::INVALID_PRODUCER_EPOCH), "{refused}");
    second.append(epoch, "second", &[]).await.unwrap();
    west.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l6_a_holder_whose_pen_was_taken_takes_it_back_and_one_that_was_replaced_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let west = node(dir.path()).await;
    let target = admin("west", &west).await;
    let (mut first, epoch) = claimed(&target, "first").await;
    let source_seen = |end| {
        let seen = SourceSeen { at: UnixMillis(end), ..SourceSeen::default() };
        [Record::source_seen(TopicName::new("orders"), seen)]
    };
    // a process that was stopped for long finds its write refused, takes the pen, and only then sees that the flow is not its own any more
    let stale = ProgressTopic::open(target.client().clone(), &FlowName::new(FLOW)).await.unwrap();
    let nothing = encode(&Record::fence("stale")).0;
    let mut taken = Pen::take(target.client(), stale.topic()).await.unwrap();
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1_700_000_000_000, Some(&nothing), None, &[]).unwrap();
    let signed = taken.sign(batch).unwrap();
    target.client().produce_batch(stale.topic().as_str(), 0, signed).await.unwrap();
    first.append(epoch, "first", &source_seen(1)).await.unwrap();
    let seen = first.catch_up().await.unwrap().source_seen(&TopicName::new("orders")).map(|seen| seen.at);
    assert_eq!(seen, Some(UnixMillis(1)));
    let (mut second, newer) = claimed(&target, "second").await;
    let refused = first.append(epoch, "first", &source_seen(2)).await.unwrap_err();
    assert!(matches!(refused, ProgressError::Fenced { .. }), "{refused}");
    second.append(newer, "second", &source_seen(3)).await.unwrap();
    west.shutdown().await;
}
