//! What can be set, at which level, and what is in force.
//!
//! `keys` is the registry of broker settings, `kafka_keys` all that Kafka shows, `topic_keys` that of topic settings, `valid` makes the typed configuration a
//! node starts with, `effective` resolves a setting through topic, dynamic, static and default levels.

pub mod docs;
pub mod effective;
pub mod kafka_keys;
pub mod keys;
pub mod resource_keys;
pub mod topic_keys;
pub mod valid;

pub use effective::{Resolved, Source};
pub use valid::{BrokerConfig, ConfigError, Listener};

/// What a value must look like; also the type that DescribeConfigs reports.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Bool,
    /// 32-bit number within bounds.
    Int(i64, i64),
    /// 64-bit number within bounds.
    Long(i64, i64),
    /// Floating-point number within bounds.
    Double(f64, f64),
    /// Any text.
    Str,
    /// Comma-separated list; with names given, each item must be one of them.
    List(&'static [&'static str]),
    /// Comma-separated pairs of an address and how many connections it may have.
    AddressCounts,
    /// One of the names given.
    Enum(&'static [&'static str]),
}

impl Kind {
    /// Says why `value` is not of this kind, in the words an operator needs.
    pub fn check(self, name: &str, value: &str) -> Result<(), String> {
        let bad = |why: String| Err(format!("Invalid value {value} for configuration {name}: {why}"));
        match self {
            Kind::Bool if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") => {
                bad("Expected value to be either true or false".into())
            }
            Kind::Int(min, max) => match value.trim().parse::<i32>() {
                Err(_) => bad("Not a number of type INT".into()),
                Ok(n) => within(i64::from(n), min, max).or_else(bad),
            },
            Kind::Long(min, max) => match value.trim().parse::<i64>() {
                Err(_) => bad("Not a number of type LONG".into()),
                Ok(n) => within(n, min, max).or_else(bad),
            },
            Kind::Double(min, max) => match value.trim().parse::<f64>() {
                Ok(n) if n >= min && n <= max => Ok(()),
                Ok(_) => bad(format!("Value must be between {min} and {max}")),
                Err(_) => bad("Not a number of type DOUBLE".into()),
            },
            Kind::AddressCounts if crate::net::doors::overrides(value).len() != items(value).count() => {
                bad("Each item must be address:count, the address a number".into())
            }
            Kind::Enum(names) if !names.contains(&value) => bad(format!("String must be one of: {}", names.join(", "))),
            Kind::List(names) if !names.is_empty() => match items(value).find(|item| !names.contains(item)) {
                Some(_) => bad(format!("String must be one of: {}", names.join(", "))),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The number that DescribeConfigs uses for this type (ConfigEntry.ConfigType of Kafka's admin API).
    pub fn config_type(self) -> i8 {
        match self {
            Kind::Bool => 1,
            Kind::Str | Kind::Enum(_) | Kind::AddressCounts => 2,
            Kind::Int(..) => 3,
            Kind::Long(..) => 5,
            Kind::Double(..) => 6,
            Kind::List(_) => 7,
        }
    }

    /// Whether APPEND and SUBTRACT of IncrementalAlterConfigs make sense (KIP-339: lists only).
    pub fn is_list(self) -> bool {
        matches!(self, Kind::List(_))
    }
}

fn within(n: i64, min: i64, max: i64) -> Result<(), String> {
    if n < min {
        Err(format!("Value must be at least {min}"))
    } else if n > max {
        Err(format!("Value must be no more than {max}"))
    } else {
        Ok(())
    }
}

/// The items of a comma-separated list, trimmed, empty ones dropped.
pub fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|s| !s.is_empty())
}

/// The known name nearest to `name` by edit distance, if it is near enough to be a slip of the keyboard.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.len() / 3).clamp(2, 8);
    known.map(|k| (edit_distance(name, k), k)).filter(|(d, _)| *d <= limit).min().map(|(_, k)| k)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_refuse_what_kafka_refuses() {
        assert!(Kind::Bool.check("x", "TRUE").is_ok());
        assert!(Kind::Bool.check("x", "yes").is_err());
        assert!(Kind::Int(0, 10).check("x", "11").is_err());
        assert!(Kind::Long(-1, i64::MAX).check("x", "-2").is_err());
        assert!(Kind::Double(0.0, 1.0).check("x", "0.5").is_ok());
        assert!(Kind::List(&["compact", "delete"]).check("cleanup.policy", "compact, delete").is_ok());
        let why = Kind::List(&["compact", "delete"]).check("cleanup.policy", "shred").unwrap_err();
        assert!(why.contains("cleanup.policy") && why.contains("shred"), "{why}");
    }

    #[test]
    fn the_nearest_name_is_found_and_nonsense_is_not() {
        let known = ["log.retention.ms", "log.retention.bytes", "listeners"];
        assert_eq!(nearest("log.retension.ms", known.into_iter()), Some("log.retention.ms"));
        assert_eq!(nearest("listener", known.into_iter()), Some("listeners"));
        assert_eq!(nearest("completely.else", known.into_iter()), None);
    }
}
