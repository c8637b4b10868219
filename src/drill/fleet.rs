//! The processes under test: regions (one broker each) and the daemon between them, all children of the drill.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use causeway_wire::client::{Client, ClientConfig};

use super::error::DrillError;
use super::processes::{Process, Spec, free_port};
use super::workload::Site;
use crate::config::valid::{Delivery, Engine};

/// A broker recovers its logs before it listens; a drill's logs are small.
pub const READY_MAX: Duration = Duration::from_secs(30);
/// How long a child may take to end when it is asked to.
pub const END_MAX: Duration = Duration::from_secs(10);
/// How long a verb may take.
const VERB_MAX: Duration = Duration::from_secs(60);
/// How often a waiting loop asks again over the network.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// How long one request of a drill's own client may take: a stopped broker must not hold the drill.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// A region: one cluster of one broker, with its data in a folder of its own.
#[derive(Debug)]
pub struct Region {
    /// How clients reach it; the same over restarts.
    pub site: Site,
    /// The broker.
    pub process: Process,
}

impl Region {
    /// Starts a broker on a free port with data under `dir/ALIAS` and its log in `dir/ALIAS.log`.
    ///
    /// # Errors
    /// No port, or the program cannot be started.
    pub fn start(program: &Path, dir: &Path, alias: &str) -> Result<Self, DrillError> {
        let port = free_port()?;
        let bootstrap = format!("127.0.0.1:{port}");
        let overrides = [
            format!("listeners=PLAINTEXT://{bootstrap}"),
            format!("log.dirs={}", dir.join(alias).display()),
            "group.initial.rebalance.delay.ms=0".to_owned(), // as in Kafka's own file for trying it out
        ];
        let mut args = vec!["broker".to_owned(), "--exit-with-stdin".to_owned()];
        args.extend(overrides.into_iter().flat_map(|setting| ["--override".to_owned(), setting]));
        let log = dir.join(format!("{alias}.log"));
        let process =
            Process::spawn(Spec { name: format!("broker {alias}"), program: program.into(), args, env: vec![], log })?;
        Ok(Self { site: Site { alias: alias.to_owned(), bootstrap }, process })
    }

    /// Waits until the broker answers, and gives a client for it.
    ///
    /// # Errors
    /// The broker ended by itself, or was not ready in time.
    pub async fn ready(&mut self) -> Result<Client, DrillError> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            self.process.check()?;
            match connect(&self.site).await {
                Ok(client) => return Ok(client),
                Err(_) if Instant::now() < deadline => tokio::time::sleep(ASK_INTERVAL).await,
                Err(_) => return Err(self.process.not_ready(READY_MAX).into()),
            }
        }
    }
}

/// A wire client for a region.
///
/// # Errors
/// The region cannot be reached.
pub async fn connect(site: &Site) -> Result<Client, DrillError> {
    let config = ClientConfig {
        client_id: "drill".to_owned(),
        request_timeout: REQUEST_MAX,
        ..ClientConfig::new([site.bootstrap.clone()])
    };
    Client::connect(config).await.map_err(DrillError::cluster(format!("connect to {}", site.alias)))
}

/// A flow as the daemon is to run it.
#[derive(Debug, Clone)]
pub struct FlowSpec {
    /// Its name.
    pub name: String,
    /// Alias of the source.
    pub from: String,
    /// Alias of the target.
    pub to: String,
    /// Topics, by glob.
    pub topics: Vec<String>,
    /// Groups, by glob.
    pub groups: Vec<String>,
    /// What it promises about duplicates; `None`: what flows of its kind do.
    pub delivery: Option<Delivery>,
    /// How it copies; `None`: as flows of its kind do.
    pub engine: Option<Engine>,
}

/// The daemon's configuration for these regions and flows.
pub fn config_text(regions: &[&Site], flows: &[FlowSpec], admin: &str, store: &Path) -> String {
    let mut text = String::from("# Written by a drill of Causeway; `causeway run -c` takes it as it is.\n");
    for site in regions {
        text += &format!("\n[clusters.{}]\nbootstrap = {:?}\n", site.alias, site.bootstrap);
    }
    for flow in flows {
        let FlowSpec { name, from, to, topics, groups, delivery, engine } = flow;
        text += &format!("\n[[flows]]\nname = {name:?}\nfrom = {from:?}\nto = {to:?}\n");
        text += &format!("topics = {{ include = {topics:?} }}\ngroups = {groups:?}\nnaming = \"identity\"\n");
        if let Some(delivery) = delivery {
            text += &format!("delivery = {:?}\n", delivery.name());
        }
        if let Some(engine) = engine {
            text += &format!("engine = {:?}\n", engine.name());
        }
        text += "objectives = { rpo = \"5s\", rto = \"3m\" }\n";
        text += "refresh = { topics = \"1s\", groups = \"250ms\" }\n";
    }
    text += &format!("\n[admin]\nlisten = {admin:?}\n\n[store]\ndir = {:?}\n", store.display().to_string());
    text
}

