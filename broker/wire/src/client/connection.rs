//! One connection: requests go out as they come, answers come back in the same order.

use super::{ClientConfig, ClientError};
use crate::frame::{self, FrameError};
use crate::header::ResponseHeader;
use crate::{ApiKey, DecodeError, Message, Request};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

/// Buffer of each direction, in bytes: small requests leave in one write, small answers arrive in one read.
const SOCKET_BUFFER_BYTES: usize = 64 << 10;
/// Where the correlation ID stands in a request frame: after the length, the key and the version.
const CORRELATION_AT: usize = 8;

/// Version range of an API, as (lowest, highest).
pub(super) type Offered = BTreeMap<i16, (i16, i16)>;

pub(super) struct Connection {
    pub address: String,
    /// What the peer offers; empty until the greeting is done.
    pub offered: Offered,
    client_id: String,
    state: Arc<Mutex<State>>,
    out: mpsc::Sender<Outgoing>,
    permits: Arc<Semaphore>,
    task: AbortHandle,
}

/// A request that has its place in the connection's order, and whose answer is awaited.
pub(super) struct Begun {
    reply: oneshot::Receiver<Result<Bytes, ClientError>>,
    deadline: Instant,
    wait: Duration,
    _permit: OwnedSemaphorePermit,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    dead: Option<ClientError>,
    next_correlation: i32,
}

struct Waiting {
    correlation_id: i32,
    reply: oneshot::Sender<Result<Bytes, ClientError>>,
}

struct Outgoing {
    frame: BytesMut,
    reply: oneshot::Sender<Result<Bytes, ClientError>>,
}

