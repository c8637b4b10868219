//! MirrorMaker 2's settings (KIP-382, and the configuration classes of `connect-mirror` 4.x) in our words.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure};
use causeway_broker::properties::Properties;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value, value};

use super::Imported;
use crate::config;

/// What MirrorMaker 2 leaves out when nothing else is said.
const TOPICS_EXCLUDE: &str = r".*[\-\.]internal, .*\.replica, __.*";
const GROUPS_EXCLUDE: &str = "console-consumer-.*, connect-.*, __.*";
/// Seconds between two looks, MirrorMaker 2's default.
const REFRESH_SECONDS: &str = "600";
/// Most clusters in one file.
const CLUSTERS_MAX: usize = 256;

/// Settings that have no counterpart, as prefixes of keys without their scope, and why.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("ssl.", "TLS is not built yet"),
    ("sasl.", "SASL is not built yet"),
    ("security.protocol", "only PLAINTEXT is built yet"),
    ("topic.filter.class", "filters are patterns here, not classes"),
    ("group.filter.class", "filters are patterns here, not classes"),
    ("config.property.filter.class", "which settings of a topic are kept equal cannot be chosen yet"),
    ("config.properties.exclude", "which settings of a topic are kept equal cannot be chosen yet"),
    ("use.defaults.from", "which settings of a topic are kept equal cannot be chosen yet"),
    ("forwarding.admin.class", "topics are made by Kafka's protocol alone"),
    ("transforms", "there are no transforms"),
    ("config.providers", "secrets are given as `env:` or `file:` references"),
];

/// Settings of Kafka Connect, of threads, and of what an exact offset map makes needless.
const NOT_NEEDED: &[&str] = &[
    "tasks.max",
    "offset.lag.max",
    "offset-syncs.",
    "emit.offset-syncs.",
    "emit.checkpoints.",
    "checkpoints.",
    "heartbeats.",
    "offset.storage.",
    "config.storage.",
    "status.storage.",
    "offset.flush.",
    "dedicated.mode.",
    "rest.",
    "listeners",
    "key.converter",
    "value.converter",
    "consumer.poll.timeout.ms",
    "metric.",
    "metrics.",
    "exactly.once.",
    "group.id",
    "plugin.path",
    "producer.",
    "consumer.",
    "admin.",
    "source.",
    "target.",
];

/// The settings of the file, by scope.
struct Settings<'a> {
    all: &'a Properties,
    used: BTreeSet<String>,
}

impl Settings<'_> {
    /// A setting of a flow: its own, the target's, or everybody's, as MirrorMaker 2 looks them up.
    fn of_flow(&mut self, (from, to): (&str, &str), key: &str) -> Option<(String, String)> {
        let scoped = [format!("{from}->{to}.{key}"), format!("{to}.{key}"), key.to_owned()];
        let found = scoped.into_iter().find_map(|key| self.all.get(&key).map(|value| (key, value.trim().to_owned())));
        if let Some((key, _)) = &found {
            self.used.insert(key.clone());
        }
        found
    }

    fn is_on(&mut self, flow: (&str, &str), key: &str, default: bool) -> bool {
        self.of_flow(flow, key).map_or(default, |(_, value)| value.eq_ignore_ascii_case("true"))
    }
}

/// Makes a configuration of ours.
///
/// # Errors
/// No `clusters`, or one without `bootstrap.servers`.
pub(super) fn import(all: &Properties) -> anyhow::Result<Imported> {
    let mut imported = Imported::default();
    let mut settings = Settings { all, used: BTreeSet::new() };
    let clusters = list(all.get("clusters").unwrap_or_default());
    ensure!(!clusters.is_empty(), "`clusters` names none: this is no file for connect-mirror-maker.sh");
    ensure!(clusters.len() <= CLUSTERS_MAX, "`clusters` names {}, more than {CLUSTERS_MAX}", clusters.len());
    settings.used.insert("clusters".to_owned());
    let mut document = DocumentMut::new();
    let mut labels = BTreeMap::new();
    for alias in &clusters {
        let label = label(alias, &labels)?;
        let key = format!("{alias}.bootstrap.servers");
        let Some(bootstrap) = all.get(&key) else { bail!("`{key}` is missing") };
        settings.used.insert(key.clone());
        table(table(document.as_table_mut(), "clusters"), &label)["bootstrap"] = value(list(bootstrap).join(","));
        imported.carried(key, format!("clusters.{label}.bootstrap"));
        labels.insert(alias.clone(), label);
    }
    let mut flows = ArrayOfTables::new();
    for from in &clusters {
        for to in clusters.iter().filter(|to| *to != from) {
            let enabled = settings.of_flow((from, to), "enabled");
            if enabled.as_ref().is_some_and(|(_, on)| on.eq_ignore_ascii_case("true")) {
                flows.push(flow(&mut settings, (from, to), &labels, &mut imported));
            }
            if let Some((key, _)) = enabled {
                imported.carried(key, "whether there is a flow");
            }
        }
    }
    if flows.is_empty() {
        imported.unsupported("enabled", "no flow A->B.enabled is true: the configuration has none either");
    } else {
        document["flows"] = Item::ArrayOfTables(flows);
        imported.changed(
            "(positions)",
            "of a running MirrorMaker 2 are not taken over yet: flows begin where `start` says",
        );
        imported.changed("sync.topic.acls.enabled", "ACLs are not copied yet");
        imported.changed("replication.factor", "topics are made with the target's default.replication.factor");
    }
    leftovers(&settings, &clusters, &mut imported);
    imported.config = document.to_string();
    Ok(imported)
}

