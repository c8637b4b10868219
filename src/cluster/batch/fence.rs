//! The fence before a lane is written: from then on the target refuses whatever an older writer of the lane still has on its way (L6, F24, F31).
//!
//! A plain idempotent batch is refused for its producer epoch only where a newer epoch has reached the partition. So a takeover raises the epoch
//! (KIP-98), opens a transaction over the partitions concerned and aborts it: its marker carries the new epoch into each of them. The marker is
//! also the proof: whoever has read it has read everything that had landed before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_wire::client::{Client, ClientError, Isolation, ProducerId, TIMESTAMP_EARLIEST};
use causeway_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, AddPartitionsToTxnTopic,
};
use causeway_wire::messages::end_txn::EndTxnRequest;
use causeway_wire::messages::init_producer_id::InitProducerIdRequest;
use causeway_wire::records::{BatchHeader, Batches};
use causeway_wire::{ApiKey, ErrorCode};
use tokio::sync::Semaphore;

use super::origins::Origins;
use super::tail::{RECORDS_MAX, Tail};
use crate::cluster::{Admin, ClusterError};
use crate::core::ids::{ClusterId, FlowName, TargetOffset};
use crate::core::lane::Failure;
use crate::core::origins::Born;

/// The fence's transaction holds nothing; were its owner to die in the middle of it, the coordinator ends it after so long.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest try at one fence, or at reading one tail: its lanes try again later, others go on.
const FENCE_MAX: Duration = Duration::from_secs(15);
/// Between two questions to a coordinator that is busy with the transaction before.
const BUSY_WAIT: Duration = Duration::from_millis(20);
/// Bytes of one read of a tail.
const READ_BYTES: i32 = 1 << 20;
/// Tails read at a time.
const READS_MAX: usize = 16;

/// The name under which the producer of a flow's data is known at the target: one per flow and cluster of origin, so that a reader of batch headers
/// sees where a batch was born.
#[must_use]
pub(super) fn transactional_id(flow: &FlowName, origin: &ClusterId) -> String {
    format!("__causeway.data.{flow}.{origin}")
}

/// Where a lane is written, and up to where that is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub topic: String,
    pub partition: i32,
    pub from: TargetOffset,
}

/// Raises fences for the lanes of a flow.
#[derive(Debug, Clone)]
pub(super) struct Fence {
    admin: Admin,
    client: Client,
    flow: FlowName,
    /// Without it lanes get a producer that nobody had before, and nobody is kept out.
    exactly_once: bool,
    /// Where records come from that nothing else is told of.
    source: Arc<Born>,
    /// The producers that flows write with at the target; `None`: these are not listed.
    origins: Option<Arc<Origins>>,
    reads: Arc<Semaphore>,
}

/// A fence that is up.
#[derive(Debug)]
pub(super) struct Raised {
    /// Under which the lanes behind it write.
    pub producer: ProducerId,
    /// Partitions that the target refused to fence.
    pub refused: BTreeMap<(String, i32), Failure>,
}

impl Fence {
    /// Fences for a flow from `source`, at the cluster of `admin`; `client` has connections to it for itself.
    #[must_use]
    pub fn new(
        admin: Admin,
        client: Client,
        flow: FlowName,
        source: Arc<Born>,
        exactly_once: bool,
        tells_origins: bool,
    ) -> Self {
        let reads = Arc::new(Semaphore::new(READS_MAX));
        // at least once every session has producers of its own: they are listed only where somebody may ask, or the list would grow for nothing
        let origins = (exactly_once || tells_origins).then(|| Arc::new(Origins::new(admin.clone())));
        Fence { admin, client, flow, exactly_once, source, origins, reads }
    }

    /// Keeps older writers of what was born there (`None`: on the source) out of these places.
    pub async fn raise(&self, born: Option<&Born>, places: &[Place]) -> Result<Raised, Failure> {
        let deadline = Instant::now() + FENCE_MAX;
        let born = born.unwrap_or(&self.source);
        let id = &transactional_id(&self.flow, &born.cluster);
        let take = || self.client.init_producer_id(id, TRANSACTION_TIMEOUT);
        let producer = match self.exactly_once {
            true => patiently(deadline, take).await.map_err(|error| self.failure(error))?,
            false => self.fresh_producer().await?,
        };
        if let Some(origins) = &self.origins {
            origins.list(producer.id, born).await.map_err(|error| failure(&error))?;
        }
        if !self.exactly_once {
            return Ok(Raised { producer, refused: BTreeMap::new() });
        }
        let refused = self.mark(id, producer, places, deadline).await.map_err(|error| self.failure(error))?;
        let refused = refused.into_iter().map(|(place, error)| (place, self.failure(error)));
        Ok(Raised { producer, refused: refused.collect() })
    }

