//! One connection: requests in, answers out in the same order.
//!
//! A reader takes frames and hands each as a future to a writer, which runs them one after the other: what a connection
//! asks takes effect in order, as in Kafka. Produce alone starts at once, behind other produces, so that pipelined
//! batches share one flush. Limits stand before the buffers they guard; whoever breaks the protocol loses this
//! connection, with one log line.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use causeway_wire::ApiKey;
use causeway_wire::frame::{self, FrameError};
use causeway_wire::header::RequestHeader;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Peer;
use super::room::{self, ORDINARY_BYTES_MAX, Pace, RequestBytes};
use crate::api::{self, Context};
use crate::node::Node;

/// Requests of one connection that may be read ahead of their answers; librdkafka and Java send at most 5 produces.
const PIPELINE_MAX: usize = 16;
/// A length field that was begun must be whole within this: four bytes travel together.
const LENGTH_DEADLINE: Duration = Duration::from_secs(5);
/// After the peer closed its side, answers that are being made may still take so long.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// First step in which a frame's room is reserved, in bytes; it doubles as data comes.
const FIRST_RESERVE: usize = 32 << 10;
/// Longest frame of any API but Produce: a hundred thousand partitions fit. The announced length is judged with the key
/// in hand, before more is buffered.
const CONTROL_FRAME_MAX: usize = 8 << 20;
/// Memory that a byte of such a frame can cost once decoded (see `causeway_wire::codec`).
const DECODED_PER_BYTE: usize = 32;
/// Bytes of a request's first field, its API key.
const API_KEY_BYTES: usize = size_of::<i16>();
/// Read buffer of a connection: many small requests a system call.
const READ_BUFFER: usize = 16 << 10;

/// Why a connection is closed by us.
#[derive(Debug, Error)]
pub enum Fault {
    /// No frame could be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The request is not what its header says.
    #[error("{api} version {version}: {why}")]
    Malformed {
        /// Name or number of the API.
        api: String,
        /// Version in the header.
        version: i16,
        /// What is wrong.
        why: String,
    },
    /// More than a request of its API may have.
    #[error("request with api key {key} announces {length} bytes, the limit is {limit}")]
    TooLarge {
        /// API key in the header.
        key: i16,
        /// Announced length.
        length: usize,
        /// Limit of the API.
        limit: usize,
    },
    /// An API or version that is not served (Kafka closes the connection too).
    #[error("api key {key} version {version} is not enabled")]
    NotEnabled {
        /// API key in the header.
        key: i16,
        /// Version in the header.
        version: i16,
    },
    /// The peer is too slow.
    #[error("{0} took too long")]
    Slow(&'static str),
    /// Our own failure to make an answer.
    #[error("cannot encode the answer to {api} version {version}: {why}")]
    Encode {
        /// Name of the API.
        api: String,
        /// Version in the header.
        version: i16,
        /// What is wrong.
        why: String,
    },
    /// A handler panicked: a bug of ours that costs this connection only.
    #[error("the request's handler panicked")]
    Panicked,
    /// A produce with acks=0 failed: closing is the only sign its sender can get (as Kafka does).
    #[error("a produce request that asked for no answer failed")]
    Unanswerable,
}

/// A whole frame in pieces, in order.
#[derive(Debug)]
pub struct Frame {
    /// The pieces.
    pub parts: Vec<Bytes>,
    /// Room that is held for it until it is written.
    #[expect(dead_code, reason = "held for its drop")]
    pub room: Option<OwnedSemaphorePermit>,
}

impl From<Bytes> for Frame {
    fn from(whole: Bytes) -> Self {
        Self { parts: vec![whole], room: None }
    }
}

impl Frame {
    fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Writes all pieces with as few calls as it takes.
    async fn write(&self, socket: &mut OwnedWriteHalf, pace: &Pace) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = self.parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        while !left.is_empty() {
            match socket.write_vectored(left).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    pace.bytes.fetch_add(written, Ordering::Relaxed);
                    IoSlice::advance_slices(&mut left, written);
                }
            }
        }
        Ok(())
    }
}

/// An answer as a whole frame, or none for a request that wants none.
pub type Answer = Result<Option<Frame>, Fault>;
/// An answer in the making.
pub type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

