//! Raw to valid: every rule that can be decided without asking a cluster. All problems are collected, not only the first.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::client::{ClientSettings, owned};
use super::error::Problem;
use super::grammar::hint;
use super::pattern::{Pattern, Patterns};
use super::raw::{self, OneOrMany};
use super::valid::{
    Admin, Alias, Cluster, Config, Delivery, Engine, Flow, FlowName, GapPolicy, HostPort, Log, LogFormat, Naming,
    Objectives, Refresh, Start, Store,
};
use super::{graph, parse, secret};

/// Where the admin endpoint listens unless told otherwise: this machine only.
pub const ADMIN_LISTEN: &str = "127.0.0.1:8088";
/// Where the cache lives unless told otherwise.
pub const STORE_DIR: &str = "causeway-store";
/// New topics and partitions are found within this time.
const REFRESH_TOPICS: Duration = Duration::from_secs(5);
/// Group positions are looked at this often.
const REFRESH_GROUPS: Duration = Duration::from_secs(2);
/// The longest allowed time between two looks at the group positions: what a failover re-reads grows with it.
const REFRESH_GROUPS_MAX: Duration = Duration::from_secs(5);
/// MirrorMaker 2's beat, so that its dashboards read ours.
const REFRESH_HEARTBEATS: Duration = Duration::from_secs(1);
/// Nothing is polled faster than this.
const REFRESH_MIN: Duration = Duration::from_millis(100);
/// A Kafka cluster.id is 22 characters; some vendors write longer ones.
const CLUSTER_ID_BYTES_MAX: usize = 255;

/// Where a key path was written, and what the environment holds: all that checking needs besides the values.
pub struct Context<'a> {
    /// Origin of every key path that some layer gave.
    pub origins: &'a BTreeMap<String, String>,
    /// Look-up of an environment variable, for secrets.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Collects problems while values are made.
pub(super) struct Checker<'a> {
    context: &'a Context<'a>,
    pub(super) problems: Vec<Problem>,
}

impl Checker<'_> {
    /// Notes a problem at `key`, at the origin of it or of the nearest table around it.
    pub(super) fn fail(&mut self, key: &str, message: impl Into<String>) {
        let mut path = key;
        let origin = loop {
            if let Some(origin) = self.context.origins.get(path) {
                break Some(origin.clone());
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => break None,
            }
        };
        self.problems.push(Problem::new(origin, key, message));
    }

    fn take<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.fail(key, message)).ok()
    }

    fn one_of<T: Copy>(&mut self, key: &str, text: &str, choices: &[(&str, T)]) -> Option<T> {
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        self.fail(key, format!("`{text}` is not one of {}{}", names.join(", "), near(text, &names)));
        None
    }
}

fn near(text: &str, names: &[&str]) -> String {
    let hint = hint(text, names);
    if hint.contains("did you mean") { hint } else { String::new() }
}

/// Makes the valid configuration, or says everything that is wrong.
///
/// # Errors
/// One [`Problem`] per wrong value.
pub fn check(raw: raw::Config, context: &Context<'_>) -> Result<Config, Vec<Problem>> {
    let mut checker = Checker { context, problems: Vec::new() };
    let clusters: BTreeMap<Alias, Cluster> = raw
        .clusters
        .iter()
        .filter_map(|(alias, raw)| checker.cluster(alias, raw))
        .map(|c| (c.alias.clone(), c))
        .collect();
    let aliases: Vec<&str> = raw.clusters.keys().map(String::as_str).collect();
    let flows: Vec<Flow> = raw.flows.iter().filter_map(|(name, raw)| checker.flow(name, raw, &aliases)).collect();
    if raw.flows.is_empty() {
        checker.fail("", "there is no [[flows]]: nothing would be copied; `causeway init` prints a file to start from");
    }
    graph::check(&clusters, &flows, &mut checker);
    let admin = checker.admin(&raw.admin);
    let store = checker.store(&raw.store);
    let log = checker.log(&raw.log);
    match (admin, store, log) {
        (Some(admin), Some(store), Some(log)) if checker.problems.is_empty() => {
            Ok(Config { clusters, flows, admin, store, log })
        }
        _ => Err(checker.problems),
    }
}

