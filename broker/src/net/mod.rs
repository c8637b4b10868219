//! Sockets: listeners, connections and their limits.

pub mod connection;
pub mod doors;
pub mod room;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::doors::{Closed, Limits};
use crate::config::Listener;
use crate::error::BrokerError;
use crate::node::Node;

/// Pause after a failed accept (out of file handles, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before `max.connection.creation.rate` is looked at again: it may have been changed.
const RATE_PAUSE_MAX: Duration = Duration::from_secs(1);
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
        let inside = loop {
            match node.doors.enter(peer.ip(), &Limits::of(&node, peer.ip())) {
                // Everybody waits where all come too fast, as in Kafka: the line forms in the system's queue.
                Err(Closed::TooFast(wait)) => {
                    let pause = Duration::from_millis(wait).min(RATE_PAUSE_MAX);
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
                outcome => break outcome,
            }
        };
        let inside = match inside {
            Ok(inside) => inside,
            Err(why) => {
                if refused.is_multiple_of(REFUSED_LOG_EVERY) {
                    tracing::warn!(%peer, listener, ?why, refused, "connection refused");
                }
                refused += 1;
                node.stats.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        };
        let (node, stop, listener) = (Arc::clone(&node), stop.clone(), listener.clone());
        tasks.spawn(async move {
            connection::run(stream, peer, listener, node, stop).await;
            drop(inside);
        });
    }
}

/// Who is at the other end.
#[derive(Debug)]
pub struct Peer {
    /// Their address.
    pub address: SocketAddr,
    /// The listener they came in by.
    pub listener: String,
    /// Until when nothing more is read from them.
    muted: Mutex<Option<Instant>>,
}

impl Peer {
    /// A peer that is listened to.
    pub fn new(address: SocketAddr, listener: String) -> Self {
        Self { address, listener, muted: Mutex::new(None) }
    }

    /// Leaves the connection unread for a while: what a client gets that uses more than its quota.
    pub fn mute(&self, wait: Duration) {
        let mut muted = self.muted.lock().unwrap_or_else(PoisonError::into_inner);
        *muted = (*muted).max(Some(Instant::now() + wait));
    }

    /// Until when nothing is to be read; none if it is to be now.
    pub fn muted_until(&self) -> Option<Instant> {
        let muted = *self.muted.lock().unwrap_or_else(PoisonError::into_inner);
        muted.filter(|until| *until > Instant::now())
    }

    /// The host as Kafka shows it in groups: a slash, then the address.
    pub fn host(&self) -> String {
        format!("/{}", self.address.ip())
    }
}