    /// What older writers had landed behind a place, once a fence is up there.
    pub async fn tail(&self, place: &Place, producers: &[ProducerId]) -> Result<Tail, Failure> {
        if !self.exactly_once {
            return Ok(Tail::new(place.from));
        }
        let _turn = self.reads.acquire().await.expect("the semaphore is never closed");
        self.read_tail(place, producers, Instant::now() + FENCE_MAX).await
    }

    /// A producer that belongs to nobody else.
    async fn fresh_producer(&self) -> Result<ProducerId, Failure> {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        let answer = self.client.any(request).await.map_err(|error| self.failure(error))?;
        let refused = |code| refusal(ApiKey::InitProducerId, code, "a producer for at-least-once".to_owned());
        ErrorCode(answer.error_code).ok().map_err(|code| self.failure(refused(code)))?;
        match answer.producer_id {
            0.. => Ok(ProducerId { id: answer.producer_id, epoch: answer.producer_epoch }),
            _ => Err(self.failure(refused(ErrorCode::UNKNOWN_SERVER_ERROR))),
        }
    }

    /// A marker with the new epoch in each of these partitions; answers those that the target refuses.
    async fn mark(
        &self,
        id: &str,
        producer: ProducerId,
        places: &[Place],
        deadline: Instant,
    ) -> Result<BTreeMap<(String, i32), ClientError>, ClientError> {
        let mut refused = BTreeMap::new();
        // each round leaves out at least one partition, or is the last
        loop {
            let add = adding(id, producer, places, &refused);
            if add.v3_and_below_topics.is_empty() {
                return Ok(refused);
            }
            let answer = patiently(deadline, || async {
                let answer = self.client.transaction_coordinator(id, add.clone()).await?;
                let busy = |code: ErrorCode| code == ErrorCode::CONCURRENT_TRANSACTIONS;
                let waits = each_code(&answer).find(|(_, code)| busy(*code));
                match waits {
                    Some(((topic, partition), code)) => {
                        let subject = format!("{topic}-{partition} for {id}");
                        Err(refusal(ApiKey::AddPartitionsToTxn, code, subject))
                    }
                    None => Ok(answer),
                }
            })
            .await?;
            let before = refused.len();
            for ((topic, partition), code) in each_code(&answer) {
                let error = refusal(ApiKey::AddPartitionsToTxn, code, format!("{topic}-{partition} for {id}"));
                match code {
                    ErrorCode::NONE | ErrorCode::OPERATION_NOT_ATTEMPTED => {}
                    ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::TOPIC_AUTHORIZATION_FAILED => {
                        refused.insert((topic, partition), error);
                    }
                    // about the producer, not about the partition
                    _ => return Err(error),
                }
            }
            if refused.len() == before {
                break;
            }
        }
        let end = EndTxnRequest {
            transactional_id: id.to_owned(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed: false,
        };
        patiently(deadline, || async {
            let answer = self.client.transaction_coordinator(id, end.clone()).await?;
            let fail = |code| refusal(ApiKey::EndTxn, code, format!("transactional.id {id}"));
            ErrorCode(answer.error_code).ok().map_err(fail)
        })
        .await?;
        Ok(refused)
    }

    /// What of our producers lies between the durable place and their markers.
    async fn read_tail(&self, place: &Place, producers: &[ProducerId], deadline: Instant) -> Result<Tail, Failure> {
        let mut tail = Tail::new(place.from);
        let mut unfenced = producers.to_vec();
        let mut next = place.from.get();
        loop {
            if Instant::now() > deadline {
                let reason =
                    format!("no fence in {}-{} within {FENCE_MAX:?}, read to {next}", place.topic, place.partition);
                return Err(Failure::Retry { reason });
            }
            let isolation = Isolation::ReadUncommitted;
            let fetch = self.client.fetch_batches(&place.topic, place.partition, next, READ_BYTES, isolation);
            let fetched = match fetch.await {
                Ok(fetched) => fetched,
                Err(error) if error.code() == Some(ErrorCode::OFFSET_OUT_OF_RANGE) => {
                    next = self.log_start_behind(place, next).await?;
                    continue;
                }
                Err(error) => return Err(self.failure(error)),
            };
            for batch in Batches::new(fetched.batches) {
                let at = next;
                let unreadable = |detail: String| Failure::Refuse {
                    reason: format!(
                        "{}-{} at {at} of the target cannot be read: {detail}",
                        place.topic, place.partition
                    ),
                };
                let view = batch.map_err(|error| unreadable(error.to_string()))?;
                if view.header.next_offset() <= next {
                    continue;
                }
                next = view.header.next_offset();
                unfenced.retain(|producer| !is_marker(&view.header, *producer));
                if unfenced.is_empty() {
                    return Ok(tail);
                }
                let ours = producers.iter().any(|producer| producer.id == view.header.producer_id);
                if ours && !view.header.attributes.is_control() {
                    match tail.push(&view) {
                        Ok(true) => {}
                        Ok(false) => {
                            return Err(unreadable(format!("more than {RECORDS_MAX} records not written down")));
                        }
                        Err(error) => return Err(unreadable(error.to_string())),
                    }
                }
            }
        }
    }

    /// Retention at the target took what lay at `next`: the log start, from which to go on.
    async fn log_start_behind(&self, place: &Place, next: i64) -> Result<i64, Failure> {
        let earliest = self.client.list_offset(&place.topic, place.partition, TIMESTAMP_EARLIEST).await;
        match earliest.map_err(|error| self.failure(error))?.offset {
            start if start > next => Ok(start),
            // a log that ends before it lost its tail: opening the lane again finds that
            _ => Err(Failure::Retry { reason: format!("{}-{} ends before {next}", place.topic, place.partition) }),
        }
    }

    fn failure(&self, error: ClientError) -> Failure {
        failure(&self.admin.fail(error))
    }
}

fn adding(
    id: &str,
    producer: ProducerId,
    places: &[Place],
    but: &BTreeMap<(String, i32), ClientError>,
) -> AddPartitionsToTxnRequest {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for place in places.iter().filter(|place| !but.contains_key(&(place.topic.clone(), place.partition))) {
        topics.entry(&place.topic).or_default().push(place.partition);
    }
    let topics =
        topics.into_iter().map(|(name, partitions)| AddPartitionsToTxnTopic { name: name.to_owned(), partitions });
    AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: id.to_owned(),
        v3_and_below_producer_id: producer.id,
        v3_and_below_producer_epoch: producer.epoch,
        v3_and_below_topics: topics.collect(),
        ..Default::default()
    }
}

