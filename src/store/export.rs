//! Offset maps as lists, for people and other tools.
use serde::Serialize;

use crate::core::{offset_map::Run, progress::LaneState};

/// One run of one lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The source topic.
    pub topic: String,
    /// Its topic ID.
    pub topic_id: String,
    /// The partition.
    pub partition: i32,
    /// The target topic.
    pub target_topic: String,
    /// First source offset of the run.
    pub source_first: i64,
    /// Last source offset of the run.
    pub source_last: i64,
    /// Where the first one landed.
    pub target_first: i64,
}

/// The runs of these lanes, in their order.
pub fn rows<'a>(lanes: impl Iterator<Item = &'a LaneState>) -> impl Iterator<Item = Row> {
    lanes.flat_map(|state| state.map().runs().iter().map(move |run| row(state, run)))
}

fn row(state: &LaneState, run: &Run) -> Row {
    let lane = state.lane();
    Row {
        topic: lane.topic().to_string(),
        topic_id: lane.generation.id.to_string(),
        partition: lane.partition.0,
        target_topic: state.target_topic().to_string(),
        source_first: run.source_first.get(),
        source_last: run.source_last.get(),
        target_first: run.target_first.get(),
    }
}

/// As CSV with a header line. Topic names hold nothing that would need quotes.
#[must_use]
pub fn csv(rows: impl Iterator<Item = Row>) -> String {
    let mut out = String::from("topic,topic_id,partition,target_topic,source_first,source_last,target_first\n");
    for row in rows {
        let Row { topic, topic_id, partition, target_topic, source_first, source_last, target_first } = row;
        out.push_str(&format!(
            "{topic},{topic_id},{partition},{target_topic},{source_first},{source_last},{target_first}\n"
        ));
    }
    out
}

/// As a JSON array.
///
/// # Errors
/// None in practice: rows are strings and numbers.
pub fn json(rows: impl Iterator<Item = Row>) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&rows.collect::<Vec<_>>())
}
