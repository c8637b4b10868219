//! Group following, beside the lanes: for each flow that runs, a follower with its own view of the progress topic.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Admin;
use crate::cluster::progress_topic::now_ms;
use crate::core::groups::GroupState;
use crate::groups::{
    GroupError,
    follow::Follower,
    place::{Holder, PlacedGroup},
};
use crate::lanes::{Connected, Daemon, FlowShared};
use crate::telemetry::names;

/// After a beat that failed, the next one comes after this long, and never later than the usual interval.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest a beat may take: a cluster that hangs must not hide behind a beat that never ends.
const BEAT_DURATION_MAX: Duration = Duration::from_secs(60);

/// What the newest beat of a flow found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct GroupsView {
    /// When the newest beat that worked ended, milliseconds since 1970.
    pub at_ms: Option<i64>,
    /// Why the newest beat did not work, if so.
    pub error: Option<String>,
    /// Every followed group.
    pub groups: Vec<PlacedGroup>,
}

/// What is known of the groups of every flow.
#[derive(Debug, Clone, Default)]
pub struct GroupBoard {
    flows: Arc<Mutex<BTreeMap<String, GroupsView>>>,
}

impl GroupBoard {
    /// Begins to follow the groups of every flow of this daemon, until it stops.
    #[must_use]
    pub fn start(daemon: &Daemon) -> Self {
        let board = GroupBoard::default();
        for flow in daemon.flows().iter().filter(|flow| !flow.flow.groups.is_empty()) {
            tokio::spawn(follow_flow(Arc::clone(flow), board.clone(), daemon.stopping()));
        }
        board
    }

    /// What is known of a flow's groups.
    #[must_use]
    pub fn view(&self, flow: &str) -> GroupsView {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).get(flow).cloned().unwrap_or_default()
    }

    fn put(&self, flow: &str, outcome: Result<Vec<PlacedGroup>, String>) {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let view = flows.entry(flow.to_owned()).or_default();
        match outcome {
            Ok(groups) => *view = GroupsView { at_ms: Some(now_ms()), error: None, groups },
            Err(error) => view.error = Some(error),
        }
    }
}

pub(super) fn routes() -> Router<Admin> {
    Router::new().route("/v1/flows/{flow}/groups", get(show))
}

async fn show(State(admin): State<Admin>, Path(flow): Path<String>) -> Result<Json<GroupsView>, (StatusCode, String)> {
    match admin.daemon.flow(&flow) {
        Some(_) => Ok(Json(admin.groups.view(&flow))),
        None => Err((StatusCode::NOT_FOUND, format!("there is no flow `{flow}`\n"))),
    }
}

/// Follows while the flow runs; begins anew with every new hold of it.
async fn follow_flow(flow: Arc<FlowShared>, board: GroupBoard, stop: CancellationToken) {
    let mut watch = flow.watch();
    loop {
        let connected = watch.borrow_and_update().clone();
        let followed = async {
            match connected {
                Some(connected) => follow(&flow, connected, &board).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = watch.changed() => if changed.is_err() { return },
            () = followed => return,
        }
    }
}

/// Beats until somebody else holds the flow.
async fn follow(flow: &FlowShared, connected: Connected, board: &GroupBoard) {
    let name = flow.flow.name.as_str();
    let mut follower = None;
    let mut worked_at = Instant::now();
    loop {
        let beat = async {
            let open = match follower.take() {
                Some(open) => open,
                None => open_follower(flow, &connected).await?,
            };
            follower.insert(open).beat().await
        };
        let outcome = match tokio::time::timeout(BEAT_DURATION_MAX, beat).await {
            Ok(outcome) => outcome.map_err(|error| (fenced(&error), error.to_string())),
            Err(_) => Err((false, format!("a beat took longer than {} s", BEAT_DURATION_MAX.as_secs()))),
        };
        let mut wait = follower.as_ref().map_or(RETRY_AFTER, Follower::interval);
        match outcome {
            Ok(groups) => {
                worked_at = Instant::now();
                board.put(name, Ok(groups));
            }
            Err((fenced, error)) => {
                tracing::warn!(flow = name, error, "group positions not followed");
                board.put(name, Err(error));
                if fenced {
                    return;
                }
                wait = wait.min(RETRY_AFTER);
            }
        }
        report(name, &board.view(name), worked_at);
        tokio::time::sleep(wait).await;
    }
}

async fn open_follower(flow: &FlowShared, connected: &Connected) -> Result<Follower, GroupError> {
    let holder = Holder { epoch: connected.epoch, owner: connected.owner.clone() };
    let (source, target) = (connected.source.clone(), connected.target.clone());
    Follower::open(flow.flow.clone(), source, target, (holder, connected.pen.clone())).await
}

fn fenced(error: &GroupError) -> bool {
    matches!(error, GroupError::Progress(crate::cluster::progress_topic::ProgressError::Fenced { .. }))
}

fn report(flow: &str, view: &GroupsView, worked_at: Instant) {
    let flow = flow.to_owned();
    metrics::gauge!(names::CHECKPOINT_AGE, "flow" => flow.clone()).set(worked_at.elapsed().as_secs_f64());
    for state in [GroupState::Following, GroupState::Parked, GroupState::LiveHere, GroupState::Conflict] {
        let count = view.groups.iter().filter(|group| group.state == state).count();
        metrics::gauge!(names::GROUPS, "flow" => flow.clone(), "state" => state.name()).set(count as f64);
    }
}
