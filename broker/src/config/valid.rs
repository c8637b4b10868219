//! The configuration a node starts with, checked: only this module makes a `BrokerConfig`.

use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::effective::{Levels, Settings};
use super::kafka_keys::{self, KafkaKey};
use super::{items, keys, nearest};
use crate::properties::{Properties, PropertiesError};

/// Where data goes when neither `log.dirs` nor `log.dir` is given.
const DEFAULT_LOG_DIR: &str = "causeway-data";

/// Why a configuration is refused.
#[derive(Debug, Error, PartialEq)]
pub enum ConfigError {
    /// The file is not a properties file.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// No such setting.
    #[error("unknown setting {name:?}{}", hint.as_ref().map(|h| format!(": did you mean {h:?}?")).unwrap_or_default())]
    Unknown {
        /// The name given.
        name: String,
        /// The nearest known name.
        hint: Option<String>,
    },
    /// A value of the wrong type or out of bounds.
    #[error("{0}")]
    Value(String),
    /// A listener that cannot be read or is not offered here.
    #[error("{key}={value}: {why}")]
    Listener {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A named address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The listener's name, `PLAINTEXT` unless mapped.
    pub name: String,
    /// Host; empty means every interface.
    pub host: String,
    /// TCP port; 0 lets the system choose.
    pub port: u16,
}

/// A node's static configuration.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// `node.id`.
    pub node_id: i32,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// What clients are told to connect to, by listener name.
    pub advertised: Vec<Listener>,
    /// Data directories, the first also holds the metadata.
    pub log_dirs: Vec<PathBuf>,
    /// The cluster id asked for; an already formatted directory must have it.
    pub cluster_id: Option<String>,
    /// `causeway.http.listen`.
    pub http: Option<SocketAddr>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Every setting given, for DescribeConfigs and the effective values.
    pub statics: Settings,
    /// What the operator should know, one line each; logged once at start.
    pub warnings: Vec<String>,
}

impl BrokerConfig {
    /// Checks and takes settings in Kafka's own names.
    pub fn from_properties(properties: &Properties) -> Result<Self, ConfigError> {
        let mut statics = Settings::new();
        let mut warnings = Vec::new();
        for (name, value) in properties.iter() {
            if let Some(key) = keys::find(name) {
                key.kind.check(name, value).map_err(ConfigError::Value)?;
                statics.insert(name.to_owned(), value.to_owned());
            } else if keys::is_ignored(name) {
                warnings.push(format!("setting {name} is known to Kafka and has no effect here"));
                // Kept to be shown; of what may be a secret only that it is there.
                let secret = kafka_keys::find(name).is_none_or(KafkaKey::is_sensitive);
                statics.insert(name.to_owned(), if secret { String::new() } else { value.to_owned() });
            } else {
                let hint = nearest(name, keys::names()).map(str::to_owned);
                return Err(ConfigError::Unknown { name: name.to_owned(), hint });
            }
        }
        let value = |name: &str| properties.get(name);
        let node_id = value("node.id").or(value("broker.id")).and_then(|v| v.trim().parse().ok()).unwrap_or(1);
        let controllers: Vec<&str> = items(value("controller.listener.names").unwrap_or("")).collect();
        let all = parse_listeners("listeners", value("listeners").unwrap_or("PLAINTEXT://127.0.0.1:9092"))?;
        let (controller, listeners): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|l| controllers.contains(&l.name.as_str()));
        for l in &controller {
            warnings.push(format!(
                "controller listener {}://{}:{} is not opened: a metadata quorum of one needs none",
                l.name, l.host, l.port
            ));
        }
        if listeners.is_empty() {
            return Err(refuse("listeners", value("listeners"), "no listener is left for clients"));
        }
        let map = value("listener.security.protocol.map").unwrap_or("");
        for listener in &listeners {
            check_protocol(listener, map)?;
        }
        let advertised = match value("advertised.listeners") {
            None => listeners.clone(),
            Some(text) => parse_listeners("advertised.listeners", text)?,
        };
        let dirs = value("log.dirs").or(value("log.dir")).unwrap_or(DEFAULT_LOG_DIR);
        let log_dirs: Vec<PathBuf> = items(dirs).map(PathBuf::from).collect();
        if log_dirs.is_empty() {
            return Err(ConfigError::Value("log.dirs names no directory".into()));
        }
        let config = Self {
            node_id,
            listeners,
            advertised,
            log_dirs,
            cluster_id: value("cluster.id").map(str::to_owned),
            http: value("causeway.http.listen").map(parse_http).transpose()?,
            rack: value("broker.rack").map(str::to_owned),
            statics,
            warnings,
        };
        config.check_group_bounds()?;
        Ok(config)
    }

    /// Timeouts of consumer groups lie within their bounds, and a session outlasts a heartbeat, as Kafka demands.
    fn check_group_bounds(&self) -> Result<(), ConfigError> {
        let key = |part: &str, what: &str| format!("group.consumer.{part}{what}");
        for what in ["heartbeat.interval.ms", "session.timeout.ms"] {
            let (min, max) = (key("min.", what), key("max.", what));
            let range = self.number(&min)..=self.number(&max);
            let (name, value) = (key("", what), self.number(&key("", what)));
            if !range.contains(&value) {
                return Err(ConfigError::Value(format!("{name}={value} must lie between {min} and {max}")));
            }
        }
        let heartbeat = self.number("group.consumer.heartbeat.interval.ms");
        if heartbeat >= self.number("group.consumer.session.timeout.ms") {
            let why = "group.consumer.heartbeat.interval.ms must be less than group.consumer.session.timeout.ms";
            return Err(ConfigError::Value(why.into()));
        }
        Ok(())
    }

    /// A number set at start or built in. Panics on a name that is not a numeric key: the registry is in this crate.
    pub fn number(&self, name: &str) -> i64 {
        let none = Settings::new();
        let levels = Levels { broker: &none, cluster: &none, statics: &self.statics };
        let text = levels.broker_value(name).expect("a registered key with a default");
        text.trim().parse().expect("checked to be a number when the configuration was read")
    }

    /// A switch set at start or built in.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }

    /// A text set at start or built in.
    pub fn text(&self, name: &str) -> Option<String> {
        let none = Settings::new();
        Levels { broker: &none, cluster: &none, statics: &self.statics }.broker_value(name)
    }
}

