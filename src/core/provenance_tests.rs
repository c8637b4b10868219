use proptest::prelude::*;

use super::*;
use crate::core::offset_map::Run;

const TOPIC_AT_A: TopicId = TopicId([1; 16]);

fn hop(cluster: &str, offset: i64) -> Hop {
    let topic_id = if cluster == "a" { TOPIC_AT_A } else { TopicId([2; 16]) };
    Hop { cluster: ClusterId::new(cluster), topic_id, partition: PartitionId(0), offset: SourceOffset(offset) }
}
fn claim(at: i64, hops: Vec<Hop>) -> Claim {
    Claim { at: SourceOffset(at), hops, digest_agrees: true }
}
/// a -> b: a's 0..10 lie in b at 100..110; the lane that judges is b -> a.
fn map() -> OffsetMap {
    let mut map = OffsetMap::new(SourceOffset(0), TargetOffset(100));
    let run = Run::new(SourceOffset(0), 10, TargetOffset(100));
    map.append(SourceOffset(0), SourceOffset(10), &[run]).unwrap();
    map
}
fn judged(claim: &Claim, map: Option<&OffsetMap>, waited_out: bool) -> Judgement {
    let target = ClusterId::new("a");
    judge(
        claim,
        &Bench {
            target: &target,
            target_topic_id: TOPIC_AT_A,
            partition: PartitionId(0),
            brought_by: map,
            last_hop_feeds_target: false,
            waited_out,
        },
    )
}

#[test]
fn l4_a_record_stays_back_where_the_map_that_brought_it_agrees() {
    assert_eq!(judged(&claim(103, vec![hop("a", 3)]), Some(&map()), false), Judgement::Suppress);
    // over another cluster first: its origin does not matter, where it came from last does
    let ring = claim(103, vec![hop("c", 77), hop("a", 3)]);
    assert_eq!(judged(&ring, Some(&map()), false), Judgement::Suppress);
}

#[test]
fn l4_what_the_map_does_not_know_is_looked_up_or_waited_for_and_never_just_dropped() {
    let map = map();
    let copied = claim(104, vec![hop("a", 3)]);
    assert_eq!(judged(&copied, Some(&map), false), Judgement::VerifyAtTarget(hop("a", 3)));
    let of_before_a_crash = claim(90, vec![hop("a", 3)]);
    assert_eq!(judged(&of_before_a_crash, Some(&map), false), Judgement::VerifyAtTarget(hop("a", 3)));
    let not_yet = claim(110, vec![hop("a", 10)]);
    assert_eq!(judged(&not_yet, Some(&map), false), Judgement::WaitForMap);
    assert_eq!(judged(&not_yet, Some(&map), true), Judgement::VerifyAtTarget(hop("a", 10)));
    assert_eq!(judged(&not_yet, None, false), Judgement::VerifyAtTarget(hop("a", 10)));
    let around = claim(5, vec![hop("a", 3), hop("c", 9)]);
    assert_eq!(judged(&around, Some(&map), false), Judgement::VerifyAtTarget(hop("a", 3)));
}

#[test]
fn l4_a_forged_header_never_loses_a_record() {
    let map = map();
    let other_content = Claim { digest_agrees: false, ..claim(103, vec![hop("a", 3)]) };
    let other_partition = claim(103, vec![Hop { partition: PartitionId(1), ..hop("a", 3) }]);
    let other_topic = claim(103, vec![Hop { topic_id: TopicId([9; 16]), ..hop("a", 3) }]);
    for forged in [other_content, other_partition, other_topic, Claim::read(SourceOffset(103), b"junk", 1, 0)] {
        assert_eq!(judged(&forged, Some(&map), false), Judgement::PassForged, "{forged:?}");
    }
    let header = encode(7, &[], &hop("a", 3));
    assert_eq!(judged(&Claim::read(SourceOffset(103), &header, 2, 7), Some(&map), false), Judgement::PassForged);
    assert_eq!(judged(&Claim::read(SourceOffset(103), &header, 1, 7), Some(&map), false), Judgement::Suppress);
    assert_eq!(verdict_after_reading(5, Found::Record(5)), Judgement::Suppress);
    assert_eq!(verdict_after_reading(5, Found::Record(6)), Judgement::PassForged);
    assert_eq!(verdict_after_reading(5, Found::Nothing), Judgement::PassForged);
}

#[test]
fn records_of_other_clusters_pass_and_in_a_mesh_each_cluster_delivers_its_own() {
    let map = map();
    assert_eq!(judged(&claim(103, vec![hop("c", 3)]), Some(&map), false), Judgement::Pass);
    let (target, partition) = (ClusterId::new("d"), PartitionId(0));
    let bench = Bench {
        target: &target,
        target_topic_id: TopicId([3; 16]),
        partition,
        brought_by: Some(&map),
        last_hop_feeds_target: true,
        waited_out: false,
    };
    assert_eq!(judge(&claim(103, vec![hop("a", 3)]), &bench), Judgement::Suppress);
    assert_eq!(judge(&claim(104, vec![hop("a", 3)]), &bench), Judgement::Pass);
    assert_eq!(judge(&claim(110, vec![hop("a", 10)]), &bench), Judgement::WaitForMap);
}

#[test]
fn the_digest_tells_null_from_empty_and_one_header_from_another() {
    let none = || std::iter::empty();
    let header = |name: &'static str, value: Option<&'static [u8]>| [(name.as_bytes(), value)].into_iter();
    let digests = [
        digest(None, None, none()),
        digest(Some(b""), None, none()),
        digest(None, Some(b""), none()),
        digest(Some(b"ab"), Some(b"c"), none()),
        digest(Some(b"a"), Some(b"bc"), none()),
        digest(None, None, header("h", None)),
        digest(None, None, header("h", Some(b""))),
    ];
    let different: std::collections::BTreeSet<u64> = digests.into_iter().collect();
    assert_eq!(different.len(), digests.len());
    assert_eq!(digests[0], digest(None, None, header(HEADER, Some(b"x"))));
}

proptest! {
    #[test]
    fn a_header_reads_back_and_garbage_is_refused_without_a_panic(
        content in any::<u64>(),
        hops in proptest::collection::vec(("[a-z]{1,22}", any::<i64>()), 0..20),
        garbage in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let hops: Vec<Hop> = hops.iter().map(|(cluster, offset)| hop(cluster, *offset)).collect();
        let own = hop("own", 5);
        let value = encode(content, &hops, &own);
        let (digest, read) = decode(&value).expect("it was written by us");
        let kept = hops.len().min(HOPS_MAX - 1);
        prop_assert_eq!(digest, content);
        prop_assert_eq!(&read[..kept], &hops[hops.len() - kept..]);
        prop_assert_eq!(read.last(), Some(&own));
        for cut in 0..value.len() {
            prop_assert!(decode(&value[..cut]).is_none());
        }
        let _ = decode(&garbage);
    }
}
