//! What metadata says about clients: quotas, users, settings of groups and of metric subscriptions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MetaRecord;
use crate::config::effective::Settings;

/// Whom a quota is for: names by entity type (`user`, `client-id`, `ip`); no name stands for the default of the type.
pub type Entity = BTreeMap<String, Option<String>>;

/// Settings of which kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A group (KIP-848).
    Group,
    /// A subscription to metrics of clients (KIP-714).
    ClientMetrics,
}

/// What a server keeps of a password (RFC 5802): enough to check it, not to use it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScramCredential {
    /// Rounds of PBKDF2.
    pub iterations: i32,
    /// Salt, as hexadecimal digits.
    pub salt: String,
    /// H(HMAC(salted password, "Client Key")), as hexadecimal digits.
    pub stored_key: String,
    /// HMAC(salted password, "Server Key"), as hexadecimal digits.
    pub server_key: String,
}

impl std::fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clients {
    /// Quotas by whom they are for.
    pub quotas: BTreeMap<Entity, BTreeMap<String, f64>>,
    /// Credentials by user and mechanism (1: SCRAM-SHA-256, 2: SCRAM-SHA-512).
    pub scram: BTreeMap<(String, i8), ScramCredential>,
    /// Settings by kind and name of the resource.
    pub resources: BTreeMap<(ResourceKind, String), Settings>,
    /// Counts changes, so that who caches something notices.
    pub changes: u64,
}

impl Clients {
    /// Settings of one resource.
    pub fn resource(&self, kind: ResourceKind, name: &str) -> Settings {
        self.resources.get(&(kind, name.to_owned())).cloned().unwrap_or_default()
    }

    /// Applies a record if it is one of these.
    pub fn apply(&mut self, record: &MetaRecord) {
        match record {
            MetaRecord::ClientQuota { entity, key, value } => {
                let quotas = self.quotas.entry(entity.clone()).or_default();
                match value.as_ref().and_then(|v| v.parse().ok()) {
                    Some(value) => quotas.insert(key.clone(), value),
                    None => quotas.remove(key),
                };
                if quotas.is_empty() {
                    self.quotas.remove(entity);
                }
            }
            MetaRecord::ScramUser { user, mechanism, credential } => {
                let key = (user.clone(), *mechanism);
                match credential {
                    Some(credential) => self.scram.insert(key, credential.clone()),
                    None => self.scram.remove(&key),
                };
            }
            MetaRecord::ResourceConfig { kind, name, key, value } => {
                let at = (*kind, name.clone());
                let settings = self.resources.entry(at.clone()).or_default();
                match value {
                    Some(value) => settings.insert(key.clone(), value.clone()),
                    None => settings.remove(key),
                };
                if settings.is_empty() {
                    self.resources.remove(&at);
                }
            }
            _ => return,
        }
        self.changes += 1;
    }

    /// Records that, applied to nothing, give the same.
    pub fn snapshot(&self) -> Vec<MetaRecord> {
        let mut out = Vec::new();
        for (entity, quotas) in &self.quotas {
            out.extend(quotas.iter().map(|(key, value)| MetaRecord::ClientQuota {
                entity: entity.clone(),
                key: key.clone(),
                value: Some(value.to_string()),
            }));
        }
        for ((user, mechanism), credential) in &self.scram {
            let credential = Some(credential.clone());
            out.push(MetaRecord::ScramUser { user: user.clone(), mechanism: *mechanism, credential });
        }
        for ((kind, name), settings) in &self.resources {
            out.extend(settings.iter().map(|(key, value)| MetaRecord::ResourceConfig {
                kind: *kind,
                name: name.clone(),
                key: key.clone(),
                value: Some(value.clone()),
            }));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_gives_the_same_and_what_is_taken_back_leaves_nothing() {
        let mut clients = Clients::default();
        let entity = Entity::from([("user".into(), Some("u".into())), ("client-id".into(), None)]);
        let credential = ScramCredential {
            iterations: 4096,
            salt: "00".into(),
            stored_key: "secret".into(),
            server_key: "secret".into(),
        };
        assert!(!format!("{credential:?}").contains("secret"));
        let quota = |value: Option<&str>| MetaRecord::ClientQuota {
            entity: entity.clone(),
            key: "request_percentage".into(),
            value: value.map(str::to_owned),
        };
        let user = |credential| MetaRecord::ScramUser { user: "u".into(), mechanism: 1, credential };
        let group = |value: Option<&str>| MetaRecord::ResourceConfig {
            kind: ResourceKind::Group,
            name: "g".into(),
            key: "consumer.session.timeout.ms".into(),
            value: value.map(str::to_owned),
        };
        for record in [quota(Some("0.1")), user(Some(credential)), group(Some("50000"))] {
            let text = serde_json::to_string(&record).unwrap();
            clients.apply(&serde_json::from_str(&text).unwrap());
        }
        assert_eq!(clients.quotas[&entity]["request_percentage"], 0.1);
        assert_eq!(clients.resource(ResourceKind::Group, "g").len(), 1);
        let mut copy = Clients::default();
        clients.snapshot().iter().for_each(|r| copy.apply(r));
        assert_eq!(copy, clients);
        for record in [quota(None), user(None), group(None)] {
            copy.apply(&record);
        }
        assert_eq!(copy, Clients { changes: 6, ..Clients::default() });
    }
}
