//! Every wrong value names file, line and key, and what would be right.

use super::*;

const GOOD: &str = r#"
[clusters.east]
bootstrap = "127.0.0.1:19092, 127.0.0.1:19093"
client = { "fetch.wait.max.ms" = 50, "linger.ms" = "5" }

[clusters.west]
bootstrap = ["127.0.0.1:29092"]
cluster_id = "abcdefghijklmnopqrstuv"

[[flows]]
name = "orders-dr"
from = "east"
to = "west"
topics = { include = ["orders.*"], exclude = ["*.tmp"] }
groups = ["billing", "fraud-*"]
objectives = { rpo = "5s", rto = "3m" }
"#;

fn load_text(text: &str) -> Result<Loaded, ConfigError> {
    load_layers(text, &[], &[], &[])
}

fn load_layers(
    text: &str,
    fragments: &[(&str, &str)],
    env: &[(&str, &str)],
    flags: &[&str],
) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("causeway.toml");
    std::fs::write(&file, text).unwrap();
    if !fragments.is_empty() {
        std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    }
    for (name, text) in fragments {
        std::fs::write(dir.path().join("conf.d").join(name), text).unwrap();
    }
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    load_from(&Sources { file, env, flags })
}

#[test]
fn a_good_file_gives_the_values_it_says_and_the_defaults() {
    let config = load_text(GOOD).unwrap().config;
    let east = config.cluster("east").unwrap();
    assert_eq!(east.bootstrap_servers(), "127.0.0.1:19092,127.0.0.1:19093");
    assert_eq!(east.client.get("fetch.wait.max.ms"), Some("50"));
    assert_eq!(config.cluster("west").unwrap().cluster_id.as_deref(), Some("abcdefghijklmnopqrstuv"));
    let flow = config.flow("orders-dr").unwrap();
    assert!(flow.topics.matches("orders.eu") && !flow.topics.matches("orders.tmp"));
    assert!(flow.groups.matches("fraud-eu") && !flow.groups.matches("audit"));
    assert_eq!(flow.naming, valid::Naming::Identity);
    assert_eq!((flow.delivery, flow.engine), (None, None), "chosen by what the flow needs");
    assert_eq!(flow.start, valid::Start::Earliest);
    assert_eq!(flow.gap_policy, valid::GapPolicy::Stop);
    assert_eq!(flow.objectives.rpo, Some(std::time::Duration::from_secs(5)));
    assert!(flow.refresh.groups <= std::time::Duration::from_secs(5));
    assert_eq!(config.admin.listen.to_string(), ADMIN_LISTEN);
    assert_eq!(config.store.dir, PathBuf::from(STORE_DIR));
}