struct Queued {
    pending: Pending,
    /// API key, when it was read, and its size.
    key: i16,
    began: Instant,
    size: usize,
    /// Bytes of the request, counted against the broker's budget until it is answered.
    _bytes: RequestBytes,
    /// One of the pipeline's slots.
    _slot: OwnedSemaphorePermit,
    /// Held by requests that must be over before a produce may start ahead of its turn.
    _barrier: Option<OwnedSemaphorePermit>,
}

/// Serves one connection until either side closes it.
pub async fn run(stream: TcpStream, peer: SocketAddr, listener: String, node: Arc<Node>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    let peer = Arc::new(Peer::new(peer, listener));
    let (queue, requests) = mpsc::channel(PIPELINE_MAX);
    let closing = CancellationToken::new();
    let mut reader = Reader {
        socket: BufReader::with_capacity(READ_BUFFER, read),
        queue,
        slots: Arc::new(Semaphore::new(PIPELINE_MAX)),
        barrier: Arc::new(Semaphore::new(PIPELINE_MAX)),
        node: Arc::clone(&node),
        peer: Arc::clone(&peer),
    };
    let writer = write_answers(write, requests, Arc::clone(&node), closing.clone());
    let reading = async {
        let end = tokio::select! {
            end = reader.run() => end,
            () = stop.cancelled() => Ok(()),
            () = closing.cancelled() => Ok(()),
        };
        closing.cancel();
        drop(reader);
        end
    };
    let (read_end, write_end) = tokio::join!(reading, writer);
    for fault in [read_end.err(), write_end.err()].into_iter().flatten() {
        if matches!(&fault, Fault::Frame(FrameError::Io(_))) {
            tracing::debug!(peer = %peer.address, cause = %fault, "connection lost");
        } else {
            node.stats.faults.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(peer = %peer.address, listener = peer.listener, cause = %fault, "connection closed");
        }
    }
}

struct Reader {
    socket: BufReader<OwnedReadHalf>,
    queue: mpsc::Sender<Queued>,
    slots: Arc<Semaphore>,
    barrier: Arc<Semaphore>,
    node: Arc<Node>,
    peer: Arc<Peer>,
}