fn flow(
    settings: &mut Settings<'_>,
    (from, to): (&str, &str),
    labels: &BTreeMap<String, String>,
    imported: &mut Imported,
) -> Table {
    let pair = (from, to);
    let name = format!("{}-to-{}", labels[from], labels[to]);
    let at = |what: &str| format!("flows.{name}.{what}");
    let mut flow = Table::new();
    flow["name"] = value(&name);
    flow["from"] = value(&labels[from]);
    flow["to"] = value(&labels[to]);
    let (name, comes_back) = naming(settings, pair, &labels[from], &at("naming"), imported);
    flow["naming"] = value(name);
    let topics = [("topics", ".*"), ("topics.exclude", TOPICS_EXCLUDE)];
    flow["topics"] = patterns(settings, pair, topics, &at("topics"), comes_back, imported);
    if settings.is_on(pair, "sync.group.offsets.enabled", false) {
        let groups = [("groups", ".*"), ("groups.exclude", GROUPS_EXCLUDE)];
        flow["groups"] = patterns(settings, pair, groups, &at("groups"), None, imported);
        imported.carried("sync.group.offsets.enabled", at("groups"));
    } else {
        flow["groups"] = value(Array::new());
        imported.changed(
            "sync.group.offsets.enabled",
            format!(
                "is off, so {} is empty; positions are still translated, exactly, for every group that asks",
                at("groups")
            ),
        );
    }
    let latest = settings
        .of_flow(pair, "source.consumer.auto.offset.reset")
        .or_else(|| settings.of_flow(pair, "consumer.auto.offset.reset"));
    if let Some((key, reset)) = latest {
        flow["start"] = value(if reset == "latest" { "latest" } else { "earliest" });
        imported.carried(key, at("start"));
    }
    let refresh = refresh(settings, pair, &at("refresh"), imported);
    if !refresh.is_empty() {
        flow["refresh"] = value(refresh);
    }
    flow
}

/// Kafka's lists of regular expressions, which match whole names, as ours do behind `re:`. `also`: excluded too.
fn patterns(
    settings: &mut Settings<'_>,
    pair: (&str, &str),
    keys: [(&str, &str); 2],
    at: &str,
    also: Option<String>,
    imported: &mut Imported,
) -> Item {
    let mut rules = toml_edit::InlineTable::new();
    for ((key, default), word) in keys.into_iter().zip(["include", "exclude"]) {
        let found = settings.of_flow(pair, key);
        let text = found.as_ref().map_or(default, |(_, text)| text);
        let mut array = Array::new();
        for pattern in list(text) {
            let ours = if pattern == ".*" { "*".to_owned() } else { format!("re:{pattern}") };
            match config::Pattern::parse(&ours) {
                Ok(_) => array.push(ours),
                Err(why) => imported.unsupported(key, why),
            }
        }
        if word == "exclude" {
            array.extend(also.clone());
        }
        if let Some((key, _)) = found {
            imported.carried(key, format!("{at}.{word}"));
        }
        rules.insert(word, Value::Array(array));
    }
    value(rules)
}

