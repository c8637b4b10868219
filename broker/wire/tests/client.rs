//! The client against peers that are slow, foreign, hostile or just moving.

#![allow(clippy::unwrap_used, reason = "test helpers")]

#[path = "common/peer.rs"]
mod peer;

use bytes::Bytes;
use causeway_wire::client::{Client, ClientConfig, ClientError, Isolation, TIMESTAMP_LATEST};
use causeway_wire::messages::api_versions::ApiVersionsResponse;
use causeway_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use causeway_wire::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use causeway_wire::messages::metadata::MetadataResponse;
use causeway_wire::messages::produce::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use causeway_wire::{ApiKey, ErrorCode, Message};
use peer::{Peer, Reply, all_versions, answer, cluster, greet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

async fn refused(config: ClientConfig) -> ClientError {
    Client::connect(config).await.expect_err("this peer must be refused")
}

#[tokio::test]
async fn other_protocols_are_named() {
    for (words, at_once, name) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), false, "HTTP"),
        (vec![0x15, 3, 1, 0, 2, 2, 70], false, "TLS"),
        (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), true, "SSH"),
    ] {
        let peer = Peer::foreign(words, at_once, true).await;
        let error = refused(peer.config()).await;
        assert!(matches!(&error, ClientError::NotKafka { address, .. } if *address == peer.address), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
        assert!(!error.is_retriable());
    }
}

#[tokio::test]
async fn a_peer_that_hangs_up_or_talks_nonsense_is_not_kafka() {
    for words in
        [vec![], vec![0, 0], vec![0, 0, 0, 3, 1, 2, 3], vec![0, 0, 0, 8, 9, 9, 9, 9, 0, 0, 0, 0], vec![0xff; 64]]
    {
        let peer = Peer::foreign(words.clone(), false, true).await;
        let error = refused(peer.config()).await;
        assert!(matches!(error, ClientError::NotKafka { .. }), "{words:?}: {error:?}");
    }
}

#[tokio::test]
async fn noise_from_the_peer_never_panics_or_hangs() {
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..100 {
        let mut noise = vec![0, 0, 0, rng.u8(..), 0, 0, 0, 0]; // a plausible length and the right correlation ID
        noise.extend((0..rng.usize(0..300)).map(|_| rng.u8(..)));
        let peer = Peer::foreign(noise, false, true).await;
        let started = Instant::now();
        refused(peer.config()).await;
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_silent_peer_times_out_by_name() {
    let peer = Peer::foreign(Vec::new(), false, false).await;
    let config = ClientConfig { connect_timeout: Duration::from_millis(100), ..peer.config() };
    let error = refused(config).await;
    assert!(matches!(error, ClientError::Timeout { api: ApiKey::ApiVersions, .. }), "{error:?}");
}

#[tokio::test]
async fn many_who_want_a_dead_peer_wait_once() {
    let alive = Arc::new(AtomicBool::new(true));
    let now = alive.clone();
    let peer = Peer::start(move |header, _, _| {
        if header.api_key == i16::from(ApiKey::ListGroups) {
            now.store(false, Ordering::SeqCst);
            return Some(Reply::Close);
        }
        if now.load(Ordering::SeqCst) { greet(header, &cluster(&[], -1)) } else { None }
    })
    .await;
    let config = ClientConfig { connect_timeout: Duration::from_millis(300), ..peer.config() };
    let client = Client::connect(config).await.unwrap();
    let started = Instant::now();
    let asks: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.any(ListGroupsRequest::default()).await.unwrap_err() })
        })
        .collect();
    for ask in asks {
        ask.await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_unreachable_address_is_named_with_its_cause() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = refused(ClientConfig::new([free.clone()])).await.to_string();
    assert!(error.contains(&free) && error.contains("refused"), "{error}");
    assert!(matches!(refused(ClientConfig::new(["nonsense"])).await, ClientError::Config(_)));
    assert!(matches!(refused(ClientConfig::default()).await, ClientError::Config(_)));
}

#[tokio::test]
async fn another_cluster_than_the_pinned_one_is_refused() {
    let peer = Peer::start(|header, _, _| greet(header, &cluster(&[], -1))).await;
    let config = ClientConfig { expected_cluster_id: Some("cluster-b".to_owned()), ..peer.config() };
    let error = refused(config).await;
    let expected = ClientError::WrongCluster {
        address: peer.address.clone(),
        expected: "cluster-b".to_owned(),
        found: "cluster-a".to_owned(),
    };
    assert_eq!(error, expected);
    assert_eq!(Client::connect(peer.config()).await.unwrap().cluster_id(), "cluster-a");
}

