use causeway_wire::messages::produce::BatchIndexAndErrorMessage;
use causeway_wire::records::{BatchBuilder, BatchView, Codec};

use super::*;

fn piece(records: u32) -> Piece {
    let mut builder = BatchBuilder::new(Codec::None).base_offset(20);
    (0..records).for_each(|time| builder.push(time.into(), None, Some(b"v"), &[]).unwrap());
    let view = BatchView::parse(&builder.build().unwrap()).unwrap();
    Piece { view, from: SourceOffset(20), records, whole: true, offsets: None, born: None }
}

fn verdict(code: ErrorCode, answer: &PartitionProduceResponse, records: u32) -> Failure {
    failure("west", code, answer, &piece(records))
}

#[test]
fn l8_a_bad_record_is_named_by_its_source_offset() {
    let bad = BatchIndexAndErrorMessage { batch_index: 2, ..Default::default() };
    let answer = PartitionProduceResponse { record_errors: vec![bad], ..Default::default() };
    let Failure::Poison { range, .. } = verdict(ErrorCode::INVALID_RECORD, &answer, 5) else { panic!("poison") };
    assert_eq!(range, SourceRange::new(SourceOffset(22), SourceOffset(23)));
    let Failure::Poison { range, .. } = verdict(ErrorCode::INVALID_RECORD, &Default::default(), 5) else {
        panic!("poison")
    };
    assert_eq!(range, SourceRange::new(SourceOffset(20), SourceOffset(25)), "not named: any of them");
}

#[test]
fn too_large_is_tried_in_halves_until_it_is_one_record() {
    let answer = PartitionProduceResponse::default();
    assert!(matches!(verdict(ErrorCode::MESSAGE_TOO_LARGE, &answer, 2), Failure::Retry { .. }));
    assert!(matches!(verdict(ErrorCode::MESSAGE_TOO_LARGE, &answer, 1), Failure::Poison { .. }));
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_refused() {
    let answer = PartitionProduceResponse::default();
    for code in [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::INVALID_PRODUCER_EPOCH, ErrorCode::UNKNOWN_SERVER_ERROR] {
        assert!(matches!(verdict(code, &answer, 2), Failure::Retry { .. }), "{code}");
    }
    // the batch itself is good: it was damaged on its way
    assert!(matches!(verdict(ErrorCode::CORRUPT_MESSAGE, &answer, 2), Failure::Retry { .. }));
    assert!(matches!(verdict(ErrorCode::TOPIC_AUTHORIZATION_FAILED, &answer, 2), Failure::Refuse { .. }));
}
