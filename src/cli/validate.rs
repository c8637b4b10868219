//! `causeway validate`: reads a configuration as `run` would, and says what is wrong or where each value came from.

use std::path::PathBuf;

use serde::Serialize;

use crate::config::{self, ConfigError, Sources};

/// Check a configuration without connecting to anything.
#[derive(Debug, Clone, clap::Args)]
pub struct ValidateArgs {
    /// The configuration; conf.d/*.toml beside it is read too
    #[arg(short, long, value_name = "FILE", default_value = "causeway.toml")]
    pub config: PathBuf,
    /// Override one value, as the environment may (KEY=VALUE, repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print where each value came from
    #[arg(long)]
    pub show_origin: bool,
}

/// What a configuration that is fine holds.
#[derive(Debug, Clone, Serialize)]
pub struct Validated {
    /// The file that was read.
    pub file: String,
    /// Aliases of its clusters.
    pub clusters: Vec<String>,
    /// Its flows.
    pub flows: Vec<ValidatedFlow>,
    /// Every value that some layer gave, when asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueOrigin>,
}

/// One flow, in short.
#[derive(Debug, Clone, Serialize)]
pub struct ValidatedFlow {
    /// Its name.
    pub name: String,
    /// Alias of the source.
    pub from: String,
    /// Alias of the target.
    pub to: String,
}

/// One value and who gave it.
#[derive(Debug, Clone, Serialize)]
pub struct ValueOrigin {
    /// Key path.
    pub key: String,
    /// The value, secrets as their references.
    pub value: String,
    /// `FILE:LINE:COLUMN`, `environment NAME` or `flag --set`.
    pub origin: String,
}

/// Reads all layers.
///
/// # Errors
/// Everything that is wrong with them.
pub fn run(args: &ValidateArgs) -> Result<Validated, ConfigError> {
    // Names or values that are not Unicode cannot be ours.
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    check(&Sources { file: args.config.clone(), env: env.collect(), flags: args.set.clone() }, args.show_origin)
}

fn check(sources: &Sources, show_origin: bool) -> Result<Validated, ConfigError> {
    let loaded = config::load_from(sources)?;
    let flows = loaded.config.flows.iter().map(|flow| ValidatedFlow {
        name: flow.name.to_string(),
        from: flow.from.to_string(),
        to: flow.to.to_string(),
    });
    let values = loaded.values.into_iter().map(|(key, (origin, value))| ValueOrigin { key, value, origin });
    Ok(Validated {
        file: sources.file.display().to_string(),
        clusters: loaded.config.clusters.keys().map(ToString::to_string).collect(),
        flows: flows.collect(),
        values: if show_origin { values.collect() } else { Vec::new() },
    })
}

impl Validated {
    /// The lines for a person.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let width = self.values.iter().map(|value| value.key.len()).max().unwrap_or(0);
        for value in &self.values {
            lines.push(format!("{:width$} = {}    # {}", value.key, value.value, value.origin));
        }
        for flow in &self.flows {
            lines.push(format!("flow {}  {} -> {}", flow.name, flow.from, flow.to));
        }
        lines.push(format!("{}: fine ({} clusters, {} flows)", self.file, self.clusters.len(), self.flows.len()));
        lines.push(format!("next: causeway run -c {}", self.file));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_shown_on_request_and_a_wrong_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("causeway.toml");
        std::fs::write(&file, include_str!("../../topologies/active-passive.toml")).unwrap();
        let sources =
            Sources { file: file.clone(), flags: vec!["admin.listen=127.0.0.1:0".into()], ..Sources::default() };
        let lines = check(&sources, true).unwrap().lines().join("\n");
        assert!(lines.contains("causeway.toml:5:1") && lines.contains("flag --set"), "{lines}");
        assert!(lines.contains("flow east-to-west  east -> west"), "{lines}");
        assert!(check(&sources, false).unwrap().values.is_empty());
        std::fs::write(&file, "[clusters]\n").unwrap();
        assert!(check(&sources, false).is_err());
    }
}
