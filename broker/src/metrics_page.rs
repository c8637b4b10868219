//! The page that Prometheus reads: the names that operators know from Kafka's MBeans through the JMX exporter (lower case, parts
//! joined by underscores), in the text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use crate::node::Node;
use crate::stats::TIME_BOUNDS_MS;

/// Partitions and group offsets shown one by one; more would make a page that no scrape survives. What is left out is counted.
const SERIES_MAX: usize = 10_000;

/// Grows the page line by line.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (i, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{text}\"", if i == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(name, &[], value);
    }
}

/// Renders everything as of now. Blocks no request; takes the locks that any other reader takes.
pub fn render(node: &Node) -> String {
    let mut page = Page::default();
    cluster(&mut page, node);
    requests(&mut page, node);
    topics(&mut page, node);
    logs(&mut page, node);
    cleaner(&mut page, node);
    groups(&mut page, node);
    page.text
}

fn cluster(page: &mut Page, node: &Node) {
    let image = node.meta.image();
    let partitions: usize = image.topics().map(|t| t.partitions.len()).sum();
    let served = node.partitions.all().len();
    let working = node.partitions.all().iter().filter(|partition| partition.log.health().is_ok()).count();
    let offline = partitions.saturating_sub(working);
    let mut gauge = |name: &str, help: &str, value: usize| page.one(name, "gauge", help, value);
    gauge("kafka_server_replicamanager_partitioncount", "Partitions of this node.", served);
    gauge("kafka_server_replicamanager_leadercount", "Partitions led by this node.", served);
    gauge("kafka_server_replicamanager_underreplicatedpartitions", "Partitions with replicas that lag.", 0);
    gauge("kafka_server_replicamanager_underminisrpartitioncount", "Partitions with too few replicas for acks=all.", {
        let settings = node.partitions.all();
        settings.iter().filter(|p| p.settings().min_insync_replicas > 1).count()
    });
    gauge("kafka_server_replicamanager_offlinereplicacount", "Replicas of this node that are not served.", offline);
    gauge("kafka_controller_kafkacontroller_offlinepartitionscount", "Partitions without a leader.", offline);
    gauge("kafka_controller_kafkacontroller_activecontrollercount", "1 on the active controller.", 1);
    gauge("kafka_controller_kafkacontroller_globaltopiccount", "Topics of the cluster.", image.topics().count());
    gauge("kafka_controller_kafkacontroller_globalpartitioncount", "Partitions of the cluster.", partitions);
    let failed = node.logs.failed_dirs();
    gauge("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed.", failed.len());
    gauge("kafka_server_socket_server_metrics_connection_count", "Connections open.", node.doors.open());
    let (faults, refused) = (node.stats.faults.load(Relaxed), node.stats.refused.load(Relaxed));
    let name = "kafka_server_socket_server_metrics_connection_refused_total";
    page.one(name, "counter", "Connections turned away by a limit.", refused);
    let name = "kafka_server_socket_server_metrics_connection_faults_total";
    page.one(name, "counter", "Connections closed because of what the peer did.", faults);
}

fn requests(page: &mut Page, node: &Node) {
    let name = "kafka_network_requestmetrics_requests_total";
    page.family(name, "counter", "Requests answered.");
    for (key, stats) in node.stats.apis() {
        let count: u64 = stats.classes.iter().map(|c| c.load(Relaxed)).sum();
        page.line(name, &[("request", key.name())], count);
    }
    let name = "kafka_network_requestmetrics_requestbytes_total";
    page.family(name, "counter", "Bytes of requests.");
    for (key, stats) in node.stats.apis() {
        page.line(name, &[("request", key.name())], stats.bytes.load(Relaxed));
    }
    let name = "kafka_network_requestmetrics_totaltimems";
    page.family(name, "histogram", "Time from a request read to its answer written, in milliseconds; waits are in it.");
    for (key, stats) in node.stats.apis() {
        let mut below = 0;
        for (class, bound) in stats.classes.iter().zip(TIME_BOUNDS_MS) {
            below += class.load(Relaxed);
            page.line(&format!("{name}_bucket"), &[("request", key.name()), ("le", &bound.to_string())], below);
        }
        below += stats.classes[TIME_BOUNDS_MS.len()].load(Relaxed);
        page.line(&format!("{name}_bucket"), &[("request", key.name()), ("le", "+Inf")], below);
        let sum = stats.micros.load(Relaxed) as f64 / 1_000.0;
        page.line(&format!("{name}_sum"), &[("request", key.name())], sum);
        page.line(&format!("{name}_count"), &[("request", key.name())], below);
    }
}

fn topics(page: &mut Page, node: &Node) {
    let mut by_topic: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    let mut total = node.stats.gone.read();
    for partition in node.partitions.all() {
        let traffic = partition.traffic.read();
        let sum = by_topic.entry(partition.log.topic().to_owned()).or_default();
        for i in 0..3 {
            sum[i] += traffic[i];
            total[i] += traffic[i];
        }
    }
    let families = [
        ("kafka_server_brokertopicmetrics_messagesin_total", "Records that producers sent."),
        ("kafka_server_brokertopicmetrics_bytesin_total", "Bytes that producers sent."),
        ("kafka_server_brokertopicmetrics_bytesout_total", "Bytes that readers were sent."),
    ];
    for (i, (name, help)) in families.into_iter().enumerate() {
        page.family(name, "counter", help);
        page.line(name, &[], total[i]);
        for (topic, sums) in by_topic.iter().take(SERIES_MAX) {
            page.line(name, &[("topic", topic)], sums[i]);
        }
    }
}

/// Reads a number off a log.
type OfLog = fn(&crate::log::Log) -> i64;