/// What topics are called at the target, and which topics of the source came from there: those with the target's alias among their prefixes, which
/// MirrorMaker 2 passes over as well.
fn naming(
    settings: &mut Settings<'_>,
    pair: (&str, &str),
    label: &str,
    at: &str,
    imported: &mut Imported,
) -> (String, Option<String>) {
    let separator = settings.of_flow(pair, "replication.policy.separator");
    let mark = separator.as_ref().map_or(".", |(_, separator)| separator);
    let policy = settings.of_flow(pair, "replication.policy.class");
    let class =
        policy.as_ref().map_or("DefaultReplicationPolicy", |(_, class)| class.rsplit('.').next().unwrap_or(class));
    let (to, quoted) = (regex::escape(pair.1), regex::escape(mark));
    let comes_back = Some(format!("re:(.+{quoted})?{to}{quoted}.+"));
    let (name, comes_back) = match class {
        "IdentityReplicationPolicy" => ("identity".to_owned(), None),
        "DefaultReplicationPolicy" if mark == "." && pair.0 == label => ("prefixed".to_owned(), comes_back),
        "DefaultReplicationPolicy" => (format!("{}{mark}{{topic}}", pair.0), comes_back),
        other => {
            imported.unsupported("replication.policy.class", format!("{other} is not known: topics keep their names"));
            return ("identity".to_owned(), None);
        }
    };
    for (key, _) in [policy, separator].into_iter().flatten() {
        imported.carried(key, format!("{at} = {name:?}"));
    }
    (name, comes_back)
}

fn refresh(
    settings: &mut Settings<'_>,
    pair: (&str, &str),
    at: &str,
    imported: &mut Imported,
) -> toml_edit::InlineTable {
    let mut refresh = toml_edit::InlineTable::new();
    for (key, default, word) in [
        ("refresh.topics.interval.seconds", REFRESH_SECONDS, "topics"),
        ("sync.group.offsets.interval.seconds", "60", "groups"),
        ("emit.heartbeats.interval.seconds", "1", "heartbeats"),
    ] {
        let Some((key, seconds)) = settings.of_flow(pair, key) else { continue };
        match seconds.parse::<u32>() {
            Ok(0) | Err(_) => {
                imported.unsupported(&key, format!("{seconds:?} is no number of seconds; ours is used, not {default}"))
            }
            Ok(seconds) => {
                refresh.insert(word, format!("{seconds}s").into());
                imported.carried(key, format!("{at}.{word}"));
            }
        }
    }
    refresh
}

/// What nobody asked for.
fn leftovers(settings: &Settings<'_>, clusters: &[String], imported: &mut Imported) {
    let mut seen = BTreeSet::new();
    for (key, text) in settings.all.iter().filter(|(key, _)| !settings.used.contains(*key)) {
        if !seen.insert(key) {
            continue;
        }
        let bare = bare(key, clusters);
        let starts = |prefix: &str| {
            bare.starts_with(prefix) || bare.split_once('.').is_some_and(|(_, rest)| rest.starts_with(prefix))
        };
        if bare == "security.protocol" && text.trim() == "PLAINTEXT" {
            imported.carried(key, "as it is");
        } else if let Some((_, why)) = UNSUPPORTED.iter().find(|(prefix, _)| starts(prefix)) {
            imported.unsupported(key, *why);
        } else if NOT_NEEDED.iter().any(|prefix| bare.starts_with(prefix)) {
            imported.not_needed.push(key.to_owned());
        } else {
            match bare {
                "sync.topic.configs.enabled"
                | "refresh.topics.enabled"
                | "refresh.groups.enabled"
                | "emit.heartbeats.enabled"
                    if text.trim() == "true" =>
                {
                    imported.carried(key, "always so")
                }
                "refresh.groups.interval.seconds" | "sync.topic.configs.interval.seconds" => {
                    imported.changed(key, "looked at together with topics and positions");
                }
                "replication.factor" | "sync.topic.acls.enabled" | "sync.topic.acls.interval.seconds" => {}
                "groups" | "groups.exclude" => {
                    imported.changed(key, "not used while sync.group.offsets.enabled is off")
                }
                _ => imported.unsupported(key, "not known here"),
            }
        }
    }
}

/// A key without the cluster or flow that it is for.
fn bare<'a>(key: &'a str, clusters: &[String]) -> &'a str {
    if let Some((_, rest)) = key.split_once("->") {
        return rest.split_once('.').map_or(rest, |(_, bare)| bare);
    }
    clusters.iter().find_map(|alias| key.strip_prefix(alias.as_str())?.strip_prefix('.')).unwrap_or(key)
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect()
}

/// The alias as a name that we take: MirrorMaker 2 takes any.
fn label(alias: &str, taken: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let lower: String =
        alias.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let label = lower.trim_matches('-').to_owned();
    config::label(&label).map_err(|why| anyhow::anyhow!("cluster {alias:?}: {why}"))?;
    if let Some((other, _)) = taken.iter().find(|(_, known)| **known == label) {
        bail!("clusters {other:?} and {alias:?} would both be called `{label}` here: rename one of them");
    }
    Ok(label)
}

fn table<'a>(parent: &'a mut Table, key: &str) -> &'a mut Table {
    let entry = parent.entry(key).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    entry.as_table_mut().expect("only tables are put there")
}

#[cfg(test)]
#[path = "mm2_tests.rs"]
mod tests;
