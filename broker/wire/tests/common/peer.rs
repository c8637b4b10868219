//! A scripted peer: reads frames, answers as a closure says.

#![allow(clippy::unwrap_used, reason = "test helper")]

use bytes::{Bytes, BytesMut};
use causeway_wire::client::ClientConfig;
use causeway_wire::frame::{put_response, read_frame};
use causeway_wire::header::RequestHeader;
use causeway_wire::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use causeway_wire::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use causeway_wire::{ApiKey, Message};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

pub enum Reply {
    Bytes(BytesMut),
    Close,
}

/// Header, body, and how many requests came before it on all connections.
pub type Script = dyn Fn(&RequestHeader, Bytes, usize) -> Option<Reply> + Send + Sync;

pub struct Peer {
    pub address: String,
    pub connections: Arc<AtomicUsize>,
    /// (API key, version) of every request, in order of arrival.
    pub seen: Arc<Mutex<Vec<(i16, i16)>>>,
}

impl Peer {
    /// A broker that greets properly and answers what `script` answers; what it does not, it ignores.
    pub async fn start(script: impl Fn(&RequestHeader, Bytes, usize) -> Option<Reply> + Send + Sync + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connections, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let script: Arc<Script> = Arc::new(script);
        let (counted, log) = (connections.clone(), seen.clone());
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                let (script, log) = (script.clone(), log.clone());
                tokio::spawn(async move {
                    while let Ok(Some(mut body)) = read_frame(&mut stream, 1 << 20).await {
                        let header = RequestHeader::decode(&mut body).unwrap();
                        let before = {
                            let mut log = log.lock().unwrap();
                            log.push((header.api_key, header.api_version));
                            log.len() - 1
                        };
                        match script(&header, body, before) {
                            Some(Reply::Bytes(bytes)) => stream.write_all(&bytes).await.unwrap(),
                            None => {}
                            Some(Reply::Close) => return,
                        }
                    }
                });
            }
        });
        Peer { address, connections, seen }
    }

    /// A peer of some other kind: says `words` to every connection, at once or once something came, then closes if `close`.
    pub async fn foreign(words: Vec<u8>, at_once: bool, close: bool) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                counted.fetch_add(1, Ordering::SeqCst);
                let words = words.clone();
                tokio::spawn(async move {
                    if !at_once {
                        let mut first = [0; 1];
                        let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut first).await;
                    }
                    let _ = stream.write_all(&words).await;
                    if !close {
                        tokio::time::sleep(Duration::from_secs(30)).await;
                    }
                });
            }
        });
        Peer { address, connections, seen: Arc::default() }
    }

    pub fn seen(&self, key: ApiKey) -> Vec<i16> {
        self.seen.lock().unwrap().iter().filter(|(k, _)| *k == i16::from(key)).map(|(_, v)| *v).collect()
    }

    pub fn config(&self) -> ClientConfig {
        ClientConfig {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(2),
            ..ClientConfig::new([self.address.clone()])
        }
    }
}

/// The answer as a frame.
pub fn answer<M: Message>(header: &RequestHeader, response: &M) -> Option<Reply> {
    let key = ApiKey::from_key(header.api_key).unwrap();
    let mut frame = BytesMut::new();
    let header_version = key.response_header_version(header.api_version);
    put_response(&mut frame, header_version, header.api_version, header.correlation_id, response).unwrap();
    Some(Reply::Bytes(frame))
}

/// Greetings of a broker that speaks all we speak: answers ApiVersions and Metadata.
pub fn greet(header: &RequestHeader, metadata: &MetadataResponse) -> Option<Reply> {
    match ApiKey::from_key(header.api_key) {
        Some(ApiKey::ApiVersions) => answer(header, &all_versions()),
        Some(ApiKey::Metadata) => answer(header, metadata),
        _ => None,
    }
}

pub fn all_versions() -> ApiVersionsResponse {
    let apis = ApiKey::ALL.iter().map(|&key| ApiVersion {
        api_key: key.into(),
        min_version: *key.versions().start(),
        max_version: *key.versions().end(),
    });
    ApiVersionsResponse { api_keys: apis.collect(), ..Default::default() }
}

/// A cluster of these nodes with topic `t`, partition 0, led by `leader`.
pub fn cluster(nodes: &[(i32, &str)], leader: i32) -> MetadataResponse {
    let brokers = nodes.iter().map(|(node_id, address)| {
        let (host, port) = address.rsplit_once(':').unwrap();
        MetadataResponseBroker { node_id: *node_id, host: host.to_owned(), port: port.parse().unwrap(), rack: None }
    });
    let partition = MetadataResponsePartition { leader_id: leader, ..Default::default() };
    let topic = MetadataResponseTopic { name: Some("t".to_owned()), partitions: vec![partition], ..Default::default() };
    MetadataResponse {
        brokers: brokers.collect(),
        cluster_id: Some("cluster-a".to_owned()),
        controller_id: nodes.first().map_or(-1, |(id, _)| *id),
        topics: vec![topic],
        ..Default::default()
    }
}