impl Checker<'_> {
    fn cluster(&mut self, alias: &str, raw: &raw::Cluster) -> Option<Cluster> {
        let key = format!("clusters.{alias}");
        let label = self.take(&key, parse::label(alias).map(|label| Alias(label.to_owned())));
        let bootstrap = self.bootstrap(&key, raw.bootstrap.as_ref());
        for (name, given) in [("tls", raw.tls.is_some()), ("sasl", raw.sasl.is_some())] {
            if given {
                let why = "not supported yet: this build speaks plain text only, and will not fall back to it silently";
                self.fail(&format!("{key}.{name}"), why);
            }
        }
        if let Some(password) = raw.sasl.as_ref().and_then(|sasl| sasl.get("password")) {
            self.take(&format!("{key}.sasl.password"), secret::resolve(password, self.context.env));
        }
        let id_key = format!("{key}.cluster_id");
        if raw.cluster_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > CLUSTER_ID_BYTES_MAX) {
            self.fail(&id_key, "a cluster.id has 1 to 255 characters; leave it out to take the one that is found");
        }
        let client = self.client(&key, &raw.client);
        Some(Cluster { alias: label?, bootstrap: bootstrap?, cluster_id: raw.cluster_id.clone(), client })
    }

    fn bootstrap(&mut self, cluster: &str, raw: Option<&OneOrMany>) -> Option<Vec<HostPort>> {
        let key = format!("{cluster}.bootstrap");
        let texts: Vec<String> = match raw {
            None => Vec::new(),
            Some(OneOrMany::One(text)) => text.split(',').map(str::to_owned).collect(),
            Some(OneOrMany::Many(texts)) => texts.clone(),
        };
        let mut addresses: Vec<HostPort> = Vec::new();
        let mut whole = true;
        for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            match self.take(&key, parse::host_port(text)) {
                Some(address) if addresses.contains(&address) => {}
                Some(address) => addresses.push(address),
                None => whole = false,
            }
        }
        if whole && addresses.is_empty() {
            self.fail(&key, "is missing: give at least one HOST:PORT");
        }
        (whole && !addresses.is_empty()).then_some(addresses)
    }

    fn client(&mut self, cluster: &str, raw: &BTreeMap<String, String>) -> ClientSettings {
        let mut settings = ClientSettings::default();
        for (name, value) in raw {
            let key = format!("{cluster}.client.{name}");
            if let Some(why) = owned(name) {
                self.fail(&key, format!("`{name}` may not be set: {why}"));
            } else if secret::is_reference(value) {
                if let Some(secret) = self.take(&key, secret::resolve(value, self.context.env)) {
                    settings.insert_secret(name, secret);
                }
            } else {
                settings.insert(name, value);
            }
        }
        settings
    }

    fn flow(&mut self, name: &str, raw: &raw::Flow, aliases: &[&str]) -> Option<Flow> {
        let key = format!("flows.{name}");
        let label = self.take(&format!("{key}.name"), parse::label(name).map(|label| FlowName(label.to_owned())));
        let from = self.end(&key, "from", raw.from.as_deref(), aliases);
        let to = self.end(&key, "to", raw.to.as_deref(), aliases);
        let topics = self.topics(&key, raw.topics.as_ref());
        let groups = match &raw.groups {
            None => Some(Patterns::default()),
            Some(rules) => self.patterns(&format!("{key}.groups"), rules),
        };
        let naming = self.naming(&key, raw.naming.as_deref());
        let engine = self.engine(&key, raw.engine.as_deref());
        let delivery = self.delivery(&key, raw.delivery.as_deref(), engine.flatten());
        let start = self.start(&key, raw.start.as_deref());
        let policies = [("stop", GapPolicy::Stop), ("record", GapPolicy::Record)];
        let gap_policy = match &raw.gap_policy {
            None => Some(GapPolicy::Stop),
            Some(text) => self.one_of(&format!("{key}.gap_policy"), text, &policies),
        };
        let objectives = self.objectives(&key, &raw.objectives);
        let refresh = self.refresh(&key, &raw.refresh);
        Some(Flow {
            name: label?,
            from: from?,
            to: to?,
            topics: topics?,
            naming: naming?,
            groups: groups?,
            delivery: delivery?,
            engine: engine?,
            start: start?,
            gap_policy: gap_policy?,
            objectives: objectives?,
            refresh: refresh?,
        })
    }

    fn end(&mut self, flow: &str, field: &str, alias: Option<&str>, aliases: &[&str]) -> Option<Alias> {
        let key = format!("{flow}.{field}");
        match alias {
            None => self.fail(&key, format!("is missing: the alias of the {field} cluster")),
            Some(alias) if aliases.contains(&alias) => return Some(Alias(alias.to_owned())),
            Some(alias) => self.fail(&key, format!("no cluster is called `{alias}`{}", hint(alias, aliases))),
        }
        None
    }

    fn topics(&mut self, flow: &str, raw: Option<&raw::Rules>) -> Option<Patterns> {
        let key = format!("{flow}.topics");
        match raw {
            Some(rules) if rules.include.as_ref().is_some_and(|include| !include.is_empty()) => {
                self.patterns(&key, rules)
            }
            _ => {
                self.fail(
                    &key,
                    "is missing: name the topics to copy, as in topics = { include = [\"orders.*\"] }; \"*\" takes all",
                );
                None
            }
        }
    }

    fn patterns(&mut self, key: &str, rules: &raw::Rules) -> Option<Patterns> {
        let mut list = |field: &str, texts: &[String]| -> Option<Vec<Pattern>> {
            let key = format!("{key}.{field}");
            let parsed: Vec<_> = texts.iter().map(|text| self.take(&key, Pattern::parse(text))).collect();
            parsed.into_iter().collect()
        };
        let include = list("include", rules.include.as_deref().unwrap_or_default());
        let exclude = list("exclude", &rules.exclude);
        Some(Patterns::new(include?, exclude?))
    }

    fn naming(&mut self, flow: &str, raw: Option<&str>) -> Option<Naming> {
        let key = format!("{flow}.naming");
        match raw {
            None | Some("identity") => Some(Naming::Identity),
            Some("prefixed") => Some(Naming::Prefixed),
            Some(template) if template.contains('{') => self.take(&key, naming_template(template)),
            Some(other) => {
                let names = ["identity", "prefixed"];
                let hint = near(other, &names);
                self.fail(
                    &key,
                    format!("`{other}` is not identity, prefixed or a template with {{topic}} in it{hint}"),
                );
                None
            }
        }
    }

    fn engine(&mut self, flow: &str, raw: Option<&str>) -> Option<Option<Engine>> {
        let engines = [("batch", Engine::Batch), ("record", Engine::Record)];
        raw.map_or(Some(None), |text| self.one_of(&format!("{flow}.engine"), text, &engines).map(Some))
    }

    fn delivery(&mut self, flow: &str, raw: Option<&str>, engine: Option<Engine>) -> Option<Option<Delivery>> {
        let key = format!("{flow}.delivery");
        let deliveries = [("at-least-once", Delivery::AtLeastOnce), ("exactly-once", Delivery::ExactlyOnce)];
        let Some(text) = raw else { return Some(None) };
        let delivery = self.one_of(&key, text, &deliveries)?;
        if delivery == Delivery::ExactlyOnce && engine == Some(Engine::Record) {
            self.fail(
                &key,
                "exactly-once is what the batch engine does; engine = \"record\" delivers at-least-once".to_owned(),
            );
            return None;
        }
        Some(Some(delivery))
    }

    fn start(&mut self, flow: &str, raw: Option<&str>) -> Option<Start> {
        match raw {
            None | Some("earliest") => Some(Start::Earliest),
            Some("latest") => Some(Start::Latest),
            Some(text) => self.take(&format!("{flow}.start"), parse::timestamp(text).map(Start::Timestamp)),
        }
    }

    fn objectives(&mut self, flow: &str, raw: &raw::Objectives) -> Option<Objectives> {
        let mut read = |field: &str, text: &Option<String>| match text {
            None => Some(None),
            Some(text) => self.take(&format!("{flow}.objectives.{field}"), parse::duration(text)).map(Some),
        };
        let (rpo, rto) = (read("rpo", &raw.rpo), read("rto", &raw.rto));
        Some(Objectives { rpo: rpo?, rto: rto? })
    }

    fn refresh(&mut self, flow: &str, raw: &raw::Refresh) -> Option<Refresh> {
        let mut read = |field: &str, text: &Option<String>, default: Duration, longest: Option<Duration>| {
            let key = format!("{flow}.refresh.{field}");
            let Some(text) = text else { return Some(default) };
            let value = self.take(&key, parse::duration(text))?;
            if value < REFRESH_MIN {
                self.fail(
                    &key,
                    format!("`{text}` is shorter than {REFRESH_MIN:?}, the fastest that anything is polled"),
                );
                return None;
            }
            if let Some(longest) = longest.filter(|longest| value > *longest) {
                let why = "what consumers read again after a failover grows with it";
                self.fail(&key, format!("`{text}` is longer than {longest:?}: {why}"));
                return None;
            }
            Some(value)
        };
        let topics = read("topics", &raw.topics, REFRESH_TOPICS, None);
        let groups = read("groups", &raw.groups, REFRESH_GROUPS, Some(REFRESH_GROUPS_MAX));
        let heartbeats = read("heartbeats", &raw.heartbeats, REFRESH_HEARTBEATS, None);
        Some(Refresh { topics: topics?, groups: groups?, heartbeats: heartbeats? })
    }

    fn admin(&mut self, raw: &raw::Admin) -> Option<Admin> {
        let text = raw.listen.as_deref().unwrap_or(ADMIN_LISTEN);
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let parsed = std::net::SocketAddr::from_str(numeric.as_deref().unwrap_or(text));
        let parsed = parsed.map_err(|_| format!("`{text}` is not an IP address and a port, as in {ADMIN_LISTEN}"));
        self.take("admin.listen", parsed).map(|listen| Admin { listen })
    }

    fn store(&mut self, raw: &raw::Store) -> Option<Store> {
        let dir = raw.dir.as_deref().unwrap_or(STORE_DIR);
        if dir.trim().is_empty() {
            self.fail("store.dir", format!("is empty: name a folder, or leave it out for `{STORE_DIR}`"));
            return None;
        }
        Some(Store { dir: PathBuf::from(dir) })
    }

    fn log(&mut self, raw: &raw::Log) -> Option<Log> {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let format = match &raw.format {
            None => Some(LogFormat::Text),
            Some(text) => self.one_of("log.format", text, &formats),
        };
        let level = raw.level.clone().unwrap_or_else(|| "info".to_owned());
        if let Err(error) = tracing_subscriber::filter::EnvFilter::from_str(&level) {
            self.fail("log.level", format!("`{level}` is not a level or a filter: {error}"));
            return None;
        }
        Some(Log { format: format?, level })
    }
}

fn naming_template(template: &str) -> Result<Naming, String> {
    if template.matches("{topic}").count() != 1 {
        return Err(format!("`{template}` must hold {{topic}} exactly once, or two topics could share a name"));
    }
    let rest = template.replacen("{topic}", "", 1).replace("{source}", "");
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match rest.chars().find(|c| !legal(*c)) {
        Some(c) => Err(format!("`{template}` has `{c}`, which no topic name may hold; known: {{topic}}, {{source}}")),
        None => Ok(Naming::Template(template.to_owned())),
    }
}
