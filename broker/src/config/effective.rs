//! Which value of a setting is in force, where it comes from, and what stands behind it.

use std::collections::BTreeMap;

use super::kafka_keys::{self, KafkaKey};
use super::keys::{self, BrokerKey};
use super::resource_keys::GroupKey;
use super::topic_keys::TopicKey;

/// Settings by name.
pub type Settings = BTreeMap<String, String>;

/// Where a value comes from; the numbers are those of DescribeConfigs (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Altered at run time for this broker.
    DynamicBroker = 2,
    /// Altered at run time for all brokers.
    DynamicDefault = 3,
    /// `server.properties` or `--override`.
    Static = 4,
    /// Built in.
    Default = 5,
    /// A logger's level.
    BrokerLogger = 6,
    /// Set on a client metrics subscription.
    ClientMetrics = 7,
    /// Set on a group.
    Group = 8,
}

/// One level of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The name under which this level holds it.
    pub name: &'static str,
    /// The value there.
    pub value: Option<String>,
    /// The level.
    pub source: Source,
}

/// A setting as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The value, `None` for Kafka's null.
    pub value: Option<String>,
    /// The level it comes from.
    pub source: Source,
    /// All levels that hold a value, the one in force first.
    pub synonyms: Vec<Synonym>,
}

/// The levels below a topic's own settings.
#[derive(Debug, Clone, Copy)]
pub struct Levels<'a> {
    /// Altered at run time for this broker.
    pub broker: &'a Settings,
    /// Altered at run time for all brokers.
    pub cluster: &'a Settings,
    /// `server.properties` and overrides.
    pub statics: &'a Settings,
}

impl Levels<'_> {
    fn push_broker_levels(&self, key: &BrokerKey, out: &mut Vec<Synonym>) {
        let levels = [
            (self.broker, Source::DynamicBroker),
            (self.cluster, Source::DynamicDefault),
            (self.statics, Source::Static),
        ];
        for (settings, source) in levels {
            if let Some(value) = settings.get(key.name) {
                out.push(Synonym { name: key.name, value: Some(value.clone()), source });
            }
        }
        if let Some(default) = key.default {
            out.push(Synonym { name: key.name, value: Some(default.to_owned()), source: Source::Default });
        }
    }

    /// A broker setting as it is in force.
    pub fn broker(&self, key: &BrokerKey) -> Resolved {
        let mut synonyms = Vec::new();
        self.push_broker_levels(key, &mut synonyms);
        match synonyms.first() {
            Some(first) => Resolved { value: first.value.clone(), source: first.source, synonyms },
            None => Resolved { value: None, source: Source::Default, synonyms },
        }
    }

    /// A broker setting as Kafka shows it: behind its own levels those of settings that stand in for it. Secrets are left out.
    pub fn shown(&self, key: &KafkaKey) -> Resolved {
        let own = [key.name];
        let names = match kafka_keys::stand_ins(key.name) {
            [] => &own[..],
            names => names,
        };
        let levels = [
            (self.broker, Source::DynamicBroker),
            (self.cluster, Source::DynamicDefault),
            (self.statics, Source::Static),
        ];
        let mut synonyms = Vec::new();
        for (settings, source) in levels {
            let set = names.iter().filter_map(|name| settings.get(*name).map(|value| (*name, value)));
            synonyms.extend(set.map(|(name, value)| Synonym { name, value: Some(value.clone()), source }));
        }
        let built_in = names.iter().filter_map(|name| keys::default_of(name).map(|value| (*name, value)));
        synonyms.extend(built_in.map(|(name, value)| Synonym {
            name,
            value: Some(value.to_owned()),
            source: Source::Default,
        }));
        let before = synonyms.iter().take_while(|s| s.name != key.name).count();
        synonyms.drain(..before);
        if key.is_sensitive() {
            synonyms.iter_mut().for_each(|s| s.value = None);
        }
        match synonyms.first() {
            Some(first) => Resolved { value: first.value.clone(), source: first.source, synonyms },
            None => Resolved { value: None, source: Source::Default, synonyms },
        }
    }

    /// A broker setting's value by name; `None` also for names that are not honoured.
    pub fn broker_value(&self, name: &str) -> Option<String> {
        self.broker(keys::find(name)?).value
    }

    /// A group's setting as it is in force, given the group's own settings.
    pub fn group(&self, key: &GroupKey, own: &Settings) -> Resolved {
        let mut synonyms = Vec::new();
        if let Some(value) = own.get(key.name) {
            synonyms.push(Synonym { name: key.name, value: Some(value.clone()), source: Source::Group });
        }
        match keys::find(key.synonym) {
            Some(broker_key) => self.push_broker_levels(broker_key, &mut synonyms),
            None => {
                let value = Some(key.default.to_owned());
                synonyms.push(Synonym { name: key.synonym, value, source: Source::Default });
            }
        }
        let (value, source) = synonyms.first().map_or((None, Source::Default), |s| (s.value.clone(), s.source));
        Resolved { value, source, synonyms }
    }

    /// A topic setting as it is in force, given the topic's own settings.
    pub fn topic(&self, key: &TopicKey, own: &Settings) -> Resolved {
        let mut synonyms = Vec::new();
        if let Some(value) = own.get(key.name) {
            synonyms.push(Synonym { name: key.name, value: Some(value.clone()), source: Source::Topic });
        }
        // A level set explicitly on any stand-in beats every default: log.retention.hours in the file beats nothing else.
        let mut behind = Vec::new();
        for synonym in key.synonyms {
            let broker_key = keys::find(synonym.name).expect("a test holds every synonym to be a registered key");
            let mut levels = Vec::new();
            self.push_broker_levels(broker_key, &mut levels);
            behind.extend(levels.into_iter().map(|s| (s, synonym.factor)));
        }
        behind.sort_by_key(|(s, _)| s.source == Source::Default);
        let (value, source) = match (synonyms.first(), behind.first()) {
            (Some(own), _) => (own.value.clone(), Source::Topic),
            (None, Some((level, factor))) => (level.value.as_deref().map(|v| scale(v, *factor)), level.source),
            (None, None) => (Some(key.default.to_owned()), Source::Default),
        };
        synonyms.extend(behind.into_iter().map(|(s, _)| s));
        Resolved { value, source, synonyms }
    }
}

