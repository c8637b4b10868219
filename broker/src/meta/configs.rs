//! The controller's rules for settings: which records an alteration leads to, or why it is refused. Pure.

use std::collections::HashSet;

use causeway_wire::ErrorCode;

use super::clients::ResourceKind;
use super::controller::{Refusal, check_topic_name, refuse};
use super::{MetaImage, MetaRecord};
use crate::config::effective::{Levels, Settings};
use crate::config::resource_keys::{self, MetricsRefusal};
use crate::config::{Kind, items, keys, topic_keys};

/// Resource type of a topic (`ConfigResource.Type` of Kafka's admin API).
pub const TOPIC: i8 = 2;
/// Resource type of a broker; the empty name stands for all brokers.
pub const BROKER: i8 = 4;
/// Resource type of a broker's loggers.
pub const BROKER_LOGGER: i8 = 8;
/// Resource type of a client metrics subscription.
pub const CLIENT_METRICS: i8 = 16;
/// Resource type of a group.
pub const GROUP: i8 = 32;

/// How a setting changes (KIP-339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// To a value.
    Set,
    /// Back to what stands behind it.
    Delete,
    /// A list by more items.
    Append,
    /// A list by fewer.
    Subtract,
    /// A number that is none of these.
    Unknown(i8),
}

impl Change {
    /// From the number in the request.
    pub fn of(code: i8) -> Self {
        match code {
            0 => Self::Set,
            1 => Self::Delete,
            2 => Self::Append,
            3 => Self::Subtract,
            other => Self::Unknown(other),
        }
    }
}

/// One setting to change.
#[derive(Debug, Clone)]
pub struct Alteration {
    /// Name.
    pub name: String,
    /// How.
    pub change: Change,
    /// With what.
    pub value: Option<String>,
}

/// One resource to change.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its type.
    pub kind: i8,
    /// Its name.
    pub name: String,
    /// What to change.
    pub alterations: Vec<Alteration>,
}

/// Whose settings are decided on.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The metadata.
    pub image: &'a MetaImage,
    /// This node.
    pub node_id: i32,
    /// Its static settings.
    pub statics: &'a Settings,
}

