//! Rights on a real node: what the principal may do with one topic, and what the daemon says when it may not.
use causeway_wire::client::{Client, ClientConfig};
use causeway_wire::messages::create_acls::{AclCreation, CreateAclsRequest};

use crate::support::process::Daemon;

/// Kafka's numbers of operations.
pub const READ: i8 = 3;
pub const DESCRIBE: i8 = 8;
pub const DESCRIBE_CONFIGS: i8 = 10;

const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const ALLOW: i8 = 3;

/// From now on nobody may do more with `topic` than these operations.
pub fn allow_only(bootstrap: &str, topic: &str, operations: &[i8]) {
    let creation = |operation: &i8| AclCreation {
        resource_type: TOPIC,
        resource_name: topic.to_owned(),
        resource_pattern_type: LITERAL,
        principal: "User:ANONYMOUS".to_owned(),
        host: "*".to_owned(),
        operation: *operation,
        permission_type: ALLOW,
    };
    let request = CreateAclsRequest { creations: operations.iter().map(creation).collect() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(ClientConfig::new([bootstrap])).await.unwrap();
        let answer = client.controller(request).await.unwrap();
        for result in answer.results {
            assert_eq!(result.error_code, 0, "{:?}", result.error_message);
        }
    });
}

/// What the status says against `topic`, as a refusal or as the reason of its lane.
pub fn reason(daemon: &Daemon, topic: &str) -> Option<String> {
    let (_, body) = daemon.get("/v1/status")?;
    let status: serde_json::Value = serde_json::from_str(&body).ok()?;
    let flow = &status["flows"][0];
    let refused = flow["refused"].as_array()?.iter().find(|refusal| refusal["topic"] == topic);
    if let Some(refusal) = refused {
        return refusal["reason"].as_str().map(str::to_owned);
    }
    let lane = flow["lanes"].as_array()?.iter().find(|lane| lane["generation"]["topic"] == topic)?;
    lane["reason"].as_str().map(str::to_owned)
}
