//! Apache Kafka's jars: how they are found or fetched, and how its programs are started as its own scripts do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;
use tokio::time::timeout;

/// The release that the repository's tests run against, too.
pub const VERSION: &str = "4.3.1";
const POM: &str = include_str!("../../../tests/support/kafka/pom.xml");
/// The same with MirrorMaker 2, which needs Connect.
const MIRROR_POM: &str = include_str!("../../../tests/conformance/pom.xml");
const LOG_SETTINGS: &str = include_str!("../../../tests/support/kafka/log4j2.properties");
/// Maven fetches about 100 MB.
const FETCH_MAX: Duration = Duration::from_secs(300);
/// Kafka 4 needs it.
const JAVA_MAJOR_MIN: u32 = 17;
/// What `kafka-run-class.sh` gives every JVM.
const JVM: [&str; 6] = [
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
];
/// What `kafka-server-start.sh` gives a broker.
const BROKER_HEAP: [&str; 2] = ["-Xms1G", "-Xmx1G"];
/// What `connect-mirror-maker.sh` gives MirrorMaker 2.
const MIRROR_HEAP: [&str; 2] = ["-Xms256M", "-Xmx2G"];
/// What `kafka-run-class.sh` gives a tool is 256 MB; the performance tools keep 32 MB of batches, and a slow client measures nothing.
const TOOL_HEAP: [&str; 1] = ["-Xmx512M"];

/// Jars that are there, and settings for their logging.
#[derive(Debug, Clone)]
pub struct Kafka {
    jars: PathBuf,
    logging: PathBuf,
}

impl Kafka {
    /// Finds the jars in `given`, or in `cache`, or fetches them there.
    ///
    /// # Errors
    /// No Java, an old one, or no way to get the jars; the text says which.
    pub async fn find(given: Option<&Path>, cache: &Path, dir: &Path) -> anyhow::Result<Self> {
        Self::find_those(given, &cache.join(format!("kafka-{VERSION}-tools")), POM, dir).await
    }

    /// As [`Kafka::find`], MirrorMaker 2 among them.
    ///
    /// # Errors
    /// As [`Kafka::find`].
    pub async fn find_with_mirror(given: Option<&Path>, cache: &Path, dir: &Path) -> anyhow::Result<Self> {
        Self::find_those(given, &cache.join(format!("kafka-{VERSION}-mirror")), MIRROR_POM, dir).await
    }

    async fn find_those(given: Option<&Path>, home: &Path, pom: &str, dir: &Path) -> anyhow::Result<Self> {
        let version = Command::new("java").arg("-version").output().await.context("no java")?;
        let version = String::from_utf8_lossy(&version.stderr).into_owned();
        let major = java_major(&version);
        ensure!(major.is_some_and(|m| m >= JAVA_MAJOR_MIN), "Kafka needs Java {JAVA_MAJOR_MIN}, found: {version}");
        let jars = match given {
            Some(jars) => jars.to_owned(),
            None => home.join("jars"),
        };
        if !jars.is_dir() {
            ensure!(given.is_none(), "{} is not there", jars.display());
            fetch(&jars, pom, dir).await?;
        }
        let logging = dir.join("log4j2.properties");
        std::fs::write(&logging, LOG_SETTINGS).context("write logging settings")?;
        Ok(Self { jars, logging })
    }

    /// Arguments of `java` for a broker.
    pub fn broker(&self, arguments: &[&str]) -> Vec<String> {
        self.java(&BROKER_HEAP, arguments)
    }

    /// Arguments of `java` for MirrorMaker 2.
    pub fn mirror(&self, properties: &Path) -> Vec<String> {
        let properties = properties.display().to_string();
        self.java(&MIRROR_HEAP, &["org.apache.kafka.connect.mirror.MirrorMaker", &properties])
    }

    /// A tool, ready to run: dropped, it ends.
    pub fn tool(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("java");
        command.args(self.java(&TOOL_HEAP, arguments)).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn java(&self, heap: &[&str], arguments: &[&str]) -> Vec<String> {
        let logging = format!("-Dlog4j2.configurationFile={}", self.logging.display());
        let path = format!("{}/*", self.jars.display());
        let all = heap.iter().chain(&JVM).copied().chain([logging.as_str(), "-cp", &path]);
        all.chain(arguments.iter().copied()).map(ToOwned::to_owned).collect()
    }
}

async fn fetch(jars: &Path, text: &str, dir: &Path) -> anyhow::Result<()> {
    let pom = dir.join("pom.xml");
    std::fs::write(&pom, text).context("write the pom")?;
    let home = jars.parent().context("a folder for the jars")?;
    std::fs::create_dir_all(home).with_context(|| format!("create {}", home.display()))?;
    // Another run may fetch at the same time: each into its own folder, the last rename loses quietly.
    let part = home.join(format!("part-{}", std::process::id()));
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-Dstyle.color=never", "-f"]).arg(&pom).arg("dependency:copy-dependencies");
    maven.arg("-DincludeScope=runtime").arg(format!("-DoutputDirectory={}", part.display()));
    let ended = timeout(FETCH_MAX, maven.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let output = ended.context("Maven took too long")?.context("no mvn")?;
    ensure!(output.status.success(), "Maven could not fetch Kafka's jars (no network?)");
    if std::fs::rename(&part, jars).is_err() && !jars.is_dir() {
        bail!("the jars are not where Maven should have put them");
    }
    Ok(())
}

/// `openjdk version "17.0.15"` -> 17.
fn java_major(version: &str) -> Option<u32> {
    version.split('"').nth(1)?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_says_its_version_in_its_own_way() {
        assert_eq!(java_major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK"), Some(17));
        assert_eq!(java_major("openjdk version \"21\" 2023"), Some(21));
        assert_eq!(java_major("java: not found"), None);
    }
}
