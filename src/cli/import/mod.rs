//! `causeway import`: a configuration made from that of another replicator, and a list of what became of each of its settings.

mod mm2;

use std::path::PathBuf;

use anyhow::Context as _;
use causeway_broker::properties::Properties;
use serde::Serialize;

use super::Out;

/// Whose configuration is read.
#[derive(Debug, clap::Subcommand)]
pub enum ImportVerb {
    /// Print a configuration that does what MirrorMaker 2 does with this file, and what became of each of its settings
    Mm2 {
        /// MirrorMaker 2's properties file, as `connect-mirror-maker.sh` takes it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What became of a setting.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Fate {
    /// Its key, as in the file, or its default's.
    pub key: String,
    /// What it says here, or why there is no such thing.
    pub what: String,
}

/// A configuration, and where it came from.
#[derive(Debug, Default, Serialize)]
pub struct Imported {
    /// The text of `causeway.toml`.
    pub config: String,
    /// Settings that mean the same here.
    pub carried: Vec<Fate>,
    /// Settings, and defaults, that this configuration does differently.
    pub changed: Vec<Fate>,
    /// Settings that have no counterpart yet: somebody has to decide about them.
    pub unsupported: Vec<Fate>,
    /// Settings of Kafka Connect and of offset translation by samples, which nothing here needs.
    pub not_needed: Vec<String>,
}

impl Imported {
    fn carried(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.carried.push(Fate { key: key.into(), what: what.into() });
    }
    fn changed(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.changed.push(Fate { key: key.into(), what: what.into() });
    }
    fn unsupported(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.unsupported.push(Fate { key: key.into(), what: what.into() });
    }

    /// For a person: the configuration with what became of the settings in front of it, as comments.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (title, fates) in
            [("carried over", &self.carried), ("changed", &self.changed), ("NOT SUPPORTED", &self.unsupported)]
        {
            if !fates.is_empty() {
                lines.push(format!("# {title}:"));
                lines.extend(fates.iter().map(|fate| format!("#   {:<44} {}", fate.key, fate.what)));
            }
        }
        if !self.not_needed.is_empty() {
            lines.push(format!("# not needed: {}", self.not_needed.join(", ")));
        }
        lines.push(String::new());
        lines.extend(self.config.lines().map(ToOwned::to_owned));
        lines
    }
}

/// Imports, and prints.
///
/// # Errors
/// A file that cannot be read, or one that names no cluster.
pub fn run(verb: &ImportVerb, out: &Out) -> anyhow::Result<()> {
    let ImportVerb::Mm2 { file } = verb;
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let properties = Properties::parse(&text).with_context(|| format!("{}", file.display()))?;
    let imported = mm2::import(&properties).with_context(|| format!("{}", file.display()))?;
    out.show(&imported, Imported::lines)
}
