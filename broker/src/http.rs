//! `/livez`, `/readyz`, `/metrics` over HTTP, where `causeway.http.listen` says; nowhere unless it does.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::error::BrokerError;
use crate::node::Node;

/// What Prometheus reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Opens the endpoint's port; port 0 lets the system choose.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BrokerError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => BrokerError::PortBusy { address: address.to_string() },
        _ => BrokerError::Bind { address: address.to_string(), source },
    })
}

/// Serves until `stop`.
pub async fn serve(socket: TcpListener, node: Arc<Node>, stop: CancellationToken) {
    let view = View { node, stop: stop.clone() };
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(view);
    let served = axum::serve(socket, router).with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the http endpoint ended");
    }
}

#[derive(Clone)]
struct View {
    node: Arc<Node>,
    stop: CancellationToken,
}

/// 200 while requests are served; else 503 and why.
async fn ready(State(view): State<View>) -> impl IntoResponse {
    if view.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match view.node.logs.health() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}

async fn metrics(State(view): State<View>) -> impl IntoResponse {
    let page = tokio::task::spawn_blocking(move || crate::metrics_page::render(&view.node)).await;
    match page {
        Ok(page) => Ok(([(CONTENT_TYPE, TEXT_FORMAT)], page)),
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}
