use bytes::BytesMut;
use causeway_wire::messages::fetch::AbortedTransaction;
use causeway_wire::records::{BatchBuilder, Codec, ControlMarker, control_batch, patch_base_offset};

use super::*;

fn data(base: i64, records: usize, transactional: Option<i64>) -> BytesMut {
    let mut builder = BatchBuilder::new(Codec::Lz4).base_offset(base).base_timestamp(1);
    if let Some(producer) = transactional {
        builder = builder.producer(producer, 0, 0).transactional(true);
    }
    for _ in 0..records {
        builder.push(1, Some(b"k"), Some(b"v"), &[]).unwrap();
    }
    BytesMut::from(&builder.build().unwrap()[..])
}

fn marker(base: i64, producer: i64, marker: ControlMarker) -> BytesMut {
    let mut batch = BytesMut::from(&control_batch(marker, producer, 0, 0, 1).unwrap()[..]);
    patch_base_offset(&mut batch, base);
    batch
}

fn fetched(batches: &[BytesMut], aborted: &[(i64, i64)]) -> Fetched {
    let aborted = aborted.iter().map(|(producer_id, first_offset)| AbortedTransaction {
        producer_id: *producer_id,
        first_offset: *first_offset,
    });
    Fetched { batches: batches.concat().into(), aborted: aborted.collect(), ..Fetched::default() }
}

#[test]
fn markers_and_aborted_records_are_nothing_to_see_and_the_next_record_is() {
    let log = [data(0, 3, Some(7)), marker(3, 7, ControlMarker::Abort), marker(4, 8, ControlMarker::Commit)];
    assert_eq!(look(fetched(&log, &[(7, 0)]), SourceOffset(0)), Probe::NothingBefore(SourceOffset(5)));
    // the same producer's next transaction counts
    let log = [log.as_slice(), &[data(5, 2, Some(7)), marker(7, 7, ControlMarker::Commit)]].concat();
    assert_eq!(look(fetched(&log, &[(7, 0)]), SourceOffset(0)), Probe::NothingBefore(SourceOffset(5)));
    // of a batch that was read in part only the rest counts; a broker names only transactions that end at or after the fetch offset
    assert_eq!(look(fetched(&log[3..], &[]), SourceOffset(6)), Probe::NothingBefore(SourceOffset(6)));
    assert_eq!(look(fetched(&log[3..], &[]), SourceOffset(7)), Probe::NothingBefore(SourceOffset(8)));
}

#[test]
fn l8_a_damaged_batch_is_named_with_its_range() {
    let mut bad = data(2, 4, None);
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let log = [marker(1, 9, ControlMarker::Commit), bad];
    let Probe::Damaged(range, reason) = look(fetched(&log, &[]), SourceOffset(1)) else { panic!("damage is found") };
    assert_eq!(range, SourceRange::new(SourceOffset(2), SourceOffset(6)));
    assert!(!reason.is_empty());
}
