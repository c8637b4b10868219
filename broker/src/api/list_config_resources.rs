//! ListConfigResources (74).
//!
//! *Behaviour*: what settings can be described of (KIP-1142): topics, this broker and its loggers, and the groups and client
//! metrics subscriptions that have settings of their own. Version 0 lists the subscriptions only.
//! *Versions*: 0-1. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use super::Context;
use crate::meta::clients::ResourceKind;
use crate::meta::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// Every type there is.
const ALL: &[i8] = &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

/// Answers the request.
pub async fn handle(context: &Context, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    let asked = request.resource_types;
    if asked.iter().any(|kind| !ALL.contains(kind)) {
        return ListConfigResourcesResponse { error_code: ErrorCode::UNSUPPORTED_VERSION.0, ..Default::default() };
    }
    let wanted = |kind: i8| match context.version() {
        0 => kind == CLIENT_METRICS,
        _ => asked.is_empty() || asked.contains(&kind),
    };
    let image = context.node.meta.image();
    let own = |kind: ResourceKind| {
        let all = image.clients.resources.keys();
        all.filter(|(k, _)| *k == kind).map(|(_, name)| name.clone()).collect::<Vec<_>>()
    };
    let mut config_resources = Vec::new();
    for kind in ALL.iter().copied().filter(|kind| wanted(*kind)) {
        let names = match kind {
            TOPIC => image.topics().map(|t| t.name.clone()).collect(),
            BROKER | BROKER_LOGGER => vec![context.node.config.node_id.to_string()],
            CLIENT_METRICS => own(ResourceKind::ClientMetrics),
            _ => own(ResourceKind::Group),
        };
        let resource = |name| ConfigResource { resource_name: name, resource_type: kind, ..Default::default() };
        config_resources.extend(names.into_iter().map(resource));
    }
    ListConfigResourcesResponse { config_resources, ..Default::default() }
}
