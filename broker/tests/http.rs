//! Health and metrics over HTTP, as a probe and Prometheus see them.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;

use causeway_broker::Broker;
use causeway_wire::messages::api_versions::ApiVersionsRequest;
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use causeway_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use support::{Raw, batch, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Status line and body of a GET.
async fn get(broker: &Broker, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(broker.http_addr().unwrap()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find(|l| l.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no series {series} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn fetch_of_t() -> FetchRequest {
    let partitions = vec![FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() }];
    let topics = vec![FetchTopic { topic: "t".into(), partitions, ..Default::default() }];
    FetchRequest { max_bytes: 1 << 20, topics, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_over_http_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    assert_eq!(broker.http_addr(), None);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_clients_did_under_the_names_that_operators_know() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("causeway.http.listen", "127.0.0.1:0"), ("offsets.topic.num.partitions", "1")];
    let broker = start(dir.path(), &settings).await;
    assert_eq!(get(&broker, "/livez").await, ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    assert_eq!(get(&broker, "/readyz").await, ("HTTP/1.1 200 OK".into(), "ok\n".into()));
    assert!(get(&broker, "/nothing").await.0.contains("404"));

    let mut raw = Raw::connect(&broker).await;
    assert_eq!(raw.create("t", 2, &[]).await, 0);
    let sent = batch(&["a", "b", "c"]);
    assert_eq!(raw.produce("t", sent.clone()).await.error_code, 0);
    raw.call(11, &fetch_of_t()).await;
    let commit = OffsetCommitRequest {
        group_id: "g\"1".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![OffsetCommitRequestPartition { committed_offset: 1, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while raw.call(8, &commit).await.topics[0].partitions[0].error_code != 0 {
        assert!(std::time::Instant::now() < until, "the coordinator is there in time");
    }
    // Its answer is written only after those before it were counted.
    raw.call(2, &ApiVersionsRequest::default()).await;

    let (status, page) = get(&broker, "/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let size = sent.len() as f64;
    for (series, expected) in [
        ("kafka_server_brokertopicmetrics_messagesin_total{topic=\"t\"}", 3.0),
        ("kafka_server_brokertopicmetrics_bytesin_total{topic=\"t\"}", size),
        ("kafka_server_brokertopicmetrics_bytesout_total{topic=\"t\"}", size),
        ("kafka_log_log_logendoffset{topic=\"t\",partition=\"0\"}", 3.0),
        ("kafka_log_log_size{topic=\"t\",partition=\"1\"}", 0.0),
        ("kafka_log_log_numlogsegments{topic=\"t\",partition=\"0\"}", 1.0),
        ("kafka_log_logcleaner_deadthreadcount", 0.0),
        ("kafka_log_logmanager_offlinelogdirectorycount", 0.0),
        ("kafka_network_requestmetrics_requests_total{request=\"Produce\"}", 1.0),
        ("kafka_network_requestmetrics_totaltimems_count{request=\"Fetch\"}", 1.0),
        ("kafka_network_requestmetrics_totaltimems_bucket{request=\"Fetch\",le=\"+Inf\"}", 1.0),
        ("kafka_server_replicamanager_underreplicatedpartitions", 0.0),
        ("kafka_controller_kafkacontroller_offlinepartitionscount", 0.0),
        ("kafka_controller_kafkacontroller_activecontrollercount", 1.0),
        ("kafka_server_socket_server_metrics_connection_count", 1.0),
        ("kafka_consumergroup_current_offset{consumergroup=\"g\\\"1\",topic=\"t\",partition=\"0\"}", 1.0),
        ("kafka_consumergroup_lag{consumergroup=\"g\\\"1\",topic=\"t\",partition=\"0\"}", 2.0),
    ] {
        assert_eq!(value(&page, series), expected, "{series}");
    }
    for of_dir in ["logmanager_logdirectoryoffline", "logcleanermanager_uncleanable_partitions_count"] {
        let series = format!("kafka_log_{of_dir}{{logdirectory=\"{}\"}}", dir.path().display());
        assert_eq!(value(&page, &series), 0.0, "{series}");
    }
    let total = value(&page, "kafka_server_brokertopicmetrics_messagesin_total");
    let delete = causeway_wire::messages::delete_topics::DeleteTopicsRequest {
        topic_names: vec!["t".into()],
        ..Default::default()
    };
    assert_eq!(raw.call(5, &delete).await.responses[0].error_code, 0);
    let (_, page) = get(&broker, "/metrics").await;
    assert_eq!(value(&page, "kafka_server_brokertopicmetrics_messagesin_total"), total, "totals never go back");
    broker.shutdown().await;
}
