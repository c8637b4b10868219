//! One batch after the other through the filter.

use std::collections::HashMap;
use std::hash::RandomState;

use bytes::Bytes;
use causeway_wire::records::{
    BatchBuilder, BatchView, Codec, ControlMarker, DECOMPRESSED_BYTES_MAX, NO_SEQUENCE, control_batch,
    patch_base_offset,
};

use super::filter::{Filter, Kept, LastOfProducer};
use super::offset_map::OffsetMap;
use super::txns::CleanedTxns;
use crate::core::producer_state::CompletedTxn;

const NOW: i64 = 1_000_000;
const RETENTION: i64 = 500;

struct Setting {
    map: OffsetMap<RandomState>,
    mapped_to: i64,
    round_end: i64,
    producers: HashMap<i64, LastOfProducer>,
    now_ms: i64,
    txns: CleanedTxns,
}

impl Setting {
    fn new(latest: &[(&str, i64)]) -> Self {
        let mut map = OffsetMap::new(100, 1 << 20, [RandomState::new(), RandomState::new()]);
        assert!(latest.iter().all(|(key, offset)| map.put(key.as_bytes(), *offset)));
        let producers = HashMap::new();
        Self { map, mapped_to: 1000, round_end: -1, producers, now_ms: NOW, txns: CleanedTxns::default() }
    }

    fn next(&mut self, batch: &BatchView) -> Kept {
        let filter = Filter {
            map: &self.map,
            mapped_to: self.mapped_to,
            round_end: self.round_end,
            producers: &self.producers,
            now_ms: self.now_ms,
            delete_retention_ms: RETENTION,
            decompressed_bytes_max: DECOMPRESSED_BYTES_MAX,
        };
        filter.next(batch, &mut self.txns).unwrap()
    }

    fn kept(&mut self, batch: &BatchView) -> Option<BatchView> {
        self.next(batch).bytes.map(|bytes| view(&bytes))
    }
}

fn view(bytes: &Bytes) -> BatchView {
    let batch = BatchView::parse(bytes).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(batch.bytes.len(), bytes.len());
    batch
}

/// Records from offset 100 on, one second apart.
fn batch(builder: BatchBuilder, records: &[(&str, Option<&str>)]) -> BatchView {
    let mut builder = builder.base_offset(100).leader_epoch(3);
    for (n, (key, value)) in records.iter().enumerate() {
        let key = (!key.is_empty()).then_some(key.as_bytes());
        builder.push(5000 + n as i64 * 1000, key, value.map(str::as_bytes), &[]).unwrap();
    }
    view(&builder.build().unwrap())
}

fn keys(batch: &BatchView) -> Vec<(i64, i64, String)> {
    let records = batch.records(DECOMPRESSED_BYTES_MAX).unwrap();
    let text = |key: &Bytes| String::from_utf8(key.to_vec()).unwrap();
    let one = |record: &causeway_wire::records::Record| {
        (
            batch.header.offset_at(record.offset_delta),
            batch.header.timestamp_at(record.timestamp_delta),
            record.key.as_ref().map(text).unwrap_or_default(),
        )
    };
    records.iter().map(one).collect()
}

#[test]
fn r25_older_records_of_a_key_go_and_offsets_times_and_codec_stay() {
    for codec in Codec::ALL {
        let mut setting = Setting::new(&[("a", 102), ("b", 101), ("c", 500)]);
        let builder = BatchBuilder::new(codec).producer(7, 2, 40);
        let before = batch(builder, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("c", Some("4"))]);
        let after = setting.kept(&before).unwrap();
        assert_eq!(keys(&after), [(101, 6000, "b".to_owned()), (102, 7000, "a".to_owned())]);
        let (old, new) = (before.header, after.header);
        assert_eq!((new.base_offset, new.last_offset(), new.partition_leader_epoch), (100, 103, 3));
        assert_eq!((new.producer_id, new.producer_epoch, new.base_sequence, new.last_sequence()), (7, 2, 40, 43));
        assert_eq!((new.attributes, new.base_timestamp, new.max_timestamp), (old.attributes, old.base_timestamp, 7000));
    }
}

#[test]
fn a_batch_of_which_all_stays_keeps_its_bytes_and_an_empty_one_goes() {
    let mut setting = Setting::new(&[("a", 100), ("b", 900)]);
    let all = batch(BatchBuilder::new(Codec::Gzip), &[("a", Some("1")), ("x", Some("2"))]);
    assert_eq!(setting.next(&all).bytes, Some(all.bytes.clone()), "a key that is not in the dirty part stays");
    let none = batch(BatchBuilder::new(Codec::None), &[("b", Some("1")), ("", Some("no key"))]);
    assert_eq!(setting.next(&none), Kept { bytes: None, records: 0, aborted: None });
    setting.mapped_to = 100;
    assert_eq!(setting.next(&none).bytes, Some(none.bytes.clone()), "beyond what is mapped nothing goes");
}

