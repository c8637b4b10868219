//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use causeway_wire::messages::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::Case;
use crate::peer::Peer;

fn list(p: &mut Peer, version: i16, topic: &str, partition: i32, timestamp: i64) {
    list_as(p, version, topic, ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() }, 0);
}

fn list_as(p: &mut Peer, version: i16, topic: &str, partition: ListOffsetsPartition, isolation: i8) {
    let (name, start) = (topic.to_owned(), [-2, -4].contains(&partition.timestamp));
    let topic = ListOffsetsTopic { name: name.clone(), partitions: vec![partition], ..Default::default() };
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: isolation,
        topics: vec![topic],
        timeout_ms: 1_000,
        ..Default::default()
    };
    let Some(answer) = p.call(version, &request) else { return };
    for found in answer.topics.iter().flat_map(|t| &t.partitions) {
        p.log(format_args!(
            "{}: offset {}, epoch {}, timed {}",
            found.partition_index,
            if start { found.offset } else { p.since(&name, found.partition_index, found.offset) },
            found.leader_epoch,
            found.timestamp >= 0
        ));
    }
}

fn epoch(p: &mut Peer, topic_name: &str, partition: i32, current: i32, asked: i32) {
    let partition = OffsetForLeaderPartition {
        partition,
        current_leader_epoch: current,
        leader_epoch: asked,
        ..Default::default()
    };
    let topic = OffsetForLeaderTopic { topic: topic_name.into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    let Some(answer) = p.call(4, &request) else { return };
    for end in answer.topics.iter().flat_map(|t| &t.partitions) {
        let at = p.since(topic_name, end.partition, end.end_offset);
        p.log(format_args!("{}: epoch {}, end {at}", end.partition, end.leader_epoch));
    }
}

fn delete(p: &mut Peer, topic: &str, partition: i32, offset: i64) {
    let partition = DeleteRecordsPartition { partition_index: partition, offset, ..Default::default() };
    let topic = DeleteRecordsTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 5_000, ..Default::default() };
    let Some(answer) = p.call(2, &request) else { return };
    for done in answer.topics.iter().flat_map(|t| &t.partitions) {
        p.log(format_args!("{}: low {}", done.partition_index, done.low_watermark));
    }
}

pub const CASES: &[Case] = &[
    ("list offsets: an unknown topic", |p| list(p, 6, "nowhere", 0, -1)),
    ("list offsets: an unknown partition", |p| list(p, 6, "plain", 9, -1)),
    ("list offsets: a negative partition", |p| list(p, 6, "plain", -1, -1)),
    ("list offsets: the end", |p| list(p, 6, "plain", 0, -1)),
    ("list offsets: the start", |p| list(p, 6, "plain", 0, -2)),
    ("list offsets: the largest time", |p| list(p, 7, "small", 0, -3)),
    ("list offsets: the largest time in an old version", |p| list(p, 6, "small", 0, -3)),
    ("list offsets: the largest time of an empty log", |p| list(p, 7, "two-in-sync", 0, -3)),
    ("list offsets: the local start", |p| list(p, 8, "plain", 0, -4)),
    ("list offsets: the local start in an old version", |p| list(p, 7, "plain", 0, -4)),
    ("list offsets: the last in tiered storage", |p| list(p, 9, "plain", 0, -5)),
    ("list offsets: the earliest to be tiered", |p| list(p, 11, "plain", 0, -6)),
    ("list offsets: a constant nobody knows", |p| list(p, 11, "plain", 0, -17)),
    ("list offsets: a time before all", |p| list(p, 6, "plain", 0, 0)),
    ("list offsets: a time after all", |p| list(p, 6, "plain", 0, 99_999_999_999_999)),
    ("list offsets: a newer leader epoch", |p| {
        let asked = ListOffsetsPartition { timestamp: -1, current_leader_epoch: 5, ..Default::default() };
        list_as(p, 6, "plain", asked, 0);
    }),
    ("list offsets: the leader epoch", |p| {
        let asked = ListOffsetsPartition { timestamp: -1, current_leader_epoch: 0, ..Default::default() };
        list_as(p, 6, "plain", asked, 0);
    }),
    ("list offsets: committed ones alone", |p| {
        list_as(p, 6, "plain", ListOffsetsPartition { timestamp: -1, ..Default::default() }, 1);
    }),
    ("list offsets: an isolation level nobody knows", |p| {
        list_as(p, 6, "plain", ListOffsetsPartition { timestamp: -1, ..Default::default() }, 9);
    }),
    ("list offsets: version 1", |p| list(p, 1, "plain", 0, -1)),
    ("list offsets: a partition twice", |p| {
        let asked = |t| ListOffsetsPartition { timestamp: t, ..Default::default() };
        let topic =
            ListOffsetsTopic { name: "plain".into(), partitions: vec![asked(-1), asked(-2)], ..Default::default() };
        p.call(6, &ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() });
    }),
    ("list offsets: no topics", |p| {
        p.call(6, &ListOffsetsRequest { replica_id: -1, ..Default::default() });
    }),
    ("leader epoch: the current one", |p| epoch(p, "plain", 0, -1, 0)),
    ("leader epoch: one to come", |p| epoch(p, "plain", 0, -1, 50)),
    ("leader epoch: none", |p| epoch(p, "plain", 0, -1, -1)),
    ("leader epoch: an unknown topic", |p| epoch(p, "nowhere", 0, -1, 0)),
    ("leader epoch: an unknown partition", |p| epoch(p, "plain", 9, -1, 0)),
    ("leader epoch: asked with a newer one", |p| epoch(p, "plain", 0, 50, 0)),
    ("leader epoch: of an empty log", |p| epoch(p, "two-in-sync", 0, -1, 0)),
    ("delete records: an unknown topic", |p| delete(p, "nowhere", 0, 0)),
    ("delete records: an unknown partition", |p| delete(p, "plain", 9, 0)),
    ("delete records: beyond the end", |p| delete(p, "plain", 0, 1 << 40)),
    ("delete records: a negative offset", |p| delete(p, "plain", 0, -2)),
    ("delete records: of a compacted topic", |p| delete(p, "compacted", 0, 1)),
    ("delete records: some", |p| delete(p, "plain", 0, 2)),
    ("delete records: again", |p| delete(p, "plain", 0, 1)),
    ("delete records: all", |p| delete(p, "append-time", 0, -1)),
    ("delete records: of an internal topic", |p| delete(p, "__consumer_offsets", 0, 0)),
    ("delete records: no topics", |p| {
        p.call(2, &DeleteRecordsRequest { timeout_ms: 1_000, ..Default::default() });
    }),
];
