use super::*;

fn data(epoch: i16, base: i32, last: i32, offset: i64) -> ProducerBatch {
    ProducerBatch {
        producer_id: 7,
        producer_epoch: epoch,
        base_sequence: base,
        last_sequence: last,
        base_offset: offset,
        last_offset: offset + i64::from(last.wrapping_sub(base)) % (1 << 31),
        timestamp: offset,
        transactional: false,
        control: false,
        marker: None,
    }
}

fn filled(batches: i32) -> ProducerState {
    let mut state = ProducerState::default();
    for n in 0..batches {
        let batch = data(0, n * 2, n * 2 + 1, i64::from(n) * 2);
        assert_eq!(state.check(&batch), Verdict::Append);
        state.record(&batch);
    }
    state
}

#[test]
fn r15_each_of_the_last_five_batches_is_a_duplicate_with_its_first_offset() {
    let state = filled(8);
    for n in 3..8 {
        let offset = i64::from(n) * 2;
        let expected = Verdict::Duplicate { base_offset: offset, last_offset: offset + 1, timestamp: offset };
        assert_eq!(state.check(&data(0, n * 2, n * 2 + 1, 99)), expected);
    }
    let sixth = state.check(&data(0, 4, 5, 99));
    assert!(matches!(sixth, Verdict::OutOfOrder(_)), "too old to be known: {sixth:?}");
}

#[test]
fn r15_gaps_overlaps_and_old_epochs_are_refused() {
    let mut state = filled(2);
    for (base, last) in [(5, 6), (3, 4), (2, 9), (0, 0)] {
        let verdict = state.check(&data(0, base, last, 4));
        let kind = RefusalKind::OutOfOrder { last: 3, got: base };
        assert_eq!(verdict, Verdict::OutOfOrder(Refusal { producer_id: 7, kind }), "{base}..={last}");
    }
    assert_eq!(state.check(&data(0, 4, 4, 4)), Verdict::Append);
    assert!(matches!(state.check(&data(1, 4, 4, 4)), Verdict::OutOfOrder(_)), "a new epoch starts at 0");
    assert_eq!(state.check(&data(1, 0, 0, 4)), Verdict::Append);
    state.record(&data(1, 0, 0, 4));
    let kind = RefusalKind::StaleEpoch { current: 1, got: 0 };
    assert_eq!(state.check(&data(0, 4, 4, 5)), Verdict::InvalidEpoch(Refusal { producer_id: 7, kind }));
    assert!(
        matches!(state.check(&data(1, 2, 3, 5)), Verdict::OutOfOrder(_)),
        "batches of the old epoch are no duplicates"
    );
}

#[test]
fn sequences_wrap_to_zero() {
    let mut state = ProducerState::default();
    state.record(&data(0, i32::MAX - 1, i32::MAX, 0));
    assert_eq!(state.check(&data(0, 0, 3, 2)), Verdict::Append);
    let mut state = ProducerState::default();
    let mut wrapping = data(0, i32::MAX, 1, 0);
    wrapping.last_offset = 2;
    state.record(&wrapping);
    assert_eq!(state.check(&data(0, 2, 2, 3)), Verdict::Append);
    assert!(matches!(state.check(&wrapping), Verdict::Duplicate { base_offset: 0, last_offset: 2, .. }));
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    assert_eq!(ProducerState::default().check(&data(3, 500, 501, 0)), Verdict::Append);
}

#[test]
fn expiry_goes_by_record_time_and_spares_open_transactions() {
    let mut state = filled(1);
    let mut open = data(0, 0, 0, 10);
    (open.producer_id, open.transactional, open.timestamp) = (8, true, 0);
    state.record(&open);
    state.expire(99, 100);
    assert_eq!(state.len(), 2);
    state.expire(100, 100);
    assert_eq!(state.len(), 1);
    assert!(state.get(8).is_some());
}

#[test]
fn undo_takes_back_exactly_what_was_recorded() {
    let mut state = filled(6);
    let before = state.clone();
    let mut open = data(0, 12, 13, 12);
    open.transactional = true;
    let (first, _) = state.record(&open);
    let (second, _) = state.record(&data(1, 0, 0, 14));
    let mut other = data(0, 0, 0, 15);
    other.producer_id = 9;
    let (third, _) = state.record(&other);
    for undo in [third, second, first] {
        state.undo(undo);
    }
    assert_eq!(state, before);
    assert_eq!(state.first_open_txn(), None);
}

#[test]
fn r16_the_first_open_transaction_bounds_what_is_stable() {
    let mut state = ProducerState::default();
    let mut txn = |id: i64, offset: i64, marker: Option<EndMarker>| {
        let mut batch = data(0, if marker.is_some() { -1 } else { 0 }, 0, offset);
        (batch.producer_id, batch.transactional, batch.marker, batch.last_offset) = (id, true, marker, offset);
        let completed = state.record(&batch).1;
        (completed, state.first_open_txn())
    };
    assert_eq!(txn(1, 10, None), (None, Some(10)));
    assert_eq!(txn(2, 20, None), (None, Some(10)));
    let abort = EndMarker { commit: false, coordinator_epoch: 4 };
    let ended =
        CompletedTxn { producer_id: 1, first_offset: 10, last_offset: 30, commit: false, last_stable_offset: 20 };
    assert_eq!(txn(1, 30, Some(abort)), (Some(ended), Some(20)));
    let (ended, open) = txn(2, 31, Some(EndMarker { commit: true, ..abort }));
    assert_eq!((ended.unwrap().last_stable_offset, open), (32, None));
    let mut stale = data(0, -1, -1, 40);
    (stale.producer_id, stale.marker) = (1, Some(EndMarker { commit: true, coordinator_epoch: 3 }));
    assert!(matches!(state.check(&stale), Verdict::InvalidEpoch(_)), "a marker of an older coordinator");
}
