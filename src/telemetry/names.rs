//! Every metric: name, what it says, unit in the name. Labels: `flow`, `source`, `target`, `topic` (and `kind`, `cause` where said).

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its Prometheus name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident = $kind:ident $name:literal, $help:literal;)*) => {
        $( #[doc = $help] pub const $id: &str = $name; )*
        /// Every metric, in the order of the reference.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, kind: Kind::$kind, help: $help }),*];
    };
}

metrics! {
    RECORDS_DELIVERED = Counter "causeway_records_delivered_total", "Records whose delivery is durable: acknowledged by the target and covered by the progress topic.";
    BYTES_DELIVERED = Counter "causeway_bytes_delivered_total", "Bytes of keys and values of delivered records.";
    LAG_RECORDS = Gauge "causeway_lag_records", "Offsets of the source behind its last stable offset that are not yet durable at the target; an upper bound of the records.";
    LAG_SECONDS = Gauge "causeway_lag_seconds", "Seconds since every lane of the topic was last caught up; 0 while it is.";
    REPLICATION_LATENCY = Histogram "causeway_replication_latency_seconds", "Age of a batch's newest record when it became durable; large for imported data.";
    PROGRESS_AGE = Gauge "causeway_progress_age_seconds", "Seconds since the lane that stands longest moved or was found caught up.";
    CHECKPOINT_AGE = Gauge "causeway_checkpoint_age_seconds", "Seconds since the group positions were last compared with the source.";
    GROUPS = Gauge "causeway_groups", "Followed groups by `state`.";
    GROUP_TRANSLATION_ERROR = Gauge "causeway_group_translation_error_records", "Records a group would read twice after a switch, by the newest translation.";
    LOOP_RECORDS_DROPPED = Counter "causeway_loop_records_dropped_total", "Records held back because they come from the target.";
    GAPS = Counter "causeway_gaps_total", "Gaps found, by `cause`.";
    GAP_RECORDS = Counter "causeway_gap_records_total", "Offsets in gaps, by `cause`; an upper bound of the records.";
    LANES = Gauge "causeway_lane_state", "Lanes by `state`.";
    RETRIES = Counter "causeway_retries_total", "Tries that failed and are repeated, by `kind`.";
    STORE_COMMIT = Histogram "causeway_store_commit_seconds", "Time to make a progress write durable: epoch check, write, acknowledgement.";
    STORE_BYTES = Gauge "causeway_store_bytes", "Bytes of the local cache.";
    RPO_ESTIMATE = Gauge "causeway_rpo_estimate_seconds", "Seconds of source writes that would be lost if the source were gone now.";
    EPOCH = Gauge "causeway_epoch", "The flow epoch this process holds.";
    HEARTBEATS = Counter "causeway_heartbeats_total", "Heartbeats written to the target.";
    BUILD_INFO = Gauge "causeway_build_info", "Always 1; label `version`.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in ALL {
            assert!(seen.insert(metric.name), "{} twice", metric.name);
            assert!(metric.name.starts_with("causeway_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
