//! Transactions.

use causeway_wire::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use causeway_wire::messages::add_partitions_to_txn::{AddPartitionsToTxnRequest, AddPartitionsToTxnTopic};
use causeway_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use causeway_wire::messages::describe_transactions::DescribeTransactionsRequest;
use causeway_wire::messages::end_txn::EndTxnRequest;
use causeway_wire::messages::init_producer_id::InitProducerIdRequest;
use causeway_wire::messages::list_transactions::ListTransactionsRequest;
use causeway_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use causeway_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use causeway_wire::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest};
use causeway_wire::records::{BatchBuilder, Codec};
use causeway_wire::{ErrorCode, Message};

use crate::Case;
use crate::peer::{Peer, build};

/// A transactional producer.
#[derive(Clone, Copy)]
struct Producer {
    name: &'static str,
    id: i64,
    epoch: i16,
}

fn init(p: &mut Peer, name: &'static str) -> Producer {
    begin(p, name, 60_000, -1, -1).unwrap_or(Producer { name, id: 0, epoch: 0 })
}

fn begin(p: &mut Peer, name: &'static str, timeout: i32, id: i64, epoch: i16) -> Option<Producer> {
    let request = InitProducerIdRequest {
        transactional_id: Some(name.into()),
        transaction_timeout_ms: timeout,
        producer_id: id,
        producer_epoch: epoch,
        ..Default::default()
    };
    let answer = settled(p, 3, &request)?;
    p.log(format_args!("given {}, epoch {}", answer.producer_id >= 0, answer.producer_epoch));
    (answer.error_code == 0).then_some(Producer { name, id: answer.producer_id, epoch: answer.producer_epoch })
}

