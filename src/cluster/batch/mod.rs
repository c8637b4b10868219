//! The batch engine: whole record batches from one cluster to the other, unread.
//!
//! Only a batch's header is looked into and rewritten (base offset, attributes, producer); its records travel as they lie in the source's log, so
//! damage on the way still shows at the target. What a target would refuse or tear (holes left by compaction, records to leave out, append times,
//! more bytes than it takes) goes through `rewrite` instead, batch by batch.
//!
//! With exactly-once delivery a lane writes under a producer that belongs to a `transactional.id` (ADR 0006): after every reset `fence` makes the
//! target refuse whatever an older writer has on its way, and `tail` finds what that one had landed, so that it is not written again.

mod budget;
mod courier;
mod fence;
mod fetcher;
mod origins;
mod piece;
mod rewrite;
mod sink;
mod source;
mod steward;
mod tail;
mod verdict;
mod wake;
mod writer;

pub use piece::Pieces;
pub use sink::BatchSink;
pub use source::BatchSource;

use std::sync::Arc;
use std::time::Duration;

use causeway_wire::client::{Client, ClientConfig};

use self::budget::Budget;
use self::fence::Fence;
use self::origins::Origins;
use self::wake::Wake;
use super::ends::EndsBoard;
use super::{Admin, ClusterError};
use crate::core::ids::{Alias, FlowName};
use crate::core::origins::Born;

/// Longest wait for an answer to Fetch and Produce: above a broker's own waits, below what people take for a hang.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Requests of one connection on their way: with small batches of few partitions, 256 x 16 KB at 100 ms are 40 MB/s.
const IN_FLIGHT_MAX: usize = 256;

/// The connections of a flow's batch engine. They are its own: a long poll would hold up whatever shares its connection.
#[derive(Debug, Clone)]
pub struct BatchEngine {
    source: (Admin, Client),
    target: (Admin, Client),
    flow: FlowName,
    tells_origins: bool,
    exactly_once: bool,
}

impl BatchEngine {
    /// Connects to both clusters. `tells_origins`: of every batch it is told where its records were born. `exactly_once` keeps older writers of the flow
    /// out; without it a crash may double the last records.
    ///
    /// # Errors
    /// A cluster is not reached, or is another one by now.
    pub async fn connect(
        source: &Admin,
        target: &Admin,
        flow: &FlowName,
        tells_origins: bool,
        exactly_once: bool,
    ) -> Result<Self, ClusterError> {
        let (from, to) = tokio::try_join!(connect(source), connect(target))?;
        let (source, target) = ((source.clone(), from), (target.clone(), to));
        Ok(BatchEngine { source, target, flow: flow.clone(), tells_origins, exactly_once })
    }

    /// Both ends, for one pipeline with all lanes of the flow.
    #[must_use]
    pub fn ends(&self, board: EndsBoard, runtime: &tokio::runtime::Handle) -> (BatchSource, BatchSink) {
        let (wake, budget) = (Wake::default(), Budget::default());
        let (admin, client) = self.source.clone();
        let born = Born { cluster: admin.cluster_id().clone(), alias: Alias::new(admin.alias()) };
        let origins = self.tells_origins.then(|| Origins::new(admin.clone()));
        let source = BatchSource::new(admin, client, board, budget, origins, wake.clone(), runtime);
        let (admin, client) = self.target.clone();
        let (flow, born) = (self.flow.clone(), Arc::new(born));
        let fence = Fence::new(admin.clone(), client.clone(), flow, born, self.exactly_once, self.tells_origins);
        (source, BatchSink::new(admin, client, fence, wake, runtime))
    }
}

async fn connect(admin: &Admin) -> Result<Client, ClusterError> {
    let config = ClientConfig {
        request_timeout: REQUEST_TIMEOUT,
        in_flight_max: IN_FLIGHT_MAX,
        expected_cluster_id: Some(admin.cluster_id().to_string()),
        ..admin.client().config().clone()
    };
    Client::connect(config).await.map_err(|error| admin.fail(error))
}