impl Ground<'_> {
    /// Settings that were altered on a resource itself; none if there is no such resource.
    pub fn own(&self, kind: i8, name: &str) -> Option<Settings> {
        match kind {
            TOPIC => self.image.topic(name).map(|t| t.configs.clone()),
            BROKER if name.is_empty() => Some(self.image.cluster_configs.clone()),
            BROKER => Some(self.image.node_configs(name.parse().ok()?)),
            CLIENT_METRICS => Some(self.image.clients.resource(ResourceKind::ClientMetrics, name)),
            GROUP => Some(self.image.clients.resource(ResourceKind::Group, name)),
            _ => None,
        }
    }

    /// What the old AlterConfigs means: what it names is set, all else is taken back.
    pub fn replacing(&self, mut resource: Resource) -> Resource {
        let own = self.own(resource.kind, &resource.name).unwrap_or_default();
        let named: HashSet<&str> = resource.alterations.iter().map(|a| a.name.as_str()).collect();
        let gone: Vec<String> = own.into_keys().filter(|key| !named.contains(key.as_str())).collect();
        let delete = |name| Alteration { name, change: Change::Delete, value: None };
        resource.alterations.extend(gone.into_iter().map(delete));
        resource
    }

    /// Records for one resource, or why it stays as it is.
    pub fn alter(&self, resource: &Resource) -> Result<Vec<MetaRecord>, Refusal> {
        check_form(resource)?;
        match resource.kind {
            TOPIC => self.topic(resource),
            BROKER => self.broker(resource),
            GROUP => self.group(resource),
            CLIENT_METRICS => metrics(resource, &self.own(CLIENT_METRICS, &resource.name).unwrap_or_default()),
            other => Err(refuse(ErrorCode::INVALID_REQUEST, format!("Unsupported resource type: {other}"))),
        }
    }

    fn topic(&self, resource: &Resource) -> Result<Vec<MetaRecord>, Refusal> {
        let name = &resource.name;
        if name.is_empty() {
            return Err(refuse(ErrorCode::INVALID_REQUEST, "Default topic resources are not allowed."));
        }
        check_topic_name(name)?;
        let Some(topic) = self.image.topic(name) else {
            let why = format!("The topic '{name}' does not exist.");
            return Err(refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, why));
        };
        let own = self.image.node_configs(self.node_id);
        let levels = Levels { broker: &own, cluster: &self.image.cluster_configs, statics: self.statics };
        let mut records = Vec::new();
        for alteration in &resource.alterations {
            let Some(key) = topic_keys::find(&alteration.name) else {
                let why = format!("Unknown topic config name: {}", alteration.name);
                return Err(refuse(ErrorCode::INVALID_CONFIG, why));
            };
            let current = levels.topic(key, &topic.configs).value;
            let value = new_value(alteration, key.kind, current)?;
            records.push(MetaRecord::TopicConfig { name: name.clone(), key: alteration.name.clone(), value });
        }
        Ok(records)
    }

    fn broker(&self, resource: &Resource) -> Result<Vec<MetaRecord>, Refusal> {
        let node = match resource.name.as_str() {
            "" => None,
            text if text.parse() == Ok(self.node_id) => Some(self.node_id),
            text => return Err(refuse(ErrorCode::INVALID_REQUEST, format!("Unexpected broker id {text}"))),
        };
        let own = self.image.node_configs(self.node_id);
        let levels = Levels { broker: &own, cluster: &self.image.cluster_configs, statics: self.statics };
        let mut records = Vec::new();
        for alteration in &resource.alterations {
            let key = keys::find(&alteration.name).filter(|k| k.dynamic);
            let (kind, current) = match (key, keys::ignored_dynamic(&alteration.name)) {
                (Some(key), _) => (key.kind, levels.broker(key).value),
                (None, Some(key)) => (key.kind.kind(), levels.shown(key).value),
                (None, None) => {
                    let why = format!("Cannot update these configs dynamically: {}", alteration.name);
                    return Err(refuse(ErrorCode::INVALID_REQUEST, why));
                }
            };
            // Kafka's own code for a broker's value that is none (KAFKA-13609).
            let value = new_value(alteration, kind, current)
                .map_err(|refusal| Refusal { code: ErrorCode::INVALID_REQUEST, ..refusal })?;
            records.push(MetaRecord::BrokerConfig { node, key: alteration.name.clone(), value });
        }
        Ok(records)
    }

    fn group(&self, resource: &Resource) -> Result<Vec<MetaRecord>, Refusal> {
        let name = &resource.name;
        if name.is_empty() {
            return Err(refuse(ErrorCode::INVALID_REQUEST, "Default group resources are not allowed."));
        }
        let node = self.image.node_configs(self.node_id);
        let levels = Levels { broker: &node, cluster: &self.image.cluster_configs, statics: self.statics };
        let own = self.image.clients.resource(ResourceKind::Group, name);
        let mut records = Vec::new();
        for alteration in &resource.alterations {
            let Some(key) = resource_keys::find_group(&alteration.name) else {
                let why = format!("Unknown group config name: {}", alteration.name);
                return Err(refuse(ErrorCode::INVALID_CONFIG, why));
            };
            let value = new_value(alteration, key.kind, own.get(key.name).cloned())?;
            if let Some(value) = &value {
                let checked = resource_keys::check_group(&levels, key, value);
                checked.map_err(|why| refuse(ErrorCode::INVALID_CONFIG, why))?;
            }
            records.push(resource_record(ResourceKind::Group, name, alteration, value));
        }
        Ok(records)
    }
}

fn metrics(resource: &Resource, own: &Settings) -> Result<Vec<MetaRecord>, Refusal> {
    let name = &resource.name;
    if name.is_empty() {
        return Err(refuse(ErrorCode::INVALID_REQUEST, "Subscription name can't be empty"));
    }
    let mut records = Vec::new();
    for alteration in &resource.alterations {
        let known = resource_keys::METRICS_KEYS.iter().find(|(key, ..)| *key == alteration.name);
        let kind = known.map_or(Kind::Str, |(_, kind, _)| *kind);
        // The bounds of the interval are told in words of their own.
        let kind = if alteration.name == "interval.ms" { Kind::Str } else { kind };
        let value = new_value(alteration, kind, own.get(&alteration.name).cloned())?;
        let checked = match (&value, known) {
            (Some(value), _) => resource_keys::check_metrics(&alteration.name, value),
            (None, Some(_)) => Ok(()),
            (None, None) => resource_keys::check_metrics(&alteration.name, ""),
        };
        checked.map_err(|refusal| match refusal {
            MetricsRefusal::Request(why) => refuse(ErrorCode::INVALID_REQUEST, why),
            MetricsRefusal::Config(why) => refuse(ErrorCode::INVALID_CONFIG, why),
        })?;
        records.push(resource_record(ResourceKind::ClientMetrics, name, alteration, value));
    }
    Ok(records)
}

