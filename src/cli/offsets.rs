//! `causeway offsets translate`: where a position of one side is on the other. From the configuration and the target alone.
use clap::Subcommand;
use serde::Serialize;

use super::{
    Exit, Out,
    out::table,
    reach::{self, FlowArgs},
};
use crate::core::{
    ids::{PartitionId, SourceOffset, TargetOffset, TopicName},
    offset_map::Exactness,
    progress::{LaneState, Progress},
};
use crate::groups::place::lane_of;

/// What to do with offsets.
#[derive(Debug, Subcommand)]
pub enum OffsetsVerb {
    /// Translate an offset of the source to the target, or back
    Translate(TranslateArgs),
}

/// Arguments of `offsets translate`.
#[derive(Debug, clap::Args)]
pub struct TranslateArgs {
    #[command(flatten)]
    flow: FlowArgs,
    /// The topic, by its name on the source
    #[arg(short, long)]
    topic: String,
    /// The partition
    #[arg(short, long, default_value_t = 0)]
    partition: i32,
    /// An offset of the source, to be translated to the target (repeatable)
    #[arg(short, long, visible_alias = "offset", value_name = "OFFSET", required_unless_present = "target")]
    source: Vec<i64>,
    /// An offset of the target, to be translated back to the source (repeatable)
    #[arg(long, value_name = "OFFSET")]
    target: Vec<i64>,
}

/// One translation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Translated {
    /// The topic on the source.
    pub topic: TopicName,
    /// The topic on the target.
    pub target_topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The source offset: asked for, or the answer.
    pub source: SourceOffset,
    /// The target offset: asked for, or the answer.
    pub target: TargetOffset,
    /// Which way: `source-to-target` or `target-to-source`.
    pub direction: &'static str,
    /// How exact the answer is.
    pub exactness: Exactness,
    /// Whether resuming there neither skips nor repeats a record.
    pub exact: bool,
}

/// Runs the verb.
///
/// # Errors
/// A wrong configuration, an unreachable target, a partition that was never mirrored.
pub async fn run(verb: OffsetsVerb, out: &Out) -> anyhow::Result<Exit> {
    let OffsetsVerb::Translate(args) = verb;
    let (config, flow) = args.flow.load()?;
    let ends = reach::connect(&config, &flow).await?;
    let progress = reach::progress(&ends).await?;
    let topic = TopicName::new(&args.topic);
    let id = match &ends.source {
        Ok(source) => source.topic(&args.topic).await.ok().flatten().map(|info| info.id),
        Err(_) => None,
    };
    let Some(lane) = lane_of(progress.state(), &topic, PartitionId(args.partition), id) else {
        anyhow::bail!("flow {}: {}-{} was never mirrored", flow.name, args.topic, args.partition);
    };
    let answers = translate(progress.state(), lane, &args.source, &args.target);
    out.show(&answers, |answers| lines(answers))?;
    Ok(Exit::Fine)
}

fn translate(progress: &Progress, lane: &LaneState, sources: &[i64], targets: &[i64]) -> Vec<Translated> {
    let answer = |source, target, direction, exactness: Exactness| Translated {
        topic: lane.lane().topic().clone(),
        target_topic: lane.target_topic().clone(),
        partition: lane.lane().partition,
        source,
        target,
        direction,
        exactness,
        exact: exactness.is_exact(),
    };
    let forth = sources.iter().map(|&offset| {
        let source = SourceOffset(offset);
        let found = progress.translate(lane, source);
        answer(source, found.offset, "source-to-target", found.exactness)
    });
    let back = targets.iter().map(|&offset| {
        let target = TargetOffset(offset);
        let found = lane.map().translate_back(target);
        answer(found.offset, target, "target-to-source", found.exactness)
    });
    forth.chain(back).collect()
}

fn lines(answers: &[Translated]) -> Vec<String> {
    let rows: Vec<Vec<String>> = answers
        .iter()
        .map(|a| {
            vec![
                format!("{}-{}", a.topic, a.partition),
                a.source.to_string(),
                if a.direction == "source-to-target" { "->" } else { "<-" }.to_owned(),
                a.target.to_string(),
                words(a.exactness),
            ]
        })
        .collect();
    table(&["PARTITION", "SOURCE", "", "TARGET", "EXACTNESS"], &rows)
}

fn words(exactness: Exactness) -> String {
    match exactness {
        Exactness::Exact => "exact".to_owned(),
        Exactness::NextKept => "exact: the offset holds no copied record, this is the next one".to_owned(),
        Exactness::AtEnd => "exact: the end of what is copied".to_owned(),
        Exactness::BeyondEnd { missing } => format!("the end of what is copied; {missing} offsets are not copied yet"),
        Exactness::ClampedBelow => "below what the map still knows: clamped to its start".to_owned(),
    }
}
