//! Sockets: listeners, connections and their limits.

pub mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Listener;
use crate::error::BrokerError;
use crate::node::Node;

/// Connections at once unless `max.connections` says less: each costs two tasks and some kilobytes.
const CONNECTIONS_MAX: usize = 20_000;
/// Pause after a failed accept (out of file handles, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// At most one line a so many refused connections: an attacker must not fill the log.
const REFUSED_LOG_EVERY: usize = 1_000;

/// Opens a listener.
pub async fn bind(listener: &Listener) -> Result<TcpListener, BrokerError> {
    let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
    let address = format!("{host}:{}", listener.port);
    TcpListener::bind((host, listener.port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BrokerError::PortBusy { address },
        _ => BrokerError::Bind { address, source },
    })
}

/// Accepts until `stop`; each connection is a task of `tasks`.
pub async fn serve(
    socket: TcpListener,
    listener: String,
    node: Arc<Node>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let open = Arc::new(AtomicUsize::new(0));
    let mut refused = 0usize;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, listener, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let limit = usize::try_from(node.broker_number("max.connections")).unwrap_or(0).min(CONNECTIONS_MAX);
        if open.load(Ordering::Relaxed) >= limit {
            if refused.is_multiple_of(REFUSED_LOG_EVERY) {
                tracing::warn!(%peer, listener, limit, "connection refused: too many are open");
            }
            refused += 1;
            continue;
        }
        open.fetch_add(1, Ordering::Relaxed);
        let guard = OpenConnection(Arc::clone(&open));
        let (node, stop, listener) = (Arc::clone(&node), stop.clone(), listener.clone());
        tasks.spawn(async move {
            connection::run(stream, peer, listener, node, stop).await;
            drop(guard);
        });
    }
}

struct OpenConnection(Arc<AtomicUsize>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Their address.
    pub address: SocketAddr,
    /// The listener they came in by.
    pub listener: String,
}

impl Peer {
    /// The host as Kafka shows it in groups: a slash, then the address.
    pub fn host(&self) -> String {
        format!("/{}", self.address.ip())
    }
}
