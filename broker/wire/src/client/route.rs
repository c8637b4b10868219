//! Requests that one particular node must answer: a partition's leader, the controller, a group's coordinator.

use super::connection::Connection;
use super::{Client, ClientError, cluster, pool, versions};
use crate::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use crate::{ApiKey, ErrorCode, Message, Request};
use std::sync::Arc;

/// Times a request is sent to a node that turns out not to be in charge, before its answer is handed on as it is.
const ATTEMPTS_MAX: u32 = 6;
/// Times a read is sent again because its connection was lost.
pub(super) const LOST_MAX: u32 = 2;
/// Known nodes tried before the bootstrap addresses: enough to pass over a lost rack, few enough to fail in bounded time.
pub(super) const NODES_TRIED_MAX: usize = 4;
/// First version of FindCoordinator that takes many keys.
const BATCHED_FIND: i16 = 4;

/// What a coordinator is asked to coordinate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Group,
    Transaction,
}

impl Role {
    /// Coordinator type in FindCoordinator (KIP-98).
    const fn key_type(self) -> i8 {
        match self {
            Role::Group => 0,
            Role::Transaction => 1,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Role::Group => "group",
            Role::Transaction => "transactional.id",
        }
    }
}

/// Who must answer.
#[derive(Clone, Copy)]
enum Target<'a> {
    Leader(&'a str, i32),
    Controller,
    Coordinator(Role, &'a str),
}

impl Target<'_> {
    /// Codes that say: not here, look again.
    fn misrouted(self, code: ErrorCode) -> bool {
        match self {
            Target::Leader(..) => matches!(
                code,
                ErrorCode::NOT_LEADER_OR_FOLLOWER
                    | ErrorCode::LEADER_NOT_AVAILABLE
                    | ErrorCode::REPLICA_NOT_AVAILABLE
                    | ErrorCode::KAFKA_STORAGE_ERROR
                    | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            ),
            Target::Controller => code == ErrorCode::NOT_CONTROLLER,
            Target::Coordinator(..) => matches!(
                code,
                ErrorCode::NOT_COORDINATOR
                    | ErrorCode::COORDINATOR_NOT_AVAILABLE
                    | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            ),
        }
    }
}

impl Client {
    /// Sends to the leader of the partition; looks the leader up again, and sends again, while nodes say that they are not it.
    ///
    /// # Errors
    /// A partition that does not exist or has no leader ([`ClientError::Broker`]), an unreachable leader, or a failed exchange. Other error codes stay
    /// inside the answer.
    pub async fn leader<R: Request>(
        &self,
        topic: &str,
        partition: i32,
        request: R,
    ) -> Result<R::Response, ClientError> {
        self.routed(Target::Leader(topic, partition), request).await
    }

    /// Sends to the controller.
    ///
    /// # Errors
    /// No controller known, an unreachable one, or a failed exchange.
    pub async fn controller<R: Request>(&self, request: R) -> Result<R::Response, ClientError> {
        self.routed(Target::Controller, request).await
    }

    /// Sends to the coordinator of this consumer group.
    ///
    /// # Errors
    /// No coordinator, an unreachable one, or a failed exchange.
    pub async fn coordinator<R: Request>(&self, group: &str, request: R) -> Result<R::Response, ClientError> {
        self.routed(Target::Coordinator(Role::Group, group), request).await
    }

    /// Sends to the coordinator of this `transactional.id`.
    ///
    /// # Errors
    /// No coordinator, an unreachable one, or a failed exchange.
    pub async fn transaction_coordinator<R: Request>(&self, id: &str, request: R) -> Result<R::Response, ClientError> {
        self.routed(Target::Coordinator(Role::Transaction, id), request).await
    }

    async fn routed<R: Request>(&self, target: Target<'_>, request: R) -> Result<R::Response, ClientError> {
        let (mut attempt, mut lost) = (0, 0);
        loop {
            if attempt > 0 {
                tokio::time::sleep(pool::backoff(attempt, fastrand::f64())).await;
            }
            attempt += 1;
            let last = attempt >= ATTEMPTS_MAX;
            let connection = match self.locate(target).await {
                Ok(connection) => connection,
                Err(error) if last || !passing(&error) => return Err(error),
                Err(_) => {
                    self.forget(target);
                    continue;
                }
            };
            match self.exchange(&connection, &request).await {
                Ok(answer) if !last && send_again(target, R::KEY, &answer) => self.forget(target),
                Ok(answer) => {
                    if names_stale_topic(&answer) {
                        self.forget(target); // the caller learns of it; its next request shall not meet the old ID again
                    }
                    return Ok(answer);
                }
                Err(error) => {
                    self.forget(target);
                    let repeat = matches!(error, ClientError::Disconnected { .. }) && versions::repeatable(R::KEY);
                    if !repeat || last || lost >= LOST_MAX {
                        return Err(error);
                    }
                    lost += 1;
                }
            }
        }
    }

    /// A connection to the node in charge, as far as is known.
    async fn locate(&self, target: Target<'_>) -> Result<Arc<Connection>, ClientError> {
        let node = match target {
            Target::Leader(topic, partition) => self.find_leader(topic, partition).await?,
            Target::Controller => self.find_controller().await?,
            Target::Coordinator(role, id) => self.find_coordinator(role, id).await?,
        };
        self.node_connection(node).await
    }

    fn forget(&self, target: Target<'_>) {
        let mut cluster = self.cluster();
        match target {
            Target::Leader(topic, _) => cluster.forget_topic(topic),
            Target::Controller => cluster.controller = None,
            Target::Coordinator(role, id) => cluster.forget_coordinator(role, id),
        }
    }

