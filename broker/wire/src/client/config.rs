//! Settings of a client.

use super::ClientError;
use std::time::Duration;

/// Kafka's default for `socket.request.max.bytes` and for fetch sizes stays below this.
const MAX_RESPONSE_BYTES: usize = 100 << 20;
/// A port that is open answers in milliseconds, also across an ocean.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Kafka's own default for clients.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// More than these would only queue inside the broker, which serves one request of a connection at a time.
const IN_FLIGHT_MAX: usize = 32;

/// How to reach a cluster, and what to expect of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Addresses to start from, each `host:port` (`[v6]:port` for IPv6).
    pub bootstrap: Vec<String>,
    /// What the client calls itself in requests.
    pub client_id: String,
    /// Longest wait for a TCP connection, name look-up included, and for the greeting on it.
    pub connect_timeout: Duration,
    /// Longest wait for an answer; the connection is given up after it.
    pub request_timeout: Duration,
    /// Largest answer that is read, in bytes.
    pub max_response_bytes: usize,
    /// Most requests of one connection that wait for their answers; at least 1.
    pub in_flight_max: usize,
    /// The only cluster to talk to; none accepts the first one met, and then no other.
    pub expected_cluster_id: Option<String>,
}

impl ClientConfig {
    /// Settings for these addresses, all others at their defaults.
    pub fn new<S: Into<String>>(bootstrap: impl IntoIterator<Item = S>) -> Self {
        Self { bootstrap: bootstrap.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        if self.bootstrap.is_empty() {
            return Err(ClientError::Config("no bootstrap address".to_owned()));
        }
        for address in &self.bootstrap {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if !port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0)) {
                return Err(ClientError::Config(format!("bootstrap address {address:?} is not host:port")));
            }
        }
        Ok(())
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            client_id: "causeway".to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            max_response_bytes: MAX_RESPONSE_BYTES,
            in_flight_max: IN_FLIGHT_MAX,
            expected_cluster_id: None,
        }
    }
}
