//! A small client: one connection per broker, requests pipelined on it, versions negotiated, requests sent to the node that must answer them.
//!
//! It holds no records, no offsets and no threads of its own, and makes no choice about delivery: a request that may have taken effect is never sent
//! twice unless it is a read. Requests that get no answer (Produce with `acks=0`) are not for this client.

mod cluster;
mod config;
mod connection;
mod error;
mod greeting;
mod helpers;
mod pool;
mod route;
mod versions;

use crate::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use crate::{ApiKey, Request};
use cluster::Cluster;
use connection::{Begun, Connection};
use pool::Pool;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use cluster::{Partition, Topic};
pub use config::ClientConfig;
pub use error::ClientError;
pub use helpers::{
    Fetched, Isolation, ListedOffset, Produced, ProducerId, TIMESTAMP_EARLIEST, TIMESTAMP_LATEST, TIMESTAMP_MAX,
};

/// A client of one cluster. Clones share connections and knowledge; the last one closes the connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    config: ClientConfig,
    pool: Pool,
    cluster: Mutex<Cluster>,
}

impl Client {
    /// Connects to the first bootstrap address that answers, and learns the cluster's brokers.
    ///
    /// # Errors
    /// Settings that cannot work; no address that can be reached ([`ClientError::Unreachable`] for one address,
    /// [`ClientError::NoneReachable`] for several); a peer of another protocol or cluster.
    pub async fn connect(config: ClientConfig) -> Result<Self, ClientError> {
        config.check()?;
        let pool = Pool::for_cluster(config.expected_cluster_id.clone());
        let client = Self { inner: Arc::new(Inner { config, pool, cluster: Mutex::default() }) };
        client.refresh().await?;
        Ok(client)
    }

    /// The cluster's ID; empty for a broker too old to have one (before 0.10.1).
    pub fn cluster_id(&self) -> String {
        self.cluster().cluster_id.clone().unwrap_or_default()
    }

    /// Settings this client was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// Node IDs and addresses as last learned, by node.
    pub fn nodes(&self) -> Vec<(i32, String)> {
        let mut nodes: Vec<_> = self.cluster().nodes.iter().map(|(id, address)| (*id, address.clone())).collect();
        nodes.sort();
        nodes
    }

