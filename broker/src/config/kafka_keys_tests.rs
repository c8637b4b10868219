use super::*;
use crate::config::keys;

#[test]
fn names_are_found_also_with_a_listener_before_them() {
    assert!(KAFKA_KEYS.windows(2).all(|w| w[0].name < w[1].name), "sorted");
    assert_eq!(find("ssl.key.password").map(|k| k.is_sensitive()), Some(true));
    assert_eq!(find("listener.name.a.plain.sasl.jaas.config").map(|k| k.name), Some("sasl.jaas.config"));
    assert_eq!(find("listener.name.a.ssl.keystore.location").map(|k| k.name), Some("ssl.keystore.location"));
    assert!(find("listener.name.a.nothing").is_none() && find("nothing").is_none());
}

#[test]
fn every_default_is_of_its_own_type() {
    for key in KAFKA_KEYS {
        if let Some(default) = key.default {
            key.kind.kind().check(key.name, default).unwrap();
        }
    }
}

/// What we honour has Kafka's type and default, but for what a node of ours starts with differently.
#[test]
fn honoured_settings_are_as_in_kafka() {
    const OURS: &[&str] = &["causeway.http.listen", "cluster.id", "log.flush"];
    const DEFAULTS: &[&str] = &[
        "broker.id",
        "controller.quorum.bootstrap.servers",
        "controller.quorum.voters",
        "inter.broker.listener.name",
        "listener.security.protocol.map",
        "listeners",
        "log.dir",
        "node.id",
        "process.roles",
    ];
    for key in keys::HONOURED.iter().filter(|key| !OURS.contains(&key.name)) {
        let kafka = find(key.name).unwrap_or_else(|| panic!("{} is none of Kafka's", key.name));
        let same = key.default == kafka.default;
        assert_eq!(same, !DEFAULTS.contains(&key.name), "{}: {:?} {:?}", key.name, key.default, kafka.default);
        assert!(kafka.dynamic || !key.dynamic, "{}", key.name);
    }
}