#[test]
fn r14_the_last_batch_of_an_active_producer_and_of_the_round_stay_emptied() {
    let mut setting = Setting::new(&[("a", 900)]);
    let builder = || BatchBuilder::new(Codec::Lz4).producer(7, 2, 40).transactional(true);
    let before = batch(builder(), &[("a", Some("1")), ("a", Some("2"))]);
    assert_eq!(setting.kept(&before), None);
    setting.producers.insert(7, LastOfProducer::Data(101));
    let after = setting.kept(&before).unwrap();
    assert_eq!((after.bytes.len(), after.header.records_count, after.header.last_offset()), (61, 0, 101));
    assert_eq!((after.header.last_sequence(), after.header.max_timestamp), (41, 6000));
    assert!(after.header.attributes.is_transactional());
    assert_eq!(setting.kept(&after), Some(after.clone()), "cleaned again it is the same");
    setting.producers.insert(7, LastOfProducer::Data(555));
    assert_eq!(setting.kept(&after), None);
    setting.round_end = 102;
    assert_eq!(setting.kept(&before), Some(after));
}

#[test]
fn r25_a_tombstone_stays_until_the_horizon_of_its_first_cleaning() {
    for append_time in [false, true] {
        let mut setting = Setting::new(&[("gone", 101), ("a", 100)]);
        let mut builder = BatchBuilder::new(Codec::Zstd);
        if append_time {
            builder = builder.log_append_time(5555);
        }
        let before = batch(builder, &[("a", Some("1")), ("gone", None)]);
        let first = setting.kept(&before).unwrap();
        assert_eq!(first.header.delete_horizon(), Some(NOW + RETENTION));
        assert_eq!(keys(&first), keys(&before), "times are not changed by the horizon");
        assert_eq!(first.header.max_timestamp, before.header.max_timestamp);
        setting.now_ms = NOW + RETENTION - 1;
        assert_eq!(setting.kept(&first), Some(first.clone()), "the horizon is not moved");
        setting.now_ms += 1;
        let second = setting.kept(&first).unwrap();
        assert_eq!(keys(&second), keys(&before)[..1]);
        assert_eq!(second.header.last_offset(), 101);
        // Later it is not the latest of its key any more.
        assert!(setting.map.put(b"gone", 400));
        setting.now_ms = NOW;
        assert_eq!(keys(&setting.kept(&first).unwrap()).len(), 1);
    }
}

fn marker(marker: ControlMarker, id: i64, offset: i64) -> BatchView {
    let mut raw = control_batch(marker, id, 0, 4, 9000).unwrap().to_vec();
    patch_base_offset(&mut raw, offset);
    view(&raw.into())
}

#[test]
fn r25_a_marker_stays_until_its_data_is_gone_and_the_horizon_has_passed() {
    let data = batch(BatchBuilder::new(Codec::None).producer(7, 0, 0).transactional(true), &[("a", Some("1"))]);
    let abort =
        CompletedTxn { producer_id: 7, first_offset: 100, last_offset: 110, commit: false, last_stable_offset: 111 };
    for kind in [ControlMarker::Commit, ControlMarker::Abort] {
        let aborted = kind == ControlMarker::Abort;
        let end = marker(kind, 7, 110);
        let mut setting = Setting::new(&[("a", if aborted { 100 } else { 900 })]);
        if aborted {
            setting.txns.announce([abort]);
        }
        assert_eq!(setting.kept(&data), None, "aborted, or an older value");
        let first = setting.next(&end);
        assert_eq!(first, Kept { bytes: Some(end.bytes.clone()), records: 1, aborted: aborted.then_some(abort) });
        // The next cleaning meets no data: from then on the horizon counts.
        setting.txns = CleanedTxns::default();
        let second = setting.kept(&end).unwrap();
        assert_eq!(second.header.delete_horizon(), Some(NOW + RETENTION));
        assert_eq!(second.records(1000).unwrap().len(), 1);
        assert_eq!(setting.kept(&second), Some(second.clone()));
        setting.now_ms = NOW + RETENTION;
        assert_eq!(setting.kept(&second), None);
        // It may be all that is known of the producer's epoch.
        setting.producers.insert(7, LastOfProducer::Marker(0));
        let emptied = setting.kept(&second).unwrap();
        assert_eq!((emptied.header.records_count, emptied.header.base_sequence), (0, NO_SEQUENCE));
        assert!(emptied.header.attributes.is_control() && emptied.header.attributes.is_transactional());
        assert_eq!(setting.kept(&emptied), Some(emptied.clone()));
        setting.producers.insert(7, LastOfProducer::Marker(1));
        assert_eq!(setting.kept(&emptied), None);
    }
}
