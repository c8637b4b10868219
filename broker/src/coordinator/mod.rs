//! The group coordinator's shell: owns the cores, writes `__consumer_offsets`, answers who waits, keeps time.
//!
//! Every decision is taken and its record appended under one lock, so the log has the order of the decisions. Replies
//! that depend on a record are sent when it is durable.

mod commit;
mod consumer;
mod journal;
mod lag;
mod replay;
#[cfg(test)]
mod tests;
mod timer;
mod topics;
mod txn_commit;
mod views;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use causeway_wire::ErrorCode;
use tokio::sync::{Notify, oneshot};

use crate::config::BrokerConfig;
use crate::core::groups::consumer::assignor::Assignor;
use crate::core::groups::consumer::{ConsumerGroup, ConsumerLimits, Migration};
use crate::core::groups::offsets::Offsets;
use crate::core::groups::pending::PendingOffsets;
use crate::core::groups::{Effect, Group, GroupLimits, JoinReply, JoinRequest, Millis, SyncReply, SyncRequest, Token};
use crate::meta::Meta;
use crate::partitions::Partitions;

pub use commit::{CommitRequest, NewOffset};
pub use journal::{OFFSETS_TOPIC, partition_for};
pub use views::ListedGroup;

/// Coordinates every group of this node.
pub struct Coordinator {
    state: Mutex<State>,
    partitions: Arc<Partitions>,
    /// The metadata: consumer groups assign what it has.
    meta: Arc<Meta>,
    node_id: i32,
    limits: GroupLimits,
    consumer: ConsumerLimits,
    /// Longest note a commit may carry (`offset.metadata.max.bytes`).
    metadata_bytes_max: usize,
    /// `offsets.retention.minutes` in milliseconds.
    retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    expiry_every: Duration,
    started: Instant,
    timer: Notify,
}

#[derive(Default)]
struct State {
    groups: HashMap<String, Group>,
    /// Consumer groups (KIP-848); a name is in one of both maps at most.
    modern: HashMap<String, ConsumerGroup>,
    offsets: Offsets,
    /// Offsets committed in open transactions.
    pending: PendingOffsets,
    joining: HashMap<Token, oneshot::Sender<JoinReply>>,
    syncing: HashMap<Token, oneshot::Sender<SyncReply>>,
    next_token: Token,
    /// The node stops: nobody may begin to wait.
    closed: bool,
    schedule: timer::Schedule,
}

/// A reply ready to be sent.
enum Reply {
    Join(Option<oneshot::Sender<JoinReply>>, JoinReply),
    Sync(Option<oneshot::Sender<SyncReply>>, SyncReply),
}

impl Reply {
    fn send(self, error: Option<ErrorCode>) {
        // A receiver that is gone is a client that is gone.
        match self {
            Reply::Join(Some(to), mut reply) => {
                reply.error = error.unwrap_or(reply.error);
                let _ = to.send(reply);
            }
            Reply::Sync(Some(to), mut reply) => {
                reply.error = error.unwrap_or(reply.error);
                let _ = to.send(reply);
            }
            Reply::Join(None, _) | Reply::Sync(None, _) => {}
        }
    }
}

impl Coordinator {
    /// A coordinator with no groups; `replay` fills it.
    pub fn new(config: &BrokerConfig, partitions: Arc<Partitions>, meta: Arc<Meta>) -> Self {
        let limits = GroupLimits {
            initial_rebalance_delay: config.number("group.initial.rebalance.delay.ms") as Millis,
            members_max: config.number("group.max.size") as usize,
            session_timeout_min: config.number("group.min.session.timeout.ms") as i32,
            session_timeout_max: config.number("group.max.session.timeout.ms") as i32,
        };
        Self {
            state: Mutex::default(),
            partitions,
            meta,
            node_id: config.node_id,
            consumer: consumer_limits(config, limits),
            limits,
            metadata_bytes_max: config.number("offset.metadata.max.bytes") as usize,
            retention_ms: config.number("offsets.retention.minutes") * 60_000,
            expiry_every: Duration::from_millis(config.number("offsets.retention.check.interval.ms").max(1) as u64),
            started: Instant::now(),
            timer: Notify::new(),
        }
    }

