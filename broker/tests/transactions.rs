//! Transactions over a real socket: commit, abort, fencing, timeouts, committed offsets, both protocol versions, restarts.
#![allow(clippy::unwrap_used, clippy::needless_update, reason = "tests")]

mod support;
mod txn_support;

use causeway_wire::ErrorCode;
use causeway_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use causeway_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use causeway_wire::messages::list_transactions::ListTransactionsRequest;
use causeway_wire::messages::write_txn_markers::{WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest};
use causeway_wire::records::{BatchBuilder, Codec};
use support::{Raw, batch, build, start};
use txn_support::{Client, committed_offset, latest, read, wait_read};

const FAST_ABORTS: &[(&str, &str)] = &[("transaction.abort.timed.out.transaction.cleanup.interval.ms", "20")];

/// Both protocols: (Produce, EndTxn, whether partitions are added by request).
const PROTOCOLS: [(i16, i16, bool); 2] = [(9, 3, true), (12, 5, false)];

#[tokio::test(flavor = "multi_thread")]
async fn committed_is_seen_aborted_is_not_and_open_holds_readers_back() {
    for (produce, end, adds) in PROTOCOLS {
        let dir = tempfile::tempdir().unwrap();
        let broker = start(dir.path(), &[]).await;
        let mut raw = Raw::connect(&broker).await;
        raw.create("t", 1, &[]).await;
        let (mut a, mut b) = (Client::new(&broker, "a").await, Client::new(&broker, "b").await);
        for client in [&mut a, &mut b] {
            assert!(!adds || client.add("t", &[0]).await == 0);
        }
        assert_eq!(a.write(produce, "t", &["a1"]).await.base_offset, 0);
        raw.produce("t", batch(&["plain"])).await;
        assert_eq!(b.write(produce, "t", &["b1", "b2"]).await.base_offset, 2);
        assert_eq!(a.state().await, ("Ongoing".to_owned(), 1));
        let (data, values) = read(&mut raw, "t", true).await;
        assert_eq!((data.last_stable_offset, data.high_watermark, values.len()), (0, 4, 0));
        assert_eq!(read(&mut raw, "t", false).await.1, ["a1", "plain", "b1", "b2"]);
        assert_eq!((latest(&mut raw, "t", true).await, latest(&mut raw, "t", false).await), (0, 4));
        a.end(end, true).await;
        wait_read(&mut raw, "t", &["a1", "plain"]).await;
        b.end(end, false).await;
        b.wait_state("CompleteAbort").await;
        let (data, values) = read(&mut raw, "t", true).await;
        assert_eq!(values, ["a1", "plain"]);
        assert_eq!((data.last_stable_offset, data.aborted_transactions.unwrap().len()), (6, 1));
        assert_eq!(latest(&mut raw, "t", true).await, 6);
        // The next transactions of both.
        assert!(!adds || (a.add("t", &[0]).await == 0 && b.add("t", &[0]).await == 0));
        assert_eq!(b.write(produce, "t", &["b3"]).await.error_code, 0);
        assert_eq!(a.write(produce, "t", &["a2"]).await.error_code, 0);
        a.end(end, false).await;
        b.end(end, true).await;
        wait_read(&mut raw, "t", &["a1", "plain", "b3"]).await;
        assert_eq!(read(&mut raw, "t", false).await.1.len(), 6);
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r18_a_transactional_batch_without_an_owner_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    let of = |builder: BatchBuilder| build(builder.transactional(true), &["?"]);
    let owned = BatchBuilder::new(Codec::None).producer(7, 0, 0);
    for batch in [of(owned), of(BatchBuilder::new(Codec::None))] {
        let refused = raw.produce("t", batch).await;
        assert_eq!(refused.error_code, ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED.0, "no transactional.id");
    }
    let mut request = support::produce_request("t", -1, of(BatchBuilder::new(Codec::None)));
    request.transactional_id = Some("x".into());
    let answer = raw.call(9, &request).await;
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::INVALID_RECORD.0, "no producer id: nobody could end it");
    assert_eq!((latest(&mut raw, "t", false).await, latest(&mut raw, "t", true).await), (0, 0));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r18_nothing_is_appended_outside_an_ongoing_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 2, &[]).await;
    let mut client = Client::new(&broker, "x").await;
    let refused = client.write(9, "t", &["never added"]).await;
    assert_eq!(refused.error_code, ErrorCode::INVALID_TXN_STATE.0);
    client.sequence = 0;
    let refused = client.write(11, "t", &["never added"]).await;
    assert_eq!(refused.error_code, ErrorCode::TRANSACTION_ABORTABLE.0, "newer clients may abort and go on");
    client.sequence = 0;
    assert_eq!(client.add("t", &[1]).await, 0);
    assert_eq!(client.write(9, "t", &["other partition"]).await.error_code, ErrorCode::INVALID_TXN_STATE.0);
    client.sequence = 0;
    assert_eq!(client.add("t", &[0]).await, 0);
    assert_eq!(client.write(9, "t", &["inside"]).await.error_code, 0);
    // A batch of the open transaction's producer that is not transactional does not belong to it.
    let plain = BatchBuilder::new(Codec::None).producer(client.producer.0, client.producer.1, 1);
    let refused = raw.produce("t", build(plain, &["plain"])).await;
    assert_eq!(refused.error_code, ErrorCode::INVALID_TXN_STATE.0);
    client.end(3, true).await;
    client.wait_state("CompleteCommit").await;
    let late = client.write(9, "t", &["too late"]).await;
    assert_eq!(late.error_code, ErrorCode::INVALID_TXN_STATE.0);
    wait_read(&mut raw, "t", &["inside"]).await;
    assert_eq!(latest(&mut raw, "t", true).await, 2);
    // Unknown ids and a missing one.
    let mut stranger = Client::new(&broker, "y").await;
    (stranger.id, stranger.sequence) = ("nobody", 0);
    let refused = stranger.write(9, "t", &["?"]).await;
    assert_eq!(refused.error_code, ErrorCode::INVALID_PRODUCER_ID_MAPPING.0);
    stranger.id = "";
    stranger.sequence = 0;
    assert_eq!(stranger.write(9, "t", &["?"]).await.error_code, ErrorCode::INVALID_REQUEST.0);
    let batched = |verify_only| {
        let topic = AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0, 1], ..Default::default() };
        let txn = AddPartitionsToTxnTransaction {
            transactional_id: "x".into(),
            producer_id: client.producer.0,
            producer_epoch: client.producer.1,
            verify_only,
            topics: vec![topic],
            ..Default::default()
        };
        AddPartitionsToTxnRequest { transactions: vec![txn], ..Default::default() }
    };
    for (verify_only, expected) in [(true, 120), (false, 0), (true, 0)] {
        let answer = raw.call(5, &batched(verify_only)).await;
        let codes = answer.results_by_transaction[0].topic_results[0].results_by_partition.iter();
        assert_eq!(codes.map(|p| p.partition_error_code).collect::<Vec<_>>(), [expected; 2], "{verify_only}");
    }
    let mut other = Client::new(&broker, "z").await;
    let topic = AddPartitionsToTxnTopic { name: "t".into(), partitions: vec![0, 9], ..Default::default() };
    let request = AddPartitionsToTxnRequest {
        v3_and_below_transactional_id: "z".into(),
        v3_and_below_producer_id: other.producer.0,
        v3_and_below_producer_epoch: other.producer.1,
        v3_and_below_topics: vec![topic],
        ..Default::default()
    };
    let answer = other.raw.call(3, &request).await;
    let codes = answer.results_by_topic_v3_and_below[0].results_by_partition.iter().map(|p| p.partition_error_code);
    assert_eq!(
        codes.collect::<Vec<_>>(),
        [ErrorCode::OPERATION_NOT_ATTEMPTED.0, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0]
    );
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_fences_the_old_one_and_aborts_what_it_left() {
    for (produce, end, adds) in PROTOCOLS {
        let dir = tempfile::tempdir().unwrap();
        let broker = start(dir.path(), &[]).await;
        let mut raw = Raw::connect(&broker).await;
        raw.create("t", 1, &[]).await;
        let mut zombie = Client::new(&broker, "x").await;
        assert!(!adds || zombie.add("t", &[0]).await == 0);
        assert_eq!(zombie.write(produce, "t", &["left behind"]).await.error_code, 0);
        let mut owner = Client::new(&broker, "x").await;
        assert!(owner.producer.1 > zombie.producer.1);
        let late = zombie.write(produce, "t", &["late"]).await;
        assert_eq!(late.error_code, ErrorCode::INVALID_PRODUCER_EPOCH.0);
        assert_eq!(zombie.add("t", &[0]).await, ErrorCode::PRODUCER_FENCED.0);
        for commit in [true, false] {
            assert_eq!(zombie.end_once(end, commit).await.error_code, ErrorCode::PRODUCER_FENCED.0);
        }
        assert_eq!(zombie.end_once(1, true).await.error_code, ErrorCode::INVALID_PRODUCER_EPOCH.0, "old versions");
        let again = zombie.init(60_000, zombie.producer).await;
        assert_eq!(again.error_code, ErrorCode::PRODUCER_FENCED.0);
        assert!(!adds || owner.add("t", &[0]).await == 0);
        assert_eq!(owner.write(produce, "t", &["mine"]).await.error_code, 0);
        owner.end(end, true).await;
        wait_read(&mut raw, "t", &["mine"]).await;
        // KIP-360: the owner itself goes on after an error.
        let mine = owner.producer;
        let bumped = owner.init(60_000, mine).await;
        assert_eq!((bumped.error_code, bumped.producer_epoch), (0, mine.1 + 1));
        assert_eq!(owner.init(60_000, mine).await.producer_epoch, mine.1 + 1, "its first answer got lost");
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_takes_too_long_is_aborted_over_its_producers_head() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), FAST_ABORTS).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    let mut client = Client::new(&broker, "x").await;
    assert_eq!(client.init(900_001, (-1, -1)).await.error_code, ErrorCode::INVALID_TRANSACTION_TIMEOUT.0);
    assert_eq!(client.init(0, (-1, -1)).await.error_code, ErrorCode::INVALID_TRANSACTION_TIMEOUT.0);
    client.own(100).await;
    assert_eq!(client.add("t", &[0]).await, 0);
    assert_eq!(client.write(9, "t", &["slow"]).await.error_code, 0);
    client.wait_state("CompleteAbort").await;
    assert_eq!(client.end_once(3, true).await.error_code, ErrorCode::PRODUCER_FENCED.0);
    assert_eq!(client.write(9, "t", &["late"]).await.error_code, ErrorCode::INVALID_PRODUCER_EPOCH.0);
    assert_eq!(latest(&mut raw, "t", true).await, 2);
    assert!(read(&mut raw, "t", true).await.1.is_empty());
    client.own(60_000).await;
    assert_eq!(client.add("t", &[0]).await, 0);
    assert_eq!(client.write(9, "t", &["quick"]).await.error_code, 0);
    client.end(3, true).await;
    wait_read(&mut raw, "t", &["quick"]).await;
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r21_offsets_of_a_transaction_count_from_its_commit_on() {
    for (version, end, adds) in [(3, 3, true), (5, 5, false)] {
        let dir = tempfile::tempdir().unwrap();
        let broker = start(dir.path(), &[]).await;
        let mut raw = Raw::connect(&broker).await;
        raw.create("t", 1, &[]).await;
        let mut client = Client::new(&broker, "x").await;
        if adds {
            let early = client.commit_offset(version, "g", "t", 1).await;
            assert_eq!(early, ErrorCode::INVALID_TXN_STATE.0, "the group is not in the transaction");
            assert_eq!(client.add_offsets("g").await, 0);
        }
        assert_eq!(client.commit_offset(version, "g", "t", 7).await, 0);
        assert_eq!(committed_offset(&mut raw, "g", "t", false).await, (0, -1));
        let unstable = ErrorCode::UNSTABLE_OFFSET_COMMIT.0;
        assert_eq!(committed_offset(&mut raw, "g", "t", true).await, (unstable, -1));
        client.end(end, false).await;
        client.wait_state("CompleteAbort").await;
        assert_eq!(committed_offset(&mut raw, "g", "t", true).await, (0, -1));
        assert!(!adds || client.add_offsets("g").await == 0);
        assert_eq!(client.commit_offset(version, "g", "t", 8).await, 0);
        assert_eq!(client.commit_offset(version, "g", "t", 9).await, 0);
        // The open transaction survives a restart, with its pending offsets.
        broker.shutdown().await;
        let broker = start(dir.path(), &[]).await;
        raw = Raw::connect(&broker).await;
        client.raw = Raw::connect(&broker).await;
        assert_eq!(committed_offset(&mut raw, "g", "t", true).await, (unstable, -1));
        client.end(end, true).await;
        client.wait_state("CompleteCommit").await;
        assert_eq!(committed_offset(&mut raw, "g", "t", true).await, (0, 9));
        broker.shutdown().await;
        let broker = start(dir.path(), &[]).await;
        raw = Raw::connect(&broker).await;
        assert_eq!(committed_offset(&mut raw, "g", "t", true).await, (0, 9));
        broker.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r20_a_restart_keeps_transactions_fencing_and_the_aborted_list() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    let (mut a, mut b) = (Client::new(&broker, "a").await, Client::new(&broker, "b").await);
    let zombie = a.producer;
    a.own(60_000).await;
    assert_eq!(a.write(12, "t", &["gone"]).await.error_code, 0);
    a.end(5, false).await;
    a.wait_state("CompleteAbort").await;
    assert_eq!((a.add("t", &[0]).await, b.add("t", &[0]).await), (0, 0));
    assert_eq!(a.write(12, "t", &["first half"]).await.error_code, 0);
    assert_eq!(b.write(9, "t", &["never ended"]).await.error_code, 0);
    broker.shutdown().await;
    let broker = start(dir.path(), FAST_ABORTS).await;
    let mut raw = Raw::connect(&broker).await;
    (a.raw, b.raw) = (Raw::connect(&broker).await, Raw::connect(&broker).await);
    assert_eq!(a.state().await, ("Ongoing".to_owned(), 1));
    assert_eq!(a.init(60_000, zombie).await.error_code, ErrorCode::PRODUCER_FENCED.0);
    assert_eq!(a.write(12, "t", &["second half"]).await.error_code, 0);
    a.end(5, true).await;
    b.own(60_000).await;
    wait_read(&mut raw, "t", &["first half", "second half"]).await;
    let list = ListTransactionsRequest { duration_filter: -1, ..Default::default() };
    let listed = raw.call(1, &list).await.transaction_states;
    assert_eq!(listed.iter().map(|t| t.transactional_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let filter = |states: &[&str], pattern: Option<&str>| ListTransactionsRequest {
        state_filters: states.iter().map(|s| (*s).into()).collect(),
        transactional_id_pattern: pattern.map(Into::into),
        duration_filter: -1,
        ..Default::default()
    };
    let answer = raw.call(2, &filter(&["Empty", "Nonsense"], None)).await;
    assert_eq!((answer.transaction_states.len(), answer.unknown_state_filters.len()), (1, 1));
    assert_eq!(raw.call(2, &filter(&[], Some("[ab]"))).await.transaction_states.len(), 2);
    assert_eq!(raw.call(2, &filter(&[], Some("["))).await.error_code, ErrorCode::INVALID_REGULAR_EXPRESSION.0);
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r17_an_operator_ends_a_hanging_transaction_and_older_coordinators_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    // Without verification a client can leave a transaction that no coordinator knows.
    let broker = start(dir.path(), &[("transaction.partition.verification.enable", "false")]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    let mut client = Client::new(&broker, "x").await;
    assert_eq!(client.write(9, "t", &["hangs"]).await.error_code, 0);
    let topic = TopicRequest { name: "t".into(), partition_indexes: vec![0, 7], ..Default::default() };
    let request = DescribeProducersRequest { topics: vec![topic], ..Default::default() };
    let answer = raw.call(0, &request).await.topics.remove(0);
    let found = answer.partitions[0].active_producers[0].clone();
    assert_eq!(answer.partitions[1].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0);
    assert_eq!(
        (found.producer_id, found.current_txn_start_offset, found.coordinator_epoch),
        (client.producer.0, 0, -1)
    );
    let marker = |coordinator_epoch, transaction_version| {
        let topic = WritableTxnMarkerTopic { name: "t".into(), partition_indexes: vec![0], ..Default::default() };
        let marker = WritableTxnMarker {
            producer_id: found.producer_id,
            producer_epoch: found.producer_epoch as i16,
            coordinator_epoch,
            transaction_version,
            topics: vec![topic],
            ..Default::default()
        };
        WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() }
    };
    let code = async |raw: &mut Raw, request: WriteTxnMarkersRequest| {
        raw.call(2, &request).await.markers[0].topics[0].partitions[0].error_code
    };
    assert_eq!(
        code(&mut raw, marker(5, 2)).await,
        ErrorCode::INVALID_PRODUCER_EPOCH.0,
        "a marker of version 2 ends transactions of older epochs only"
    );
    assert_eq!(code(&mut raw, marker(5, 0)).await, 0);
    assert_eq!(code(&mut raw, marker(5, 0)).await, 0, "once more");
    assert_eq!(latest(&mut raw, "t", true).await, 2, "and still one marker");
    assert_eq!(code(&mut raw, marker(4, 0)).await, ErrorCode::TRANSACTION_COORDINATOR_FENCED.0);
    assert!(read(&mut raw, "t", true).await.1.is_empty());
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_2_transactions_may_follow_each_other_without_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    let mut raw = Raw::connect(&broker).await;
    raw.create("t", 1, &[]).await;
    let mut client = Client::new(&broker, "x").await;
    for n in 0..100 {
        // The markers of the last transaction are being written: the first write waits for them, and is not taken for a part of it.
        let mut code = client.write(12, "t", &["v"]).await.error_code;
        while code == ErrorCode::NOT_ENOUGH_REPLICAS.0 {
            client.sequence = 0;
            code = client.write(12, "t", &["v"]).await.error_code;
        }
        assert_eq!(code, 0, "transaction {n}");
        assert_eq!(client.commit_offset(5, "g", "t", n).await, 0, "transaction {n}");
        client.end(5, n % 2 == 0).await;
    }
    client.wait_state("CompleteAbort").await;
    assert_eq!(read(&mut raw, "t", true).await.1.len(), 50);
    assert_eq!(committed_offset(&mut raw, "g", "t", true).await, (0, 98));
    broker.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r20_all_records_of_an_id_go_to_one_partition_also_while_the_topic_is_being_made() {
    const IDS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path(), &[]).await;
    // At once, while the first of them has the topic made.
    let mut clients = Vec::new();
    for id in IDS {
        clients.push(Client::connect(&broker, id).await);
    }
    let first: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                client.own(60_000).await;
                client
            })
        })
        .collect();
    for client in first {
        let mut client = client.await.unwrap();
        client.own(60_000).await;
        assert_eq!(client.producer.1, 1);
    }
    broker.shutdown().await;
    let broker = start(dir.path(), &[]).await;
    for id in IDS {
        assert_eq!(Client::new(&broker, id).await.producer.1, 2, "{id}: the newest record counts after a restart");
    }
    broker.shutdown().await;
}
