//! Child processes of a drill: started with a held pipe on stdin, so that they end when we do, however we end.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Ports are taken below the range from which Linux gives ports to outgoing connections: the port of a broker that is
/// down for a moment must still be free when it comes back.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Random ports tried before giving up.
const PORT_TRIES: u32 = 200;
/// How often a waiting loop looks again.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of a child's log that an error quotes.
const LOG_TAIL_BYTES: u64 = 2_000;

/// What a child is and how it is started, the same way each time.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name for messages and the log file.
    pub name: String,
    /// Program to start.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables on top of ours.
    pub env: Vec<(String, String)>,
    /// File that gets its stdout and stderr, appended over restarts.
    pub log: PathBuf,
}

/// Why a child did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The operating system refused.
    #[error("{name}: {what}: {source}")]
    Os {
        /// The child.
        name: String,
        /// What was tried.
        what: &'static str,
        /// The refusal.
        source: std::io::Error,
    },
    /// It ended by itself.
    #[error("{name} ended with {status}; its log ends with:\n{log}")]
    Ended {
        /// The child.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// It was not ready in time.
    #[error("{name} was not ready within {within:?}; its log ends with:\n{log}")]
    NotReady {
        /// The child.
        name: String,
        /// How long was waited.
        within: Duration,
        /// The end of its log.
        log: String,
    },
    /// No free port was found.
    #[error("no free port on 127.0.0.1 between {} and {}", PORTS.start, PORTS.end)]
    NoPort,
}

/// A child process that never outlives its owner.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    child: Option<Child>,
    /// Lets the child go on although we died while it was stopped: a stopped process does not see its stdin close.
    waker: Option<Child>,
}

impl Process {
    /// Starts the child.
    ///
    /// # Errors
    /// [`ProcessError::Os`] if the program or the log file cannot be opened.
    pub fn spawn(spec: Spec) -> Result<Self, ProcessError> {
        let mut process = Self { spec, child: None, waker: None };
        process.start()?;
        Ok(process)
    }

    /// The child's name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// How it is started; changes take effect at the next [`Process::start`].
    pub fn spec_mut(&mut self) -> &mut Spec {
        &mut self.spec
    }

