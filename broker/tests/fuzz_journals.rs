//! What lies in the journals (`__consumer_offsets`, `__transaction_state`), damaged: no reader of it panics, and what is accepted reads the same when it is
//! written again. Of the `CAUSEWAY_FUZZ_INPUTS` of all fuzzers an eighth are such records.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

use bytes::Bytes;
use causeway_broker::core::groups::consumer::records::Record;
use causeway_broker::core::groups::records::{GroupValue, Key, MemberValue, OffsetValue, group_key, offset_key};
use causeway_broker::core::txn::{self, InitRequest, Producer, Txn, TxnVersion};

/// Inputs of the short run.
const SHORT: u64 = 200_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number"))
}

fn offset() -> OffsetValue {
    OffsetValue { offset: 7, leader_epoch: 1, metadata: "note".into(), commit_timestamp: 99 }
}

fn group() -> GroupValue {
    let member = |n: u8| MemberValue {
        member_id: format!("m{n}"),
        instance_id: (n == 1).then(|| "static".to_owned()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout: 1,
        session_timeout: 2,
        subscription: Bytes::from_static(b"subscription"),
        assignment: Bytes::from_static(b"assignment"),
    };
    GroupValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("m0".into()),
        state_since: 5,
        members: (0..2).map(member).collect(),
    }
}

fn transaction() -> Txn {
    let request = InitRequest { timeout_ms: 60_000, expected: None };
    let txn = txn::init(None, &request, Some(4), 9).unwrap().next.unwrap();
    let partitions = [("a".to_owned(), 0), ("a".to_owned(), 2), ("b".to_owned(), 1)];
    txn::add_partitions(Some(&txn), Producer { id: 4, epoch: 0 }, &partitions, TxnVersion::V2, 10).next.unwrap()
}

/// Reads the bytes in every way; what is accepted must survive being written.
fn read(input: &Bytes, counts: &mut [u64; 2]) {
    let mut count = |accepted: bool| counts[usize::from(accepted)] += 1;
    count(Key::decode(input.clone()).is_ok());
    count(txn::records::decode_key(input.clone()).is_ok());
    let found = OffsetValue::decode(input.clone());
    count(found.is_ok());
    if let Ok(found) = found {
        assert_eq!(OffsetValue::decode(found.encode()).unwrap(), found);
    }
    let found = GroupValue::decode(input.clone());
    count(found.is_ok());
    if let Ok(found) = found {
        assert_eq!(GroupValue::decode(found.encode()).unwrap(), found);
    }
    let found = Txn::decode(input.clone());
    count(found.is_ok());
    if let Ok(found) = found
        && let Ok(written) = found.encode()
    {
        // Not the same as what was read: partitions of a transaction that has not begun are left out, as in Kafka.
        let again = Txn::decode(written.clone()).unwrap();
        assert_eq!(again.encode().unwrap(), written);
        assert_eq!((again.producer, again.state), (found.producer, found.state));
    }
    for kind in 0..20u8 {
        let key = [&[0, kind][..], &input[..input.len().min(30)]].concat();
        count(Record::decode(key.into(), Some(input.clone())).is_ok());
    }
}

#[test]
fn damaged_records_of_the_journals_are_refused_or_read_the_same_twice() {
    let seeds = [
        offset().encode(),
        group().encode(),
        offset_key("g", "t", 3),
        group_key("group"),
        transaction().encode().unwrap(),
        txn::records::key("id").unwrap(),
    ];
    let seed = setting("CAUSEWAY_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("CAUSEWAY_FUZZ_SEED={seed} repeats it");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut counts = [0; 2];
    let mut input = Vec::new();
    for round in 0..setting("CAUSEWAY_FUZZ_INPUTS").map_or(SHORT, |inputs| inputs / 8) {
        if round % 4 == 0 {
            input = seeds[rng.usize(..seeds.len())].to_vec();
        }
        for _ in 0..rng.usize(0..3) {
            let at = rng.usize(0..=input.len());
            match rng.u8(0..5) {
                0 if at < input.len() => input[at] ^= 1 << rng.u8(0..8),
                1 if at < input.len() => input[at] = rng.u8(..),
                2 => input.truncate(at),
                3 => drop(input.splice(at..(at + 4).min(input.len()), [0x7f, 0xff, 0xff, 0xff])),
                _ => input.insert(at, rng.u8(..)),
            }
        }
        read(&Bytes::copy_from_slice(&input), &mut counts);
    }
    assert!(counts[0] > 1_000 && counts[1] > 1_000, "{counts:?}");
    println!("records of journals: {} readings accepted, {} refused", counts[1], counts[0]);
}