impl Connection {
    /// Connects to `address`; nothing is sent yet.
    pub async fn open(address: &str, config: &ClientConfig) -> Result<Self, ClientError> {
        let unreachable = |cause: String| ClientError::Unreachable { address: address.to_owned(), cause };
        let stream = timeout(config.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| unreachable(format!("no connection within {:?}", config.connect_timeout)))?
            .map_err(|error| unreachable(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
        let (reader, writer) = stream.into_split();
        let state = Arc::new(Mutex::new(State::default()));
        let (out, queue) = mpsc::channel(config.in_flight_max);
        let task =
            tokio::spawn(run(address.to_owned(), reader, writer, queue, state.clone(), config.max_response_bytes));
        Ok(Self {
            address: address.to_owned(),
            offered: Offered::new(),
            client_id: config.client_id.clone(),
            state,
            out,
            permits: Arc::new(Semaphore::new(config.in_flight_max)),
            task: task.abort_handle(),
        })
    }

    /// Whether the connection can still carry requests.
    pub fn is_alive(&self) -> bool {
        lock(&self.state).dead.is_none()
    }

    /// Highest version of the API, at most `cap`, that both sides speak.
    pub fn version<R: Request>(&self, cap: i16) -> Result<i16, ClientError> {
        let (low, high) = (*R::VERSIONS.start(), cap.min(*R::VERSIONS.end()));
        let offered = self.offered.get(&i16::from(R::KEY)).copied();
        let highest = offered.map(|(_, theirs)| theirs.min(high));
        match (offered, highest) {
            (Some((lowest, _)), Some(version)) if version >= low && version >= lowest => Ok(version),
            _ => Err(ClientError::Unsupported {
                address: self.address.clone(),
                api: R::KEY,
                wanted: format!("one of versions {low} to {high}"),
                offered: offered
                    .map_or_else(|| "no version".to_owned(), |(low, high)| format!("versions {low} to {high}")),
            }),
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn call<R: Request>(
        &self,
        version: i16,
        request: &R,
        wait: Duration,
    ) -> Result<R::Response, ClientError> {
        let body = self.call_raw(version, request, wait).await?;
        self.read::<R>(version, body)
    }

    /// Sends a request and waits for the body of its answer, its header taken off.
    pub async fn call_raw<R: Request>(&self, version: i16, request: &R, wait: Duration) -> Result<Bytes, ClientError> {
        let begun = self.begin(version, request, 0, wait).await?;
        self.answer::<R>(version, begun).await
    }

    /// Queues a request of about `size` bytes: those begun one after the other are sent in that order. Waits while too many wait for their answers.
    pub async fn begin<R: Request>(
        &self,
        version: i16,
        request: &R,
        size: usize,
        wait: Duration,
    ) -> Result<Begun, ClientError> {
        let deadline = Instant::now() + wait;
        let mut frame = BytesMut::with_capacity(size);
        frame::put_request(&mut frame, version, 0, Some(&self.client_id), request)
            .map_err(|source| ClientError::Encode { api: R::KEY, source })?;
        let (sender, reply) = oneshot::channel();
        let queued = async {
            let permit = self.permits.clone().acquire_owned().await.map_err(|_| self.dead())?;
            self.out.send(Outgoing { frame, reply: sender }).await.map_err(|_| self.dead())?;
            Ok(permit)
        };
        match timeout_at(deadline, queued).await {
            Ok(permit) => Ok(Begun { reply, deadline, wait, _permit: permit? }),
            Err(_) => Err(self.late(R::KEY, wait)),
        }
    }

    /// Waits for the body of the answer to what was begun, its header taken off.
    pub async fn answer<R: Request>(&self, version: i16, begun: Begun) -> Result<Bytes, ClientError> {
        let mut body = match timeout_at(begun.deadline, begun.reply).await {
            Ok(answer) => answer.map_err(|_| self.dead())??,
            Err(_) => return Err(self.late(R::KEY, begun.wait)),
        };
        let header_version = R::response_header_version(version);
        ResponseHeader::decode(header_version, &mut body).map_err(|source| self.undecodable(R::KEY, source))?;
        Ok(body)
    }

    fn late(&self, api: ApiKey, after: Duration) -> ClientError {
        self.kill(ClientError::Timeout { address: self.address.clone(), api, after })
    }

    /// The body of an answer, as its message.
    pub fn read<R: Request>(&self, version: i16, mut body: Bytes) -> Result<R::Response, ClientError> {
        R::Response::decode(version, &mut body).map_err(|source| self.undecodable(R::KEY, source))
    }

    fn undecodable(&self, api: ApiKey, source: DecodeError) -> ClientError {
        self.kill(ClientError::Decode { address: self.address.clone(), api, source })
    }

    /// Ends the connection: everything that waits on it fails with `reason`, which is handed back.
    pub fn kill(&self, reason: ClientError) -> ClientError {
        bury(&self.state, &reason);
        self.task.abort();
        reason
    }

    fn dead(&self) -> ClientError {
        lock(&self.state).dead.clone().unwrap_or_else(|| ClientError::Disconnected {
            address: self.address.clone(),
            cause: "connection task ended".to_owned(),
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bury(state: &Mutex<State>, reason: &ClientError) {
    let mut state = lock(state);
    state.dead.get_or_insert_with(|| reason.clone());
    for waiting in state.waiting.drain(..) {
        let _ = waiting.reply.send(Err(reason.clone())); // the caller may have gone away: its own choice
    }
}

async fn run(
    address: String,
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    queue: mpsc::Receiver<Outgoing>,
    state: Arc<Mutex<State>>,
    limit: usize,
) {
    let lost = |cause: String| ClientError::Disconnected { address: address.clone(), cause };
    let reason = tokio::select! {
        error = write_all(writer, queue, &state) => lost(error),
        error = read_all(reader, &state, limit) => match error {
            ReadError::Frame(FrameError::TooLarge { length, limit }) => {
                ClientError::TooLarge { address: address.clone(), size: length, limit }
            }
            ReadError::Frame(error @ FrameError::Foreign(_)) => {
                ClientError::NotKafka { address: address.clone(), detail: error.to_string() }
            }
            ReadError::Frame(error) => lost(error.to_string()),
            ReadError::Ended => lost("closed by the peer".to_owned()),
            ReadError::Order(detail) => ClientError::NotKafka { address: address.clone(), detail },
        },
    };
    bury(&state, &reason);
}

/// Writes what is queued until the connection fails; says why it ended.
async fn write_all(writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Outgoing>, state: &Mutex<State>) -> String {
    let mut writer = BufWriter::with_capacity(SOCKET_BUFFER_BYTES, writer);
    while let Some(Outgoing { mut frame, reply }) = queue.recv().await {
        {
            let mut state = lock(state);
            let correlation_id = state.next_correlation;
            state.next_correlation = correlation_id.wrapping_add(1) & i32::MAX;
            frame[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation_id.to_be_bytes());
            state.waiting.push_back(Waiting { correlation_id, reply });
        }
        if let Err(error) = writer.write_all(&frame).await {
            return error.to_string();
        }
        if queue.is_empty()
            && let Err(error) = writer.flush().await
        {
            return error.to_string();
        }
    }
    "no longer used".to_owned()
}

enum ReadError {
    Frame(FrameError),
    Ended,
    Order(String),
}

/// Hands answers to those who wait for them until the connection fails; says why it ended.
async fn read_all(reader: OwnedReadHalf, state: &Mutex<State>, limit: usize) -> ReadError {
    let mut reader = BufReader::with_capacity(SOCKET_BUFFER_BYTES, reader);
    loop {
        let answer = match frame::read_frame(&mut reader, limit).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return ReadError::Ended,
            Err(error) => return ReadError::Frame(error),
        };
        let Some(found) = answer.first_chunk::<4>().map(|id| i32::from_be_bytes(*id)) else {
            return ReadError::Order(format!("answer of {} bytes", answer.len()));
        };
        let Some(waiting) = lock(state).waiting.pop_front() else {
            return ReadError::Order(format!("unasked answer with correlation ID {found}"));
        };
        if waiting.correlation_id != found {
            let detail = format!("answer with correlation ID {found} where {} was due", waiting.correlation_id);
            lock(state).waiting.push_front(waiting);
            return ReadError::Order(detail);
        }
        let _ = waiting.reply.send(Ok(answer)); // the caller may have gone away: its own choice
    }
}
