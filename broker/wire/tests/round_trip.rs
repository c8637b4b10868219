//! Every message in every version: bytes of a described value decode, encode to the same bytes, and leave nothing over.

#![allow(clippy::unwrap_used, reason = "test helpers")]

mod common;

use bytes::{Bytes, BytesMut};
use causeway_wire::codec::UNKNOWN_TAGS_MAX;
use causeway_wire::messages::{self, AnyMessage};
use causeway_wire::{ApiKey, DecodeError, EncodeError, Message, Request};
use common::{described, random, rounds};

fn find(name: &str) -> &'static AnyMessage {
    messages::ALL.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("{name} is described but not generated"))
}

#[test]
fn every_message_and_version_round_trips() {
    let mut versions = 0;
    for (name, description) in described() {
        let message = find(&name);
        assert_eq!(message.versions, description.versions.low..=description.versions.high, "{name}");
        for version in description.versions.versions() {
            versions += 1;
            for seed in 0..rounds("CAUSEWAY_ROUND_TRIPS", 40) {
                let written = Bytes::from(random(&description, version, seed));
                let (mut from, mut to) = (written.clone(), BytesMut::new());
                (message.recode)(version, &mut from, &mut to)
                    .unwrap_or_else(|e| panic!("{name} v{version} seed {seed}: {e}"));
                assert!(from.is_empty(), "{name} v{version} seed {seed}: {} bytes left", from.len());
                assert_eq!(to, written, "{name} v{version} seed {seed}");
            }
        }
    }
    assert!(versions > 400, "only {versions} message versions were checked");
}

#[test]
fn a_version_beyond_the_range_is_refused_both_ways() {
    for message in messages::ALL {
        for version in [message.versions.start() - 1, message.versions.end() + 1, i16::MIN, i16::MAX] {
            let refused = (message.recode)(version, &mut Bytes::from_static(&[0; 64]), &mut BytesMut::new());
            let expected = DecodeError::Version { message: message.name, version };
            assert_eq!(refused, Err(expected.into()), "{}", message.name);
        }
    }
    let refused = messages::metadata::MetadataRequest::default().encode(14, &mut BytesMut::new());
    assert_eq!(refused, Err(EncodeError::Version { message: "MetadataRequest", version: 14 }));
}

#[test]
fn every_proper_prefix_is_refused() {
    for (name, description) in described() {
        let message = find(&name);
        for version in description.versions.versions() {
            let written = Bytes::from(random(&description, version, 99));
            for end in 0..written.len() {
                let shown = (message.show)(version, &mut written.slice(..end));
                assert!(shown.is_err(), "{name} v{version} reads from {end} of {} bytes", written.len());
            }
        }
    }
}

/// A struct's memory per byte on the wire bounds what any message can cost: see `codec::get_array`.
#[test]
fn memory_per_byte_of_input_is_bounded() {
    let mut worst = (0, "", false);
    for &(name, flexible, memory, least) in messages::ELEMENT_SIZES {
        assert!(least >= 1, "{name}");
        // A struct whose memory is mostly its byte fields' handles still needs that many bytes to exist.
        worst = worst.max((memory.div_ceil(least), name, flexible));
    }
    // A string costs 24 bytes of handle for 1 byte on the wire; a struct of names and lists that are empty a little more.
    assert!(worst.0 <= MEMORY_PER_BYTE_MAX, "{worst:?}");
    assert!(worst.0 > 8, "the table is not read: {worst:?}");
}

/// Stated in the crate's documentation.
const MEMORY_PER_BYTE_MAX: usize = 32;

#[test]
fn an_array_claim_beyond_the_message_is_refused_before_memory_is_reserved() {
    // Two frames that made other decoders ask for gigabytes: MetadataRequest v0 with 2^31-1 topics, and a compact count of many millions.
    let mut classic = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
    assert_eq!(
        messages::metadata::MetadataRequest::decode(0, &mut classic),
        Err(DecodeError::Count { count: 0x7fff_ffff, left: 0 })
    );
    let mut compact = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
    assert_eq!(
        messages::metadata::MetadataRequest::decode(12, &mut compact),
        Err(DecodeError::Count { count: 0xffff_fffe, left: 2 })
    );
}

#[test]
fn unknown_tagged_fields_are_skipped_up_to_their_bound() {
    let tags = |count: usize| {
        let mut bytes = vec![count as u8];
        for tag in 0..count {
            bytes.extend([100 + (tag as u8 % 20), 2, 0xaa, 0xbb]);
        }
        bytes
    };
    for (count, fine) in [(1, true), (UNKNOWN_TAGS_MAX, true), (UNKNOWN_TAGS_MAX + 1, false)] {
        let mut body = vec![0, 0, 0, 5, 0, 0]; // throttle time, error code
        body.extend(tags(count));
        let answer = messages::heartbeat::HeartbeatResponse::decode(4, &mut Bytes::from(body));
        assert_eq!(answer.is_ok(), fine, "{count}: {answer:?}");
        assert_eq!(answer.map(|a| a.throttle_time_ms).unwrap_or(5), 5);
    }
}

#[test]
fn a_field_that_changes_the_meaning_is_never_dropped_silently() {
    let request = messages::metadata::MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    let refused = request.encode(3, &mut BytesMut::new());
    assert_eq!(refused, Err(EncodeError::Field { field: "MetadataRequest.allow_auto_topic_creation", version: 3 }));
    request.encode(4, &mut BytesMut::new()).unwrap();
}

#[test]
fn null_is_refused_where_the_version_has_no_null() {
    let all = messages::metadata::MetadataRequest { topics: None, ..Default::default() };
    assert!(matches!(all.encode(0, &mut BytesMut::new()), Err(EncodeError::Null { .. })));
    let mut buf = BytesMut::new();
    all.encode(1, &mut buf).unwrap();
    assert_eq!(buf.as_ref(), [0xff; 4]);
    let mut null = Bytes::from_static(&[0xff; 4]);
    assert!(matches!(messages::metadata::MetadataRequest::decode(0, &mut null), Err(DecodeError::Null { .. })));
}

#[test]
fn keys_names_and_header_versions_agree() {
    for &key in ApiKey::ALL {
        assert_eq!(ApiKey::from_key(key.into()), Some(key));
        let request = find(&format!("{}Request", key.name()));
        assert_eq!(request.versions, key.versions());
        assert_eq!(request.first_flexible, key.first_flexible_version());
    }
    assert_eq!(ApiKey::from_key(4), None, "LeaderAndIsr is not for clients");
    assert_eq!(messages::produce::ProduceRequest::header_version(8), 1);
    assert_eq!(messages::produce::ProduceRequest::header_version(9), 2);
    assert_eq!(messages::produce::ProduceRequest::response_header_version(9), 1);
}