/// Replaces `from` by `to` in the good file, and expects every one of `what` in the error.
fn refused(from: &str, to: &str, what: &[&str]) {
    assert!(GOOD.contains(from), "{from}");
    let error = load_text(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
    for part in what {
        assert!(error.contains(part), "for `{to}` expected `{part}` in: {error}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest_name() {
    refused("groups =", "gruops =", &["causeway.toml:15:1", "flows.orders-dr.gruops", "did you mean `groups`?"]);
    refused("[clusters.east]", "[cluster.east]", &["causeway.toml:2:2", "did you mean `clusters`?"]);
    refused("rpo =", "rpq =", &["flows.orders-dr.objectives.rpq", "did you mean `rpo`?"]);
    refused("cluster_id", "clusterid", &["clusters.west.clusterid", "did you mean `cluster_id`?"]);
    refused("exclude =", "exlude =", &["did you mean `exclude`?"]);
}

#[test]
fn a_wrong_value_is_refused_with_its_place_and_the_right_form() {
    refused("\"3m\"", "\"3 minutes\"", &["causeway.toml:16:", "flows.orders-dr.objectives.rto", "3m"]);
    refused("\"3m\"", "3", &["expected a string, found integer"]);
    refused("[\"billing\", \"fraud-*\"]", "\"billing\"", &["flows.orders-dr.groups", "list of patterns"]);
    refused("to = \"west\"", "to = \"wets\"", &["causeway.toml:13:1", "no cluster is called `wets`", "`west`"]);
    refused("to = \"west\"", "to = \"east\"", &["flows.orders-dr.to", "is also the source"]);
    refused("to = \"west\"", "", &["flows.orders-dr.to", "is missing"]);
    refused("name = \"orders-dr\"", "name = \"Orders\"", &["lower-case"]);
    refused("name = \"orders-dr\"", "", &["flows[0]", "no `name`"]);
    refused("[\"127.0.0.1:29092\"]", "[\"127.0.0.1\"]", &["clusters.west.bootstrap", "the port is missing"]);
    refused("bootstrap = [\"127.0.0.1:29092\"]", "", &["clusters.west.bootstrap", "is missing"]);
    refused("\"orders.*\"", "\"re:(\"", &["flows.orders-dr.topics.include", "re:("]);
    refused("include = [\"orders.*\"]", "include = []", &["flows.orders-dr.topics", "is missing"]);
    refused("[[flows]]", "[flows]", &["flows", "[[flows]]"]);
    refused("objectives", "start = \"soon\"\nobjectives", &["flows.orders-dr.start", "`soon`", "2026-01-31T08:00:00Z"]);
    refused("objectives", "gap_policy = \"halt\"\nobjectives", &["`halt` is not one of stop, record"]);
    refused("objectives", "naming = \"prefix\"\nobjectives", &["flows.orders-dr.naming", "did you mean `prefixed`"]);
    refused("objectives", "naming = \"{source}\"\nobjectives", &["{topic} exactly once"]);
    refused("objectives", "refresh = { groups = \"1m\" }\nobjectives", &["flows.orders-dr.refresh.groups", "5s"]);
    refused("objectives", "refresh = { topics = \"1ms\" }\nobjectives", &["100ms"]);
    refused("[[flows]]", "[admin]\nlisten = \"8088\"\n[[flows]]", &["admin.listen", "127.0.0.1:8088"]);
    refused("[[flows]]", "[log]\nformat = \"xml\"\n[[flows]]", &["log.format", "text, json"]);
    refused("[[flows]]", "[store]\ndir = \"\"\n[[flows]]", &["store.dir", "empty"]);
}

#[test]
fn what_is_not_built_yet_is_refused_by_name() {
    refused(
        "objectives",
        "engine = \"record\"\ndelivery = \"exactly-once\"\nobjectives",
        &["flows.orders-dr.delivery", "at-least-once"],
    );
    refused("objectives", "engine = \"batches\"\nobjectives", &["flows.orders-dr.engine", "batch, record"]);
    refused(
        "bootstrap = [",
        "tls = { ca = \"file:/ca.pem\" }\nbootstrap = [",
        &["clusters.west.tls", "not supported yet"],
    );
    let sasl = "sasl = { mechanism = \"SCRAM-SHA-512\", user = \"u\", password = \"hunter2\" }\nbootstrap = [";
    refused("bootstrap = [", sasl, &["clusters.west.sasl: not supported yet", "never in the file itself"]);
    let error = load_text(&GOOD.replacen("bootstrap = [", sasl, 1)).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn client_keys_that_the_laws_rest_on_are_refused_with_the_reason() {
    refused("\"linger.ms\" = \"5\"", "acks = 1", &["clusters.east.client.acks", "in-sync replica"]);
    refused("\"linger.ms\" = \"5\"", "\"auto.offset.reset\" = \"latest\"", &["gap_policy"]);
    refused("\"linger.ms\" = \"5\"", "\"linger.ms\" = [5]", &["expected a string, a number or a boolean"]);
}

#[test]
fn one_cluster_under_two_names_is_refused() {
    refused("127.0.0.1:29092", "127.0.0.1:19093", &["clusters.west.bootstrap", "also belongs to `east`"]);
    refused("client =", "cluster_id = \"abcdefghijklmnopqrstuv\"\nclient =", &["one cluster, two names"]);
}

#[test]
fn a_cycle_of_growing_names_is_refused_and_one_of_identity_names_is_not() {
    let back = |naming: &str, exclude: &str| {
        let first =
            GOOD.replacen("\"orders.*\"", "\"*\"", 1).replacen("groups", &format!("naming = \"{naming}\"\ngroups"), 1);
        let topics = format!("{{ include = [\"*\"], exclude = [{exclude}] }}");
        format!(
            "{first}\n[[flows]]\nname = \"back\"\nfrom = \"west\"\nto = \"east\"\nnaming = \"{naming}\"\ntopics = {topics}\n"
        )
    };
    let error = load_text(&back("prefixed", "")).unwrap_err().to_string();
    assert!(error.contains("cycle") && error.contains("back"), "{error}");
    load_text(&back("identity", "")).unwrap();
    load_text(&back("prefixed", "\"east.*\"")).unwrap();
}

#[test]
fn all_problems_come_at_once() {
    let text = GOOD.replacen("\"5s\"", "\"soon\"", 1).replacen("\"3m\"", "\"later\"", 1);
    assert_eq!(load_text(&text).unwrap_err().problems.len(), 2);
}

#[test]
fn a_file_that_is_missing_or_no_toml_says_so() {
    let missing = Sources { file: PathBuf::from("/nonexistent/causeway.toml"), ..Sources::default() };
    let error = load_from(&missing).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/causeway.toml") && error.contains("cannot be read"), "{error}");
    let error = load_text("[clusters.east\n").unwrap_err().to_string();
    assert!(error.contains("causeway.toml:1:") && error.contains("is not TOML"), "{error}");
    let error = load_text("").unwrap_err().to_string();
    assert!(error.contains("no [[flows]]"), "{error}");
}

#[test]
fn later_layers_win_and_every_value_knows_where_it_came_from() {
    let fragment = "[admin]\nlisten = \"127.0.0.1:1\"\n[[flows]]\nname = \"orders-dr\"\ngap_policy = \"record\"\n";
    let env = [("CAUSEWAY__ADMIN__LISTEN", "127.0.0.1:2"), ("CAUSEWAY__CLUSTERS__WEST__BOOTSTRAP", "127.0.0.1:3")];
    let loaded =
        load_layers(GOOD, &[("50-site.toml", fragment), ("ignored.txt", "?")], &env, &["admin.listen=127.0.0.1:4"])
            .unwrap();
    assert_eq!(loaded.config.admin.listen.port(), 4);
    assert_eq!(loaded.config.cluster("west").unwrap().bootstrap_servers(), "127.0.0.1:3");
    let flow = loaded.config.flow("orders-dr").unwrap();
    assert_eq!(flow.gap_policy, valid::GapPolicy::Record);
    assert!(flow.topics.matches("orders.eu"), "the fragment must not wipe what the file said");
    let origin = |key: &str| loaded.values[key].0.as_str();
    assert_eq!(origin("admin.listen"), "flag --set");
    assert_eq!(origin("clusters.west.bootstrap"), "environment CAUSEWAY__CLUSTERS__WEST__BOOTSTRAP");
    assert!(origin("flows.orders-dr.gap_policy").ends_with("conf.d/50-site.toml:5:1"));
    assert!(origin("clusters.east.bootstrap").ends_with("causeway.toml:3:1"));
}

#[test]
fn a_wrong_override_names_the_variable() {
    let error = load_layers(GOOD, &[], &[("CAUSEWAY__LOG__FORMAT", "xml")], &[]).unwrap_err().to_string();
    assert!(error.contains("environment CAUSEWAY__LOG__FORMAT"), "{error}");
    let error = load_layers(GOOD, &[], &[], &["flows.orders-dr.to=east"]).unwrap_err().to_string();
    assert!(error.contains("flag --set") && error.contains("may not be set here"), "{error}");
}

#[test]
fn a_secret_reference_is_resolved_and_neither_shown_nor_logged() {
    let text = GOOD.replacen("\"linger.ms\" = \"5\"", "\"x.password\" = \"env:PW\"", 1);
    let loaded = load_layers(&text, &[], &[("PW", "hunter2")], &[]).unwrap();
    assert_eq!(loaded.config.cluster("east").unwrap().client.get("x.password"), Some("hunter2"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
    let error = load_layers(&text, &[], &[], &[]).unwrap_err().to_string();
    assert!(error.contains("PW") && error.contains("clusters.east.client.x.password"), "{error}");
}

#[test]
fn no_damaged_file_makes_the_reader_panic() {
    let mut rng = fastrand::Rng::with_seed(1);
    let pieces = [
        "[",
        "]",
        "\"",
        "=",
        "{",
        "}",
        "\n",
        "flows",
        "[[flows]]",
        "é",
        "0",
        "re:(",
        ".",
        "'''",
        "\u{0}",
        "-",
        "1979-05-27",
    ];
    for _ in 0..3000 {
        let mut text = GOOD.to_owned();
        for _ in 0..rng.usize(1..4) {
            let mut at = rng.usize(0..text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            if rng.bool() || !text.is_ascii() {
                text.insert_str(at, pieces[rng.usize(0..pieces.len())]);
            } else {
                text.remove(at);
            }
        }
        let mut problems = Vec::new();
        let layer = file::parse("damaged.toml", &text, &mut problems);
        let merged = merge(vec![layer]).unwrap();
        if let Ok(raw) = merged.try_deserialize::<raw::Config>() {
            let context = check::Context { origins: &BTreeMap::new(), env: &|_| None };
            let _ = check::check(raw, &context);
        }
    }
}
