//! UpdateFeatures (57).
//!
//! *Behaviour*: moves finalized levels (KIP-584): all of a request or none, stored in the metadata log before the answer.
//! Versions 0 and 1 also tell each feature's outcome; a refusal stands at the top in all versions.
//! *Versions*: 0-2. *Skipped*: features of other nodes (there are none).

use std::ops::RangeInclusive;

use causeway_wire::ErrorCode;
use causeway_wire::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use super::Context;
use crate::core::features::{Direction, check_update};
use crate::meta::MetaRecord;
use crate::meta::controller::{Refusal, refuse};

/// Versions served.
pub const VERSIONS: RangeInclusive<i16> = 0..=2;

/// Answers the request.
pub async fn handle(context: &Context, request: UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let node_id = context.node.config.node_id;
    let version = context.version();
    let decided = context.node.meta.update(|image| {
        let mut records = Vec::new();
        for update in &request.feature_updates {
            let (name, level) = (&update.feature, update.max_version_level);
            if let Err(refusal) = check_update(&image.features, name, level, direction(update, version), node_id) {
                return (Vec::new(), Err(refusal));
            }
            records.push(MetaRecord::FeatureLevel { name: name.clone(), level });
        }
        (if request.validate_only { Vec::new() } else { records }, Ok(()))
    });
    let outcome = match decided.await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "cannot update features");
            Err(refuse(ErrorCode::UNKNOWN_SERVER_ERROR, error.to_string()))
        }
    };
    if outcome.is_ok() && !request.validate_only {
        for update in &request.feature_updates {
            tracing::info!(feature = update.feature, level = update.max_version_level, "feature level finalized");
        }
    }
    answer(version, &request, outcome)
}

fn direction(update: &FeatureUpdateKey, version: i16) -> Direction {
    match version {
        0 if update.allow_downgrade => Direction::SafeDowngrade,
        0 => Direction::Upgrade,
        _ => Direction::of(update.upgrade_type),
    }
}

fn answer(version: i16, request: &UpdateFeaturesRequest, outcome: Result<(), Refusal>) -> UpdateFeaturesResponse {
    match outcome {
        Err(Refusal { code, message }) => {
            let all = format!("The update failed for all features since the following feature had an error: {message}");
            UpdateFeaturesResponse { error_code: code.0, error_message: Some(all), ..Default::default() }
        }
        Ok(()) => {
            let done = |update: &FeatureUpdateKey| UpdatableFeatureResult {
                feature: update.feature.clone(),
                ..Default::default()
            };
            let results = if version <= 1 { request.feature_updates.iter().map(done).collect() } else { Vec::new() };
            UpdateFeaturesResponse { results, ..Default::default() }
        }
    }
}
