//! Fetch: places, sessions, epochs, limits.

use causeway_wire::Uuid;
use causeway_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use causeway_wire::records::BatchHeader;

use crate::Case;
use crate::peer::{Peer, batch};
use causeway_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

fn partition(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition { partition, fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() }
}

fn request(topic: &str, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic { topic: topic.into(), partitions, ..Default::default() };
    FetchRequest { max_wait_ms: 10, min_bytes: 0, max_bytes: 1 << 20, topics: vec![topic], ..Default::default() }
}

/// Fetches, and notes codes, bounds, and where the first batch begins.
fn get(p: &mut Peer, version: i16, request: &FetchRequest) -> i32 {
    let Some(answer) = p.call(version, request) else { return 0 };
    let topic = request.topics.first().map(|t| t.topic.clone()).filter(|t| !t.is_empty()).unwrap_or("plain".into());
    let mut parts: Vec<_> = answer.responses.iter().flat_map(|t| &t.partitions).collect();
    parts.sort_by_key(|data| data.partition_index);
    for data in parts {
        let since = |offset| p.since(&topic, data.partition_index, offset);
        let records = data.records.clone().unwrap_or_default();
        let first = BatchHeader::parse(&records).ok().map(|h| (h.base_offset, h.last_offset_delta));
        let first = first.map(|(base, delta)| (since(base), delta));
        let line = format!(
            "{}: high {}, stable {}, start {}, first {first:?}, aborted {:?}, diverging {:?}",
            data.partition_index,
            since(data.high_watermark),
            since(data.last_stable_offset),
            data.log_start_offset,
            data.aborted_transactions.clone().unwrap_or_default(),
            data.diverging_epoch,
        );
        p.log(line);
    }
    p.log(format_args!("session {}, {} topics", answer.session_id != 0, answer.responses.len()));
    answer.session_id
}

fn at(p: &mut Peer, topic: &str, number: i32, offset: i64) {
    get(p, 11, &request(topic, vec![partition(number, offset)]));
}