/// Converts between a stand-in's unit and the topic's; negative numbers mean "no limit" in both.
fn scale(value: &str, factor: i64) -> String {
    match value.trim().parse::<i64>() {
        Ok(n) if factor != 1 && n > 0 => n.saturating_mul(factor).to_string(),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic_keys;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn retention_resolves_through_hours_minutes_and_topic() {
        let none = Settings::new();
        let key = topic_keys::find("retention.ms").unwrap();
        let at = |statics: &Settings, own: &Settings| {
            let levels = Levels { broker: &none, cluster: &none, statics };
            let r = levels.topic(key, own);
            (r.value.unwrap(), r.source)
        };
        assert_eq!(at(&none, &none), ("604800000".into(), Source::Default));
        assert_eq!(at(&settings(&[("log.retention.hours", "1")]), &none), ("3600000".into(), Source::Static));
        let both = settings(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")]);
        assert_eq!(at(&both, &none), ("120000".into(), Source::Static));
        assert_eq!(at(&settings(&[("log.retention.hours", "-1")]), &none), ("-1".into(), Source::Static));
        assert_eq!(at(&both, &settings(&[("retention.ms", "7")])), ("7".into(), Source::Topic));
    }

    #[test]
    fn what_stands_in_for_a_setting_is_shown_behind_its_own_levels_only() {
        let (none, statics) = (Settings::new(), settings(&[("log.retention.ms", "7"), ("ssl.key.password", "")]));
        let levels = Levels { broker: &none, cluster: &none, statics: &statics };
        let shown = |name: &str| {
            let r = levels.shown(kafka_keys::find(name).unwrap());
            let behind: Vec<_> = r.synonyms.iter().map(|s| (s.name, s.value.clone(), s.source)).collect();
            (r.value, r.source, behind)
        };
        let hours = ("log.retention.hours", Some("168".into()), Source::Default);
        let ms = ("log.retention.ms", Some("7".into()), Source::Static);
        assert_eq!(shown("log.retention.ms"), (Some("7".into()), Source::Static, vec![ms, hours.clone()]));
        assert_eq!(shown("log.retention.minutes"), (None, Source::Default, Vec::new()));
        assert_eq!(shown("log.retention.hours"), (Some("168".into()), Source::Default, vec![hours]));
        let secret = ("ssl.key.password", None, Source::Static);
        assert_eq!(shown("ssl.key.password"), (None, Source::Static, vec![secret]));
    }

    #[test]
    fn a_dynamic_value_stands_before_the_static_one() {
        let (dynamic, statics, none) =
            (settings(&[("message.max.bytes", "9")]), settings(&[("message.max.bytes", "5")]), Settings::new());
        let levels = Levels { broker: &dynamic, cluster: &none, statics: &statics };
        let r = levels.topic(topic_keys::find("max.message.bytes").unwrap(), &none);
        assert_eq!((r.value.as_deref(), r.source), (Some("9"), Source::DynamicBroker));
        assert_eq!(r.synonyms.len(), 3);
    }
}
