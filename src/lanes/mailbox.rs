//! What a pipeline is told. Bounded by nature: per lane at most one answer to a write, one opening and one command are on the way.

use std::sync::{Arc, Mutex, PoisonError};

use crate::cluster::carried::Carried;
use crate::core::ids::{LaneId, TopicName};
use crate::core::lane::{Event, Lane, Opening};

/// A message to a pipeline.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "events are most of the traffic, one per batch: a box would cost each an allocation"
)]
pub enum ToPipeline {
    /// Carry this lane, starting from what is known of it.
    Open {
        /// The lane, fresh.
        lane: Box<Lane>,
        /// Where both ends stand.
        opening: Box<Opening>,
    },
    /// Know this lane, if it is not known yet: what follows tells why it cannot be opened.
    Prepare {
        /// The lane, fresh.
        lane: Box<Lane>,
    },
    /// Tell this lane.
    Tell {
        /// The lane.
        lane: LaneId,
        /// What.
        event: Event<Carried>,
    },
    /// This target topic takes batches of so many bytes at most.
    Takes {
        /// The topic.
        target_topic: TopicName,
        /// Bytes.
        bytes_max: usize,
    },
    /// Read no more, let what is on its way land, then end.
    Stop,
    /// Somebody else holds the flow: drop everything at once and tell every lane (L6).
    Fence {
        /// What showed it.
        reason: String,
    },
}

/// Where messages to one pipeline wait.
#[derive(Debug, Clone, Default)]
pub struct Mailbox {
    messages: Arc<Mutex<Vec<ToPipeline>>>,
}

impl Mailbox {
    /// Leaves a message.
    pub fn send(&self, message: ToPipeline) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }

    /// Takes all messages, oldest first.
    #[must_use]
    pub fn take(&self) -> Vec<ToPipeline> {
        std::mem::take(&mut *self.messages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
