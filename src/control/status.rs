//! `/v1/status`, and pausing and resuming flows.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use serde::Deserialize;

use super::Admin;
use crate::core::lane::State as LaneState;
use crate::lanes::Daemon;
use crate::lanes::view::{FlowView, LaneView, StatusView};

/// Longest wait for a paused flow's last acknowledgements; below what the verbs wait for an answer.
const QUIET_MAX: Duration = Duration::from_secs(4);
/// Between two looks whether it is at rest.
const QUIET_LOOK: Duration = Duration::from_millis(20);

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

/// Body of a pause; may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PauseRequest {
    /// Answer only when nothing is in flight any more, or after a few seconds.
    wait: bool,
}

async fn pause(
    State(daemon): State<Daemon>,
    Path(name): Path<String>,
    body: Option<Json<PauseRequest>>,
) -> Result<Json<FlowView>, Refused> {
    let flow = daemon.flow(&name).ok_or_else(|| unknown(&name))?;
    flow.pause();
    if body.is_some_and(|Json(body)| body.wait) {
        let deadline = tokio::time::Instant::now() + QUIET_MAX;
        while !at_rest(&flow.view()) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(QUIET_LOOK).await;
        }
    }
    Ok(Json(flow.view()))
}

/// Every lane stands, and everything that was sent is acknowledged and written down.
fn at_rest(flow: &FlowView) -> bool {
    let rests = |lane: &LaneView| lane.settled && matches!(lane.state, LaneState::Stopped(_));
    flow.lanes.iter().all(rests)
}

async fn resume(State(daemon): State<Daemon>, Path(name): Path<String>) -> Result<Json<FlowView>, Refused> {
    let flow = daemon.flow(&name).ok_or_else(|| unknown(&name))?;
    flow.resume();
    Ok(Json(flow.view()))
}
