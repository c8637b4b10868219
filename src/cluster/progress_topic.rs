//! A flow's progress topic on its target cluster, through the wire client: read to its end, claimed, appended to (L2, L6).
//!
//! Whoever appends first reads what others appended, and refuses when the flow is no longer its own. Between that look and the write the target
//! itself refuses whoever does not hold the [pen](super::pen::Pen): nothing of an older holder lands after a newer claim.
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use causeway_wire::{
    ApiKey, ErrorCode,
    client::{Client, ClientError, Isolation, TIMESTAMP_EARLIEST},
    messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest},
    records::{BatchBuilder, Batches, Codec, DECOMPRESSED_BYTES_MAX, RecordError},
};

use super::{
    ClusterError,
    pen::{self, Pen, SharedPen},
};
use crate::core::{
    ids::{FlowEpoch, FlowName, TopicName, UnixMillis},
    progress::{self, Progress, Record},
};

/// Bytes per fetch: a topic of a million runs is read in a handful of requests.
const FETCH_BYTES: i32 = 8 << 20;
/// Uncompressed bytes per batch appended: half of Kafka's default `max.message.bytes`, so that it fits with its overhead.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// Times a claim is tried: each failed try means that somebody else claimed the flow within the same moment.
const CLAIM_ATTEMPTS_MAX: u32 = 5;
/// Pens tried for one write: more than one is taken away from us only while others claim the flow.
const PENS_TRIED_MAX: u32 = 3;
/// Its only partition: the order of claims must be total.
const PARTITION: i32 = 0;
/// Asks the broker for its `default.replication.factor`.
const DEFAULT_REPLICATION: i16 = -1;

/// What can go wrong with a progress topic.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// The target cluster did not do what was asked.
    #[error("progress topic {topic}: {source}")]
    Client {
        /// The topic.
        topic: TopicName,
        /// What happened.
        source: ClientError,
    },
    /// The target cluster could not be asked about it.
    #[error("progress topic {topic}: {source}")]
    Cluster {
        /// The topic.
        topic: TopicName,
        /// What happened.
        source: ClusterError,
    },
    /// A batch in it cannot be read.
    #[error("progress topic {topic} at offset {offset}: {source}")]
    Unreadable {
        /// The topic.
        topic: TopicName,
        /// First offset of the batch.
        offset: i64,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A record in it was written by a newer Causeway, or is damaged in a way that makes the whole state doubtful.
    #[error("progress topic {topic} at offset {offset}: {source}")]
    NotOurs {
        /// The topic.
        topic: TopicName,
        /// Its offset.
        offset: i64,
        /// What is wrong with it.
        source: progress::DecodeError,
    },
    /// Another instance holds the flow.
    #[error(
        "the flow is held by {holder} at epoch {held}, not by us at epoch {ours}: this instance must not write any more"
    )]
    Fenced {
        /// Who holds it.
        holder: String,
        /// At which epoch.
        held: FlowEpoch,
        /// Our epoch.
        ours: FlowEpoch,
    },
}

impl ProgressError {
    /// What kept us from the topic at all.
    #[must_use]
    pub fn from_cluster(topic: TopicName, error: ClusterError) -> Self {
        ProgressError::Cluster { topic, source: error }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            ProgressError::Client { source, .. } => source.is_retriable(),
            ProgressError::Cluster { source, .. } => source.is_retriable(),
            _ => false,
        }
    }
}

/// A flow's progress topic, and its state up to where it was read.
#[derive(Debug)]
pub struct ProgressTopic {
    client: Client,
    topic: TopicName,
    /// The next offset to read; -1 while the topic was not seen to exist.
    next: i64,
    state: Progress,
    /// A copy of the state that others read while this one is written to.
    shared: Option<Arc<RwLock<Progress>>>,
    /// What was read since somebody last asked, with its offsets: for a local copy. `None` while nobody asks.
    journal: Option<Vec<(i64, Record)>>,
    /// What is appended for a holder is written with it.
    pen: SharedPen,
}

