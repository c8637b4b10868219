//! What the black-box tests share: processes that die with the test, real Kafka nodes, load of every shape, and digests of what arrived.
#![allow(dead_code, reason = "every test binary compiles all of it and uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod flow;
pub mod kafka;
pub mod load;
pub mod mirror;
pub mod process;
pub mod read;

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// Says loudly that a test did not run: past the capture of the test harness, on a line that CI counts.
pub fn skip(test: &str, why: &str) {
    let mut err = std::io::stderr().lock();
    writeln!(err, "\nSKIPPED {test}: {why}").and_then(|()| err.flush()).unwrap();
}

/// A port nobody listens on right now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks until there is an answer.
///
/// # Panics
/// After `limit`, naming `what` was awaited.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