/// The daemon, and its verbs.
#[derive(Debug)]
pub struct Daemon {
    /// The daemon's process.
    pub process: Process,
    /// `http://host:port` of its admin endpoint.
    pub admin: String,
    /// Its configuration file.
    pub config: PathBuf,
    /// Folder of its store.
    pub store: PathBuf,
    program: PathBuf,
}

/// What a verb printed.
#[derive(Debug, Clone)]
pub struct VerbOutput {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
}

impl VerbOutput {
    /// The JSON document it printed; null if it printed none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_default()
    }
}

impl Daemon {
    /// Writes the configuration and starts the daemon; its log is `dir/daemon.log`.
    ///
    /// # Errors
    /// No port, the file cannot be written, or the program cannot be started.
    pub fn start(
        program: &Path,
        dir: &Path,
        regions: &[&Site],
        flows: &[FlowSpec],
        env: &[(String, String)],
    ) -> Result<Self, DrillError> {
        let listen = format!("127.0.0.1:{}", free_port()?);
        let (config, store) = (dir.join("causeway.toml"), dir.join("store"));
        let text = config_text(regions, flows, &listen, &store);
        std::fs::write(&config, text).map_err(DrillError::file(format!("write {}", config.display())))?;
        let args = ["run", "-c", &config.display().to_string(), "--exit-with-stdin"].map(ToOwned::to_owned).into();
        let log = dir.join("daemon.log");
        let process =
            Process::spawn(Spec { name: "daemon".into(), program: program.into(), args, env: env.to_vec(), log })?;
        Ok(Self { process, admin: format!("http://{listen}"), config, store, program: program.into() })
    }

    /// Waits until the daemon answers on its admin endpoint.
    ///
    /// # Errors
    /// It ended by itself, or was not ready in time.
    pub async fn ready(&mut self) -> Result<(), DrillError> {
        let deadline = Instant::now() + READY_MAX;
        let address = self.admin.trim_start_matches("http://").to_owned();
        loop {
            self.process.check()?;
            match tokio::net::TcpStream::connect(&address).await {
                Ok(_) => return Ok(()),
                Err(_) if Instant::now() < deadline => tokio::time::sleep(ASK_INTERVAL).await,
                Err(_) => return Err(self.process.not_ready(READY_MAX).into()),
            }
        }
    }

    /// Runs a verb of the command line against this daemon, with `-o json`.
    ///
    /// # Errors
    /// It cannot be started, does not end in time, or ends with another code than 0 or 2 (work left).
    pub async fn verb(&self, words: &[&str]) -> Result<VerbOutput, DrillError> {
        let verb = words.join(" ");
        let failed = |code: String, message: String| DrillError::Verb { verb: verb.clone(), code, message };
        let mut command = tokio::process::Command::new(&self.program);
        command.args(words).arg("-c").arg(&self.config).args(["--admin", &self.admin, "-o", "json"]);
        command.env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(VERB_MAX, command.output())
            .await
            .map_err(|_| failed(format!("no end within {VERB_MAX:?}"), String::new()))?
            .map_err(DrillError::file(format!("start `causeway {verb}`")))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.code() {
            Some(code @ (0 | 2)) => Ok(VerbOutput { code, stdout }),
            _ => {
                let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(failed(output.status.to_string(), message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_a_drill_is_one_that_the_daemon_takes() {
        let site = |alias: &str, port: u16| Site { alias: alias.into(), bootstrap: format!("127.0.0.1:{port}") };
        let (east, west) = (site("east", 20_001), site("west", 20_002));
        let flow = |from: &str, to: &str| FlowSpec {
            name: format!("{from}-to-{to}"),
            from: from.into(),
            to: to.into(),
            topics: vec!["orders".into()],
            groups: vec!["billing".into()],
            delivery: Some(Delivery::AtLeastOnce),
            engine: Some(Engine::Record),
        };
        let flows = [flow("east", "west"), flow("west", "east")];
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("causeway.toml");
        std::fs::write(&file, config_text(&[&east, &west], &flows, "127.0.0.1:20003", Path::new("/tmp/s t"))).unwrap();
        let sources = crate::config::Sources { file, ..crate::config::Sources::default() };
        let config = crate::config::load_from(&sources).unwrap().config;
        assert_eq!(config.flows.len(), 2);
        assert!(config.flows[0].topics.matches("orders") && config.flows[0].groups.matches("billing"));
        assert_eq!(config.cluster("west").unwrap().bootstrap_servers(), "127.0.0.1:20002");
    }
}
