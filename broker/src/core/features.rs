//! Features: what all nodes of a cluster must agree on before one of them uses it (KIP-584, KIP-1022).
//!
//! `FEATURES` is the one place where a feature is switched on: what stands there is shown as supported, and finalized at
//! `initial` in the metadata of a node that has no level for it yet. Only list what is really honoured. Pure.

use std::collections::BTreeMap;

use causeway_wire::ErrorCode;

use crate::meta::controller::{Refusal, refuse};

/// Level of what the metadata log itself can hold; the levels of Apache Kafka.
pub const METADATA_VERSION: &str = "metadata.version";

/// Which kinds of groups there are; the levels of Apache Kafka.
pub const GROUP_VERSION: &str = "group.version";

/// One feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// Lowest level that this node can work at; 0 is "off".
    pub min: i16,
    /// Highest level that this node can work at.
    pub max: i16,
    /// Level that a cluster without one gets.
    pub initial: i16,
}

/// What this node supports, by name. Another line here is all it takes to show and finalize a feature.
pub const FEATURES: &[Feature] = &[
    // 1: consumer groups (KIP-848).
    Feature { name: GROUP_VERSION, min: 0, max: 1, initial: 1 },
    // 3.3-IV3 to 4.3-IV0: the range of Apache Kafka 4.3; tools choose by it what they may ask for.
    Feature { name: METADATA_VERSION, min: 7, max: 30, initial: 30 },
    // KIP-890: clients that see level 2 end every transaction with a new epoch and add partitions by writing to them.
    Feature { name: "transaction.version", min: 0, max: 2, initial: 2 },
];

/// Finalized levels by name; a level of 0 is a feature that was switched off.
pub type Levels = BTreeMap<String, i16>;

/// How UpdateFeatures may move a level (`FeatureUpdate.UpgradeType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Up only.
    Upgrade,
    /// Down, if nothing can be lost by it.
    SafeDowngrade,
    /// Down in any case.
    UnsafeDowngrade,
    /// A number that is none of these.
    Unknown,
}

impl Direction {
    /// From the number in the request.
    pub fn of(code: i8) -> Self {
        match code {
            1 => Self::Upgrade,
            2 => Self::SafeDowngrade,
            3 => Self::UnsafeDowngrade,
            _ => Self::Unknown,
        }
    }
}

/// The feature of that name.
pub fn find(name: &str) -> Option<&'static Feature> {
    FEATURES.iter().find(|f| f.name == name)
}

/// Levels to finalize at start: of every feature that the metadata says nothing about.
pub fn missing(levels: &Levels) -> Vec<(String, i16)> {
    let absent = FEATURES.iter().filter(|f| !levels.contains_key(f.name));
    absent.map(|f| (f.name.to_owned(), f.initial)).collect()
}

/// The first finalized level that this node cannot work at: an older program must not touch such data.
pub fn beyond(levels: &Levels) -> Option<String> {
    let bad = levels.iter().find(|(name, level)| match find(name) {
        Some(feature) => **level > feature.max || (**level != 0 && **level < feature.min),
        None => **level != 0,
    });
    bad.map(|(name, level)| {
        format!("feature {name} is finalized at level {level}, which this program does not support")
    })
}

/// Whether one level may move to another, in the words of Kafka's controller.
pub fn check_update(levels: &Levels, name: &str, level: i16, direction: Direction, node: i32) -> Result<(), Refusal> {
    let bad = |why: &str| {
        let words = format!("Invalid update version {level} for feature {name}. {why}");
        Err(refuse(ErrorCode::INVALID_UPDATE_VERSION, words))
    };
    if direction == Direction::Unknown {
        return bad("The controller does not support the given upgrade type.");
    }
    if level < 0 {
        return bad("A feature version cannot be less than 0.");
    }
    let Some(feature) = find(name) else {
        return bad(&format!("Local controller {node} does not support this feature."));
    };
    if level < feature.min || level > feature.max {
        return bad(&format!("Local controller {node} only supports versions {}-{}", feature.min, feature.max));
    }
    let now = levels.get(name).copied().unwrap_or(0);
    if level < now && direction == Direction::Upgrade {
        return bad(
            "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.",
        );
    }
    if level > now && direction != Direction::Upgrade {
        return bad("Can't downgrade to a newer version.");
    }
    if name == METADATA_VERSION && level < now {
        let what = format!("Unsupported metadata.version downgrade from {now} to {level}.");
        let why = match direction {
            Direction::UnsafeDowngrade => "Unsafe metadata downgrade is not supported in this version.",
            _ => "Refusing to perform the requested downgrade because it might delete metadata information.",
        };
        return Err(refuse(ErrorCode::INVALID_UPDATE_VERSION, format!("{what} {why}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_levels_are_supported_ones_and_names_are_unique() {
        for (i, feature) in FEATURES.iter().enumerate() {
            assert!(feature.min <= feature.initial && feature.initial <= feature.max, "{feature:?}");
            assert!(FEATURES[..i].iter().all(|other| other.name != feature.name));
        }
    }

    #[test]
    fn a_new_node_gets_the_initial_levels_and_a_switched_off_feature_stays_off() {
        let mut levels = Levels::new();
        assert_eq!(missing(&levels).len(), FEATURES.len());
        levels.extend(FEATURES.iter().map(|f| (f.name.to_owned(), 0)));
        assert!(missing(&levels).is_empty());
        assert!(beyond(&levels).is_none());
        levels.insert("never.heard.of".into(), 1);
        assert!(beyond(&levels).unwrap().contains("never.heard.of"));
        levels.insert("never.heard.of".into(), 0);
        levels.insert(METADATA_VERSION.into(), 31);
        assert!(beyond(&levels).unwrap().contains("31"));
    }

    #[test]
    fn levels_move_as_in_kafka() {
        let levels = Levels::from([(METADATA_VERSION.to_owned(), 20)]);
        let check = |name: &str, level, direction| {
            check_update(&levels, name, level, direction, 1).map_err(|r| (r.code.0, r.message))
        };
        assert_eq!(check(METADATA_VERSION, 21, Direction::Upgrade), Ok(()));
        assert_eq!(check(METADATA_VERSION, 20, Direction::SafeDowngrade), Ok(()));
        let words = |level, direction| check(METADATA_VERSION, level, direction).unwrap_err().1;
        assert!(words(31, Direction::Upgrade).ends_with("Local controller 1 only supports versions 7-30"));
        assert!(words(-1, Direction::Upgrade).contains("cannot be less than 0"));
        assert!(words(19, Direction::Upgrade).contains("without setting the upgrade type"));
        assert!(words(21, Direction::SafeDowngrade).ends_with("Can't downgrade to a newer version."));
        assert!(words(19, Direction::SafeDowngrade).contains("from 20 to 19. Refusing"));
        assert!(words(19, Direction::UnsafeDowngrade).contains("not supported in this version"));
        assert!(words(20, Direction::of(9)).contains("upgrade type"));
        assert_eq!(check("foo", 1, Direction::Upgrade).unwrap_err().0, ErrorCode::INVALID_UPDATE_VERSION.0);
    }
}
