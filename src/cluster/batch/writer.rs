//! A lane at the sink: what waits, what is on its way, under which producer it writes. Pure bookkeeping: no connection, no task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use causeway_wire::client::ProducerId;

use super::budget::Hold;
use super::fence::Place;
use super::piece::{Piece, Pieces};
use super::tail::Tail;
use crate::cluster::pen::sequence_after;
use crate::core::batch::{Session, SourceRange};
use crate::core::ids::{LaneId, SourceOffset, TargetOffset, TopicId};
use crate::core::offset_map::{Run, push_run};
use crate::core::origins::Born;

/// A batch smaller than this costs more by itself than its records do.
const TINY_BYTES: usize = 4 << 10;
/// So many tiny batches in a row are worth being made one.
const GROUP_MIN: usize = 4;
/// Most batches made one.
const GROUP_MAX: usize = 512;
/// Bytes of batches made one, as they came: what they are unpacked stays small too.
const GROUP_BYTES_MAX: usize = 64 << 10;

/// Whether a lane may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Older writers are not kept out yet: the first batch asks for that.
    Open,
    /// The fence is being raised.
    Fencing,
    /// It writes.
    Ready,
    /// Something failed: nothing more is written until the next reset.
    Failed,
}

/// A batch of which every record has to be answered for.
#[derive(Debug)]
struct Pending {
    number: u64,
    session: Session,
    range: SourceRange,
    /// Pieces not answered yet.
    left: usize,
    runs: Vec<Run>,
    /// Given back when everything is answered.
    _hold: Option<Hold>,
    _counted: Counted,
}

/// Counts a batch as long as it is not answered.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A piece that waits, of batch `number`, without the records at `skip`.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub number: u64,
    pub piece: Piece,
    pub skip: Vec<SourceOffset>,
}

/// A batch that is answered for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub session: Session,
    pub range: SourceRange,
    pub runs: Vec<Run>,
}

/// Where records come from; `None`: from the source itself.
pub(super) type Origin = Option<Arc<Born>>;

/// A producer for the records of one origin.
#[derive(Debug)]
struct Signer {
    origin: Origin,
    producer: ProducerId,
    next_sequence: i32,
}

impl Signer {
    fn new(origin: Origin) -> Self {
        Signer { origin, producer: ProducerId { id: -1, epoch: -1 }, next_sequence: 0 }
    }
}

fn is_of(signer: &Signer, born: Option<&Arc<Born>>) -> bool {
    signer.origin.as_ref().map(|born| &born.cluster) == born.map(|born| &born.cluster)
}

#[derive(Debug)]
pub(super) struct Writer {
    pub id: LaneId,
    pub topic: String,
    pub topic_id: TopicId,
    pub session: Session,
    pub phase: Phase,
    pub leader: Option<i32>,
    /// It stands in the queue of its leader's courier, or that one has it in hand.
    pub in_hand: bool,
    pub queue: VecDeque<Queued>,
    pub tail: Tail,
    /// The largest batch that the target takes.
    pub bytes_max: usize,
    /// Where the lane is written down up to.
    from: TargetOffset,
    /// Behind everything that was answered for in this session.
    answered: TargetOffset,
    /// A producer per origin of records, that of the source first.
    signers: Vec<Signer>,
    /// Which of them the pieces on their way are of: all of the same one, so that what comes after them cannot overtake them.
    signer: usize,
    /// Pieces on their way.
    sent: usize,
    pending: VecDeque<Pending>,
    /// Batches not answered, over all lanes of the sink.
    unanswered: Arc<AtomicUsize>,
    numbers: u64,
}

impl Writer {
    pub fn new(id: LaneId, topic: String, topic_id: TopicId, bytes_max: usize, unanswered: Arc<AtomicUsize>) -> Self {
        Writer {
            id,
            topic,
            topic_id,
            session: Session(0),
            phase: Phase::Failed,
            leader: None,
            in_hand: false,
            queue: VecDeque::new(),
            tail: Tail::default(),
            bytes_max,
            from: TargetOffset::ZERO,
            answered: TargetOffset::ZERO,
            signers: vec![Signer::new(None)],
            signer: 0,
            sent: 0,
            pending: VecDeque::new(),
            unanswered,
            numbers: 0,
        }
    }

    /// Forgets everything; what is written next comes behind `from`.
    pub fn reset(&mut self, session: Session, from: TargetOffset) {
        self.clear();
        (self.session, self.from, self.answered, self.phase) = (session, from, from, Phase::Open);
        self.tail = Tail::default();
    }