    /// The topic as last learned; none if it was never asked for, or does not exist.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        self.cluster().topic(name).cloned()
    }

    /// Asks again for brokers and controller.
    ///
    /// # Errors
    /// As [`Client::any`].
    pub async fn refresh(&self) -> Result<(), ClientError> {
        self.metadata(Some(&[])).await.map(|_| ())
    }

    /// Asks for these topics, or for all; never creates a topic. What comes is also remembered for routing.
    ///
    /// # Errors
    /// As [`Client::any`]. Topics that do not exist are errors inside the answer.
    pub async fn metadata(&self, topics: Option<&[&str]>) -> Result<MetadataResponse, ClientError> {
        let wanted = topics.map(|topics| {
            let named = |name: &&str| MetadataRequestTopic { name: Some((*name).to_owned()), ..Default::default() };
            topics.iter().map(named).collect()
        });
        let request = MetadataRequest { topics: wanted, allow_auto_topic_creation: false, ..Default::default() };
        let answer = self.any(request).await?;
        self.cluster().learn(&answer, topics.is_none());
        Ok(answer)
    }

    /// Sends to whichever broker is at hand.
    ///
    /// # Errors
    /// No broker reachable, or the exchange failed with the one chosen. Error codes inside the answer are the caller's to read.
    pub async fn any<R: Request>(&self, request: R) -> Result<R::Response, ClientError> {
        let mut lost = 0;
        loop {
            let connection = self.any_connection().await?;
            match self.exchange(&connection, &request).await {
                Err(ClientError::Disconnected { .. }) if versions::repeatable(R::KEY) && lost < route::LOST_MAX => {
                    lost += 1
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends to this node.
    ///
    /// # Errors
    /// A node that the cluster does not list, one that cannot be reached, or a failed exchange.
    pub async fn node<R: Request>(&self, id: i32, request: R) -> Result<R::Response, ClientError> {
        if self.node_address(id).is_none() {
            self.refresh().await?;
        }
        let connection = self.node_connection(id).await?;
        self.exchange(&connection, &request).await
    }

    /// Sends to this node without waiting for the answer. Requests begun one after the other reach the node in that order, as long as its connection
    /// lives; `size` is about how many bytes the request has.
    ///
    /// # Errors
    /// As [`Client::node`]; nothing was sent then, or the connection is lost.
    pub async fn begin<R: Request>(&self, id: i32, request: &R, size: usize) -> Result<Answer<R>, ClientError> {
        if self.node_address(id).is_none() {
            self.refresh().await?;
        }
        let connection = self.node_connection(id).await?;
        let version = connection.version::<R>(versions::cap(request))?;
        let begun = connection.begin(version, request, size, self.inner.config.request_timeout).await?;
        Ok(Answer { connection, version, begun, of: PhantomData })
    }

    /// Highest version of the API that this node and we both speak.
    ///
    /// # Errors
    /// As [`Client::node`], or no common version.
    pub async fn node_version<R: Request>(&self, id: i32) -> Result<i16, ClientError> {
        self.node_connection(id).await?.version::<R>(i16::MAX)
    }

    /// Version ranges that some broker of the cluster offers, for APIs that this crate knows.
    ///
    /// # Errors
    /// As [`Client::any`].
    pub async fn offered(&self) -> Result<Vec<(ApiKey, i16, i16)>, ClientError> {
        let connection = self.any_connection().await?;
        let known = connection
            .offered
            .iter()
            .filter_map(|(key, (low, high))| ApiKey::from_key(*key).map(|key| (key, *low, *high)));
        Ok(known.collect())
    }

    async fn exchange<R: Request>(&self, connection: &Connection, request: &R) -> Result<R::Response, ClientError> {
        let version = connection.version::<R>(versions::cap(request))?;
        connection.call(version, request, self.inner.config.request_timeout).await
    }

    fn node_address(&self, id: i32) -> Option<String> {
        self.cluster().nodes.get(&id).cloned()
    }

    async fn node_connection(&self, id: i32) -> Result<Arc<Connection>, ClientError> {
        let address = self.node_address(id).ok_or(ClientError::UnknownNode { id })?;
        self.inner.pool.get(&address, &self.inner.config).await
    }

    /// A live connection if there is one; else to a known node, else to a bootstrap address.
    async fn any_connection(&self) -> Result<Arc<Connection>, ClientError> {
        let config = &self.inner.config;
        let mut known: Vec<String> = self.cluster().nodes.values().cloned().collect();
        if let Some(live) = self.inner.pool.live(known.iter().chain(&config.bootstrap)) {
            return Ok(live);
        }
        fastrand::shuffle(&mut known);
        known.truncate(route::NODES_TRIED_MAX);
        known.extend(config.bootstrap.iter().filter(|address| !known.contains(address)).cloned().collect::<Vec<_>>());
        let mut tried = Vec::new();
        for address in &known {
            match self.inner.pool.get(address, config).await {
                Ok(connection) => return Ok(connection),
                // Someone else's cluster under our address: trying on would only hide it.
                Err(error @ ClientError::WrongCluster { .. }) => return Err(error),
                Err(error) => tried.push(error),
            }
        }
        match tried.len() {
            1 => Err(tried.remove(0)),
            _ => Err(ClientError::NoneReachable { tried }),
        }
    }

    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.inner.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a request that was sent by [`Client::begin`].
pub struct Answer<R> {
    connection: Arc<Connection>,
    version: i16,
    begun: Begun,
    of: PhantomData<fn() -> R>,
}

impl<R: Request> Answer<R> {
    /// Waits for it.
    ///
    /// # Errors
    /// The exchange failed: whether the request took effect is not known.
    pub async fn take(self) -> Result<R::Response, ClientError> {
        let body = self.connection.answer::<R>(self.version, self.begun).await?;
        self.connection.read::<R>(self.version, body)
    }
}

impl<R> std::fmt::Debug for Answer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("version", &self.version).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("bootstrap", &self.inner.config.bootstrap).finish_non_exhaustive()
    }
}
