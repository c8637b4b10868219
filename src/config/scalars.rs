//! The layers above the files: environment and flags. Both may set scalars of a closed list, and neither may create a cluster or a flow.

use std::collections::BTreeSet;

use config::{Map, Value, ValueKind};

use super::error::Problem;
use super::grammar::hint;

/// What every variable of ours begins with; levels are parted by two underscores.
pub const ENV_PREFIX: &str = "CAUSEWAY__";

/// Keys that the environment and `--set` may give; `*` stands for the alias of a cluster that the files define.
pub const OVERRIDABLE: &[&str] =
    &["admin.listen", "store.dir", "log.format", "log.level", "clusters.*.bootstrap", "clusters.*.cluster_id"];

/// One override: the key path it sets, its text, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Key path in the file, as in `clusters.east.bootstrap`.
    pub key: String,
    /// The new value.
    pub value: String,
    /// `environment NAME` or `flag --set`.
    pub origin: String,
}

/// Turns the variables that begin with [`ENV_PREFIX`] into overrides; all other variables are nobody's business here.
pub fn from_env(vars: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
    let mut overrides: Vec<Override> = vars
        .into_iter()
        .filter_map(|(name, value)| {
            // A shell cannot write `-` in a name, and an alias cannot hold `_`: so `US_EAST` is exactly `us-east`.
            let levels: Vec<String> = name.strip_prefix(ENV_PREFIX)?.split("__").map(str::to_lowercase).collect();
            let key = match levels.as_slice() {
                [section, alias, rest @ ..] if section == "clusters" => {
                    let mut path = vec![section.clone(), alias.replace('_', "-")];
                    path.extend(rest.iter().cloned());
                    path.join(".")
                }
                levels => levels.join("."),
            };
            Some(Override { key, value, origin: format!("environment {name}") })
        })
        .collect();
    overrides.sort_by(|a, b| a.origin.cmp(&b.origin));
    overrides
}

/// Reads `KEY=VALUE` as given to `--set`.
///
/// # Errors
/// Where there is no `=`.
pub fn from_flag(text: &str) -> Result<Override, Problem> {
    let origin = "flag --set".to_owned();
    match text.split_once('=') {
        Some((key, value)) => Ok(Override { key: key.trim().to_owned(), value: value.to_owned(), origin }),
        None => Err(Problem::new(Some(origin), text, "expected KEY=VALUE")),
    }
}

/// The layer that `overrides` make over files which define the clusters `aliases`.
pub fn layer(overrides: &[Override], aliases: &BTreeSet<String>, problems: &mut Vec<Problem>) -> Map<String, Value> {
    let mut root = Map::new();
    for given in overrides {
        if let Err(message) = permitted(&given.key, aliases) {
            problems.push(Problem::new(Some(given.origin.clone()), &given.key, message));
            continue;
        }
        let levels: Vec<&str> = given.key.split('.').collect();
        insert(&mut root, &levels, given);
    }
    root
}

fn permitted(key: &str, aliases: &BTreeSet<String>) -> Result<(), String> {
    let levels: Vec<&str> = key.split('.').collect();
    if let ["clusters", alias, field] = levels.as_slice() {
        if !OVERRIDABLE.contains(&format!("clusters.*.{field}").as_str()) {
            return Err(format!("may not be set here: only {} may", OVERRIDABLE.join(", ")));
        }
        if !aliases.contains(*alias) {
            let known: Vec<&str> = aliases.iter().map(String::as_str).collect();
            let why = "no file defines this cluster, and only a file may create one";
            return Err(format!("{why}{}", hint(alias, &known)));
        }
        return Ok(());
    }
    if OVERRIDABLE.contains(&key) {
        return Ok(());
    }
    Err(format!("may not be set here{}", hint(key, OVERRIDABLE)))
}

fn insert(map: &mut Map<String, Value>, levels: &[&str], given: &Override) {
    let [first, rest @ ..] = levels else { return };
    if rest.is_empty() {
        map.insert((*first).to_owned(), Value::new(Some(&given.origin), given.value.as_str()));
        return;
    }
    let child =
        map.entry((*first).to_owned()).or_insert_with(|| Value::new(Some(&given.origin), ValueKind::Table(Map::new())));
    if let ValueKind::Table(table) = &mut child.kind {
        insert(table, rest, given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aliases(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_alias_with_a_dash_is_reached_from_a_shell() {
        let vars =
            [("CAUSEWAY__CLUSTERS__US_EAST__BOOTSTRAP".to_owned(), "h:1".to_owned()), ("PATH".into(), "/".into())];
        let overrides = from_env(vars);
        assert_eq!(overrides.len(), 1);
        assert_eq!(overrides[0].key, "clusters.us-east.bootstrap");
        let mut problems = Vec::new();
        layer(&overrides, &aliases(&["us-east"]), &mut problems);
        assert_eq!(problems, []);
    }

    #[test]
    fn the_environment_never_creates_a_cluster_or_a_flow() {
        for (name, what) in [
            ("CAUSEWAY__CLUSTERS__WETS__BOOTSTRAP", "did you mean `west`"),
            ("CAUSEWAY__FLOWS__A__FROM", "may not be set here"),
            ("CAUSEWAY__CLUSTERS__WEST__CLIENT", "may not be set here"),
            ("CAUSEWAY__ADMIN__LISTN", "did you mean `admin.listen`"),
        ] {
            let mut problems = Vec::new();
            let made = layer(&from_env([(name.to_owned(), "x".to_owned())]), &aliases(&["west"]), &mut problems);
            assert!(made.is_empty(), "{name}");
            assert_eq!(problems.len(), 1, "{name}");
            assert!(problems[0].to_string().contains(what), "{}", problems[0]);
            assert!(problems[0].to_string().contains(name), "{}", problems[0]);
        }
    }
}