/// A partition with one batch of five records at its end; where it begins.
fn five(p: &mut Peer) -> i64 {
    let end = p.offset("plain", 1, -1).unwrap();
    let data =
        PartitionProduceData { index: 1, records: Some(batch(&["a", "b", "c", "d", "e"])), ..Default::default() };
    let topic = TopicProduceData { name: "plain".into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest { acks: -1, timeout_ms: 5_000, topic_data: vec![topic], ..Default::default() };
    assert_eq!(p.quiet(9, &request).unwrap().responses[0].partition_responses[0].error_code, 0);
    end
}

pub const CASES: &[Case] = &[
    ("fetch: an unknown topic", |p| at(p, "nowhere", 0, 0)),
    ("fetch: an empty topic name", |p| at(p, "", 0, 0)),
    ("fetch: an illegal topic name", |p| at(p, "no spaces", 0, 0)),
    ("fetch: an unknown partition", |p| at(p, "plain", 9, 0)),
    ("fetch: a negative partition", |p| at(p, "plain", -1, 0)),
    ("fetch: the start", |p| at(p, "plain", 0, 0)),
    ("fetch: the middle of a batch gives all of it", |p| {
        let start = five(p);
        at(p, "plain", 1, start + 3);
    }),
    ("fetch: the end", |p| {
        let start = five(p);
        at(p, "plain", 1, start + 5);
    }),
    ("fetch: beyond the end", |p| at(p, "plain", 0, 1 << 40)),
    ("fetch: the largest offset", |p| at(p, "plain", 0, i64::MAX)),
    ("fetch: a negative offset", |p| at(p, "plain", 0, -5)),
    ("fetch: no topics", |p| {
        let mut asked = request("plain", Vec::new());
        asked.topics.clear();
        get(p, 11, &asked);
    }),
    ("fetch: a topic without partitions", |p| {
        get(p, 11, &request("plain", Vec::new()));
    }),
    ("fetch: a partition twice", |p| {
        get(p, 11, &request("plain", vec![partition(0, 0), partition(0, 1)]));
    }),
    ("fetch: good and bad together", |p| {
        get(p, 11, &request("plain", vec![partition(0, 0), partition(8, 0), partition(1, 1 << 50)]));
    }),
    ("fetch: an unknown topic id", |p| {
        let mut asked = request("", vec![partition(0, 0)]);
        asked.topics[0].topic_id = Uuid([9; 16]);
        get(p, 13, &asked);
    }),
    ("fetch: a zero topic id", |p| {
        get(p, 13, &request("", vec![partition(0, 0)]));
    }),
    ("fetch: by topic id", |p| {
        let mut asked = request("", vec![partition(0, 0)]);
        asked.topics[0].topic_id = p.topic_id("plain");
        get(p, 13, &asked);
    }),
    ("fetch: an isolation level nobody knows", |p| {
        get(p, 11, &FetchRequest { isolation_level: 7, ..request("plain", vec![partition(0, 0)]) });
    }),
    ("fetch: read committed", |p| {
        get(p, 11, &FetchRequest { isolation_level: 1, ..request("plain", vec![partition(0, 0)]) });
    }),
    ("fetch: a newer leader epoch", |p| {
        let newer = FetchPartition { current_leader_epoch: 99, ..partition(0, 0) };
        get(p, 11, &request("plain", vec![newer]));
    }),
    ("fetch: the leader epoch", |p| {
        let current = FetchPartition { current_leader_epoch: 0, ..partition(0, 0) };
        get(p, 11, &request("plain", vec![current]));
    }),
    ("fetch: a last fetched epoch that was never", |p| {
        let lost = FetchPartition { current_leader_epoch: 0, last_fetched_epoch: 5, ..partition(0, 1) };
        get(p, 12, &request("plain", vec![lost]));
    }),
    ("fetch: not even a byte", |p| {
        let nothing = FetchPartition { partition_max_bytes: 0, ..partition(0, 0) };
        get(p, 11, &request("plain", vec![nothing]));
    }),
    ("fetch: not even a byte in all", |p| {
        get(p, 11, &FetchRequest { max_bytes: 0, ..request("plain", vec![partition(0, 0)]) });
    }),
    ("fetch: negative limits", |p| {
        let negative = FetchPartition { partition_max_bytes: -1, ..partition(0, 0) };
        get(p, 11, &FetchRequest { max_bytes: -1, min_bytes: -1, max_wait_ms: -1, ..request("plain", vec![negative]) });
    }),
    ("fetch: waits for what does not come", |p| {
        let end = p.offset("plain", 0, -1).unwrap();
        get(p, 11, &FetchRequest { min_bytes: 1, max_wait_ms: 50, ..request("plain", vec![partition(0, end)]) });
    }),
    ("fetch: a session nobody began", |p| {
        get(p, 11, &FetchRequest { session_id: 4242, session_epoch: 1, ..request("plain", vec![partition(0, 0)]) });
    }),
    ("fetch: a session goes on", |p| {
        let end = p.offset("plain", 0, -1).unwrap();
        let id = get(p, 11, &FetchRequest { session_epoch: 0, ..request("plain", vec![partition(0, end)]) });
        let empty =
            FetchRequest { session_id: id, session_epoch: 1, topics: Vec::new(), ..request("plain", Vec::new()) };
        get(p, 11, &empty);
    }),
    ("fetch: a session's wrong epoch", |p| {
        let id = get(p, 11, &FetchRequest { session_epoch: 0, ..request("plain", vec![partition(0, 0)]) });
        get(
            p,
            11,
            &FetchRequest { session_id: id, session_epoch: 9, topics: Vec::new(), ..request("plain", Vec::new()) },
        );
    }),
    ("fetch: a session forgets", |p| {
        let all = vec![partition(0, 0), partition(1, 0)];
        let id = get(p, 11, &FetchRequest { session_epoch: 0, ..request("plain", all) });
        let forgotten = ForgottenTopic { topic: "plain".into(), partitions: vec![0], ..Default::default() };
        let next =
            FetchRequest { session_id: id, session_epoch: 1, topics: Vec::new(), ..request("plain", Vec::new()) };
        get(p, 11, &FetchRequest { forgotten_topics_data: vec![forgotten], ..next });
    }),
    ("fetch: as a replica that does not exist", |p| {
        get(p, 11, &FetchRequest { replica_id: 77, ..request("plain", vec![partition(0, 0)]) });
    }),
    ("fetch: version 4", |p| {
        get(p, 4, &request("plain", vec![partition(0, 0)]));
    }),
];
