//! What the pipelines of a flow are made of, by its engine.

use super::pipeline::{Ends, PIPELINES_MAX};
use super::targets::Target;
use crate::cluster::batch::BatchEngine;
use crate::cluster::ends::EndsBoard;
use crate::cluster::record::{RecordSink, RecordSource, SinkSettings};
use crate::cluster::{Admin, ClusterSpec};

/// Makes both ends of a pipeline.
#[derive(Debug)]
pub(super) enum Machine {
    /// rdkafka: a consumer and a producer per pipeline.
    Record {
        source: ClusterSpec,
        target: ClusterSpec,
        /// Headers are looked at.
        provenance: bool,
    },
    /// Our own connections, shared by all lanes of the flow.
    Batch(BatchEngine),
}

impl Machine {
    /// Pipelines per flow. The batch engine has one: it packs what all lanes have for a broker into one request.
    pub fn pipelines_max(&self) -> usize {
        match self {
            Machine::Record { .. } => PIPELINES_MAX,
            Machine::Batch(_) => 1,
        }
    }

    /// Both ends of a pipeline between these clusters; `target` is its first topic's.
    pub fn ends(&self, clusters: (&Admin, &Admin), target: &Target, board: &EndsBoard) -> Result<Ends, String> {
        let runtime = tokio::runtime::Handle::current();
        let (source_admin, target_admin) = clusters;
        match self {
            Machine::Record { source, target: spec, provenance } => {
                let words = |error: &dyn std::fmt::Display| format!("librdkafka refuses its settings: {error}");
                let source =
                    RecordSource::new(source, source_admin.clone(), board.clone(), runtime.clone(), *provenance)
                        .map_err(|error| words(&error))?;
                let settings = SinkSettings {
                    compression: target.compression.clone(),
                    message_bytes_max: target.message_bytes_max,
                };
                let sink =
                    RecordSink::new(spec, &settings, target_admin.clone(), runtime).map_err(|error| words(&error))?;
                Ok((Box::new(source), Box::new(sink)))
            }
            Machine::Batch(engine) => {
                let (source, sink) = engine.ends(board.clone(), &runtime);
                Ok((Box::new(source), Box::new(sink)))
            }
        }
    }
}
