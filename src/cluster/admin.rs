//! One cluster, as an administrator sees it. Knows the cluster.id it met first and refuses any other one from then on.

use std::time::Duration;

use causeway_wire::client::{Client, ClientConfig, ClientError};
use causeway_wire::{ApiKey, ErrorCode, Request};

use super::ClusterError;
use crate::core::ids::ClusterId;

/// Longest wait for an answer: above a broker's own 10 s of waiting for replicas, below what a person takes for a hang.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a cluster is and which one it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Its label, for messages.
    pub alias: String,
    /// `host:port` addresses to start from.
    pub bootstrap: Vec<String>,
    /// The cluster.id it must have, if the configuration pins one.
    pub cluster_id: Option<String>,
    /// librdkafka settings of the operator, for the record engine.
    pub client: Vec<(String, String)>,
}

/// A connected cluster. Clones share connections.
#[derive(Debug, Clone)]
pub struct Admin {
    pub(super) client: Client,
    alias: String,
    cluster_id: ClusterId,
}

impl Admin {
    /// Connects, and learns or checks the cluster.id.
    ///
    /// # Errors
    /// No broker reachable, a peer that is no Kafka, another cluster than the pinned one, or one without a cluster.id.
    pub async fn connect(spec: &ClusterSpec) -> Result<Self, ClusterError> {
        let alias = spec.alias.clone();
        let fail = |source| ClusterError::Client { alias: alias.clone(), source };
        let config = ClientConfig {
            client_id: "causeway".to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            expected_cluster_id: spec.cluster_id.clone(),
            ..ClientConfig::new(spec.bootstrap.iter().cloned())
        };
        let client = Client::connect(config.clone()).await.map_err(fail)?;
        let cluster_id = client.cluster_id();
        if cluster_id.is_empty() {
            return Err(ClusterError::NoClusterId { alias });
        }
        Ok(Admin { client, alias, cluster_id: ClusterId::new(cluster_id) })
    }

    /// The cluster's ID.
    #[must_use]
    pub fn cluster_id(&self) -> &ClusterId {
        &self.cluster_id
    }

    /// The cluster's label.
    #[must_use]
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// The wire client, for the modules of `cluster` that speak single APIs.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Brokers as last learned: node ID and address.
    #[must_use]
    pub fn nodes(&self) -> Vec<(i32, String)> {
        self.client.nodes()
    }

    /// Asks the cluster something small, to see that it is there.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn ping(&self) -> Result<(), ClusterError> {
        self.client.refresh().await.map_err(|e| self.fail(e))
    }

    /// Sends to the controller, or to any broker where the cluster names none (a broker then passes it on).
    pub(super) async fn controller<R: Request>(&self, request: R) -> Result<R::Response, ClusterError> {
        self.client.controller(request).await.map_err(|e| self.fail(e))
    }

    pub(super) async fn any<R: Request>(&self, request: R) -> Result<R::Response, ClusterError> {
        self.client.any(request).await.map_err(|e| self.fail(e))
    }

    /// What the wire client says, as an error of this cluster.
    #[must_use]
    pub fn fail(&self, source: ClientError) -> ClusterError {
        ClusterError::Client { alias: self.alias.clone(), source }
    }

    /// An error code inside an answer, as an error; `NONE` is fine.
    pub(super) fn check(
        &self,
        api: ApiKey,
        code: i16,
        subject: &str,
        message: Option<&str>,
    ) -> Result<(), ClusterError> {
        ErrorCode(code).ok().map_err(|code| {
            let message = message.filter(|m| !m.is_empty()).map(str::to_owned);
            self.fail(ClientError::Broker { api, code, subject: subject.to_owned(), message })
        })
    }
}
