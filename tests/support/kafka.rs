//! Real Apache Kafka: jars from Maven, one KRaft node per cluster, on free ports below a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::free_port;
use super::process::Background;

/// Where the jars are kept between runs.
const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/kafka-4.3.1-tools");
const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/kafka");
/// Maven fetches about 100 MB; a build that cannot reach it should say so and go on.
const FETCH_MAX: Duration = Duration::from_secs(300);

/// Whether Kafka can be run here, or why not. Fetches the jars on first use.
pub fn available() -> Result<(), String> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    ANSWER.get_or_init(fetch).clone()
}

fn fetch() -> Result<(), String> {
    let java = Command::new("java").arg("-version").output().map_err(|error| format!("no java: {error}"))?;
    let version = String::from_utf8_lossy(&java.stderr).into_owned();
    if java_major(&version).is_none_or(|major| major < 17) {
        return Err(format!("Kafka needs Java 17, found: {}", version.lines().next().unwrap_or("nothing")));
    }
    let jars = Path::new(CACHE).join("jars");
    if jars.is_dir() {
        return Ok(());
    }
    // Another test binary may fetch at the same time: each into its own folder, the last rename loses quietly.
    let part = Path::new(CACHE).join(format!("part-{}", std::process::id()));
    std::fs::create_dir_all(CACHE).map_err(|error| error.to_string())?;
    let mut maven = Command::new("mvn")
        .args(["-q", "-B", "-Dstyle.color=never", "-f", &format!("{HERE}/pom.xml"), "dependency:copy-dependencies"])
        .args(["-DincludeScope=runtime".to_owned(), format!("-DoutputDirectory={}", part.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("no mvn: {error}"))?;
    let end = Instant::now() + FETCH_MAX;
    let status = loop {
        match maven.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if Instant::now() > end => {
                let _ = maven.kill();
                let _ = maven.wait();
                return Err(format!("Maven did not end within {FETCH_MAX:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    if !status.success() {
        return Err("Maven could not fetch the jars (no network?)".to_owned());
    }
    let _ = std::fs::rename(&part, &jars);
    if jars.is_dir() { Ok(()) } else { Err("the jars are not where Maven should have put them".to_owned()) }
}

/// `openjdk version "17.0.15"` -> 17.
fn java_major(version: &str) -> Option<u32> {
    version.split('"').nth(1)?.split('.').next()?.parse().ok()
}

/// One real node, broker and controller in one process.
pub struct Kafka {
    process: Background,
    /// `127.0.0.1:PORT`.
    pub bootstrap: String,
    properties: PathBuf,
    log: PathBuf,
}

impl Kafka {
    /// Formats an empty folder below `dir` and starts a node on it.
    pub fn start(dir: &Path, name: &str) -> Self {
        Self::start_with(dir, name, "")
    }

    /// As [`Kafka::start`], with more lines for its settings.
    pub fn start_with(dir: &Path, name: &str, more: &str) -> Self {
        let (port, controller) = (free_port(), free_port());
        let properties = dir.join(format!("{name}.properties"));
        let data = dir.join(name);
        std::fs::write(&properties, settings(port, controller, &data) + more).unwrap();
        // A cluster.id is 16 bytes in URL-safe base64; the characters of a name and a port are legal there.
        let id = format!("{name:-<17.17}{port:05}").replace('-', "x");
        let format =
            java("128m", &["kafka.tools.StorageTool", "format", "-t", &id, "-c", &properties.display().to_string()]);
        let output = Command::new(&format[0]).args(&format[1..]).output().unwrap();
        assert!(output.status.success(), "format: {}", super::process::both(&output));
        let log = dir.join(format!("{name}.log"));
        let process = launch(&properties, &log);
        Self { process, bootstrap: format!("127.0.0.1:{port}"), properties, log }
    }

    /// Kills the node as a crash would.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Stops it as an operator would.
    pub fn stop(&self) {
        self.process.terminate();
    }

    /// Starts it again with the data it has.
    pub fn restart(&mut self) {
        self.process = launch(&self.properties, &self.log);
    }
}

/// Runs one of Kafka's tools to its end; what it printed.
///
/// # Panics
/// It failed.
pub fn tool(class: &str, arguments: &[&str]) -> String {
    let command = java("128m", &[&[class], arguments].concat());
    let output = Command::new(&command[0]).args(&command[1..]).output().unwrap();
    let printed = super::process::both(&output);
    assert!(output.status.success(), "{class} {arguments:?}: {printed}");
    printed
}

/// What Kafka's own `kafka-dump-log` says of files of a log directory.
pub fn dump_log(files: &[PathBuf]) -> std::process::Output {
    let list: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let command = java(
        "256m",
        &["org.apache.kafka.tools.DumpLogSegments", "--deep-iteration", "--print-data-log", "--files", &list.join(",")],
    );
    Command::new(&command[0]).args(&command[1..]).output().unwrap()
}

fn launch(properties: &Path, log: &Path) -> Background {
    let process = Background::spawn(&java("512m", &["kafka.Kafka", &properties.display().to_string()]), log);
    process.wait_output("Kafka Server started");
    process
}

fn java(heap: &str, arguments: &[&str]) -> Vec<String> {
    // Quick to start rather than quick at its peak: these nodes live for seconds.
    let mut command = vec![
        "java".to_owned(),
        format!("-Xmx{heap}"),
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
    ];
    command.push(format!("-Dlog4j2.configurationFile={HERE}/log4j2.properties"));
    command.extend(["-cp".to_owned(), format!("{CACHE}/jars/*")]);
    command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    command
}

fn settings(port: u16, controller: u16, data: &Path) -> String {
    let data = data.display();
    format!(
        "node.id=1\n\
         process.roles=broker,controller\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         log.dirs={data}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=4\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         log.retention.ms=-1\n"
    )
}
