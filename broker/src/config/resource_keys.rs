//! Settings of groups (KIP-848) and of client metrics subscriptions (KIP-714): names, types, defaults.

use super::effective::Levels;
use super::{Kind, items, keys};

/// One setting of a group.
#[derive(Debug, Clone, Copy)]
pub struct GroupKey {
    /// Kafka's name.
    pub name: &'static str,
    /// Type and bounds.
    pub kind: Kind,
    /// Default in text form, where the broker setting says nothing.
    pub default: &'static str,
    /// The broker setting that gives the default.
    pub synonym: &'static str,
    /// Broker settings that bound it, each with its own default.
    pub bounds: [(&'static str, i64); 2],
}

const IMAX: i64 = i32::MAX as i64;

/// Settings of consumer groups, sorted by name. Those of share and streams groups are absent like these groups themselves.
pub const GROUP_KEYS: &[GroupKey] = &[
    GroupKey {
        name: "consumer.assignment.interval.ms",
        kind: Kind::Int(0, IMAX),
        default: "1000",
        synonym: "group.consumer.assignment.interval.ms",
        bounds: [
            ("group.consumer.min.assignment.interval.ms", 0),
            ("group.consumer.max.assignment.interval.ms", 15_000),
        ],
    },
    GroupKey {
        name: "consumer.heartbeat.interval.ms",
        kind: Kind::Int(1, IMAX),
        default: "5000",
        synonym: "group.consumer.heartbeat.interval.ms",
        bounds: [
            ("group.consumer.min.heartbeat.interval.ms", 5_000),
            ("group.consumer.max.heartbeat.interval.ms", 15_000),
        ],
    },
    GroupKey {
        name: "consumer.session.timeout.ms",
        kind: Kind::Int(1, IMAX),
        default: "45000",
        synonym: "group.consumer.session.timeout.ms",
        bounds: [("group.consumer.min.session.timeout.ms", 45_000), ("group.consumer.max.session.timeout.ms", 60_000)],
    },
];

/// The group setting of that name.
pub fn find_group(name: &str) -> Option<&'static GroupKey> {
    GROUP_KEYS.iter().find(|k| k.name == name)
}

/// Checks a group's setting against its type and the broker's bounds.
pub fn check_group(levels: &Levels<'_>, key: &GroupKey, value: &str) -> Result<(), String> {
    key.kind.check(key.name, value)?;
    let number: i64 = value.trim().parse().unwrap_or(0);
    let bound = |(name, default): (&str, i64)| match keys::find(name) {
        Some(_) => levels.broker_value(name).and_then(|v| v.trim().parse().ok()).unwrap_or(default),
        None => default,
    };
    let [min, max] = key.bounds;
    if number < bound(min) {
        return Err(format!("{} must be greater than or equal to {}", key.name, min.0));
    }
    if number > bound(max) {
        return Err(format!("{} must be less than or equal to {}", key.name, max.0));
    }
    Ok(())
}

/// Settings of a client metrics subscription with their types and defaults.
pub const METRICS_KEYS: &[(&str, Kind, &str)] = &[
    ("interval.ms", Kind::Int(100, 3_600_000), "300000"),
    ("match", Kind::List(&[]), ""),
    ("metrics", Kind::List(&[]), ""),
];

/// What a subscription's `match` may select clients by.
const SELECTORS: &[&str] = &[
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Why a subscription's setting is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum MetricsRefusal {
    /// INVALID_REQUEST.
    Request(String),
    /// INVALID_CONFIG.
    Config(String),
}

/// Checks one setting of a subscription.
pub fn check_metrics(name: &str, value: &str) -> Result<(), MetricsRefusal> {
    match name {
        "interval.ms" => match value.trim().parse::<i32>() {
            Ok(ms) if (100..=3_600_000).contains(&ms) => Ok(()),
            _ => Err(MetricsRefusal::Request(format!(
                "Invalid value {value} for interval.ms, interval must be between 100 and 3600000 (1 hour)"
            ))),
        },
        "metrics" => Ok(()),
        "match" => {
            let sound = |pattern: &str| {
                let Some((selector, regex)) = pattern.split_once('=') else { return false };
                SELECTORS.contains(&selector.trim()) && regex::Regex::new(regex.trim()).is_ok()
            };
            match items(value).find(|pattern| !sound(pattern)) {
                Some(bad) => Err(MetricsRefusal::Config(format!("Illegal client matching pattern: {bad}"))),
                None => Ok(()),
            }
        }
        _ => Err(MetricsRefusal::Request(format!("Unknown client metrics configuration: {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::effective::Settings;

    #[test]
    fn values_outside_the_brokers_bounds_are_refused() {
        let none = Settings::new();
        let levels = Levels { broker: &none, cluster: &none, statics: &none };
        let check = |value: &str| check_group(&levels, find_group("consumer.session.timeout.ms").unwrap(), value);
        assert_eq!(check("50000"), Ok(()));
        assert!(check("1").unwrap_err().contains("group.consumer.min.session.timeout.ms"));
        assert!(check("99999").unwrap_err().contains("group.consumer.max.session.timeout.ms"));
        assert!(check("soon").unwrap_err().contains("Not a number"));
        assert!(find_group("nope").is_none());
        for key in GROUP_KEYS {
            check_group(&levels, key, key.default).unwrap();
        }
    }

    #[test]
    fn subscriptions_are_checked_as_kafka_checks_them() {
        assert_eq!(check_metrics("match", "client_id=a.*,client_software_name=x"), Ok(()));
        let bad = MetricsRefusal::Config("Illegal client matching pattern: foo=b".into());
        assert_eq!(check_metrics("match", "client_id=x,foo=b"), Err(bad));
        assert!(matches!(check_metrics("match", "client_id=("), Err(MetricsRefusal::Config(_))));
        assert!(matches!(check_metrics("interval.ms", "1"), Err(MetricsRefusal::Request(_))));
        assert!(matches!(check_metrics("nope", "1"), Err(MetricsRefusal::Request(_))));
        assert_eq!(check_metrics("metrics", "org.apache.kafka."), Ok(()));
    }
}
