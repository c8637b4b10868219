//! `/livez`, `/readyz`, `/metrics`.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use super::Admin;
use crate::lanes::Daemon;
use crate::telemetry::names;

/// A lane that neither moves nor is caught up for this long makes the daemon unready (L8: visible within 30 s).
const PROGRESS_AGE_MAX: Duration = Duration::from_secs(25);
/// What Prometheus reads.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes() -> Router<Admin> {
    Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).route("/metrics", get(metrics))
}

/// 200 when every flow runs and every lane moves or is caught up; else 503 and who does not, one a line.
async fn ready(State(daemon): State<Daemon>) -> impl IntoResponse {
    let stuck: Vec<String> = daemon.flows().iter().flat_map(|flow| flow.stuck(PROGRESS_AGE_MAX)).collect();
    match stuck.is_empty() {
        true => (StatusCode::OK, "ok\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, stuck.join("\n") + "\n"),
    }
}

async fn metrics(State(handle): State<PrometheusHandle>, State(daemon): State<Daemon>) -> impl IntoResponse {
    for flow in daemon.flows() {
        let view = flow.view();
        metrics::gauge!(names::RPO_ESTIMATE, "flow" => view.name).set(view.rpo_estimate_seconds);
    }
    handle.run_upkeep();
    ([(CONTENT_TYPE, TEXT_FORMAT)], handle.render())
}
