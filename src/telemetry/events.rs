//! What happens, as structs: each is one log line and the metrics that go with it.

use std::time::Duration;

use super::names;

/// Records of a lane became durable at the target.
#[derive(Debug)]
pub struct Delivered<'a> {
    /// The flow.
    pub flow: &'a str,
    /// The source topic.
    pub topic: &'a str,
    /// Records.
    pub records: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Age of the newest of them, if it has a timestamp.
    pub age_seconds: Option<f64>,
}

impl Delivered<'_> {
    /// Moves the metrics; too frequent for a log line above `trace`.
    pub fn emit(&self) {
        let labels = [("flow", self.flow.to_owned()), ("topic", self.topic.to_owned())];
        metrics::counter!(names::RECORDS_DELIVERED, &labels).increment(self.records);
        metrics::counter!(names::BYTES_DELIVERED, &labels).increment(self.bytes);
        if let Some(age) = self.age_seconds {
            metrics::histogram!(names::REPLICATION_LATENCY, &labels).record(age.max(0.0));
        }
        tracing::trace!(flow = self.flow, topic = self.topic, records = self.records, bytes = self.bytes, "delivered");
    }
}

/// Something failed and is tried again.
#[derive(Debug)]
pub struct Retrying<'a> {
    /// The flow.
    pub flow: &'a str,
    /// What is tried: `connect`, `progress`, `lane`, `discovery`, `heartbeat`.
    pub kind: &'static str,
    /// What went wrong.
    pub reason: &'a str,
    /// How long it waits.
    pub delay: Duration,
}

impl Retrying<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        metrics::counter!(names::RETRIES, "flow" => self.flow.to_owned(), "kind" => self.kind).increment(1);
        let delay_ms = u64::try_from(self.delay.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(flow = self.flow, kind = self.kind, reason = self.reason, delay_ms, "trying again");
    }
}

/// A gap was found.
#[derive(Debug)]
pub struct GapFound<'a> {
    /// The flow.
    pub flow: &'a str,
    /// The source topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// What was not copied, as `[from, to)`.
    pub range: String,
    /// How many offsets that is.
    pub offsets: u64,
    /// Why.
    pub cause: &'static str,
    /// Whether copying goes on behind it.
    pub passed: bool,
}

impl GapFound<'_> {
    /// Logs and counts it.
    pub fn emit(&self) {
        let labels =
            [("flow", self.flow.to_owned()), ("topic", self.topic.to_owned()), ("cause", self.cause.to_owned())];
        metrics::counter!(names::GAPS, &labels).increment(1);
        metrics::counter!(names::GAP_RECORDS, &labels).increment(self.offsets);
        let Self { flow, topic, partition, range, offsets, cause, passed } = self;
        tracing::error!(flow, topic, partition, %range, offsets, cause, passed, "gap found");
    }
}

/// A lane stopped.
#[derive(Debug)]
pub struct LaneStopped<'a> {
    /// The flow.
    pub flow: &'a str,
    /// The source topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// Why.
    pub reason: &'a str,
}

impl LaneStopped<'_> {
    /// Logs it; the gauge of lane states is set from the views.
    pub fn emit(&self) {
        let Self { flow, topic, partition, reason } = self;
        tracing::warn!(flow, topic, partition, reason, "lane stopped");
    }
}
