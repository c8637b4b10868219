//! `/v1/status`, and pausing and resuming flows.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use super::Admin;
use crate::lanes::Daemon;
use crate::lanes::view::{FlowView, StatusView};

pub(super) fn routes() -> Router<Admin> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/flows/{flow}", get(flow))
        .route("/v1/flows/{flow}/pause", post(pause))
        .route("/v1/flows/{flow}/resume", post(resume))
}

async fn status(State(daemon): State<Daemon>) -> Json<StatusView> {
    Json(daemon.status())
}

/// A refusal in words.
type Refused = (StatusCode, String);

fn unknown(name: &str) -> Refused {
    (StatusCode::NOT_FOUND, format!("there is no flow `{name}`\n"))
}

async fn flow(State(daemon): State<Daemon>, Path(name): Path<String>) -> Result<Json<FlowView>, Refused> {
    daemon.flow(&name).map(|flow| Json(flow.view())).ok_or_else(|| unknown(&name))
}

async fn pause(State(daemon): State<Daemon>, Path(name): Path<String>) -> Result<Json<FlowView>, Refused> {
    let flow = daemon.flow(&name).ok_or_else(|| unknown(&name))?;
    flow.pause();
    Ok(Json(flow.view()))
}

async fn resume(State(daemon): State<Daemon>, Path(name): Path<String>) -> Result<Json<FlowView>, Refused> {
    let flow = daemon.flow(&name).ok_or_else(|| unknown(&name))?;
    flow.resume();
    Ok(Json(flow.view()))
}
