//! The admin endpoint: health, metrics, status and commands over HTTP, on this machine unless told otherwise.

mod groups;
mod health;
mod status;

pub use groups::{GroupBoard, GroupsView};

use std::net::SocketAddr;

use axum::Router;
use axum::extract::FromRef;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::lanes::Daemon;

/// What handlers see.
#[derive(Clone)]
pub struct Admin {
    /// The daemon.
    pub daemon: Daemon,
    /// What is known of the groups.
    pub groups: GroupBoard,
    /// Renders the metrics page.
    pub metrics: PrometheusHandle,
}

impl FromRef<Admin> for Daemon {
    fn from_ref(admin: &Admin) -> Self {
        admin.daemon.clone()
    }
}

impl FromRef<Admin> for PrometheusHandle {
    fn from_ref(admin: &Admin) -> Self {
        admin.metrics.clone()
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Every route.
pub fn router(admin: Admin) -> Router {
    Router::new().merge(health::routes()).merge(status::routes()).merge(groups::routes()).with_state(admin)
}

/// Binds the endpoint; port 0 lets the system choose.
///
/// # Errors
/// The address is taken or not ours: named in the error.
pub async fn bind(listen: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|error| std::io::Error::new(error.kind(), format!("admin.listen = {listen}: {error}")))
}

/// Serves until the daemon stops.
///
/// # Errors
/// The listener broke.
pub async fn serve(listener: tokio::net::TcpListener, admin: Admin) -> std::io::Result<()> {
    let stopping = admin.daemon.stopping();
    axum::serve(listener, router(admin)).with_graceful_shutdown(stopping.cancelled_owned()).await
}