    async fn find_leader(&self, topic: &str, partition: i32) -> Result<i32, ClientError> {
        if let Some(leader) = self.cluster().leader(topic, partition) {
            return Ok(leader);
        }
        let answer = self.metadata(Some(&[topic])).await?;
        if let Some(leader) = self.cluster().leader(topic, partition) {
            return Ok(leader);
        }
        let found = answer.topics.iter().find(|t| t.name.as_deref() == Some(topic));
        let code = match found.map(|t| ErrorCode(t.error_code)) {
            Some(ErrorCode::NONE)
                if self.cluster().topic(topic).is_some_and(|t| t.partitions.contains_key(&partition)) =>
            {
                ErrorCode::LEADER_NOT_AVAILABLE
            }
            Some(ErrorCode::NONE) | None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            Some(code) => code,
        };
        Err(refused(ApiKey::Metadata, code, format!("{topic}-{partition}"), None))
    }

    async fn find_controller(&self) -> Result<i32, ClientError> {
        if self.cluster().controller.is_none() {
            self.refresh().await?;
        }
        let controller = self.cluster().controller;
        controller.ok_or_else(|| refused(ApiKey::Metadata, ErrorCode::NOT_CONTROLLER, "controller".to_owned(), None))
    }

    async fn find_coordinator(&self, role: Role, id: &str) -> Result<i32, ClientError> {
        if let Some(node) = self.cluster().coordinator(role, id) {
            return Ok(node);
        }
        let connection = self.any_connection().await?;
        let version = connection.version::<FindCoordinatorRequest>(i16::MAX)?;
        let mut request = FindCoordinatorRequest { key_type: role.key_type(), ..Default::default() };
        if version >= BATCHED_FIND {
            request.coordinator_keys = vec![id.to_owned()];
        } else {
            request.key = id.to_owned();
        }
        let answer = connection.call(version, &request, self.inner.config.request_timeout).await?;
        let (node, address) = coordinator_in(answer, role, id)?;
        self.cluster().learn_coordinator(role, id, node, address);
        Ok(node)
    }
}

/// Reads either form of the answer.
fn coordinator_in(answer: FindCoordinatorResponse, role: Role, id: &str) -> Result<(i32, String), ClientError> {
    let (code, message, node, host, port) = match answer.coordinators.into_iter().next() {
        Some(c) => (c.error_code, c.error_message, c.node_id, c.host, c.port),
        None => (answer.error_code, answer.error_message, answer.node_id, answer.host, answer.port),
    };
    match ErrorCode(code) {
        ErrorCode::NONE => Ok((node, cluster::address(&host, port))),
        code => {
            let subject = format!("{} {id}", role.name());
            Err(refused(ApiKey::FindCoordinator, code, subject, message.filter(|m| !m.is_empty())))
        }
    }
}

pub(super) fn refused(api: ApiKey, code: ErrorCode, subject: String, message: Option<String>) -> ClientError {
    ClientError::Broker { api, code, subject, message }
}

/// Whether looking again can help when the node in charge was not found or not reached: elections and restarts pass, nothing was sent yet.
fn passing(error: &ClientError) -> bool {
    match error {
        ClientError::Broker { code, .. } => {
            matches!(
                *code,
                ErrorCode::LEADER_NOT_AVAILABLE
                    | ErrorCode::COORDINATOR_NOT_AVAILABLE
                    | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
                    | ErrorCode::NOT_CONTROLLER
            )
        }
        ClientError::Unreachable { .. } | ClientError::UnknownNode { .. } | ClientError::Disconnected { .. } => true,
        _ => false,
    }
}

/// Whether the answer says that the request went to the wrong node and did nothing there. A request that changes something must have been refused as a whole.
fn send_again<M: Message>(target: Target<'_>, key: ApiKey, answer: &M) -> bool {
    let (mut codes, mut misrouted) = (0, 0);
    answer.each_error(&mut |code| {
        codes += 1;
        misrouted += usize::from(target.misrouted(code));
    });
    misrouted > 0 && (misrouted == codes || versions::repeatable(key))
}

/// Whether the answer refuses a topic ID: the topic was deleted, or made anew under the same name.
fn names_stale_topic<M: Message>(answer: &M) -> bool {
    let mut stale = false;
    answer.each_error(&mut |code| {
        stale |= matches!(code, ErrorCode::UNKNOWN_TOPIC_ID | ErrorCode::INCONSISTENT_TOPIC_ID);
    });
    stale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::produce::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};

    fn produced(codes: &[ErrorCode]) -> ProduceResponse {
        let partitions = codes.iter().map(|c| PartitionProduceResponse { error_code: c.0, ..Default::default() });
        let topic = TopicProduceResponse { partition_responses: partitions.collect(), ..Default::default() };
        ProduceResponse { responses: vec![topic], ..Default::default() }
    }

    #[test]
    fn a_produce_that_half_succeeded_is_not_sent_again() {
        let target = Target::Leader("t", 0);
        let moved = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        assert!(send_again(target, ApiKey::Produce, &produced(&[moved, moved])));
        assert!(!send_again(target, ApiKey::Produce, &produced(&[moved, ErrorCode::NONE])));
        assert!(!send_again(target, ApiKey::Produce, &produced(&[ErrorCode::NONE])));
        assert!(!send_again(target, ApiKey::Produce, &produced(&[])));
    }
}