impl ProgressTopic {
    /// Reads the topic to its end. One that does not exist is an empty state: nothing was ever mirrored.
    ///
    /// # Errors
    /// What [`ProgressTopic::catch_up`] answers.
    pub async fn open(client: Client, flow: &FlowName) -> Result<Self, ProgressError> {
        let mut topic = ProgressTopic {
            client,
            topic: progress::topic_of(flow),
            next: -1,
            state: Progress::default(),
            shared: None,
            journal: None,
            pen: SharedPen::default(),
        };
        topic.catch_up().await?;
        Ok(topic)
    }

    /// As [`ProgressTopic::open`], and creates the topic when it does not exist: one partition, compacted, replicated as the cluster's default says.
    ///
    /// # Errors
    /// What [`ProgressTopic::catch_up`] answers, and a refused creation.
    pub async fn open_or_create(client: Client, flow: &FlowName) -> Result<Self, ProgressError> {
        let mut topic = Self::open(client, flow).await?;
        if !topic.exists() {
            topic.create().await?;
            topic.catch_up().await?;
        }
        Ok(topic)
    }

    /// A topic whose records before `from` are known from elsewhere: nothing is read yet, and what [`ProgressTopic::catch_up`] reads is noted
    /// for [`ProgressTopic::take_journal`]. The state is not whole before [`ProgressTopic::adopt`]. Created when it does not exist.
    ///
    /// # Errors
    /// What [`ProgressTopic::open_or_create`] answers.
    pub async fn open_at(client: Client, flow: &FlowName, from: i64) -> Result<Self, ProgressError> {
        let next = if from > 0 { from } else { -1 };
        let topic = progress::topic_of(flow);
        let mut topic = ProgressTopic {
            client,
            topic,
            next,
            state: Progress::default(),
            shared: None,
            journal: Some(Vec::new()),
            pen: SharedPen::default(),
        };
        topic.catch_up().await?;
        if !topic.exists() {
            topic.create().await?;
            topic.catch_up().await?;
        }
        Ok(topic)
    }