impl Reader {
    async fn run(&mut self) -> Result<(), Fault> {
        loop {
            let Some(field) = self.next_length().await? else { return Ok(()) };
            while let Some(until) = self.peer.muted_until() {
                tokio::time::sleep_until(until).await;
            }
            let length = frame::check_length(field, self.node.request_bytes_max)?;
            let (node, pace) = (Arc::clone(&self.node), Pace::default());
            let read = room::in_time(self.body(length, &pace), &pace, || node.room.to_send(length)).await;
            let (mut body, bytes) = read.ok_or(Fault::Slow("a request"))??;
            let header = RequestHeader::decode(&mut body).map_err(|e| Fault::Malformed {
                api: "header".into(),
                version: -1,
                why: e.to_string(),
            })?;
            let (key, began) = (header.api_key, Instant::now());
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return Ok(()) };
            let context = Context { node: Arc::clone(&self.node), peer: Arc::clone(&self.peer), header };
            let (pending, barrier): (Pending, _) = if api::starts_early(&context.header) {
                // Wait until every request before it that is not a produce is over.
                drop(self.barrier.acquire_many(PIPELINE_MAX as u32).await);
                (api::start_produce(context, body).await?, None)
            } else {
                let barrier = Arc::clone(&self.barrier).acquire_owned().await.ok();
                (Box::pin(api::handle(context, body)), barrier)
            };
            if self
                .queue
                .send(Queued { pending, key, began, size: length, _bytes: bytes, _slot: slot, _barrier: barrier })
                .await
                .is_err()
            {
                return Ok(());
            }
        }
    }

    /// Reads a frame's body. Room in the broker's budget is taken as the bytes come, never for what is only announced:
    /// memory is bounded, and a peer that announces much and sends little holds up nobody.
    async fn body(&mut self, length: usize, pace: &Pace) -> Result<(Bytes, RequestBytes), Fault> {
        let mut held = RequestBytes::default();
        let mut body = BytesMut::new();
        self.fill(&mut body, API_KEY_BYTES.min(length), pace).await?;
        let cost = cost_per_byte(&body, length)?;
        let ordinary = length <= FIRST_RESERVE || length * cost <= ORDINARY_BYTES_MAX;
        while body.len() < length {
            // The first step is small and common: what it decodes to is not counted.
            let first = body.len() <= API_KEY_BYTES;
            let step = body.len().max(FIRST_RESERVE).min(length - body.len());
            if !held.is_overdrawn() {
                if self.socket.fill_buf().await.map_err(FrameError::from)?.is_empty() {
                    return Err(FrameError::Closed.into());
                }
                pace.ours.store(true, Ordering::Relaxed);
                self.node.room.more(&mut held, if first { step } else { step * cost }, ordinary).await;
                pace.ours.store(false, Ordering::Relaxed);
            }
            body.reserve(step);
            let until = body.len() + step;
            self.fill(&mut body, until, pace).await?;
        }
        Ok((body.freeze(), held))
    }

    /// Reads until `body` has so many bytes.
    async fn fill(&mut self, body: &mut BytesMut, until: usize, pace: &Pace) -> Result<(), FrameError> {
        while body.len() < until {
            let left = until - body.len();
            let mut room = (&mut *body).limit(left);
            match self.socket.read_buf(&mut room).await? {
                0 => return Err(FrameError::Closed),
                more => pace.bytes.fetch_add(more, Ordering::Relaxed),
            };
        }
        Ok(())
    }

    /// The length field of the next frame; none at the end of the stream or after `connections.max.idle.ms`.
    async fn next_length(&mut self) -> Result<Option<[u8; frame::LENGTH_BYTES]>, Fault> {
        let mut field = [0; frame::LENGTH_BYTES];
        let first = loop {
            let read = self.socket.read(&mut field);
            match self.node.idle_max {
                None => break read.await,
                Some(idle) => match timeout(idle, read).await {
                    Ok(read) => break read,
                    Err(_) if self.slots.available_permits() < PIPELINE_MAX => {}
                    Err(_) => return Ok(None),
                },
            }
        };
        let first = first.map_err(FrameError::from)?;
        if first == 0 {
            return Ok(None);
        }
        let rest = timeout(LENGTH_DEADLINE, self.socket.read_exact(&mut field[first..])).await;
        match rest.map_err(|_| Fault::Slow("a frame's length"))? {
            Ok(_) => Ok(Some(field)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(FrameError::Closed.into()),
            Err(error) => Err(FrameError::from(error).into()),
        }
    }
}

/// Memory to count for each byte of a frame whose first bytes these are; an error if it is too long for its API.
fn cost_per_byte(start: &[u8], length: usize) -> Result<usize, Fault> {
    let Some(key) = start.first_chunk().map(|key| i16::from_be_bytes(*key)) else { return Ok(1) };
    if key == i16::from(ApiKey::Produce) {
        return Ok(1);
    }
    match length <= CONTROL_FRAME_MAX {
        true => Ok(DECODED_PER_BYTE),
        false => Err(Fault::TooLarge { key, length, limit: CONTROL_FRAME_MAX }),
    }
}

async fn write_answers(
    mut socket: OwnedWriteHalf,
    mut requests: mpsc::Receiver<Queued>,
    node: Arc<Node>,
    closing: CancellationToken,
) -> Result<(), Fault> {
    let outcome = answer_all(&mut socket, &mut requests, &node, &closing).await;
    // Wakes the reader if it was us who gave up.
    closing.cancel();
    outcome
}

async fn answer_all(
    socket: &mut OwnedWriteHalf,
    requests: &mut mpsc::Receiver<Queued>,
    node: &Node,
    closing: &CancellationToken,
) -> Result<(), Fault> {
    let give_up = async {
        closing.cancelled().await;
        tokio::time::sleep(CLOSE_GRACE).await;
    };
    tokio::pin!(give_up);
    while let Some(queued) = requests.recv().await {
        let answer = tokio::select! {
            answer = queued.pending => answer?,
            () = &mut give_up => return Ok(()),
        };
        if let Some(frame) = answer {
            let bytes = frame.len();
            let pace = Pace::default();
            let written = room::in_time(frame.write(socket, &pace), &pace, || node.room.to_read(bytes)).await;
            written.ok_or(Fault::Slow("reading our answer"))?.map_err(FrameError::from)?;
        }
        node.stats.answered(queued.key, queued.began.elapsed(), queued.size);
    }
    Ok(())
}