    /// JoinGroup; waits for the rebalance.
    pub async fn join(&self, group: &str, request: &JoinRequest) -> JoinReply {
        let failed =
            |error| JoinReply { error, generation: -1, member_id: request.member_id.clone(), ..JoinReply::default() };
        if group.is_empty() {
            return failed(ErrorCode::INVALID_GROUP_ID);
        }
        let waiting = {
            let mut state = self.lock();
            if state.closed {
                return failed(ErrorCode::COORDINATOR_NOT_AVAILABLE);
            }
            match self.join_consumer(&mut state, group, request) {
                Some(pending) => Err(pending),
                None if !self.limits.admits_session(request.session_timeout) => {
                    return failed(ErrorCode::INVALID_SESSION_TIMEOUT);
                }
                None => {
                    if !state.groups.contains_key(group) {
                        if !request.member_id.is_empty() {
                            return failed(ErrorCode::UNKNOWN_MEMBER_ID);
                        }
                        // Whatever else is wrong with the request, the group is there from now on, as in Kafka; empty, it
                        // goes with the next look for expired offsets.
                        state.groups.insert(group.to_owned(), Group::new(group, self.limits));
                    }
                    let token = state.token();
                    let (sender, receiver) = oneshot::channel();
                    state.joining.insert(token, sender);
                    self.act(&mut state, group, |g, now| g.join(request, token, now));
                    Ok(receiver)
                }
            }
        };
        match waiting {
            Ok(receiver) => receiver.await.unwrap_or_else(|_| failed(ErrorCode::COORDINATOR_NOT_AVAILABLE)),
            Err(pending) => {
                let answer = self.answered(pending).await;
                answer.unwrap_or_else(|error| JoinReply { error, generation: -1, ..JoinReply::default() })
            }
        }
    }

    /// SyncGroup; waits for the leader's assignment.
    pub async fn sync(&self, group: &str, request: &SyncRequest) -> SyncReply {
        let failed = |error| SyncReply { error, ..SyncReply::default() };
        if group.is_empty() {
            return failed(ErrorCode::INVALID_GROUP_ID);
        }
        let receiver = {
            let mut state = self.lock();
            if state.closed {
                return failed(ErrorCode::COORDINATOR_NOT_AVAILABLE);
            }
            if let Some(reply) = self.sync_consumer(&mut state, group, request) {
                return reply;
            }
            if !state.groups.contains_key(group) {
                return failed(ErrorCode::UNKNOWN_MEMBER_ID);
            }
            let token = state.token();
            let (sender, receiver) = oneshot::channel();
            state.syncing.insert(token, sender);
            self.act(&mut state, group, |g, now| g.sync(request, token, now));
            receiver
        };
        receiver.await.unwrap_or_else(|_| failed(ErrorCode::COORDINATOR_NOT_AVAILABLE))
    }

