//! Records of every shape that Kafka allows and librdkafka can carry, made from a seed: the same seed makes the same records.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// A broker on the same machine answers within this.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Every codec of the record batch, each used for a fifth of the records.
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// 2020-09-13: times lie in the past, where nobody's clock is now.
const TIME_BASE: i64 = 1_600_000_000_000;
/// The largest value that is made (bytes).
const VALUE_BYTES_MAX: usize = 2000;

/// Creates `topic` at `bootstrap`.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin = admin(bootstrap);
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_MAX));
    let results = block_on(admin.create_topics([&new], &options)).unwrap();
    for result in results {
        result.unwrap_or_else(|(topic, error)| panic!("{topic}: {error}"));
    }
}

/// An admin client.
pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap()
}

/// Waits for a future of rdkafka, which polls on threads of its own.
pub fn block_on<F: std::future::Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// One record to be written.
pub struct Made {
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    pub timestamp: i64,
}

/// The record number `index` of a run: null, empty and full keys and values, headers with duplicate names, null and empty values, own timestamps that
/// also go backwards.
pub fn make(rng: &mut fastrand::Rng, index: usize, partitions: i32) -> Made {
    let partition = i32::try_from(index).unwrap() % partitions;
    let key = match rng.u8(0..4) {
        0 => None,
        1 => Some(Vec::new()),
        _ => Some(format!("key-{}", rng.u32(0..1000)).into_bytes()),
    };
    let value = match rng.u8(0..10) {
        0 => None,
        1 => Some(Vec::new()),
        // Half of it repeats, half does not: codecs have something to do.
        _ => {
            let length = rng.usize(1..=VALUE_BYTES_MAX) / rng.usize(1..=20);
            Some((0..length.max(1)).map(|at| if at % 2 == 0 { b'a' } else { rng.u8(..) }).collect())
        }
    };
    let header = |rng: &mut fastrand::Rng| {
        let name = ["trace", "trace", "tenant", ""][rng.usize(0..4)].to_owned();
        let value = match rng.u8(0..3) {
            0 => None,
            1 => Some(Vec::new()),
            _ => Some((0..rng.usize(1..20)).map(|_| rng.u8(..)).collect()),
        };
        (name, value)
    };
    let headers = if rng.bool() { Vec::new() } else { (0..rng.usize(1..5)).map(|_| header(rng)).collect() };
    Made {
        partition,
        key,
        value,
        headers,
        timestamp: TIME_BASE + i64::try_from(index).unwrap() * 10 - rng.i64(0..5000),
    }
}

/// Writes `count` records to `topic`, a fifth with each codec.
pub fn fill(bootstrap: &str, topic: &str, partitions: i32, count: usize, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let share = count.div_ceil(CODECS.len());
    let mut index = 0;
    for codec in CODECS {
        let producer = producer(bootstrap, &[("compression.type", codec)]);
        for _ in 0..share.min(count - index) {
            send(&producer, topic, &make(&mut rng, index, partitions));
            index += 1;
        }
        producer.flush(ANSWER_MAX).unwrap();
    }
}

/// Writes `count` records in transactions of ten, every fifth of them aborted: markers and aborted records leave holes in what a reader sees.
pub fn fill_transactions(bootstrap: &str, topic: &str, partitions: i32, count: usize, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let producer = producer(bootstrap, &[("transactional.id", "load")]);
    producer.init_transactions(ANSWER_MAX).unwrap();
    for transaction in 0..count.div_ceil(10) {
        producer.begin_transaction().unwrap();
        for index in 0..10 {
            send(&producer, topic, &make(&mut rng, transaction * 10 + index, partitions));
        }
        producer.flush(ANSWER_MAX).unwrap();
        if transaction % 5 == 4 {
            producer.abort_transaction(ANSWER_MAX).unwrap();
        } else {
            producer.commit_transaction(ANSWER_MAX).unwrap();
        }
    }
}

/// An idempotent producer with these settings on top.
pub fn producer(bootstrap: &str, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("enable.idempotence", "true").set("linger.ms", "5");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

fn send(producer: &BaseProducer, topic: &str, made: &Made) {
    let mut headers = OwnedHeaders::new();
    for (key, value) in &made.headers {
        headers = headers.insert(Header { key, value: value.as_ref() });
    }
    let mut record: BaseRecord<'_, [u8], [u8]> =
        BaseRecord::to(topic).partition(made.partition).timestamp(made.timestamp).headers(headers);
    if let Some(key) = &made.key {
        record = record.key(key);
    }
    if let Some(value) = &made.value {
        record = record.payload(value);
    }
    // A full queue is emptied by polling; nothing is given up, and librdkafka itself ends a send that takes too long.
    while let Err((error, back)) = producer.send(record) {
        assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
        producer.poll(Duration::from_millis(10));
        record = back;
    }
    producer.poll(Duration::ZERO);
}

/// Writes incompressible records one after the other until one is refused, at most `bytes`; how many were acknowledged.
pub fn fill_until_refused(bootstrap: &str, topic: &str, bytes: usize) -> usize {
    const SIZE: usize = 512 << 10;
    let acknowledged = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut config = ClientConfig::new();
    // A refusal is an answer here: it must not be tried again for minutes.
    config.set("bootstrap.servers", bootstrap).set("message.timeout.ms", "5000").set("enable.idempotence", "false");
    let producer: BaseProducer<Counting> = config.create_with_context(Counting(acknowledged.clone())).unwrap();
    let mut rng = fastrand::Rng::with_seed(5);
    for sent in 0..bytes / SIZE {
        let mut value = vec![0; SIZE];
        rng.fill(&mut value);
        producer
            .send(BaseRecord::<[u8], [u8]>::to(topic).partition(0).payload(&value))
            .map_err(|(error, _)| error)
            .unwrap();
        producer.flush(ANSWER_MAX).unwrap();
        if acknowledged.load(std::sync::atomic::Ordering::SeqCst) <= sent {
            break;
        }
    }
    acknowledged.load(std::sync::atomic::Ordering::SeqCst)
}

/// Counts what was acknowledged.
struct Counting(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl rdkafka::ClientContext for Counting {}

impl rdkafka::producer::ProducerContext for Counting {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
}
