//! Child processes that never outlive the test, however it ends.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{free_port, wait_for};

/// The binary under test.
pub const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway");

/// How long a process may take until it is ready; generous, since other tests may hold the cores.
const READY_MAX: Duration = Duration::from_secs(60);

/// Until an error must be visible (L8).
pub const VISIBLE_MAX: Duration = Duration::from_secs(30);

/// Runs the rest of its arguments, says their process id, and kills them when its own stdin ends: so they die with us even if we are killed.
const WATCHDOG: &str =
    r#"exec 3>&1; "$@" 3>&- & pid=$!; echo $pid >&3; exec 3>&- >&-; cat >/dev/null; kill -9 $pid 2>/dev/null; wait"#;

/// A process that runs in the background with its output in a file.
pub struct Background {
    watchdog: Child,
    pid: u32,
    log: PathBuf,
}

impl Background {
    /// Starts `command` (program and arguments) with stdout and stderr in `log`.
    pub fn spawn(command: &[String], log: &Path) -> Self {
        Self::spawn_with(command, log, &[])
    }

    /// As [`Background::spawn`], with more environment.
    pub fn spawn_with(command: &[String], log: &Path, env: &[(String, String)]) -> Self {
        let out = File::create(log).unwrap();
        let err = out.try_clone().unwrap();
        let mut shell = Command::new("sh");
        // The watched process writes to the log; the shell's own stdout carries the process id only.
        let inner = r#"exec "$@" >>"$CAUSEWAY_TEST_LOG" 2>&1"#;
        shell.args(["-c", WATCHDOG, "watchdog", "sh", "-c", inner, "inner"]).args(command);
        shell
            .env("CAUSEWAY_TEST_LOG", log)
            .envs(env.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(err);
        let mut watchdog = shell.spawn().unwrap();
        drop(out);
        let mut line = String::new();
        BufReader::new(watchdog.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().unwrap();
        Self { watchdog, pid, log: log.to_owned() }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs; a process that ended and waits to be reaped does not.
    pub fn is_alive(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    /// Waits until its output holds `text`.
    pub fn wait_output(&self, text: &str) {
        wait_for(&format!("`{text}` in {}", self.log.display()), READY_MAX, || {
            let output = self.output();
            if output.contains(text) {
                return Some(());
            }
            assert!(self.is_alive(), "died before it said `{text}`:\n{output}");
            None
        });
    }

    /// Waits until its output says every one of `what`, and asserts that it did not panic.
    pub fn says(&self, what: &[&str]) {
        let end = Instant::now() + VISIBLE_MAX;
        while !what.iter().all(|part| self.output().contains(part)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(100));
        }
        let output = self.output();
        for part in what {
            assert!(output.contains(part), "expected `{part}` within {VISIBLE_MAX:?} in:\n{output}");
        }
        assert!(!output.contains("panicked"), "{output}");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid.to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name} {}", self.pid);
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&self) {
        self.signal("TERM");
        wait_for("the end after SIGTERM", READY_MAX, || (!self.is_alive()).then_some(()));
    }

    /// Kills it as a crash would, and waits for the end.
    pub fn kill(&self) {
        self.signal("KILL");
        wait_for("the end after SIGKILL", READY_MAX, || (!self.is_alive()).then_some(()));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // The end of its stdin makes the watchdog kill what it watches.
        drop(self.watchdog.stdin.take());
        let _ = self.watchdog.wait();
    }
}

/// One node of the included broker.
pub struct Broker {
    /// Its process.
    pub process: Background,
    /// `127.0.0.1:PORT`.
    pub bootstrap: String,
}

impl Broker {
    /// Starts a node with its data and log below `dir`, on `port`.
    pub fn start(dir: &Path, name: &str, port: u16) -> Self {
        let bootstrap = format!("127.0.0.1:{port}");
        let mut command = vec![CAUSEWAY.to_owned(), "broker".to_owned()];
        let data = dir.join(name).display().to_string();
        for setting in
            [format!("listeners=PLAINTEXT://{bootstrap}"), format!("log.dirs={data}"), "num.partitions=4".to_owned()]
        {
            command.extend(["--override".to_owned(), setting]);
        }
        let process = Background::spawn(&command, &dir.join(format!("{name}.log")));
        process.wait_output("broker started");
        Self { process, bootstrap }
    }
}

/// A daemon and what it runs from.
pub struct Daemon {
    /// Its process.
    pub process: Background,
    /// Its configuration.
    pub config: PathBuf,
    /// `127.0.0.1:PORT` of its admin endpoint.
    pub admin: String,
    /// What lies over the file: addresses, store and admin port of this test.
    env: Vec<(String, String)>,
}

impl Daemon {
    /// Runs `text` as a configuration below `dir`, and waits until the daemon is ready.
    pub fn start(dir: &Path, text: &str) -> Self {
        Self::launch(dir, text).ready()
    }

    /// As [`Daemon::start`], without waiting.
    pub fn launch(dir: &Path, text: &str) -> Self {
        let config = dir.join("causeway.toml");
        std::fs::write(&config, text).unwrap();
        Self::launch_file(dir, &config, &[])
    }

    /// Runs the file `config` as it is, with other addresses for the clusters it names.
    pub fn launch_file(dir: &Path, config: &Path, bootstraps: &[(&str, &str)]) -> Self {
        let admin = format!("127.0.0.1:{}", free_port());
        let mut env = vec![
            ("CAUSEWAY__STORE__DIR".to_owned(), dir.join("store").display().to_string()),
            ("CAUSEWAY__ADMIN__LISTEN".to_owned(), admin.clone()),
        ];
        for (alias, address) in bootstraps {
            env.push((format!("CAUSEWAY__CLUSTERS__{}__BOOTSTRAP", alias.to_uppercase()), (*address).to_owned()));
        }
        let command = [CAUSEWAY, "run", "-c", &config.display().to_string()].map(str::to_owned);
        let process = Background::spawn_with(&command, &dir.join("daemon.log"), &env);
        Self { process, config: config.to_owned(), admin, env }
    }

    /// Waits until it says that it is ready.
    pub fn ready(self) -> Self {
        wait_for("the daemon to be ready", READY_MAX, || {
            assert!(self.process.is_alive(), "the daemon died:\n{}", self.process.output());
            (self.get("/readyz")?.0 == 200).then_some(())
        });
        self
    }

    /// Status and body of `path` at the admin endpoint; `None` while nobody answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut answer = agent.get(format!("http://{}{path}", self.admin)).call().ok()?;
        let body = answer.body_mut().read_to_string().unwrap_or_default();
        Some((answer.status().as_u16(), body))
    }

    /// Runs a verb on the same configuration that takes no `--admin`.
    pub fn offline(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(CAUSEWAY);
        command.args(arguments).arg("-c").arg(&self.config);
        command.envs(self.env.iter().cloned()).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a verb that asks the daemon alone.
    pub fn verb(&self, arguments: &[&str]) -> Output {
        causeway(&[arguments, &["--admin", &format!("http://{}", self.admin)]].concat())
    }

    /// Runs a verb on the same configuration.
    pub fn causeway(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(CAUSEWAY);
        command.args(arguments).arg("-c").arg(&self.config).args(["--admin", &format!("http://{}", self.admin)]);
        command.envs(self.env.iter().cloned()).stdin(Stdio::null()).output().unwrap()
    }
}

/// Runs `causeway` with `arguments` to its end.
pub fn causeway(arguments: &[&str]) -> Output {
    Command::new(CAUSEWAY).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Stdout and stderr together, for searching and for messages.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
