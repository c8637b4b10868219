//! Uniform, where all members want the same topics: quotas that differ by one at most, and nobody moves without need.

use std::collections::{BTreeMap, BTreeSet};

use causeway_wire::Uuid;

use super::{MemberSpec, every_partition, kept};

pub(super) fn assign(members: &[MemberSpec], counts: &BTreeMap<Uuid, i32>) -> Vec<Vec<(Uuid, i32)>> {
    if members.is_empty() {
        return Vec::new();
    }
    let mut taken = BTreeSet::new();
    let mut out: Vec<Vec<(Uuid, i32)>> = members.iter().map(|m| kept(m, counts, &mut taken)).collect();
    let total: usize = counts.values().map(|c| *c as usize).sum();
    let (quota, mut extra) = (total / members.len(), total % members.len());
    // Those that have most keep one more: fewer partitions move.
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(out[*i].len()));
    let mut limits = vec![quota; members.len()];
    for i in &order {
        if extra > 0 {
            limits[*i] += 1;
            extra -= 1;
        }
        let keeps = limits[*i].min(out[*i].len());
        for given_back in out[*i].drain(keeps..) {
            taken.remove(&given_back);
        }
    }
    let mut free = every_partition(counts).filter(|p| !taken.contains(p));
    for i in order {
        let room = limits[i] - out[i].len();
        out[i].extend(free.by_ref().take(room));
    }
    out
}
