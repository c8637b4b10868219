//! Two brokers and a daemon in this process, and raw access to both logs.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use causeway::config;
use causeway::lanes::Daemon;
use causeway::lanes::view::{FlowView, LaneView};
use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig};
use causeway_wire::client::{Client, ClientConfig, Isolation};
use causeway_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use causeway_wire::records::{BatchBuilder, Batches, Codec, DECOMPRESSED_BYTES_MAX, RecordHeader};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// A record with its offset, as it lies in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lying {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Vec<RecordHeader>,
}

pub struct Side {
    pub broker: Option<Broker>,
    pub address: String,
    pub client: Client,
}

impl Side {
    pub async fn start(dir: &Path, overrides: &[&str]) -> Side {
        let mut properties = Properties::default();
        properties.set_override("listeners=PLAINTEXT://127.0.0.1:0").unwrap();
        properties.set_override(&format!("log.dirs={}", dir.display())).unwrap();
        properties.set_override("auto.create.topics.enable=false").unwrap();
        for text in overrides {
            properties.set_override(text).unwrap();
        }
        let broker = Broker::start(BrokerConfig::from_properties(&properties).unwrap()).await.unwrap();
        let address = broker.local_addr().to_string();
        let client = Client::connect(ClientConfig::new([address.clone()])).await.unwrap();
        Side { broker: Some(broker), address, client }
    }

    pub async fn create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) })
            .collect();
        let topic = CreatableTopic {
            name: topic.into(),
            num_partitions: partitions,
            replication_factor: -1,
            configs,
            ..Default::default()
        };
        let answer =
            self.client.controller(CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await.unwrap();
        assert_eq!(answer.topics[0].error_code, 0, "{answer:?}");
        // a topic made anew has another ID than the one the client remembers
        self.client.metadata(Some(&[&answer.topics[0].name])).await.unwrap();
    }

    pub async fn produce(&self, topic: &str, partition: i32, batch: Bytes) -> i64 {
        self.client.produce_batch(topic, partition, batch).await.unwrap().base_offset
    }

    /// `count` small records whose values are the numbers from `first` on.
    pub async fn fill(&self, topic: &str, partition: i32, first: usize, count: usize) {
        for chunk in (first..first + count).collect::<Vec<_>>().chunks(100) {
            let mut batch = BatchBuilder::new(Codec::Lz4);
            for number in chunk {
                let (key, value) = (format!("k{number}"), format!("{number}"));
                batch.push(1_700_000_000_000, Some(key.as_bytes()), Some(value.as_bytes()), &[]).unwrap();
            }
            self.produce(topic, partition, batch.build().unwrap()).await;
        }
    }

    pub async fn end(&self, topic: &str, partition: i32) -> i64 {
        self.client.list_offset(topic, partition, -1).await.map_or(0, |listed| listed.offset)
    }

    pub async fn read(&self, topic: &str, partition: i32) -> Vec<Lying> {
        let end = self.end(topic, partition).await;
        let mut next = self.client.list_offset(topic, partition, -2).await.unwrap().offset;
        let mut lying = Vec::new();
        while next < end {
            let fetched =
                self.client.fetch_batches(topic, partition, next, 1 << 20, Isolation::ReadCommitted).await.unwrap();
            for batch in Batches::new(fetched.batches) {
                let batch = batch.unwrap();
                // markers are not for readers
                let records = if batch.header.attributes.is_control() {
                    Vec::new()
                } else {
                    batch.records(DECOMPRESSED_BYTES_MAX).unwrap()
                };
                for record in records {
                    let offset = batch.header.offset_at(record.offset_delta);
                    if offset >= next {
                        let timestamp = batch.header.timestamp_at(record.timestamp_delta);
                        let (key, value, headers) = (record.key, record.value, record.headers);
                        lying.push(Lying { offset, timestamp, key, value, headers });
                    }
                }
                next = next.max(batch.header.next_offset());
            }
        }
        lying
    }

    /// The numbers that [`Side::fill`] wrote, as they lie here.
    pub async fn numbers(&self, topic: &str, partition: i32) -> Vec<usize> {
        let value = |lying: Lying| std::str::from_utf8(&lying.value.unwrap()).unwrap().parse().unwrap();
        self.read(topic, partition).await.into_iter().map(value).collect()
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub east: Side,
    pub west: Side,
}

impl World {
    pub async fn start() -> World {
        World::with(&[], &[]).await
    }

    pub async fn with(east: &[&str], west: &[&str]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let east = Side::start(&dir.path().join("east"), east).await;
        let west = Side::start(&dir.path().join("west"), west).await;
        World { dir, east, west }
    }

    /// A daemon with the flow `f` from east to west; `more` is TOML for the flow.
    pub fn daemon(&self, more: &str) -> Daemon {
        let (east, west, store) = (&self.east.address, &self.west.address, self.dir.path().join("store"));
        self.daemon_of(&format!(
            "[clusters.east]\nbootstrap = \"{east}\"\n[clusters.west]\nbootstrap = \"{west}\"\n\
             [store]\ndir = \"{}\"\n\
             [[flows]]\nname = \"f\"\nfrom = \"east\"\nto = \"west\"\ntopics = {{ include = [\"*\"] }}\n\
             refresh = {{ topics = \"200ms\" }}\n{more}\n",
            store.display()
        ))
    }

    pub fn daemon_of(&self, text: &str) -> Daemon {
        let file = self.dir.path().join("causeway.toml");
        std::fs::write(&file, text).unwrap();
        let loaded = config::load_from(&config::Sources { file, ..Default::default() }).unwrap();
        Daemon::start(loaded.config)
    }
}

pub fn flow(daemon: &Daemon) -> FlowView {
    daemon.flow("f").unwrap().view()
}

pub fn lane(daemon: &Daemon, topic: &str, partition: i32) -> Option<LaneView> {
    let ours = |view: &LaneView| view.lane.topic().as_str() == topic && view.lane.partition.0 == partition;
    flow(daemon).lanes.into_iter().find(ours)
}

/// Waits until `ask` answers.
pub async fn wait_for<T>(what: &str, daemon: &Daemon, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what} within {PATIENCE:?}; status: {:#?}", daemon.status());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the lane is durable up to `position`.
pub async fn wait_position(daemon: &Daemon, topic: &str, partition: i32, position: i64) {
    let at = async || lane(daemon, topic, partition).filter(|l| l.position.is_some_and(|p| p.get() >= position));
    wait_for(&format!("{topic}-{partition} at {position}"), daemon, at).await;
}