fn each_code(answer: &AddPartitionsToTxnResponse) -> impl Iterator<Item = ((String, i32), ErrorCode)> + '_ {
    answer.results_by_topic_v3_and_below.iter().flat_map(|topic| {
        topic.results_by_partition.iter().map(|partition| {
            ((topic.name.clone(), partition.partition_index), ErrorCode(partition.partition_error_code))
        })
    })
}

/// Our marker, or that of somebody who took over after us: then our first batch is refused.
fn is_marker(header: &BatchHeader, producer: ProducerId) -> bool {
    header.attributes.is_control() && header.producer_id == producer.id && header.producer_epoch >= producer.epoch
}

/// Asks again while the coordinator is busy with the transaction before.
async fn patiently<T, F: Future<Output = Result<T, ClientError>>>(
    deadline: Instant,
    ask: impl Fn() -> F,
) -> Result<T, ClientError> {
    loop {
        match ask().await {
            Err(error) if error.code() == Some(ErrorCode::CONCURRENT_TRANSACTIONS) && Instant::now() < deadline => {
                tokio::time::sleep(BUSY_WAIT).await;
            }
            outcome => return outcome,
        }
    }
}

fn refusal(api: ApiKey, code: ErrorCode, subject: String) -> ClientError {
    ClientError::Broker { api, code, subject, message: None }
}

/// What an error of the fence means for its lanes. Another taker is met by trying again: whoever holds the flow is decided by its progress topic.
fn failure(error: &ClusterError) -> Failure {
    let fenced =
        [ErrorCode::INVALID_PRODUCER_EPOCH, ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_ID_MAPPING];
    let passing = error.code().is_some_and(|code| fenced.contains(&code)) || error.is_unknown_topic();
    let reason = format!("keeping older writers out: {error}");
    match passing || error.is_retriable() {
        true => Failure::Retry { reason },
        false => Failure::Refuse { reason },
    }
}
