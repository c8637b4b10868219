//! DescribeConfigs, IncrementalAlterConfigs, AlterConfigs.

use causeway_wire::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource as OldResource, AlterableConfig as OldConfig,
};
use causeway_wire::messages::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use causeway_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use crate::Case;
use crate::peer::Peer;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

fn describe(p: &mut Peer, kind: i8, name: &str, keys: Option<&[&str]>) {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|k| (*k).to_owned()).collect()),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
    let Some(answer) = p.call(4, &request) else { return };
    for result in &answer.results {
        let mut values: Vec<String> = result
            .configs
            .iter()
            .filter(|_| keys.is_some())
            .map(|c| format!("{}={:?} from {} type {}", c.name, c.value, c.config_source, c.config_type))
            .collect();
        values.sort();
        p.log(format_args!("{} {}", result.resource_name, values.join(", ")));
    }
}

fn change(p: &mut Peer, kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)]) {
    changed(p, kind, name, changes, false);
}

fn changed(p: &mut Peer, kind: i8, name: &str, changes: &[(&str, i8, Option<&str>)], validate_only: bool) {
    let one = |(key, operation, value): &(&str, i8, Option<&str>)| AlterableConfig {
        name: (*key).into(),
        config_operation: *operation,
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: changes.iter().map(one).collect(),
        ..Default::default()
    };
    p.call(1, &IncrementalAlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() });
}

/// Changes the topic `tuned` and shows what it then has.
fn tune(p: &mut Peer, changes: &[(&str, i8, Option<&str>)]) {
    p.create("tuned", 1, &[]);
    change(p, TOPIC, "tuned", changes);
    std::thread::sleep(std::time::Duration::from_millis(100));
    describe(p, TOPIC, "tuned", Some(&["cleanup.policy", "retention.ms", "max.message.bytes"]));
}

fn replace(p: &mut Peer, kind: i8, name: &str, changes: &[(&str, Option<&str>)], validate_only: bool) {
    let one = |(key, value): &(&str, Option<&str>)| OldConfig {
        name: (*key).into(),
        value: value.map(str::to_owned),
        ..Default::default()
    };
    let resource = OldResource {
        resource_type: kind,
        resource_name: name.into(),
        configs: changes.iter().map(one).collect(),
        ..Default::default()
    };
    p.call(2, &AlterConfigsRequest { resources: vec![resource], validate_only, ..Default::default() });
}

/// Settings whose built-in value, type or level is another here: addresses, directories and numbers of a node of ours, and
/// what the two nodes of the test were started with.
const OWN: &[&str] = &[
    "advertised.listeners",
    "broker.id",
    "causeway.http.listen",
    "cluster.id",
    "controller.listener.names",
    "controller.quorum.bootstrap.servers",
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.dir",
    "log.dirs",
    "log.flush",
    "min.insync.replicas",
    "node.id",
    "process.roles",
];

/// Every setting of the broker: its type, whether it is a secret, whether it can be altered, and its built-in values.
fn broker_whole(p: &mut Peer) {
    let resource =
        DescribeConfigsResource { resource_type: BROKER, resource_name: p.node.to_string(), ..Default::default() };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    let Some(answer) = p.call(4, &request) else { return };
    let mut found: Vec<String> = Vec::new();
    for c in answer.results.iter().flat_map(|r| &r.configs).filter(|c| !OWN.contains(&c.name.as_str())) {
        let built_in: Vec<_> = c.synonyms.iter().filter(|s| s.source == 5).map(|s| (&s.name, &s.value)).collect();
        // Nothing here needs a secret yet, so none is taken at run time.
        let fixed = c.read_only && !c.is_sensitive;
        let told = c.documentation.as_ref().is_some_and(|d| !d.is_empty());
        found.push(format!(
            "{} type {} secret {} fixed {fixed} told {told} {built_in:?}",
            c.name, c.config_type, c.is_sensitive
        ));
    }
    found.sort();
    found.into_iter().for_each(|line| p.log(line));
}

