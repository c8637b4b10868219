//! One log directory, by turns of real Apache Kafka and of the included broker: what either wrote the other serves, and Kafka's own tool reads our files.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use support::kafka::{self, Kafka, dump_log};
use support::process::{Background, both};
use support::read::{Seen, read_topic};
use support::{free_port, load, skip, wait_for};

/// Small segments, and a cleaner that does not wait.
const BROKER: &str = "log.segment.bytes=1048576\nlog.cleaner.backoff.ms=100\nlog.cleaner.min.cleanable.ratio=0.01\n\
                      log.index.interval.bytes=1024\nlog.segment.delete.delay.ms=0\n";
const TOPICS: [&str; 3] = ["every-codec", "transactions", "compacted"];
const RECORDS: usize = 4000;

/// Both brokers' settings. Metadata lies in a folder of its own, as where a busy cluster keeps it on another disk.
fn settings(dir: &Path) -> String {
    format!("{BROKER}metadata.log.dir={}\n", dir.join("metadata").display())
}

/// Our broker on a directory that is there already.
fn ours(dir: &Path, data: &Path, turn: u32) -> (Background, String) {
    let bootstrap = format!("127.0.0.1:{}", free_port());
    let mut command = vec![support::process::CAUSEWAY.to_owned(), "broker".to_owned()];
    let own = [format!("listeners=PLAINTEXT://{bootstrap}"), format!("log.dirs={}", data.display())];
    for setting in own.into_iter().chain(settings(dir).lines().map(str::to_owned)) {
        command.extend(["--override".to_owned(), setting]);
    }
    let process = Background::spawn(&command, &dir.join(format!("ours-{turn}.log")));
    process.wait_output("broker started");
    (process, bootstrap)
}

fn read_all(bootstrap: &str) -> Vec<Vec<Vec<Seen>>> {
    TOPICS.iter().map(|topic| read_topic(bootstrap, topic)).collect()
}

fn log_bytes(dir: &Path) -> u64 {
    files(dir, &["log"]).iter().filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}

fn files(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| endings.iter().any(|ending| path.extension().is_some_and(|e| e == *ending))).collect();
    found.sort();
    found
}

/// Writes few keys often, and waits until most of it is compacted away.
fn fill_compacted(bootstrap: &str, partition: &Path) {
    let producer = load::producer(bootstrap, &[("compression.type", "lz4"), ("linger.ms", "20")]);
    for n in 0..3000 {
        let (key, value) = (format!("key-{}", n % 50), format!("{n}-{}", fastrand_text(1500, n)));
        let mut record = rdkafka::producer::BaseRecord::to("compacted").key(&key).payload(&value);
        while let Err((_, unsent)) = producer.send(record) {
            record = unsent;
            producer.poll(Duration::from_millis(5));
        }
        if n % 100 == 0 {
            rdkafka::producer::Producer::flush(&producer, Duration::from_secs(30)).unwrap();
        }
    }
    rdkafka::producer::Producer::flush(&producer, Duration::from_secs(30)).unwrap();
    let before = log_bytes(partition);
    wait_for("compaction", Duration::from_secs(90), || {
        (log_bytes(partition) < before / 2 || before < 2_200_000).then_some(())
    });
}

/// Text that does not compress to nothing.
fn fastrand_text(len: usize, seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| rng.alphanumeric()).collect()
}

/// Kafka's tool reads every file and finds nothing wrong.
fn assert_dumps(data: &Path) {
    for topic in TOPICS {
        let dir = data.join(format!("{topic}-0"));
        let all = files(&dir, &["log", "index", "timeindex", "txnindex", "snapshot"]);
        assert!(all.len() >= 3, "{all:?}");
        let output = dump_log(&all);
        let text = both(&output);
        assert!(output.status.success(), "{text}");
        for wrong in ["mismatch", "isvalid: false", "Exception", "Found", "non-consecutive", "not equal"] {
            assert!(
                !text.contains(wrong),
                "`{wrong}` in what kafka-dump-log says of {topic}: {}",
                excerpt(&text, wrong)
            );
        }
        assert!(text.contains("baseOffset: "), "{topic}: {text}");
    }
}

fn excerpt<'a>(text: &'a str, around: &str) -> &'a str {
    let at = text.find(around).unwrap_or(0);
    let (mut from, mut to) = (at.saturating_sub(300), (at + 300).min(text.len()));
    while !text.is_char_boundary(from) {
        from -= 1;
    }
    while !text.is_char_boundary(to) {
        to += 1;
    }
    &text[from..to]
}

#[test]
fn kafka_and_the_included_broker_take_turns_on_one_directory() {
    if let Err(why) = kafka::available() {
        return skip("one directory, two brokers", &why);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut kafka = Kafka::start_with(dir.path(), "data", &settings(dir.path()));
    let data = dir.path().join("data");
    load::create_topic(&kafka.bootstrap, "every-codec", 1, &[("segment.bytes", "1048576")]);
    load::create_topic(&kafka.bootstrap, "transactions", 1, &[]);
    let compact = [("cleanup.policy", "compact"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.01")];
    load::create_topic(&kafka.bootstrap, "compacted", 1, &compact);
    load::fill(&kafka.bootstrap, "every-codec", 1, RECORDS, 1);
    load::fill_transactions(&kafka.bootstrap, "transactions", 1, 300, 2);
    fill_compacted(&kafka.bootstrap, &data.join("compacted-0"));
    let written = read_all(&kafka.bootstrap);
    assert!(written[0][0].len() == RECORDS && written[1][0].len() == 240 && written[2][0].len() < 2900);
    // Once as an operator stops it, and once more as a crash leaves it.
    kafka.stop();
    kafka.restart();
    kafka.kill();

    let (process, bootstrap) = ours(dir.path(), &data, 1);
    assert_eq!(read_all(&bootstrap), written, "what Kafka wrote");
    assert!(process.output().contains("took over log directories of Apache Kafka"), "{}", process.output());
    load::fill(&bootstrap, "every-codec", 1, RECORDS, 3);
    fill_compacted(&bootstrap, &data.join("compacted-0"));
    process.terminate();
    let (process, bootstrap) = ours(dir.path(), &data, 2);
    let more = read_all(&bootstrap);
    assert!(more[0][0].len() == 2 * RECORDS && more[1] == written[1], "what both wrote");
    process.terminate();
    assert_dumps(&data);

    kafka.restart();
    assert_eq!(read_all(&kafka.bootstrap)[..2], more[..2], "what we wrote");
    // Kafka's cleaner may be at it already; whatever it keeps is what we had.
    let compacted = &read_topic(&kafka.bootstrap, "compacted")[0];
    assert!(compacted.len() >= 50 && compacted.iter().all(|seen| more[2][0].contains(seen)), "{}", compacted.len());
    load::fill(&kafka.bootstrap, "every-codec", 1, 100, 4);
    assert_eq!(read_topic(&kafka.bootstrap, "every-codec")[0].len(), 2 * RECORDS + 100);
}