    /// Drops what waits and is on its way.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.pending.clear();
        self.sent = 0;
    }

    /// From now on it writes under these producers, one per origin, behind what had landed.
    pub fn fenced(&mut self, producers: &[ProducerId], tail: Tail) {
        for (signer, producer) in self.signers.iter_mut().zip(producers) {
            (signer.producer, signer.next_sequence) = (*producer, 0);
        }
        (self.tail, self.phase) = (tail, Phase::Ready);
    }

    pub fn place(&self) -> Place {
        Place { topic: self.topic.clone(), partition: self.id.partition.0, from: self.from.max(self.answered) }
    }

    /// The origins that it needs a producer for.
    pub fn origins(&self) -> Vec<Origin> {
        self.signers.iter().map(|signer| signer.origin.clone()).collect()
    }

    /// Makes the producer of the next piece the one to write under. `false`: not while others are on their way. A new origin asks for a fence first.
    pub fn turn(&mut self) -> bool {
        let Some(next) = self.queue.front() else { return false };
        let born = next.piece.born.as_ref();
        if self.signs(born) {
            return true;
        }
        if self.sent > 0 {
            return false;
        }
        self.signer = self.signers.iter().position(|signer| is_of(signer, born)).unwrap_or(self.signers.len());
        if self.signer == self.signers.len() {
            self.signers.push(Signer::new(born.cloned()));
            self.phase = Phase::Open;
        }
        self.phase == Phase::Ready
    }

    /// Queues a batch. A batch of which nothing is to be written is answered at once.
    pub fn push(&mut self, range: SourceRange, pieces: Pieces, skip: &[SourceOffset]) -> Option<Done> {
        let (session, Pieces { list, hold }) = (self.session, pieces);
        self.numbers += 1;
        let number = self.numbers;
        let left = list.len();
        for piece in list {
            let covers = piece.covers();
            let skip = skip.iter().copied().filter(|offset| covers.contains(*offset)).collect();
            self.queue.push_back(Queued { number, piece, skip });
        }
        if left == 0 {
            return Some(Done { session, range, runs: Vec::new() });
        }
        let _counted = Counted::new(&self.unanswered);
        self.pending.push_back(Pending { number, session, range, left, runs: Vec::new(), _hold: hold, _counted });
        None
    }

    /// The next piece; with it those tiny ones of the same batch that follow it, if they are so many that one batch of them costs both sides less.
    pub fn next_group(&mut self) -> Vec<Queued> {
        let Some(first) = self.queue.front() else { return Vec::new() };
        let (number, codec) = (first.number, first.piece.view.header.attributes.codec().ok());
        let born = first.piece.born.clone();
        let mut bytes = 0;
        let tiny = self.queue.iter().take(GROUP_MAX).take_while(|queued| {
            let size = queued.piece.view.bytes.len();
            bytes += size;
            let like = queued.number == number
                && queued.piece.born == born
                && queued.piece.view.header.attributes.codec().ok() == codec;
            like && size < TINY_BYTES && bytes <= GROUP_BYTES_MAX
        });
        let tiny = tiny.count();
        let count = if tiny >= GROUP_MIN { tiny } else { 1 };
        self.queue.drain(..count).collect()
    }

    /// Some pieces of batch `number` became so many others.
    pub fn became(&mut self, number: u64, before: usize, after: usize) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.number == number) {
            pending.left = (pending.left + after).saturating_sub(before);
        }
    }

    /// Notes where records landed that an older writer had written.
    pub fn found(&mut self, number: u64, runs: Vec<Run>) {
        let last = runs.iter().map(|run| run.target_last().next()).max();
        self.answered = self.answered.max(last.unwrap_or(self.answered));
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.number == number) {
            runs.into_iter().for_each(|run| push_run(&mut pending.runs, run));
        }
    }

    /// Notes where a piece landed. Pieces are answered in the order in which they were sent.
    pub fn landed(&mut self, number: u64, runs: Vec<Run>) -> Option<Done> {
        self.sent = self.sent.saturating_sub(1);
        self.found(number, runs);
        self.became(number, 1, 0);
        self.done(number)
    }

    /// The batch, if every piece of it is answered.
    pub fn done(&mut self, number: u64) -> Option<Done> {
        let at = self.pending.iter().position(|pending| pending.number == number && pending.left == 0)?;
        let Pending { session, range, runs, .. } = self.pending.remove(at)?;
        Some(Done { session, range, runs })
    }

    /// Producer fields of the next batch of so many records.
    pub fn sign(&mut self, records: u32) -> (i64, i16, i32) {
        self.sent += 1;
        let signer = &mut self.signers[self.signer];
        let sequence = signer.next_sequence;
        signer.next_sequence = sequence_after(sequence, i32::try_from(records).unwrap_or(i32::MAX));
        (signer.producer.id, signer.producer.epoch, sequence)
    }

    /// Something waits, and nothing keeps it back.
    pub fn is_due(&self) -> bool {
        let Some(next) = self.queue.front() else { return false };
        self.phase == Phase::Ready && !self.in_hand && (self.sent == 0 || self.signs(next.piece.born.as_ref()))
    }

    /// Whether the current producer is that of this origin.
    fn signs(&self, born: Option<&Arc<Born>>) -> bool {
        is_of(&self.signers[self.signer], born)
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