pub const CASES: &[Case] = &[
    ("describe configs: a whole broker", broker_whole),
    ("alter configs: a setting that is kept and has no effect", |p| {
        let node = p.node.to_string();
        change(p, BROKER, &node, &[("num.replica.fetchers", SET, Some("many"))]);
        change(p, BROKER, "", &[("num.replica.fetchers", SET, Some("2"))]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        describe(p, BROKER, &node, Some(&["num.replica.fetchers"]));
        describe(p, BROKER, "", Some(&["num.replica.fetchers"]));
        change(p, BROKER, "", &[("num.replica.fetchers", DELETE, None)]);
    }),
    ("describe configs: an unknown topic", |p| describe(p, TOPIC, "nowhere", None)),
    ("describe configs: an illegal topic", |p| describe(p, TOPIC, "a b", None)),
    ("describe configs: an empty topic", |p| describe(p, TOPIC, "", None)),
    ("describe configs: a kind nobody knows", |p| describe(p, 77, "x", None)),
    ("describe configs: an unknown broker", |p| describe(p, BROKER, "99", None)),
    ("describe configs: a broker that is no number", |p| describe(p, BROKER, "first", None)),
    ("describe configs: the default broker", |p| describe(p, BROKER, "", None)),
    ("describe configs: an unknown group", |p| describe(p, GROUP, "no-group", None)),
    ("describe configs: an empty group", |p| describe(p, GROUP, "", None)),
    ("describe configs: a client metrics resource", |p| describe(p, CLIENT_METRICS, "m", None)),
    ("describe configs: no keys", |p| describe(p, TOPIC, "plain", Some(&[]))),
    ("describe configs: a key nobody knows", |p| describe(p, TOPIC, "plain", Some(&["no.such.setting"]))),
    ("describe configs: some keys", |p| {
        describe(p, TOPIC, "compacted", Some(&["cleanup.policy", "segment.bytes", "retention.bytes", "segment.ms"]));
    }),
    ("describe configs: no resources", |p| {
        p.call(4, &DescribeConfigsRequest::default());
    }),
    ("alter configs: an unknown topic", |p| change(p, TOPIC, "nowhere", &[("retention.ms", SET, Some("1"))])),
    ("alter configs: an illegal topic", |p| change(p, TOPIC, "a b", &[("retention.ms", SET, Some("1"))])),
    ("alter configs: an empty topic", |p| change(p, TOPIC, "", &[("retention.ms", SET, Some("1"))])),
    ("alter configs: a key nobody knows", |p| tune(p, &[("no.such.setting", SET, Some("1"))])),
    ("alter configs: a value that is none", |p| tune(p, &[("retention.ms", SET, Some("soon"))])),
    ("alter configs: a null value", |p| tune(p, &[("retention.ms", SET, None)])),
    ("alter configs: an empty value", |p| tune(p, &[("retention.ms", SET, Some(""))])),
    ("alter configs: an operation nobody knows", |p| tune(p, &[("retention.ms", 9, Some("1"))])),
    ("alter configs: one key twice", |p| {
        tune(p, &[("retention.ms", SET, Some("1000")), ("retention.ms", SET, Some("2000"))]);
    }),
    ("alter configs: nothing", |p| tune(p, &[])),
    ("alter configs: good and bad together", |p| {
        tune(p, &[("retention.ms", SET, Some("5000")), ("max.message.bytes", SET, Some("many"))]);
    }),
    ("alter configs: set and deleted", |p| {
        tune(p, &[("retention.ms", SET, Some("777000"))]);
        tune(p, &[("retention.ms", DELETE, None)]);
    }),
    ("alter configs: deleted that is not set", |p| tune(p, &[("max.message.bytes", DELETE, None)])),
    ("alter configs: appended to a list", |p| tune(p, &[("cleanup.policy", APPEND, Some("compact"))])),
    ("alter configs: appended again", |p| tune(p, &[("cleanup.policy", APPEND, Some("compact"))])),
    ("alter configs: taken from a list", |p| tune(p, &[("cleanup.policy", SUBTRACT, Some("compact"))])),
    ("alter configs: taken that is not there", |p| tune(p, &[("cleanup.policy", SUBTRACT, Some("compact"))])),
    ("alter configs: nonsense appended", |p| tune(p, &[("cleanup.policy", APPEND, Some("shred"))])),
    ("alter configs: appended to a number", |p| tune(p, &[("retention.ms", APPEND, Some("1"))])),
    ("alter configs: taken from a number", |p| tune(p, &[("retention.ms", SUBTRACT, Some("1"))])),
    ("alter configs: only validated", |p| changed(p, TOPIC, "small", &[("retention.ms", SET, Some("9"))], true)),
    ("alter configs: only validated and wrong", |p| {
        changed(p, TOPIC, "small", &[("retention.ms", SET, Some("x"))], true)
    }),
    ("alter configs: a kind nobody knows", |p| change(p, 77, "x", &[("retention.ms", SET, Some("1"))])),
    ("alter configs: an unknown broker", |p| change(p, BROKER, "99", &[("log.retention.ms", SET, Some("1"))])),
    ("alter configs: a broker that is no number", |p| change(p, BROKER, "x", &[("log.retention.ms", SET, Some("1"))])),
    ("alter configs: a broker key that is fixed", |p| change(p, BROKER, "", &[("node.id", SET, Some("9"))])),
    ("alter configs: a broker key that is fixed, of one broker", |p| {
        let node = p.node.to_string();
        change(p, BROKER, &node, &[("log.dirs", SET, Some("/tmp/x"))]);
    }),
    ("alter configs: a broker key nobody knows", |p| change(p, BROKER, "", &[("no.such.key", SET, Some("9"))])),
    ("alter configs: a broker value that is none", |p| change(p, BROKER, "", &[("log.retention.ms", SET, Some("x"))])),
    ("alter configs: the default broker", |p| {
        change(p, BROKER, "", &[("log.retention.ms", SET, Some("777600000"))]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        describe(p, TOPIC, "small", Some(&["retention.ms"]));
        change(p, BROKER, "", &[("log.retention.ms", DELETE, None)]);
    }),
    ("alter configs: a logger", |p| {
        let node = p.node.to_string();
        change(p, BROKER_LOGGER, &node, &[("kafka.server", SET, Some("SHOUT"))]);
    }),
    ("alter configs: the root logger", |p| {
        let node = p.node.to_string();
        describe(p, BROKER_LOGGER, &node, Some(&["root"]));
        change(p, BROKER_LOGGER, &node, &[("root", SET, Some("WARN"))]);
        describe(p, BROKER_LOGGER, &node, Some(&["root"]));
        changed(p, BROKER_LOGGER, &node, &[("root", SET, Some("ERROR"))], true);
        change(p, BROKER_LOGGER, &node, &[("root", SET, Some("info"))]);
        change(p, BROKER_LOGGER, &node, &[("root", APPEND, Some("INFO"))]);
        change(p, BROKER_LOGGER, &node, &[("root", SET, Some("FATAL"))]);
        describe(p, BROKER_LOGGER, &node, Some(&["root"]));
        change(p, BROKER_LOGGER, &node, &[("root", DELETE, None)]);
        change(p, BROKER_LOGGER, &node, &[("root", SET, Some("INFO"))]);
    }),
    ("alter configs: a logger of another node", |p| {
        change(p, BROKER_LOGGER, "77", &[("root", SET, Some("WARN"))]);
        change(p, BROKER_LOGGER, "", &[("root", SET, Some("WARN"))]);
        change(p, BROKER_LOGGER, "all", &[("root", SET, Some("WARN"))]);
    }),
    ("alter configs: a logger the old way", |p| {
        let node = p.node.to_string();
        replace(p, BROKER_LOGGER, &node, &[("root", Some("WARN"))], false);
    }),
    ("describe configs: loggers of no node", |p| {
        describe(p, BROKER_LOGGER, "", Some(&["root"]));
        describe(p, BROKER_LOGGER, "77", Some(&["root"]));
    }),
    ("alter configs: a group", |p| {
        change(p, GROUP, "tuned-group", &[("consumer.session.timeout.ms", SET, Some("50000"))]);
        std::thread::sleep(std::time::Duration::from_millis(200));
        describe(p, GROUP, "tuned-group", Some(&["consumer.session.timeout.ms"]));
    }),
    ("alter configs: a group's timeout too long", |p| {
        change(p, GROUP, "tuned-group", &[("consumer.session.timeout.ms", SET, Some("99999999"))]);
    }),
    ("alter configs: a group key nobody knows", |p| change(p, GROUP, "g", &[("no.such.key", SET, Some("1"))])),
    ("alter configs: an empty group", |p| change(p, GROUP, "", &[("consumer.session.timeout.ms", SET, Some("50000"))])),
    ("alter configs: client metrics", |p| change(p, CLIENT_METRICS, "m1", &[("interval.ms", SET, Some("10000"))])),
    ("alter configs: client metrics too often", |p| {
        change(p, CLIENT_METRICS, "m1", &[("interval.ms", SET, Some("5"))])
    }),
    ("alter configs: an unknown client metrics key", |p| {
        change(p, CLIENT_METRICS, "m1", &[("colour", SET, Some("red"))])
    }),
    ("alter configs: client metrics without a name", |p| {
        change(p, CLIENT_METRICS, "", &[("interval.ms", SET, Some("10000"))])
    }),
    ("alter configs: one resource twice", |p| {
        let one = |value: &str| AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "small".into(),
            configs: vec![AlterableConfig {
                name: "retention.ms".into(),
                config_operation: SET,
                value: Some(value.into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        p.call(1, &IncrementalAlterConfigsRequest { resources: vec![one("1000"), one("2000")], ..Default::default() });
    }),
    ("replace configs: a topic's", |p| replace(p, TOPIC, "tuned", &[("retention.ms", Some("123456"))], false)),
    ("replace configs: none left", |p| replace(p, TOPIC, "tuned", &[], false)),
    ("replace configs: an unknown topic", |p| replace(p, TOPIC, "nowhere", &[("retention.ms", Some("1"))], false)),
    ("replace configs: a key nobody knows", |p| replace(p, TOPIC, "tuned", &[("no.such.key", Some("1"))], false)),
    ("replace configs: a null value", |p| replace(p, TOPIC, "tuned", &[("retention.ms", None)], false)),
    ("replace configs: one key twice", |p| {
        replace(p, TOPIC, "tuned", &[("retention.ms", Some("1")), ("retention.ms", Some("2"))], false);
    }),
    ("replace configs: only validated and wrong", |p| replace(p, TOPIC, "tuned", &[("retention.ms", Some("x"))], true)),
    ("replace configs: a kind nobody knows", |p| replace(p, 55, "tuned", &[("retention.ms", Some("1"))], false)),
];
