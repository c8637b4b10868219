//! Feature levels over a real socket: shown, changed, kept over a restart.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use causeway_wire::ErrorCode;
use causeway_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use causeway_wire::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};
use support::{Raw, start};

async fn shown(raw: &mut Raw, version: i16) -> ApiVersionsResponse {
    let named = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    raw.call(version, &named).await
}

fn update(name: &str, level: i16, upgrade_type: i8) -> UpdateFeaturesRequest {
    let update =
        FeatureUpdateKey { feature: name.into(), max_version_level: level, upgrade_type, ..Default::default() };
    UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() }
}

fn level(shown: &ApiVersionsResponse, name: &str) -> Option<i16> {
    shown.finalized_features.iter().find(|f| f.name == name).map(|f| f.max_version_level)
}

#[tokio::test(flavor = "multi_thread")]
async fn features_are_shown_as_kafka_shows_them_and_kept_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let before = shown(&mut raw, 4).await;
    assert_eq!(level(&before, "metadata.version"), Some(30));
    assert!(before.finalized_features_epoch >= 0);
    let metadata = before.supported_features.iter().find(|f| f.name == "metadata.version").unwrap();
    assert_eq!((metadata.min_version, metadata.max_version), (7, 30));
    for feature in &before.finalized_features {
        let supported = before.supported_features.iter().find(|f| f.name == feature.name).unwrap();
        assert!((supported.min_version..=supported.max_version).contains(&feature.max_version_level));
    }
    // KAFKA-17492: clients of version 3 cannot read a lowest level of 0.
    let old = shown(&mut raw, 3).await;
    assert!(old.supported_features.iter().all(|f| f.min_version > 0));
    assert_eq!(old.finalized_features, before.finalized_features);

    // The rest can be switched off, and stays off.
    let off = before.supported_features.iter().find(|f| f.min_version == 0).map(|f| f.name.clone());
    if let Some(name) = &off {
        let done = raw.call(2, &update(name, 0, 2)).await;
        assert_eq!((done.error_code, done.error_message), (0, Some(String::new())));
        assert_eq!(level(&shown(&mut raw, 4).await, name), None);
    }
    let same = raw.call(1, &update("metadata.version", 30, 1)).await;
    assert_eq!((same.error_code, same.results.len()), (0, 1));
    let after = shown(&mut raw, 4).await;
    assert!(after.finalized_features_epoch > before.finalized_features_epoch);
    broker.shutdown().await;

    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let again = shown(&mut raw, 4).await;
    assert_eq!(again.finalized_features, after.finalized_features);
    assert!(again.finalized_features_epoch >= after.finalized_features_epoch);
    if let Some(name) = &off {
        assert_eq!(level(&again, name), None);
    }
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_level_changes_nothing_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    let before = shown(&mut raw, 4).await;
    for version in 0..=2 {
        let refused = raw.call(version, &update("no.such.feature", 1, 1)).await;
        assert_eq!(refused.error_code, ErrorCode::INVALID_UPDATE_VERSION.0);
        assert!(refused.error_message.unwrap().contains("Local controller 1 does not support this feature."));
        assert!(refused.results.is_empty());
    }
    let mut both = update("metadata.version", 30, 1);
    both.feature_updates.extend(update("metadata.version", 29, 2).feature_updates);
    let refused = raw.call(2, &both).await;
    assert!(refused.error_message.unwrap().contains("might delete metadata information"));
    let only = UpdateFeaturesRequest { validate_only: true, ..update("metadata.version", 30, 1) };
    assert_eq!(raw.call(2, &only).await.error_code, 0);
    assert_eq!(shown(&mut raw, 4).await.finalized_features_epoch, before.finalized_features_epoch);
    broker.shutdown().await;
}
