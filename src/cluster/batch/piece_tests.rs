use bytes::BytesMut;
use causeway_wire::records::{BatchBuilder, Codec, control_batch, encode_batch};

use super::*;

fn batch(base: i64, values: &[&str], codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec).base_offset(base).leader_epoch(3).base_timestamp(1_000);
    for (index, value) in values.iter().enumerate() {
        builder.push(1_000 + index as i64, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder
}

fn joined(batches: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut bytes = BytesMut::new();
    batches.into_iter().for_each(|batch| bytes.extend_from_slice(&batch));
    bytes.freeze()
}

fn at(offset: i64) -> SourceOffset {
    SourceOffset(offset)
}

#[test]
fn dense_batches_go_on_as_they_are() {
    let batches = joined([
        batch(5, &["a", "b"], Codec::None).build().unwrap(),
        batch(7, &["c", "d", "e"], Codec::Lz4).build().unwrap(),
    ]);
    let cut = cut(batches, &[], at(5));
    assert_eq!((cut.to, cut.leader_epoch, cut.damage), (at(10), 3, None));
    assert_eq!((cut.summary.records, cut.summary.shape), (5, Shape::Dense));
    assert_eq!((cut.summary.timestamp_min, cut.summary.timestamp_max), (1_000, 1_002));
    assert!(cut.list.iter().all(|piece| piece.whole));
    assert_eq!(cut.list[1].landed(TargetOffset(40)), [Run::new(at(7), 3, TargetOffset(40))]);
}

#[test]
fn markers_and_aborted_records_are_holes() {
    let transactional =
        |base| batch(base, &["x", "y"], Codec::None).producer(9, 0, 0).transactional(true).build().unwrap();
    let marker = |marker, base| {
        let mut bytes = BytesMut::from(&control_batch(marker, 9, 0, 1, 1_000).unwrap()[..]);
        causeway_wire::records::patch_base_offset(&mut bytes, base);
        bytes.freeze()
    };
    let batches =
        joined([transactional(0), marker(ControlMarker::Abort, 2), transactional(3), marker(ControlMarker::Commit, 5)]);
    let aborted = [AbortedTransaction { producer_id: 9, first_offset: 0 }];
    let cut = cut(batches, &aborted, at(0));
    assert_eq!((cut.to, cut.summary.records, cut.summary.shape), (at(6), 2, Shape::Holes));
    assert_eq!(cut.list.len(), 1);
    assert_eq!(cut.list[0].covers(), SourceRange::new(at(3), at(5)));
}

#[test]
fn a_batch_with_holes_or_append_times_or_a_late_start_takes_the_decode_path() {
    let holes = batch(0, &["a", "b"], Codec::None).last_offset_delta(7).build().unwrap();
    let late = batch(8, &["a", "b", "c"], Codec::Zstd).build().unwrap();
    let times = batch(11, &["a"], Codec::None).log_append_time(5_000).build().unwrap();
    let first = cut(holes, &[], at(0));
    assert_eq!((first.to, first.summary.records, first.list[0].whole), (at(8), 2, false));
    let second = cut(late, &[], at(9));
    assert_eq!((second.summary.records, second.list[0].whole), (2, false));
    let third = cut(times, &[], at(11));
    assert_eq!((third.summary.timestamp_min, third.list[0].whole), (5_000, false));
}

#[test]
fn what_was_read_before_damage_goes_on_and_the_damage_has_its_range() {
    let good = batch(0, &["a"], Codec::None).build().unwrap();
    let mut bad = BytesMut::from(&batch(1, &["b", "c"], Codec::None).build().unwrap()[..]);
    bad[22] |= 7; // a codec that nobody knows
    let cut = cut(joined([good, bad.freeze()]), &[], at(0));
    assert_eq!((cut.to, cut.list.len()), (at(1), 1));
    let (range, reason) = cut.damage.unwrap();
    assert_eq!(range, SourceRange::new(at(1), at(3)));
    assert!(reason.contains("codec"), "{reason}");
}

#[test]
fn emptied_batches_only_move_the_position() {
    let header = BatchHeader { base_offset: 4, last_offset_delta: 9, ..BatchHeader::default() };
    let cut = cut(encode_batch(&header, &[]).unwrap(), &[], at(4));
    assert_eq!((cut.to, cut.list.len(), cut.summary.records), (at(14), 0, 0));
}
