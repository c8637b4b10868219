use causeway_wire::records::{BatchBuilder, BatchView, Codec};

use super::*;
use crate::core::ids::{Alias, ClusterId, Generation, PartitionId, TopicName};

fn writer() -> Writer {
    let generation = Generation { topic: TopicName::new("t"), id: TopicId([1; 16]) };
    let lane = LaneId { generation, partition: PartitionId(0) };
    let mut writer = Writer::new(lane, "t".to_owned(), TopicId([2; 16]), 1 << 20, Arc::default());
    writer.reset(Session(1), TargetOffset(5));
    writer.fenced(&[ProducerId { id: 10, epoch: 0 }], Tail::default());
    writer
}

fn piece(at: i64, born: Option<&Arc<Born>>) -> Piece {
    let mut builder = BatchBuilder::new(Codec::None).base_offset(at);
    builder.push(1, Some(b"k"), Some(b"v"), &[]).unwrap();
    let view = BatchView::parse(&builder.build().unwrap()).unwrap();
    Piece { view, from: SourceOffset(at), records: 1, whole: true, offsets: None, born: born.cloned() }
}

fn born(cluster: &str) -> Arc<Born> {
    Arc::new(Born { cluster: ClusterId::new(cluster), alias: Alias::new(cluster) })
}

/// Takes the next piece and signs it, as a courier does.
fn send(writer: &mut Writer) -> Option<(u64, (i64, i16, i32))> {
    if writer.phase != Phase::Ready || !writer.turn() {
        return None;
    }
    let group = writer.next_group();
    group.first().map(|queued| (queued.number, writer.sign(1)))
}

fn push(writer: &mut Writer, pieces: Vec<Piece>) {
    let range = SourceRange::new(pieces[0].from, pieces[pieces.len() - 1].from.next());
    assert_eq!(writer.push(range, Pieces { list: pieces, hold: None }, &[]), None);
}

#[test]
fn records_born_elsewhere_wait_for_those_before_them_and_for_a_producer_of_their_own() {
    let (mut writer, south) = (writer(), born("south"));
    push(&mut writer, vec![piece(0, None), piece(1, Some(&south)), piece(2, Some(&south)), piece(3, None)]);
    let (number, signed) = send(&mut writer).unwrap();
    assert_eq!(signed, (10, 0, 0));
    assert!(!writer.is_due() && send(&mut writer).is_none(), "the first is on its way");
    writer.landed(number, vec![Run::new(SourceOffset(0), 1, TargetOffset(6))]);
    assert!(writer.is_due());
    assert!(
        send(&mut writer).is_none() && writer.phase == Phase::Open,
        "nothing keeps older writers of such records out yet"
    );
    assert_eq!(writer.origins(), [None, Some(south)]);
    assert_eq!(writer.place().from, TargetOffset(7), "what was answered for is not looked for in the tail");
    let producers = [ProducerId { id: 10, epoch: 1 }, ProducerId { id: 20, epoch: 0 }];
    writer.fenced(&producers, Tail::default());
    assert_eq!(send(&mut writer).unwrap().1, (20, 0, 0));
    assert_eq!(send(&mut writer).unwrap().1, (20, 0, 1), "the same producer keeps the order by itself");
    assert!(send(&mut writer).is_none());
    for (at, target) in [(1, 9), (2, 10)] {
        writer.landed(number, vec![Run::new(SourceOffset(at), 1, TargetOffset(target))]);
    }
    assert_eq!(send(&mut writer).unwrap().1, (10, 1, 0));
}

#[test]
fn after_a_reset_every_producer_that_was_needed_is_asked_for_at_once() {
    let (mut writer, south) = (writer(), born("south"));
    push(&mut writer, vec![piece(0, Some(&south))]);
    assert!(send(&mut writer).is_none());
    writer.reset(Session(2), TargetOffset(5));
    assert_eq!(writer.origins(), [None, Some(south)]);
    assert_eq!(writer.place().from, TargetOffset(5));
}
