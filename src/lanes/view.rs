//! What can be said about a flow and its lanes: the one shape that status, health and tables read.

use serde::{Deserialize, Serialize};

use crate::core::gap::Gap;
use crate::core::ids::{FlowEpoch, LaneId, SourceOffset, TargetOffset, TopicName};
use crate::core::lane::State;

/// What a flow is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reaches for its clusters.
    #[default]
    Connecting,
    /// Reads what is known of it from the target.
    Loading,
    /// Copies.
    Running,
    /// Something has to be changed by a person; looked at again and again.
    Refused,
    /// Another instance, a promote or a failover holds the flow: this one writes no more.
    Fenced,
    /// Told to stop.
    Stopping,
}

impl Phase {
    /// Its name as in the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::Loading => "loading",
            Phase::Running => "running",
            Phase::Refused => "refused",
            Phase::Fenced => "fenced",
            Phase::Stopping => "stopping",
        }
    }
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneView {
    /// Source topic, topic ID and partition.
    #[serde(flatten)]
    pub lane: LaneId,
    /// Its target topic.
    pub target_topic: TopicName,
    /// What it is doing, and why it stands if it does.
    pub state: State,
    /// What last went wrong, while it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The durable position: the next source offset that is not yet proven to be at the target.
    pub position: Option<SourceOffset>,
    /// What it covers ends here at the target.
    pub target_position: Option<TargetOffset>,
    /// The source's log start.
    pub log_start: Option<SourceOffset>,
    /// The source's high watermark.
    pub high_watermark: Option<SourceOffset>,
    /// The source's last stable offset: what can be read ends here.
    pub last_stable: Option<SourceOffset>,
    /// Offsets between the durable position and the last stable offset; an upper bound of the records not yet copied.
    pub lag_records: Option<u64>,
    /// Everything readable is copied and durable.
    pub caught_up: bool,
    /// Records sent and not yet released.
    pub in_flight_records: u64,
    /// Bytes sent and not yet released.
    pub in_flight_bytes: u64,
    /// Everything that was sent is acknowledged and written down.
    #[serde(default)]
    pub settled: bool,
    /// Tries in a row that failed.
    pub attempt: u32,
    /// Seconds since it moved or was found caught up.
    pub progress_age_seconds: f64,
}

impl LaneView {
    /// The state in one word.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match &self.state {
            State::Opening => "opening",
            State::Running => "running",
            State::Draining => "draining",
            State::Ledgering => "ledgering",
            State::BackingOff => "backing_off",
            State::Stopped(_) => "stopped",
        }
    }
}

/// A topic, or a part of one, that is not copied though the rules say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The source topic.
    pub topic: String,
    /// Why, and what to change.
    pub reason: String,
}

/// One end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndView {
    /// The cluster's label.
    pub alias: String,
    /// Its cluster.id, once it was met.
    pub cluster_id: Option<String>,
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowView {
    /// Its name.
    pub name: String,
    /// Where it reads.
    pub source: EndView,
    /// Where it writes.
    pub target: EndView,
    /// What it is doing.
    pub state: Phase,
    /// True while somebody has it paused.
    pub paused: bool,
    /// Why it does not run, or what is in its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `batch` or `record`, once it is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Why it is this engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_reason: Option<String>,
    /// `at-least-once` or `exactly-once`, once it is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// The flow epoch this process holds.
    pub epoch: Option<FlowEpoch>,
    /// The name under which it holds it.
    pub owner: Option<String>,
    /// Source topics with a lane.
    pub topics: usize,
    /// Sum over the lanes.
    pub lag_records: u64,
    /// Seconds of source writes that would be lost if the source were gone now.
    pub rpo_estimate_seconds: f64,
    /// Its lanes.
    pub lanes: Vec<LaneView>,
    /// What is not copied though the rules say so.
    pub refused: Vec<Refusal>,
    /// The gap ledger.
    pub gaps: Vec<Gap>,
    /// Records held back by loop prevention.
    pub loop_records_dropped: u64,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the daemon.
    pub version: String,
    /// When this was said, milliseconds since 1970.
    pub at_ms: i64,
    /// Seconds since the daemon started.
    pub uptime_seconds: f64,
    /// Its flows.
    pub flows: Vec<FlowView>,
}