    /// Lets go of everyone who waits for a rebalance: the node stops, and they will ask it again or another.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.joining.clear();
        state.syncing.clear();
    }

    /// Heartbeat.
    pub fn heartbeat(
        &self,
        group: &str,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let now = self.now();
        let mut state = self.lock();
        if let Some(answer) = self.beat_consumer(&mut state, group, member_id, instance_id, generation) {
            return answer;
        }
        let group = state.groups.get_mut(group).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        group.heartbeat(member_id, instance_id, generation, now)
    }

    /// LeaveGroup, an outcome for each (member id, instance id).
    pub fn leave(
        &self,
        group: &str,
        members: &[(String, Option<String>)],
    ) -> Result<Vec<Result<(), ErrorCode>>, ErrorCode> {
        if group.is_empty() {
            return Err(ErrorCode::INVALID_GROUP_ID);
        }
        let mut state = self.lock();
        if let Some(outcomes) = self.leave_consumer(&mut state, group, members) {
            return Ok(outcomes);
        }
        if !state.groups.contains_key(group) {
            return Ok(members.iter().map(|_| Err(ErrorCode::UNKNOWN_MEMBER_ID)).collect());
        }
        let mut outcomes = Vec::new();
        self.act(&mut state, group, |g, now| {
            let mut out = Vec::new();
            for (member, instance) in members {
                outcomes.push(g.leave(member, instance.as_deref(), now, &mut out));
            }
            out
        });
        Ok(outcomes)
    }

    /// Milliseconds since this coordinator started.
    fn now(&self) -> Millis {
        self.started.elapsed().as_millis() as Millis
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an event act on a group that exists, and carries out what follows from it.
    fn act(&self, state: &mut State, id: &str, event: impl FnOnce(&mut Group, Millis) -> Vec<Effect>) {
        let now = self.now();
        let Some(group) = state.groups.get_mut(id) else { return };
        let effects = event(group, now);
        let next = group.next_deadline();
        if state.schedule.set(id, next) {
            self.timer.notify_one();
        }
        self.carry_out(state, id, effects);
    }

    fn carry_out(&self, state: &mut State, id: &str, effects: Vec<Effect>) {
        let mut held: Option<(journal::Written, Vec<Reply>)> = None;
        for effect in effects {
            let reply = match effect {
                Effect::Rebalance(cause) => {
                    if let Some(group) = state.groups.get(id) {
                        let members = group.members.len();
                        tracing::info!(group = id, generation = group.generation, members, cause, "group rebalances");
                    }
                    continue;
                }
                Effect::Persist => {
                    let written = self.write_group(state, id);
                    let replies = held.take().map(|(_, replies)| replies).unwrap_or_default();
                    held = Some((written, replies));
                    continue;
                }
                Effect::Join(token, reply) => Reply::Join(state.joining.remove(&token), reply),
                Effect::Sync(token, reply) => Reply::Sync(state.syncing.remove(&token), reply),
            };
            match &mut held {
                Some((_, replies)) => replies.push(reply),
                None => reply.send(None),
            }
        }
        if let Some((written, replies)) = held {
            tokio::spawn(async move {
                let error = written.durable().await.err();
                for reply in replies {
                    reply.send(error);
                }
            });
        }
    }

    fn write_group(&self, state: &mut State, id: &str) -> journal::Written {
        let Some(group) = state.groups.get_mut(id) else { return journal::Written::failed() };
        group.state_since = crate::clock::wall_ms();
        self.write(id, &[journal::group_record(id, Some(&group.value()))])
    }
}

/// The settings `group.consumer.*`.
fn consumer_limits(config: &BrokerConfig, classic: GroupLimits) -> ConsumerLimits {
    let text = |name: &str| config.text(name).unwrap_or_default();
    let mut assignors: Vec<Assignor> = Vec::new();
    for name in crate::config::items(&text("group.consumer.assignors")) {
        match Assignor::named(name) {
            Some(assignor) if !assignors.contains(&assignor) => assignors.push(assignor),
            Some(_) => {}
            None => tracing::warn!(name, "group.consumer.assignors names an assignor that is not there"),
        }
    }
    ConsumerLimits {
        members_max: config.number("group.consumer.max.size") as usize,
        session_timeout: config.number("group.consumer.session.timeout.ms") as i32,
        heartbeat_interval: config.number("group.consumer.heartbeat.interval.ms") as i32,
        assignment_interval: config.number("group.consumer.assignment.interval.ms") as i32,
        assignors,
        migration: Migration::named(&text("group.consumer.migration.policy")).unwrap_or(Migration::Bidirectional),
        classic_members_max: classic.members_max,
    }
}

impl State {
    fn token(&mut self) -> Token {
        self.next_token += 1;
        self.next_token
    }
}
