//! A broker in this process and a bare connection to it, on which the test chooses every version.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use causeway_broker::properties::Properties;
use causeway_broker::{Broker, BrokerConfig};
use causeway_wire::header::ResponseHeader;
use causeway_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use causeway_wire::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use causeway_wire::records::{BatchBuilder, Codec};
use causeway_wire::{Message, Request, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// No answer takes longer in a test.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn start(dir: &std::path::Path, settings: &[(&str, &str)]) -> Broker {
    let mut properties = Properties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
    properties.set("log.dirs", dir.display().to_string());
    properties.set("group.initial.rebalance.delay.ms", "0");
    for (key, value) in settings {
        properties.set(*key, *value);
    }
    Broker::start(BrokerConfig::from_properties(&properties).unwrap()).await.unwrap()
}

pub struct Raw {
    pub stream: TcpStream,
    pub client_id: &'static str,
    next: i32,
}

impl Raw {
    pub async fn connect(broker: &Broker) -> Self {
        Self { stream: TcpStream::connect(broker.local_addr()).await.unwrap(), client_id: "test", next: 0 }
    }

    /// Sends without waiting; the answer has the returned number.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.try_send(version, request).await.unwrap()
    }

    /// Sends without waiting; none if the broker closed the connection already.
    pub async fn try_send<R: Request>(&mut self, version: i16, request: &R) -> Option<i32> {
        self.next += 1;
        let mut buf = BytesMut::new();
        frame::put_request(&mut buf, version, self.next, Some(self.client_id), request).unwrap();
        self.stream.write_all(&buf).await.ok()?;
        Some(self.next)
    }

    /// The next frame; none if the broker closed the connection.
    pub async fn frame(&mut self) -> Option<Bytes> {
        let read = frame::read_frame(&mut self.stream, 1 << 30);
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time").unwrap_or(None)
    }

    pub async fn receive<R: Request>(&mut self, version: i16, number: i32) -> R::Response {
        let mut bytes = self.frame().await.expect("an answer");
        let header = ResponseHeader::decode(R::response_header_version(version), &mut bytes).unwrap();
        assert_eq!(header.correlation_id, number, "answers come in the order of requests");
        let response = R::Response::decode(version, &mut bytes).unwrap();
        assert!(bytes.is_empty(), "nothing behind the answer");
        response
    }

    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let number = self.send(version, request).await;
        self.receive::<R>(version, number).await
    }

    pub async fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> i16 {
        let config = |(k, v): &(&str, &str)| CreatableTopicConfig {
            name: (*k).into(),
            value: Some((*v).into()),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: -1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let response = self.call(7, &CreateTopicsRequest { topics: vec![topic], ..Default::default() }).await;
        response.topics[0].error_code
    }

    /// Produces one batch to partition 0 with acks=all.
    pub async fn produce(&mut self, topic: &str, batch: Bytes) -> PartitionProduceResponse {
        let response = self.call(9, &produce_request(topic, -1, batch)).await;
        response.responses[0].partition_responses[0].clone()
    }
}

pub fn produce_request(topic: &str, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: 0, records: Some(batch), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic], ..Default::default() }
}

/// A batch with values of these sizes, each record keyed.
pub fn batch(values: &[&str]) -> Bytes {
    build(BatchBuilder::new(Codec::None), values)
}

pub fn build(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for (i, value) in values.iter().enumerate() {
        builder.push(now(), Some(format!("k{i}").as_bytes()), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}
