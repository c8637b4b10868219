//! The log: text for people or JSON for machines, on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Puts another filter in force.
pub type Refilter = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// As `init`, as text, with a way to change the filter later.
///
/// # Errors
/// As `init`.
pub fn init_adjustable(filter: &str) -> Result<Refilter, tracing_subscriber::filter::ParseError> {
    let parsed: EnvFilter = filter.parse()?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(colours());
    let builder = builder.with_filter_reloading();
    let handle = builder.reload_handle();
    let _started_before = builder.try_init();
    Ok(Box::new(move |filter| {
        let parsed: EnvFilter = filter.parse().map_err(|error| format!("{filter}: {error}"))?;
        handle.reload(parsed).map_err(|error| error.to_string())
    }))
}

/// Starts the log of this process. `filter` is a level, or a filter as `tracing` reads it; `json` makes each line a JSON object.
///
/// # Errors
/// A filter that cannot be read. A log that was started before stays as it is.
pub fn init(filter: &str, json: bool) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter: EnvFilter = filter.parse()?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours());
    // only one log per process: a second start (in tests) is no error
    let _started_before = if json { builder.json().flatten_event(true).try_init() } else { builder.try_init() };
    Ok(())
}

fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
