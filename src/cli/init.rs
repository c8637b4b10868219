//! `causeway init`: prints a configuration to start from, made from one of the shipped topologies.

use anyhow::{Context, bail};
use toml_edit::DocumentMut;

use crate::config;

/// The shipped topologies that join two clusters, by name: the very files that the tests run.
const TOPOLOGIES: &[(&str, &str)] = &[
    ("active-passive", include_str!("../../topologies/active-passive.toml")),
    ("active-active", include_str!("../../topologies/active-active.toml")),
];

/// Print a configuration that copies every topic and every group from one cluster to another.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// The source, HOST:PORT; several addresses of one cluster are parted by commas
    #[arg(long, value_name = "HOST:PORT")]
    pub from: String,
    /// The target, HOST:PORT; several addresses of one cluster are parted by commas
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
    /// Which shipped topology to start from: active-passive or active-active
    #[arg(long, value_name = "NAME", default_value = "active-passive")]
    pub topology: String,
}

/// The text of the file.
///
/// # Errors
/// A wrong address, the same address on both sides, or an unknown topology.
pub fn render(args: &InitArgs) -> anyhow::Result<String> {
    let names: Vec<&str> = TOPOLOGIES.iter().map(|(name, _)| *name).collect();
    let Some((_, template)) = TOPOLOGIES.iter().find(|(name, _)| *name == args.topology) else {
        bail!("--topology: there is no `{}`; known: {}", args.topology, names.join(", "));
    };
    let (from, to) = (addresses("--from", &args.from)?, addresses("--to", &args.to)?);
    if let Some(shared) = from.iter().find(|address| to.contains(address)) {
        bail!("--from and --to both hold {shared}: a flow needs two clusters");
    }
    let mut document: DocumentMut = template.parse().context("the shipped topology is not TOML")?;
    for (alias, addresses) in [("east", from), ("west", to)] {
        let bootstrap = document["clusters"][alias]["bootstrap"].as_value_mut();
        let bootstrap = bootstrap.context("the shipped topology has no bootstrap")?;
        let decor = bootstrap.decor().clone();
        *bootstrap = addresses.join(",").into();
        *bootstrap.decor_mut() = decor;
    }
    let body = document.to_string();
    let body = body.split_once("\n\n").map_or(body.as_str(), |(_head, rest)| rest);
    let head = format!("# Made by `causeway init`, topology {}. Every topic and every group is copied.", args.topology);
    let hint = "# Check it:  causeway validate -c FILE        Run it:  causeway run -c FILE";
    Ok(format!("{head}\n{hint}\n\n{body}"))
}

fn addresses(flag: &str, text: &str) -> anyhow::Result<Vec<String>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let addresses = parts
        .map(|part| {
            config::host_port(part).map(|address| address.to_string()).map_err(|why| anyhow::anyhow!("{flag}: {why}"))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    if addresses.is_empty() {
        bail!("{flag}: no HOST:PORT is given");
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(from: &str, to: &str, topology: &str) -> InitArgs {
        InitArgs { from: from.into(), to: to.into(), topology: topology.into() }
    }

    #[test]
    fn what_init_prints_is_a_configuration_that_copies_everything() {
        let dir = tempfile::tempdir().unwrap();
        for (topology, flows) in [("active-passive", 1), ("active-active", 2)] {
            let text = render(&args("kafka-a:9092,kafka-b:9092", "[::1]:9093", topology)).unwrap();
            let file = dir.path().join("causeway.toml");
            std::fs::write(&file, &text).unwrap();
            let sources = config::Sources { file, ..config::Sources::default() };
            let config = config::load_from(&sources).unwrap().config;
            assert_eq!(config.flows.len(), flows, "{text}");
            for flow in &config.flows {
                assert!(flow.topics.matches("any.topic") && flow.groups.matches("any-group"), "{text}");
            }
            assert_eq!(config.cluster("east").unwrap().bootstrap_servers(), "kafka-a:9092,kafka-b:9092");
            assert_eq!(config.cluster("west").unwrap().bootstrap_servers(), "[::1]:9093");
        }
    }

    #[test]
    fn a_wrong_argument_is_named() {
        for (from, to, topology, what) in [
            ("a", "b:1", "active-passive", "--from"),
            ("a:1", "", "active-passive", "--to"),
            ("a:1", "b:2,a:1", "active-passive", "both hold a:1"),
            ("a:1", "b:1", "star", "known: active-passive"),
        ] {
            let error = render(&args(from, to, topology)).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
