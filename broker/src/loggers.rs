//! The levels of this program's loggers, altered while it runs (KIP-412). A logger is a module of the broker, by the name that
//! its lines in the log begin with; its level is its own or that of the nearest one above it, `root` last of all.
//!
//! Levels are not kept over a restart, as in Kafka: then those the program was started with (`RUST_LOG`) count again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use causeway_wire::ErrorCode;

use crate::meta::configs::{Alteration, Change};
use crate::meta::controller::{Refusal, refuse};

/// The logger above all others.
const ROOT: &str = "root";
/// The broker as a whole.
const CRATE: &str = env!("CARGO_CRATE_NAME");
/// Levels by Kafka's names, with what each means here.
const LEVELS: &[(&str, &str)] = &[
    ("DEBUG", "debug"),
    ("ERROR", "error"),
    ("FATAL", "error"),
    ("INFO", "info"),
    ("TRACE", "trace"),
    ("WARN", "warn"),
];
/// What is in force where nothing is said.
const LEVEL_DEFAULT: &str = "ERROR";
/// Parts of the broker that log. A test compares them with the modules that there are.
const MODULES: &[&str] = &[
    "adopt",
    "api",
    "broker",
    "config",
    "coordinator",
    "core",
    "http",
    "log",
    "meta",
    "net",
    "node",
    "partitions",
    "quotas",
    "transactions",
    "upkeep",
];

/// Puts a filter in force: levels and `name=level`, with commas between.
type Apply = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// The loggers with their levels.
pub struct Loggers {
    /// Own levels, by Kafka's names.
    own: Mutex<BTreeMap<String, String>>,
    /// What the filter says besides levels of loggers; stays as it is.
    rest: String,
    /// None where the log belongs to somebody else.
    apply: Option<Apply>,
}

impl Default for Loggers {
    /// Levels that cannot be altered: the log belongs to whoever runs the broker in a program of their own.
    fn default() -> Self {
        let level = tracing::level_filters::LevelFilter::current().to_string().to_uppercase();
        Self { own: Mutex::new(BTreeMap::from([(ROOT.to_owned(), level)])), rest: String::new(), apply: None }
    }
}

impl Loggers {
    /// Levels that begin as `filter` says (the form of `RUST_LOG`) and change by `apply`.
    pub fn new(filter: &str, apply: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static) -> Self {
        let (mut own, mut rest) = (BTreeMap::new(), Vec::new());
        for part in crate::config::items(filter) {
            let (name, level) = part.split_once('=').unwrap_or((ROOT, part));
            let is_path = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
            match LEVELS.iter().find(|(kafka, _)| kafka.eq_ignore_ascii_case(level)) {
                Some((kafka, _)) if is_path => {
                    own.insert(name.to_owned(), (*kafka).to_owned());
                }
                // Spans, fields and `off` have no word in Kafka.
                _ => rest.push(part),
            }
        }
        Self { own: Mutex::new(own), rest: rest.join(","), apply: Some(Box::new(apply)) }
    }

    /// Every logger with the level in force.
    pub fn list(&self) -> BTreeMap<String, String> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let modules = MODULES.iter().map(|module| format!("{CRATE}::{module}"));
        let names = [ROOT.to_owned(), CRATE.to_owned()].into_iter().chain(modules).chain(own.keys().cloned());
        names.map(|name| (name.clone(), in_force(&own, &name).to_owned())).collect()
    }

    /// Alters levels, all or none.
    ///
    /// # Errors
    /// Kafka's codes for a logger or level that does not exist and for a change that makes no sense.
    pub fn alter(&self, alterations: &[Alteration], validate_only: bool) -> Result<(), Refusal> {
        let Some(apply) = &self.apply else {
            return Err(refuse(ErrorCode::INVALID_REQUEST, "This broker's log belongs to the program that runs it."));
        };
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = own.clone();
        for alteration in alterations {
            alter_one(&mut next, alteration)?;
        }
        if validate_only || *own == next {
            return Ok(());
        }
        apply(&filter(&next, &self.rest)).map_err(|why| refuse(ErrorCode::INVALID_CONFIG, why))?;
        *own = next;
        Ok(())
    }
}

fn exists(own: &BTreeMap<String, String>, name: &str) -> bool {
    let module = |name: &str| {
        name.strip_prefix("::").and_then(|path| path.split("::").next()).is_some_and(|m| MODULES.contains(&m))
    };
    name == ROOT
        || own.contains_key(name)
        || name.strip_prefix(CRATE).is_some_and(|rest| rest.is_empty() || module(rest))
}

fn alter_one(levels: &mut BTreeMap<String, String>, alteration: &Alteration) -> Result<(), Refusal> {
    let name = &alteration.name;
    let not_allowed = |what: &str| {
        let why = format!("{what} operation is not allowed for the BROKER_LOGGER resource");
        Err(refuse(ErrorCode::INVALID_REQUEST, why))
    };
    match alteration.change {
        Change::Set | Change::Delete if !exists(levels, name) => {
            Err(refuse(ErrorCode::INVALID_CONFIG, format!("Logger {name} does not exist!")))
        }
        Change::Set => {
            let level = alteration.value.clone().unwrap_or_default();
            if !LEVELS.iter().any(|(kafka, _)| *kafka == level) {
                let valid: Vec<&str> = LEVELS.iter().map(|(kafka, _)| *kafka).collect();
                let valid = valid.join(", ");
                let why = format!("Cannot set the log level of {name} to {level}. Valid log levels are {valid}");
                return Err(refuse(ErrorCode::INVALID_CONFIG, why));
            }
            levels.insert(name.clone(), level);
            Ok(())
        }
        Change::Delete if name == ROOT => {
            Err(refuse(ErrorCode::INVALID_REQUEST, "Removing the log level of the root logger is not allowed"))
        }
        Change::Delete => {
            levels.remove(name);
            Ok(())
        }
        Change::Append => not_allowed("APPEND"),
        Change::Subtract => not_allowed("SUBTRACT"),
        Change::Unknown(other) => not_allowed(&format!("Unknown ({other})")),
    }
}

