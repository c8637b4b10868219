//! What can be seen from outside: log lines and metrics. One event is one struct is one log line and its metrics.

pub mod events;
pub mod log;
pub mod metrics;
pub mod names;
