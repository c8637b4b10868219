//! The log: text for people or JSON for machines, on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts the log of this process. `filter` is a level, or a filter as `tracing` reads it; `json` makes each line a JSON object.
///
/// # Errors
/// A filter that cannot be read. A log that was started before stays as it is.
pub fn init(filter: &str, json: bool) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter: EnvFilter = filter.parse()?;
    let ansi = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi);
    // only one log per process: a second start (in tests) is no error
    let _started_before = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    Ok(())
}
