//! `causeway flow list|describe|pause|resume`: the flows of a running daemon.
use clap::Subcommand;

use super::{
    AdminArgs, Exit, Out, http,
    out::table,
    status::{flow_table, troubles},
};
use crate::lanes::view::{FlowView, LaneView, StatusView};

/// What to do with flows.
#[derive(Debug, Subcommand)]
pub enum FlowVerb {
    /// One line per flow
    List(AdminArgs),
    /// A flow with all its lanes and gaps
    Describe(OneFlow),
    /// Stop copying a flow; what is in flight lands and is written down first
    Pause(OneFlow),
    /// Go on copying; lanes that stand before a gap accept it
    Resume(OneFlow),
}

/// A flow of a daemon.
#[derive(Debug, clap::Args)]
pub struct OneFlow {
    /// The flow
    flow: String,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the verb.
///
/// # Errors
/// No daemon answers, or it has no such flow.
pub fn run(verb: FlowVerb, out: &Out) -> anyhow::Result<Exit> {
    match verb {
        FlowVerb::List(admin) => {
            let view: StatusView = http::get(&admin.admin, "/v1/status")?;
            out.show(&view.flows, |flows| flow_table(flows))?;
        }
        FlowVerb::Describe(one) => {
            let view: FlowView = http::get(&one.admin.admin, &format!("/v1/flows/{}", one.flow))?;
            out.show(&view, describe)?;
        }
        FlowVerb::Pause(one) => tell(&one, "pause", &serde_json::json!({ "wait": true }), out)?,
        FlowVerb::Resume(one) => tell(&one, "resume", &serde_json::json!({}), out)?,
    }
    Ok(Exit::Fine)
}

fn tell(one: &OneFlow, what: &str, body: &serde_json::Value, out: &Out) -> anyhow::Result<()> {
    let answer: serde_json::Value = http::post(&one.admin.admin, &format!("/v1/flows/{}/{what}", one.flow), body)?;
    out.show(&answer, |_| vec![format!("flow {}: {what}d", one.flow)])
}

fn describe(flow: &FlowView) -> Vec<String> {
    let mut lines = flow_table(std::slice::from_ref(flow));
    lines.push(String::new());
    let rows: Vec<Vec<String>> = flow.lanes.iter().map(lane_row).collect();
    lines.extend(table(&["LANE", "TARGET", "STATE", "POSITION", "AT TARGET", "SOURCE END", "LAG"], &rows));
    if !flow.gaps.is_empty() {
        let gap = |gap: &crate::core::gap::Gap| {
            vec![gap.lane.to_string(), gap.range.to_string(), gap.cause.name().to_owned(), gap.passed.to_string()]
        };
        lines.push(String::new());
        lines.extend(table(&["GAP IN", "OFFSETS", "CAUSE", "PASSED"], &flow.gaps.iter().map(gap).collect::<Vec<_>>()));
    }
    lines.extend(troubles(flow));
    lines
}

fn lane_row(lane: &LaneView) -> Vec<String> {
    fn or_unknown<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "?".to_owned(), |value| value.to_string())
    }
    vec![
        lane.lane.to_string(),
        lane.target_topic.to_string(),
        lane.state_name().to_owned(),
        or_unknown(lane.position),
        or_unknown(lane.target_position),
        or_unknown(lane.last_stable),
        or_unknown(lane.lag_records),
    ]
}
