//! Settings passed on to librdkafka, and the few that the daemon keeps for itself.

use std::collections::BTreeMap;
use std::fmt;

use super::secret::Secret;

/// librdkafka keys for one cluster, checked: none of them is one that the daemon owns.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientSettings(BTreeMap<String, ClientValue>);

#[derive(Clone, PartialEq, Eq)]
enum ClientValue {
    Plain(String),
    Secret(Secret),
}

impl ClientSettings {
    /// Adds a plain value.
    pub(super) fn insert(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), ClientValue::Plain(value.to_owned()));
    }

    /// Adds a value that came from `env:` or `file:`.
    pub(super) fn insert_secret(&mut self, key: &str, value: Secret) {
        self.0.insert(key.to_owned(), ClientValue::Secret(value));
    }

    /// Every key with its text, secrets included: for `ClientConfig::set`, never for a log.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| {
            let text = match value {
                ClientValue::Plain(text) => text.as_str(),
                ClientValue::Secret(secret) => secret.reveal(),
            };
            (key.as_str(), text)
        })
    }

    /// The text of one key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(name, _)| *name == key).map(|(_, text)| text)
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().map(|(key, value)| match value {
            ClientValue::Plain(text) => (key, text.as_str()),
            ClientValue::Secret(_) => (key, "<secret>"),
        });
        f.debug_map().entries(shown).finish()
    }
}

/// Why `key` may not be set, or `None` where the operator is free.
pub fn owned(key: &str) -> Option<&'static str> {
    let why = match key {
        "bootstrap.servers" | "metadata.broker.list" => "it is the cluster's `bootstrap`",
        "group.id" | "group.instance.id" | "partition.assignment.strategy" | "group.protocol" => {
            "the daemon reads without a consumer group: the source needs to grant read rights only"
        }
        "enable.auto.commit" | "enable.auto.offset.store" | "offset.store.method" => {
            "positions live in the progress topic on the target, never in the source's committed offsets"
        }
        "auto.offset.reset" => "a position that is gone is a gap to report, never a silent jump; see `gap_policy`",
        "isolation.level" => "a flow copies committed records only",
        "enable.partition.eof" => "the end of a range is taken from the broker's own answer",
        "acks" | "request.required.acks" => {
            "a position may only advance after every in-sync replica has the records (L1)"
        }
        "enable.idempotence" | "max.in.flight" | "max.in.flight.requests.per.connection" => {
            "order and freedom from duplicates on a retry rest on it"
        }
        "transactional.id" | "transaction.timeout.ms" => "delivery is the flow's `delivery`",
        "partitioner" => "a record keeps its partition number",
        "check.crcs" => "a damaged batch must be seen before it is copied",
        "enable.random.seed" | "opaque" | "error_cb" | "log_cb" | "stats_cb" => "it is not a setting of an operator",
        "plugin.library.paths" | "interceptors" => "it loads code into the daemon",
        "security.protocol" => "it follows from the cluster's `tls` and `sasl`",
        _ if key.starts_with("ssl.") => "it follows from the cluster's `tls`",
        _ if key.starts_with("sasl.") => "it follows from the cluster's `sasl`",
        _ => return None,
    };
    Some(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_setting_is_passed_on_but_not_shown() {
        let mut settings = ClientSettings::default();
        settings.insert("fetch.wait.max.ms", "50");
        settings.insert_secret("some.password", Secret::new("hunter2"));
        assert_eq!(settings.get("some.password"), Some("hunter2"));
        let shown = format!("{settings:?}");
        assert!(shown.contains("50") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_keys_that_the_laws_rest_on_are_ours() {
        for key in [
            "acks",
            "enable.idempotence",
            "auto.offset.reset",
            "enable.auto.commit",
            "sasl.password",
            "ssl.ca.location",
        ] {
            assert!(owned(key).is_some(), "{key}");
        }
        for key in ["fetch.wait.max.ms", "linger.ms", "compression.type", "client.id", "socket.keepalive.enable"] {
            assert_eq!(owned(key), None, "{key}");
        }
    }
}
