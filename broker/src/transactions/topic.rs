//! The topic `__transaction_state`.

use causeway_wire::ErrorCode;

use super::STATE_TOPIC;
use crate::meta::controller::NewTopic;
use crate::node::Node;

impl Node {
    /// Makes sure that `__transaction_state` is there.
    pub async fn ready_for_transactions(&self) -> Result<(), ErrorCode> {
        if self.is_open(STATE_TOPIC) {
            return Ok(());
        }
        let config = |key: &str, value: String| (key.to_owned(), Some(value));
        let segment_bytes = self.config.number("transaction.state.log.segment.bytes").max(1 << 20);
        // With fewer brokers than transaction.state.log.replication.factor asks for, it is made with the brokers there are.
        let topic = NewTopic {
            name: STATE_TOPIC.to_owned(),
            partitions: self.config.number("transaction.state.log.num.partitions") as i32,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: vec![
                config("cleanup.policy", "compact".into()),
                config("compression.type", "uncompressed".into()),
                config("min.insync.replicas", "1".into()),
                config("segment.bytes", segment_bytes.to_string()),
                config("unclean.leader.election.enable", "false".into()),
            ],
        };
        let outcome = self.create_topics(vec![topic], false).await.pop();
        match outcome {
            Some(Err(refusal)) if refusal.code != ErrorCode::TOPIC_ALREADY_EXISTS => {
                tracing::error!(code = refusal.code.name(), "cannot make {STATE_TOPIC}");
                Err(ErrorCode::COORDINATOR_NOT_AVAILABLE)
            }
            // Somebody else may be making it: this waits for them.
            _ => match self.open_topic(STATE_TOPIC).await {
                Ok(()) if self.is_open(STATE_TOPIC) => Ok(()),
                _ => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            },
        }
    }
}
