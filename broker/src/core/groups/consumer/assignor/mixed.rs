//! Uniform, where members want different topics: keep what can be kept, give the rest to who has least, then move
//! partitions along chains of members until no two that a chain joins differ by more than one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use causeway_wire::Uuid;

use super::{MemberSpec, every_partition, kept};

/// Partitions held by one member, by topic.
type Held = BTreeMap<Uuid, BTreeSet<i32>>;

struct State {
    held: Vec<Held>,
    load: Vec<usize>,
    /// Members that want a topic.
    readers: BTreeMap<Uuid, Vec<usize>>,
}

pub(super) fn assign(members: &[MemberSpec], counts: &BTreeMap<Uuid, i32>) -> Vec<Vec<(Uuid, i32)>> {
    let mut taken = BTreeSet::new();
    let mut state =
        State { held: vec![Held::new(); members.len()], load: vec![0; members.len()], readers: BTreeMap::new() };
    for (i, member) in members.iter().enumerate() {
        for topic in &member.topics {
            state.readers.entry(*topic).or_default().push(i);
        }
        for (topic, partition) in kept(member, counts, &mut taken) {
            state.give(i, topic, partition);
        }
    }
    // Topics that few can read first: the others can still even out.
    let mut free: Vec<(Uuid, i32)> = every_partition(counts).filter(|p| !taken.contains(p)).collect();
    free.sort_by_key(|(topic, partition)| (state.readers.get(topic).map_or(0, Vec::len), *topic, *partition));
    for (topic, partition) in free {
        let least = state.readers.get(&topic).into_iter().flatten().copied().min_by_key(|i| (state.load[*i], *i));
        if let Some(i) = least {
            state.give(i, topic, partition);
        }
    }
    while state.even_out() {}
    let flat = |held: Held| held.into_iter().flat_map(|(t, ps)| ps.into_iter().map(move |p| (t, p))).collect();
    state.held.into_iter().map(flat).collect()
}

impl State {
    fn give(&mut self, member: usize, topic: Uuid, partition: i32) {
        self.held[member].entry(topic).or_default().insert(partition);
        self.load[member] += 1;
    }

    /// Moves one partition per member of one chain. Every call lowers the sum of squared loads, so this ends.
    fn even_out(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.load.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(self.load[*i]));
        for from in order {
            if let Some(chain) = self.chain(from) {
                for (giver, taker, topic) in chain {
                    self.pass(giver, taker, topic);
                }
                return true;
            }
        }
        false
    }

    /// The shortest way from a member to one that has at least two partitions less.
    fn chain(&self, from: usize) -> Option<Vec<(usize, usize, Uuid)>> {
        let mut came: Vec<Option<(usize, Uuid)>> = vec![None; self.load.len()];
        let (mut seen_topics, mut queue) = (BTreeSet::new(), VecDeque::from([from]));
        while let Some(member) = queue.pop_front() {
            for topic in self.held[member].keys() {
                if !seen_topics.insert(*topic) {
                    continue;
                }
                for next in self.readers.get(topic).into_iter().flatten().copied() {
                    if next == from || came[next].is_some() {
                        continue;
                    }
                    came[next] = Some((member, *topic));
                    if self.load[next] + 1 < self.load[from] {
                        return Some(trace(&came, from, next));
                    }
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn pass(&mut self, giver: usize, taker: usize, topic: Uuid) {
        let Some(partitions) = self.held[giver].get_mut(&topic) else { return };
        let Some(partition) = partitions.pop_last() else { return };
        if partitions.is_empty() {
            self.held[giver].remove(&topic);
        }
        self.load[giver] -= 1;
        self.give(taker, topic, partition);
    }
}

fn trace(came: &[Option<(usize, Uuid)>], from: usize, to: usize) -> Vec<(usize, usize, Uuid)> {
    let (mut out, mut at) = (Vec::new(), to);
    while at != from {
        let Some((giver, topic)) = came[at] else { break };
        out.push((giver, at, topic));
        at = giver;
    }
    out.reverse();
    out
}
