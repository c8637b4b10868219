//! ApiVersions (18).
//!
//! *Behaviour*: shows `ENABLED`. Produce is shown from version 0, because librdkafka stops compressing if its low end is
//! higher (KAFKA-18659); versions 0-2 are answered with UNSUPPORTED_VERSION. An unknown version of this request is answered in
//! version 0 with UNSUPPORTED_VERSION and the versions of this API (KIP-511). A malformed client name: INVALID_REQUEST.
//! Features: those of `core::features`, their finalized levels, and the version of the metadata as epoch; a lowest level of 0
//! is left out below version 4, where clients could not read it (KAFKA-17492).
//! *Versions*: 0-4. *Skipped*: nothing.

use std::ops::RangeInclusive;

use causeway_wire::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use causeway_wire::{ApiKey, ErrorCode};

use super::{Context, ENABLED};
use crate::core::features::{FEATURES, Feature, Levels};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=4;

/// Answers the request.
pub async fn handle(context: &Context, request: ApiVersionsRequest) -> ApiVersionsResponse {
    let named = |text: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(text.chars().next())
            && edge(text.chars().last())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    let sound = named(&request.client_software_name) && named(&request.client_software_version);
    if context.version() >= 3 && !sound {
        return ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.0, ..Default::default() };
    }
    let image = context.node.meta.image();
    ApiVersionsResponse {
        api_keys: api_keys(),
        supported_features: supported(context.version()),
        finalized_features_epoch: image.version as i64,
        finalized_features: finalized(&image.features),
        ..Default::default()
    }
}

fn supported(version: i16) -> Vec<SupportedFeatureKey> {
    let shown = FEATURES.iter().filter(|f| version >= 4 || f.min > 0);
    let key = |f: &Feature| SupportedFeatureKey {
        name: f.name.to_owned(),
        min_version: f.min,
        max_version: f.max,
        ..Default::default()
    };
    shown.map(key).collect()
}

fn finalized(levels: &Levels) -> Vec<FinalizedFeatureKey> {
    let on = levels.iter().filter(|(_, level)| **level != 0);
    let key = |(name, level): (&String, &i16)| FinalizedFeatureKey {
        name: name.clone(),
        max_version_level: *level,
        min_version_level: *level,
        ..Default::default()
    };
    on.map(key).collect()
}

fn api_keys() -> Vec<ApiVersion> {
    let entry = |(key, range): &(ApiKey, RangeInclusive<i16>)| {
        let min = if *key == ApiKey::Produce { 0 } else { *range.start() };
        ApiVersion { api_key: i16::from(*key), min_version: min, max_version: *range.end(), ..Default::default() }
    };
    ENABLED.iter().map(entry).collect()
}

/// The answer to a version that is not known.
pub fn unsupported() -> ApiVersionsResponse {
    let own = api_keys().into_iter().filter(|k| k.api_key == i16::from(ApiKey::ApiVersions)).collect();
    ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION.0, api_keys: own, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_shown_can_be_encoded_and_produce_starts_at_zero() {
        for (key, range) in ENABLED {
            let known = key.versions();
            assert!(known.contains(range.start()) && known.contains(range.end()), "{key} {range:?} of {known:?}");
        }
        let produce = api_keys().into_iter().find(|k| k.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
    }
}