#[tokio::test]
async fn an_address_that_changes_its_cluster_is_refused_on_reconnect() {
    let moved = Arc::new(AtomicBool::new(false));
    let now = moved.clone();
    let peer = Peer::start(move |header, _, _| {
        let mut metadata = cluster(&[], -1);
        if now.load(Ordering::SeqCst) {
            metadata.cluster_id = Some("cluster-b".to_owned());
        }
        if header.api_key == i16::from(ApiKey::ListGroups) {
            return Some(Reply::Close);
        }
        greet(header, &metadata)
    })
    .await;
    let client = Client::connect(peer.config()).await.unwrap();
    moved.store(true, Ordering::SeqCst);
    let error = client.any(ListGroupsRequest::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::WrongCluster { .. }), "{error:?}");
}

#[tokio::test]
async fn an_older_broker_is_spoken_to_in_its_versions() {
    let peer = Peer::start(|header, _, _| match ApiKey::from_key(header.api_key) {
        Some(ApiKey::ApiVersions) if header.api_version > 2 => {
            // What a broker of before KIP-511 does: version 0 whatever was asked.
            let mut refusal = all_versions();
            refusal.error_code = ErrorCode::UNSUPPORTED_VERSION.0;
            refusal.api_keys.iter_mut().for_each(|api| api.max_version = api.max_version.min(2));
            let plain = causeway_wire::header::RequestHeader { api_version: 0, ..header.clone() };
            answer(&plain, &refusal)
        }
        Some(ApiKey::ApiVersions) => {
            let mut apis = all_versions();
            apis.api_keys.iter_mut().for_each(|api| api.max_version = api.max_version.min(5));
            answer(header, &apis)
        }
        _ => greet(header, &cluster(&[], -1)),
    })
    .await;
    let client = Client::connect(peer.config()).await.unwrap();
    assert_eq!(peer.seen(ApiKey::ApiVersions), [4, 2]);
    assert!(peer.seen(ApiKey::Metadata).iter().all(|&version| version == 5));
    let error = client.any(causeway_wire::messages::describe_cluster::DescribeClusterRequest::default()).await;
    assert!(matches!(error, Err(ClientError::Timeout { .. })), "offered, but this peer never answers it: {error:?}");
}

#[tokio::test]
async fn an_api_that_the_peer_lacks_is_an_error_not_a_request() {
    let peer = Peer::start(|header, _, _| match ApiKey::from_key(header.api_key) {
        Some(ApiKey::ApiVersions) => {
            let mut apis = all_versions();
            apis.api_keys.retain(|api| api.api_key == i16::from(ApiKey::Metadata));
            answer(header, &apis)
        }
        _ => greet(header, &cluster(&[], -1)),
    })
    .await;
    let client = Client::connect(peer.config()).await.unwrap();
    let error = client.any(ListGroupsRequest::default()).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unsupported { api: ApiKey::ListGroups, .. }), "{error:?}");
    assert!(peer.seen(ApiKey::ListGroups).is_empty());
}

