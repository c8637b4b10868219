//! Heartbeat records: one topic of one partition, compacted, key and value as MirrorMaker 2 writes them.

use bytes::BufMut as _;
use causeway_wire::records::{BatchBuilder, Codec};

use super::progress_topic::now_ms;
use super::topics::TopicConfig;
use super::{Admin, ClusterError};

/// The version that MirrorMaker 2 writes in front of a heartbeat's value.
const VERSION: i16 = 0;

/// Writes the heartbeats of one flow.
#[derive(Debug)]
pub struct Heartbeats {
    admin: Admin,
    topic: String,
    key: Vec<u8>,
}

impl Heartbeats {
    /// Heartbeats from `source` to `target` (aliases), written to `topic` of the cluster.
    #[must_use]
    pub fn new(admin: Admin, topic: &str, source: &str, target: &str) -> Self {
        let mut key = Vec::new();
        for alias in [source, target] {
            // Kafka's STRING: length as INT16, then UTF-8
            key.put_i16(i16::try_from(alias.len()).unwrap_or(i16::MAX));
            key.put_slice(alias.as_bytes());
        }
        Heartbeats { admin, topic: topic.to_owned(), key }
    }

    /// Writes one now; creates the topic when it is not there.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses.
    pub async fn beat(&self) -> Result<(), ClusterError> {
        let now = now_ms();
        match self.write(now).await {
            Err(error) if error.is_unknown_topic() => {
                let config = TopicConfig::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
                self.admin.create_topic(&self.topic, 1, &config).await?;
                self.write(now).await
            }
            outcome => outcome,
        }
    }

    async fn write(&self, now: i64) -> Result<(), ClusterError> {
        let unreadable = |error: causeway_wire::records::RecordError| ClusterError::Unreadable {
            alias: self.admin.alias().to_owned(),
            topic: self.topic.clone(),
            detail: error.to_string(),
        };
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(now, Some(&self.key), Some(&value(now)), &[]).map_err(unreadable)?;
        let batch = batch.build().map_err(unreadable)?;
        let written = self.admin.client().produce_batch(&self.topic, 0, batch).await;
        written.map(|_| ()).map_err(|error| self.admin.fail(error))
    }
}

fn value(now: i64) -> Vec<u8> {
    let mut value = Vec::new();
    value.put_i16(VERSION);
    value.put_i64(now);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_has_mirror_maker_2s_bytes() {
        assert_eq!(value(0x0102), [0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