fn refuse(key: &'static str, value: Option<&str>, why: &str) -> ConfigError {
    ConfigError::Listener { key, value: value.unwrap_or("").to_owned(), why: why.to_owned() }
}

fn parse_listeners(key: &'static str, text: &str) -> Result<Vec<Listener>, ConfigError> {
    let mut out: Vec<Listener> = Vec::new();
    for item in items(text) {
        let Some((name, address)) = item.split_once("://") else {
            return Err(refuse(key, Some(item), "expected NAME://host:port"));
        };
        let Some((host, port)) = address.rsplit_once(':') else {
            return Err(refuse(key, Some(item), "the port is missing"));
        };
        let Ok(port) = port.parse() else {
            return Err(refuse(key, Some(item), "the port is not a number below 65536"));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = name.to_ascii_uppercase();
        if out.iter().any(|l| l.name == name) {
            return Err(refuse(key, Some(text), "each listener needs a name of its own"));
        }
        out.push(Listener { name, host, port });
    }
    Ok(out)
}

/// The endpoint asks nobody who they are: only this machine may reach it.
fn parse_http(text: &str) -> Result<SocketAddr, ConfigError> {
    let key = "causeway.http.listen";
    let address: SocketAddr = text
        .trim()
        .parse()
        .map_err(|_| refuse(key, Some(text), "an address and a port are wanted, as 127.0.0.1:9404"))?;
    if !address.ip().is_loopback() {
        return Err(refuse(key, Some(text), "only addresses of this machine itself (127.0.0.1, [::1]) are served"));
    }
    Ok(address)
}

/// Only PLAINTEXT is served yet; a listener that asks for protection must not silently get none.
fn check_protocol(listener: &Listener, map: &str) -> Result<(), ConfigError> {
    let mapped = items(map).filter_map(|pair| pair.split_once(':')).find(|(name, _)| *name == listener.name);
    let protocol = mapped.map_or(listener.name.as_str(), |(_, protocol)| protocol);
    match protocol {
        "PLAINTEXT" => Ok(()),
        "SSL" | "SASL_SSL" | "SASL_PLAINTEXT" => Err(refuse(
            "listeners",
            Some(&listener.name),
            &format!("security protocol {protocol} is not served yet, only PLAINTEXT is"),
        )),
        _ => Err(refuse(
            "listeners",
            Some(&listener.name),
            "no security protocol is defined for this listener in listener.security.protocol.map",
        )),
    }
}

#[cfg(test)]
#[path = "valid_tests.rs"]
mod tests;
