use bytes::Bytes;
use causeway_wire::records::{BatchHeader, RecordHeader};

use super::*;

fn piece(builder: BatchBuilder, from: i64) -> Piece {
    let view = BatchView::parse(&builder.build().unwrap()).unwrap();
    let records = view.header.records_count.unsigned_abs();
    Piece { view, from: SourceOffset(from), records, whole: false, offsets: None, born: None }
}

fn three(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec).base_offset(10).producer(4, 1, 0).transactional(true);
    let header = RecordHeader { key: Bytes::from_static(b"\xff\0h"), value: None };
    builder.push(0, Some(b"k"), None, &[header.clone(), header]).unwrap();
    builder.push(-1, None, Some(b""), &[]).unwrap();
    builder.push(77, None, Some(b"v"), &[]).unwrap();
    builder
}

#[test]
fn every_shape_comes_out_as_it_went_in() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let placed = read(&piece(three(codec), 10), &[]).unwrap();
        let written = write(&placed, codec, 1 << 20).unwrap();
        assert_eq!(written.len(), 1);
        assert!(written[0].whole);
        let BatchHeader { attributes, producer_id, .. } = written[0].view.header;
        assert_eq!((attributes.codec().unwrap(), attributes.is_transactional(), producer_id), (codec, false, -1));
        let again = read(&written[0], &[]).unwrap();
        let bare = |placed: &Placed| {
            let record = placed.record.clone();
            (placed.offset, placed.timestamp, record.key, record.value, record.headers)
        };
        assert_eq!(again.iter().map(bare).collect::<Vec<_>>(), placed.iter().map(bare).collect::<Vec<_>>());
    }
}

#[test]
fn unwanted_records_leave_no_hole() {
    let placed = read(&piece(three(Codec::None), 11), &[SourceOffset(11)]).unwrap();
    assert_eq!(placed.iter().map(|placed| placed.offset.get()).collect::<Vec<_>>(), [12]);
    let written = write(&placed, Codec::None, 1 << 20).unwrap();
    let header = written[0].view.header;
    assert_eq!((header.last_offset_delta, header.records_count), (0, 1));
    assert_eq!(written[0].covers(), crate::core::batch::SourceRange::new(SourceOffset(12), SourceOffset(13)));
}

#[test]
fn what_is_too_large_is_halved_until_it_fits_and_one_record_stays_whole() {
    let mut builder = BatchBuilder::new(Codec::None);
    (0..8).for_each(|time| builder.push(time, None, Some(&[7; 100]), &[]).unwrap());
    let placed = read(&piece(builder, 0), &[]).unwrap();
    let written = write(&placed, Codec::None, 300).unwrap();
    assert_eq!(written.iter().map(|piece| piece.records).collect::<Vec<_>>(), [2, 2, 2, 2]);
    assert_eq!(write(&placed, Codec::None, 1).unwrap().len(), 8);
}

#[test]
fn damage_is_not_written_anew_with_a_good_checksum() {
    let good = three(Codec::None).build().unwrap();
    let mut bad = good.to_vec();
    *bad.last_mut().unwrap() ^= 1;
    let view = BatchView::parse(&Bytes::from(bad)).unwrap();
    let piece = Piece { view, from: SourceOffset(10), records: 3, whole: false, offsets: None, born: None };
    assert!(read(&piece, &[]).is_err());
}
