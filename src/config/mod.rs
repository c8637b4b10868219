//! The configuration: layers of text in, types that cannot be wrong out.
//!
//! Layers, each above the one before: defaults, the file, `conf.d/*.toml` beside it in the order of their names, the environment, flags. Files may say
//! everything; environment and flags only scalars of a closed list. Every value keeps its origin, so an error names file, line and key.

mod check;
mod client;
mod error;
mod file;
mod grammar;
mod graph;
mod parse;
mod pattern;
mod raw;
mod scalars;
mod secret;
pub mod valid;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ::config::{Map, Value, ValueKind};

pub use check::{ADMIN_LISTEN, STORE_DIR};
pub use client::ClientSettings;
pub use error::{ConfigError, Problem};
pub use parse::{host_port, label};
pub use pattern::{Pattern, Patterns};
pub use scalars::{ENV_PREFIX, OVERRIDABLE, Override};
pub use secret::Secret;
pub use valid::Config;

/// A folder of fragments holds a handful of files; more is a mistake in the path.
const FRAGMENTS_MAX: usize = 256;

/// What a configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file; `conf.d/*.toml` beside it is read too.
    pub file: PathBuf,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// `KEY=VALUE` as given to `--set`.
    pub flags: Vec<String>,
}

/// A configuration and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Origin and text of every value that some layer gave, by key path. Secrets stand here as their references.
    pub values: BTreeMap<String, (String, String)>,
}

/// Reads the file at `path`, its `conf.d` and the environment of this process.
///
/// # Errors
/// Everything that is wrong with it: file, line, key and remedy.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    load_with_flags(path, &[])
}

/// As [`load`], with the overrides given to `--set` on top.
///
/// # Errors
/// As [`load`].
pub fn load_with_flags(path: &Path, flags: &[String]) -> Result<Config, ConfigError> {
    // Names or values that are not Unicode cannot be ours.
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let sources = Sources { file: path.to_owned(), env: env.collect(), flags: flags.to_vec() };
    load_from(&sources).map(|loaded| loaded.config)
}

/// Reads every layer of `sources`.
///
/// # Errors
/// As [`load`].
pub fn load_from(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut problems = Vec::new();
    let mut layers = vec![file::read(&sources.file, &mut problems)];
    for fragment in fragments(&sources.file, &mut problems) {
        layers.push(file::read(&fragment, &mut problems));
    }
    let aliases = aliases(&layers);
    layers.push(scalars::layer(&scalars::from_env(sources.env.iter().cloned()), &aliases, &mut problems));
    let mut flags = Vec::new();
    for flag in &sources.flags {
        match scalars::from_flag(flag) {
            Ok(given) => flags.push(given),
            Err(problem) => problems.push(problem),
        }
    }
    layers.push(scalars::layer(&flags, &aliases, &mut problems));
    let merged = merge(layers).map_err(|error| Problem::new(None, "", error.to_string()))?;

    let mut values = BTreeMap::new();
    flatten(&merged, String::new(), &mut values);
    let origins = values.iter().map(|(key, (origin, _))| (key.clone(), origin.clone())).collect();
    let raw: raw::Config = match merged.try_deserialize() {
        Ok(raw) => raw,
        Err(error) => {
            // The grammar has looked at every value before: this is the net below it.
            problems.push(Problem::new(None, "", error.to_string()));
            return Err(problems.into());
        }
    };
    let env: BTreeMap<&str, &str> = sources.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let look_up = |name: &str| env.get(name).map(|value| (*value).to_owned());
    match check::check(raw, &check::Context { origins: &origins, env: &look_up }) {
        Ok(config) if problems.is_empty() => {
            values.retain(|_, (_, text)| !text.is_empty());
            Ok(Loaded { config, values })
        }
        Ok(_) => Err(problems.into()),
        // What a misspelt key leaves out would be reported as missing: first things first.
        Err(more) if problems.is_empty() => Err(more.into()),
        Err(_) => Err(problems.into()),
    }
}

/// `conf.d/*.toml` beside the file, sorted by name; no such folder is no problem.
fn fragments(file: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let dir = file.parent().unwrap_or(Path::new("")).join("conf.d");
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.push(Problem::new(Some(dir.display().to_string()), "", format!("cannot be read: {error}")));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    if paths.len() > FRAGMENTS_MAX {
        let message = format!("has {} files, more than the {FRAGMENTS_MAX} that are read", paths.len());
        problems.push(Problem::new(Some(dir.display().to_string()), "", message));
        paths.truncate(FRAGMENTS_MAX);
    }
    paths
}

fn aliases(layers: &[Map<String, Value>]) -> BTreeSet<String> {
    let mut aliases = BTreeSet::new();
    for layer in layers {
        if let Some(ValueKind::Table(clusters)) = layer.get("clusters").map(|value| &value.kind) {
            aliases.extend(clusters.keys().cloned());
        }
    }
    aliases
}

/// One layer as the `config` crate takes it.
#[derive(Debug, Clone)]
struct Layer(Map<String, Value>);

impl ::config::Source for Layer {
    fn clone_into_box(&self) -> Box<dyn ::config::Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ::config::ConfigError> {
        Ok(self.0.clone())
    }
}

fn merge(layers: Vec<Map<String, Value>>) -> Result<Value, ::config::ConfigError> {
    let mut builder = ::config::Config::builder();
    for layer in layers {
        builder = builder.add_source(Layer(layer));
    }
    Ok(builder.build()?.cache)
}

/// Every key path with its origin and text; tables have no text. `config` keeps no origin for a table it merged, so the first value in it lends its own.
fn flatten(value: &Value, path: String, out: &mut BTreeMap<String, (String, String)>) {
    match &value.kind {
        ValueKind::Table(table) => {
            let mut first: Option<String> = None;
            let mut keys: Vec<&String> = table.keys().collect();
            keys.sort();
            for key in keys {
                let child = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(&table[key], child.clone(), out);
                first = first.or_else(|| out.get(&child).map(|(origin, _)| origin.clone()));
            }
            if let (Some(origin), false) = (value.origin().map(str::to_owned).or(first), path.is_empty()) {
                out.insert(path, (origin, String::new()));
            }
        }
        kind => {
            let text = match kind {
                ValueKind::Array(items) => {
                    format!(
                        "[{}]",
                        items.iter().map(|item| format!("{:?}", item.to_string())).collect::<Vec<_>>().join(", ")
                    )
                }
                _ => value.to_string(),
            };
            out.insert(path, (value.origin().unwrap_or("default").to_owned(), text));
        }
    }
}

#[cfg(test)]
mod tests;