fn logs(page: &mut Page, node: &Node) {
    let mut all = node.partitions.all();
    all.sort_by(|a, b| (a.log.topic(), a.log.partition()).cmp(&(b.log.topic(), b.log.partition())));
    let left_out = all.len().saturating_sub(SERIES_MAX);
    all.truncate(SERIES_MAX);
    let families: [(&str, &str, OfLog); 4] = [
        ("kafka_log_log_numlogsegments", "Segments of a partition.", |log| log.segment_count() as i64),
        ("kafka_log_log_size", "Bytes of a partition on the disk.", |log| log.size() as i64),
        ("kafka_log_log_logstartoffset", "First offset of a partition.", |log| log.start_offset()),
        ("kafka_log_log_logendoffset", "Offset after the last of a partition.", |log| log.end_offset()),
    ];
    for (name, help, value) in families {
        page.family(name, "gauge", help);
        for partition in &all {
            let number = partition.log.partition().to_string();
            page.line(name, &[("topic", partition.log.topic()), ("partition", &number)], value(&partition.log));
        }
    }
    page.one("causeway_metrics_partitions_left_out", "gauge", "Partitions too many for this page.", left_out);
}

/// Compaction.
fn cleaner(page: &mut Page, node: &Node) {
    let stats = node.logs.cleaner_stats();
    let since = if stats.looked_ms > 0 { (crate::clock::wall_ms() - stats.looked_ms).max(0) } else { 0 };
    let gauges = [
        (
            "kafka_log_logcleaner_cleaner_recopy_percent",
            "Bytes that the last compaction kept of those it read, percent.",
            stats.recopy_percent,
        ),
        (
            "kafka_log_logcleaner_max_buffer_utilization_percent",
            "How full the offset map of the last compaction was.",
            stats.buffer_percent,
        ),
        (
            "kafka_log_logcleaner_max_clean_time_secs",
            "How long the last compaction took.",
            stats.clean_time.as_secs_f64(),
        ),
        (
            "kafka_log_logcleaner_max_compaction_delay_secs",
            "Longest time that a record waits beyond max.compaction.lag.ms.",
            stats.compaction_delay_ms_max as f64 / 1_000.0,
        ),
        (
            "kafka_log_logcleaner_deadthreadcount",
            "Threads of compaction that ended by a bug.",
            node.stats.dead_cleaners.load(Relaxed) as f64,
        ),
        (
            "kafka_log_logcleanermanager_max_dirty_percent",
            "Dirty part of the dirtiest compacted log, percent.",
            stats.dirty_percent_max,
        ),
        (
            "kafka_log_logcleanermanager_time_since_last_run_ms",
            "Time since logs were last looked at for compaction.",
            since as f64,
        ),
    ];
    for (name, help, value) in gauges {
        page.one(name, "gauge", help, value);
    }
    let counters = [
        ("causeway_log_cleaner_rounds_total", "Compactions finished.", stats.rounds),
        ("causeway_log_cleaner_read_bytes_total", "Bytes that they read.", stats.bytes_read),
        ("causeway_log_cleaner_written_bytes_total", "Bytes that they wrote.", stats.bytes_written),
    ];
    for (name, help, value) in counters {
        page.one(name, "counter", help, value);
    }
    directories(page, node);
}

fn directories(page: &mut Page, node: &Node) {
    let failed = node.logs.failed_dirs();
    let mut by_dir: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for (dir, _) in node.logs.dirs() {
        let offline = failed.iter().any(|(failed, _)| failed == dir);
        by_dir.insert(dir.display().to_string(), [u64::from(offline), 0, 0]);
    }
    for given_up in node.logs.uncleanable() {
        let Some(log) = node.logs.get(&given_up.topic, given_up.partition) else { continue };
        let sums = by_dir.entry(log.log_dir().display().to_string()).or_default();
        sums[1] += 1;
        sums[2] += log.size();
    }
    let families = [
        ("kafka_log_logmanager_logdirectoryoffline", "Whether a log directory failed."),
        ("kafka_log_logcleanermanager_uncleanable_partitions_count", "Partitions that compaction gave up on."),
        ("kafka_log_logcleanermanager_uncleanable_bytes", "Bytes of those partitions."),
    ];
    for (i, (name, help)) in families.into_iter().enumerate() {
        page.family(name, "gauge", help);
        for (dir, sums) in &by_dir {
            page.line(name, &[("logdirectory", dir)], sums[i]);
        }
    }
}

/// What lag is made of: committed offsets, and the lag where the partition is here.
fn groups(page: &mut Page, node: &Node) {
    let committed = node.coordinator.committed_offsets(SERIES_MAX);
    let name = "kafka_consumergroup_current_offset";
    page.family(name, "gauge", "Offset that a group committed.");
    for c in &committed {
        let partition = c.partition.to_string();
        page.line(name, &[("consumergroup", &c.group), ("topic", &c.topic), ("partition", &partition)], c.offset);
    }
    let name = "kafka_consumergroup_lag";
    page.family(name, "gauge", "Records between the offset that a group committed and the high watermark.");
    for c in &committed {
        let Some(found) = node.partitions.get(&c.topic, c.partition) else { continue };
        let lag = found.high_watermark().saturating_sub(c.offset).max(0);
        let partition = c.partition.to_string();
        page.line(name, &[("consumergroup", &c.group), ("topic", &c.topic), ("partition", &partition)], lag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.one("up", "gauge", "Help.", 1);
        page.line("x", &[("group", "a\"b\\c\nd"), ("n", "1")], 2.5);
        assert_eq!(page.text, "# HELP up Help.\n# TYPE up gauge\nup 1\nx{group=\"a\\\"b\\\\c\\nd\",n=\"1\"} 2.5\n");
    }
}
