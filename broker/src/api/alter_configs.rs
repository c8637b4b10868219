//! AlterConfigs (33).
//!
//! *Behaviour*: what a resource names is set, everything else that was set on it is taken back; else as
//! IncrementalAlterConfigs (44), which replaced it.
//! *Versions*: 0-2. *Skipped*: broker loggers, which only IncrementalAlterConfigs takes, as in Kafka.

use std::ops::RangeInclusive;

use causeway_wire::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};

use super::Context;
use super::incremental_alter_configs::{alter, split};
use crate::meta::configs::{Alteration, Change, Resource};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// Answers the request.
pub async fn handle(context: &Context, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let resources: Vec<Resource> = request.resources.into_iter().map(resource).collect();
    let outcomes = alter(context, &resources, request.validate_only, true).await;
    let responses = resources.into_iter().zip(outcomes).map(|(resource, outcome)| {
        let (code, error_message) = split(outcome);
        AlterConfigsResourceResponse {
            error_code: code.0,
            error_message,
            resource_type: resource.kind,
            resource_name: resource.name,
            ..Default::default()
        }
    });
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn resource(resource: AlterConfigsResource) -> Resource {
    let alterations =
        resource.configs.into_iter().map(|c| Alteration { name: c.name, change: Change::Set, value: c.value });
    Resource { kind: resource.resource_type, name: resource.resource_name, alterations: alterations.collect() }
}
