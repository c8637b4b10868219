//! DescribeClientQuotas (48).
//!
//! *Behaviour*: quotas of the entities that a filter asks for: by name, the default of a type, or any (KIP-546).
//! *Versions*: 0-1. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::messages::describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};

use super::Context;
use crate::meta::quotas::{filter, matches};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=1;

/// Answers the request.
pub async fn handle(context: &Context, request: DescribeClientQuotasRequest) -> DescribeClientQuotasResponse {
    let parts = request.components.into_iter().map(|c| (c.entity_type, c.match_type, c.r#match));
    let filter = match filter(parts) {
        Ok(filter) => filter,
        Err(refusal) => {
            return DescribeClientQuotasResponse {
                error_code: refusal.code.0,
                error_message: Some(refusal.message),
                entries: None,
                ..Default::default()
            };
        }
    };
    let image = context.node.meta.image();
    let found = image.clients.quotas.iter().filter(|(entity, _)| matches(entity, &filter, request.strict));
    let entries = found.map(|(entity, quotas)| {
        let part = |(kind, name): (&String, &Option<String>)| EntityData {
            entity_type: kind.clone(),
            entity_name: name.clone(),
            ..Default::default()
        };
        let value = |(key, value): (&String, &f64)| ValueData { key: key.clone(), value: *value, ..Default::default() };
        EntryData {
            entity: entity.iter().map(part).collect(),
            values: quotas.iter().map(value).collect(),
            ..Default::default()
        }
    });
    DescribeClientQuotasResponse { error_message: None, entries: Some(entries.collect()), ..Default::default() }
}
