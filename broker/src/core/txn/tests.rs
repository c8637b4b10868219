use std::collections::BTreeSet;

use causeway_wire::ErrorCode;

use super::records::{decode_key, key};
use super::*;

const NOW: i64 = 1_000;
const FRESH: Option<i64> = Some(77);

fn started() -> Txn {
    let request = InitRequest { timeout_ms: 60_000, expected: None };
    init(None, &request, Some(7), NOW).unwrap().next.unwrap()
}

fn with(txn: &Txn, epoch: i16, state: TxnState) -> Txn {
    Txn { producer: Producer { id: 7, epoch }, state, start_ms: NOW, ..txn.clone() }
}

fn ongoing(epoch: i16) -> Txn {
    let partitions = BTreeSet::from([("t".to_owned(), 0), ("t".to_owned(), 1), ("u".to_owned(), 0)]);
    Txn { partitions, ..with(&started(), epoch, TxnState::Ongoing) }
}

fn asked(epoch: i16, commit: bool, version: TxnVersion) -> Ending {
    Ending { producer: Producer { id: 7, epoch }, commit, version }
}

fn recover(txn: &Txn, id: i64, epoch: i16) -> Decision<Result<Producer, ErrorCode>> {
    let request = InitRequest { timeout_ms: 60_000, expected: Some(Producer { id, epoch }) };
    init(Some(txn), &request, FRESH, NOW).unwrap()
}

