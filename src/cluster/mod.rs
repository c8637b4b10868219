//! The only place that talks to clusters, behind the two ports [`ports::Source`] and [`ports::Sink`].
pub mod groups;
pub mod ports;
pub mod progress_topic;