    /// The child's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the child again; does nothing while it runs.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn start(&mut self) -> Result<(), ProcessError> {
        if self.child.is_some() {
            return Ok(());
        }
        let open = || File::options().create(true).append(true).open(&self.spec.log);
        let (out, err) = (open().and_then(|f| Ok((f.try_clone()?, f)))).map_err(|e| self.os("open its log", e))?;
        let mut command = Command::new(&self.spec.program);
        command.args(&self.spec.args).envs(self.spec.env.iter().map(|(k, v)| (k, v))).env("NO_COLOR", "1");
        command.stdin(Stdio::piped()).stdout(out).stderr(err);
        // A Ctrl-C at our terminal is for us alone: we end the child when we are done with it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        self.child = Some(command.spawn().map_err(|e| self.os("start", e))?);
        Ok(())
    }

    /// Kills it with -9 and waits for its end; false if it had ended before.
    ///
    /// # Errors
    /// [`ProcessError::Os`] if it cannot be killed.
    pub fn kill(&mut self) -> Result<bool, ProcessError> {
        self.forget_waker();
        let Some(mut child) = self.child.take() else { return Ok(false) };
        let ended = child.try_wait().map_err(|e| self.os("wait for", e))?.is_some();
        child.kill().and_then(|()| child.wait()).map_err(|e| self.os("kill", e))?;
        Ok(!ended)
    }

    /// Asks it to end (SIGTERM), and kills it if it has not ended in time.
    ///
    /// # Errors
    /// [`ProcessError::Os`] if it cannot be signalled.
    pub fn terminate(&mut self, within: Duration) -> Result<Option<ExitStatus>, ProcessError> {
        self.signal(Signal::TERM, "end")?;
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            let Some(child) = self.child.as_mut() else { return Ok(None) };
            if let Some(status) = child.try_wait().map_err(|e| self.os("wait for", e))? {
                self.child = None;
                return Ok(Some(status));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        self.kill()?;
        Ok(None)
    }

    /// Stops it (SIGSTOP) for at most this long; true once the kernel says that it is stopped.
    ///
    /// # Errors
    /// [`ProcessError::Os`] if it cannot be signalled.
    pub fn pause(&mut self, at_most: Duration) -> Result<bool, ProcessError> {
        let Some(pid) = self.pid() else { return Ok(false) };
        self.forget_waker();
        let script = format!("sleep {}; kill -CONT {pid}", at_most.as_secs_f64());
        let waker = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn();
        self.waker = Some(waker.map_err(|e| self.os("start the waker of", e))?);
        self.signal(Signal::STOP, "stop")?;
        let deadline = Instant::now() + Duration::from_secs(1);
        while Instant::now() < deadline {
            if state_of(pid) == Some('T') {
                return Ok(true);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(false)
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// [`ProcessError::Os`] if it cannot be signalled.
    pub fn resume(&mut self) -> Result<(), ProcessError> {
        self.forget_waker();
        self.signal(Signal::CONT, "resume")
    }

    /// An error if it has ended by itself.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] with the end of its log.
    pub fn check(&mut self) -> Result<(), ProcessError> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        match child.try_wait().map_err(|e| self.os("wait for", e))? {
            None => Ok(()),
            Some(status) => {
                self.child = None;
                Err(ProcessError::Ended { name: self.spec.name.clone(), status, log: self.log_tail() })
            }
        }
    }

    /// The error for a child that is not ready after so long.
    pub fn not_ready(&self, within: Duration) -> ProcessError {
        ProcessError::NotReady { name: self.spec.name.clone(), within, log: self.log_tail() }
    }

    fn signal(&mut self, signal: Signal, what: &'static str) -> Result<(), ProcessError> {
        let Some(child) = self.child.as_ref() else { return Ok(()) };
        match kill_process(Pid::from_child(child), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(self.os(what, errno.into())),
        }
    }

    fn forget_waker(&mut self) {
        if let Some(mut waker) = self.waker.take() {
            // Best effort: the waker ends by itself, and a CONT to a running process does nothing.
            let _ = waker.kill();
            let _ = waker.wait();
        }
    }

    fn log_tail(&self) -> String {
        tail(&self.spec.log).unwrap_or_else(|e| format!("({}: {e})", self.spec.log.display()))
    }

    fn os(&self, what: &'static str, source: std::io::Error) -> ProcessError {
        ProcessError::Os { name: self.spec.name.clone(), what, source }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing better is left to do with an error here; closing stdin ends the child as well.
        let _ = self.kill();
    }
}

/// The kernel's one-letter state of a process (`R`, `S`, `T` ...); none if there is no such process.
pub fn state_of(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// A port on 127.0.0.1 that is free now and that the kernel gives to nobody by itself.
///
/// # Errors
/// [`ProcessError::NoPort`] after many tries.
pub fn free_port() -> Result<u16, ProcessError> {
    let mut random = fastrand::Rng::new();
    for _ in 0..PORT_TRIES {
        let port = random.u16(PORTS);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(ProcessError::NoPort)
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dir: &Path, script: &str) -> Spec {
        let args = vec!["-c".to_owned(), script.to_owned()];
        Spec { name: "child".into(), program: "sh".into(), args, env: vec![], log: dir.join("child.log") }
    }

    #[test]
    fn a_child_ends_when_its_stdin_closes() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::spawn(spec(dir.path(), "cat >/dev/null; echo bye")).unwrap();
        process.check().unwrap();
        let child = process.child.as_mut().unwrap();
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        assert_eq!(process.log_tail(), "bye\n");
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let process = Process::spawn(spec(dir.path(), "exec sleep 60")).unwrap();
        let pid = process.pid().unwrap();
        drop(process);
        assert_eq!(state_of(pid), None);
    }

    #[test]
    fn pause_stops_and_resume_goes_on_and_a_paused_child_can_be_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::spawn(spec(dir.path(), "exec sleep 60")).unwrap();
        let pid = process.pid().unwrap();
        assert!(process.pause(Duration::from_secs(30)).unwrap());
        process.resume().unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        while state_of(pid) == Some('T') && Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
        }
        assert_ne!(state_of(pid), Some('T'));
        assert!(process.pause(Duration::from_secs(30)).unwrap());
        assert!(process.kill().unwrap());
        assert!(!process.kill().unwrap());
    }

    #[test]
    fn an_early_end_is_told_with_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Process::spawn(spec(dir.path(), "echo no such port; exit 3")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let error = loop {
            match process.check() {
                Err(error) => break error.to_string(),
                Ok(()) => assert!(Instant::now() < deadline),
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        assert!(error.contains("no such port") && error.contains('3'), "{error}");
    }
}