/// Asks until no earlier transaction is still being completed, then notes the answer.
fn settled<R: causeway_wire::Request>(p: &mut Peer, version: i16, request: &R) -> Option<R::Response> {
    for _ in 0..200 {
        let lines = p.transcript.len();
        let answer = p.call(version, request)?;
        let mut busy = false;
        answer.each_error(&mut |code| busy |= code == ErrorCode::CONCURRENT_TRANSACTIONS);
        if !busy {
            return Some(answer);
        }
        p.transcript.truncate(lines);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("a transaction does not end")
}

fn add(p: &mut Peer, by: Producer, topic: &str, partition: i32) {
    let topic = AddPartitionsToTxnTopic { name: topic.into(), partitions: vec![partition], ..Default::default() };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: by.name.into(),
        v3_and_below_producer_id: by.id,
        v3_and_below_producer_epoch: by.epoch,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    settled(p, 3, &request);
}

fn add_group(p: &mut Peer, by: Producer, group: &str) {
    let request = AddOffsetsToTxnRequest {
        transactional_id: by.name.into(),
        producer_id: by.id,
        producer_epoch: by.epoch,
        group_id: group.into(),
        ..Default::default()
    };
    settled(p, 3, &request);
}

fn commit_offset(p: &mut Peer, by: Producer, group: &str, member: &str, generation: i32) {
    let partition = TxnOffsetCommitRequestPartition { committed_offset: 4, ..Default::default() };
    let topic = TxnOffsetCommitRequestTopic { name: "plain".into(), partitions: vec![partition], ..Default::default() };
    let request = TxnOffsetCommitRequest {
        transactional_id: by.name.into(),
        group_id: group.into(),
        producer_id: by.id,
        producer_epoch: by.epoch,
        generation_id: generation,
        member_id: member.into(),
        topics: vec![topic],
        ..Default::default()
    };
    settled(p, 3, &request);
}

fn end(p: &mut Peer, by: Producer, committed: bool) {
    end_in(p, 3, by, committed);
}

fn end_in(p: &mut Peer, version: i16, by: Producer, committed: bool) {
    let request = EndTxnRequest {
        transactional_id: by.name.into(),
        producer_id: by.id,
        producer_epoch: by.epoch,
        committed,
        ..Default::default()
    };
    if let Some(answer) = settled(p, version, &request)
        && version >= 5
    {
        p.log(format_args!("epoch {}", answer.producer_epoch));
    }
}

fn put(p: &mut Peer, version: i16, by: Producer, sequence: i32, transactional: bool) {
    let builder = BatchBuilder::new(Codec::None).producer(by.id, by.epoch, sequence).transactional(transactional);
    let data = PartitionProduceData { index: 0, records: Some(build(builder, &["t"])), ..Default::default() };
    let topic = TopicProduceData { name: "plain".into(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest {
        transactional_id: Some(by.name.into()),
        acks: -1,
        timeout_ms: 5_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    settled(p, version, &request);
}

fn describe(p: &mut Peer, name: &str) {
    let request = DescribeTransactionsRequest { transactional_ids: vec![name.into()], ..Default::default() };
    let Some(answer) = p.call(0, &request) else { return };
    for t in &answer.transaction_states {
        let parts: usize = t.topics.iter().map(|t| t.partitions.len()).sum();
        p.log(format_args!("{} {} ms, {parts} partitions", t.transaction_state, t.transaction_timeout_ms));
    }
}

fn producers(p: &mut Peer, topic: &str, partition: i32) {
    let topic = TopicRequest { name: topic.into(), partition_indexes: vec![partition], ..Default::default() };
    p.call(0, &DescribeProducersRequest { topics: vec![topic], ..Default::default() });
}

fn list(p: &mut Peer, version: i16, states: &[&str], pattern: Option<&str>) {
    let request = ListTransactionsRequest {
        state_filters: states.iter().map(|s| (*s).to_owned()).collect(),
        transactional_id_pattern: pattern.map(str::to_owned),
        ..Default::default()
    };
    let Some(answer) = p.call(version, &request) else { return };
    let mut found: Vec<String> =
        answer.transaction_states.iter().map(|t| format!("{} {}", t.transactional_id, t.transaction_state)).collect();
    found.sort();
    p.log(format_args!("unknown {:?}; {}", answer.unknown_state_filters, found.join(", ")));
}

fn marker(p: &mut Peer, id: i64, epoch: i16, topic: &str, partition: i32) {
    let topic = WritableTxnMarkerTopic { name: topic.into(), partition_indexes: vec![partition], ..Default::default() };
    let marker =
        WritableTxnMarker { producer_id: id, producer_epoch: epoch, topics: vec![topic], ..Default::default() };
    p.call(1, &WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() });
}

const NOBODY: Producer = Producer { name: "tx-nobody", id: 4_000_000, epoch: 0 };

pub const CASES: &[Case] = &[
    ("txn init: a new id", |p| {
        init(p, "tx1");
    }),
    ("txn init: again raises the epoch", |p| {
        init(p, "tx1");
    }),
    ("txn init: no timeout", |p| {
        begin(p, "tx2", 0, -1, -1);
    }),
    ("txn init: a negative timeout", |p| {
        begin(p, "tx2", -1, -1, -1);
    }),
    ("txn init: a timeout too long", |p| {
        begin(p, "tx2", 1_000_000_000, -1, -1);
    }),
    ("txn init: somebody else's producer id", |p| {
        init(p, "tx3");
        begin(p, "tx3", 60_000, 77_777_777, 0);
    }),
    ("txn init: an epoch ahead", |p| {
        let by = init(p, "tx3");
        begin(p, "tx3", 60_000, by.id, by.epoch + 5);
    }),
    ("txn init: recovers with its own", |p| {
        let by = init(p, "tx3");
        begin(p, "tx3", 60_000, by.id, by.epoch);
    }),
    ("txn init: a producer id for an unknown transaction", |p| {
        begin(p, "tx-unknown", 60_000, 5, 3);
    }),
    ("txn add: an unknown transactional id", |p| add(p, NOBODY, "plain", 0)),
    ("txn add: another producer id", |p| {
        let by = init(p, "tx4");
        add(p, Producer { id: by.id + 1_000_000, ..by }, "plain", 0);
    }),
    ("txn add: an older epoch", |p| {
        let by = init(p, "tx4");
        init(p, "tx4");
        add(p, by, "plain", 0);
    }),
    ("txn add: a newer epoch", |p| {
        let by = init(p, "tx4");
        add(p, Producer { epoch: by.epoch + 3, ..by }, "plain", 0);
    }),
    ("txn add: an unknown topic", |p| {
        let by = init(p, "tx4");
        add(p, by, "nowhere", 0);
    }),
    ("txn add: an unknown partition", |p| {
        let by = init(p, "tx4");
        add(p, by, "plain", 9);
    }),
    ("txn add: an empty transactional id", |p| add(p, Producer { name: "", id: 1, epoch: 0 }, "plain", 0)),
    ("txn end: nothing begun", |p| {
        let by = init(p, "tx5");
        end(p, by, true);
    }),
    ("txn end: an unknown transactional id", |p| end(p, NOBODY, true)),
    ("txn end: an older epoch", |p| {
        let by = init(p, "tx5");
        init(p, "tx5");
        end(p, by, true);
    }),
    ("txn end: committed, then again", |p| {
        let by = init(p, "tx6");
        add(p, by, "plain", 0);
        put(p, 9, by, 0, true);
        end(p, by, true);
        end(p, by, true);
        end(p, by, false);
    }),
    ("txn end: aborted, then again", |p| {
        let by = init(p, "tx6");
        add(p, by, "plain", 0);
        put(p, 9, by, 0, true);
        end(p, by, false);
        end(p, by, false);
        end(p, by, true);
    }),
    ("txn end: nothing written", |p| {
        let by = init(p, "tx7");
        add(p, by, "plain", 0);
        end(p, by, true);
    }),
    ("txn end: of the second kind", |p| {
        let by = init(p, "tx8");
        put(p, 12, by, 0, true);
        end_in(p, 5, by, true);
    }),
    ("txn end: of the second kind, nothing begun", |p| {
        let by = init(p, "tx8");
        end_in(p, 5, by, true);
    }),
    ("txn end: of the second kind, aborted with nothing begun", |p| {
        let by = init(p, "tx8");
        end_in(p, 5, by, false);
    }),
    ("txn produce: to a partition that was not added", |p| {
        let by = init(p, "tx9");
        put(p, 9, by, 0, true);
    }),
    ("txn produce: of an unknown producer", |p| put(p, 9, NOBODY, 0, true)),
    ("txn produce: after it was fenced", |p| {
        let by = init(p, "tx9");
        add(p, by, "plain", 0);
        put(p, 9, by, 0, true);
        init(p, "tx9");
        put(p, 9, by, 1, true);
    }),
    ("txn produce: not marked within a transaction", |p| {
        let by = init(p, "tx10");
        add(p, by, "plain", 0);
        put(p, 9, by, 0, true);
        put(p, 9, by, 1, false);
        end(p, by, false);
    }),
    ("txn produce: after the end", |p| {
        let by = init(p, "tx10");
        add(p, by, "plain", 0);
        put(p, 9, by, 0, true);
        end(p, by, true);
        std::thread::sleep(std::time::Duration::from_millis(200));
        put(p, 9, by, 1, true);
    }),
    ("txn offsets: a group that was not added", |p| {
        let by = init(p, "tx11");
        commit_offset(p, by, "tg", "", -1);
    }),
    ("txn offsets: committed", |p| {
        let by = init(p, "tx11");
        add_group(p, by, "tg");
        commit_offset(p, by, "tg", "", -1);
        end(p, by, true);
    }),
    ("txn offsets: aborted", |p| {
        let by = init(p, "tx11");
        add_group(p, by, "tg2");
        commit_offset(p, by, "tg2", "", -1);
        end(p, by, false);
    }),
    ("txn offsets: an unknown member", |p| {
        let by = init(p, "tx11");
        add_group(p, by, "tg");
        commit_offset(p, by, "tg", "who", 3);
        end(p, by, false);
    }),
    ("txn offsets: a generation without a member", |p| {
        let by = init(p, "tx11");
        add_group(p, by, "tg");
        commit_offset(p, by, "tg", "", 3);
        end(p, by, false);
    }),
    ("txn offsets: a wrong generation", |p| {
        let by = init(p, "tx11");
        let (member, generation) = crate::groups::member(p, "tg3");
        add_group(p, by, "tg3");
        commit_offset(p, by, "tg3", &member, generation + 1);
        end(p, by, false);
        crate::groups::leave(p, "tg3", &member);
    }),
    ("txn offsets: an empty group id", |p| {
        let by = init(p, "tx11");
        add_group(p, by, "");
    }),
    ("txn offsets: added by an unknown transactional id", |p| add_group(p, NOBODY, "tg")),
    ("describe transactions: an unknown one", |p| describe(p, "tx-nobody")),
    ("describe transactions: an empty id", |p| describe(p, "")),
    ("describe transactions: one that is open", |p| {
        let by = init(p, "tx12");
        add(p, by, "plain", 0);
        describe(p, "tx12");
        end(p, by, false);
    }),
    ("describe producers: an unknown topic", |p| producers(p, "nowhere", 0)),
    ("describe producers: an unknown partition", |p| producers(p, "plain", 9)),
    ("describe producers: a negative partition", |p| producers(p, "plain", -1)),
    ("describe producers: an illegal name", |p| producers(p, "a b", 0)),
    ("list transactions: all of a state", |p| {
        std::thread::sleep(std::time::Duration::from_millis(300));
        list(p, 0, &["Ongoing"], None);
    }),
    ("list transactions: a state nobody knows", |p| list(p, 0, &["Dreaming"], None)),
    ("list transactions: a pattern", |p| list(p, 2, &[], Some("tx1"))),
    ("list transactions: a pattern that is none", |p| list(p, 2, &[], Some("tx(1"))),
    ("markers: an unknown topic", |p| marker(p, 55, 0, "nowhere", 0)),
    ("markers: an unknown partition", |p| marker(p, 55, 0, "plain", 9)),
    ("markers: none", |p| {
        p.call(1, &WriteTxnMarkersRequest::default());
    }),
];