fn resource_record(kind: ResourceKind, name: &str, alteration: &Alteration, value: Option<String>) -> MetaRecord {
    MetaRecord::ResourceConfig { kind, name: name.to_owned(), key: alteration.name.clone(), value }
}

/// What can be said without knowing the resource.
pub fn check_form(resource: &Resource) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for alteration in &resource.alterations {
        if !seen.insert(alteration.name.as_str()) {
            let why = format!("Error due to duplicate config keys: {}", alteration.name);
            return Err(refuse(ErrorCode::INVALID_REQUEST, why));
        }
        if alteration.change != Change::Delete && alteration.value.is_none() {
            let why = format!("Null value not supported for : {}", alteration.name);
            return Err(refuse(ErrorCode::INVALID_REQUEST, why));
        }
    }
    Ok(())
}

fn new_value(alteration: &Alteration, kind: Kind, current: Option<String>) -> Result<Option<String>, Refusal> {
    let given = alteration.value.clone().unwrap_or_default();
    let current = current.unwrap_or_default();
    let list = |what: &str| match kind.is_list() {
        true => Ok(items(&current).map(str::to_owned).collect::<Vec<_>>()),
        false => {
            let why = format!("Can't {what} config with key: {}: it is not a list", alteration.name);
            Err(refuse(ErrorCode::INVALID_CONFIG, why))
        }
    };
    let value = match alteration.change {
        Change::Set => given,
        Change::Delete => return Ok(None),
        Change::Append => {
            let mut all = list("append to")?;
            all.extend(items(&given).filter(|item| !items(&current).any(|c| c == *item)).map(str::to_owned));
            all.join(",")
        }
        Change::Subtract => {
            let mut all = list("subtract from")?;
            all.retain(|item| !items(&given).any(|g| g == item));
            all.join(",")
        }
        Change::Unknown(other) => {
            return Err(refuse(ErrorCode::INVALID_REQUEST, format!("Unknown operation type: {other}")));
        }
    };
    kind.check(&alteration.name, &value).map_err(|why| refuse(ErrorCode::INVALID_CONFIG, why))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alter(name: &str, change: Change, value: &str, current: &str) -> Result<Option<String>, ErrorCode> {
        let alteration = Alteration { name: name.into(), change, value: Some(value.into()) };
        let kind = topic_keys::find(name).unwrap().kind;
        new_value(&alteration, kind, Some(current.into())).map_err(|r| r.code)
    }

    #[test]
    fn lists_grow_and_shrink_and_others_do_not() {
        assert_eq!(alter("cleanup.policy", Change::Append, "compact", "delete"), Ok(Some("delete,compact".into())));
        assert_eq!(alter("cleanup.policy", Change::Append, "delete", "delete"), Ok(Some("delete".into())));
        let both = "delete,compact";
        assert_eq!(alter("cleanup.policy", Change::Subtract, "delete", both), Ok(Some("compact".into())));
        assert_eq!(alter("retention.ms", Change::Append, "1", "2"), Err(ErrorCode::INVALID_CONFIG));
        assert_eq!(alter("retention.ms", Change::Set, "never", "2"), Err(ErrorCode::INVALID_CONFIG));
        assert_eq!(alter("retention.ms", Change::Delete, "", "2"), Ok(None));
        assert_eq!(alter("retention.ms", Change::Unknown(9), "", "2"), Err(ErrorCode::INVALID_REQUEST));
    }

    #[test]
    fn replacing_takes_back_what_is_not_named() {
        let mut image = MetaImage::default();
        for (key, value) in [("retention.ms", "5"), ("retention.bytes", "6")] {
            image.apply(&MetaRecord::BrokerConfig { node: None, key: format!("log.{key}"), value: Some(value.into()) });
        }
        let none = Settings::new();
        let ground = Ground { image: &image, node_id: 1, statics: &none };
        let alteration = |key: &str| Alteration { name: key.into(), change: Change::Set, value: Some("7".into()) };
        let resource =
            Resource { kind: BROKER, name: String::new(), alterations: vec![alteration("log.retention.ms")] };
        let records = ground.alter(&ground.replacing(resource)).unwrap();
        let record = |key: &str, value: Option<&str>| MetaRecord::BrokerConfig {
            node: None,
            key: key.into(),
            value: value.map(str::to_owned),
        };
        assert_eq!(records, [record("log.retention.ms", Some("7")), record("log.retention.bytes", None)]);
    }
}
