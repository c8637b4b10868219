//! The one writer of a flow's progress topic: gathers what lanes ask for, writes it while the flow is ours, and answers when it is durable and read back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::cache::CacheHandle;
use super::mailbox::{Mailbox, ToPipeline};
use super::shared::FlowShared;
use crate::cluster::progress_topic::{ProgressError, ProgressTopic};
use crate::core::ids::{FlowEpoch, LaneId};
use crate::core::lane::Event;
use crate::core::progress::Record;
use crate::retry::Retry;
use crate::telemetry::{events, names};

/// Between two writes: many acknowledgements become one record per lane, and a position is at most this much older than its acknowledgement.
const BEAT: Duration = Duration::from_millis(50);
/// Between two looks whether an idle flow is still ours: a paused instance must know before somebody resumes it.
const HOLD_LOOK: Duration = Duration::from_secs(1);
/// Lanes that may wait for the writer; a pipeline that finds it full asks again on its next turn.
pub const ASKS_MAX: usize = 4_096;
/// Lanes answered by one write: bounds a write to a few MB.
const ASKS_PER_WRITE_MAX: usize = 1_024;

/// What a lane wants written.
#[derive(Debug)]
pub struct Ask {
    /// The lane.
    pub lane: LaneId,
    /// Comes back with `Durable`.
    pub ticket: u64,
    /// What to write, in this order.
    pub records: Vec<Record>,
    /// Who is answered.
    pub reply: Mailbox,
}

/// Who writes.
#[derive(Debug, Clone)]
pub struct Hold {
    /// The epoch claimed.
    pub epoch: FlowEpoch,
    /// Under this name.
    pub owner: String,
}

/// Writes until the askers are gone, or the flow is not ours any more.
pub async fn run(
    mut topic: ProgressTopic,
    mut store: CacheHandle,
    hold: Hold,
    mut asks: mpsc::Receiver<Ask>,
    shared: Arc<FlowShared>,
) {
    let mut retry = Retry::default();
    loop {
        let first = match tokio::time::timeout(HOLD_LOOK, asks.recv()).await {
            Ok(Some(first)) => first,
            Ok(None) => return,
            Err(_) => {
                // nothing to write: whether the flow is still ours is asked all the same, before the next record is sent
                if let Err(error @ ProgressError::Fenced { .. }) = still_held(&mut topic, &hold).await {
                    return shared.fence(&error.to_string());
                }
                store.note(topic.take_journal(), topic.next_offset());
                continue;
            }
        };
        let began = Instant::now();
        let mut batch = vec![first];
        while batch.len() < ASKS_PER_WRITE_MAX {
            let Ok(ask) = asks.try_recv() else { break };
            batch.push(ask);
        }
        loop {
            match write(&mut topic, &hold, &batch).await {
                Ok(()) => {
                    retry.reset();
                    shared.set_reason(None);
                    store.note(topic.take_journal(), topic.next_offset());
                    break;
                }
                Err(error @ ProgressError::Fenced { .. }) => {
                    shared.fence(&error.to_string());
                    return;
                }
                Err(error) => {
                    let delay = retry.delay();
                    shared.set_reason(Some(error.to_string()));
                    let flow = shared.flow.name.to_string();
                    events::Retrying { flow: &flow, kind: "progress", reason: &error.to_string(), delay }.emit();
                    tokio::time::sleep(delay).await;
                }
            }
        }
        metrics::histogram!(names::STORE_COMMIT, "flow" => shared.flow.name.to_string())
            .record(began.elapsed().as_secs_f64());
        for ask in batch {
            ask.reply.send(ToPipeline::Tell { lane: ask.lane, event: Event::Durable { ticket: ask.ticket } });
        }
        tokio::time::sleep(BEAT.saturating_sub(began.elapsed())).await;
    }
}

/// Writes and reads back: what is answered as durable is what everybody else will read.
async fn write(topic: &mut ProgressTopic, hold: &Hold, batch: &[Ask]) -> Result<(), ProgressError> {
    let records: Vec<Record> = batch.iter().flat_map(|ask| ask.records.iter().cloned()).collect();
    topic.append(hold.epoch, &hold.owner, &records).await?;
    still_held(topic, hold).await
}

/// Reads on to the end of the topic, and looks who holds the flow there.
async fn still_held(topic: &mut ProgressTopic, hold: &Hold) -> Result<(), ProgressError> {
    topic.catch_up().await?;
    if topic.state().is_held_by(hold.epoch, &hold.owner) {
        return Ok(());
    }
    // somebody took the flow between our look and our write: ours may count for nothing
    let (holder, held) =
        topic.state().holder().map_or_else(Default::default, |claim| (claim.owner.clone(), claim.epoch));
    Err(ProgressError::Fenced { holder, held, ours: hold.epoch })
}