#[test]
fn a_new_owner_gets_the_next_epoch_and_the_old_one_is_fenced() {
    let first = started();
    assert_eq!((first.producer.epoch, first.state), (0, TxnState::Empty));
    let request = InitRequest { timeout_ms: 5, expected: None };
    let second = init(Some(&first), &request, None, NOW).unwrap();
    assert_eq!(second.answer, Ok(Producer { id: 7, epoch: 1 }));
    let second = second.next.unwrap();
    assert_eq!(second.timeout_ms, 5);
    let old = add_partitions(Some(&second), first.producer, &[("t".into(), 0)], TxnVersion::V1, NOW);
    assert_eq!(old.answer, ErrorCode::PRODUCER_FENCED);
    assert_eq!(recover(&second, 7, 0).answer, Err(ErrorCode::PRODUCER_FENCED));
    let other = Producer { id: 8, epoch: 1 };
    assert_eq!(
        end(Some(&second), &Ending { producer: other, ..asked(1, true, TxnVersion::V1) }, None, NOW).unwrap().answer,
        Err(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
    );
    assert_eq!(init(None, &request, None, NOW), Err(NeedProducerId));
}

#[test]
fn an_ongoing_transaction_is_aborted_before_a_new_owner_may_begin() {
    let txn = ongoing(3);
    let request = InitRequest { timeout_ms: 60_000, expected: None };
    let fenced = init(Some(&txn), &request, None, NOW).unwrap();
    assert_eq!(fenced.answer, Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    let fenced = fenced.next.unwrap();
    assert_eq!((fenced.state, fenced.producer.epoch, fenced.partitions.len()), (TxnState::PrepareAbort, 4, 3));
    assert_eq!(init(Some(&fenced), &request, None, NOW).unwrap().answer, Err(ErrorCode::CONCURRENT_TRANSACTIONS));
    let done = complete(&fenced, NOW);
    assert_eq!((done.state, done.partitions.len()), (TxnState::CompleteAbort, 0));
    assert_eq!(init(Some(&done), &request, None, NOW).unwrap().answer, Ok(Producer { id: 7, epoch: 5 }));
    // The zombie: neither commit nor write.
    for version in [TxnVersion::V1, TxnVersion::V2] {
        let late = end(Some(&done), &asked(3, true, version), None, NOW).unwrap();
        assert!(matches!(late.answer, Err(ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_TXN_STATE)), "{late:?}");
        assert_eq!(late.next, None);
    }
}

#[test]
fn kip_360_a_producer_goes_on_after_an_error_and_may_repeat_its_question() {
    let txn = with(&started(), 4, TxnState::CompleteAbort);
    let bumped = recover(&txn, 7, 4);
    assert_eq!(bumped.answer, Ok(Producer { id: 7, epoch: 5 }));
    let bumped = bumped.next.unwrap();
    let again = recover(&bumped, 7, 4);
    assert_eq!(again.answer, Ok(Producer { id: 7, epoch: 5 }), "the first answer got lost");
    assert_eq!(recover(&again.next.unwrap(), 7, 5).answer, Ok(Producer { id: 7, epoch: 6 }));
    assert_eq!(recover(&bumped, 7, 3).answer, Err(ErrorCode::PRODUCER_FENCED));
    assert_eq!(recover(&bumped, 9, 4).answer, Err(ErrorCode::PRODUCER_FENCED));
}

#[test]
fn an_exhausted_epoch_leads_to_another_producer_id_that_a_retry_finds_too() {
    let txn = with(&started(), EPOCH_LAST, TxnState::CompleteCommit);
    let request = InitRequest { timeout_ms: 60_000, expected: None };
    assert_eq!(init(Some(&txn), &request, None, NOW), Err(NeedProducerId));
    assert_eq!(init(Some(&txn), &request, FRESH, NOW).unwrap().answer, Ok(Producer { id: 77, epoch: 0 }));
    let rotated = recover(&txn, 7, EPOCH_LAST);
    assert_eq!(rotated.answer, Ok(Producer { id: 77, epoch: 0 }));
    assert_eq!(recover(&rotated.next.unwrap(), 7, EPOCH_LAST).answer, Ok(Producer { id: 77, epoch: 0 }));
    // With the transaction: the markers still carry the old id, one epoch above the last.
    let last = ongoing(EPOCH_LAST);
    let request = asked(EPOCH_LAST, true, TxnVersion::V2);
    assert_eq!(end(Some(&last), &request, None, NOW), Err(NeedProducerId));
    let ended = end(Some(&last), &request, FRESH, NOW).unwrap();
    assert_eq!(ended.answer, Ok(Producer { id: 77, epoch: 0 }));
    let prepared = ended.next.unwrap();
    assert_eq!(prepared.producer, Producer { id: 7, epoch: i16::MAX });
    let done = complete(&prepared, NOW);
    assert_eq!((done.producer, done.next_id), (Producer { id: 77, epoch: 0 }, -1));
    let again = end(Some(&done), &request, None, NOW).unwrap();
    assert_eq!((again.answer, again.next), (Ok(Producer { id: 77, epoch: 0 }), None), "a retry after the rotation");
}

#[test]
fn r19_version_1_the_same_outcome_twice_is_one_and_the_opposite_is_refused() {
    for commit in [true, false] {
        let txn = ongoing(2);
        let code = |txn: &Txn, commit| end(Some(txn), &asked(2, commit, TxnVersion::V1), None, NOW).unwrap().answer;
        let prepared = end(Some(&txn), &asked(2, commit, TxnVersion::V1), None, NOW).unwrap().next.unwrap();
        assert_eq!(prepared.producer.epoch, 2, "one epoch for many transactions");
        assert_eq!(code(&prepared, commit), Err(ErrorCode::CONCURRENT_TRANSACTIONS));
        assert_eq!(code(&prepared, !commit), Err(ErrorCode::INVALID_TXN_STATE));
        let add = add_partitions(Some(&prepared), txn.producer, &[("t".into(), 9)], TxnVersion::V1, NOW);
        assert_eq!(add.answer, ErrorCode::CONCURRENT_TRANSACTIONS);
        let done = complete(&prepared, NOW);
        assert_eq!(code(&done, commit), Ok(txn.producer));
        assert_eq!(code(&done, !commit), Err(ErrorCode::INVALID_TXN_STATE));
    }
    assert_eq!(
        end(Some(&started()), &asked(0, false, TxnVersion::V1), None, NOW).unwrap().answer,
        Err(ErrorCode::INVALID_TXN_STATE)
    );
}

/// The table of KIP-890 for states in which no transaction is going on.
#[test]
fn r19_version_2_an_epoch_tells_a_retry_from_the_next_transaction() {
    use ErrorCode as E;
    let cases = [
        (TxnState::Empty, false, 9, Err(E::PRODUCER_FENCED)),
        (TxnState::Empty, false, 10, Ok(11)),
        (TxnState::Empty, true, 9, Err(E::PRODUCER_FENCED)),
        (TxnState::Empty, true, 10, Err(E::INVALID_TXN_STATE)),
        (TxnState::CompleteAbort, false, 9, Ok(10)),
        (TxnState::CompleteAbort, false, 10, Ok(11)),
        (TxnState::CompleteAbort, true, 9, Err(E::INVALID_TXN_STATE)),
        (TxnState::CompleteAbort, true, 10, Err(E::INVALID_TXN_STATE)),
        (TxnState::CompleteCommit, false, 9, Err(E::INVALID_TXN_STATE)),
        (TxnState::CompleteCommit, false, 10, Ok(11)),
        (TxnState::CompleteCommit, true, 9, Ok(10)),
        (TxnState::CompleteCommit, true, 10, Err(E::INVALID_TXN_STATE)),
        (TxnState::PrepareCommit, true, 9, Err(E::CONCURRENT_TRANSACTIONS)),
        (TxnState::PrepareCommit, true, 10, Err(E::PRODUCER_FENCED)),
        (TxnState::PrepareCommit, false, 9, Err(E::INVALID_TXN_STATE)),
        (TxnState::PrepareAbort, false, 9, Err(E::CONCURRENT_TRANSACTIONS)),
        (TxnState::PrepareAbort, true, 9, Err(E::INVALID_TXN_STATE)),
        (TxnState::Ongoing, true, 9, Err(E::PRODUCER_FENCED)),
        (TxnState::Ongoing, true, 10, Ok(11)),
        (TxnState::Ongoing, false, 10, Ok(11)),
    ];
    for (state, commit, epoch, expected) in cases {
        let txn = with(&started(), 10, state);
        let decided = end(Some(&txn), &asked(epoch, commit, TxnVersion::V2), None, NOW).unwrap();
        let epochs = decided.answer.map(|producer| producer.epoch);
        assert_eq!(epochs, expected, "{state:?} commit={commit} epoch={epoch}");
        assert_eq!(decided.next.is_some(), expected == Ok(11));
    }
}

#[test]
fn r18_only_partitions_of_an_ongoing_transaction_are_confirmed() {
    let txn = ongoing(1);
    let asked = [("t".to_owned(), 1), ("t".to_owned(), 5)];
    assert_eq!(verify(Some(&txn), txn.producer, &asked), [ErrorCode::NONE, ErrorCode::TRANSACTION_ABORTABLE]);
    for state in [TxnState::CompleteCommit, TxnState::Empty] {
        let over = Txn { state, ..txn.clone() };
        assert_eq!(verify(Some(&over), txn.producer, &asked), [ErrorCode::TRANSACTION_ABORTABLE; 2]);
    }
    let prepared = Txn { state: TxnState::PrepareAbort, ..txn.clone() };
    assert_eq!(verify(Some(&prepared), txn.producer, &asked), [ErrorCode::CONCURRENT_TRANSACTIONS; 2]);
    let stale = Producer { epoch: 0, ..txn.producer };
    assert_eq!(verify(Some(&txn), stale, &asked), [ErrorCode::PRODUCER_FENCED; 2]);
    assert_eq!(verify(None, stale, &asked), [ErrorCode::INVALID_PRODUCER_ID_MAPPING; 2]);
}

#[test]
fn time_ends_transactions_and_forgets_ids_at_rest_only() {
    let txn = Txn { timeout_ms: 100, ..ongoing(1) };
    assert!(!txn.is_timed_out(NOW + 100) && txn.is_timed_out(NOW + 101));
    assert!(!txn.is_expired(i64::MAX, 1), "an ongoing transaction is never forgotten");
    let done = complete(&fence(&txn, None, NOW + 101).unwrap(), NOW + 102);
    assert!(!done.is_timed_out(i64::MAX));
    assert!(!done.is_expired(NOW + 111, 10) && done.is_expired(NOW + 112, 10));
    let added = add_partitions(Some(&done), done.producer, &[("t".into(), 0)], TxnVersion::V2, NOW - 500);
    assert_eq!(added.next.unwrap().start_ms, NOW + 102, "a clock set back makes no transaction older");
}

#[test]
fn records_round_trip_and_have_kafkas_bytes() {
    let txn = Txn { version: TxnVersion::V2, previous_id: 7, next_id: 9, ..ongoing(3) };
    assert_eq!(Txn::decode(txn.encode().unwrap()).unwrap(), txn);
    assert_eq!(&key("ab").unwrap()[..], b"\0\0\0\x02ab");
    assert_eq!(decode_key(key("ab").unwrap()).unwrap(), "ab");
    let fresh = started();
    // Version 1; id 7; epoch 0; timeout 60000; Empty; no partitions; times 1000 and -1; no tagged fields but version 0's defaults.
    let expected =
        b"\0\x01\0\0\0\0\0\0\0\x07\0\0\0\0\xea\x60\0\0\0\0\0\0\0\0\x03\xe8\xff\xff\xff\xff\xff\xff\xff\xff\0";
    assert_eq!(&fresh.encode().unwrap()[..], expected);
    let full = txn.encode().unwrap();
    for len in 0..full.len() {
        assert!(Txn::decode(full.slice(..len)).is_err(), "{len}");
    }
}
