use super::*;
use crate::config::valid::{Naming, Start};

fn imported(text: &str) -> Imported {
    import(&Properties::parse(text).unwrap()).unwrap()
}

/// The configuration as the daemon would take it.
fn loaded(imported: &Imported) -> config::Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("causeway.toml");
    std::fs::write(&file, &imported.config).unwrap();
    config::load_from(&config::Sources { file, ..Default::default() })
        .unwrap_or_else(|error| panic!("{error}\n{}", imported.config))
        .config
}

const USUAL: &str = "clusters = primary, DR_2\nprimary.bootstrap.servers = a:9092, b:9092\nDR_2.bootstrap.servers = c:9092\n\
                     primary->DR_2.enabled = true\nDR_2->primary.enabled = false\nprimary->DR_2.topics = orders.*, payments\n\
                     groups = billing-.*\nsync.group.offsets.enabled = true\nsync.group.offsets.interval.seconds = 5\n\
                     refresh.topics.interval.seconds = 30\nreplication.factor = 3\ntasks.max = 8\n\
                     DR_2.producer.batch.size = 300000\nprimary.ssl.truststore.location = /x\n";

#[test]
fn the_usual_file_becomes_a_configuration_that_does_the_same() {
    let imported = imported(USUAL);
    let config = loaded(&imported);
    assert_eq!(config.cluster("primary").unwrap().bootstrap_servers(), "a:9092,b:9092");
    let [flow] = &config.flows[..] else { panic!("{}", imported.config) };
    assert_eq!((flow.name.as_str(), flow.from.as_str(), flow.to.as_str()), ("primary-to-dr-2", "primary", "dr-2"));
    assert_eq!(flow.naming, Naming::Prefixed);
    for (topic, copied) in
        [("orders", true), ("orders-eu", true), ("payments", true), ("payments2", false), ("other", false)]
    {
        assert_eq!(flow.topics.matches(topic), copied, "{topic}");
    }
    assert!(!flow.topics.matches("orders.replica") && !flow.topics.matches("orders-internal"));
    assert!(flow.groups.matches("billing-1") && !flow.groups.matches("other"));
    assert_eq!((flow.refresh.topics.as_secs(), flow.refresh.groups.as_secs()), (30, 5));
    let unsupported: Vec<&str> = imported.unsupported.iter().map(|fate| fate.key.as_str()).collect();
    assert_eq!(unsupported, ["primary.ssl.truststore.location"]);
    assert_eq!(imported.not_needed, ["tasks.max", "DR_2.producer.batch.size"]);
}

#[test]
fn every_key_of_the_file_is_told_of() {
    let imported = imported(USUAL);
    let told: BTreeSet<&str> = [&imported.carried, &imported.changed, &imported.unsupported]
        .into_iter()
        .flatten()
        .map(|fate| fate.key.as_str())
        .chain(imported.not_needed.iter().map(String::as_str))
        .collect();
    for (key, _) in Properties::parse(USUAL)
        .unwrap()
        .iter()
        .filter(|(key, _)| *key != "clusters" && *key != "primary->DR_2.enabled")
    {
        assert!(told.contains(key), "{key} is not told of in {told:?}");
    }
}

#[test]
fn names_at_the_target_stay_as_mirror_maker_made_them() {
    let two = "clusters = A, b\nA.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\nA->b.enabled = true\nb->A.enabled = true\n";
    let naming = |more: &str| {
        let imported = imported(&format!("{two}{more}"));
        loaded(&imported).flows.iter().map(|flow| flow.naming.clone()).collect::<Vec<_>>()
    };
    // an alias that cannot be a name here is kept in the topics' names all the same
    assert_eq!(naming(""), [Naming::Template("A.{topic}".into()), Naming::Prefixed]);
    assert_eq!(
        naming("replication.policy.separator = _\n"),
        [Naming::Template("A_{topic}".into()), Naming::Template("b_{topic}".into())]
    );
    let identity = "replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy\n";
    assert_eq!(naming(identity), [Naming::Identity, Naming::Identity]);
}

#[test]
fn what_came_from_the_target_is_passed_over_as_mirror_maker_does() {
    let imported = imported(
        "clusters = a, b\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\na->b.enabled = true\nb->a.enabled = true\n",
    );
    let config = loaded(&imported);
    let flow = config.flows.iter().find(|flow| flow.from.as_str() == "a").unwrap();
    for (topic, copied) in
        [("orders", true), ("b.orders", false), ("c.b.orders", false), ("c.orders", true), ("bb.orders", true)]
    {
        assert_eq!(flow.topics.matches(topic), copied, "{topic}");
    }
}

#[test]
fn what_cannot_be_done_is_said_and_never_passed_over() {
    let imported = imported(
        "clusters = a, b\na.bootstrap.servers = a:1\nb.bootstrap.servers = b:1\na->b.enabled = true\ntopics = (?!x).*, good\n\
         replication.policy.class = com.example.Own\nconsumer.auto.offset.reset = latest\nnonsense = 1\nsasl.mechanism = PLAIN\n",
    );
    let flow = &loaded(&imported).flows[0];
    assert!(flow.topics.matches("good") && !flow.topics.matches("y"));
    assert_eq!(flow.start, Start::Latest);
    let keys: Vec<&str> = imported.unsupported.iter().map(|fate| fate.key.as_str()).collect();
    assert_eq!(keys, ["replication.policy.class", "topics", "nonsense", "sasl.mechanism"]);
}

#[test]
fn a_file_of_something_else_is_refused() {
    for (text, what) in [
        ("broker.id = 1\n", "`clusters` names none"),
        ("clusters = a, b\na.bootstrap.servers = a:1\n", "`b.bootstrap.servers` is missing"),
        ("clusters = A, a\nA.bootstrap.servers = a:1\na.bootstrap.servers = b:1\n", "both be called `a`"),
        ("clusters = ..\n...bootstrap.servers = a:1\n", "cannot be used as a name"),
    ] {
        let error = import(&Properties::parse(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}
