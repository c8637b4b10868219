//! Heartbeats, in MirrorMaker 2's bytes: written on the target only (the source may be read-only), mirrored onwards by flows that read there.

use std::sync::Arc;

use super::naming::HEARTBEATS_TOPIC;
use super::shared::FlowShared;
use crate::cluster::Admin;
use crate::cluster::heartbeats::Heartbeats;
use crate::retry::Retry;
use crate::telemetry::{events, names};

/// Writes a heartbeat on every beat until the task is dropped.
pub async fn run(shared: Arc<FlowShared>, target: Admin) {
    let flow = &shared.flow;
    let heartbeats = Heartbeats::new(target, HEARTBEATS_TOPIC, flow.from.as_str(), flow.to.as_str());
    let counter = metrics::counter!(names::HEARTBEATS, "flow" => flow.name.to_string());
    let mut retry = Retry::default();
    loop {
        let pause = match heartbeats.beat().await {
            Ok(()) => {
                counter.increment(1);
                retry.reset();
                flow.refresh.heartbeats
            }
            Err(error) => {
                let (reason, delay) = (error.to_string(), retry.delay());
                events::Retrying { flow: flow.name.as_str(), kind: "heartbeat", reason: &reason, delay }.emit();
                delay
            }
        };
        tokio::time::sleep(pause).await;
    }
}