fn in_force<'a>(own: &'a BTreeMap<String, String>, name: &str) -> &'a str {
    let mut at = name;
    loop {
        if let Some(level) = own.get(at) {
            return level;
        }
        match at.rsplit_once("::") {
            Some((above, _)) => at = above,
            None => return own.get(ROOT).map_or(LEVEL_DEFAULT, String::as_str),
        }
    }
}

fn filter(own: &BTreeMap<String, String>, rest: &str) -> String {
    let here = |level: &str| LEVELS.iter().find(|(kafka, _)| *kafka == level).map_or("error", |(_, here)| *here);
    let one = |(name, level): (&String, &String)| match name.as_str() {
        ROOT => here(level).to_owned(),
        name => format!("{name}={}", here(level)),
    };
    let mut parts: Vec<String> = own.iter().map(one).collect();
    parts.extend(Some(rest.to_owned()).filter(|rest| !rest.is_empty()));
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn set(name: &str, level: &str) -> Alteration {
        Alteration { name: name.into(), change: Change::Set, value: Some(level.into()) }
    }

    fn unset(name: &str) -> Alteration {
        Alteration { name: name.into(), change: Change::Delete, value: None }
    }

    fn loggers(from: &str) -> (Loggers, Arc<Mutex<String>>) {
        let applied = Arc::new(Mutex::new(String::new()));
        let to = Arc::clone(&applied);
        let loggers = Loggers::new(from, move |filter| {
            *to.lock().unwrap() = filter.to_owned();
            Ok(())
        });
        (loggers, applied)
    }

    #[test]
    fn a_logger_has_its_own_level_or_that_of_the_nearest_above() {
        let (loggers, applied) = loggers("info,causeway_broker::net=debug,[span]=trace");
        let level = |name: &str| loggers.list()[name].clone();
        assert_eq!(
            (level(ROOT), level("causeway_broker"), level("causeway_broker::net")),
            ("INFO".into(), "INFO".into(), "DEBUG".into())
        );
        loggers.alter(&[set("causeway_broker", "FATAL"), set("causeway_broker::log::flush", "TRACE")], false).unwrap();
        assert_eq!(
            (level("causeway_broker::api"), level("causeway_broker::log::flush")),
            ("FATAL".into(), "TRACE".into())
        );
        assert_eq!(
            *applied.lock().unwrap(),
            "causeway_broker=error,causeway_broker::log::flush=trace,causeway_broker::net=debug,info,[span]=trace"
        );
        loggers.alter(&[unset("causeway_broker"), unset("causeway_broker::net")], false).unwrap();
        assert_eq!(level("causeway_broker::net"), "INFO");
        assert_eq!(*applied.lock().unwrap(), "causeway_broker::log::flush=trace,info,[span]=trace");
    }

    #[test]
    fn what_makes_no_sense_has_kafkas_code_and_changes_nothing() {
        let (loggers, applied) = loggers("info");
        let before = loggers.list();
        let code = |alteration: Alteration| loggers.alter(&[set(ROOT, "DEBUG"), alteration], false).unwrap_err().code;
        assert_eq!(code(set("kafka.server", "DEBUG")), ErrorCode::INVALID_CONFIG);
        assert_eq!(code(set("causeway_broker::nothing", "DEBUG")), ErrorCode::INVALID_CONFIG);
        assert_eq!(code(set("causeway_broker", "SHOUT")), ErrorCode::INVALID_CONFIG);
        assert_eq!(code(set("causeway_broker", "debug")), ErrorCode::INVALID_CONFIG, "Kafka's levels are in capitals");
        assert_eq!(code(unset(ROOT)), ErrorCode::INVALID_REQUEST);
        assert_eq!(code(Alteration { change: Change::Append, ..set(ROOT, "INFO") }), ErrorCode::INVALID_REQUEST);
        assert_eq!(code(Alteration { change: Change::Unknown(9), ..set(ROOT, "INFO") }), ErrorCode::INVALID_REQUEST);
        loggers.alter(&[set(ROOT, "DEBUG")], true).unwrap();
        assert_eq!(loggers.list(), before);
        assert!(applied.lock().unwrap().is_empty());
        assert_eq!(
            Loggers::default().alter(&[set(ROOT, "DEBUG")], false).unwrap_err().code,
            ErrorCode::INVALID_REQUEST
        );
    }

    #[test]
    fn every_module_that_logs_is_a_logger() {
        let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        let logs = |path: &std::path::Path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.contains("tracing::info!") || text.contains("tracing::warn!") || text.contains("tracing::error!")
        };
        fn files(dir: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { files(&path, out) } else { out.push(path) }
            }
        }
        let mut all = Vec::new();
        files(root, &mut all);
        for path in all.iter().filter(|path| logs(path)) {
            let top = path.strip_prefix(root).unwrap().components().next().unwrap();
            let module = top.as_os_str().to_str().unwrap().trim_end_matches(".rs");
            assert!(module == "loggers" || MODULES.contains(&module), "{module} logs and is no logger");
        }
    }
}