    /// What was read since this was last asked, with the offsets.
    pub fn take_journal(&mut self) -> Vec<(i64, Record)> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes this for the state as far as the topic was read.
    pub fn adopt(&mut self, state: Progress) {
        self.state = state;
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }
    /// True once the topic was seen.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.next >= 0
    }
    /// The state as far as it was read.
    #[must_use]
    pub fn state(&self) -> &Progress {
        &self.state
    }
    /// The state for others to read, kept equal to this one from now on.
    pub fn share(&mut self) -> Arc<RwLock<Progress>> {
        self.shared.get_or_insert_with(|| Arc::new(RwLock::new(self.state.clone()))).clone()
    }
    /// The next offset to read: together with the epoch it says whether a cache is as new as the topic.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next
    }

    async fn create(&self) -> Result<(), ProgressError> {
        let setting = |name: &str, value: &str| CreatableTopicConfig { name: name.into(), value: Some(value.into()) };
        let wanted = CreatableTopic {
            name: self.topic.as_str().to_owned(),
            num_partitions: 1,
            replication_factor: DEFAULT_REPLICATION,
            configs: vec![setting("cleanup.policy", "compact")],
            ..Default::default()
        };
        let answer = self.client.controller(CreateTopicsRequest { topics: vec![wanted], ..Default::default() }).await;
        let result = answer.map_err(|e| self.failed(e))?.topics.into_iter().next().unwrap_or_default();
        match ErrorCode(result.error_code) {
            ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => Ok(()),
            code => {
                let (api, subject) = (ApiKey::CreateTopics, self.topic.as_str().to_owned());
                Err(self.failed(ClientError::Broker { api, code, subject, message: result.error_message }))
            }
        }
    }

    /// Takes in what was appended since the last look.
    ///
    /// # Errors
    /// An unreachable target; records that cannot be read.
    pub async fn catch_up(&mut self) -> Result<&Progress, ProgressError> {
        loop {
            if self.next < 0 {
                match self.client.list_offset(self.topic.as_str(), PARTITION, TIMESTAMP_EARLIEST).await {
                    Ok(first) => self.next = first.offset,
                    Err(e) if e.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => return Ok(&self.state),
                    Err(e) => return Err(self.failed(e)),
                }
            }
            let end = self.end().await?;
            if self.next == end {
                return Ok(&self.state);
            }
            if self.next > end {
                // it was deleted and made anew: what we knew of it is not the truth any more
                tracing::warn!(topic = %self.topic, next = self.next, end, "progress topic shrank, reading it anew");
                (self.next, self.state) = (-1, Progress::default());
                // whoever keeps a copy must begin anew as well: at the next start the topic's ID and end will say so
                self.journal = None;
                if let Some(shared) = &self.shared {
                    *shared.write().unwrap_or_else(PoisonError::into_inner) = Progress::default();
                }
            } else {
                self.read_once().await?;
            }
        }
    }

    async fn end(&self) -> Result<i64, ProgressError> {
        let latest = causeway_wire::client::TIMESTAMP_LATEST;
        let end = self.client.list_offset(self.topic.as_str(), PARTITION, latest).await;
        Ok(end.map_err(|e| self.failed(e))?.offset)
    }

    async fn read_once(&mut self) -> Result<(), ProgressError> {
        let fetched = self
            .client
            .fetch_batches(self.topic.as_str(), PARTITION, self.next, FETCH_BYTES, Isolation::ReadUncommitted)
            .await
            .map_err(|e| self.failed(e))?;
        for batch in Batches::new(fetched.batches) {
            let unreadable = |offset, source| ProgressError::Unreadable { topic: self.topic.clone(), offset, source };
            let batch = batch.map_err(|e| unreadable(self.next, e))?;
            let base = batch.header.base_offset;
            if !batch.header.attributes.is_control() {
                batch.verify_crc().map_err(|e| unreadable(base, e))?;
                for record in batch.records(DECOMPRESSED_BYTES_MAX).map_err(|e| unreadable(base, e))? {
                    let offset = base + i64::from(record.offset_delta);
                    if offset >= self.next {
                        let key = record.key.as_deref().unwrap_or_default();
                        self.take(offset, key, record.value.as_deref())?;
                    }
                }
            }
            self.next = self.next.max(batch.header.last_offset() + 1);
        }
        Ok(())
    }

    fn take(&mut self, offset: i64, key: &[u8], value: Option<&[u8]>) -> Result<(), ProgressError> {
        match progress::decode(key, value) {
            Ok(record) => {
                if let Some(shared) = &self.shared {
                    shared.write().unwrap_or_else(PoisonError::into_inner).apply(record.clone());
                }
                if let Some(journal) = &mut self.journal {
                    journal.push((offset, record.clone()));
                }
                self.state.apply(record);
                Ok(())
            }
            Err(source @ progress::DecodeError::NewerVersion { .. }) => {
                Err(ProgressError::NotOurs { topic: self.topic.clone(), offset, source })
            }
            // Somebody else's record in our topic must not stop a flow; it says nothing about it either.
            Err(source) => {
                tracing::warn!(topic = %self.topic, offset, error = %source, "foreign record in progress topic left out");
                Ok(())
            }
        }
    }

    /// The pen that this one writes with, for another view of the topic in the same process: two pens of one holder would refuse each other.
    #[must_use]
    pub fn pen(&self) -> SharedPen {
        self.pen.clone()
    }

    /// The same view, writing with a pen that another one uses too.
    #[must_use]
    pub fn with_pen(mut self, pen: SharedPen) -> Self {
        self.pen = pen;
        self
    }

    /// Takes the flow for `owner`: the epoch after the newest one. What others hold is fenced by it.
    ///
    /// # Errors
    /// An unreachable target; [`ProgressError::Fenced`] when others claimed the flow at the same moment, again and again.
    pub async fn claim(&mut self, owner: &str, at: UnixMillis) -> Result<FlowEpoch, ProgressError> {
        let mut ours = FlowEpoch(0);
        for _ in 0..CLAIM_ATTEMPTS_MAX {
            self.catch_up().await?;
            ours = self.state.epoch().next();
            let Some(pen) = self.take_pen(Record::claim(ours, owner, at)).await? else { continue };
            self.catch_up().await?;
            if self.state.is_held_by(ours, owner) {
                *self.pen.lock().await = Some(pen);
                return Ok(ours);
            }
        }
        Err(self.fenced(ours))
    }

    /// Appends `records` in their order if `owner` still holds the flow at `epoch`.
    ///
    /// # Errors
    /// [`ProgressError::Fenced`] when it does not; an unreachable target, and then it is unknown which of them were appended: all may be appended again.
    pub async fn append(&mut self, epoch: FlowEpoch, owner: &str, records: &[Record]) -> Result<(), ProgressError> {
        if crate::core::planted::is(crate::core::planted::Bug::IgnoreEpoch) {
            return self.produce(None, records).await;
        }
        let shared = self.pen.clone();
        let mut slot = shared.lock().await;
        let mut refusal = None;
        for _ in 0..PENS_TRIED_MAX {
            self.look(epoch, owner).await?;
            let mut pen = match slot.take() {
                Some(pen) => pen,
                None => {
                    let Some(pen) = self.take_pen(Record::fence(owner)).await? else { continue };
                    // what was claimed before the pen was taken is seen now, what is claimed later takes the pen away
                    self.look(epoch, owner).await?;
                    pen
                }
            };
            match self.produce(Some(&mut pen), records).await {
                Ok(()) => {
                    *slot = Some(pen);
                    return Ok(());
                }
                // somebody took the pen; whether the flow as well is in the topic
                Err(ProgressError::Client { source, .. }) if pen::refused(&source) => refusal = Some(source),
                Err(error) => return Err(error),
            }
        }
        self.look(epoch, owner).await?;
        Err(refusal.map_or_else(|| self.fenced(epoch), |source| self.failed(source)))
    }

    /// Reads on, and says whether `owner` holds the flow at `epoch`.
    async fn look(&mut self, epoch: FlowEpoch, owner: &str) -> Result<(), ProgressError> {
        self.catch_up().await?;
        if self.state.is_held_by(epoch, owner) { Ok(()) } else { Err(self.fenced(epoch)) }
    }

    /// Takes the pen and makes it count with a first record; `None` when a newer one was faster.
    async fn take_pen(&self, first: Record) -> Result<Option<Pen>, ProgressError> {
        let mut pen = Pen::take(&self.client, &self.topic).await.map_err(|e| self.failed(e))?;
        match self.produce(Some(&mut pen), &[first]).await {
            Ok(()) => Ok(Some(pen)),
            Err(ProgressError::Client { source, .. }) if pen::refused(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Appends records that need no hold of the flow: DR checkpoints, and switches, whose steps are checked against their own claim.
    ///
    /// # Errors
    /// An unreachable target.
    pub async fn note(&mut self, records: &[Record]) -> Result<(), ProgressError> {
        self.produce(None, records).await
    }

    async fn produce(&self, mut pen: Option<&mut Pen>, records: &[Record]) -> Result<(), ProgressError> {
        let mut builder = BatchBuilder::new(Codec::None);
        for record in records {
            let (key, value) = progress::encode(record);
            let timestamp = now_ms();
            let pushed = builder.push(timestamp, Some(&key), value.as_deref(), &[]);
            pushed.map_err(|source| ProgressError::Unreadable { topic: self.topic.clone(), offset: -1, source })?;
            if builder.uncompressed_size() >= BATCH_BYTES_MAX {
                let full = std::mem::replace(&mut builder, BatchBuilder::new(Codec::None));
                self.send(pen.as_deref_mut(), full).await?;
            }
        }
        if builder.records_count() > 0 { self.send(pen, builder).await } else { Ok(()) }
    }

    async fn send(&self, pen: Option<&mut Pen>, builder: BatchBuilder) -> Result<(), ProgressError> {
        let unreadable = |source| ProgressError::Unreadable { topic: self.topic.clone(), offset: -1, source };
        let batch: Bytes = match pen {
            Some(pen) => pen.sign(builder),
            None => builder.build(),
        }
        .map_err(unreadable)?;
        let sent = self.client.produce_batch(self.topic.as_str(), PARTITION, batch).await;
        sent.map(|_| ()).map_err(|e| self.failed(e))
    }

    fn failed(&self, source: ClientError) -> ProgressError {
        ProgressError::Client { topic: self.topic.clone(), source }
    }

    fn fenced(&self, ours: FlowEpoch) -> ProgressError {
        let holder = self.state.holder();
        let (holder, held) = holder.map_or(("nobody".to_owned(), FlowEpoch(0)), |c| (c.owner.clone(), c.epoch));
        ProgressError::Fenced { holder, held, ours }
    }
}

/// Milliseconds since 1970, for record timestamps and what people read: nothing is decided by it.
#[must_use]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
