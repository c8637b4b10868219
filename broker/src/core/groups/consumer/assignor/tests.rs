use fastrand::Rng;

use super::*;

fn topic(n: u8) -> Uuid {
    Uuid([n; 16])
}

fn member(id: &str, topics: &[u8]) -> MemberSpec {
    MemberSpec { id: id.into(), topics: topics.iter().map(|n| topic(*n)).collect(), ..MemberSpec::default() }
}

fn counts(pairs: &[(u8, i32)]) -> BTreeMap<Uuid, i32> {
    pairs.iter().map(|(n, count)| (topic(*n), *count)).collect()
}

fn size(p: &Partitions) -> usize {
    p.values().map(BTreeSet::len).sum()
}

/// Assigns again with what came out before.
fn again(assignor: Assignor, members: &mut [MemberSpec], counts: &BTreeMap<Uuid, i32>) -> BTreeMap<String, Partitions> {
    let out = assign(assignor, members, counts);
    for member in members.iter_mut() {
        member.old = out[&member.id].clone();
    }
    out
}

#[test]
fn range_gives_neighbours_and_puts_static_members_first() {
    let mut members = [member("a", &[1, 2]), member("b", &[1]), member("c", &[1])];
    members[2].instance_id = Some("z".into());
    let out = assign(Assignor::Range, &members, &counts(&[(1, 5), (2, 2)]));
    assert_eq!(out["c"], Partitions::from([(topic(1), [0, 1].into())]));
    assert_eq!(out["a"], Partitions::from([(topic(1), [2, 3].into()), (topic(2), [0, 1].into())]));
    assert_eq!(out["b"], Partitions::from([(topic(1), [4].into())]));
}

#[test]
fn uniform_moves_no_more_than_it_must() {
    let counts = counts(&[(1, 3), (2, 3)]);
    let mut members = vec![member("a", &[1, 2]), member("b", &[1, 2])];
    let before = again(Assignor::Uniform, &mut members, &counts);
    assert_eq!(before.values().map(size).collect::<Vec<_>>(), [3, 3]);
    members.push(member("c", &[1, 2]));
    let after = again(Assignor::Uniform, &mut members, &counts);
    assert_eq!(after.values().map(size).collect::<Vec<_>>(), [2, 2, 2]);
    for id in ["a", "b"] {
        let stays = |t: &Uuid, ps: &BTreeSet<i32>| before[id].get(t).is_some_and(|old| ps.is_subset(old));
        assert!(after[id].iter().all(|(t, ps)| stays(t, ps)), "{id} got something it did not have");
    }
    members.remove(0);
    let last = again(Assignor::Uniform, &mut members, &counts);
    assert!(last["c"].values().flatten().count() == 3 && last["b"].values().flatten().count() == 3);
}

#[test]
fn chains_even_out_what_single_moves_cannot() {
    // a can only read 1, c only 2: with four of 1 at a and three at b, b must pass one of 2 on.
    let mut members = [member("a", &[1]), member("b", &[1, 2]), member("c", &[2])];
    members[0].old = Partitions::from([(topic(1), (0..4).collect())]);
    members[1].old = Partitions::from([(topic(1), [4].into()), (topic(2), [0, 1].into())]);
    members[2].old = Partitions::from([(topic(2), [2, 3].into())]);
    let out = assign(Assignor::Uniform, &members, &counts(&[(1, 5), (2, 4)]));
    assert_eq!(out.values().map(size).collect::<Vec<_>>(), [3, 3, 3]);
}

#[test]
fn any_history_gives_every_partition_to_one_reader_and_stays_even() {
    let mut rng = Rng::with_seed(848);
    for round in 0..400 {
        let assignor = if rng.bool() { Assignor::Uniform } else { Assignor::Range };
        let alike = rng.bool();
        let mut members: Vec<MemberSpec> = Vec::new();
        let mut topics = counts(&[(1, rng.i32(1..9)), (2, rng.i32(1..9)), (3, rng.i32(1..9))]);
        for step in 0..12 {
            match rng.u8(0..4) {
                0 if members.len() > 1 => {
                    members.remove(rng.usize(0..members.len()));
                }
                1 => *topics.get_mut(&topic(1)).unwrap() += 1,
                _ => {
                    let wants: Vec<u8> = (1..=3).filter(|_| alike || rng.bool()).collect();
                    members.push(member(&format!("m{step}"), &wants));
                }
            }
            if members.is_empty() {
                continue;
            }
            let read: BTreeSet<Uuid> = members.iter().flat_map(|m| m.topics.iter().copied()).collect();
            let wanted: BTreeMap<Uuid, i32> =
                topics.iter().filter(|(t, _)| read.contains(t)).map(|(t, c)| (*t, *c)).collect();
            let out = again(assignor, &mut members, &wanted);
            let mut all: Vec<(Uuid, i32)> = Vec::new();
            for m in &members {
                for (t, ps) in &out[&m.id] {
                    assert!(m.topics.contains(t), "round {round}: not subscribed");
                    all.extend(ps.iter().map(|p| (*t, *p)));
                }
            }
            all.sort();
            assert_eq!(all, every_partition(&wanted).collect::<Vec<_>>(), "round {round}: each once");
            let sizes: Vec<usize> = out.values().map(size).collect();
            if assignor == Assignor::Uniform && alike {
                assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "round {round}: {sizes:?}");
            }
            if assignor == Assignor::Uniform {
                assert_eq!(again(assignor, &mut members, &wanted), out, "round {round}: nothing moves without a cause");
            }
        }
    }
}
