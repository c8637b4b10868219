//! Batches wait here until the leader has said, after they were read, that the topic is still the one they were read for. librdkafka reads on by
//! name when a topic is deleted and made anew, and what it brings then must not be appended to the copy of the old one (F10). Nothing waits
//! longer than one round trip: everything read before a question is released by its answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use super::Records;
use crate::cluster::Admin;
use crate::cluster::offsets::Partition;
use crate::core::batch::Batch;
use crate::core::ids::TopicId;

/// Bytes that may wait; past it the source is not read. A few round trips of 100 ms at 1 Gbit/s.
const WAITING_BYTES_MAX: u64 = 32 << 20;

type Answer = (Instant, BTreeMap<Partition, Option<TopicId>>);

/// What became of a batch.
pub(super) enum Confirmed {
    /// It is of the topic it was read for.
    Same(Batch<Records>),
    /// The topic is another one now, or gone: the batch is dropped.
    Other(Batch<Records>, Option<TopicId>),
}

pub(super) struct Confirm {
    admin: Admin,
    runtime: tokio::runtime::Handle,
    waiting: VecDeque<(Instant, Batch<Records>)>,
    bytes: u64,
    asking: bool,
    answers: (SyncSender<Answer>, Receiver<Answer>),
}

impl Confirm {
    pub fn new(admin: Admin, runtime: tokio::runtime::Handle) -> Self {
        // one question at a time, so one answer at most waits
        Confirm { admin, runtime, waiting: VecDeque::new(), bytes: 0, asking: false, answers: sync_channel(1) }
    }

    pub fn is_full(&self) -> bool {
        self.bytes > WAITING_BYTES_MAX
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether batches of this partition wait.
    pub fn has(&self, (topic, partition): &Partition) -> bool {
        let of = |batch: &Batch<Records>| batch.lane.topic().as_str() == topic && batch.lane.partition.0 == *partition;
        self.waiting.iter().any(|(_, batch)| of(batch))
    }

    pub fn push(&mut self, batch: Batch<Records>) {
        self.bytes += batch.summary.bytes;
        self.waiting.push_back((Instant::now(), batch));
        self.ask();
    }

    fn ask(&mut self) {
        if self.asking || self.waiting.is_empty() {
            return;
        }
        self.asking = true;
        let key = |batch: &Batch<Records>| (batch.lane.topic().as_str().to_owned(), batch.lane.partition.0);
        let wanted: BTreeSet<Partition> = self.waiting.iter().map(|(_, batch)| key(batch)).collect();
        let wanted: Vec<Partition> = wanted.into_iter().collect();
        let (admin, answers, asked) = (self.admin.clone(), self.answers.0.clone(), Instant::now());
        self.runtime.spawn(async move {
            // no answer releases nothing: it is asked again
            let ids = admin.topic_ids(&wanted).await.unwrap_or_default();
            let _gone = answers.try_send((asked, ids));
        });
    }

    /// What the last answer decided, in the order of reading.
    pub fn take(&mut self) -> Vec<Confirmed> {
        let Ok((asked, ids)) = self.answers.1.try_recv() else { return Vec::new() };
        self.asking = false;
        let mut decided = Vec::new();
        let mut kept = VecDeque::new();
        for (read, batch) in self.waiting.drain(..) {
            let key = (batch.lane.topic().as_str().to_owned(), batch.lane.partition.0);
            match ids.get(&key) {
                Some(Some(id)) if read <= asked && id.may_be(batch.lane.generation.id) => {
                    self.bytes -= batch.summary.bytes;
                    decided.push(Confirmed::Same(batch));
                }
                Some(Some(id)) if !id.may_be(batch.lane.generation.id) => {
                    self.bytes -= batch.summary.bytes;
                    decided.push(Confirmed::Other(batch, Some(*id)));
                }
                // the leader knows no such topic: gone, or not known to it yet; the ends board tells when it is gone for good
                _ => kept.push_back((read, batch)),
            }
        }
        self.waiting = kept;
        self.ask();
        decided
    }
}