#[tokio::test]
async fn requests_share_one_connection_and_answers_find_their_askers() {
    const REQUESTS: usize = 20;
    // Holds all answers back until every request is there, then gives them in order: only a pipelining client gets any.
    let held = Arc::new(Mutex::new(Vec::new()));
    let peer = Peer::start(move |header, body, _| {
        if header.api_key != i16::from(ApiKey::ListGroups) {
            return greet(header, &cluster(&[], -1));
        }
        let request = ListGroupsRequest::decode(header.api_version, &mut body.clone()).unwrap();
        let group = causeway_wire::messages::list_groups::ListedGroup {
            group_id: request.states_filter[0].clone(),
            ..Default::default()
        };
        let mut held = held.lock().unwrap();
        if let Some(Reply::Bytes(frame)) =
            answer(header, &ListGroupsResponse { groups: vec![group], ..Default::default() })
        {
            held.push(frame);
        }
        if held.len() < REQUESTS {
            return None;
        }
        Some(Reply::Bytes(held.drain(..).flatten().collect()))
    })
    .await;
    let client = Client::connect(peer.config()).await.unwrap();
    let asks = (0..REQUESTS).map(|i| {
        let client = client.clone();
        tokio::spawn(async move {
            let request = ListGroupsRequest { states_filter: vec![i.to_string()], ..Default::default() };
            (i, client.any(request).await.unwrap())
        })
    });
    for ask in asks.collect::<Vec<_>>() {
        let (i, answer) = ask.await.unwrap();
        assert_eq!(answer.groups[0].group_id, i.to_string());
    }
    assert_eq!(peer.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_late_answer_ends_its_connection_and_the_next_request_gets_its_own_answer() {
    let count = AtomicUsize::new(0);
    let peer = Peer::start(move |header, _, _| {
        if header.api_key != i16::from(ApiKey::ListGroups) {
            return greet(header, &cluster(&[], -1));
        }
        if count.fetch_add(1, Ordering::SeqCst) == 0 { None } else { answer(header, &ListGroupsResponse::default()) }
    })
    .await;
    let config = ClientConfig { request_timeout: Duration::from_millis(200), ..peer.config() };
    let client = Client::connect(config).await.unwrap();
    let late = client.any(ListGroupsRequest::default()).await.unwrap_err();
    assert!(matches!(late, ClientError::Timeout { api: ApiKey::ListGroups, .. }), "{late:?}");
    client.any(ListGroupsRequest::default()).await.unwrap();
    assert_eq!(peer.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_answer_with_a_foreign_correlation_id_reaches_nobody() {
    let peer = Peer::start(|header, _, _| {
        let mut header = header.clone();
        if header.api_key == i16::from(ApiKey::ListGroups) {
            header.correlation_id += 1;
            return answer(&header, &ListGroupsResponse::default());
        }
        greet(&header, &cluster(&[], -1))
    })
    .await;
    let client = Client::connect(peer.config()).await.unwrap();
    let error = client.any(ListGroupsRequest::default()).await.unwrap_err();
    assert!(matches!(&error, ClientError::NotKafka { detail, .. } if detail.contains("correlation")), "{error:?}");
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    let peer = Peer::start(|header, _, _| {
        if header.api_key == i16::from(ApiKey::ListGroups) {
            return Some(Reply::Bytes((20_000_000u32).to_be_bytes().as_slice().into()));
        }
        greet(header, &cluster(&[], -1))
    })
    .await;
    let client = Client::connect(ClientConfig { max_response_bytes: 1 << 20, ..peer.config() }).await.unwrap();
    let error = client.any(ListGroupsRequest::default()).await.unwrap_err();
    assert_eq!(error, ClientError::TooLarge { address: peer.address.clone(), size: 20_000_000, limit: 1 << 20 });
}

fn listed(code: ErrorCode, offset: i64) -> ListOffsetsResponse {
    let partition = ListOffsetsPartitionResponse { error_code: code.0, offset, ..Default::default() };
    let topic = ListOffsetsTopicResponse { name: "t".to_owned(), partitions: vec![partition] };
    ListOffsetsResponse { topics: vec![topic], ..Default::default() }
}

/// Two nodes; `t` is led by node 1 until node 1 says otherwise, then by node 2. Each answers by its script.
async fn moving_leader(
    old: impl Fn(&causeway_wire::header::RequestHeader) -> Option<Reply> + Send + Sync + 'static,
    new: impl Fn(&causeway_wire::header::RequestHeader) -> Option<Reply> + Send + Sync + 'static,
) -> (Peer, Peer) {
    let addresses: Arc<Mutex<Option<MetadataResponse>>> = Arc::default();
    let moved = Arc::new(AtomicBool::new(false));
    let (known, has_moved) = (addresses.clone(), moved.clone());
    let metadata = move || {
        let mut metadata = known.lock().unwrap().clone().unwrap();
        if has_moved.load(Ordering::SeqCst) {
            metadata.topics[0].partitions[0].leader_id = 2;
        }
        metadata
    };
    let (first, second) = (metadata.clone(), metadata);
    let one = Peer::start(move |header, _, _| {
        greet(header, &first()).or_else(|| {
            moved.store(true, Ordering::SeqCst);
            old(header)
        })
    })
    .await;
    let two = Peer::start(move |header, _, _| greet(header, &second()).or_else(|| new(header))).await;
    *addresses.lock().unwrap() = Some(cluster(&[(1, &one.address), (2, &two.address)], 1));
    (one, two)
}

#[tokio::test]
async fn a_request_follows_a_leader_that_moved() {
    let (one, two) = moving_leader(
        |header| answer(header, &listed(ErrorCode::NOT_LEADER_OR_FOLLOWER, -1)),
        |header| answer(header, &listed(ErrorCode::NONE, 42)),
    )
    .await;
    let client = Client::connect(one.config()).await.unwrap();
    assert_eq!(client.list_offset("t", 0, TIMESTAMP_LATEST).await.unwrap().offset, 42);
    assert_eq!(one.seen(ApiKey::ListOffsets).len(), 1);
    assert_eq!(client.list_offset("t", 0, TIMESTAMP_LATEST).await.unwrap().offset, 42);
    assert_eq!(
        (one.seen(ApiKey::ListOffsets).len(), two.seen(ApiKey::ListOffsets).len()),
        (1, 2),
        "the leader is remembered"
    );
}

fn produced(code: ErrorCode) -> ProduceResponse {
    let partition = PartitionProduceResponse { error_code: code.0, base_offset: 7, ..Default::default() };
    let topic =
        TopicProduceResponse { name: "t".to_owned(), partition_responses: vec![partition], ..Default::default() };
    ProduceResponse { responses: vec![topic], ..Default::default() }
}

#[tokio::test]
async fn a_refused_produce_follows_the_leader_a_lost_one_does_not() {
    let batch = || Bytes::from_static(b"opaque to the client");
    let (one, _two) = moving_leader(
        |header| answer(header, &produced(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        |header| answer(header, &produced(ErrorCode::NONE)),
    )
    .await;
    let client = Client::connect(one.config()).await.unwrap();
    assert_eq!(client.produce_batch("t", 0, batch()).await.unwrap().base_offset, 7);

    // The connection ends after the request was read: the batch may be in the log, so sending it again could double it.
    let (one, two) = moving_leader(|_| Some(Reply::Close), |header| answer(header, &produced(ErrorCode::NONE))).await;
    let client = Client::connect(one.config()).await.unwrap();
    let error = client.produce_batch("t", 0, batch()).await.unwrap_err();
    assert!(matches!(error, ClientError::Disconnected { .. }), "{error:?}");
    assert!(error.is_retriable());
    assert!(two.seen(ApiKey::Produce).is_empty());
}

#[tokio::test]
async fn a_lost_read_is_sent_again() {
    let (one, _two) =
        moving_leader(|_| Some(Reply::Close), |header| answer(header, &listed(ErrorCode::NONE, 42))).await;
    let client = Client::connect(one.config()).await.unwrap();
    assert_eq!(client.list_offset("t", 0, TIMESTAMP_LATEST).await.unwrap().offset, 42);
}

#[tokio::test]
async fn a_node_that_never_leads_ends_the_search_with_its_own_words() {
    let peer_address = Arc::new(Mutex::new(String::new()));
    let known = peer_address.clone();
    let peer = Peer::start(move |header, _, _| {
        greet(header, &cluster(&[(1, &known.lock().unwrap())], 1))
            .or_else(|| answer(header, &listed(ErrorCode::NOT_LEADER_OR_FOLLOWER, -1)))
    })
    .await;
    peer_address.lock().unwrap().clone_from(&peer.address);
    let client = Client::connect(peer.config()).await.unwrap();
    let error = client.list_offset("t", 0, TIMESTAMP_LATEST).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert!(error.to_string().contains("t-0"), "{error}");
    assert!((2..20).contains(&peer.seen(ApiKey::ListOffsets).len()), "bounded, but more than once");
    let missing = client.fetch_batches("absent", 3, 0, 1, Isolation::ReadCommitted).await.unwrap_err();
    assert_eq!(missing.code(), Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}

#[tokio::test]
async fn a_greeting_refused_by_code_is_a_broker_error() {
    let peer = Peer::start(|header, _, _| {
        let refusal =
            ApiVersionsResponse { error_code: ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0, ..Default::default() };
        answer(header, &refusal)
    })
    .await;
    let error = refused(peer.config()).await;
    assert_eq!(error.code(), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED), "{error:?}");
}
