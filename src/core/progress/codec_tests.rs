use proptest::prelude::*;

use super::*;
use crate::core::ids::{FlowEpoch, LaneId, UnixMillis};
use crate::core::progress::Suppressed;

fn chunk(runs: Vec<Run>) -> Record {
    let lane = LaneId::new("orders", TopicId([9; 16]), 3);
    let chunk = Chunk {
        covered_to: SourceOffset(i64::MAX),
        target_base: TargetOffset(10),
        target_from: TargetOffset(0),
        target_topic_id: TopicId([7; 16]),
        target_topic: TopicName::new("east.orders"),
        leader_epoch: LeaderEpoch(4),
        runs,
    };
    Record { key: Key::Chunk { lane, epoch: FlowEpoch(2), first: SourceOffset(5) }, value: Some(Value::Chunk(chunk)) }
}

#[test]
fn records_come_back_as_they_were_written() {
    let lane = LaneId::new("orders", TopicId([9; 16]), 3);
    let records = [
        chunk(vec![]),
        chunk(vec![
            Run::new(SourceOffset(5), 1_000_000, TargetOffset(10)),
            Run::new(SourceOffset(2 << 40), 1, TargetOffset(3 << 40)),
        ]),
        Record::claim(FlowEpoch(3), "host:1:abc", UnixMillis(17)),
        Record::suppressed(lane.clone(), Suppressed { records: 4, forged: 1 }),
        Record::tombstone(Key::Fork { lane }),
    ];
    for record in records {
        let (key, value) = encode(&record);
        assert_eq!(decode(&key, value.as_deref()), Ok(record));
    }
}

#[test]
fn a_regular_lane_writes_a_short_record() {
    let (key, value) = encode(&chunk(vec![Run::new(SourceOffset(5), 1_000_000, TargetOffset(10))]));
    assert!(value.is_some_and(|value| value.len() < 64) && key.len() < 160);
}

#[test]
fn a_newer_version_is_refused_by_its_number() {
    let (mut key, value) = encode(&chunk(vec![]));
    let mut value = value.unwrap();
    value[0] = FORMAT_VERSION + 1;
    let refused = decode(&key, Some(&value)).unwrap_err();
    assert_eq!(refused, DecodeError::NewerVersion { found: FORMAT_VERSION + 1 });
    assert!(refused.to_string().contains("newer build"));
    key[0] = 200;
    assert_eq!(decode(&key, None), Err(DecodeError::NewerVersion { found: 200 }));
}

#[test]
fn every_flipped_bit_of_a_value_is_noticed() {
    let record = chunk(vec![Run::new(SourceOffset(5), 10, TargetOffset(10))]);
    let (key, value) = encode(&record);
    let value = value.unwrap();
    for bit in 0..value.len() * 8 {
        let mut damaged = value.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&key, Some(&damaged)).is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn garbage_is_refused_without_a_panic(key in proptest::collection::vec(any::<u8>(), 0..40), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&key, Some(&body));
        // with a good head and checksum, so that the inside is reached
        let (good_key, _) = encode(&chunk(vec![]));
        for kind in [KIND_CHUNK, KIND_JSON] {
            let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), &body);
            let mut value = vec![FORMAT_VERSION, kind];
            value.extend(crc.to_be_bytes());
            value.extend(&body);
            if let Ok(Record { value: Some(Value::Chunk(chunk)), .. }) = decode(&good_key, Some(&value)) {
                prop_assert!(chunk.runs.len() <= body.len());
            }
        }
    }
}
